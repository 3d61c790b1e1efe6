package door

import (
	"context"
	"fmt"
	"io"

	"doorward"
	"doorward/web"
)

// SetupCode is the one-time code that lets its holder make the first user; empty where a
// user existed at the start, or the door stands open. It is good until then or until a restart.
func (d *Door) SetupCode() string { return d.authority.SetupCode() }

// Announce says on a console, as long as there is no user, how to make the first one, with the
// setup code: so never to a log. base is how browsers reach the server, as in
// http://localhost:8080; where it is empty, Config.PublicURL.
func (d *Door) Announce(ctx context.Context, console io.Writer, base string) {
	c := d.config
	switch {
	case base != "":
	case c.PublicURL != nil:
		base = c.PublicURL.Scheme + "://" + c.PublicURL.Host
	default:
		base = "http://HOST:PORT"
	}
	setup, users := base+web.SetupPage(c.Prefix), base+c.Prefix+"/api/auth/users"
	const body = `{"username": "admin", "password": "..."}`
	mode, err := d.authority.Mode(ctx)
	switch code := d.SetupCode(); {
	case err != nil:
		c.Log.Warn("cannot read whether somebody is set up", "err", err)
	case mode == doorward.ModeOpen:
		c.Log.Warn("open mode: nobody is set up, and everything is open to whoever is on this machine; making the first user ends it")
		fmt.Fprintf(console, "\nTo make the first user and close the door:\n\n  %s\n\nor\n\n  curl -X POST %s -H \"Content-Type: application/json\" -d '%s'\n\n", setup, users, body)
	case code != "":
		fmt.Fprintf(console, "\nThere is no user yet. To make the first one, with a code that is good until then or until a restart:\n\n  %s#code=%s\n\nor\n\n  curl -X POST %s -H \"X-Setup-Code: %s\" -H \"Content-Type: application/json\" -d '%s'\n\n", setup, code, users, code, body)
		if mode == doorward.ModeSetup && !c.Disabled {
			c.Log.Warn("closed until set up: there is no user, key or token yet")
		}
	}
}

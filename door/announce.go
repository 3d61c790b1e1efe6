package door

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"doorward"
	"doorward/web"
)

// SetupCode is the one-time code that lets its holder make the first user; empty where there is
// one, or the door stands open, as far as is known. It is good until then, and the same on every node and after a
// restart; a new secret brings another one, beside which the old one is good for as long as the old secret verifies.
func (d *Door) SetupCode() string { return d.authority.SetupCode() }

// Announce says on a console, as long as there is no user, how to make the first one, with the
// setup code: so never to a log. base is how browsers reach the server, as in
// http://localhost:8080; where it is empty, Config.PublicURL.
//
// In open mode there is no code. When that ends and still there is no user, Run says it all again on the same
// console, now with the code; so console must be good for as long as Run goes on. Nothing is written to
// it by two goroutines at once.
func (d *Door) Announce(ctx context.Context, console io.Writer, base string) {
	d.announced.mu.Lock()
	defer d.announced.mu.Unlock()
	d.announced.console, d.announced.base = console, base
	if err := d.announce(ctx); err != nil {
		d.config.Log.Warn("cannot read whether somebody is set up", "err", err)
	}
}

// announced is what Announce was last called with.
type announced struct {
	mu      sync.Mutex
	console io.Writer // nil before the first call
	base    string
	open    bool // it has been said how to end open mode
	more    bool // there may be more to say: the door stood open, or that could not be read
}

// announce says what there is to say now; d.announced is held.
func (d *Door) announce(ctx context.Context) error {
	console, base := d.announced.console, d.announced.base
	d.announced.more = true
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
	if err != nil {
		return err
	}
	if mode == doorward.ModeOpen {
		c.Log.Warn("open mode: nobody is set up, and everything is open to whoever is on this machine; making the first user ends it")
		d.announced.open = true
		fmt.Fprintf(console, "\nTo make the first user and close the door:\n\n  %s\n\nor\n\n  curl -X POST %s -H \"Content-Type: application/json\" -d '%s'\n\n", setup, users, body)
		return nil
	}
	// Where there is a key, Mode has not asked whether there is a user.
	needs, err := d.authority.NeedsSetup(ctx)
	if err != nil {
		return err
	}
	code := d.SetupCode()
	d.announced.more = needs && code == "" // another request has just read that the door stands open
	if !needs || code == "" {
		return nil
	}
	fmt.Fprintf(console, "\nThere is no user yet. To make the first one, with a code that is good until then:\n\n  %s#code=%s\n\nor\n\n  curl -X POST %s -H \"X-Setup-Code: %s\" -H \"Content-Type: application/json\" -d '%s'\n\n", setup, code, users, code, body)
	if mode == doorward.ModeSetup && !c.Disabled {
		c.Log.Warn("closed until set up: there is no user, key or token yet")
	}
	return nil
}

// announceEvery is how often Run looks whether open mode has ended.
const announceEvery = time.Second

// announceAgain waits until open mode has ended and says then how to make the first user: who was told of a link
// without a code needs one now. It ends once all is said; where Announce is not called, it waits for that.
func (d *Door) announceAgain(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for !d.saidAll(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// saidAll reports whether Announce has nothing more to say, and says what has come up since.
func (d *Door) saidAll(ctx context.Context) bool {
	d.announced.mu.Lock()
	defer d.announced.mu.Unlock()
	if d.announced.console == nil {
		return false
	}
	if d.announced.more {
		if mode, err := d.authority.Mode(ctx); err != nil || mode == doorward.ModeOpen && d.announced.open {
			return false
		}
		_ = d.announce(ctx) // an error leaves more to say, and is one of the database, which others report
	}
	return !d.announced.more
}

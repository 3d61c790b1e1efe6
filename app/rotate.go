package app

import (
	"context"
	"fmt"
	"time"

	"doorward/safe"
)

type secretCmd struct {
	Rotate secretRotateCmd `cmd:"" help:"Sign with a new secret and new key pairs from now on; nobody is signed out."`
}

type secretRotateCmd struct {
	Now  bool `name:"now" help:"Refuse at once what was signed before: everybody signs in again."`
	JSON bool `name:"json" help:"Print JSON."`
}

// takes: where the secret is, whether it is given, and how long tokens live.
func (*secretRotateCmd) takes(key string) bool {
	switch key {
	case "data_dir", "database", "names.secret_file", "jwt.secret", "jwt.previous_secrets",
		"jwt.expiry", "jwt.refresh_expiry", "session.lifetime", "session.max_age":
		return true
	}
	return false
}

// Run replaces the secret file's secret, with or without a running server.
func (c *secretRotateCmd) Run(ctx context.Context, p *program, src *sources) error {
	l, err := p.loadBeside(c, *src)
	if err != nil {
		return err
	}
	const howTo = "give the new one as jwt.secret and the old one in jwt.previous_secrets, and restart (with several nodes: first the new one in jwt.previous_secrets on every node; docs/rotation.md)"
	switch {
	case l.Database.URL != nil:
		return fmt.Errorf("with PostgreSQL the secret is given by a setting, so there is no file to rotate: %s", howTo)
	}
	given := fmt.Errorf("%s is given, so the secret file does not sign: %s", l.where("jwt.secret"), howTo)
	if l.JWTSecret != nil && !l.doorConfig().Safe().HasKeyFiles() {
		return given
	}
	kept, err := openBeside(ctx, l.Settings, time.Now)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // what was acknowledged is durable without it
	done, err := safe.Rotate(ctx, l.doorConfig().Safe(), kept, c.Now, p.random, time.Now())
	if err != nil {
		return err
	}
	if done.KeyID == "" {
		if len(done.KeyPairs) == 0 {
			return given
		}
		p.warn(given.Error())
	}
	for _, w := range done.Warnings {
		p.warn(w)
	}
	if c.Now && len(l.JWTPreviousSecrets) > 0 {
		p.warn(l.where("jwt.previous_secrets") + ": what these have signed is still accepted; remove them and restart the server")
	}
	if c.JSON {
		return p.printJSON(done)
	}
	_, err = fmt.Fprintln(p.Out, done)
	return err
}

package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doorward/api"
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
	if why := l.doorConfig().Safe().CannotRotate(l.where("jwt.secret")); why != "" {
		return errors.New(why)
	}
	kept, err := openBeside(ctx, l.Settings, time.Now)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // what was acknowledged is durable without it
	done, err := safe.RotateOrSay(ctx, l.doorConfig().Safe(), kept, safe.RotatedByHand(), c.Now, p.random, time.Now(), l.where("jwt.secret"))
	if err != nil {
		return err
	}
	for _, w := range done.Warnings {
		p.warn(w)
	}
	if c.Now && len(l.JWTPreviousSecrets) > 0 {
		p.warn(l.where("jwt.previous_secrets") + ": what these have signed is still accepted; remove them and restart the server")
	}
	if c.JSON {
		return p.printJSON(api.RotatedBody(done))
	}
	_, err = fmt.Fprintln(p.Out, done)
	return err
}

package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doorward"
	"doorward/api"
	"doorward/gate"
)

type explainCmd struct {
	As        string `name:"as" placeholder:"NAME" xor:"whom" help:"Who asks: a user, an API token by its name, or operator for the api_key. Nobody when not given."`
	Role      string `name:"role" placeholder:"ROLE" xor:"whom" help:"Anybody with this role; needs no database."`
	Org       string `name:"org" placeholder:"ID" help:"The organization asked for with X-Organization-ID."`
	Workspace string `name:"workspace" placeholder:"ID" help:"The workspace asked for with X-Workspace-ID."`
	Host      string `name:"host" placeholder:"HOST" default:"localhost" help:"The host asked for."`
	JSON      bool   `name:"json" help:"Print JSON."`

	Method string `arg:"" name:"method" help:"GET, POST and so on, in capitals."`
	Path   string `arg:"" name:"path" help:"The path as a client sends it."`
}

func (*explainCmd) takes(string) bool { return true }

// Run says what the door would make of a request, and which rule decides. It reads the
// settings that the server has, and the database for users and for how the door stands.
func (c *explainCmd) Run(ctx context.Context, p *program, src *sources) error {
	l := load(*src)
	if err := l.err(); err != nil {
		return err
	}
	for _, w := range l.warnings {
		p.warn(w)
	}
	q := gate.Question{As: c.As, Role: c.Role, Org: c.Org, Workspace: c.Workspace, Host: c.Host, Method: c.Method, Path: c.Path}
	r, err := q.Request()
	if err != nil {
		return err
	}
	id, there, mode, err := c.caller(ctx, l.Settings)
	if err != nil {
		return err
	}
	behind := l.behind()
	policy, err := gate.NewPolicy(gate.Rules{
		Doors: doorsOf(l.Settings), Prefix: l.PathPrefix, Routes: l.Routes, Upstreams: patternsOf(behind),
		Disabled: l.AuthEnabled != nil && !*l.AuthEnabled,
	})
	if err != nil {
		return err
	}
	e := policy.Explain(r, id, doorward.Asked{Org: c.Org, Workspace: c.Workspace}, there, mode)
	done := gate.Explained{Question: q, Explanation: e}
	if e.Refusal == nil && !e.Ours {
		done.To = inFull(behind)[e.Upstream]
	}
	if c.JSON {
		return p.printJSON(api.ExplainedBody(done))
	}
	_, err = fmt.Fprintln(p.Out, done)
	return err
}

// inFull says of each service behind the door what it is called and where it is.
func inFull(behind []Upstream) []string {
	if len(behind) == 0 {
		return []string{"the sample service"}
	}
	var all []string
	for _, u := range behind {
		all = append(all, gate.NamesOf(u.Name, u.URL.String()).Full)
	}
	return all
}

// caller finds who asks, what places there are, and how the door stands.
func (c *explainCmd) caller(ctx context.Context, s Settings) (id doorward.Identity, there *doorward.Places, mode doorward.Mode, err error) {
	if c.Role != "" {
		role, err := roleWord(c.Role)
		if err != nil {
			return id, nil, 0, fmt.Errorf("--role: %w", err)
		}
		return doorward.AnybodyWith(role, doorward.Default, doorward.Default), nil, doorward.ModeClosed, nil
	}
	kept, err := openBeside(ctx, s, time.Now)
	if err != nil {
		return id, nil, 0, err
	}
	defer kept.Close() //nolint:errcheck // it was only read
	state, err := kept.State(ctx)
	if err != nil {
		return id, nil, 0, err
	}
	there, err = doorward.NewPlaces(func(yield func(doorward.Organization, []string) error) error { return kept.Places(ctx, "", yield) })
	if err != nil {
		return id, nil, 0, err
	}
	mode = state.Mode(len(configuredCredentials(s)) > 0, openAllowed(s))
	if c.As == "" {
		return id, there, mode, nil
	}
	if id, ok := configuredIdentity(s, c.As); ok {
		return id, there, mode, nil
	}
	canonical, possible := doorward.CanonicalUsername(c.As)
	var u doorward.User
	if possible {
		if u, _, possible, err = kept.UserByName(ctx, canonical); err != nil {
			return id, nil, 0, err
		}
	}
	switch {
	case !possible:
		return id, nil, 0, errors.New("--as: there is no user and no API token of that name")
	case u.Disabled:
		return id, nil, 0, errors.New("--as: " + doorward.DisabledWords(u))
	}
	return u.Identity(), there, mode, nil
}

// configuredIdentity is who shows a key or token of the settings, by its name.
func configuredIdentity(s Settings, name string) (doorward.Identity, bool) {
	for _, c := range configuredCredentials(s) {
		if c.Name != name || name == "" {
			continue
		}
		workspace := c.Workspace
		if workspace == "" {
			workspace = doorward.Default
		}
		return doorward.Identity{
			Kind: c.Kind, Subject: c.Name, Role: c.Role, Org: doorward.Default, Workspaces: doorward.Workspaces(workspace), Via: doorward.ViaSecret,
		}, true
	}
	return doorward.Identity{}, false
}

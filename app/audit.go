package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"doorward"
	"doorward/api"
)

type auditCmd struct {
	Actor     string `name:"actor" placeholder:"ID" help:"Only what this user, key or client did."`
	Action    string `name:"action" placeholder:"ACTION" help:"Only this: user.create, or user. for all of users."`
	Target    string `name:"target" placeholder:"ID" help:"Only what was done to this."`
	From      string `name:"from" placeholder:"TIME" help:"Only from this time on, as 2030-01-31T23:59:59Z."`
	To        string `name:"to" placeholder:"TIME" help:"Only until before this time."`
	RequestID string `name:"request-id" placeholder:"ID" help:"Only of this request."`
	Org       string `name:"org" placeholder:"ID" help:"Only of this organization."`
	Limit     int    `name:"limit" placeholder:"N" help:"At most so many, the newest (default: all)."`
	JSON      bool   `name:"json" xor:"form" help:"Print JSON, an entry a line."`
	CSV       bool   `name:"csv" xor:"form" help:"Print CSV."`
}

func (*auditCmd) takes(key string) bool { return inDatabase(key) }

// Validate refuses a number that means nothing.
func (c *auditCmd) Validate() error {
	if c.Limit < 0 {
		return errors.New("--limit: must be a number from 1 on")
	}
	return nil
}

// Run prints the audit log, newest first, as it is read.
func (c *auditCmd) Run(ctx context.Context, p *program, src *sources) error {
	q := doorward.AuditQuery{Actor: c.Actor, Action: c.Action, Target: c.Target, RequestID: c.RequestID, Limit: 500}
	if c.Org != "" {
		q.Orgs = []string{c.Org}
	}
	for _, at := range []struct {
		flag, text string
		to         *time.Time
	}{{"--from", c.From, &q.From}, {"--to", c.To, &q.To}} {
		if at.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, at.text)
		if err != nil {
			return fmt.Errorf("%s: must be a time like 2030-01-31T23:59:59Z", at.flag)
		}
		*at.to = t
	}
	kept, _, err := p.openKept(ctx, c, src)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // it was only read
	left := c.Limit
	read := func(ctx context.Context, before doorward.AuditMark) ([]doorward.AuditRecord, error) {
		q.Before = before
		if c.Limit > 0 {
			if left == 0 {
				return nil, nil
			}
			q.Limit = min(q.Limit, left)
		}
		page, err := kept.Audit(ctx, q)
		left -= len(page)
		return page, err
	}
	out := bufio.NewWriter(p.Out)
	switch {
	case c.CSV:
		err = doorward.WriteAuditCSV(ctx, out, read)
	case c.JSON:
		encoder := json.NewEncoder(out)
		err = eachAudit(ctx, read, func(r doorward.AuditRecord) error { return encoder.Encode(api.AuditBody(r)) })
	default:
		err = printAudit(ctx, out, read)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

func eachAudit(ctx context.Context, read func(context.Context, doorward.AuditMark) ([]doorward.AuditRecord, error), do func(doorward.AuditRecord) error) error {
	var before doorward.AuditMark
	for {
		page, err := read(ctx, before)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if err := do(r); err != nil {
				return err
			}
		}
		before = page[len(page)-1].AuditMark
	}
}

func printAudit(ctx context.Context, out io.Writer, read func(context.Context, doorward.AuditMark) ([]doorward.AuditRecord, error)) error {
	line := columns(out, "%-20s  %-16s  %-8s  %-28s  %-28s  %-15s  %-20s  %s")
	if err := line("TIME", "ACTION", "OUTCOME", "WHO", "WHOM", "ADDRESS", "REQUEST", "WHAT"); err != nil {
		return err
	}
	return eachAudit(ctx, read, func(r doorward.AuditRecord) error {
		who := r.Actor
		if r.ActorName != "" {
			who = r.ActorName
		}
		return line(second(r.Time), onOneLine(r.Action), r.Outcome, onOneLine(who), onOneLine(r.Target), r.Address, onOneLine(r.RequestID), onOneLine(r.Detail))
	})
}

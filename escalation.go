package doorward

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Of what one actor is refused, so many entries are written in ten minutes, and the rest are
// counted: the log must tell of who tries, and must not be filled by who does nothing else.
const (
	refusalsAtOnce = 10
	refusalWindow  = 10 * time.Minute
	refusedActors  = 500 // that have a count of their own: who has one admin's token can call clients as they like
)

// refusals counts what actors were refused lately. The zero value is ready; safe for
// concurrent use.
type refusals struct {
	mu sync.Mutex
	of map[string]*refusalCount // by actor
}

type refusalCount struct {
	since   time.Time
	written int
	more    int        // not written
	last    AuditEntry // of those
}

// count reports whether e is to be written.
func (r *refusals) count(e AuditEntry, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]*refusalCount{}
	}
	key := string(e.ActorKind) + " " + e.Org + " " + e.Actor
	if r.of[key] == nil && len(r.of) >= refusedActors {
		key = "" // all others together
	}
	c := r.of[key]
	if c == nil {
		c = &refusalCount{since: now}
		r.of[key] = c
	}
	if c.written < refusalsAtOnce {
		c.written++
		return true
	}
	c.more++
	c.last = e
	return false
}

// over forgets the counts whose time is over, and returns an entry for each of them that
// was not written in full.
func (r *refusals) over(now time.Time) []AuditEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []AuditEntry
	for key, c := range r.of {
		if d := now.Sub(c.since); d >= 0 && d < refusalWindow {
			continue
		}
		if c.more > 0 {
			c.last.Detail = fmt.Sprintf("and %d more that were refused; this is the last of them", c.more)
			all = append(all, c.last)
		}
		delete(r.of, key)
	}
	return all
}

// refuse returns err, and where it says that the caller reached too high or for what is not
// theirs it first writes e, which says what was asked for: a refused escalation changes
// nothing else that could carry the entry. What is not there is recorded like what is another
// organization's, so that the time that it takes tells neither from the other.
//
// The refusal stands whether or not the entry could be written.
func (a *Authority) refuse(ctx context.Context, e AuditEntry, err error) error {
	var r *Error
	if !errors.As(err, &r) || r.Code != CodeForbidden && r.Code != CodeNotFound {
		return err
	}
	e.Outcome, e.Target = OutcomeRefused, idOrNothing(e.Target)
	if e.Detail != "" {
		e.Detail += ": "
	}
	e.Detail += r.Message
	if a.refusals.count(e, a.cfg.Now()) {
		a.record(ctx, e)
	}
	return err
}

// record writes an entry for which nothing else is written. What cannot be written is in
// the log of the program at least.
func (a *Authority) record(ctx context.Context, e AuditEntry) {
	if err := a.cfg.Store.WriteAudit(context.WithoutCancel(ctx), e); err != nil {
		a.cfg.Log.ErrorContext(ctx, "cannot write to the audit log", "err", err, "action", e.Action, "outcome", string(e.Outcome), "actor", e.Actor, "target", e.Target, "request_id", e.RequestID)
	}
}

// idOrNothing is s if it can be the id of something here: what a client sends in its place
// may be a secret, or a book.
func idOrNothing(s string) string {
	if len(s) > 64 {
		return ""
	}
	for i := 0; i < len(s); i++ {
		if !alphanumeric(s[i]) && s[i] != '_' && s[i] != '-' {
			return ""
		}
	}
	return s
}

package doorward

import (
	"cmp"
	"context"
	"time"
)

// AuditEntry records who did what to whom, from where, in which request, and what came of
// it. It is written in the transaction of what it records, so that neither exists without
// the other. It never holds a secret.
type AuditEntry struct {
	Action    string // noun.verb: user.create, session.end
	Outcome   Outcome
	ActorKind Kind
	Actor     string // subject; empty for nobody, the system and the command line
	ActorName string // username, for people
	Target    string // id of what was acted on
	Org       string // empty for what is no organization's
	Address   string
	RequestID string
	Detail    string // in words, for people
}

// Outcome says what came of what somebody set out to do.
type Outcome string

// The outcomes. The zero value is kept as OutcomeDone.
const (
	OutcomeDone    Outcome = "done"
	OutcomeFailed  Outcome = "failed"  // a wrong password
	OutcomeRefused Outcome = "refused" // who asked may not
)

// The actions that stand for no change: what is attempted, and what follows from it.
const (
	ActionSignIn = "user.sign_in" // a sign-in that failed; one that ends well is a session.create
	ActionLock   = "user.lock"    // an account was locked
)

// ActionSession is the beginning of a session; where a person did it, a sign-in that ended well.
const ActionSession = "session.create"

// Audit starts the entry for something this caller does.
func (c Caller) Audit(action, target, detail string) AuditEntry {
	e := AuditEntry{
		Action: action, ActorKind: c.Kind, Actor: c.Subject, ActorName: c.Username,
		Target: target, Org: c.Org, RequestID: c.RequestID, Detail: detail,
	}
	if c.Address.IsValid() {
		e.Address = c.Address.String()
	}
	return e
}

// AuditRecord is an entry as it is kept.
type AuditRecord struct {
	AuditMark
	AuditEntry
}

// AuditMark is a place in the audit log: entries are in the order of their time, and within
// a millisecond of their number.
type AuditMark struct {
	Time time.Time
	ID   int64
}

// Compare is negative when m is before other in the log, positive after it, and 0 for the same place.
func (m AuditMark) Compare(other AuditMark) int {
	return cmp.Or(m.Time.Compare(other.Time), cmp.Compare(m.ID, other.ID))
}

// AuditQuery asks for entries, newest first. Empty fields ask for all.
type AuditQuery struct {
	Orgs      []string // nil for all of them; "" is what is no organization's
	Action    string   // exact, or what actions begin with when it ends in a dot: user.
	Actor     string
	Target    string
	RequestID string
	From, To  time.Time // from the one until before the other
	Before    AuditMark // the last entry of the page before; zero for the first page
	Limit     int       // 1 to 1000
}

// AuditLog lists a page of what by may know of: the entries of the organization that by acts
// in, and for a superadmin also those of none. q.Orgs is not read. next is where the next
// page begins, zero at the end.
func (a *Authority) AuditLog(ctx context.Context, by Caller, q AuditQuery) (page []AuditRecord, next AuditMark, err error) {
	if q, err = a.knownTo(ctx, by, q); err != nil {
		return nil, AuditMark{}, err
	}
	return a.auditPage(ctx, q)
}

// knownTo is q, asked of no more than by may know.
func (a *Authority) knownTo(ctx context.Context, by Caller, q AuditQuery) (AuditQuery, error) {
	if !by.Role.AtLeast(Admin) {
		return q, ErrForbidden
	}
	q.Orgs = by.auditOrgs()
	since, err := a.KnownSince(ctx, by)
	if q.From.Before(since) {
		q.From = since
	}
	return q, err
}

func (a *Authority) auditPage(ctx context.Context, q AuditQuery) (page []AuditRecord, next AuditMark, err error) {
	limit := q.Limit
	q.Limit++
	page, err = a.cfg.Store.Audit(ctx, q)
	if err != nil {
		return nil, AuditMark{}, Unavailable(err)
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].AuditMark
	}
	return page, next, nil
}

// auditOrgs are the organizations whose entries by may know of: the one that by acts in, and
// for a superadmin also none.
func (by Caller) auditOrgs() []string {
	if by.Role == Superadmin {
		return []string{by.Org, ""}
	}
	return []string{by.Org}
}

// KnownSince is from when on by may know what has happened in the organization that by acts in; zero for all of it. An organization's id is
// free again when it is deleted, and the log stays: what it says of those who had the id
// before is for superadmins, and for no tenant after them.
func (a *Authority) KnownSince(ctx context.Context, by Caller) (time.Time, error) {
	if by.Role == Superadmin || by.Org == Default {
		return time.Time{}, nil
	}
	of := []string{by.Org}
	made, err := a.cfg.Store.Audit(ctx, AuditQuery{Orgs: of, Action: "organization.create", Target: by.Org, Limit: 1})
	if err != nil {
		return time.Time{}, Unavailable(err)
	}
	if len(made) == 0 {
		return time.Time{}, nil // so long ago that nothing from before is kept
	}
	before, err := a.cfg.Store.Audit(ctx, AuditQuery{Orgs: of, To: made[0].Time, Limit: 1})
	if err != nil {
		return time.Time{}, Unavailable(err)
	}
	if len(before) == 0 {
		return time.Time{}, nil
	}
	return made[0].Time, nil
}

package doorward

import (
	"context"
	"time"
)

// HourCount is how often, in one hour, what an overview tells of has happened.
type HourCount struct {
	Hour     time.Time // when it began, UTC
	SignIns  int64     // of people, that ended well
	Failures int64     // sign-ins that failed
	Lockouts int64     // accounts that were locked
}

// LockedAccount is a user whose account is locked after too many wrong passwords.
type LockedAccount struct {
	User    User
	Until   time.Time
	Managed bool // who asks may unlock it
}

// Overview is how it goes at the door of one organization.
type Overview struct {
	Now    time.Time
	Hours  []HourCount // of the last OverviewDays days, oldest first; those in which there was nothing are left out
	Locked []LockedAccount
	More   bool // accounts are locked than Locked holds
}

// What an overview tells at the most.
const (
	OverviewDays   = 30
	OverviewLocked = 50
)

// Overview tells how it goes in the organization that by acts in: sign-ins, failures and
// lockouts by the hour, and who is locked now; to a superadmin also the failures at names that are nobody's.
func (a *Authority) Overview(ctx context.Context, by Caller) (Overview, error) {
	if !by.Role.AtLeast(Admin) {
		return Overview{}, ErrForbidden
	}
	o := Overview{Now: a.cfg.Now().UTC()}
	from := StartOfDay(o.Now).AddDate(0, 0, 1-OverviewDays)
	since, err := a.KnownSince(ctx, by)
	if err != nil {
		return Overview{}, err
	}
	if since = since.Add(time.Hour - time.Millisecond).Truncate(time.Hour); from.Before(since) {
		from = since // the first whole hour
	}
	if o.Hours, err = a.cfg.Store.CountByHour(ctx, by.auditOrgs(), from); err != nil {
		return Overview{}, Unavailable(err)
	}
	if o.Locked, err = a.cfg.Store.LockedAccounts(ctx, by.Org, OverviewLocked+1); err != nil {
		return Overview{}, Unavailable(err)
	}
	if o.More = len(o.Locked) > OverviewLocked; o.More {
		o.Locked = o.Locked[:OverviewLocked]
	}
	for i := range o.Locked {
		o.Locked[i].Managed = by.Manages(o.Locked[i].User) == nil
	}
	return o, nil
}

// StartOfDay is when the day of t began, UTC.
func StartOfDay(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

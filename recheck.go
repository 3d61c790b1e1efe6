package doorward

import (
	"context"
	"time"
)

// Recheck decides whether who was let in a while ago, as id for showing shown, may stay:
// nil, or why not. It is for requests that last, asks the store nothing, and may be called
// several times a second for each of them.
//
// An API key or API token must still be let in, and as the same; a token's session must
// not have ended, whatever has become of the token in the refresh chain since. The errors
// are those of Authenticate: ErrTokenBlacklisted; ErrTokenExpired at the time until, at
// which the token expires; unavailable when what other nodes have changed could not be
// read for MaxStaleness, since it is not known then who was signed out meanwhile.
func (a *Authority) Recheck(ctx context.Context, shown Presented, id Identity, until time.Time) error {
	if id.Session == "" {
		return a.recheckSecret(ctx, shown, id)
	}
	now := a.cfg.Now()
	switch {
	case a.revoked.has(id.Session):
		return ErrTokenBlacklisted
	case !now.Before(until):
		return ErrTokenExpired
	case a.stale(now):
		return Unavailable(errStale)
	}
	return nil
}

func (a *Authority) recheckSecret(ctx context.Context, shown Presented, id Identity) error {
	again, err := a.Authenticate(ctx, shown)
	if err != nil {
		return err
	}
	again.Workspace = id.Workspace // the request's own choice
	if id.Role == Superadmin {
		again.Org, again.Workspaces = id.Org, id.Workspaces // likewise
	}
	if again != id {
		return ErrTokenBlacklisted // its role is another, say: what the service was told is not so any more
	}
	return nil
}

// OutlivesToken reports whether a request of id's that is under way may go on when the token
// expires that it showed, until SessionEnds.
func (a *Authority) OutlivesToken(id Identity) bool {
	return a.cfg.OutliveToken && id.Session != ""
}

// SessionEnds reads until when the session id may last at the longest, unless it has ended:
// then the error is ErrTokenBlacklisted.
func (a *Authority) SessionEnds(ctx context.Context, id string) (time.Time, error) {
	s, found, err := a.cfg.Store.Session(ctx, id)
	switch {
	case err != nil:
		return time.Time{}, Unavailable(err)
	case !found, !s.Ended.IsZero():
		return time.Time{}, ErrTokenBlacklisted
	}
	return s.Ends, nil
}

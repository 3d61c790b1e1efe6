package doorward

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// followEvery is how often the feed is read when nothing wakes who reads it: a
// notification can be lost.
const followEvery = 200 * time.Millisecond

// Follow keeps a up to date with what other nodes and the command line change, until ctx
// ends: sessions they end are dead here within a moment, never later than MaxStaleness,
// since an Authority that has not managed to read for longer refuses with 503 rather than
// let a revoked token in. Call it once, in a goroutine of its own; without it every token
// is refused after MaxStaleness.
func (a *Authority) Follow(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		err := a.CatchUp(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !failing:
			a.cfg.Log.ErrorContext(ctx, "cannot read what other nodes have changed; tokens are refused from max_staleness on", "err", err)
			failing = true
		case err == nil && failing:
			a.cfg.Log.InfoContext(ctx, "up to date again with what other nodes have changed")
			failing = false
		}
		a.cfg.Store.AwaitChange(ctx, followEvery)
	}
}

// CatchUp reads once what has changed since the last time. It is safe for concurrent use,
// and for tests and for who has a rhythm of their own; others call Follow.
func (a *Authority) CatchUp(ctx context.Context) error {
	a.following.Lock()
	defer a.following.Unlock()
	began := a.cfg.Now()
	var apiKeys, owners []string
	moved := map[string]bool{}
	last, err := a.cfg.Store.Changes(ctx, a.cursor, func(c Change) error {
		switch c.What {
		case SessionEnded:
			a.revoke(EndedSession{ID: c.Target, Until: c.Until})
		case KeysChanged:
			a.signing = c.Target
		case KeyChanged:
			apiKeys = append(apiKeys, c.Target)
		case OwnerChanged:
			owners = append(owners, c.Target)
		case PlacesChanged:
			moved[c.Target] = true
		}
		return nil
	})
	if errors.Is(err, ErrFeedGap) {
		last, err = a.readAnew(ctx)
	} else if err == nil {
		err = a.readChangedKeys(ctx, apiKeys, owners)
		if err == nil {
			err = a.readMoved(ctx, moved)
		}
	}
	if err == nil {
		err = a.endStopped(ctx)
	}
	if err != nil {
		a.outage.Store(true)
		return err
	}
	a.cursor = last
	a.outage.Store(false)
	a.view.Store(&began)
	a.followKey(ctx)
	return nil
}

// readAnew reads all that the feed would have told, for who has missed some of it. When
// the database went backwards, what was seen of it means nothing any more.
func (a *Authority) readAnew(ctx context.Context) (last int64, err error) {
	if last, err = a.readEnded(ctx); err != nil {
		return 0, err
	}
	kid, err := a.cfg.Store.KeyID(ctx)
	if err != nil {
		return 0, err
	}
	a.signing = kid
	if err := a.readKeys(ctx); err != nil {
		return 0, err
	}
	if err := a.readPlaces(ctx); err != nil {
		return 0, err
	}
	if last < a.cursor {
		a.cfg.Log.ErrorContext(ctx, "ALARM", "err", "the database went backwards: it knows fewer changes than were read from it", "changes", last, "read", a.cursor)
		a.seen.clear()
	}
	return last, nil
}

// readEnded reads which sessions have ended, and the number of the last change before.
func (a *Authority) readEnded(ctx context.Context) (last int64, err error) {
	// The number first: what ends in between is then read twice, and not never.
	if last, err = a.cfg.Store.LastChange(ctx); err != nil {
		return 0, err
	}
	err = a.cfg.Store.EndedSessions(ctx, func(e EndedSession) error {
		a.revoke(e)
		return nil
	})
	return last, err
}

// followKey follows a rotation of the signing secret. What could not be read is tried
// again each time: a secret that was dropped must not live on here because a file could
// not be opened once.
func (a *Authority) followKey(ctx context.Context) {
	kid, ring := a.signing, a.keys.Load()
	if kid == "" || kid == ring.KeyID() {
		a.signing = ""
		return
	}
	keys, err := ring, error(nil)
	if a.cfg.ReloadKeys != nil {
		keys, err = a.cfg.ReloadKeys(kid)
	}
	if err == nil && !keys.Has(kid) {
		err = errUnknownKey
	}
	if err != nil {
		if a.alarmed != kid {
			a.cfg.Log.ErrorContext(ctx, "ALARM", "err", fmt.Errorf("tokens are signed with a secret that this server cannot check, so it refuses them: %w", err), "kid", kid)
			a.alarmed = kid
		}
		return
	}
	a.signing, a.alarmed = "", ""
	a.keys.Store(keys)
	if keys.KeyID() != ring.KeyID() {
		a.cfg.Log.InfoContext(ctx, "the signing secret was rotated", "kid", keys.KeyID())
	}
}

var errUnknownKey = errors.New("it is not among the secrets given here; add it to jwt.previous_secrets and restart")

// stale reports whether what is known here of other nodes' changes is too old to let
// anybody in by it. A clock that was set back says nothing of the time that has passed, and
// one that counts from the start may stand still while the machine sleeps, so that both are asked.
func (a *Authority) stale(now time.Time) bool {
	view := *a.view.Load()
	return now.Sub(view) > a.cfg.MaxStaleness || now.Round(0).Sub(view.Round(0)) > a.cfg.MaxStaleness
}

// Current returns an error when what is known of other nodes' changes is too old to let
// anybody in by it.
func (a *Authority) Current(context.Context) error {
	if a.stale(a.cfg.Now()) {
		return Unavailable(errStale)
	}
	return nil
}

var errStale = errors.New("what other nodes have changed could not be read for max_staleness")

// Places says which organizations and workspaces there are, as far as this node has heard.
func (a *Authority) Places() *Places { return a.places.Load() }

func (a *Authority) readPlaces(ctx context.Context) error {
	p, err := NewPlaces(func(yield func(Organization, []string) error) error {
		return a.cfg.Store.Places(ctx, "", yield)
	})
	if err == nil {
		a.places.Store(p)
	}
	return err
}

// readMoved reads anew what there is of each organization in which something came or went.
// Reading is better than being told: it does not matter in which order one hears of things.
func (a *Authority) readMoved(ctx context.Context, orgs map[string]bool) error {
	if len(orgs) > 16 {
		return a.readPlaces(ctx)
	}
	for org := range orgs {
		var at *tenant
		err := a.cfg.Store.Places(ctx, org, func(o Organization, workspaces []string) error {
			is := newTenant(o, workspaces)
			at = &is
			return nil
		})
		if err != nil {
			return err
		}
		a.places.Store(a.places.Load().with(org, at))
	}
	return nil
}

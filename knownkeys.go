package doorward

import (
	"context"
	"time"
)

// authenticateKey decides who shows the key with the hash h, made at run time: from memory
// alone. What is known of keys is as old as what is known of other nodes' changes, and no
// older than MaxStaleness lets anybody in.
func (a *Authority) authenticateKey(h *SecretHash, shown string) (Identity, error) {
	now := a.cfg.Now()
	e := a.known.find(h)
	if e == nil {
		// One that may have been made elsewhere is not known to be none.
		if wellFormed, sumOK := CheckAPIKeySum(shown); wellFormed && sumOK && a.stale(now) {
			return Identity{}, Unavailable(errStale)
		}
		return Identity{}, ErrInvalidToken
	}
	id, err := e.identity(now)
	if err != nil {
		return Identity{}, err
	}
	if a.stale(now) {
		return Identity{}, Unavailable(errStale)
	}
	if e.note(now) {
		a.uses.note(e.id)
	}
	return id, nil
}

// readKeys reads all keys and their owners, for who knows none or has missed changes.
func (a *Authority) readKeys(ctx context.Context) error {
	t := &a.known
	t.mu.Lock()
	defer t.mu.Unlock()
	l := new(keyLoad)
	err := a.cfg.Store.LoadKeys(ctx, nil, func(k KeyRecord) error {
		l.add(k)
		return nil
	})
	if err == nil {
		err = a.cfg.Store.LoadHolders(ctx, nil, func(u User) error {
			l.fresh.setOwner(u)
			return nil
		})
	}
	if err != nil {
		return err
	}
	t.replace(l)
	return nil
}

// readChangedKeys reads keys and users anew of which the feed says that they have changed.
func (a *Authority) readChangedKeys(ctx context.Context, keys, users []string) error {
	if len(keys) == 0 && len(users) == 0 {
		return nil
	}
	t := &a.known
	// Held while reading: what is read last is put in last.
	t.mu.Lock()
	defer t.mu.Unlock()
	owners := map[string]bool{} // to be read
	for _, id := range users {
		if t.owners[id] != nil {
			owners[id] = true
		}
	}
	if len(keys) > 0 {
		var found []KeyRecord
		err := a.cfg.Store.LoadKeys(ctx, keys, func(k KeyRecord) error {
			found = append(found, k)
			return nil
		})
		if err != nil {
			return err
		}
		there := make(map[string]bool, len(found))
		for _, k := range found {
			there[k.ID] = true
			if k.Revoked {
				t.remove(k.Hash)
				continue
			}
			if k.Owner != "" && t.owners[k.Owner] == nil {
				owners[k.Owner] = true
			}
			t.set(k)
		}
		for _, id := range keys {
			if !there[id] {
				t.removeID(id)
			}
		}
	}
	if len(owners) == 0 {
		return nil
	}
	ids := make([]string, 0, len(owners))
	for id := range owners {
		ids = append(ids, id)
	}
	err := a.cfg.Store.LoadHolders(ctx, ids, func(u User) error {
		t.setOwner(u)
		delete(owners, u.ID)
		return nil
	})
	if err != nil {
		return err
	}
	for id := range owners { // who is not there any more
		t.owners[id].is.Store(nil)
	}
	return nil
}

// learnKeys makes keys that were just made good here at once. Where they cannot be read the
// feed brings them.
func (a *Authority) learnKeys(ctx context.Context, ids ...string) {
	if err := a.readChangedKeys(context.WithoutCancel(ctx), ids, nil); err != nil {
		a.cfg.Log.WarnContext(ctx, "a key that was just made is not known here yet", "err", err)
	}
}

// forgetKey makes a key that the store has revoked dead here, before anybody is told.
func (a *Authority) forgetKey(h SecretHash) {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	a.known.remove(h)
}

// stopKey lets a key that was rotated live until the time until, before anybody is told.
func (a *Authority) stopKey(h SecretHash, until time.Time) {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	a.known.stop(h, until)
}

// holderChanged makes what has become of u count for their keys here at once. What is
// known already of a later change stays.
func (a *Authority) holderChanged(u User) {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	if o := a.known.owners[u.ID]; o != nil {
		if is := o.is.Load(); is != nil && is.version <= u.Version {
			a.known.setOwner(u)
			if !is.workspaces.within(o.is.Load().workspaces) {
				a.known.orphan(o)
			}
		}
	}
}

// holderGone makes the keys of a user who was deleted dead here at once.
func (a *Authority) holderGone(id string) {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	if o := a.known.owners[id]; o != nil {
		o.is.Store(nil)
	}
}

// endStopped ends the sessions of keys that were rotated and whose overlap is over, once it
// may be. The store's clock decides; until it agrees it is asked again.
func (a *Authority) endStopped(ctx context.Context) error {
	next := a.known.nextStop.Load()
	if next == 0 || a.cfg.Now().UnixMilli() < next {
		return nil
	}
	return a.askStopped(ctx)
}

func (a *Authority) askStopped(ctx context.Context) error {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	system := Caller{}
	ended, next, err := a.cfg.Store.EndStoppedKeys(ctx, system.Audit("key.revoke", "", EndKeyRotated))
	if err != nil {
		return err
	}
	a.revoke(ended...)
	a.known.nextStop.Store(0)
	if !next.IsZero() {
		a.known.nextStop.Store(next.UnixMilli())
	}
	return nil
}

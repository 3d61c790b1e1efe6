package doorward

import (
	"context"
	"time"
)

// How uses are gathered before they are written.
const (
	keyUsesWaiting  = 8192 // more than these are not noted: they are again a minute later
	keyUsesAtOnce   = 1000
	keyUsesEvery    = 500 * time.Millisecond
	keyUsesPatience = 3 * time.Second
)

// keyUses carries the ids of keys that were used from requests to who writes them down. No
// request waits.
type keyUses chan string

func newKeyUses() keyUses { return make(keyUses, keyUsesWaiting) }

func (u keyUses) note(id string) {
	select {
	case u <- id:
	default:
	}
}

// RecordKeyUse writes down when keys were last used, at most once a minute for each, until
// ctx ends; then what has been gathered, and returns. Call it once, in a goroutine of its
// own; without it nothing is written down.
func (a *Authority) RecordKeyUse(ctx context.Context) {
	failing := false
	write := func(ids []string) {
		if len(ids) == 0 {
			return
		}
		// What was gathered is written although ctx has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyUsesPatience)
		defer cancel()
		err := a.cfg.Store.NoteKeyUses(ctx, ids)
		if err != nil && !failing {
			a.cfg.Log.WarnContext(ctx, "cannot write down when keys were last used", "err", err)
		}
		failing = err != nil
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case first := <-a.uses:
			write(a.uses.gather(ctx, first))
		}
	}
	for range keyUsesWaiting/keyUsesAtOnce + 1 {
		write(a.uses.rest())
	}
}

// gather waits for more beside first, for a while.
func (u keyUses) gather(ctx context.Context, first string) []string {
	ids := []string{first}
	enough := time.NewTimer(keyUsesEvery)
	defer enough.Stop()
	for len(ids) < keyUsesAtOnce {
		select {
		case id := <-u:
			ids = append(ids, id)
		case <-enough.C:
			return ids
		case <-ctx.Done():
			return ids
		}
	}
	return ids
}

// rest is what waits now.
func (u keyUses) rest() (ids []string) {
	for len(ids) < keyUsesAtOnce {
		select {
		case id := <-u:
			ids = append(ids, id)
		default:
			return ids
		}
	}
	return ids
}

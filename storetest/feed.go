package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"doorward"
)

var feedTests = []test{
	{"nothing has happened yet", func(k *kit) {
		k.user("anna")
		if got := k.changes(0); len(got) != 0 {
			k.Fatalf("got %v, want no change", got)
		}
	}},
	{"whatever ends a session is in the feed, with until when it matters", func(k *kit) {
		u := k.user("anna")
		want := map[string]time.Time{}
		add := func(s doorward.Session) string { want[s.ID] = s.AccessUntil; return s.ID }

		_, _, err := k.EndSession(k.ctx(), add(k.signIn(u)), "x", entry("session.end"))
		k.ok(err)
		first, second, kept := k.signIn(u), k.signIn(u), k.signIn(u)
		add(first)
		add(second)
		_, _, err = k.SetPassword(k.ctx(), doorward.NewPassword{UserID: u.ID, Hash: hashTwo, Keep: kept.ID, Reason: "x"}, func(doorward.User) error { return nil }, entry("password"))
		k.ok(err)
		add(kept)
		_, _, _, err = k.ChangeUser(k.ctx(), u.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
			u.Role = doorward.Viewer
			return u, nil
		}, entry("user.change"))
		k.ok(err)
		u, _, err = k.User(k.ctx(), u.ID)
		k.ok(err)
		add(k.signIn(u))
		_, _, err = k.DeleteUser(k.ctx(), u.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
		k.ok(err)
		reused := k.exchange("tok_reused", "editor")
		add(reused)
		k.decide(reused.ID, func(doorward.RefreshState) doorward.RefreshDecision {
			return doorward.RefreshDecision{Outcome: doorward.Reused}
		})
		add(k.exchange("tok_gone", "editor"))
		_, err = k.EndUnconfigured(k.ctx(), nil, entry("session.end"))
		k.ok(err)

		got := map[string]time.Time{}
		for _, c := range k.changes(0) {
			if c.What != doorward.SessionEnded {
				k.Errorf("got a change %q", c.What)
			}
			got[c.Target] = c.Until
		}
		for id, until := range want {
			if is, ok := got[id]; !ok || !is.Equal(until) {
				k.Errorf("session %s: got until %v (%v), want %v", id, is, ok, until)
			}
		}
		if len(got) != len(want) {
			k.Errorf("got %d changes, want %d", len(got), len(want))
		}
	}},
	{"what ended before, or was undone, is not in the feed again", func(k *kit) {
		u := k.user("anna")
		s := k.signIn(u)
		_, _, err := k.EndSession(k.ctx(), s.ID, "x", entry("session.end"))
		k.ok(err)
		last, err := k.LastChange(k.ctx())
		k.ok(err)
		_, found, err := k.EndSession(k.ctx(), s.ID, "y", entry("session.end"))
		k.ok(err)
		if !found {
			k.Fatal("a session that has ended is not found")
		}
		k.signIn(u)
		refusal := doorward.Conflict("no")
		if _, _, err := k.DeleteUser(k.ctx(), u.ID, func(doorward.User, doorward.Census) error { return refusal }, entry("user.delete")); !errors.Is(err, refusal) {
			k.Fatalf("got %v, want the refusal", err)
		}
		if got := k.changes(last); len(got) != 0 {
			k.Fatalf("got %v, want nothing new", got)
		}
	}},
	{"thousands of sessions that end together are one number and all there", func(k *kit) {
		const n = 1234
		for i := range n {
			k.exchange(fmt.Sprintf("tok_%d", i%2), "editor")
		}
		_, err := k.EndUnconfigured(k.ctx(), nil, entry("session.end"))
		k.ok(err)
		got := k.changes(0)
		numbers, targets := map[int64]bool{}, map[string]bool{}
		for _, c := range got {
			numbers[c.Number], targets[c.Target] = true, true
		}
		if len(got) != n || len(targets) != n || len(numbers) != 1 {
			k.Fatalf("got %d changes of %d sessions under %d numbers, want %d, %d and 1", len(got), len(targets), len(numbers), n, n)
		}
	}},
	{"reading goes on from where it stopped", func(k *kit) {
		var last int64
		for i := range 5 {
			s := k.exchange(fmt.Sprintf("tok_%d", i), "editor")
			_, _, err := k.EndSession(k.ctx(), s.ID, "x", entry("session.end"))
			k.ok(err)
			var got []doorward.Change
			now, err := k.Changes(k.ctx(), last, func(c doorward.Change) error { got = append(got, c); return nil })
			k.ok(err)
			if len(got) != 1 || got[0].Target != s.ID || got[0].Number != now || now <= last {
				k.Fatalf("got %v and last %d after %d, want %s", got, now, last, s.ID)
			}
			last = now
			if is, err := k.LastChange(k.ctx()); err != nil || is != now {
				k.Fatalf("last change %d (%v), want %d", is, err, now)
			}
		}
	}},
	{"an error of yield is returned", func(k *kit) {
		_, _, err := k.EndSession(k.ctx(), k.exchange("tok_1", "editor").ID, "x", entry("session.end"))
		k.ok(err)
		stop := errors.New("stop")
		if _, err := k.Changes(k.ctx(), 0, func(doorward.Change) error { return stop }); !errors.Is(err, stop) {
			k.Fatalf("got %v, want yield's error", err)
		}
	}},
	{"a number from the future says that the database went backwards", func(k *kit) {
		if _, err := k.Changes(k.ctx(), 17, func(doorward.Change) error { return nil }); !errors.Is(err, doorward.ErrFeedGap) {
			k.Fatalf("got %v, want ErrFeedGap", err)
		}
	}},
	{"who was away for too long is told so", func(k *kit) {
		end := func() {
			_, _, err := k.EndSession(k.ctx(), k.exchange("tok_1", "editor").ID, "x", entry("session.end"))
			k.ok(err)
		}
		end()
		old, err := k.LastChange(k.ctx())
		k.ok(err)
		end()
		k.advance(50 * time.Minute)
		k.ok(k.Prune(k.ctx(), time.Hour))
		if got := k.changes(old); len(got) != 1 {
			k.Fatalf("after 50 minutes: got %v, want one change", got)
		}
		newer, err := k.LastChange(k.ctx())
		k.ok(err)
		k.advance(11 * time.Minute)
		end()
		k.ok(k.Prune(k.ctx(), time.Hour))
		if _, err := k.Changes(k.ctx(), old, func(doorward.Change) error { return nil }); !errors.Is(err, doorward.ErrFeedGap) {
			k.Fatalf("got %v, want ErrFeedGap", err)
		}
		if got := k.changes(newer); len(got) != 1 {
			k.Fatalf("after pruning: got %v, want the newest change", got)
		}
	}},
	{"the kid is kept, and a new one is in the feed", func(k *kit) {
		for i, kid := range []string{"", "first", "first", "second"} {
			if i > 0 {
				k.ok(k.SetKeyID(k.ctx(), kid, entry("secret.rotate")))
			}
			if got, err := k.KeyID(k.ctx()); err != nil || got != kid {
				k.Fatalf("got kid %q (%v), want %q", got, err, kid)
			}
		}
		var got []string
		for _, c := range k.changes(0) {
			if c.What != doorward.KeysChanged {
				k.Errorf("got a change %q", c.What)
			}
			got = append(got, c.Target)
		}
		if !slices.Equal(got, []string{"first", "second"}) {
			k.Fatalf("got %v, want first and second, once each", got)
		}
	}},
	{"waiting ends with a change, and by itself", func(k *kit) {
		quiet, cancel := context.WithTimeout(k.ctx(), 30*time.Second)
		defer cancel()
		for { // what was before is a hint, too
			began := time.Now()
			k.AwaitChange(quiet, 100*time.Millisecond)
			if time.Since(began) >= 100*time.Millisecond {
				break
			}
		}
		s := k.exchange("tok_1", "editor")
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _, err := k.EndSession(k.ctx(), s.ID, "x", entry("session.end"))
			if err != nil {
				k.Error(err)
			}
		})
		for len(k.changes(0)) == 0 { // it is a hint: any number of calls
			k.AwaitChange(quiet, 20*time.Second)
			if quiet.Err() != nil {
				k.Fatal("a change was not noticed")
			}
		}
		wg.Wait()
	}},
	{"numbers commit in order, whoever is slow", func(k *kit) {
		// A reader follows while many write; it must never miss one.
		var sessions []string
		for range callers * 4 {
			sessions = append(sessions, k.exchange("tok_1", "editor").ID)
		}
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for _, id := range sessions[4*i : 4*i+4] {
					if _, _, err := k.EndSession(k.ctx(), id, "x", entry("session.end")); err != nil {
						k.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		seen := map[string]bool{}
		var last int64
		read := func() {
			now, err := k.Changes(k.ctx(), last, func(c doorward.Change) error {
				if c.Number <= last {
					k.Errorf("number %d after %d", c.Number, last)
				}
				seen[c.Target] = true
				return nil
			})
			k.ok(err)
			last = now
		}
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			read()
		}
		if len(seen) != len(sessions) {
			k.Fatalf("a reader who followed saw %d of %d", len(seen), len(sessions))
		}
	}},
}

// changes reads the feed after the number after.
func (k *kit) changes(after int64) []doorward.Change {
	k.Helper()
	var all []doorward.Change
	_, err := k.Changes(k.ctx(), after, func(c doorward.Change) error {
		all = append(all, c)
		return nil
	})
	k.ok(err)
	return all
}

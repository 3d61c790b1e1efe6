package storetest

import (
	"time"

	"doorward"
)

var pruneTests = []test{
	{"sessions go when all their tokens have expired", func(k *kit) {
		now := k.now()
		session := func(life time.Duration) doorward.Session {
			s := k.machine("tok_1", "editor", now)
			s.Ends = now.Add(life)
			s.AccessUntil = s.Ends
			k.ok(k.CreateSession(k.ctx(), s, 1000, entry("session.create")))
			return s
		}
		short, shortOut, long, longOut := session(time.Hour), session(time.Hour), session(3*time.Hour), session(3*time.Hour)
		for _, s := range []doorward.Session{shortOut, longOut} {
			_, _, err := k.EndSession(k.ctx(), s.ID, doorward.EndSignedOut, entry("session.end"))
			k.ok(err)
		}
		gone := map[string]bool{}
		check := func(when string) {
			k.Helper()
			k.ok(k.Prune(k.ctx(), time.Hour))
			for _, s := range []doorward.Session{short, shortOut, long, longOut} {
				_, found, err := k.Session(k.ctx(), s.ID)
				k.ok(err)
				if found == gone[s.ID] {
					k.Errorf("%s: session of %v is found %v", when, s.Ends.Sub(now), found)
				}
			}
		}
		check("at once")
		k.advance(2 * time.Hour)
		gone[short.ID], gone[shortOut.ID] = true, true
		check("after two hours")
		k.advance(2 * time.Hour)
		gone[long.ID], gone[longOut.ID] = true, true
		check("after four hours")
	}},
	{"more than a step goes as well", func(k *kit) {
		now := k.now()
		const n = 600
		last := k.machine("tok_2", "editor", now)
		k.ok(k.CreateSession(k.ctx(), last, 1, entry("session.create")))
		var old [n]doorward.Session
		for i := range old {
			old[i] = k.machine("tok_1", "editor", now)
			old[i].Ends = now.Add(time.Hour)
		}
		race(callers, func(c int) {
			for i := c; i < n; i += callers {
				if err := k.CreateSession(k.ctx(), old[i], n, entry("session.create")); err != nil {
					k.Errorf("session %d: %v", i, err)
				}
			}
		})
		k.advance(2 * time.Hour)
		k.ok(k.Prune(k.ctx(), time.Hour))
		for _, s := range old {
			if _, found, err := k.Session(k.ctx(), s.ID); found || err != nil {
				k.Fatalf("session %s is found %v, error %v", s.ID, found, err)
			}
		}
		k.session(last.ID)
	}},
	{"failures go when they mean nothing any more", func(k *kit) {
		policy := doorward.LockoutPolicy{Attempts: 3, Window: 10 * time.Hour, Duration: 10 * time.Hour}
		k.count("forgotten", policy, 0)
		k.count("forgotten", policy, 0)
		for range policy.Attempts {
			k.count("locked", policy, 0)
		}
		k.advance(2 * time.Hour)
		k.count("recent", policy, 0)
		k.count("recent", policy, 0)
		k.ok(k.Prune(k.ctx(), time.Hour))
		k.lockedFor("locked", 8*time.Hour)
		for _, account := range []string{"forgotten", "recent"} {
			k.count(account, policy, 0) // the third, where the first two are remembered
		}
		k.lockedFor("forgotten", 0)
		k.lockedFor("recent", policy.Duration)
	}},
}

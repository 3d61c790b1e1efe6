package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"doorward"
)

var raceTests = []test{
	{"there is one first user", func(k *kit) {
		people := make([]doorward.User, callers)
		for i := range people {
			people[i] = k.person(fmt.Sprintf("user%d", i))
		}
		var winners atomic.Int64
		race(callers, func(i int) {
			created, err := k.CreateFirstUser(k.ctx(), people[i], hashOne, entry("user.create"))
			if err != nil {
				k.Errorf("caller %d: %v", i, err)
			}
			if created {
				winners.Add(1)
			}
		})
		page, _, err := k.Users(k.ctx(), doorward.UserQuery{Org: doorward.Default, Limit: 1000})
		k.ok(err)
		if winners.Load() != 1 || len(page) != 1 {
			k.Errorf("%d winners and %d users, want one", winners.Load(), len(page))
		}
		k.state(true, true)
	}},
	{"all get one salt", func(k *kit) {
		salts := make([][]byte, callers)
		race(callers, func(i int) {
			salt, err := k.Salt(k.ctx(), bytes.Repeat([]byte{byte(i)}, 32))
			if err != nil {
				k.Errorf("caller %d: %v", i, err)
			}
			salts[i] = salt
		})
		for i, salt := range salts {
			if len(salt) != 32 || !bytes.Equal(salt, salts[0]) {
				k.Errorf("caller %d has %x, another %x", i, salt, salts[0])
			}
		}
	}},
	{"a name goes to one", func(k *kit) {
		people := make([]doorward.User, callers)
		for i := range people {
			name := []byte("annabel")
			for bit := range 6 {
				if i>>bit&1 == 1 {
					name[bit] -= 'a' - 'A'
				}
			}
			people[i] = k.person(string(name))
		}
		var winner atomic.Pointer[doorward.User]
		race(callers, func(i int) {
			err := k.CreateUser(k.ctx(), people[i], hashOne, entry("user.create"))
			var e *doorward.Error
			switch {
			case err == nil && !winner.CompareAndSwap(nil, &people[i]):
				k.Errorf("caller %d has won as well", i)
			case err != nil && (!errors.As(err, &e) || e.Code != doorward.CodeConflict):
				k.Errorf("caller %d: %v", i, err)
			}
		})
		got, _, found, err := k.UserByName(k.ctx(), "annabel")
		k.ok(err)
		if w := winner.Load(); w == nil || !found || !sameUser(got, *w) {
			k.Errorf("kept %+v, the winner was %+v", got, w)
		}
	}},
	{"no more comparisons than attempts", func(k *kit) {
		policy := doorward.LockoutPolicy{Attempts: 5, Window: time.Hour, Duration: time.Hour}
		for round := range 3 {
			var admitted atomic.Int64
			race(callers, func(i int) {
				left, err := k.CountFailure(k.ctx(), "anna", policy, entry(doorward.ActionSignIn))
				if err != nil {
					k.Errorf("caller %d: %v", i, err)
				}
				if err == nil && left == 0 {
					admitted.Add(1)
				}
			})
			if admitted.Load() != int64(policy.Attempts) {
				k.Errorf("round %d: %d comparisons, want %d", round+1, admitted.Load(), policy.Attempts)
			}
			k.advance(policy.Duration)
		}
	}},
	{"a refresh token has one successor", func(k *kit) {
		for round := range 4 {
			s := k.exchange("tok_1", "editor")
			var advanced, repeated atomic.Int64
			children := make([]string, callers)
			race(callers, func(i int) {
				rules := doorward.RefreshRules{RetryWindow: 24 * time.Hour}
				outcome, after := present(k, k, s.ID, s.Chain.Head, 0, rules, func() string { return k.id("jti_") })
				switch outcome {
				case doorward.Advanced:
					advanced.Add(1)
				case doorward.Repeated:
					repeated.Add(1)
				}
				children[i], _ = after.Newest()
			})
			if advanced.Load() != 1 || repeated.Load() != callers-1 {
				k.Errorf("round %d: %d advanced and %d repeated, want 1 and %d", round+1, advanced.Load(), repeated.Load(), callers-1)
			}
			kept, _ := k.session(s.ID).Chain.Newest()
			for i, child := range children {
				if child != kept {
					k.Errorf("round %d: caller %d was answered %s, kept is %s", round+1, i, child, kept)
				}
			}
		}
	}},
	{"strictly, all but one are reuse", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		var advanced, reused, dead atomic.Int64
		race(callers, func(int) {
			outcome, _ := present(k, k, s.ID, s.Chain.Head, 0, doorward.RefreshRules{Strict: true}, func() string { return k.id("jti_") })
			switch outcome {
			case doorward.Advanced:
				advanced.Add(1)
			case doorward.Reused:
				reused.Add(1)
			case 0:
				dead.Add(1)
			}
		})
		if advanced.Load() != 1 || reused.Load() != 1 || dead.Load() != callers-2 {
			k.Errorf("%d advanced, %d reused, %d found it ended; want 1, 1, %d", advanced.Load(), reused.Load(), dead.Load(), callers-2)
		}
		if got := k.session(s.ID); got.EndReason != doorward.EndReuse {
			k.Errorf("ended for %q", got.EndReason)
		}
	}},
	{"generations are linear", func(k *kit) {
		const each = 4
		s := k.exchange("tok_1", "editor")
		var inside atomic.Int64
		var mu sync.Mutex
		var seen []int64
		race(callers, func(i int) {
			for range each {
				found, err := k.AdvanceRefresh(k.ctx(), s.ID, func(at doorward.RefreshState) doorward.RefreshDecision {
					if inside.Add(1) != 1 {
						k.Error("two decide on one session at once")
					}
					defer inside.Add(-1)
					c := at.Session.Chain
					jti, gen := c.Newest()
					c, outcome := c.Present(jti, gen, at.Session.Chain.Minted.Unix(), at.Now, doorward.RefreshRules{}, func() string { return k.id("jti_") })
					mu.Lock()
					seen = append(seen, c.Gen)
					mu.Unlock()
					return doorward.RefreshDecision{Outcome: outcome, Chain: c, AccessUntil: at.Now}
				}, entry("session.end"))
				if err != nil || !found {
					k.Errorf("caller %d: found %v, error %v", i, found, err)
				}
			}
		})
		if len(seen) != callers*each {
			k.Errorf("%d decisions, want %d", len(seen), callers*each)
		}
		for i, gen := range seen {
			if gen != int64(i) {
				k.Fatalf("decision %d made generation %d", i, gen)
			}
		}
		if got := k.session(s.ID).Chain.Gen; got != callers*each-1 {
			k.Errorf("kept is generation %d, want %d", got, callers*each-1)
		}
	}},
	{"the limit is not exceeded", func(k *kit) {
		const limit = 10
		u, now := k.user("anna"), k.now()
		for name, begin := range map[string]func(i int) (string, error){
			"a person": func(i int) (string, error) {
				s := k.sessionOf(u, now)
				return s.ID, k.SignIn(k.ctx(), s, u.Version, "anna", limit, entry("session.create"))
			},
			"a machine": func(i int) (string, error) {
				s := k.machine("tok_1", "editor", now)
				return s.ID, k.CreateSession(k.ctx(), s, limit, entry("session.create"))
			},
		} {
			var made atomic.Int64
			race(callers, func(i int) {
				id, err := begin(i)
				_, found, readErr := k.Session(k.ctx(), id)
				if readErr != nil || found != (err == nil) {
					k.Errorf("%s: answered %v, but found %v, %v", name, err, found, readErr)
				}
				var e *doorward.Error
				switch {
				case err == nil:
					made.Add(1)
				case !errors.As(err, &e) || e.Code != doorward.CodeThrottled:
					k.Errorf("%s: %v", name, err)
				}
			})
			if made.Load() != limit {
				k.Errorf("%s: %d sessions, want %d", name, made.Load(), limit)
			}
		}
	}},
	{"no session outlives a grave change", func(k *kit) {
		now := k.now()
		for name, change := range map[string]func(u doorward.User) ([]doorward.EndedSession, error){
			"disabled": func(u doorward.User) ([]doorward.EndedSession, error) {
				_, ended, _, err := k.ChangeUser(k.ctx(), u.ID, disable, entry("user.change"))
				return ended, err
			},
			"deleted": func(u doorward.User) ([]doorward.EndedSession, error) {
				ended, _, err := k.DeleteUser(k.ctx(), u.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
				return ended, err
			},
			"reset": func(u doorward.User) ([]doorward.EndedSession, error) {
				ended, _, err := k.SetPassword(k.ctx(), doorward.NewPassword{UserID: u.ID, Hash: hashTwo, Reason: doorward.EndPasswordReset}, agree, entry("user.password"))
				return ended, err
			},
		} {
			for round := range 4 {
				u := k.user(fmt.Sprintf("%s%d", name, round))
				var mu sync.Mutex
				var made []string
				var ended []doorward.EndedSession
				race(callers, func(i int) {
					if i == callers/2 {
						all, err := change(u)
						if err != nil {
							k.Errorf("%s: %v", name, err)
						}
						ended = all
						return
					}
					s := k.sessionOf(u, now)
					err := k.SignIn(k.ctx(), s, u.Version, u.Username, 1000, entry("session.create"))
					if err != nil && !errors.Is(err, doorward.ErrChanged) {
						k.Errorf("%s: %v", name, err)
					}
					if err == nil {
						mu.Lock()
						made = append(made, s.ID)
						mu.Unlock()
					}
				})
				for _, id := range made {
					if k.session(id).Ended.IsZero() {
						k.Errorf("%s: session %s lives on", name, id)
					}
					if !slices.ContainsFunc(ended, func(e doorward.EndedSession) bool { return e.ID == id }) {
						k.Errorf("%s: session %s was not told to have ended", name, id)
					}
				}
			}
		}
	}},
	{"a session ends once, and nothing advances after", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		var over atomic.Bool // somebody was told that it has ended
		race(callers, func(i int) {
			if i%2 == 0 {
				for range 3 {
					var late bool
					found, err := k.AdvanceRefresh(k.ctx(), s.ID, func(at doorward.RefreshState) doorward.RefreshDecision {
						if !at.Session.Ended.IsZero() {
							return doorward.RefreshDecision{}
						}
						late = over.Load()
						c := at.Session.Chain
						c.Gen++
						return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: c, AccessUntil: at.Now}
					}, entry("session.end"))
					if err != nil || !found {
						k.Errorf("caller %d: found %v, error %v", i, found, err)
					}
					if late {
						k.Error("a session advanced after somebody was told that it has ended")
					}
				}
				return
			}
			e, found, err := k.EndSession(k.ctx(), s.ID, fmt.Sprintf("by %d", i), entry("session.end"))
			over.Store(true)
			if err != nil || !found || e.ID != s.ID {
				k.Errorf("caller %d: found %v, %v, error %v", i, found, e, err)
			}
		})
		first := k.session(s.ID)
		if first.Ended.IsZero() || !strings.HasPrefix(first.EndReason, "by ") {
			k.Errorf("ended at %v for %q", first.Ended, first.EndReason)
		}
		if got := k.ended(); len(got) != 1 {
			k.Errorf("ended: %v, want one", got)
		}
	}},
	{"one of the top stays", func(k *kit) {
		var top [2]doorward.User
		for i := range top {
			top[i] = k.person(fmt.Sprintf("top%d", i))
			top[i].Role = doorward.Superadmin
			k.ok(k.CreateUser(k.ctx(), top[i], hashOne, entry("user.create")))
		}
		var refused atomic.Int64
		race(callers, func(i int) {
			u := top[i%2]
			var err error
			if i%4 < 2 {
				_, _, _, err = k.ChangeUser(k.ctx(), u.ID, func(u doorward.User, others doorward.Census) (doorward.User, error) {
					err := others.KeepsTheTop(u)
					u.Disabled = true
					return u, err
				}, entry("user.change"))
			} else {
				_, _, err = k.DeleteUser(k.ctx(), u.ID, func(u doorward.User, others doorward.Census) error { return others.KeepsTheTop(u) }, entry("user.delete"))
			}
			var e *doorward.Error
			switch {
			case errors.As(err, &e) && e.Code == doorward.CodeConflict:
				refused.Add(1)
			case err != nil:
				k.Errorf("caller %d: %v", i, err)
			}
		})
		enabled := 0
		for _, u := range top {
			got, found, err := k.User(k.ctx(), u.ID)
			k.ok(err)
			if found && !got.Disabled {
				enabled++
			}
		}
		if enabled != 1 || refused.Load() == 0 {
			k.Errorf("%d left and %d refused, want one left", enabled, refused.Load())
		}
	}},
}

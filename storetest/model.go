package storetest

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"doorward"
)

// The tests below draw operations at random and compare the store with a model of it
// after each. One store serves all the draws of a test, under ids that never return.
var modelTests = []test{
	{"chain", func(k *kit) {
		rapid.Check(k.T, func(r *rapid.T) {
			rules := doorward.RefreshRules{
				RetryWindow: time.Duration(rapid.IntRange(0, 3).Draw(r, "window")) * time.Minute,
				Strict:      rapid.Bool().Draw(r, "strict"),
			}
			want := k.exchange("tok_"+k.id("m"), "editor")
			type token struct {
				jti string
				gen int64
				iat int64
			}
			minted := []token{{want.Chain.Head, 0, want.Chain.Minted.Unix()}}
			r.Repeat(map[string]func(*rapid.T){
				"time passes": func(r *rapid.T) {
					k.advance(time.Duration(rapid.IntRange(1, 100).Draw(r, "seconds")) * time.Second)
				},
				"present": func(r *rapid.T) {
					// Mostly one of the newest, as an honest client would.
					back := rapid.OneOf(rapid.IntRange(0, min(2, len(minted)-1)), rapid.IntRange(0, len(minted)-1)).Draw(r, "back")
					presented := minted[len(minted)-1-back]
					presented.gen += int64(rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 1, 2}).Draw(r, "ahead"))
					found, err := k.AdvanceRefresh(k.ctx(), want.ID, func(at doorward.RefreshState) doorward.RefreshDecision {
						if !sameSession(at.Session, want) {
							r.Errorf("decided on %+v, want %+v", at.Session, want)
						}
						if !want.Ended.IsZero() {
							return doorward.RefreshDecision{}
						}
						child := ""
						c, outcome := want.Chain.Present(presented.jti, presented.gen, presented.iat, at.Now, rules, func() string {
							child = k.id("jti_")
							return child
						})
						d := doorward.RefreshDecision{Outcome: outcome, Chain: c, AccessUntil: at.Now.Add(time.Hour)}
						switch outcome {
						case doorward.Advanced:
							want.Chain, want.AccessUntil = c, d.AccessUntil
							minted = append(minted, token{child, c.Gen + 1, c.Minted.Unix()})
						case doorward.Reused:
							want.Ended, want.EndReason = at.Now, doorward.EndReuse
						}
						return d
					}, entry("session.end"))
					if err != nil || !found {
						r.Fatalf("found %v, error %v", found, err)
					}
				},
				"": func(r *rapid.T) {
					if got := k.session(want.ID); !sameSession(got, want) {
						r.Fatalf("kept %+v, want %+v", got, want)
					}
				},
			})
		})
	}},
	{"lockout", func(k *kit) {
		rapid.Check(k.T, func(r *rapid.T) {
			policy := doorward.LockoutPolicy{
				Attempts: rapid.IntRange(1, 4).Draw(r, "attempts"),
				Window:   time.Duration(rapid.IntRange(1, 20).Draw(r, "window")) * time.Hour,
				Duration: time.Duration(rapid.IntRange(1, 20).Draw(r, "duration")) * time.Hour,
			}
			account := k.id("account")
			now := time.Unix(1_700_000_000, 0)
			var want doorward.Failures
			// The store's clock may run beside advance: whole hours are told apart, and half
			// of one at the start keeps all of it away from their borders.
			near := func(got, want time.Duration) bool {
				return (got > 0) == (want > 0) && got <= want && want-got < time.Minute
			}
			r.Repeat(map[string]func(*rapid.T){
				"time passes": func(r *rapid.T) {
					d := time.Duration(rapid.IntRange(0, 10).Draw(r, "hours"))*time.Hour + 30*time.Minute
					k.advance(d)
					now = now.Add(d)
				},
				"fail": func(r *rapid.T) {
					var left time.Duration
					want, left = policy.Count(want, now)
					got, err := k.CountFailure(k.ctx(), account, policy, entry(doorward.ActionSignIn))
					if err != nil || !near(got, left) {
						r.Fatalf("refused for %v, error %v, want %v", got, err, left)
					}
				},
				"clear": func(r *rapid.T) {
					if err := k.ClearFailures(k.ctx(), account, entry("user.unlock")); err != nil {
						r.Fatal(err)
					}
					want = doorward.Failures{}
				},
				"prune": func(r *rapid.T) {
					if err := k.Prune(k.ctx(), policy.KeepFor()); err != nil {
						r.Fatal(err)
					}
				},
				"": func(r *rapid.T) {
					got, err := k.LockedFor(k.ctx(), account)
					if left := max(0, want.LockedUntil.Sub(now)); err != nil || !near(got, left) {
						r.Fatalf("locked for %v, error %v, want %v", got, err, left)
					}
				},
			})
		})
	}},
	{"people", func(k *kit) {
		rapid.Check(k.T, func(r *rapid.T) {
			m := &people{kit: k, users: map[string]*doorward.User{}, passwords: map[string]doorward.PasswordHash{}, sessions: map[string]*doorward.Session{}}
			m.names = []string{k.id("a"), k.id("b")}
			r.Repeat(map[string]func(*rapid.T){
				"create": m.create, "sign in": m.signIn, "sign out": m.signOut, "change": m.change,
				"delete": m.delete, "set password": m.setPassword, "time passes": m.pass, "": m.compare,
			})
		})
	}},
}

// people is a model of users and their sessions.
type people struct {
	kit       *kit
	names     []string
	users     map[string]*doorward.User        // by canonical name
	passwords map[string]doorward.PasswordHash // by id
	sessions  map[string]*doorward.Session     // by id
	order     []string                         // ids of sessions, as made
}

func (m *people) name(r *rapid.T) string { return rapid.SampledFrom(m.names).Draw(r, "name") }

// some draws a user that exists, else skips.
func (m *people) some(r *rapid.T) *doorward.User {
	u := m.users[m.name(r)]
	if u == nil {
		r.Skip("nobody of that name")
	}
	return u
}

func (m *people) create(r *rapid.T) {
	name := m.name(r)
	u := m.kit.person(name)
	u.Role = rapid.SampledFrom(doorward.Roles[:]).Draw(r, "role")
	err := m.kit.CreateUser(m.kit.ctx(), u, hashOne, entry("user.create"))
	if (err == nil) != (m.users[name] == nil) {
		r.Fatalf("error %v, though taken is %v", err, m.users[name] != nil)
	}
	if err == nil {
		m.users[name], m.passwords[u.ID] = &u, hashOne
	}
}

func (m *people) signIn(r *rapid.T) {
	u := m.some(r)
	version := u.Version - int64(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(r, "behind"))
	s := m.kit.sessionOf(*u, m.kit.now())
	const limit = 3
	live := 0
	for _, other := range m.sessions {
		if other.Credential == u.ID && other.Ended.IsZero() && other.Ends.After(s.Created) {
			live++
		}
	}
	err := m.kit.SignIn(m.kit.ctx(), s, version, m.names[0], limit, entry("session.create"))
	want := !u.Disabled && version == u.Version && live < limit
	if (err == nil) != want {
		r.Fatalf("error %v for version %d of %+v with %d sessions", err, version, *u, live)
	}
	if err == nil {
		m.sessions[s.ID] = &s
		m.order = append(m.order, s.ID)
	}
}

func (m *people) signOut(r *rapid.T) {
	if len(m.order) == 0 {
		r.Skip("no session")
	}
	s := m.sessions[rapid.SampledFrom(m.order).Draw(r, "session")]
	ended, found, err := m.kit.EndSession(m.kit.ctx(), s.ID, doorward.EndSignedOut, entry("session.end"))
	if err != nil || !found || ended.ID != s.ID {
		r.Fatalf("found %v, %v, error %v", found, ended, err)
	}
	m.end(s, doorward.EndSignedOut)
}

// end ends s in the model. When exactly is read back in compare.
func (m *people) end(s *doorward.Session, reason string) {
	if s.Ended.IsZero() {
		s.Ended, s.EndReason = time.Unix(1, 0), reason
	}
}

// endAll ends the sessions of a user but keep, and wants ended to be those that lived.
func (m *people) endAll(r *rapid.T, id, keep, reason string, ended []doorward.EndedSession) {
	var want, got []string
	for _, s := range m.sessions {
		if s.Credential == id && s.ID != keep && s.Ended.IsZero() {
			want = append(want, s.ID)
			m.end(s, reason)
		}
	}
	for _, e := range ended {
		got = append(got, e.ID)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.Fatalf("ended %v, want %v", got, want)
	}
}

func (m *people) change(r *rapid.T) {
	u := m.some(r)
	want := *u
	want.Role = rapid.SampledFrom(doorward.Roles[:]).Draw(r, "role")
	want.Disabled = rapid.Bool().Draw(r, "disabled")
	want.MustChange = rapid.Bool().Draw(r, "must change")
	if rapid.Bool().Draw(r, "no workspace") {
		want.Workspaces = nil
	}
	grave := want.Role != u.Role || want.Disabled != u.Disabled || len(want.Workspaces) != len(u.Workspaces)
	got, ended, found, err := m.kit.ChangeUser(m.kit.ctx(), u.ID, func(doorward.User, doorward.Census) (doorward.User, error) { return want, nil }, entry("user.change"))
	if grave {
		want.Version++
		m.endAll(r, u.ID, "", doorward.EndUserChanged, ended)
	} else if len(ended) > 0 {
		r.Fatalf("ended %v by a light change", ended)
	}
	if err != nil || !found || !sameUser(got, want) {
		r.Fatalf("found %v, %+v, error %v, want %+v", found, got, err, want)
	}
	*u = want
}

func (m *people) delete(r *rapid.T) {
	u := m.some(r)
	ended, found, err := m.kit.DeleteUser(m.kit.ctx(), u.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
	if err != nil || !found {
		r.Fatalf("found %v, error %v", found, err)
	}
	m.endAll(r, u.ID, "", doorward.EndUserDeleted, ended)
	delete(m.users, u.Username)
}

func (m *people) setPassword(r *rapid.T) {
	u := m.some(r)
	p := doorward.NewPassword{
		UserID: u.ID, Hash: rapid.SampledFrom([]doorward.PasswordHash{hashOne, hashTwo}).Draw(r, "hash"),
		MustChange: rapid.Bool().Draw(r, "must change"), Reason: doorward.EndPassword,
	}
	if len(m.order) > 0 {
		p.Keep = rapid.SampledFrom(append(m.order, "")).Draw(r, "keep")
	}
	ended, found, err := m.kit.SetPassword(m.kit.ctx(), p, agree, entry("user.password"))
	if err != nil || !found {
		r.Fatalf("found %v, error %v", found, err)
	}
	m.endAll(r, u.ID, p.Keep, p.Reason, ended)
	u.MustChange, m.passwords[u.ID] = p.MustChange, p.Hash
	u.Version++
}

func (m *people) pass(r *rapid.T) {
	m.kit.advance(time.Duration(rapid.IntRange(1, 30).Draw(r, "hours")) * time.Hour)
}

func (m *people) compare(r *rapid.T) {
	for _, name := range m.names {
		got, hash, found, err := m.kit.UserByName(m.kit.ctx(), name)
		want := m.users[name]
		if err != nil || found != (want != nil) {
			r.Fatalf("%s: found %v, error %v", name, found, err)
		}
		if found && (!sameUser(got, *want) || hash != m.passwords[want.ID]) {
			r.Fatalf("kept %+v, want %+v", got, *want)
		}
	}
	listed := m.kit.ended()
	now := m.kit.now()
	for _, s := range m.sessions {
		got := m.kit.session(s.ID)
		want := *s
		if !want.Ended.IsZero() {
			want.Ended = got.Ended
		}
		if !sameSession(got, want) {
			r.Fatalf("kept %+v, want %+v", got, want)
		}
		// Only what is well before its end: the clock may have run between the two reads.
		if _, ok := listed[s.ID]; !s.Ended.IsZero() && s.AccessUntil.Sub(now) > time.Minute && !ok || s.Ended.IsZero() && ok {
			r.Fatal(fmt.Sprintf("session %s is listed %v among the ended, it ended at %v", s.ID, ok, s.Ended))
		}
	}
}

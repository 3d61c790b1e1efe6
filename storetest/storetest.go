// Package storetest is the conformance suite that every doorward.Store must pass, its
// races included. A store of your own is tested in three lines:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, open)
//	}
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorward"
)

// callers is how many try the same thing at the same time in a race.
const callers = 64

// Two hashes of passwords, as doorward.ParsePasswordHash takes them.
const (
	hashOne doorward.PasswordHash = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	hashTwo doorward.PasswordHash = "$argon2id$v=19$m=19456,t=2,p=1$ZmVkY2JhOTg3NjU0MzIxMA$HxwdGhsYGRYXFBUSExAREA4PDA0KCwgJBgcEBQIDAAE"
)

// Run tests stores made by open: each call makes an empty one, closed when t ends, and
// advance, which moves the clock by which that store judges.
func Run(t *testing.T, open func(t *testing.T) (s doorward.Store, advance func(time.Duration))) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"meta", metaTests},
		{"users", userTests},
		{"tenancy", tenancyTests},
		{"passwords", passwordTests},
		{"sessions", sessionTests},
		{"refresh", refreshTests},
		{"lockouts", lockoutTests},
		{"devices", deviceTests},
		{"invitations", inviteTests},
		{"prune", pruneTests},
		{"feed", feedTests},
		{"keys", keyTests},
		{"audit", auditTests},
		{"held sessions", heldSessionTests},
		{"callers who leave", contextTests},
		{"races", raceTests},
		{"races of keys", keyRaceTests},
		{"model", modelTests},
	} {
		for _, test := range group.tests {
			t.Run(group.name+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				s, advance := open(t)
				test.run(&kit{T: t, Store: s, advance: advance})
			})
		}
	}
}

type test struct {
	name string
	run  func(k *kit)
}

// kit is a test with its store and a few ways to say things shortly.
type kit struct {
	*testing.T
	doorward.Store
	advance func(time.Duration)
	made    atomic.Int64
	clock   sync.Once
}

// id makes an id that was never used in this store.
func (k *kit) id(prefix string) string { return fmt.Sprintf("%s%06d", prefix, k.made.Add(1)) }

func (k *kit) ctx() context.Context { return k.Context() }

// ok stops the test on an error.
func (k *kit) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatalf("unexpected error: %v", err)
	}
}

// refused wants a refusal of the code given, which a client may read.
func (k *kit) refused(err error, code doorward.Code) *doorward.Error {
	k.Helper()
	var e *doorward.Error
	if !errors.As(err, &e) || e.Code != code {
		k.Fatalf("got error %v, want a refusal of code %d", err, code)
	}
	return e
}

// now reads the store's clock in the one way that the interface has.
func (k *kit) now() time.Time {
	k.Helper()
	k.clock.Do(func() {
		s := doorward.Session{ID: "clock", Kind: doorward.KindClient, Subject: "clock", Credential: "clock", Ends: time.Unix(1<<40, 0)}
		k.ok(k.CreateSession(k.ctx(), s, 1, entry("test")))
	})
	var now time.Time
	k.decide("clock", func(at doorward.RefreshState) doorward.RefreshDecision {
		now = at.Now
		return doorward.RefreshDecision{}
	})
	return now
}

// person is a user to be, of the organization and workspace that always exist.
func (k *kit) person(name string) doorward.User {
	return doorward.User{
		ID: k.id("usr_"), Username: name, Role: doorward.Editor, Org: doorward.Default,
		Workspaces: []string{doorward.Default}, Created: time.Unix(1_700_000_000, 123_000_000),
	}
}

// user creates a user.
func (k *kit) user(name string) doorward.User {
	k.Helper()
	u := k.person(name)
	k.ok(k.CreateUser(k.ctx(), u, hashOne, entry("user.create")))
	return u
}

// sessionOf is a person's session to be.
func (k *kit) sessionOf(u doorward.User, now time.Time) doorward.Session {
	return doorward.Session{
		ID: k.id("ses_"), Kind: doorward.KindUser, Subject: u.ID, Credential: u.ID, Org: u.Org,
		Workspaces: doorward.JoinWorkspaces(u.Workspaces), Created: now, Ends: now.Add(24 * time.Hour), AccessUntil: now.Add(24 * time.Hour),
		Address: "192.0.2.1", UserAgent: "a browser",
	}
}

// signIn makes a session of u.
func (k *kit) signIn(u doorward.User) doorward.Session {
	k.Helper()
	s := k.sessionOf(u, k.now())
	k.ok(k.SignIn(k.ctx(), s, u.Version, "nobody", 1000, entry("session.create")))
	return s
}

// machine is a machine's session to be.
func (k *kit) machine(credential, terms string, now time.Time) doorward.Session {
	return doorward.Session{
		ID: k.id("ses_"), Kind: doorward.KindClient, Subject: "my-app", Credential: credential, Configured: true, Terms: terms,
		Org: doorward.Default, Workspaces: doorward.Default, Created: now, Ends: now.Add(30 * 24 * time.Hour), AccessUntil: now.Add(time.Hour),
		Chain:   doorward.Chain{Head: k.id("jti_"), Minted: now},
		Address: "2001:db8::1", UserAgent: "curl",
	}
}

// exchange makes a machine's session.
func (k *kit) exchange(credential, terms string) doorward.Session {
	k.Helper()
	s := k.machine(credential, terms, k.now())
	k.ok(k.CreateSession(k.ctx(), s, 1000, entry("session.create")))
	return s
}

// session reads a session that must be there.
func (k *kit) session(id string) doorward.Session {
	k.Helper()
	s, found, err := k.Session(k.ctx(), id)
	k.ok(err)
	if !found {
		k.Fatalf("session %s is not found", id)
	}
	return s
}

// known reads a user that must be there.
func (k *kit) known(id string) doorward.User {
	k.Helper()
	u, found, err := k.User(k.ctx(), id)
	k.ok(err)
	if !found {
		k.Fatalf("user %s is not found", id)
	}
	return u
}

// ended reads which sessions have ended and must still be remembered.
func (k *kit) ended() map[string]time.Time {
	k.Helper()
	all := map[string]time.Time{}
	k.ok(k.EndedSessions(k.ctx(), func(e doorward.EndedSession) error {
		if _, twice := all[e.ID]; twice {
			k.Errorf("session %s is listed twice", e.ID)
		}
		all[e.ID] = e.Until
		return nil
	}))
	return all
}

// disable is a change.
func disable(u doorward.User, _ doorward.Census) (doorward.User, error) {
	u.Disabled = true
	return u, nil
}

func entry(action string) doorward.AuditEntry {
	return doorward.AuditEntry{Action: action, ActorKind: doorward.KindUser, Actor: "usr_tester", RequestID: "r1"}
}

// sameTime compares to the millisecond, wherever on earth.
func sameTime(a, b time.Time) bool { return a.IsZero() == b.IsZero() && a.UnixMilli() == b.UnixMilli() }

func sameUser(a, b doorward.User) bool {
	ok := sameTime(a.Created, b.Created) && fmt.Sprint(a.Workspaces) == fmt.Sprint(b.Workspaces)
	a.Created, a.Workspaces = b.Created, b.Workspaces
	return ok && reflect.DeepEqual(a, b)
}

func sameSession(a, b doorward.Session) bool {
	for _, t := range []struct{ a, b *time.Time }{
		{&a.Created, &b.Created}, {&a.Ends, &b.Ends}, {&a.AccessUntil, &b.AccessUntil}, {&a.Ended, &b.Ended}, {&a.Chain.Minted, &b.Chain.Minted},
	} {
		if !sameTime(*t.a, *t.b) {
			return false
		}
		*t.a = *t.b
	}
	return a == b
}

// race lets n callers begin do at the same moment and waits for all of them.
func race(n int, do func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			do(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

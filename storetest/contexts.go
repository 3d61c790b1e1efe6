package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"doorward"
)

var contextTests = []test{
	{"who has left already gets the reason and has no effect", func(k *kit) {
		u := k.user("anna")
		s := k.signIn(u)
		gone, leave := context.WithCancel(k.ctx())
		leave()
		for name, call := range k.everyMethod(gone, u, s) {
			if err := call(); !errors.Is(err, context.Canceled) {
				k.Errorf("%s: error %v, want the context's", name, err)
			}
		}
		if !sameUser(k.known(u.ID), u) || !sameSession(k.session(s.ID), s) {
			k.Error("something changed")
		}
		k.lockedFor("anna", 0)
		page, _, err := k.Users(k.ctx(), doorward.UserQuery{Org: doorward.Default, Limit: 10})
		k.ok(err)
		if len(page) != 1 {
			k.Errorf("%d users, want 1", len(page))
		}
	}},
	{"who leaves while waiting gets the reason and has no effect", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		inside, proceed, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := k.AdvanceRefresh(k.ctx(), s.ID, func(doorward.RefreshState) doorward.RefreshDecision {
				close(inside)
				<-proceed
				return doorward.RefreshDecision{Outcome: doorward.Reused}
			}, entry("session.end"))
			done <- err
		}()
		<-inside
		ctx, leave := context.WithCancel(k.ctx())
		waiting := &watched{Context: ctx, asked: make(chan struct{})}
		left := make(chan error, 1)
		go func() {
			// The same session, which on any store can be changed by one at a time.
			_, _, err := k.EndSession(waiting, s.ID, "by who has left", entry("session.end"))
			left <- err
		}()
		<-waiting.asked
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			k.Errorf("error %v, want the context's", err)
		}
		close(proceed)
		k.ok(<-done)
		if got := k.session(s.ID); got.EndReason != doorward.EndReuse {
			k.Errorf("ended for %q, want %q", got.EndReason, doorward.EndReuse)
		}
	}},
	{"a panic of the caller's is the caller's alone", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		func() {
			defer func() {
				if r := recover(); r != "mine" {
					k.Errorf("recovered %v, want mine", r)
				}
			}()
			_, _ = k.AdvanceRefresh(k.ctx(), s.ID, func(doorward.RefreshState) doorward.RefreshDecision { panic("mine") }, entry("session.end"))
		}()
		_, found, err := k.EndSession(k.ctx(), s.ID, doorward.EndSignedOut, entry("session.end"))
		if !found || err != nil {
			k.Errorf("after it: found %v, error %v", found, err)
		}
	}},
}

// watched is a context that tells when somebody asks for its end.
type watched struct {
	context.Context
	once  sync.Once
	asked chan struct{}
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.asked) })
	return w.Context.Done()
}

// everyMethod calls each method that takes a context and would do something.
func (k *kit) everyMethod(ctx context.Context, u doorward.User, s doorward.Session) map[string]func() error {
	fresh, now := k.person("berta"), s.Created
	n := k.sessionOf(u, now)
	return map[string]func() error{
		"Ping":            func() error { return k.Ping(ctx) },
		"Prune":           func() error { return k.Prune(ctx, 0) },
		"Salt":            func() error { _, err := k.Salt(ctx, make([]byte, 32)); return err },
		"KeyID":           func() error { _, err := k.KeyID(ctx); return err },
		"SetKeyID":        func() error { return k.SetKeyID(ctx, "kid", entry("x")) },
		"LastChange":      func() error { _, err := k.LastChange(ctx); return err },
		"Changes":         func() error { _, err := k.Changes(ctx, 0, func(doorward.Change) error { return nil }); return err },
		"State":           func() error { _, err := k.State(ctx); return err },
		"MarkInitialised": func() error { return k.MarkInitialised(ctx) },
		"CreateFirstUser": func() error { _, err := k.CreateFirstUser(ctx, fresh, hashOne, entry("x")); return err },
		"CreateUser":      func() error { return k.CreateUser(ctx, fresh, hashOne, entry("x")) },
		"User":            func() error { _, _, err := k.User(ctx, u.ID); return err },
		"UserByName":      func() error { _, _, _, err := k.UserByName(ctx, "anna"); return err },
		"Users":           func() error { _, _, err := k.Users(ctx, doorward.UserQuery{Org: u.Org, Limit: 1}); return err },
		"CreateUsers": func() error {
			return k.CreateUsers(ctx, []doorward.NewAccount{{User: fresh, Hash: hashOne, Audit: entry("x")}})
		},
		"Places":        func() error { return k.Places(ctx, "", func(doorward.Organization, []string) error { return nil }) },
		"Organizations": func() error { _, _, err := k.Organizations(ctx, doorward.PlaceQuery{Limit: 1}); return err },
		"CreateOrganization": func() error {
			return k.CreateOrganization(ctx, doorward.Organization{ID: "org", Name: "org"}, entry("x"))
		},
		"RenameOrganization": func() error {
			_, _, err := k.RenameOrganization(ctx, doorward.Default, "x", entry("x"))
			return err
		},
		"DeleteOrganization": func() error {
			_, err := k.DeleteOrganization(ctx, doorward.Default, whoever, entry("x"))
			return err
		},
		"Workspaces": func() error {
			_, _, err := k.Workspaces(ctx, doorward.PlaceQuery{Org: u.Org, Limit: 1})
			return err
		},
		"Workspace": func() error { _, _, err := k.Workspace(ctx, u.Org, doorward.Default); return err },
		"CreateWorkspace": func() error {
			_, err := k.CreateWorkspace(ctx, doorward.Workspace{Org: u.Org, ID: "lab", Name: "lab"}, u.ID, func(doorward.User) error { return nil }, entry("x"))
			return err
		},
		"RenameWorkspace": func() error {
			_, _, err := k.RenameWorkspace(ctx, u.Org, doorward.Default, "x", entry("x"))
			return err
		},
		"DeleteWorkspace": func() error {
			_, _, err := k.DeleteWorkspace(ctx, u.Org, doorward.Default, u.ID, whoever, entry("x"))
			return err
		},
		"Members": func() error {
			_, err := k.Members(ctx, doorward.MemberQuery{Org: u.Org, Workspace: doorward.Default, Limit: 1})
			return err
		},
		"ChangeUser": func() error { _, _, _, err := k.ChangeUser(ctx, u.ID, disable, entry("x")); return err },
		"DeleteUser": func() error {
			_, _, err := k.DeleteUser(ctx, u.ID, func(doorward.User, doorward.Census) error { return nil }, entry("x"))
			return err
		},
		"SetPassword": func() error {
			_, _, err := k.SetPassword(ctx, doorward.NewPassword{UserID: u.ID, Hash: hashTwo}, agree, entry("x"))
			return err
		},
		"UpgradePassword": func() error { return k.UpgradePassword(ctx, u.ID, u.Version, hashTwo) },
		"SignIn":          func() error { return k.SignIn(ctx, n, u.Version, "anna", 10, entry("x")) },
		"CreateSession":   func() error { return k.CreateSession(ctx, n, 10, entry("x")) },
		"Session":         func() error { _, _, err := k.Session(ctx, s.ID); return err },
		"AdvanceRefresh": func() error {
			_, err := k.AdvanceRefresh(ctx, s.ID, func(doorward.RefreshState) doorward.RefreshDecision {
				return doorward.RefreshDecision{Outcome: doorward.Reused}
			}, entry("x"))
			return err
		},
		"EndSession": func() error { _, _, err := k.EndSession(ctx, s.ID, "x", entry("x")); return err },
		"EndSessions": func() error {
			_, err := k.EndSessions(ctx, doorward.SessionQuery{User: u.ID}, "x", entry("x"))
			return err
		},
		"EndSessions of all": func() error {
			_, err := k.EndSessions(ctx, doorward.SessionQuery{}, "x", entry("x"))
			return err
		},
		"Sessions": func() error {
			return k.Sessions(ctx, doorward.SessionQuery{}, func(doorward.ListedSession) error { return nil })
		},
		"LastSessionEnd":  func() error { _, err := k.LastSessionEnd(ctx); return err },
		"EndUnconfigured": func() error { _, err := k.EndUnconfigured(ctx, nil, entry("x")); return err },
		"EndedSessions": func() error {
			return k.EndedSessions(ctx, func(doorward.EndedSession) error { return nil })
		},
		"CreateKey": func() error {
			_, err := k.CreateKey(ctx, k.keyOf(u.ID), doorward.HashSecret("x"), 1, agree, entry("x"))
			return err
		},
		"Key":  func() error { _, _, err := k.Key(ctx, "key_x"); return err },
		"Keys": func() error { _, err := k.Keys(ctx, doorward.KeyQuery{}); return err },
		"RevokeKey": func() error {
			_, _, _, err := k.RevokeKey(ctx, "key_x", anyKey, entry("x"))
			return err
		},
		"RotateKey": func() error {
			_, _, _, _, err := k.RotateKey(ctx, "key_x", rotating("key_y", 0), entry("x"))
			return err
		},
		"CreateKeySession": func() error {
			_, err := k.CreateKeySession(ctx, "key_x", 1, nil, entry("x"))
			return err
		},
		"EndStoppedKeys": func() error { _, _, err := k.EndStoppedKeys(ctx, entry("x")); return err },
		"NoteKeyUses":    func() error { return k.NoteKeyUses(ctx, []string{"key_x"}) },
		"LoadKeys":       func() error { return k.LoadKeys(ctx, nil, func(doorward.KeyRecord) error { return nil }) },
		"LoadHolders":    func() error { return k.LoadHolders(ctx, nil, func(doorward.User) error { return nil }) },
		"CountFailure": func() error {
			_, err := k.CountFailure(ctx, "anna", doorward.LockoutPolicy{Attempts: 1, Window: time.Hour, Duration: time.Hour}, entry("x"))
			return err
		},
		"LockedFor":     func() error { _, err := k.LockedFor(ctx, "anna"); return err },
		"ClearFailures": func() error { return k.ClearFailures(ctx, "anna", entry("x")) },
		"HeldSession":   func() error { _, _, err := k.HeldSession(ctx, s.ID); return err },
		"SessionPage": func() error {
			_, err := k.SessionPage(ctx, doorward.SessionQuery{User: u.ID}, doorward.SessionMark{}, 1)
			return err
		},
		"OrgSessions": func() error {
			_, _, err := k.OrgSessions(ctx, doorward.OrgSessionQuery{Org: doorward.Default, Limit: 1}, func(doorward.HeldSession) bool { return true })
			return err
		},
		"WriteAudit": func() error { return k.WriteAudit(ctx, entry("x")) },
		"Audit":      func() error { _, err := k.Audit(ctx, doorward.AuditQuery{Limit: 1}); return err },
		"PruneAudit": func() error { return k.PruneAudit(ctx, 0) },
		"Device": func() error {
			_, _, err := k.Device(ctx, "anna", []doorward.DeviceHash{device(1)})
			return err
		},
		"KeepDevice": func() error {
			_, err := k.KeepDevice(ctx, doorward.Device{Hash: device(1), User: u.ID, Version: u.Version})
			return err
		},
		"CreateInvited": func() error {
			_, err := k.CreateInvited(ctx, fresh, code(1), time.Hour, entry("x"), entry("x"))
			return err
		},
		"Invite":  func() error { _, _, err := k.Invite(ctx, u.ID, code(1), time.Hour, agree, entry("x")); return err },
		"Invited": func() error { _, _, err := k.Invited(ctx, code(1)); return err },
		"AcceptInvite": func() error {
			_, _, _, err := k.AcceptInvite(ctx, code(1), doorward.NewPassword{UserID: u.ID, Hash: hashTwo}, entry("x"))
			return err
		},
		"Standings":      func() error { _, err := k.Standings(ctx, []string{u.ID}); return err },
		"Holdings":       func() error { _, err := k.Holdings(ctx, u.ID); return err },
		"ForgetFailures": func() error { return k.ForgetFailures(ctx, "anna", "x") },
	}
}

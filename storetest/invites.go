package storetest

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"doorward"
)

// code is the hash of a code made from a number.
func code(n int) doorward.SecretHash { return doorward.HashSecret("code " + strconv.Itoa(n)) }

// invite makes an invitation of u for an hour.
func (k *kit) invite(u doorward.User, n int) {
	k.Helper()
	expires, found, err := k.Invite(k.ctx(), u.ID, code(n), time.Hour, func(got doorward.User) error {
		if got.ID != u.ID {
			k.Errorf("check was given %+v, want %+v", got, u)
		}
		return nil
	}, entry("user.invite"))
	k.ok(err)
	if !found || expires.Before(k.now()) {
		k.Fatalf("found %v, until %v", found, expires)
	}
}

// invitedBy wants the code to be good for u, or for nobody with "".
func (k *kit) invitedBy(n int, id string) {
	k.Helper()
	u, found, err := k.Invited(k.ctx(), code(n))
	k.ok(err)
	if found != (id != "") || u.ID != id {
		k.Errorf("code %d is good for %q (found %v), want %q", n, u.ID, found, id)
	}
}

// accepts wants the code to set u's password or not.
func (k *kit) accepts(n int, u doorward.User, want bool) []doorward.EndedSession {
	k.Helper()
	got, ended, found, err := k.AcceptInvite(k.ctx(), code(n), doorward.NewPassword{UserID: u.ID, Hash: hashTwo, Reason: doorward.EndPassword}, entry("user.password"))
	k.ok(err)
	if found != want {
		k.Errorf("code %d of %s: accepted %v, want %v", n, u.Username, found, want)
	}
	if found && !sameUser(got, k.known(u.ID)) {
		k.Errorf("got %+v, kept is %+v", got, k.known(u.ID))
	}
	return ended
}

func (k *kit) standing(id string) doorward.Standing {
	k.Helper()
	all, err := k.Standings(k.ctx(), []string{id})
	k.ok(err)
	return all[id]
}

var inviteTests = []test{
	{"an invited user has no password until the code is used, once", func(k *kit) {
		u := k.person("Anna")
		expires, err := k.CreateInvited(k.ctx(), u, code(1), time.Hour, entry("user.create"), entry("user.invite"))
		k.ok(err)
		if d := expires.Sub(k.now()); d > time.Hour || d < 59*time.Minute {
			k.Errorf("good for %v", d)
		}
		k.hash("anna", "")
		if st := k.standing(u.ID); !st.NoPassword || !sameTime(st.InvitedUntil, expires) || !st.LockedUntil.IsZero() {
			k.Errorf("the account stands %+v", st)
		}
		k.invitedBy(1, u.ID)
		k.invitedBy(2, "")
		k.accepts(2, u, false)
		k.accepts(1, doorward.User{ID: "usr_x"}, false)
		k.accepts(1, u, true)
		k.hash("anna", hashTwo)
		k.invitedBy(1, "")
		k.accepts(1, u, false)
		if st := k.standing(u.ID); st != (doorward.Standing{}) {
			k.Errorf("the account stands %+v", st)
		}
		_, err = k.CreateInvited(k.ctx(), k.person("ANNA"), code(3), time.Hour, entry("user.create"), entry("user.invite"))
		k.refused(err, doorward.CodeConflict)
		k.invitedBy(3, "")
		if created, err := k.CreateFirstUser(k.ctx(), k.person("berta"), hashOne, entry("user.create")); created || err != nil {
			k.Errorf("first user: %v, %v", created, err)
		}
		k.state(true, true)
	}},
	{"a code ends sessions, unlocks and takes the devices", func(k *kit) {
		u := k.user("anna")
		k.keeps(1, u, true)
		s := k.signIn(u)
		stranger := k.signIn(k.user("berta"))
		lock := doorward.LockoutPolicy{Attempts: 1, Window: time.Hour, Duration: time.Hour}
		k.count("anna", lock, 0)
		k.invite(u, 1)
		if st := k.standing(u.ID); st.NoPassword || st.LockedUntil.IsZero() || st.InvitedUntil.IsZero() {
			k.Errorf("the account stands %+v", st)
		}
		if !sameUser(k.known(u.ID), u) || !k.session(s.ID).Ended.IsZero() {
			k.Error("an invitation alone has changed something")
		}
		if h, err := k.Holdings(k.ctx(), u.ID); err != nil || h != (doorward.Holdings{Sessions: 1}) {
			k.Errorf("holdings %+v, %v", h, err)
		}
		k.endedExactly(k.accepts(1, u, true), s)
		if !k.session(stranger.ID).Ended.IsZero() {
			k.Error("somebody else's session has ended")
		}
		k.lockedFor("anna", 0)
		k.knows("anna", 0, 1)
		if h, err := k.Holdings(k.ctx(), u.ID); err != nil || h != (doorward.Holdings{}) {
			k.Errorf("holdings %+v, %v", h, err)
		}
	}},
	{"a code is for the user as they were", func(k *kit) {
		enable := func(u doorward.User, _ doorward.Census) (doorward.User, error) { u.Disabled = false; return u, nil }
		promote := func(u doorward.User, _ doorward.Census) (doorward.User, error) {
			u.Role = doorward.Superadmin
			return u, nil
		}
		same := func(u doorward.User, _ doorward.Census) (doorward.User, error) { return u, nil }
		change := func(u doorward.User, to func(doorward.User, doorward.Census) (doorward.User, error)) {
			_, _, _, err := k.ChangeUser(k.ctx(), u.ID, to, entry("user.change"))
			k.ok(err)
		}
		for i, c := range []struct {
			what string
			do   func(u doorward.User)
			good bool
		}{
			{"nothing", func(doorward.User) {}, true},
			{"a change of nothing", func(u doorward.User) { change(u, same) }, true},
			{"a better hash", func(u doorward.User) { k.ok(k.UpgradePassword(k.ctx(), u.ID, u.Version, hashTwo)) }, true},
			{"disabled", func(u doorward.User) { change(u, disable) }, false},
			{"disabled and enabled", func(u doorward.User) { change(u, disable); change(u, enable) }, false},
			{"promoted", func(u doorward.User) { change(u, promote) }, false},
			{"another password", func(u doorward.User) { k.newPassword(u) }, false},
			{"a newer one", func(u doorward.User) { k.invite(u, 1000) }, false},
			{"deleted", func(u doorward.User) {
				_, _, err := k.DeleteUser(k.ctx(), u.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
				k.ok(err)
			}, false},
			{"too late", func(doorward.User) { k.advance(time.Hour) }, false},
		} {
			u := k.user("user" + strconv.Itoa(i))
			k.invite(u, i)
			c.do(u)
			id := u.ID
			if !c.good {
				id = ""
			}
			k.invitedBy(i, id)
			k.accepts(i, u, c.good)
			if st := k.standing(u.ID); !c.good && c.what != "a newer one" && !st.InvitedUntil.IsZero() {
				k.Errorf("%s: stands as invited until %v", c.what, st.InvitedUntil)
			}
		}
	}},
	{"who refuses keeps the one before; nobody is not invited", func(k *kit) {
		u := k.user("anna")
		k.invite(u, 1)
		_, found, err := k.Invite(k.ctx(), u.ID, code(2), time.Hour, func(doorward.User) error { return errMine }, entry("user.invite"))
		if found || !errors.Is(err, errMine) {
			k.Errorf("found %v, error %v", found, err)
		}
		k.invitedBy(1, u.ID)
		_, found, err = k.Invite(k.ctx(), "usr_x", code(2), time.Hour, agree, entry("user.invite"))
		if found || err != nil {
			k.Errorf("found %v, error %v", found, err)
		}
		_, _, found, err = k.AcceptInvite(k.ctx(), code(1), doorward.NewPassword{UserID: u.ID, Hash: "no hash"}, entry("user.password"))
		if found || err == nil {
			k.Errorf("found %v, error %v", found, err)
		}
		k.accepts(1, u, true)
	}},
	{"what is over is forgotten", func(k *kit) {
		u, v := k.user("anna"), k.user("berta")
		k.invite(u, 1)
		k.advance(30 * time.Minute)
		k.invite(v, 2)
		k.ok(k.Prune(k.ctx(), time.Hour))
		k.invitedBy(1, u.ID)
		k.advance(30 * time.Minute)
		k.ok(k.Prune(k.ctx(), time.Hour))
		k.invitedBy(1, "")
		k.invitedBy(2, v.ID)
	}},
	{"a code goes to one", func(k *kit) {
		for round := range 4 {
			u := k.user("anna" + strconv.Itoa(round))
			k.invite(u, round)
			var won atomic.Int64
			race(callers, func(i int) {
				_, _, found, err := k.AcceptInvite(k.ctx(), code(round), doorward.NewPassword{UserID: u.ID, Hash: hashTwo}, entry("user.password"))
				if err != nil {
					k.Errorf("caller %d: %v", i, err)
				}
				if found {
					won.Add(1)
				}
			})
			if won.Load() != 1 || k.known(u.ID).Version != u.Version+1 {
				k.Errorf("round %d: %d have won, version %d", round, won.Load(), k.known(u.ID).Version)
			}
		}
	}},
	{"a code and a change of the user do not both count", func(k *kit) {
		for round := range 4 {
			u := k.user("anna" + strconv.Itoa(round))
			k.invite(u, round)
			race(callers, func(i int) {
				var err error
				if i == callers/2 {
					_, _, _, err = k.ChangeUser(k.ctx(), u.ID, disable, entry("user.change"))
				} else {
					_, _, _, err = k.AcceptInvite(k.ctx(), code(round), doorward.NewPassword{UserID: u.ID, Hash: hashTwo}, entry("user.password"))
				}
				if err != nil {
					k.Errorf("caller %d: %v", i, err)
				}
			})
			// In either order the user is disabled, and the code is used up or void.
			if !k.known(u.ID).Disabled {
				k.Error("not disabled")
			}
			k.invitedBy(round, "")
			k.accepts(round, u, false)
		}
	}},
}

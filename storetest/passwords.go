package storetest

import (
	"errors"
	"strings"
	"time"

	"doorward"
)

var passwordTests = []test{
	{"only hashes are kept", func(k *kit) {
		u := k.user("anna")
		s := k.signIn(u)
		for _, bad := range []doorward.PasswordHash{"", "correct horse battery staple", "$2a$31$" + doorward.PasswordHash(strings.Repeat("x", 53)), "$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", hashOne + " ", "$argon2id$"} {
			twin := k.person("berta")
			_, firstErr := k.CreateFirstUser(k.ctx(), twin, bad, entry("user.create"))
			if firstErr == nil {
				firstErr = k.CreateUser(k.ctx(), twin, bad, entry("user.create")) // somebody exists, so nothing was to be kept
			}
			_, _, setErr := k.SetPassword(k.ctx(), doorward.NewPassword{UserID: u.ID, Hash: bad}, agree, entry("user.password"))
			for what, err := range map[string]error{
				"create": k.CreateUser(k.ctx(), twin, bad, entry("user.create")), "first": firstErr,
				"set": setErr, "upgrade": k.UpgradePassword(k.ctx(), u.ID, u.Version, bad),
			} {
				if err == nil {
					k.Errorf("%s: %q was kept", what, bad)
				} else if len(bad) > 12 && strings.Contains(err.Error(), string(bad)) {
					k.Errorf("%s: the error tells the password: %v", what, err)
				}
			}
		}
		k.hash("anna", hashOne)
		if !sameUser(k.known(u.ID), u) || !k.session(s.ID).Ended.IsZero() {
			k.Error("a refused password changed something")
		}
	}},
	{"a hash of another program is kept", func(k *kit) {
		u := k.person("anna")
		hash := "$2y$10$" + doorward.PasswordHash(strings.Repeat("x", 53))
		k.ok(k.CreateUser(k.ctx(), u, hash, entry("user.create")))
		k.hash("anna", hash)
		k.ok(k.UpgradePassword(k.ctx(), u.ID, u.Version, hashOne))
		k.hash("anna", hashOne)
	}},
	{"a new password ends all sessions but one and unlocks", func(k *kit) {
		u := k.user("Anna")
		keep, other := k.signIn(u), k.signIn(u)
		stranger := k.signIn(k.user("berta"))
		lock := doorward.LockoutPolicy{Attempts: 1, Window: time.Hour, Duration: time.Hour}
		for _, account := range []string{"anna", "berta"} {
			_, err := k.CountFailure(k.ctx(), account, lock, entry(doorward.ActionSignIn))
			k.ok(err)
		}
		p := doorward.NewPassword{UserID: u.ID, Hash: hashTwo, MustChange: true, Keep: keep.ID, Reason: doorward.EndPassword}
		ended, found, err := k.SetPassword(k.ctx(), p, func(got doorward.User) error {
			if !sameUser(got, u) {
				k.Errorf("check was given %+v, want %+v", got, u)
			}
			return nil
		}, entry("user.password"))
		k.ok(err)
		if !found {
			k.Fatal("not found")
		}
		k.endedExactly(ended, other)
		if got := k.session(other.ID); got.EndReason != doorward.EndPassword {
			k.Errorf("ended for %q", got.EndReason)
		}
		if !k.session(keep.ID).Ended.IsZero() || !k.session(stranger.ID).Ended.IsZero() {
			k.Error("a session that was to be kept ended")
		}
		want := u
		want.MustChange, want.Version = true, u.Version+1
		if got := k.known(u.ID); !sameUser(got, want) {
			k.Errorf("got %+v, want %+v", got, want)
		}
		k.hash("anna", hashTwo)
		k.lockedFor("anna", 0)
		k.lockedFor("berta", time.Hour)

		// A reset keeps none.
		ended, _, err = k.SetPassword(k.ctx(), doorward.NewPassword{UserID: u.ID, Hash: hashOne, Reason: doorward.EndPasswordReset}, agree, entry("user.password"))
		k.ok(err)
		k.endedExactly(ended, keep)
		if got := k.known(u.ID); got.MustChange || got.Version != u.Version+2 {
			k.Errorf("got %+v", got)
		}
	}},
	{"a refused new password changes nothing", func(k *kit) {
		u := k.user("anna")
		s := k.signIn(u)
		_, _, err := k.SetPassword(k.ctx(), doorward.NewPassword{UserID: u.ID, Hash: hashTwo, MustChange: true}, func(doorward.User) error { return errMine }, entry("user.password"))
		if !errors.Is(err, errMine) {
			k.Errorf("error %v", err)
		}
		k.hash("anna", hashOne)
		if !sameUser(k.known(u.ID), u) || !k.session(s.ID).Ended.IsZero() {
			k.Error("something changed")
		}
	}},
	{"nobody's password cannot be set", func(k *kit) {
		ended, found, err := k.SetPassword(k.ctx(), doorward.NewPassword{UserID: "usr_x", Hash: hashTwo}, func(doorward.User) error {
			k.Error("check was called for nobody")
			return nil
		}, entry("user.password"))
		if found || err != nil || len(ended) > 0 {
			k.Errorf("found %v, ended %v, error %v", found, ended, err)
		}
	}},
	{"a better hash changes nothing else, and only at its version", func(k *kit) {
		u := k.user("anna")
		s := k.signIn(u)
		k.ok(k.UpgradePassword(k.ctx(), u.ID, u.Version+1, hashTwo))
		k.hash("anna", hashOne)
		k.ok(k.UpgradePassword(k.ctx(), "usr_x", 0, hashTwo))
		k.ok(k.UpgradePassword(k.ctx(), u.ID, u.Version, hashTwo))
		k.hash("anna", hashTwo)
		if !sameUser(k.known(u.ID), u) || !k.session(s.ID).Ended.IsZero() {
			k.Error("something else changed")
		}
	}},
}

func agree(doorward.User) error { return nil }

func (k *kit) hash(canonical string, want doorward.PasswordHash) {
	k.Helper()
	_, got, found, err := k.UserByName(k.ctx(), canonical)
	k.ok(err)
	if !found || got != want {
		k.Errorf("%s: found %v, the hash kept is another one", canonical, found)
	}
}

func (k *kit) lockedFor(account string, want time.Duration) {
	k.Helper()
	got, err := k.LockedFor(k.ctx(), account)
	k.ok(err)
	// The clock may run while we look.
	if got > want || got < want-time.Minute || (want > 0) != (got > 0) {
		k.Errorf("%s is locked for %v, want %v", account, got, want)
	}
}

package storetest

import (
	"time"

	"doorward"
)

var lockoutTests = []test{
	{"so many failures lock, and refusals do not extend the lock", func(k *kit) {
		policy := doorward.LockoutPolicy{Attempts: 3, Window: 10 * time.Minute, Duration: 20 * time.Minute}
		k.lockedFor("anna", 0)
		for range policy.Attempts {
			k.lockedFor("anna", 0)
			k.count("anna", policy, 0)
		}
		k.lockedFor("anna", policy.Duration)
		k.advance(5 * time.Minute)
		k.count("anna", policy, 15*time.Minute)
		k.advance(5 * time.Minute)
		k.count("anna", policy, 10*time.Minute)
		k.lockedFor("anna", 10*time.Minute)
		k.lockedFor("berta", 0)
		k.count("berta", policy, 0)
		k.advance(10 * time.Minute)
		k.lockedFor("anna", 0)
		for range policy.Attempts { // the lock took its failures with it
			k.count("anna", policy, 0)
		}
		k.count("anna", policy, policy.Duration)
	}},
	{"the window slides", func(k *kit) {
		policy := doorward.LockoutPolicy{Attempts: 3, Window: 10 * time.Minute, Duration: 20 * time.Minute}
		for range 5 {
			k.count("anna", policy, 0)
			k.advance(6 * time.Minute) // so only the last two count
		}
		k.lockedFor("anna", 0)
		k.count("anna", policy, 0)
		k.count("anna", policy, 0)
		k.lockedFor("anna", policy.Duration)
	}},
	{"who is locked is listed, of one organization", func(k *kit) {
		k.ok(k.CreateOrganization(k.ctx(), doorward.Organization{ID: "acme", Name: "Acme"}, entry("test")))
		other := k.person("otto")
		other.Org = "acme"
		k.ok(k.CreateUser(k.ctx(), other, hashOne, entry("user.create")))
		anna, berta := k.user("Anna"), k.user("berta")
		k.user("clara")
		lock := func(account string, d time.Duration) {
			k.Helper()
			k.count(account, doorward.LockoutPolicy{Attempts: 1, Window: time.Hour, Duration: d}, 0)
		}
		lock("anna", time.Hour)
		lock("berta", 2*time.Hour)
		lock("otto", time.Hour)
		lock("nobody", time.Hour)
		lock("clara 0123456789", time.Hour) // one browser of hers
		k.count("clara", doorward.LockoutPolicy{Attempts: 2, Window: time.Hour, Duration: time.Hour}, 0)
		listed := func(org string, limit int, want ...doorward.User) {
			k.Helper()
			got, err := k.LockedAccounts(k.ctx(), org, limit)
			k.ok(err)
			now := k.now()
			if len(got) != len(want) {
				k.Fatalf("%s: %+v are locked, want %d", org, got, len(want))
			}
			for i, l := range got {
				if l.User.ID != want[i].ID || l.User.Username != want[i].Username || len(l.User.Workspaces) != 1 || !l.Until.After(now) || l.Until.After(now.Add(2*time.Hour)) {
					k.Errorf("%s: %+v is locked, want %s", org, l, want[i].Username)
				}
			}
		}
		listed(doorward.Default, 10, berta, anna)
		listed(doorward.Default, 1, berta)
		listed("acme", 10, other)
		listed("nobody", 10)
		k.advance(90 * time.Minute)
		listed(doorward.Default, 10, berta)
		k.ok(k.ClearFailures(k.ctx(), "berta", entry("user.unlock")))
		listed(doorward.Default, 10)
	}},
	{"clearing forgets", func(k *kit) {
		policy := doorward.LockoutPolicy{Attempts: 2, Window: time.Hour, Duration: time.Hour}
		for range 2 {
			k.count("anna", policy, 0)
			k.count("berta", policy, 0)
		}
		k.ok(k.ClearFailures(k.ctx(), "anna", entry("user.unlock")))
		k.ok(k.ClearFailures(k.ctx(), "nobody", entry("user.unlock")))
		k.lockedFor("anna", 0)
		k.lockedFor("berta", time.Hour)
		k.count("anna", policy, 0)
		k.lockedFor("anna", 0)
	}},
}

// count counts a failure at account and wants it refused for left, or admitted where that is 0.
func (k *kit) count(account string, policy doorward.LockoutPolicy, left time.Duration) {
	k.Helper()
	got, err := k.CountFailure(k.ctx(), account, policy, entry(doorward.ActionSignIn))
	k.ok(err)
	if got > left || got < left-time.Minute || (left > 0) != (got > 0) {
		k.Errorf("%s: refused for %v, want %v", account, got, left)
	}
}

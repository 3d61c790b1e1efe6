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

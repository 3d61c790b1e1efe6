package storetest

import (
	"sync/atomic"
	"time"

	"doorward"
)

// device makes the hash of a device from a number.
func device(n int) doorward.DeviceHash {
	return doorward.DeviceHash{0: byte(n), 1: byte(n >> 8), 31: 1}
}

// keeps keeps a device and wants that to be done or not.
func (k *kit) keeps(n int, u doorward.User, want bool) {
	k.Helper()
	got, err := k.KeepDevice(k.ctx(), doorward.Device{Hash: device(n), User: u.ID, Version: u.Version})
	k.ok(err)
	if got != want {
		k.Errorf("device %d of %s: kept %v, want %v", n, u.Username, got, want)
	}
}

// knows looks for one of the devices shown and wants the one with number want, 0 for none.
func (k *kit) knows(account string, want int, shown ...int) {
	k.Helper()
	hashes := make([]doorward.DeviceHash, len(shown))
	for i, n := range shown {
		hashes[i] = device(n)
	}
	got, found, err := k.Device(k.ctx(), account, hashes)
	k.ok(err)
	if found != (want > 0) || found && got != device(want) {
		k.Errorf("%s with %v: found %v, %x; want device %d", account, shown, found, got[:2], want)
	}
}

func (k *kit) newPassword(u doorward.User) {
	k.Helper()
	_, _, err := k.SetPassword(k.ctx(), doorward.NewPassword{UserID: u.ID, Hash: hashTwo}, agree, entry("user.password"))
	k.ok(err)
}

var deviceTests = []test{
	{"a device is its user's alone", func(k *kit) {
		anna, berta := k.user("Anna"), k.user("berta")
		k.knows("anna", 0)
		k.knows("anna", 0, 1)
		k.keeps(1, anna, true)
		k.keeps(2, berta, true)
		k.knows("anna", 1, 1)
		k.knows("anna", 1, 7, 2, 1, 8, 9)
		k.knows("anna", 0, 2)
		k.knows("berta", 2, 1, 2)
		k.knows("nobody", 0, 1, 2)
		k.keeps(1, berta, false) // it has an owner
		k.knows("anna", 1, 1)
		k.knows("berta", 0, 1)
		k.keeps(1, anna, true) // signed in with again
		k.keeps(3, doorward.User{ID: "usr_x", Username: "nobody"}, false)
	}},
	{"a new password makes strangers of all, other changes of none", func(k *kit) {
		anna, berta := k.user("anna"), k.user("berta")
		for n := 1; n <= 3; n++ {
			k.keeps(n, anna, true)
		}
		k.keeps(4, berta, true)
		changed, _, _, err := k.ChangeUser(k.ctx(), anna.ID, disable, entry("user.change"))
		k.ok(err)
		k.knows("anna", 2, 2)
		k.keeps(2, anna, false)    // of a version that is over
		k.keeps(2, changed, false) // disabled
		k.ok(k.UpgradePassword(k.ctx(), anna.ID, changed.Version, hashTwo))
		k.knows("anna", 2, 2)
		k.newPassword(anna)
		for n := 1; n <= 3; n++ {
			k.knows("anna", 0, n)
		}
		k.knows("berta", 4, 4)
		k.keeps(5, berta, true)
		_, _, err = k.DeleteUser(k.ctx(), berta.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
		k.ok(err)
		k.knows("berta", 0, 4, 5)
	}},
	{"who was not seen for DeviceLife is a stranger, and forgotten", func(k *kit) {
		anna := k.user("anna")
		k.keeps(1, anna, true)
		k.keeps(2, anna, true)
		k.advance(doorward.DeviceLife / 2)
		k.keeps(2, anna, true)
		k.knows("anna", 1, 1)
		k.advance(doorward.DeviceLife/2 + time.Minute)
		k.knows("anna", 0, 1)
		k.knows("anna", 2, 1, 2)
		k.ok(k.Prune(k.ctx(), time.Hour))
		k.knows("anna", 2, 2)
		k.advance(doorward.DeviceLife/2 + time.Minute)
		k.knows("anna", 0, 2)
	}},
	{"those never seen again make room", func(k *kit) {
		anna, berta := k.user("anna"), k.user("berta")
		k.keeps(1000, berta, true)
		for n := 1; n <= 3; n++ { // two browsers and one of which nothing is heard again
			k.keeps(n, anna, true)
			k.advance(time.Second)
		}
		k.keeps(1, anna, true)
		k.keeps(2, anna, true)
		for n := 10; n < 10+3*doorward.MaxUserDevices; n++ {
			k.advance(time.Second)
			k.keeps(n, anna, true)
			k.knows("anna", n, n)
		}
		kept := 0
		for n := 1; n < 10+3*doorward.MaxUserDevices; n++ {
			_, found, err := k.Device(k.ctx(), "anna", []doorward.DeviceHash{device(n)})
			k.ok(err)
			if found {
				kept++
			}
		}
		if kept != doorward.MaxUserDevices {
			k.Errorf("%d are kept, want %d", kept, doorward.MaxUserDevices)
		}
		k.knows("anna", 1, 1)
		k.knows("anna", 2, 2)
		k.knows("anna", 0, 3)
		k.knows("berta", 1000, 1000)
	}},
	{"a sign-in that a new password overtakes leaves no device", func(k *kit) {
		for round := range 4 {
			u := k.user(string(rune('a'+round)) + "nna")
			var kept, set atomic.Int64
			race(callers, func(i int) {
				if i == callers/2 {
					_, _, err := k.SetPassword(k.ctx(), doorward.NewPassword{UserID: u.ID, Hash: hashTwo}, agree, entry("user.password"))
					if err != nil {
						k.Errorf("password: %v", err)
					}
					set.Add(1)
					return
				}
				ok, err := k.KeepDevice(k.ctx(), doorward.Device{Hash: device(round*callers + i + 1), User: u.ID, Version: u.Version})
				if err != nil {
					k.Errorf("caller %d: %v", i, err)
				}
				if ok {
					kept.Add(1)
				}
			})
			for i := range callers {
				k.knows(u.Username, 0, round*callers+i+1)
			}
			k.Logf("%d came before the password", kept.Load())
		}
	}},
	{"forgetting failures forgets those of one counter", func(k *kit) {
		policy := doorward.LockoutPolicy{Attempts: 1, Window: time.Hour, Duration: time.Hour}
		for _, counter := range []string{"anna", "anna x", "berta"} {
			k.count(counter, policy, 0)
		}
		k.count("annabel x", policy, 0)
		k.count("anna y", policy, 0)
		k.ok(k.ForgetFailures(k.ctx(), "anna x", ""))
		k.lockedFor("anna y", time.Hour)
		k.ok(k.ForgetFailures(k.ctx(), "nobody", ""))
		k.lockedFor("anna x", 0)
		k.lockedFor("anna", time.Hour)
		k.lockedFor("berta", time.Hour)
		k.count("anna x", policy, 0)
		k.ok(k.ClearFailures(k.ctx(), "anna", entry("user.unlock"))) // and by hand those of all devices
		for _, counter := range []string{"anna", "anna x", "anna y"} {
			k.lockedFor(counter, 0)
		}
		k.lockedFor("annabel x", time.Hour)
		k.lockedFor("berta", time.Hour)
	}},
}

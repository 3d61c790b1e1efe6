package doorward

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// A browser in which a person has signed in holds a device cookie: random secrets, one for
// each person who has. With a good one, failed attempts at that person's account count on
// the device alone, so that whoever guesses at an account from elsewhere, and locks it, does
// not lock out the browser of the person whose it is. That is all it does. It lets nobody
// in: the password is asked as ever.
//
// A secret rather than a token that we sign: it outlives every rotation of the signing
// secret, and to void one is to forget it. A copy of the database holds only its SHA-256.

// DeviceLife is how long a browser is known after the last sign-in with it.
const DeviceLife = 180 * 24 * time.Hour

// MaxDevices is how many people one browser is known for: those who signed in last.
const MaxDevices = 5

// MaxUserDevices is how many browsers one person is known by.
const MaxUserDevices = 16

// DeviceHash is the SHA-256 of a device's secret.
type DeviceHash [sha256.Size]byte

// Device is a browser in which a person has just signed in.
type Device struct {
	Hash    DeviceHash
	User    string // id
	Version int64  // the user's, as it was when the password was compared
}

// DeviceStore keeps the browsers that people have signed in with.
type DeviceStore interface {
	// Device returns which of the at most MaxDevices shown is a device of the user with this
	// canonical username, signed in with within DeviceLife; false for none of them.
	Device(ctx context.Context, account string, shown []DeviceHash) (DeviceHash, bool, error)
	// KeepDevice keeps that a user has signed in with d now. It is false, and nothing is kept,
	// when the user is disabled or not at the version any more, or d is somebody else's. Of more than
	// MaxUserDevices of one user those go that were never signed in with again, and then
	// those that were so longest ago.
	KeepDevice(ctx context.Context, d Device) (bool, error)
	// ForgetFailures is ClearFailures for a comparison that ended well and had no other
	// effect: it is not audited, nor does what the request with this id was audited for remain.
	ForgetFailures(ctx context.Context, account, requestID string) error
}

// deviceSecretLen is the length of a secret in base64url: 128 bits.
const deviceSecretLen = 22

// deviceSecrets takes a device cookie apart. What is none of ours in it is passed over: a
// browser with a bad one is a stranger, and not refused.
func deviceSecrets(cookie string) []string {
	var all []string
	for s := range strings.SplitSeq(cookie, ".") {
		if len(all) == MaxDevices {
			break
		}
		if b, err := base64.RawURLEncoding.Strict().DecodeString(s); err == nil && len(s) == deviceSecretLen && len(b) == 16 && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// deviceOf finds the secret of by's browser for the account, which is known as a device
// of its user; empty for a stranger.
func (a *Authority) deviceOf(ctx context.Context, by Caller, account string) (secret string, err error) {
	shown := deviceSecrets(by.Device)
	if len(shown) == 0 {
		return "", nil
	}
	hashes := make([]DeviceHash, len(shown))
	for i, s := range shown {
		hashes[i] = sha256.Sum256([]byte(s))
	}
	hash, found, err := a.cfg.Store.Device(ctx, account, hashes)
	if err != nil {
		return "", Unavailable(err)
	}
	if i := slices.Index(hashes, hash); found && i >= 0 {
		return shown[i], nil
	}
	return "", nil
}

// deviceCounter is the name under which failures at account count that a device of its
// user's makes. No username holds a space, and who unlocks the account finds it by that.
func deviceCounter(account, secret string) string {
	hash := sha256.Sum256([]byte(secret))
	return account + " " + base64.RawURLEncoding.EncodeToString(hash[:])
}

// keepDevice remembers by's browser as a device of u's, at whose version the password was
// compared, and returns the device cookie; empty where that could not be done, which is
// no reason not to let the person in. was is the secret of the device, if it was one before.
func (a *Authority) keepDevice(ctx context.Context, by Caller, u User, was string) string {
	secret := was
	if secret == "" {
		// Never one that the browser came with: somebody else could have put it there.
		secret = a.newID()
	}
	kept, err := a.cfg.Store.KeepDevice(context.WithoutCancel(ctx), Device{Hash: sha256.Sum256([]byte(secret)), User: u.ID, Version: u.Version})
	if err != nil {
		a.cfg.Log.WarnContext(ctx, "cannot keep which browser a user has signed in with", "user", u.ID, "err", err)
	}
	if err != nil || !kept {
		return ""
	}
	all := []string{secret}
	for _, s := range deviceSecrets(by.Device) {
		if s != secret && len(all) < MaxDevices {
			all = append(all, s)
		}
	}
	return strings.Join(all, ".")
}

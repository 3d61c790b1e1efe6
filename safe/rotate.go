package safe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"doorward"
)

// ByHand is the detail of the audit entry of what the command line does.
const ByHand = "command line"

// RotatedByHand is the audit entry of a rotation by the command line.
func RotatedByHand() doorward.AuditEntry {
	return doorward.Caller{}.Audit(doorward.ActionRotate, "", ByHand)
}

// Rotate replaces the secret in the file by a new one, lets the database know, and
// through it the server. Of several calls at the same time each waits for the one before. entry is
// written with it; its target is found out.
func Rotate(ctx context.Context, c Config, kept doorward.Store, entry doorward.AuditEntry, atOnce bool, random io.Reader, now time.Time) (doorward.Rotated, error) {
	unlock, err := Lock(ctx, c.DataDir)
	if err != nil {
		return doorward.Rotated{}, err
	}
	defer unlock()
	r, err := Plan(ctx, c, kept, atOnce, random, now)
	if err != nil {
		return doorward.Rotated{}, err
	}
	r.entry = entry
	for _, step := range r.Steps() {
		// Who interrupts a command does not mean half of it.
		if err := step(context.WithoutCancel(ctx)); err != nil {
			return doorward.Rotated{}, err
		}
	}
	return r.Done(), nil
}

// Rotation is a change of secret that has been decided on. Nothing is written before its steps.
type Rotation struct {
	store    doorward.Store
	entry    doorward.AuditEntry
	path     string      // of the secret file
	previous string      // of the file of previous secrets
	owner    fs.FileInfo // of the secret file, whose owner the new files get
	atOnce   bool
	fresh    doorward.Secret
	keep     []doorward.SigningKey
	keys     []keyRotation
	signing  doorward.Signers // what the database remembers, and is then told
	random   io.Reader
	now      time.Time
	warnings []string
}

func Plan(ctx context.Context, c Config, kept doorward.Store, atOnce bool, random io.Reader, now time.Time) (*Rotation, error) {
	r := &Rotation{store: kept, entry: RotatedByHand(), path: c.SecretPath(), previous: PreviousPath(c.SecretPath()), atOnce: atOnce, random: random, now: now}
	remembered, err := kept.KeyID(ctx)
	if err != nil {
		return nil, err
	}
	r.signing = doorward.ParseSigners(remembered)
	if err := r.planKeys(ctx, c); err != nil {
		return nil, err
	}
	if c.JWTSecret != nil {
		return r, nil // it is given, and stays
	}
	old, err := ReadSecretFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no secret file %s: a server makes it when it starts without jwt.secret; name its directory with --data-dir", r.path)
	}
	if err != nil {
		return nil, err
	}
	if r.owner, err = os.Stat(r.path); err != nil {
		return nil, fmt.Errorf("cannot read the secret file: %w", err)
	}
	if r.path, err = filepath.EvalSymlinks(r.path); err != nil { // a link goes on pointing to it
		return nil, fmt.Errorf("cannot read the secret file: %w", err)
	}
	earlier, err := ReadPrevious(r.previous)
	if err != nil {
		return nil, err
	}
	signing := r.signing.Secret
	if signing != "" && signing != doorward.KeyID(old) && !holds(earlier, signing) {
		said := fmt.Sprintf("the server on this database signs with another secret (kid %s) than the one in %s (kid %s)", signing, r.path, doorward.KeyID(old))
		if !atOnce {
			return nil, fmt.Errorf("%s: if jwt.secret is given to it, rotate that (docs/rotation.md); else restart it first", said)
		}
		r.warnings = append(r.warnings, said+": if jwt.secret is given to it, what that has signed is still accepted")
	}
	if r.fresh, err = generateSecret(random); err != nil {
		return nil, err
	}
	if atOnce {
		return r, nil
	}
	until, err := AcceptedUntil(ctx, c, kept, now)
	if err != nil {
		return nil, err
	}
	r.keep = keepAlso(stillAccepted(renewed(earlier, signing, until), now), old, until)
	return r, nil
}

// AcceptedUntil is until when a secret must be accepted that signs for the last time now.
// No token outlives its session, so nothing signed so far is needed past the last session's
// end: whatever the settings were when it was made, and whatever they are for the server.
// What it signs before it has heard of the rotation lives as long as the settings say.
func AcceptedUntil(ctx context.Context, c Config, kept doorward.Store, now time.Time) (time.Time, error) {
	last, err := kept.LastSessionEnd(ctx)
	if err != nil {
		return time.Time{}, err
	}
	const handover = time.Minute // far more than it takes a server to hear of it
	until := now.Add(longestTokenLife(c) + handover)
	if last.After(until) {
		until = last
	}
	return until.UTC().Truncate(time.Second).Add(time.Second), nil
}

// longestTokenLife is the longest life of any token made with these settings: a cookie
// lives as long as a person's session, an access or refresh token at most as long as its own.
func longestTokenLife(c Config) time.Duration {
	machine := min(max(c.JWTExpiry, c.JWTRefreshExpiry), c.SessionMaxAge)
	return max(c.SessionLifetime, machine)
}

// holds reports whether the secret of kid is among keys.
func holds(keys []doorward.SigningKey, kid string) bool {
	for _, k := range keys {
		if doorward.KeyID(k.Secret) == kid {
			return true
		}
	}
	return false
}

// renewed is keys with that of kid accepted until a later time: where a rotation was cut
// short before the database heard of it, a server has gone on signing with it.
func renewed(keys []doorward.SigningKey, kid string, until time.Time) []doorward.SigningKey {
	var all []doorward.SigningKey
	for _, k := range keys {
		if doorward.KeyID(k.Secret) == kid && k.Until.Before(until) {
			k.Until = until
		}
		all = append(all, k)
	}
	return all
}

// stillAccepted is those of keys that are not past their end.
func stillAccepted(keys []doorward.SigningKey, now time.Time) []doorward.SigningKey {
	var all []doorward.SigningKey
	for _, k := range keys {
		if now.Before(k.Until) {
			all = append(all, k)
		}
	}
	return all
}

// keepAlso is keys with secret accepted until a time, once.
func keepAlso(keys []doorward.SigningKey, secret doorward.Secret, until time.Time) []doorward.SigningKey {
	var all []doorward.SigningKey
	for _, k := range keys {
		if !bytes.Equal(k.Secret, secret) {
			all = append(all, k)
		} else if k.Until.After(until) {
			until = k.Until
		}
	}
	return append(all, doorward.SigningKey{Secret: secret, Until: until})
}

// Steps are what a rotation does, in an order in which it may be cut short after any of
// them, and within any of them: what is left is what a server starts with, and nobody is
// signed out who was not to be. The old secret is kept before it is replaced, and the
// server hears of it when there is something to read.
func (r *Rotation) Steps() []func(context.Context) error {
	var steps []func(context.Context) error
	switch {
	case r.fresh == nil:
	case r.atOnce:
		steps = append(steps, r.replace, r.forget)
	default:
		steps = append(steps, r.keepOld, r.replace)
	}
	if len(r.keys) > 0 {
		steps = append(steps, r.replaceKeys)
	}
	if len(steps) == 0 {
		return nil
	}
	return append(steps, r.tell)
}

func (r *Rotation) keepOld(context.Context) error {
	if err := writePrevious(r.previous, r.keep, r.owner); err != nil {
		return fmt.Errorf("%w; nothing was rotated", err)
	}
	return nil
}

func writePrevious(path string, keys []doorward.SigningKey, owner fs.FileInfo) error {
	b, err := formatPrevious(keys)
	if err == nil {
		err = replaceFile(path, b, owner)
	}
	if err != nil {
		return fmt.Errorf("cannot write the file of previous secrets %s: %w", path, err)
	}
	return nil
}

func (r *Rotation) replace(context.Context) error {
	if err := replaceFile(r.path, r.fresh, r.owner); err != nil {
		return fmt.Errorf("cannot replace the secret file %s: %w; nothing was rotated", r.path, err)
	}
	return nil
}

// forget drops all that was rotated out before.
func (r *Rotation) forget(context.Context) error {
	err := os.Remove(r.previous)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = SyncDir(filepath.Dir(r.previous))
	}
	if err != nil {
		return fmt.Errorf("the secret was replaced, but the previous ones in %s cannot be removed, and what they have signed is still accepted: %w; remove that file and restart the server", r.previous, err)
	}
	return nil
}

func (r *Rotation) tell(ctx context.Context) error {
	if r.fresh != nil {
		r.signing.Secret = doorward.KeyID(r.fresh)
	}
	if r.atOnce || !r.now.Before(r.signing.HS256Until) {
		r.signing.HS256Until = time.Time{}
	}
	kid := r.signing.String()
	r.entry.Target = kid
	if err := r.store.SetKeyID(ctx, kid, r.entry); err != nil {
		return fmt.Errorf("the secret was replaced, but a running server could not be told, and goes on with the one before: restart it (%w)", err)
	}
	return nil
}

func (r *Rotation) Done() doorward.Rotated {
	done := doorward.Rotated{Previous: []doorward.AcceptedKey{}, Warnings: r.warnings}
	if r.fresh != nil {
		done.KeyID = doorward.KeyID(r.fresh)
	}
	for _, k := range r.keep {
		done.Previous = append(done.Previous, doorward.AcceptedKey{KeyID: doorward.KeyID(k.Secret), Until: k.Until})
	}
	for _, k := range r.keys {
		done.KeyPairs = append(done.KeyPairs, k.fresh.Current.Public().KeyID)
		for _, o := range k.fresh.Others {
			done.Previous = append(done.Previous, doorward.AcceptedKey{KeyID: o.KeyID, Until: o.Until})
		}
	}
	return done
}

// finishRotation completes a rotation that was cut short before the database heard of it:
// the secret of kid, with which the last server signed until it stopped, is accepted for
// as long as if it were rotated out now. The caller holds the lock.
func finishRotation(ctx context.Context, c Config, kept doorward.Store, current doorward.Secret, now time.Time) (again bool, err error) {
	remembered, err := kept.KeyID(ctx)
	kid := doorward.ParseSigners(remembered).Secret
	if err != nil || kid == doorward.KeyID(current) {
		return false, err
	}
	path := PreviousPath(c.SecretPath())
	previous, err := ReadPrevious(path)
	if err != nil || !holds(previous, kid) {
		return false, err
	}
	owner, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("cannot read the file of previous secrets: %w", err)
	}
	until, err := AcceptedUntil(ctx, c, kept, now)
	if err != nil {
		return false, err
	}
	return true, writePrevious(path, renewed(previous, kid, until), owner)
}

package doorward

import (
	"context"
	"strings"
	"time"
)

// CreateKey makes a key for by and returns it with the secret, which nobody sees again. A
// person makes keys of their own, in one of their workspaces and of a role at most theirs;
// a service key belongs to its workspace and is for admins to make. Who is no person makes
// service keys alone.
func (a *Authority) CreateKey(ctx context.Context, by Caller, n NewKey) (KeyState, Secret, error) {
	if n.Workspace == "" {
		n.Workspace = by.Workspace
	}
	k, err := n.Key(a.cfg.Now())
	if err != nil {
		return KeyState{}, nil, err
	}
	switch {
	case !n.Service && by.Kind != KindUser, n.Service && !by.Role.AtLeast(Admin), !by.Role.AtLeast(k.Role):
		return KeyState{}, nil, a.refuse(ctx, by.Audit("key.create", "", k.Words()), ErrForbidden)
	case !by.Reaches(k.Workspace):
		return KeyState{}, nil, Invalid("workspace", keyWorkspaceRule)
	}
	if err := a.unlimited(ctx, by); err != nil {
		return KeyState{}, nil, a.refuse(ctx, by.Audit("key.create", "", k.Words()), err)
	}
	k.Org = by.Org
	if !n.Service {
		k.Owner = by.Subject
	}
	secret, hash, err := a.newKeySecret(&k)
	if err != nil {
		return KeyState{}, nil, err
	}
	// Whoever has changed since the request was judged, as the owner is now is what counts.
	made, err := a.cfg.Store.CreateKey(ctx, k, hash, MaxKeysOfOne, k.CheckHolder, by.Audit("key.create", k.ID, k.Words()))
	if err != nil {
		return KeyState{}, nil, Refusal(err)
	}
	a.learnKeys(ctx, k.ID)
	return made, secret, nil
}

// unlimited refuses a machine whose credential ends, or may be exchanged under some client
// ids only: a key or a password that it gave out would be under none of its limits.
func (a *Authority) unlimited(ctx context.Context, by Caller) error {
	return a.unlimitedOr(ctx, by, "")
}

// unlimitedOr lets pass who came with the credential own as well: what takes its place keeps its limits.
func (a *Authority) unlimitedOr(ctx context.Context, by Caller, own string) error {
	if by.Kind != KindKey && by.Kind != KindClient {
		return nil
	}
	id, err := a.ownCredential(ctx, by)
	if err != nil || own != "" && id == own {
		return err
	}
	if c, ok := a.credentials.byID[id]; ok {
		if c.ClientIDs != nil {
			return ErrForbidden
		}
		return nil
	}
	k, found, err := a.cfg.Store.Key(ctx, id)
	switch {
	case err != nil:
		return Unavailable(err)
	case !found, len(k.ClientIDs) > 0, !k.Expires.IsZero():
		return ErrForbidden
	}
	return nil
}

// ownCredential is the id of the credential that by came with, or whose session it has.
func (a *Authority) ownCredential(ctx context.Context, by Caller) (string, error) {
	if by.Credential != "" {
		return by.Credential, nil
	}
	s, found, err := a.cfg.Store.Session(ctx, by.Session)
	switch {
	case err != nil:
		return "", Unavailable(err)
	case !found:
		return "", ErrForbidden
	}
	return s.Credential, nil
}

// Words are k in the audit log.
func (k Key) Words() string {
	whose := "service key"
	if !k.Service() {
		whose = "key of " + k.Owner
	}
	return whose + " " + k.Name + ", " + string(k.Role) + " in " + k.Workspace
}

// MakeKeyID makes an id for a key of 120 random bits.
func MakeKeyID(random func([]byte)) string {
	var b [15]byte
	random(b[:])
	return keyPrefix + userIDs.EncodeToString(b[:])
}

// newKeySecret makes k's secret, and gives k its id and what the secret is recognised by.
func (a *Authority) newKeySecret(k *Key) (Secret, SecretHash, error) {
	secret, err := NewAPIKey(a.cfg.KeyPrefix, a.cfg.Rand)
	if err != nil {
		return nil, SecretHash{}, Unavailable(err)
	}
	k.ID, k.Prefix = MakeKeyID(a.random), ShownOfKey(secret)
	return Secret(secret), HashSecret(secret), nil
}

// ShownOfKey is how a key that NewAPIKey has made begins: as much of it as may be shown.
func ShownOfKey(key string) string {
	return key[:max(0, len(key)-apiKeyDigits)+keyShown]
}

// KeyQuery asks for a page of the keys that are not revoked, in the order of their names,
// whatever their case.
type KeyQuery struct {
	// Owner asks for a person's own. Else Org's are asked for, those in one of Workspaces
	// or, with nil, in any. With neither, all organizations' are asked for, in the order of their ids.
	Owner      string
	Org        string
	Workspaces []string

	// Search asks for the keys whose names begin with it, or, where some key is recognised
	// by just that, for those.
	Search string
	After  KeyPlace
	Limit  int // 1 to 1000
}

// KeyPlace is after which key a page begins: its name in lower case and its id.
type KeyPlace struct{ Name, ID string }

// Keys lists a page of the keys that by may see, and after which the next page begins
// (zero at the end): a person's own, or, for admins, those in their workspaces.
func (a *Authority) Keys(ctx context.Context, by Caller, search string, after KeyPlace, limit int) ([]KeyState, KeyPlace, error) {
	q := KeyQuery{Org: by.Org, Search: search, After: after, Limit: limit + 1}
	switch {
	case by.Role == Superadmin:
	case by.Role.AtLeast(Admin):
		if q.Workspaces = by.Workspaces.List(); len(q.Workspaces) == 0 {
			return nil, KeyPlace{}, nil
		}
	case by.Kind == KindUser:
		q.Owner = by.Subject
	default:
		return nil, KeyPlace{}, ErrForbidden
	}
	return a.keyPage(ctx, q, limit)
}

// OwnKeys lists a page of a person's own keys, as Keys does.
func (a *Authority) OwnKeys(ctx context.Context, by Caller, search string, after KeyPlace, limit int) ([]KeyState, KeyPlace, error) {
	if by.Kind != KindUser {
		return nil, KeyPlace{}, ErrForbidden
	}
	return a.keyPage(ctx, KeyQuery{Org: by.Org, Owner: by.Subject, Search: search, After: after, Limit: limit + 1}, limit)
}

// UserKeys lists a page of the keys of a user whom by may manage, as Keys does.
func (a *Authority) UserKeys(ctx context.Context, by Caller, user string, after KeyPlace, limit int) ([]KeyState, KeyPlace, error) {
	if err := a.managedUser(ctx, by, user, by.Audit("key.list", user, "")); err != nil {
		return nil, KeyPlace{}, err
	}
	return a.keyPage(ctx, KeyQuery{Org: by.Org, Owner: user, After: after, Limit: limit + 1}, limit)
}

// FindKey reads a key that by may rotate or revoke; any other is not found, or refused.
func (a *Authority) FindKey(ctx context.Context, by Caller, id string) (KeyState, error) {
	k, found, err := a.cfg.Store.Key(ctx, id)
	switch {
	case err != nil:
		return KeyState{}, Unavailable(err)
	case !found, !k.Revoked.IsZero():
		return KeyState{}, NotFound("key")
	}
	return k, by.Handles(k)
}

func (a *Authority) keyPage(ctx context.Context, q KeyQuery, limit int) ([]KeyState, KeyPlace, error) {
	keys, err := a.cfg.Store.Keys(ctx, q)
	if err != nil {
		return nil, KeyPlace{}, Unavailable(err)
	}
	if len(keys) <= limit {
		return keys, KeyPlace{}, nil
	}
	keys = keys[:limit]
	last := keys[limit-1]
	return keys, KeyPlace{strings.ToLower(last.Name), last.ID}, nil
}

// Handles decides whether by may rotate or revoke k: their own, or as an admin one in their
// workspaces that belongs to nobody above them. Of others it is not said that they are there.
// Pages ask it too.
func (by Caller) Handles(k KeyState) error {
	switch {
	case k.Org != by.Org:
		return NotFound("key")
	case by.Kind == KindUser && k.Owner == by.Subject:
		return nil
	case !by.Role.AtLeast(Admin):
		return NotFound("key")
	case !by.Reaches(k.Workspace), !by.Role.AtLeast(k.Ceiling()), !k.Service() && !by.Role.AtLeast(k.Holder.Role):
		return ErrForbidden
	}
	return nil
}

// RevokeKey makes a key dead for good and ends the sessions made with it.
func (a *Authority) RevokeKey(ctx context.Context, by Caller, id string) error {
	entry := by.Audit("key.revoke", id, "")
	k, ended, found, err := a.cfg.Store.RevokeKey(context.WithoutCancel(ctx), id, by.Handles, entry)
	switch {
	case err != nil:
		return a.refuse(ctx, entry, Refusal(err))
	case !found:
		return a.refuse(ctx, entry, NotFound("key"))
	}
	a.forgetKey(k.Hash)
	a.revoke(ended...)
	return nil
}

// KeyRotation is what RotateKey of the store keeps: the key that takes the old one's place,
// with the old one's name, workspace, owner, client ids and end, and until when that one lives on.
type KeyRotation struct {
	ID     string
	Prefix string
	Hash   SecretHash
	Role   Role
	Until  time.Time // now or earlier: it is revoked
	Limit  int       // of keys that the owner may have, should the old one live on; 0 for none, and a service key's has none
}

// RotateKey makes a key with the terms of key id, which lives on for overlap and is dead
// then, its sessions with it. The new one grants no more than the old one does now.
func (a *Authority) RotateKey(ctx context.Context, by Caller, id string, overlap time.Duration) (old, next KeyState, secret Secret, err error) {
	if err := CheckOverlap("overlap", overlap); err != nil {
		return KeyState{}, KeyState{}, nil, err
	}
	var k Key
	secret, hash, err := a.newKeySecret(&k)
	if err != nil {
		return KeyState{}, KeyState{}, nil, err
	}
	entry := by.Audit("key.rotate", id, "to "+k.ID+", overlap "+overlap.String())
	if err := a.unlimitedOr(ctx, by, id); err != nil {
		return KeyState{}, KeyState{}, nil, a.refuse(ctx, entry, err)
	}
	rotate := func(old KeyState, now time.Time) (KeyRotation, error) {
		if err := by.Handles(old); err != nil {
			return KeyRotation{}, err
		}
		if by.Kind != KindUser && !old.Service() {
			return KeyRotation{}, ErrForbidden // a machine gets no key in a person's name
		}
		return old.Rotation(k.ID, k.Prefix, hash, now, overlap)
	}
	old, next, ended, found, err := a.cfg.Store.RotateKey(context.WithoutCancel(ctx), id, rotate, entry)
	switch {
	case err != nil:
		return KeyState{}, KeyState{}, nil, a.refuse(ctx, entry, Refusal(err))
	case !found:
		return KeyState{}, KeyState{}, nil, a.refuse(ctx, entry, NotFound("key"))
	}
	if old.Revoked.IsZero() {
		a.stopKey(old.Hash, old.OverlapUntil)
	} else {
		a.forgetKey(old.Hash)
	}
	a.revoke(ended...)
	a.learnKeys(ctx, next.ID)
	return old, next, secret, nil
}

// Rotation is how k is rotated at the time now, if it can be: a key that is no good any
// more, or that was rotated before, cannot.
func (k KeyState) Rotation(id, prefix string, hash SecretHash, now time.Time, overlap time.Duration) (KeyRotation, error) {
	switch {
	case k.RotatedTo != "":
		return KeyRotation{}, Conflict("the key was rotated to %s, which can be rotated", k.RotatedTo)
	case k.Good(now) != nil:
		return KeyRotation{}, Conflict("the key is not good any more: it has expired, or its owner is disabled or no member of its workspace")
	}
	return KeyRotation{ID: id, Prefix: prefix, Hash: hash, Role: k.Ceiling(), Until: now.Add(overlap).Truncate(time.Millisecond), Limit: MaxKeysOfOne}, nil
}

package doorward

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// SecretHash is the SHA-256 of a secret of high entropy: all of it that is kept.
type SecretHash [sha256.Size]byte

// HashSecret returns the hash by which secret is known.
func HashSecret(secret string) SecretHash {
	var buf [128]byte // keeps nearly every secret off the heap
	return sha256.Sum256(append(buf[:0], secret...))
}

// Key is an API key made at run time. It holds neither the key nor its hash. A key has an
// owner, or it is a service key and belongs to its workspace.
type Key struct {
	ID        string // key_...
	Prefix    string // the key's first characters, for recognition
	Name      string // for people
	Role      Role   // never more than the owner's, however high
	Org       string
	Workspace string
	Owner     string   // id of the user who must exist for it to be good; empty for a service key
	ClientIDs []string // the only client ids it may be exchanged for; nil for any
	Created   time.Time
	Expires   time.Time // zero for never
	LastUsed  time.Time // to a minute or so; zero for never
	Revoked   time.Time // zero while it is not

	// After rotation: the key that took its place, and when this one stops.
	RotatedTo    string
	OverlapUntil time.Time
}

// Service reports whether the key belongs to its workspace rather than to a person.
func (k Key) Service() bool { return k.Owner == "" }

// Stops is when the key is no longer good by the clock; zero for never.
func (k Key) Stops() time.Time {
	if k.OverlapUntil.IsZero() || !k.Expires.IsZero() && k.Expires.Before(k.OverlapUntil) {
		return k.Expires
	}
	return k.OverlapUntil
}

// KeyState is a key as it is kept, and its owner as they are at the same moment; a service
// key has the zero User.
type KeyState struct {
	Key
	Hash   SecretHash
	Holder User
}

// Ceiling is the role that the key has now: its own, or its owner's where that is lower.
func (k KeyState) Ceiling() Role {
	if k.Service() {
		return k.Role
	}
	return MinRole(k.Role, k.Holder.Role)
}

// Good returns nil when the key may be used at the time now, ErrTokenExpired when its time
// is over, and ErrInvalidToken when it was revoked, when its owner is gone, disabled or no
// longer a member of its workspace.
func (k KeyState) Good(now time.Time) error {
	switch stops := k.Stops(); {
	case !k.Revoked.IsZero():
		return ErrInvalidToken
	case !k.Service() && (k.Holder.ID != k.Owner || !k.Holder.mayHold(k.Key)):
		return ErrInvalidToken
	case !stops.IsZero() && !now.Before(stops):
		return ErrTokenExpired
	}
	return nil
}

// mayHold reports whether a key of u's is good where k is.
func (u User) mayHold(k Key) bool {
	return !u.Disabled && u.Org == k.Org && slices.Contains(u.Workspaces, k.Workspace)
}

// credential is what the key grants now.
func (k KeyState) credential() Credential {
	return Credential{
		ID: k.ID, Kind: KindKey, Name: k.Name, Role: k.Ceiling(), Org: k.Org, Workspaces: Workspaces(k.Workspace), ClientIDs: k.ClientIDs,
	}
}

// NewKey is what somebody wants a key to be.
type NewKey struct {
	Name      string
	Role      string
	Workspace string        // empty for the one that the request picked
	Service   bool          // belongs to the workspace
	ClientIDs []string      // nil for any
	Expires   time.Time     // zero for never
	ExpiresIn time.Duration // instead of Expires
}

// What a key may be called and hold.
const (
	maxKeyName       = 128 // characters
	maxKeyClients    = 100
	keyShown         = 8 // digits of a key that are kept, for recognition
	maxOverlap       = 30 * 24 * time.Hour
	keyNameRule      = "must have 1 to 128 visible characters, with spaces only between them"
	keyClientsRule   = "must name at least one; leave it out to allow any"
	keyWorkspaceRule = "there is no workspace of that name that you could give"
)

// MaxKeysOfOne is how many keys one owner may have at once: every node holds all keys in
// memory, and everybody may make some.
const MaxKeysOfOne = 1000

// DefaultOverlap is how long a key lives on after it was rotated, when nothing else is said.
const DefaultOverlap = 24 * time.Hour

// CheckKeyName refuses what cannot be a key's name: 1 to 128 visible characters, among
// which a space may be.
func CheckKeyName(field, s string) error {
	if !utf8.ValidString(s) || s == "" || utf8.RuneCountInString(s) > maxKeyName || strings.TrimSpace(s) != s {
		return Invalid(field, keyNameRule)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return Invalid(field, keyNameRule)
		}
	}
	return nil
}

// Key returns the key that n describes, at the time now, without an id or an organization.
// What can be checked without the store has been checked.
func (n NewKey) Key(now time.Time) (Key, error) {
	k := Key{Name: n.Name, Workspace: n.Workspace, Created: now.Truncate(time.Millisecond), Expires: n.Expires}
	if err := CheckKeyName("name", n.Name); err != nil {
		return Key{}, err
	}
	if n.Role == "" {
		return Key{}, Invalid("role", "is required: one of superadmin, admin, editor, viewer")
	}
	var err error
	if k.Role, err = ParseRole(n.Role); err != nil {
		return Key{}, err
	}
	if n.ClientIDs != nil {
		if len(n.ClientIDs) == 0 {
			return Key{}, Invalid("client_ids", keyClientsRule)
		}
		k.ClientIDs = slices.Compact(slices.Sorted(slices.Values(n.ClientIDs)))
		if len(k.ClientIDs) > maxKeyClients {
			return Key{}, Invalid("client_ids", "must not name more than %d", maxKeyClients)
		}
		for _, id := range k.ClientIDs {
			if err := CheckClientID("client_ids", id); err != nil {
				return Key{}, err
			}
		}
	}
	switch {
	case !n.Expires.IsZero() && n.ExpiresIn != 0:
		return Key{}, Invalid("expires_in", "must not be given together with expires_at")
	case n.ExpiresIn < 0 || n.ExpiresIn > MaxDuration:
		return Key{}, Invalid("expires_in", "must be more than zero, and 36500d at most")
	case n.ExpiresIn > 0:
		k.Expires = now.Add(n.ExpiresIn)
	case !n.Expires.IsZero() && !n.Expires.After(now):
		return Key{}, Invalid("expires_at", "must lie in the future")
	case n.Expires.After(now.Add(MaxDuration)):
		return Key{}, Invalid("expires_at", "must not lie more than 36500d ahead")
	}
	if !k.Expires.IsZero() {
		k.Expires = k.Expires.Truncate(time.Millisecond)
	}
	return k, nil
}

// CheckHolder refuses to let owner have k: nobody has a key of a role above their own, nor
// in a workspace that they are no member of.
func (k Key) CheckHolder(owner User) error {
	switch {
	case owner.Disabled:
		return Conflict("%s is disabled", owner.Username)
	case !owner.Role.AtLeast(k.Role):
		return ErrForbidden
	case !owner.mayHold(k):
		return Invalid("workspace", keyWorkspaceRule)
	}
	return nil
}

// CheckOverlap refuses an overlap of rotation that is too long.
func CheckOverlap(field string, d time.Duration) error {
	if d < 0 || d > maxOverlap {
		return Invalid(field, "must be from 0s to 30d")
	}
	return nil
}

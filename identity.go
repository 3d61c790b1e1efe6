package doorward

import (
	"net/netip"
	"strings"
	"time"
)

// Kind says what sort of principal an Identity is.
type Kind string

// The kinds, as they appear in claims and in X-Auth-Kind.
const (
	KindUser      Kind = "user"      // a person with a password
	KindKey       Kind = "key"       // an API key, acting as itself
	KindClient    Kind = "client"    // an API token, or whoever exchanged one (or a key) under a client id
	KindAnonymous Kind = "anonymous" // nobody in particular, where the door stands open
)

// Workspaces is a comma-separated list of workspace ids, as claims carry it. Ids are
// slugs, so no member holds a comma.
type Workspaces string

// Has reports whether id is in the list.
func (w Workspaces) Has(id string) bool {
	if id == "" {
		return false
	}
	for s := string(w); s != ""; {
		first, rest, _ := strings.Cut(s, ",")
		if first == id {
			return true
		}
		s = rest
	}
	return false
}

// List returns the members; nil for an empty list.
func (w Workspaces) List() []string {
	if w == "" {
		return nil
	}
	return strings.Split(string(w), ",")
}

// JoinWorkspaces makes the list that List takes apart.
func JoinWorkspaces(ids []string) Workspaces { return Workspaces(strings.Join(ids, ",")) }

// Default is the id of the organization and of the workspace that always exist. Who
// needs no tenancy never sees another.
const Default = "default"

// Identity is who a request comes from, as the door judged it. The zero value is
// nobody. It is a value: copy it freely.
type Identity struct {
	Kind       Kind
	Subject    string // usr_..., key_..., a client id; empty for nobody
	Username   string // people only
	Role       Role
	Org        string     // the one this request acts in: the caller's own, or for a superadmin any
	Workspaces Workspaces // where the role holds; a superadmin's holds everywhere
	Workspace  string     // the one this request picked: one of Workspaces, or for a superadmin any of Org
	Session    string     // session id; empty for a key or API token presented as itself
	Credential string     // id of the user, or of the key or API token shown as itself; empty for a client's tokens
	Expires    time.Time  // when the presented token expires; zero for keys and API tokens
	Via        Via        // how it was shown
	MustChange bool       // a person who may do nothing before choosing a password
}

// Via says in what form a principal showed who it is.
type Via uint8

// The forms of a credential, in no order.
const (
	ViaNothing     Via = iota
	ViaAccessToken     // a JWT access token, as Bearer
	ViaSecret          // an API key or API token as itself, as Bearer or in X-API-Key
	ViaCookie          // the session cookie
)

// Anonymous is who everybody is where the door stands open.
var Anonymous = Identity{Kind: KindAnonymous}

// IsZero reports whether nobody was identified.
func (id Identity) IsZero() bool { return id.Kind == "" }

// PickWorkspace chooses the workspace a request acts in: the one it asked for if the
// identity is a member of it, else ErrForbidden; with nothing asked for, default if it
// is a member of that, else its first.
func (id Identity) PickWorkspace(asked string) (string, error) {
	if asked != "" {
		if !id.Workspaces.Has(asked) {
			return "", ErrForbidden
		}
		return asked, nil
	}
	if id.Workspaces.Has(Default) {
		return Default, nil
	}
	first, _, _ := strings.Cut(string(id.Workspaces), ",")
	return first, nil
}

// Caller is who asks for something, from where, in which request: the first argument
// of every verb that changes or reveals something, and what the audit log records.
type Caller struct {
	Identity
	Address   netip.Addr // the client's address, judged behind trusted proxies
	RequestID string
	UserAgent string // as sent, at most 256 bytes; for people to recognise their sessions by
	Device    string // the device cookie as sent, where a password is; empty for none
}

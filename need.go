package doorward

// Need is what a door asks of who comes through it. The zero value is no need at all and
// is refused where doors are put in, so that none is left open by forgetting.
type Need struct {
	what needKind
	role Role
}

type needKind uint8

const (
	needUnset needKind = iota
	needNothing
	needAnybody
	needRole
	needPerson
	needAccessToken
	needSecret
)

// The needs, from the least to the most particular.
var (
	// NeedNothing lets everybody through.
	NeedNothing = Need{what: needNothing}
	// NeedAnybody asks for any identity of ours.
	NeedAnybody = Need{what: needAnybody}
	// NeedPerson asks for a user, not a machine.
	NeedPerson = Need{what: needPerson}
	// NeedAccessToken asks for a JWT access token, whoever's.
	NeedAccessToken = Need{what: needAccessToken}
	// NeedSecret asks for an API key or API token shown as itself.
	NeedSecret = Need{what: needSecret}
)

// NeedRole asks for an identity that ranks at least as high as r.
func NeedRole(r Role) Need { return Need{what: needRole, role: r} }

// NeedPersonOf asks for a user, not a machine, who ranks at least as high as r: for pages.
func NeedPersonOf(r Role) Need { return Need{what: needPerson, role: r} }

// IsZero reports whether nobody said what is needed.
func (n Need) IsZero() bool { return n.what == needUnset }

// String names the need for the table of doors and for explanations.
func (n Need) String() string {
	switch n.what {
	case needNothing:
		return "nothing"
	case needAnybody:
		return "any identity"
	case needRole:
		return string(n.role)
	case needPerson:
		if n.role != "" {
			return "a person, " + string(n.role)
		}
		return "a person"
	case needAccessToken:
		return "an access token"
	case needSecret:
		return "an API key or API token"
	}
	return "unset"
}

// Admit decides whether id satisfies the need: nil, or the refusal. It is a pure function
// of its two arguments.
func (n Need) Admit(id Identity) error {
	switch n.what {
	case needNothing:
		return nil
	case needUnset:
		return ErrForbidden
	}
	if id.IsZero() {
		return ErrTokenRequired
	}
	switch n.what {
	case needAnybody:
		return nil
	case needRole:
		if n.role.Rank() == 0 || !id.Role.AtLeast(n.role) {
			return ErrForbidden
		}
		return nil
	case needPerson:
		if id.Kind != KindUser || n.role != "" && (n.role.Rank() == 0 || !id.Role.AtLeast(n.role)) {
			return ErrForbidden
		}
		return nil
	case needAccessToken:
		if id.Via != ViaAccessToken {
			return ErrInvalidToken // of the wrong kind
		}
		return nil
	case needSecret:
		if id.Via != ViaSecret {
			return ErrInvalidToken
		}
		return nil
	}
	return ErrForbidden
}

// Role is the role that NeedRole or NeedPersonOf was given; none for any other need.
func (n Need) Role() Role { return n.role }

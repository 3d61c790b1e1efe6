package doorward

import (
	"strings"
	"time"
)

// User is a person with a password. It never holds the password's hash: only the verbs
// that compare one see it.
type User struct {
	ID         string // usr_...
	Username   string // as it was typed at creation
	Role       Role
	Org        string
	Workspaces []string // ids, sorted
	Disabled   bool
	MustChange bool  // the password was chosen by somebody else and must be changed
	Version    int64 // counts the changes after which sessions made earlier are void
	Created    time.Time
}

// maxUsername is the longest username, in bytes (all of them ASCII).
const maxUsername = 64

// CanonicalUsername returns the form by which usernames are compared, and whether s can
// be a username at all: 1 to 64 of ASCII letters, digits and ._@+-. Anything else, a
// look-alike letter or a space at the end, is no username and never was.
func CanonicalUsername(s string) (string, bool) {
	if len(s) == 0 || len(s) > maxUsername {
		return "", false
	}
	for i := 0; i < len(s); i++ {
		if !alphanumeric(s[i]) && strings.IndexByte("._@+-", s[i]) < 0 {
			return "", false
		}
	}
	return strings.ToLower(s), true
}

// CheckClientID refuses what cannot be a client id: it must have 1 to 128 of ASCII
// letters, digits and ._:@/- and not look like the id of a user or a key, since it
// becomes a subject beside theirs.
func CheckClientID(field, s string) error {
	if len(s) == 0 || len(s) > 128 {
		return Invalid(field, "must have 1 to 128 characters")
	}
	for i := 0; i < len(s); i++ {
		if !alphanumeric(s[i]) && strings.IndexByte("._:@/-", s[i]) < 0 {
			return Invalid(field, "may hold letters, digits and ._:@/- only")
		}
	}
	if strings.HasPrefix(s, userPrefix) || strings.HasPrefix(s, keyPrefix) {
		return Invalid(field, "must not begin with %s or %s", userPrefix, keyPrefix)
	}
	return nil
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

const (
	userPrefix  = "usr_"
	keyPrefix   = "key_"
	tokenPrefix = "tok_" // an API token has no id of its own; this begins the one derived for it
)

// Census counts by role the users who could sign in: those that are enabled and have a password, which who was
// only invited has not.
type Census map[Role]int

// KeepsTheTop refuses to let u go when it is the last enabled user of the highest rank
// present; others counts the enabled users beside it. Without this rule an installation
// could be left with nobody to administer it.
func (others Census) KeepsTheTop(u User) error {
	if u.Disabled || others[u.Role] > 0 {
		return nil
	}
	for role, n := range others {
		if n > 0 && role.Rank() > u.Role.Rank() {
			return nil
		}
	}
	return Conflict("the last enabled %s cannot be removed, disabled or demoted", u.Role)
}

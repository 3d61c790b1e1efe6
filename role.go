package doorward

// Role is what a principal may do: superadmin > admin > editor > viewer. The zero
// value is no role and ranks below all of them.
type Role string

// The four roles.
const (
	Viewer     Role = "viewer"     // reads
	Editor     Role = "editor"     // creates, edits and runs
	Admin      Role = "admin"      // full access within their workspaces, and their people
	Superadmin Role = "superadmin" // full access everywhere
)

// Roles lists the four from the lowest rank up.
var Roles = [...]Role{Viewer, Editor, Admin, Superadmin}

// Rank orders roles: 1 for viewer to 4 for superadmin, 0 for anything else.
func (r Role) Rank() int {
	switch r {
	case Viewer:
		return 1
	case Editor:
		return 2
	case Admin:
		return 3
	case Superadmin:
		return 4
	}
	return 0
}

// AtLeast reports whether r ranks as high as need. No role is never enough.
func (r Role) AtLeast(need Role) bool { return r.Rank() > 0 && r.Rank() >= need.Rank() }

// ParseRole accepts exactly the four names: no other case, no space, no look-alike.
func ParseRole(s string) (Role, error) {
	if r := Role(s); r.Rank() > 0 {
		return r, nil
	}
	return "", Invalid("role", "must be one of superadmin, admin, editor, viewer")
}

// MinRole returns the lower of two roles.
func MinRole(a, b Role) Role {
	if a.Rank() < b.Rank() {
		return a
	}
	return b
}

package doorward

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Organization is a tenant: people, keys and workspaces that nobody of another
// organization sees. It is made with a workspace Default.
type Organization struct {
	ID      string // a slug, chosen at creation
	Name    string // for people
	Created time.Time
}

// Workspace is a part of an organization: membership says in which of them a role holds.
type Workspace struct {
	Org     string
	ID      string // a slug, chosen at creation; one of a kind within its organization
	Name    string // for people
	Created time.Time
}

// CheckSlug refuses what cannot be the id of an organization or a workspace: it must have
// 1 to 63 of a-z, 0-9 and -. Claims and headers carry such ids, in lists joined by commas.
func CheckSlug(field, s string) error {
	if len(s) < 1 || len(s) > 63 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return Invalid(field, "must have 1 to 63 of a-z, 0-9 and -")
	}
	return nil
}

// CheckPlaceName refuses what cannot be the name of an organization or a workspace: it
// must have 1 to 128 visible characters, with spaces in between at most. Names are shown to people and never put into a header.
func CheckPlaceName(field, s string) error {
	visible := utf8.ValidString(s) && s != "" && utf8.RuneCountInString(s) <= 128 && strings.TrimSpace(s) == s
	for _, r := range s {
		visible = visible && unicode.IsPrint(r) && r != utf8.RuneError
	}
	if !visible {
		return Invalid(field, "must have 1 to 128 visible characters")
	}
	return nil
}

// Places says which organizations and workspaces there are. It is immutable; nil knows of none.
type Places struct {
	orgs map[string]tenant
}

type tenant struct {
	name       string
	workspaces map[string]struct{}
}

// NewPlaces makes Places of what read yields: each organization with the ids of its workspaces.
func NewPlaces(read func(yield func(Organization, []string) error) error) (*Places, error) {
	p := &Places{orgs: map[string]tenant{}}
	err := read(func(o Organization, workspaces []string) error {
		p.orgs[o.ID] = newTenant(o, workspaces)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func newTenant(o Organization, workspaces []string) tenant {
	at := tenant{name: o.Name, workspaces: make(map[string]struct{}, len(workspaces))}
	for _, id := range workspaces {
		at.workspaces[id] = struct{}{}
	}
	return at
}

// with is p with what is now known of one organization; at is nil when it is no more.
func (p *Places) with(org string, at *tenant) *Places {
	next := &Places{orgs: make(map[string]tenant, len(p.orgs)+1)}
	for id, known := range p.orgs {
		next.orgs[id] = known
	}
	delete(next.orgs, org)
	if at != nil {
		next.orgs[org] = *at
	}
	return next
}

// Has reports whether there is such an organization, or, unless workspace is empty, such a
// workspace of it.
func (p *Places) Has(org, workspace string) bool {
	if p == nil {
		return false
	}
	at, ok := p.orgs[org]
	if !ok || workspace == "" {
		return ok
	}
	_, ok = at.workspaces[workspace]
	return ok
}

// Name is the name of an organization; empty when there is none.
func (p *Places) Name(org string) string {
	if p == nil {
		return ""
	}
	return p.orgs[org].name
}

// Asked is where a request asks to act; empty for what it leaves to the door.
type Asked struct {
	Org       string // X-Organization-ID
	Workspace string // X-Workspace-ID
}

// Enter returns id as it acts where it asks to: in its own organization and a workspace
// that it is a member of. A superadmin has full access everywhere, and so may choose any
// that exists. Whatever else is asked for is ErrForbidden, whether or not it exists; the
// identity returned beside it is for the log, and its Org is what was asked for if that was not the reason.
func (id Identity) Enter(asked Asked, there *Places) (Identity, error) {
	if asked.Org != "" && asked.Org != id.Org {
		if id.Role != Superadmin || !there.Has(asked.Org, "") {
			return id, ErrForbidden
		}
		id.Org, id.Workspaces = asked.Org, ""
		id.Workspace = asked.Workspace
		if asked.Workspace == "" {
			id.Workspace = Default
		}
		if !there.Has(id.Org, id.Workspace) {
			return id, ErrForbidden
		}
		id.Workspaces = Workspaces(id.Workspace)
		return id, nil
	}
	if id.Role == Superadmin && asked.Workspace != "" && there.Has(id.Org, asked.Workspace) {
		id.Workspace = asked.Workspace
		return id, nil
	}
	var err error
	id.Workspace, err = id.PickWorkspace(asked.Workspace)
	return id, err
}

// Reaches reports whether by may act within a workspace of the organization that the request
// acts in: a superadmin in each, everybody else where they are members. Pages ask it too.
func (by Caller) Reaches(workspace string) bool {
	return by.Role == Superadmin || by.Workspaces.Has(workspace)
}

// at is the entry's organization set to the one that it is about, which alone may read it.
func (e AuditEntry) at(org string) AuditEntry {
	e.Org = org
	return e
}

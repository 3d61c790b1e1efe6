package api

import (
	"net/http"

	"doorward/gate"
)

type meBody struct {
	ID           string           `json:"id" is:"Subject"`
	Subject      string           `json:"sub" is:"Subject"`
	Username     string           `json:"username" is:"PersonsName"`
	Role         string           `json:"role" is:"Role"`
	Kind         string           `json:"kind" is:"Kind"`
	OrgID        string           `json:"org_id" is:"Slug"`
	Organization organizationBody `json:"organization"`
	Workspaces   []string         `json:"workspaces" is:"Slug"`
	MustChange   bool             `json:"must_change,omitempty"`
}

type organizationBody struct {
	ID   string `json:"id" is:"Slug"`
	Name string `json:"name" is:"PlaceName"`
}

// me says who the caller is, as this request acts: a person, a key or a client alike.
func (a *api) me(w http.ResponseWriter, _ *http.Request, p *gate.Pass) error {
	id := p.Identity
	gate.WriteJSON(w, http.StatusOK, meBody{
		ID: id.Subject, Subject: id.Subject, Username: id.Username, Role: string(id.Role), Kind: string(id.Kind),
		OrgID: id.Org, Organization: organizationBody{id.Org, a.Authority.Places().Name(id.Org)}, Workspaces: id.Workspaces.List(), MustChange: id.MustChange,
	})
	return nil
}

package api

import (
	"net/http"

	"doorward/gate"
)

type meBody struct {
	ID           string           `json:"id"`
	Subject      string           `json:"sub"`
	Username     string           `json:"username"`
	Role         string           `json:"role"`
	Kind         string           `json:"kind"`
	OrgID        string           `json:"org_id"`
	Organization organizationBody `json:"organization"`
	Workspaces   []string         `json:"workspaces"`
	MustChange   bool             `json:"must_change,omitempty"`
}

type organizationBody struct {
	ID   string `json:"id"`
	Name string `json:"name"`
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

package api

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

type validBody struct {
	Valid     bool       `json:"valid"`
	Claims    claimsBody `json:"claims"`
	Subject   string     `json:"subject"`
	ExpiresAt int64      `json:"expires_at"`
}

// claimsBody is the claims as the token itself carries them.
type claimsBody struct {
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	IssuedAt   int64  `json:"iat"`
	ExpiresAt  int64  `json:"exp"`
	ID         string `json:"jti"`
	Session    string `json:"sid"`
	Gen        int64  `json:"gen"`
	RefreshID  string `json:"rjti,omitempty"`
	Kind       string `json:"kind"`
	Role       string `json:"role"`
	Org        string `json:"org"`
	Workspaces string `json:"ws"`
	Username   string `json:"username,omitempty"`
}

// validate answers whether an access token is good, and what it says (the purpose of
// token introspection, RFC 7662, for whoever holds the token).
func (a *api) validate(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	token, _, err := gate.Bearer(r)
	if err != nil {
		return err
	}
	c, err := a.Authority.AccessClaims(r.Context(), token)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, validBody{
		Valid: true, Subject: c.Subject, ExpiresAt: c.ExpiresAt,
		Claims: claimsBody{
			Issuer: doorward.Issuer, Subject: c.Subject, IssuedAt: c.IssuedAt, ExpiresAt: c.ExpiresAt, ID: c.ID,
			Session: c.Session, Gen: c.Gen, RefreshID: c.RefreshID, Kind: string(c.Kind), Role: string(c.Role),
			Org: c.Org, Workspaces: string(c.Workspaces), Username: c.Username,
		},
	})
	return nil
}

package api

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

type validBody struct {
	Valid     bool       `json:"valid" is:"=true"`
	Claims    claimsBody `json:"claims"`
	Subject   string     `json:"subject" is:"Subject"`
	ExpiresAt int64      `json:"expires_at" is:"UnixTime"`
}

// claimsBody is the claims as the token itself carries them.
type claimsBody struct {
	Issuer     string `json:"iss" is:"=doorward"`
	Subject    string `json:"sub" is:"Subject"`
	IssuedAt   int64  `json:"iat" is:"UnixTime"`
	ExpiresAt  int64  `json:"exp" is:"UnixTime"`
	ID         string `json:"jti" is:"ID"`
	Session    string `json:"sid" is:"SessionID"`
	Gen        int64  `json:"gen" is:"Count"`
	RefreshID  string `json:"rjti,omitempty" is:"ID"`
	Kind       string `json:"kind" is:"Kind"`
	Role       string `json:"role" is:"Role"`
	Org        string `json:"org" is:"Slug"`
	Workspaces string `json:"ws" is:"Slugs"`
	Username   string `json:"username,omitempty" is:"Username"`
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

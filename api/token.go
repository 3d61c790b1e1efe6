package api

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// grantBody is a token answer (RFC 6749, section 5.1).
type grantBody struct {
	AccessToken  string `json:"access_token" is:"Token"`
	RefreshToken string `json:"refresh_token" is:"Token"`
	TokenType    string `json:"token_type" is:"=Bearer"`
	ExpiresIn    int64  `json:"expires_in" is:"Seconds"`
}

func writeGrant(w http.ResponseWriter, g doorward.Grant) {
	gate.WriteJSON(w, http.StatusOK, grantBody{g.AccessToken, g.RefreshToken, "Bearer", g.ExpiresIn})
}

// token exchanges an API token or API key for the tokens of a new session.
func (a *api) token(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readAny(w, r)
	if err != nil {
		return err
	}
	client, err := o.required("client_id")
	if err != nil {
		return err
	}
	g, err := a.Authority.Exchange(r.Context(), p.Caller(r), client)
	if err != nil {
		return err
	}
	writeGrant(w, g)
	return nil
}

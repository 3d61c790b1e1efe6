package api

import (
	"encoding/json"
	"net/http"

	"doorward"
	"doorward/gate"
)

type jwksBody struct {
	Keys []doorward.PublicKey `json:"keys" is:"JWK"`
}

// jwks answers with the public keys by which others verify access tokens and assertions
// (RFC 7517, section 5). There is nothing else in it: keys that could sign are of other
// types. After a rotation who has kept it meets a kid that they do not know, and fetches anew.
func (a *api) jwks(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	body, err := json.Marshal(jwksBody{a.Authority.PublicKeys()})
	if err != nil {
		return doorward.Unavailable(err)
	}
	writeCacheable(w, r, string(body)+"\n")
	return nil
}

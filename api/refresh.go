package api

import (
	"net/http"

	"doorward/gate"
)

// refresh exchanges a refresh token for the next tokens of its session. Whatever else the
// request shows is not looked at: the refresh token is the credential.
func (a *api) refresh(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readAny(w, r)
	if err != nil {
		return err
	}
	token, err := o.required("refresh_token")
	if err != nil {
		return err
	}
	g, err := a.Authority.Refresh(r.Context(), p.Caller(r), token)
	if err != nil {
		return err
	}
	writeGrant(w, g)
	return nil
}

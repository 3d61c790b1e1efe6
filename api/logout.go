package api

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// revoke is the machine's sign-out: the session of the access token ends, and with it its
// refresh token (RFC 7009). It reads for itself, since doing it again is no error.
func (a *api) revoke(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	token, present, err := gate.Bearer(r)
	if err != nil {
		return err
	}
	if !present {
		return doorward.ErrTokenRequired
	}
	if err := a.Authority.SignOut(r.Context(), p.Caller(r), doorward.Presented{Via: doorward.FromBearer, Value: token}); err != nil {
		return err
	}
	writeInvalidated(w)
	return nil
}

// logout is the person's: by token or by cookie, and the cookie goes in any case, even a
// dead one, since the person wants it gone.
func (a *api) logout(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	token, machine, err := gate.Bearer(r)
	if err != nil {
		return err
	}
	if machine {
		err := a.Authority.SignOut(r.Context(), p.Caller(r), doorward.Presented{Via: doorward.FromBearer, Value: token})
		if err != nil {
			return err
		}
		// A cookie beside it goes if it is good for nothing any more: that of another session is nobody's to take here.
		if cookie, present, err := gate.Cookie(r, a.CookieName); err == nil && present {
			if _, err := a.Authority.Authenticate(r.Context(), doorward.Presented{Via: doorward.FromCookie, Value: cookie}); doorward.IsDead(err) {
				gate.SetCookie(w, p, a.CookieName, "", -1)
			}
		}
		writeInvalidated(w)
		return nil
	}
	cookie, present, err := gate.Cookie(r, a.CookieName)
	if err != nil {
		return err
	}
	if !present {
		return doorward.ErrTokenRequired
	}
	err = a.Authority.SignOut(r.Context(), p.Caller(r), doorward.Presented{Via: doorward.FromCookie, Value: cookie})
	if err != nil && !doorward.IsDead(err) {
		return err // not known to be over: the cookie stays, so that it can be tried again
	}
	gate.SetCookie(w, p, a.CookieName, "", -1)
	writeInvalidated(w)
	return nil
}

type invalidatedBody struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
}

func writeInvalidated(w http.ResponseWriter) {
	gate.WriteJSON(w, http.StatusOK, invalidatedBody{true, "token invalidated"})
}

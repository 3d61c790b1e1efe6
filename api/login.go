package api

import (
	"net/http"
	"time"

	"doorward/gate"
)

type loginBody struct {
	Token      string    `json:"token" is:"Token"`
	User       loginUser `json:"user"`
	MustChange bool      `json:"must_change,omitempty"`
}

type loginUser struct {
	ID       string `json:"id" is:"UserID"`
	Username string `json:"username" is:"Username"`
	Role     string `json:"role" is:"Role"`
}

// login compares a password and gives a token for programs and a cookie for the browser.
func (a *api) login(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	username, err := o.given("username")
	if err != nil {
		return err
	}
	password, err := o.given("password")
	if err != nil {
		return err
	}
	by := p.Caller(r)
	by.Device = gate.Device(r, a.CookieName)
	in, err := a.Authority.SignIn(r.Context(), by, username, password)
	if err != nil {
		return err
	}
	gate.SetCookie(w, p, a.CookieName, in.Cookie, int(in.Lifetime/time.Second))
	gate.SetDevice(w, p, a.CookieName, in.Device)
	gate.WriteJSON(w, http.StatusOK, loginBody{
		Token: in.AccessToken, MustChange: in.User.MustChange,
		User: loginUser{in.User.ID, in.User.Username, string(in.User.Role)},
	})
	return nil
}

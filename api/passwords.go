package api

import (
	"net/http"

	"doorward/gate"
)

type statusBody struct {
	Status string `json:"status"`
}

// changePassword changes the caller's own; a field that names somebody else is not read.
func (a *api) changePassword(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	current, err := o.required("current_password")
	if err != nil {
		return err
	}
	next, err := o.required("new_password")
	if err != nil {
		return err
	}
	by := p.Caller(r)
	by.Device = gate.Device(r, a.CookieName)
	device, err := a.Authority.ChangePassword(r.Context(), by, current, next)
	if err != nil {
		return err
	}
	gate.SetDevice(w, p, a.CookieName, device)
	gate.WriteJSON(w, http.StatusOK, statusBody{"password changed"})
	return nil
}

// resetPassword sets another user's, which also unlocks the account.
func (a *api) resetPassword(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	id, err := o.required("user_id")
	if err != nil {
		return err
	}
	next, err := o.required("new_password")
	if err != nil {
		return err
	}
	must, err := o.flag("must_change")
	if err != nil {
		return err
	}
	if err := a.Authority.ResetPassword(r.Context(), p.Caller(r), id, next, must != nil && *must); err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, statusBody{"password reset"})
	return nil
}

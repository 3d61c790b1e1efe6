package api

import (
	"net/http"
	"time"

	"doorward"
	"doorward/gate"
)

// inviteBody is an invitation that was just made; its link is shown this once.
type inviteBody struct {
	Link    string    `json:"link"`
	Expires time.Time `json:"expires_at"`
}

// createdUserBody is a user who was just made, with the link where they are to choose the password.
type createdUserBody struct {
	userBody
	Invite *inviteBody `json:"invite,omitempty"`
}

func (a *api) inviteOf(p *gate.Pass, i doorward.Invitation) inviteBody {
	return inviteBody{i.Link(p.Origin() + a.InvitePage), i.Expires.UTC()}
}

// inviteUser makes a link with which a user chooses a new password.
func (a *api) inviteUser(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	i, err := a.Authority.InviteUser(r.Context(), p.Caller(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusCreated, a.inviteOf(p, i))
	return nil
}

// acceptInvite lets who shows a link's code choose a password, and signs them in.
func (a *api) acceptInvite(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	code, err := o.required("code")
	if err != nil {
		return err
	}
	password, err := o.required("password")
	if err != nil {
		return err
	}
	by := p.Caller(r)
	by.Device = gate.Device(r, a.CookieName)
	in, err := a.Authority.AcceptInvite(r.Context(), by, code, password)
	if err != nil {
		return err
	}
	a.letIn(w, p, in)
	return nil
}

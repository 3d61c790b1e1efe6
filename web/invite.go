package web

import (
	"errors"
	"net/http"
	"time"

	"doorward"
	"doorward/gate"
)

// InvitePage is where the page stands on which an invited person chooses a password.
func InvitePage(prefix string) string { return prefix + "/auth/invite" }

// inviteForm is what that page shows. It never holds a password.
type inviteForm struct {
	Action   string
	Code     string // as the browser has sent it, so that it need not be found again
	Shortest int    // characters
}

// inviteDoors are the page of an invite link. Nobody has to be signed in, and whoever is makes no difference.
func (h *web) inviteDoors() []gate.Door {
	at := InvitePage(h.Prefix)
	return []gate.Door{
		{Method: http.MethodGet, Pattern: at, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: h.showInvite, Refused: h.inviteRefused},
		{Method: http.MethodPost, Pattern: at, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, SameOrigin: true, Form: true,
			Handle: h.acceptInvite, Refused: h.inviteRefused},
	}
}

func (h *web) showInvite(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.invitePage(w, r, p, http.StatusOK, problem{})
}

// acceptInvite lets who has the code choose a password, and signs them in.
func (h *web) acceptInvite(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	var fields [3]string
	for i, name := range [...]string{"code", "password", "password_again"} {
		var err error
		if fields[i], err = given(r, name); err != nil {
			return err
		}
	}
	code, password, again := fields[0], fields[1], fields[2]
	if again != password {
		return doorward.Invalid("password_again", "is not the same as the password")
	}
	by := p.Caller(r)
	by.Device = gate.Device(r, h.CookieName)
	in, err := h.Authority.AcceptInvite(r.Context(), by, code, password)
	if err != nil && in.User.ID != "" {
		sendOn(w, SignInPage(h.Prefix)) // the password is chosen, and they can sign in when there is less to do
		return nil
	}
	if err != nil {
		return err
	}
	gate.SetCookie(w, p, h.CookieName, in.Cookie, int(in.Lifetime/time.Second))
	gate.SetDevice(w, p, h.CookieName, in.Device)
	sendOn(w, "/")
	return nil
}

// inviteRefused shows the form again, with what was wrong.
func (h *web) inviteRefused(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
	wrong := inWords(e)
	switch {
	case errors.Is(e, doorward.ErrInvalidToken):
		wrong = problem{"This link is no good: it was used, its time is over, a newer one was made, or a part of it is missing. Ask who gave it to you for a new one.", "code"}
	case wrong.field == "code":
		wrong.text = "The code is missing. It is the part of the link after #code=."
	}
	must(h.invitePage(w, r, p, status, wrong))
}

func (h *web) invitePage(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, wrong problem) error {
	form := inviteForm{Action: InvitePage(h.Prefix), Shortest: h.MinPassword, Code: r.PostForm.Get("code")}
	if len(form.Code) > maxUsername || wrong.field == "code" {
		form.Code = ""
	}
	v := view{Title: "Choose your password", Problem: wrong.text, Field: wrong.field, Content: form}
	v.Script = h.scriptLink()
	return h.show(w, status, "invite", v)
}

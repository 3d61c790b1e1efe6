package web

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// passwordForm is what the page shows on which people choose a new password. It never
// holds one.
type passwordForm struct {
	Action   string
	Username string
	Next     string
	Required bool // nothing else may be done before
	Shortest int  // characters
}

func (h *web) passwordPath() string { return PasswordPage(h.Prefix) }

// showPassword shows the form.
func (h *web) showPassword(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.passwordPage(w, r, p, http.StatusOK, problem{})
}

// password changes the caller's own. The session that it came in lives on, all others end.
func (h *web) password(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	var fields [3]string
	for i, name := range [...]string{"current_password", "new_password", "new_password_again"} {
		var err error
		if fields[i], err = given(r, name); err != nil {
			return err
		}
	}
	current, chosen, again := fields[0], fields[1], fields[2]
	if current == "" {
		return doorward.Invalid("current_password", "is missing")
	}
	if chosen != again {
		return doorward.Invalid("new_password_again", "is not the same as the new password")
	}
	by := p.Caller(r)
	by.Device = gate.Device(r, h.CookieName)
	device, err := h.Authority.ChangePassword(r.Context(), by, current, chosen)
	if err != nil {
		return err
	}
	gate.SetDevice(w, p, h.CookieName, device)
	sendOn(w, next(r, p))
	return nil
}

// passwordRefused shows the form again, with what was wrong; or that alone, to somebody of
// whom nothing is known.
func (h *web) passwordRefused(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
	wrong := inWords(e)
	if p.Identity.IsZero() {
		v := view{Title: passwordTitle, Problem: wrong.text, Content: noticeLink{To: withNext(h.passwordPath(), next(r, p)), Text: "Try again"}}
		must(h.show(w, status, "notice", v))
		return
	}
	must(h.passwordPage(w, r, p, status, wrong))
}

const passwordTitle = "Choose a new password"

func (h *web) passwordPage(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, wrong problem) error {
	target := next(r, p)
	return h.show(w, status, "password", view{
		Title: passwordTitle, Problem: wrong.text, Field: wrong.field, Next: target,
		Content: passwordForm{
			Action: h.passwordPath(), Username: p.Identity.Username, Next: target,
			Required: p.Identity.MustChange, Shortest: h.MinPassword,
		},
	})
}

// noticeLink is the one way on from a page that only says something. RequestID is by what an administrator
// finds what was refused, and why; empty where there is nothing to find.
type noticeLink struct{ To, Text, RequestID string }

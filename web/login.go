package web

import (
	"net/http"
	"time"

	"doorward"
	"doorward/gate"
)

// loginForm is what the sign-in page shows. It never holds a password.
type loginForm struct {
	Action   string
	Username string
	Next     string
	Setup    string // where the first user is made, while there is none; else empty
}

// showLogin shows the form. It reads no credential: whoever has a stale one gets in again.
func (h *web) showLogin(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.loginPage(w, r, p, http.StatusOK, problem{})
}

// login compares a password and gives the browser its session, as the JSON door does.
func (h *web) login(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	username, err := given(r, "username")
	if err != nil {
		return err
	}
	password, err := given(r, "password")
	if err != nil {
		return err
	}
	by := p.Caller(r)
	by.Device = gate.Device(r, h.CookieName)
	in, err := h.Authority.SignIn(r.Context(), by, username, password)
	if err != nil {
		return err
	}
	gate.SetCookie(w, p, h.CookieName, in.Cookie, int(in.Lifetime/time.Second))
	gate.SetDevice(w, p, h.CookieName, in.Device)
	target := next(r, p)
	if in.User.MustChange {
		target = withNext(h.passwordPath(), target)
	}
	sendOn(w, target)
	return nil
}

// loginRefused shows the form again, with what was wrong.
func (h *web) loginRefused(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
	must(h.loginPage(w, r, p, status, inWords(e)))
}

func (h *web) loginPage(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, wrong problem) error {
	form := loginForm{Action: SignInPage(h.Prefix), Username: r.PostForm.Get("username"), Next: next(r, p)}
	if len(form.Username) > maxUsername {
		form.Username = ""
	}
	// What cannot be read is not said; the form is there in any case.
	if needs, err := h.Authority.NeedsSetup(r.Context()); err == nil && needs {
		form.Setup = SetupPage(h.Prefix)
	}
	return h.show(w, status, "login", view{Title: "Sign in", Problem: wrong.text, Field: wrong.field, Next: form.Next, Content: form})
}

// maxUsername is the longest, in bytes, that the form is filled in with again; a real one
// has at most 64 characters.
const maxUsername = 256

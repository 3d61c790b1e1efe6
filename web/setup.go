package web

import (
	"errors"
	"net/http"
	"time"

	"doorward"
	"doorward/gate"
)

// SetupPage is where the page stands on which the first user is made, for gate.Config.SetupPage.
func SetupPage(prefix string) string { return prefix + "/auth/setup" }

// setupForm is what that page shows. It never holds a password. The code is what the browser
// has sent, so that it need not be found again for a password that was too short.
type setupForm struct {
	Action   string
	AsksCode bool // not in open mode
	Code     string
	Username string
	Shortest int // characters
}

const setupTitle = "Make the first user"

// showSetup shows the form; once somebody is set up, where to sign in.
func (h *web) showSetup(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	needs, err := h.Authority.NeedsSetup(r.Context())
	switch {
	case err != nil:
		return err
	case !needs:
		return h.isSetUp(w, http.StatusOK, "")
	}
	return h.setupPage(w, r, http.StatusOK, problem{})
}

// setup makes the first user, as the JSON door does, and signs them in. Once there is one
// nothing is read, and nothing hashed.
func (h *web) setup(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	needs, err := h.Authority.NeedsSetup(r.Context())
	switch {
	case err != nil:
		return err
	case !needs:
		return doorward.ErrTokenRequired
	}
	if err := readForm(w, r); err != nil {
		return err
	}
	n := doorward.NewUser{Role: r.PostForm.Get("role")} // which the form does not ask; the rule is the JSON door's
	if n.Role == "" && r.PostForm.Has("role") {
		return doorward.Invalid("role", "must be superadmin or admin")
	}
	if n.Username, err = given(r, "username"); err != nil {
		return err
	}
	if n.Password, err = given(r, "password"); err != nil {
		return err
	}
	again, err := given(r, "password_again")
	if err != nil {
		return err
	}
	if again != n.Password {
		return doorward.Invalid("password_again", "is not the same as the password")
	}
	caller := p.Caller(r)
	caller.Device = gate.Device(r, h.CookieName)
	if _, err := h.Authority.CreateFirstUser(r.Context(), caller, r.PostForm.Get("code"), nil, n); err != nil {
		return err
	}
	in, err := h.Authority.SignIn(r.Context(), caller, n.Username, n.Password)
	if err != nil {
		sendOn(w, SignInPage(h.Prefix)) // the user is made, and can sign in when there is less to do
		return nil
	}
	gate.SetCookie(w, p, h.CookieName, in.Cookie, int(in.Lifetime/time.Second))
	gate.SetDevice(w, p, h.CookieName, in.Device)
	sendOn(w, h.welcomePath(""))
	return nil
}

// setupRefused shows the form again, with what was wrong; or that somebody was first.
func (h *web) setupRefused(w http.ResponseWriter, r *http.Request, _ *gate.Pass, status int, e *doorward.Error) {
	needs, err := h.Authority.NeedsSetup(r.Context())
	wrong := inWords(e)
	switch {
	case err != nil:
		v := view{Title: setupTitle, Problem: wrong.text, Content: noticeLink{To: SetupPage(h.Prefix), Text: "Try again"}}
		must(h.show(w, status, "notice", v))
		return
	case !needs:
		must(h.isSetUp(w, status, "Somebody is set up here already."))
		return
	case errors.Is(e, doorward.ErrInvalidToken):
		wrong = problem{"The setup code is wrong.", "code"}
	case errors.Is(e, doorward.ErrTokenRequired) && r.PostForm.Get("code") == "":
		wrong = problem{"The setup code is missing.", "code"}
	case errors.Is(e, doorward.ErrTokenRequired):
		wrong = problem{text: "Somebody else is being made the first user at this moment."}
	}
	must(h.setupPage(w, r, status, wrong))
}

// isSetUp says that there is nothing to do here.
func (h *web) isSetUp(w http.ResponseWriter, status int, problem string) error {
	return h.show(w, status, "notice", view{
		Title: "Somebody is set up", Problem: problem, Content: noticeLink{To: SignInPage(h.Prefix), Text: "Sign in"},
	})
}

func (h *web) setupPage(w http.ResponseWriter, r *http.Request, status int, wrong problem) error {
	mode, err := h.Authority.Mode(r.Context())
	if err != nil {
		mode = doorward.ModeSetup // asking for a code that is not needed lets nobody in
	}
	form := setupForm{
		Action: SetupPage(h.Prefix), AsksCode: mode != doorward.ModeOpen, Shortest: h.MinPassword,
		Code: r.PostForm.Get("code"), Username: r.PostForm.Get("username"),
	}
	if len(form.Username) > maxUsername {
		form.Username = ""
	}
	if len(form.Code) > maxUsername || wrong.field == "code" {
		form.Code = ""
	}
	v := view{Title: setupTitle, Problem: wrong.text, Field: wrong.field, Content: form}
	if form.AsksCode {
		v.Script = h.scriptLink()
	}
	return h.show(w, status, "setup", v)
}

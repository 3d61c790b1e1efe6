package web

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// Service is what stands behind the door, for the page that shows it after the setup.
type Service struct {
	Name    string
	Address string // as the door reaches it
}

// welcomePath is where somebody is led on after the setup: a name for the organization, what is
// behind the door, and how to go on.
func (h *web) welcomePath(rest string) string { return h.Prefix + "/auth/welcome" + rest }

type welcomeView struct {
	Step   int // of Steps
	Steps  int
	Action string // of the form, on the first page
	Next   string // where the next page is
	// Organization is its name now, or what was filled in for it.
	Organization string
	Services     []Service
	Sample       bool
	Proxy        string
	Host         string // scheme and host of this server, as the browser knows it
	Login        string // where programs sign in, on that host
	Username     string
	Keys         string
	Account      string
}

const welcomeSteps = 3

func (h *web) welcomeAt(w http.ResponseWriter, r *http.Request, p *gate.Pass, status, step int, title string, wrong problem) error {
	v := welcomeView{
		Step: step, Steps: welcomeSteps, Action: h.welcomePath(""), Organization: h.Authority.Places().Name(p.Identity.Org),
		Services: h.Behind, Sample: h.Sample && h.Proxy == "", Proxy: h.Proxy, Host: p.Origin(), Login: h.Prefix + "/api/auth/login", Username: p.Identity.Username, Keys: h.keysPath(""), Account: h.accountPath(""),
	}
	switch step {
	case 1:
		v.Next = h.welcomePath("/service")
	case 2:
		v.Next = h.welcomePath("/ready")
	}
	if r.Method == http.MethodPost {
		v.Organization = r.PostForm.Get("name")
	}
	return h.framed(w, r, p, status, "welcome", h.welcomePath(""), view{Title: title, Problem: wrong.text, Field: wrong.field, Content: v})
}

const organizationTitle = "Name your organization"

// showWelcome asks for a name of the organization that the first user is in.
func (h *web) showWelcome(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.welcomeAt(w, r, p, http.StatusOK, 1, organizationTitle, problem{})
}

// nameOrganization gives the organization its name.
func (h *web) nameOrganization(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	if _, err := h.Authority.RenameOrganization(r.Context(), p.Caller(r), p.Identity.Org, r.PostForm.Get("name")); err != nil {
		return err
	}
	sendOn(w, h.welcomePath("/service"))
	return nil
}

// nameRefused shows the form again, with what was wrong.
func (h *web) nameRefused(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
	if e.Code != doorward.CodeInvalid || r.PostForm == nil || p.Identity.IsZero() || p.Identity.MustChange {
		h.refusedAt(h.welcomePath(""))(w, r, p, status, e)
		return
	}
	must(h.welcomeAt(w, r, p, status, 1, organizationTitle, inWords(e)))
}

// showBehind says what is behind the door, and how to put something else there.
func (h *web) showBehind(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.welcomeAt(w, r, p, http.StatusOK, 2, "What is behind the door", problem{})
}

// showReady says how to go on.
func (h *web) showReady(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.welcomeAt(w, r, p, http.StatusOK, 3, "Ready", problem{})
}

package web

import (
	"cmp"
	"net/http"
	"slices"

	"doorward"
	"doorward/gate"
)

// Config is what the pages need. Authority is required.
type Config struct {
	Authority   *doorward.Authority
	Prefix      string // before /auth/
	CookieName  string
	Behind      []Service // what is behind the door; nothing: the sample service, or the program that the door is a part of
	Sample      bool      // it is the sample service
	Proxy       string    // that asks the door and carries the requests; empty for none
	MinPassword int       // characters, for the hint beside a new password; zero means doorward.DefaultMinPassword
	Look        Look
}

// web is the room. It is immutable once made.
type web struct {
	Config
	style  asset
	script asset
	logo   asset
}

// SignInPage is where the sign-in page stands, for gate.Config.SignInPage.
func SignInPage(prefix string) string { return prefix + "/auth/login" }

// PasswordPage is where people choose a new password, for gate.Config.PasswordPage.
func PasswordPage(prefix string) string { return prefix + "/auth/password" }

func newWeb(c Config) *web {
	if c.MinPassword <= 0 {
		c.MinPassword = doorward.DefaultMinPassword
	}
	c.Look.Name = cmp.Or(c.Look.Name, DefaultName)
	h := &web{Config: c, style: newAsset(append(slices.Clip(styleSource), c.Look.Accent.style()...)), script: newAsset(scriptSource)}
	if c.Look.Logo != nil {
		h.logo = newAsset(c.Look.Logo.source)
	}
	return h
}

// Forbidden is what tells people in a browser that a page of the service is not for them, for gate.Config.Forbidden.
func Forbidden(c Config) func(http.ResponseWriter, *http.Request, *gate.Pass, *doorward.Error) {
	h := newWeb(c)
	return func(w http.ResponseWriter, r *http.Request, p *gate.Pass, e *doorward.Error) {
		const status = http.StatusForbidden
		must(h.framed(w, r, p, status, "notice", h.accountPath(""), refusal(p, status, e, h.accountPath(""), "Your account")))
	}
}

// Doors is the table of pages, to stand beside that of api.
func Doors(c Config) []gate.Door {
	h := newWeb(c)
	login, setup, password := SignInPage(c.Prefix), SetupPage(c.Prefix), h.passwordPath()
	const get, post = http.MethodGet, http.MethodPost
	doors := []gate.Door{
		{Method: get, Pattern: login, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: h.showLogin, Refused: h.loginRefused},
		{Method: post, Pattern: login, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, SameOrigin: true, Form: true,
			Handle: h.login, Refused: h.loginRefused},
		{Method: get, Pattern: setup, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: h.showSetup, Refused: h.setupRefused},
		{Method: post, Pattern: setup, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, SameOrigin: true, Form: true,
			Handle: h.setup, Refused: h.setupRefused},
		{Method: get, Pattern: password, Reads: gate.ReadsAll, Need: doorward.NeedPerson, MustChange: true,
			Handle: h.showPassword, Refused: h.passwordRefused},
		{Method: post, Pattern: password, Reads: gate.ReadsAll, Need: doorward.NeedPerson, MustChange: true, SameOrigin: true, Form: true,
			Handle: h.password, Refused: h.passwordRefused},
		{Method: get, Pattern: c.Prefix + stylePath, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: h.showStyle},
		{Method: get, Pattern: c.Prefix + scriptPath, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: h.showScript},
		{Method: get, Pattern: c.Prefix + logoPath, Reads: gate.ReadsNothing, Need: doorward.NeedNothing, Handle: h.showLogo},
	}
	doors = append(doors, h.inviteDoors()...)
	doors = append(doors, h.welcomeDoors()...)
	doors = append(doors, h.accountDoors()...)
	doors = append(doors, h.peopleDoors()...)
	return append(doors, h.operationDoors()...)
}

// welcomeDoors are the pages after the setup.
func (h *web) welcomeDoors() []gate.Door {
	at, admin := h.welcomePath(""), doorward.NeedPersonOf(doorward.Admin)
	name := h.postDoor(at, "", doorward.NeedPersonOf(doorward.Superadmin), h.nameOrganization)
	name.Refused = h.nameRefused
	return []gate.Door{
		h.pageDoor(at, "", admin, h.showWelcome),
		name,
		h.pageDoor(at, "/service", admin, h.showBehind),
		h.pageDoor(at, "/ready", admin, h.showReady),
	}
}

// pageDoor is a door to a page of who is signed in. at is the section that it belongs to, and where
// the way back from a refusal leads.
func (h *web) pageDoor(at, path string, need doorward.Need, handle action) gate.Door {
	return gate.Door{Method: http.MethodGet, Pattern: at + path, Reads: gate.ReadsAll, Need: need, Handle: handle, Refused: h.refusedAt(at)}
}

// postDoor is a door that a form of such a page posts to.
func (h *web) postDoor(at, path string, need doorward.Need, handle action) gate.Door {
	d := h.pageDoor(at, path, need, handle)
	d.Method, d.SameOrigin, d.Form = http.MethodPost, true, true
	return d
}

// accountDoors are the pages of who is signed in about what is their own.
func (h *web) accountDoors() []gate.Door {
	account, sessions, keys, activity := h.accountPath(""), h.accountPath("/sessions"), h.accountPath("/keys"), h.accountPath("/activity")
	person := doorward.NeedPerson
	makeKey := h.postDoor(keys, "", person, h.createKey)
	makeKey.Refused = h.createKeyRefused
	signOut := h.postDoor(account, "/sign-out", person, h.signOut)
	signOut.MustChange = true
	return []gate.Door{
		h.pageDoor(account, "", person, h.showAccount),
		signOut,
		h.pageDoor(sessions, "", person, h.showSessions),
		h.postDoor(sessions, "/end-others", person, h.endOtherSessions),
		h.postDoor(sessions, "/{id}/end", person, h.endSession),
		h.pageDoor(keys, "", person, h.showKeys),
		makeKey,
		h.pageDoor(keys, "/{id}/revoke", person, h.askRevokeKey),
		h.postDoor(keys, "/{id}/revoke", person, h.revokeKey),
		h.postDoor(keys, "/{id}/rotate", person, h.rotateKey),
		h.pageDoor(activity, "", person, h.showActivity),
	}
}

// action answers a request to a page.
type action = func(http.ResponseWriter, *http.Request, *gate.Pass) error

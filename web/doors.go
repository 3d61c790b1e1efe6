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
	MinPassword int // characters, for the hint beside a new password; zero means doorward.DefaultMinPassword
	Look        Look
	Running     *gate.Running // the door as it stands here, for its administrators
}

// web is the room. It is immutable once made.
type web struct {
	Config
	pages  pages
	style  asset
	script asset
	logo   asset
}

// SignInPage is where the sign-in page stands, for gate.Config.SignInPage.
func SignInPage(prefix string) string { return prefix + "/auth/login" }

// Doors is the table of pages, to stand beside that of api.
func Doors(c Config) []gate.Door {
	if c.MinPassword <= 0 {
		c.MinPassword = doorward.DefaultMinPassword
	}
	c.Look.Name = cmp.Or(c.Look.Name, DefaultName)
	h := &web{Config: c, pages: readPages(), style: newAsset(append(slices.Clip(styleSource), c.Look.Accent.style()...)), script: newAsset(scriptSource)}
	if c.Look.Logo != nil {
		h.logo = newAsset(c.Look.Logo.source)
	}
	login, setup, password := SignInPage(c.Prefix), SetupPage(c.Prefix), c.Prefix+"/auth/password"
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
	doors = append(doors, h.accountDoors()...)
	return append(doors, h.operationDoors()...)
}

// accountDoors are the pages of who is signed in about what is their own.
func (h *web) accountDoors() []gate.Door {
	// at is the section that a page belongs to, and where the way back from a refusal leads.
	page := func(at, path string, handle action) gate.Door {
		return gate.Door{Method: http.MethodGet, Pattern: at + path, Reads: gate.ReadsAll, Need: doorward.NeedPerson, Handle: handle, Refused: h.refusedAt(at)}
	}
	post := func(at, path string, handle action) gate.Door {
		d := page(at, path, handle)
		d.Method, d.SameOrigin, d.Form = http.MethodPost, true, true
		return d
	}
	account, sessions, keys, activity := h.accountPath(""), h.accountPath("/sessions"), h.accountPath("/keys"), h.accountPath("/activity")
	makeKey := post(keys, "", h.createKey)
	makeKey.Refused = h.createKeyRefused
	signOut := post(account, "/sign-out", h.signOut)
	signOut.MustChange = true
	return []gate.Door{
		page(account, "", h.showAccount),
		signOut,
		page(sessions, "", h.showSessions),
		post(sessions, "/end-others", h.endOtherSessions),
		post(sessions, "/{id}/end", h.endSession),
		page(keys, "", h.showKeys),
		makeKey,
		page(keys, "/{id}/revoke", h.askRevokeKey),
		post(keys, "/{id}/revoke", h.revokeKey),
		post(keys, "/{id}/rotate", h.rotateKey),
		page(activity, "", h.showActivity),
	}
}

// action answers a request to a page.
type action = func(http.ResponseWriter, *http.Request, *gate.Pass) error

package web

import (
	"net/http"
	"strings"

	"doorward"
	"doorward/gate"
)

// frame is what stands around the pages of somebody who is signed in.
type frame struct {
	Username  string
	Role      string
	Sections  []section
	SignOut   string
	Elsewhere *elsewhere // nil in one's own organization
}

// section is a page that every other leads to.
type section struct {
	To, Title string
	Here      bool // it is the one that is shown, or above it
}

// elsewhere is another organization than one's own, on the pages of which a superadmin is.
type elsewhere struct{ Name, ID, Home string }

// accountPath is where people look after what is their own.
func (h *web) accountPath(rest string) string { return h.Prefix + "/auth/account" + rest }

// adminPath is where administrators look after what is everybody's.
func (h *web) adminPath(rest string) string { return h.Prefix + "/auth/admin" + rest }

// frameOf makes the frame for who asks; at is the section that is shown. There are two sets of
// sections, one's own and those of administration, each with a way to the other, so that neither is long.
func (h *web) frameOf(p *gate.Pass, at string) *frame {
	f := &frame{Username: p.Identity.Username, Role: string(p.Identity.Role), SignOut: h.accountPath("/sign-out")}
	add := func(to, title string) {
		below := to != h.accountPath("") && to != h.adminPath("") && strings.HasPrefix(at, to+"/")
		f.Sections = append(f.Sections, section{to, title, to == at || below})
	}
	switch admin := p.Identity.Role.AtLeast(doorward.Admin); {
	case admin && strings.HasPrefix(at, h.adminPath("")):
		org := h.orgOf(p, at)
		if org != p.Identity.Org {
			f.Elsewhere = &elsewhere{h.Authority.Places().Name(org), org, h.adminPath("")}
		}
		add(h.accountPath(""), "Your account")
		add(h.overviewPath(org, f.Elsewhere == nil), "Overview")
		add(h.inPath(org, "/users"), "Users")
		add(h.inPath(org, "/keys"), "API keys")
		add(h.inPath(org, "/sessions"), "Sessions")
		add(h.inPath(org, "/workspaces"), "Workspaces")
		if p.Identity.Role == doorward.Superadmin {
			add(h.adminPath("/organizations"), "Organizations")
		}
		add(h.auditPath(org, f.Elsewhere == nil), "Audit")
		add(h.adminPath("/refusals"), "Refusals")
		add(h.adminPath("/routes"), "Routes")
		if p.Identity.Role == doorward.Superadmin {
			add(h.adminPath("/signing"), "Signing keys")
		}
	default:
		add(h.accountPath(""), "Account")
		add(h.accountPath("/sessions"), "Sessions")
		add(h.accountPath("/keys"), "API keys")
		add(h.accountPath("/activity"), "Activity")
		if admin {
			add(h.adminPath(""), "Administration")
		}
	}
	return f
}

// framed shows a page of somebody who is signed in. What the query says was done is said again.
func (h *web) framed(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, name, at string, v view) error {
	v.Frame = h.frameOf(p, at)
	if v.Problem == "" && r.Method != http.MethodPost {
		v.Done = said[r.URL.Query().Get("done")]
	}
	v.Script = h.scriptLink()
	return h.show(w, status, name, v)
}

// said is what a page says was done, by the word in its query: no text of anybody else's
// can be put on a page by a link.
var said = map[string]string{
	"session-ended":    "The session has ended.",
	"sessions-ended":   "All your other sessions have ended.",
	"key-revoked":      "The key is revoked, and what was begun with it has ended.",
	"password-changed": "Your password is changed. All your other sessions have ended.",

	"user-changed":         "The account is changed, and its sessions have ended.",
	"user-unlocked":        "The account is unlocked.",
	"user-disabled":        "The account is disabled, and its sessions have ended.",
	"user-enabled":         "The account is enabled.",
	"user-deleted":         "The account is deleted.",
	"user-made":            "The account is made.",
	"their-session-ended":  "The session has ended.",
	"their-sessions-ended": "The sessions have ended.",
	"workspace-made":       "The workspace is made.",
	"workspace-renamed":    "The workspace has another name now.",
	"workspace-deleted":    "The workspace is deleted.",
	"member-added":         "The member is added.",
	"member-removed":       "The member is removed.",
	"organization-made":    "The organization is made.",
	"organization-renamed": "The organization has another name now.",
	"organization-deleted": "The organization is deleted.",
	"keys-rotated":         "New keys sign from now on. Nobody was signed out.",
}

// doneAt sends the browser back to a page, which says what was done.
func doneAt(w http.ResponseWriter, page, word string) error {
	sendOn(w, page+"?done="+word)
	return nil
}

// refusedAt shows what was refused, with the way back to the page of that section.
func (h *web) refusedAt(at string) func(http.ResponseWriter, *http.Request, *gate.Pass, int, *doorward.Error) {
	return func(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
		if p.Identity.MustChange {
			sendOn(w, withNext(h.passwordPath(), at))
			return
		}
		if at == r.URL.Path && r.Method != http.MethodPost {
			at = h.accountPath("") // or it would lead back to the refusal
		}
		v := refusal(p, status, e, at, "Go back")
		if p.Identity.IsZero() {
			must(h.show(w, status, "notice", v))
			return
		}
		must(h.framed(w, r, p, status, "notice", at, v))
	}
}

// refusal says what was refused, and by what request id more is found out, with the one way on.
func refusal(p *gate.Pass, status int, e *doorward.Error, to, text string) view {
	return view{Title: refusedTitle(status), Problem: inWords(e).text, Content: noticeLink{to, text, p.RequestID}}
}

// refusedTitle is the heading over a refusal.
func refusedTitle(status int) string {
	switch {
	case status == http.StatusNotFound:
		return "There is no such thing"
	case status == http.StatusForbidden:
		return "Not allowed"
	case status >= http.StatusInternalServerError:
		return "Not now"
	}
	return "That was refused"
}

package web

import (
	"net/http"
	"strings"

	"doorward"
	"doorward/gate"
)

type refusalsView struct {
	Action string
	Asked  string // the request id that was looked up; empty for none
	Found  *refusalView
	Newest []refusalView
	Kept   int
	Since  stamp
}

// refusalView is a refusal as it is shown. All but its time and its status is what a client has sent,
// or depends on it.
type refusalView struct {
	RequestID, Method, Path, Rule, Error, Client string
	Status                                       int
	When                                         stamp
	Who, WhoTo, Role, Org                        string
	To                                           string // where it is looked up
	Explain                                      string // where the rules are asked about such a request
}

// newestRefusals is how many are listed, each of which clients make as long as they like.
const newestRefusals = 20

// maxAsked is the longest request id that is looked up, in bytes; the form shows it again.
const maxAsked = 64

// showRefusals looks up why a request was refused, by the id that its answer carries.
func (h *web) showRefusals(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	at, refusals := h.adminPath("/refusals"), p.Running().Refusals
	v := refusalsView{Action: at, Kept: gate.KeptRefusals, Since: stampOf(refusals.Since())}
	v.Asked = strings.TrimSpace(r.URL.Query().Get("request_id"))
	if len(v.Asked) > maxAsked {
		return doorward.Invalid("request_id", "must have at most %d characters", maxAsked)
	}
	limit := newestRefusals
	if v.Asked != "" {
		limit = 1
	}
	found, err := p.Running().Refused(r.Context(), p.Caller(r), v.Asked, limit)
	if err != nil {
		return err
	}
	switch {
	case v.Asked == "":
		for _, f := range found {
			v.Newest = append(v.Newest, h.refusalView(p, f))
		}
	case len(found) > 0:
		one := h.refusalView(p, found[0])
		v.Found = &one
	}
	return h.framed(w, r, p, http.StatusOK, "refusals", at, view{Title: "Refusals", Content: v})
}

func (h *web) refusalView(p *gate.Pass, f gate.Refusal) refusalView {
	v := refusalView{
		RequestID: f.RequestID, Method: doorward.Printable(f.Method), Path: doorward.Printable(f.Path), Rule: doorward.Printable(f.Rule),
		Error: doorward.Printable(f.Error), Client: f.Client.String(), Status: f.Status, When: stampOf(f.Time),
		Who: doorward.Printable(f.Username), Role: string(f.Role), Org: f.Org,
		To: h.adminPath("/refusals?request_id=" + f.RequestID),
	}
	if v.Who == "" {
		v.Who = doorward.Printable(f.Subject)
	}
	v.WhoTo = h.userPage(f.Subject, f.Org)
	return v
}

// userPage is the page about a user; empty for what is none.
func (h *web) userPage(id, org string) string {
	if !strings.HasPrefix(id, "usr_") || org == "" || doorward.CheckSlug("org", org) != nil || strings.Trim(id[4:], "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return ""
	}
	return h.inPath(org, "/users/"+id)
}

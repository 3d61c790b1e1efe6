package web

import (
	"cmp"
	"net/http"
	"net/url"

	"doorward"
	"doorward/gate"
)

type routesView struct {
	Rules  gate.RulesInForce
	After  bool // these are not the first
	Next   string
	Action string
	Asked  gate.Question
	Roles  []string
	Answer *answerView
}

// answerView is what the door makes of a request, in words.
type answerView struct {
	Passes   bool
	Ours     bool
	Sentence string
	Rule     string
	To       string
	Told     []field // what the service behind is told of who asks
}

// rulesAtOnce is how many rules a page lists.
const rulesAtOnce = 100

// showRoutes lists the rules in force and answers what the door makes of a request.
func (h *web) showRoutes(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.routesPage(w, r, p, problem{})
}

func (h *web) routesPage(w http.ResponseWriter, r *http.Request, p *gate.Pass, wrong problem) error {
	at, q, by := h.adminPath("/routes"), r.URL.Query(), p.Caller(r)
	v := routesView{Action: at, After: q.Get("after") != "", Roles: rolesUpTo(p.Identity.Role)}
	v.Asked = gate.Question{
		As: q.Get("as"), Role: q.Get("role"), Workspace: q.Get("workspace"), Host: cmp.Or(q.Get("host"), p.Host),
		Method: cmp.Or(q.Get("method"), http.MethodGet), Path: q.Get("path"),
	}
	var err error
	if v.Rules, err = p.Running().Rules(by, q.Get("after"), rulesAtOnce); err != nil {
		return err
	}
	v.Next = nextPage(at, v.Rules.Next)
	status := http.StatusOK
	if asked := q.Has("path"); asked {
		for _, text := range []string{v.Asked.As, v.Asked.Role, v.Asked.Workspace, v.Asked.Host, v.Asked.Method, v.Asked.Path} {
			if len(text) > maxField {
				return doorward.Invalid("query", "holds more than anybody asks")
			}
		}
		e, err := p.Running().Explain(r.Context(), by, v.Asked)
		if refusal := doorward.Refusal(err); err != nil {
			if refusal.Code == doorward.CodeUnavailable {
				return err
			}
			wrong, status = inWords(refusal), http.StatusBadRequest
		} else {
			v.Answer = answerOf(e)
		}
	}
	return h.framed(w, r, p, status, "routes", at, view{Title: "Routes", Problem: wrong.text, Field: wrong.field, Content: v})
}

// maxField is the longest text, in bytes, that a form is filled in with again.
const maxField = 256

func answerOf(e gate.Explained) *answerView {
	a := &answerView{Passes: e.Refusal == nil, Ours: e.Ours, Sentence: doorward.Printable(e.String()), Rule: doorward.Printable(e.Rule), To: e.To}
	if !a.Passes || a.Ours {
		return a
	}
	id := e.Identity
	a.Told = []field{
		{"Kind", string(id.Kind)}, {"Subject", id.Subject}, {"User", id.Username},
		{"Role", string(id.Role)}, {"Organization", id.Org}, {"Workspace", id.Workspace},
	}
	return a
}

// asQuery is fields as a query, those that are empty left out.
func asQuery(fields ...field) string {
	q := url.Values{}
	for _, f := range fields {
		if f.Value != "" {
			q.Set(f.Name, f.Value)
		}
	}
	return q.Encode()
}

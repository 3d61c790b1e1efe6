package api

import (
	"cmp"
	"net/http"

	"doorward/gate"
)

// explainedBody is what the door makes of a request, here and on the command line.
type explainedBody struct {
	Allowed  bool   `json:"allowed"`
	Status   int    `json:"status,omitempty" is:"HTTPStatus"`
	Error    string `json:"error,omitempty"`
	Rule     string `json:"rule"`
	Method   string `json:"method"`
	Path     string `json:"path"`
	As       string `json:"as"`
	Kind     string `json:"kind"` // as the service sees the caller
	Role     string `json:"role"`
	Upstream string `json:"upstream,omitempty"`
	Ours     bool   `json:"answered_here"`
}

// ExplainedBody is e as it is marshalled.
func ExplainedBody(e gate.Explained) any {
	b := explainedBody{
		Allowed: e.Refusal == nil, Status: e.Status, Rule: e.Rule, Method: e.Method, Path: e.Explanation.Path, As: e.Whom(),
		Kind: string(e.Identity.Kind), Role: string(e.Identity.Role), Upstream: e.To, Ours: e.Ours,
	}
	if e.Refusal != nil {
		b.Error = e.Refusal.Message
	}
	return b
}

// explain says what the door would make of a request, and which rule decides.
func (a *api) explain(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, err := single(r, "as", "role", "organization", "workspace", "host", "method", "path")
	if err != nil {
		return err
	}
	e, err := p.Running().Explain(r.Context(), p.Caller(r), gate.Question{
		As: q.Get("as"), Role: q.Get("role"), Org: q.Get("organization"), Workspace: q.Get("workspace"),
		Host: cmp.Or(q.Get("host"), p.Host), Method: cmp.Or(q.Get("method"), http.MethodGet), Path: q.Get("path"),
	})
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, ExplainedBody(e))
	return nil
}

type ruleBody struct {
	Rule    string `json:"rule"`
	Warning string `json:"warning"` // why it never decides; empty where it may
}

type rulesBody struct {
	Routes    []ruleBody `json:"routes"`
	Default   string     `json:"default"` // what holds where no route does
	Upstreams []ruleBody `json:"upstreams"`
	Disabled  bool       `json:"auth_disabled"` // the service behind is open to all
	Next      string     `json:"next"`
}

// rules lists the route policy in order.
func (a *api) rules(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, err := single(r, "after", "limit")
	if err != nil {
		return err
	}
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	rules, err := p.Running().Rules(p.Caller(r), q.Get("after"), limit)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, rulesBody{
		Routes: ruleBodies(rules.Routes), Default: rules.Default, Upstreams: ruleBodies(rules.Upstreams), Disabled: rules.Disabled, Next: rules.Next,
	})
	return nil
}

func ruleBodies(rules []gate.Rule) []ruleBody {
	all := []ruleBody{}
	for _, r := range rules {
		all = append(all, ruleBody{r.Text, r.Warning})
	}
	return all
}

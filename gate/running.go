package gate

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"doorward"
)

// Running is the door as it stands in this process, for its administrators to look at: what an
// Authority knows is the installation's, this is the server's own. Its fields are
// set before it is given to New; it is safe for concurrent use then.
type Running struct {
	Authority *doorward.Authority // nil: the gate's
	Refusals  *Refusals           // nil: those from now on
	// Upstreams are the services behind by Rules.Upstreams' index, or the one there is.
	Upstreams []UpstreamNames
	// Health asks how the server is; nil for a report of nothing.
	Health func(context.Context) doorward.HealthReport

	policy atomic.Pointer[Policy] // set by New
	dead   func() deadRules       // which rules never decide, found out once
}

// UpstreamNames is what a service behind is called.
type UpstreamNames struct {
	Name string // as in the health answer, which is public
	Full string // and where it is
}

// NamesOf makes them of a name and an address. Where there is one service it has no name of its own.
func NamesOf(name, address string) UpstreamNames {
	if name == TheUpstream {
		return UpstreamNames{name, address}
	}
	return UpstreamNames{name, name + " at " + address}
}

// TheUpstream is what the one service behind is called that has no name of its own.
const TheUpstream = "upstream"

type deadRules struct{ routes, upstreams map[int]string }

// stand lets rn know by what policy the door judges, and gives it what it was not given.
func (rn *Running) stand(p *Policy, a *doorward.Authority) {
	if rn.Authority == nil {
		rn.Authority = a
	}
	if rn.Refusals == nil {
		rn.Refusals = NewRefusals(rn.Authority.Now())
	}
	if rn.Health == nil {
		rn.Health = func(context.Context) doorward.HealthReport { return doorward.HealthReport{} }
	}
	rn.policy.Store(p)
	rn.dead = sync.OnceValue(func() deadRules {
		var names []string
		for _, u := range rn.Upstreams {
			names = append(names, u.Name)
		}
		return deadRules{p.NeverMatch(), p.NeverAsked(names)}
	})
}

// NeverMatch says of each route that can never decide, or none of the requests that it seems to be for, by its index, why.
func (p *Policy) NeverMatch() map[int]string {
	all := map[int]string{}
	for i, by := range p.Unreachable() {
		why := "it is answered by this server itself"
		if by != Ours {
			why = fmt.Sprintf("%s (%s) takes its requests before it", p.Routes[by].Path, p.Routes[by].Name)
		}
		all[i] = fmt.Sprintf("%s can never match: %s", p.Routes[i].Path, why)
	}
	// A public route minds case and the slash at the end, so one that asks for a role may be left with
	// nothing but odd spellings of what it is for.
	for i := range p.Routes {
		if all[i] != "" || p.Routes[i].Public {
			continue
		}
		if by, taken := p.routes.TakenAsWritten(i, p.doors.owns); taken && by != Ours && p.Routes[by].Public {
			all[i] = fmt.Sprintf("%s is public as it is written: %s (%s) takes its requests before it", p.Routes[i].Path, p.Routes[by].Path, p.Routes[by].Name)
		}
	}
	return all
}

// NeverAsked says the same of each upstream that can never be asked, with what they are called.
func (p *Policy) NeverAsked(names []string) map[int]string {
	all := map[int]string{}
	for i, by := range p.UnreachableUpstreams() {
		why := "its requests are answered by this server itself"
		if by != Ours {
			why = names[by] + " takes its requests before it"
		}
		all[i] = fmt.Sprintf("%s can never be asked: %s", names[i], why)
	}
	return all
}

// Rule is a rule in words.
type Rule struct {
	Text    string
	Warning string // why it never decides; empty where it may
}

// RulesInForce is the policy by which the door judges requests to the service behind, in order.
type RulesInForce struct {
	Routes    []Rule
	Next      string // where the next page of them begins; empty at the end
	Default   string // what holds where no route does
	Upstreams []Rule // where there is more than one service, or a path to one
	Disabled  bool   // the service is open to all, whatever the rules say
}

// defaultRule is what Policy.rule does where no route matches.
const defaultRule = "GET, HEAD and OPTIONS need viewer, all else needs editor"

// Rules lists a page of the routes in force. Where the services behind are is told to
// superadmins alone.
func (rn *Running) Rules(by doorward.Caller, after string, limit int) (RulesInForce, error) {
	if !by.Role.AtLeast(doorward.Admin) {
		return RulesInForce{}, doorward.ErrForbidden
	}
	first := 0
	if after != "" {
		var err error
		if first, err = strconv.Atoi(after); err != nil || first < 1 {
			return RulesInForce{}, doorward.Invalid("after", "is not where a page begins")
		}
	}
	p, dead := rn.policy.Load(), rn.dead()
	rules := RulesInForce{Default: defaultRule, Disabled: p.Disabled}
	for i := first; i < len(p.Routes); i++ {
		if i == first+limit {
			rules.Next = strconv.Itoa(i)
			break
		}
		rules.Routes = append(rules.Routes, Rule{p.Routes[i].String(), dead.routes[i]})
	}
	for i, u := range p.Upstreams {
		if i == limit || first > 0 {
			break
		}
		rules.Upstreams = append(rules.Upstreams, Rule{fmt.Sprintf("%s%s goes to %s", u.Host, u.Path, rn.upstream(by, i)), dead.upstreams[i]})
	}
	return rules, nil
}

// upstream is what by may know of the service with this index.
func (rn *Running) upstream(by doorward.Caller, i int) string {
	switch {
	case i >= len(rn.Upstreams):
		return "the service behind"
	case by.Role == doorward.Superadmin:
		return rn.Upstreams[i].Full
	}
	return rn.Upstreams[i].Name
}

// maxQuestion is the longest path, in bytes, that is explained here: the answer holds it.
const maxQuestion = 256

// Explain says what the door makes of a request of somebody whom by manages, of anybody with
// a role not above by's, in the organization that by acts in, or of nobody; to a superadmin of everybody and everywhere.
func (rn *Running) Explain(ctx context.Context, by doorward.Caller, q Question) (Explained, error) {
	if !by.Role.AtLeast(doorward.Admin) {
		return Explained{}, doorward.ErrForbidden
	}
	if q.Path == "" {
		return Explained{}, doorward.Invalid("path", "is required")
	}
	if len(q.Path) > maxQuestion {
		return Explained{}, doorward.Invalid("path", "must have at most %d bytes", maxQuestion)
	}
	r, err := q.Request()
	if err != nil {
		return Explained{}, err
	}
	id, err := rn.asker(ctx, by, q)
	if err != nil {
		return Explained{}, err
	}
	mode, err := rn.Authority.Mode(ctx)
	if err != nil {
		return Explained{}, err
	}
	e := Explained{Question: q, Explanation: rn.policy.Load().Explain(r, id, doorward.Asked{Org: q.Org, Workspace: q.Workspace}, rn.Authority.Places(), mode)}
	if e.Refusal == nil && !e.Ours {
		e.To = rn.upstream(by, e.Upstream)
	}
	return e, nil
}

// asker is who asks in q, of those whom by may ask about.
func (rn *Running) asker(ctx context.Context, by doorward.Caller, q Question) (doorward.Identity, error) {
	if by.Role != doorward.Superadmin && q.Org != "" && q.Org != by.Org {
		return doorward.Identity{}, doorward.Invalid("organization", "must be your own")
	}
	switch {
	case q.As != "" && q.Role != "":
		return doorward.Identity{}, doorward.Invalid("role", "must not be given beside a name")
	case q.As != "":
		return rn.Authority.WhoWouldBe(ctx, by, q.As)
	case q.Role == "":
		return doorward.Identity{}, nil
	}
	role, err := doorward.ParseRole(q.Role)
	if err != nil {
		return doorward.Identity{}, err
	}
	if !by.Role.AtLeast(role) {
		return doorward.Identity{}, doorward.Invalid("role", "must not be above your own")
	}
	return doorward.AnybodyWith(role, by.Org, cmp.Or(by.Workspaces, doorward.Default)), nil
}

// Refused lists what was refused, newest first and limit at most, of what by may know: the request
// with this id, or all where it is empty.
func (rn *Running) Refused(ctx context.Context, by doorward.Caller, id string, limit int) ([]Refusal, error) {
	since, err := rn.Authority.KnownSince(ctx, by)
	if err != nil {
		return nil, err
	}
	return rn.Refusals.Newest(by, since, id, limit)
}

// Disabled reports whether the service behind is open to all.
func (rn *Running) Disabled() bool { return rn.policy.Load().Disabled }

package gate

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"doorward"
)

// Rules is all that decides about a request before anybody knows who makes it.
type Rules struct {
	Doors  []Door
	Prefix string // before /auth/ and /api/auth/; empty for none
	// Routes judge requests to the service behind: the first that matches decides. Where
	// none does, reading needs a viewer and all else an editor.
	Routes []Route
	// Upstreams say where admitted requests go: the first that matches, by host and path.
	// None at all: there is one service, and it gets everything.
	Upstreams []Pattern
	// Disabled opens the service behind to all as anonymous; our own doors still ask.
	Disabled bool
}

// Hosts are those that the rules name, as in Pattern.
func (r Rules) Hosts() []string {
	var all []string
	for _, rt := range r.Routes {
		all = append(all, rt.Host)
	}
	for _, u := range r.Upstreams {
		all = append(all, u.Host)
	}
	return all
}

// Route is one rule about requests to the service behind.
type Route struct {
	Name    string // where it stands, for people
	Host    string // as in Pattern
	Path    string
	Methods []string

	// Public lets everybody through, matched exactly; else Role is needed, matched without
	// regard to ASCII case and a slash at the end. One of the two is given.
	Public bool
	Role   doorward.Role

	// Preflight lets CORS preflights through, as nobody: they carry no credential (Fetch, section 3.3.5).
	Preflight bool
	// EncodedSlash lets paths with an encoded slash through, where the path is this route's
	// whether the slash is taken for data or for a slash.
	EncodedSlash bool
}

func (rt *Route) pattern() Pattern {
	methods := rt.Methods
	if slices.Contains(methods, http.MethodGet) && !slices.Contains(methods, http.MethodHead) {
		methods = append(slices.Clone(methods), http.MethodHead) // it tells nearly as much
	}
	return Pattern{Host: rt.Host, Path: rt.Path, Methods: methods, Fold: !rt.Public}
}

// String says where the route stands and what it asks, for the log and for explain.
func (rt *Route) String() string {
	methods := ""
	if len(rt.Methods) > 0 {
		methods = strings.Join(rt.Methods, ",") + " "
	}
	if rt.Public {
		return fmt.Sprintf("%s: %s%s%s is public", rt.Name, methods, rt.Host, rt.Path)
	}
	return fmt.Sprintf("%s: %s%s%s needs %s", rt.Name, methods, rt.Host, rt.Path, rt.Role)
}

// Policy is Rules made ready. It is immutable and safe for concurrent use.
type Policy struct {
	Rules
	doors   *doorTable
	routes  *Matcher
	rulings []ruling // by route
	places  *Matcher // nil for one service
}

// NewPolicy checks the rules. A wrong route is a *RouteError.
func NewPolicy(rules Rules) (*Policy, error) {
	doors, err := newDoorTable(rules.Doors, rules.Prefix)
	if err != nil {
		return nil, err
	}
	p := &Policy{Rules: rules, doors: doors}
	p.Routes = slices.Clone(rules.Routes)
	patterns := make([]Pattern, len(p.Routes))
	for i := range p.Routes {
		rt := &p.Routes[i]
		switch {
		case rt.Public && rt.Role != "":
			return nil, &RouteError{i, errors.New("is public and asks for a role; it must be one of the two")}
		case !rt.Public && rt.Role.Rank() == 0:
			return nil, &RouteError{i, errors.New("says neither public: true nor which role it needs")}
		}
		patterns[i] = rt.pattern()
		need := doorward.NeedNothing
		if !rt.Public {
			need = doorward.NeedRole(rt.Role)
		}
		p.rulings = append(p.rulings, ruling{route: rt, need: need})
	}
	if p.routes, err = NewMatcher(patterns); err != nil {
		return nil, routeError(err)
	}
	if len(rules.Upstreams) > 0 {
		if p.places, err = NewMatcher(rules.Upstreams); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// RouteError says which route is wrong, and how.
type RouteError struct {
	Index int
	Err   error
}

func (e *RouteError) Error() string { return fmt.Sprintf("routes: entry %d %v", e.Index+1, e.Err) }

// Unwrap returns what is wrong with it.
func (e *RouteError) Unwrap() error { return e.Err }

func routeError(err error) error {
	var wrong *PatternError
	if errors.As(err, &wrong) {
		return &RouteError{wrong.Index, wrong.Err}
	}
	return err
}

// Unreachable returns the routes that can never decide, each with an earlier one that takes
// its requests, or Ours where they are answered here and never come to a route.
func (p *Policy) Unreachable() map[int]int { return p.routes.Unreachable(p.doors.owns) }

// UnreachableUpstreams does the same for upstreams.
func (p *Policy) UnreachableUpstreams() map[int]int {
	if p.places == nil {
		return nil
	}
	return p.places.Unreachable(p.doors.owns)
}

// ruling is what a route, or its absence, asks of a request.
type ruling struct {
	route *Route // nil where none matches
	need  doorward.Need
}

func (u ruling) public() bool { return u.route != nil && u.route.Public }

// text says what decided, for the log and for explain.
func (u ruling) text(method string) string {
	if u.route != nil {
		return u.route.String()
	}
	return "default: " + method + " needs " + u.need.String()
}

var (
	needViewer = doorward.NeedRole(doorward.Viewer)
	needEditor = doorward.NeedRole(doorward.Editor)
)

// rule finds what a method and one reading of a path ask.
func (p *Policy) rule(method, host, path string) ruling {
	if i, ok := p.routes.Match(method, host, path); ok {
		return p.rulings[i]
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return ruling{need: needViewer}
	}
	return ruling{need: needEditor}
}

// judge finds what a canonical request to the service behind asks. What services are known
// to read in more than one way is judged in each, and the strictest ruling
// holds; so whichever way the service reads it, its caller satisfies that way's rule. Some
// take delete for DELETE, against RFC 9110, section 9.1; paths are read in the ways of form.readings.
func (p *Policy) judge(method, host string, f form) (ruling, error) {
	u, err := p.judgeAs(method, host, f)
	if err != nil || !hasLower(method) {
		return u, err
	}
	v, err := p.judgeAs(strings.ToUpper(method), host, f)
	return stricter(u, v), err
}

// judgeHosts is judge for a request whose host is judged by the word of a trusted proxy,
// while the service gets another: it must be let through under both names, since a proxy
// may have passed on what a client said.
func (p *Policy) judgeHosts(method, judged, sent string, f form) (ruling, error) {
	u, err := p.judge(method, judged, f)
	if err != nil || sent == judged {
		return u, err
	}
	v, err := p.judge(method, sent, f)
	return stricter(u, v), err
}

func hasLower(s string) bool {
	for i := 0; i < len(s); i++ {
		if 'a' <= s[i] && s[i] <= 'z' {
			return true
		}
	}
	return false
}

func (p *Policy) judgeAs(method, host string, f form) (ruling, error) {
	first := f.decoded
	if f.opaque != "" {
		first = f.opaque
	}
	u := p.rule(method, host, first)
	if f.opaque == "" && strings.IndexByte(f.decoded, ';') < 0 {
		return u, nil
	}
	slashes := u.route != nil && u.route.EncodedSlash
	for _, other := range f.readings() {
		if p.doors.owns(other) {
			return u, errPathForm // it is not ours as it stands, and would be to the service
		}
		v := p.rule(method, host, other)
		slashes = slashes && v.route != nil && v.route.EncodedSlash
		u = stricter(u, v)
	}
	if f.opaque != "" && !slashes {
		return u, errPathForm
	}
	return u, nil
}

// readings are the other ways in which a service may read the path: with an encoded slash
// as a slash, and without path parameters (RFC 3986, section 3.3), which some servers
// take out before they route.
func (f form) readings() []string {
	var all []string
	if f.opaque != "" {
		all = append(all, f.decoded)
	}
	for _, path := range []string{f.opaque, f.decoded} {
		if strings.IndexByte(path, ';') >= 0 {
			all = append(all, withoutParameters(path))
		}
	}
	return all
}

// withoutParameters takes the parameters out of each segment, and then those that are empty.
func withoutParameters(path string) string {
	var kept []string
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		if s != "" || i == len(segments)-1 && len(kept) > 0 {
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// stricter returns the ruling that asks more.
func stricter(u, v ruling) ruling {
	switch {
	case u.public():
		return v
	case v.public():
		return u
	case v.role().Rank() > u.role().Rank():
		return v
	}
	return u
}

func (u ruling) role() doorward.Role { return u.need.Role() }

// preflight reports whether a CORS preflight may pass to the service: the route of the
// request that it asks about says so, or that of the preflight itself.
func (p *Policy) preflight(r *http.Request, judged string, f form) bool {
	if !isPreflight(r) {
		return false
	}
	sent := canonicalHost(r.Host)
	asked, err := p.judgeHosts(r.Header["Access-Control-Request-Method"][0], judged, sent, f)
	if err == nil && asked.route != nil && asked.route.Preflight {
		return true
	}
	itself, err := p.judgeHosts(r.Method, judged, sent, f)
	return err == nil && itself.route != nil && itself.route.Preflight
}

// isPreflight reports whether a browser asks whether it may send a request (Fetch, section 3.3).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1
}

// upstream finds where an admitted request goes: the index of the first upstream that
// matches, or the refusal.
func (p *Policy) upstream(method, host string, f form) (int, error) {
	if p.places == nil {
		return 0, nil
	}
	path := f.decoded
	if f.opaque != "" {
		path = f.opaque
	}
	if i, ok := p.places.Match(method, host, path); ok {
		return i, nil
	}
	return 0, errNoService
}

var errNoService = doorward.NotFound("service")

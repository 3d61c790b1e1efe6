package app

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"doorward"
	"doorward/gate"
)

// routeFields are the keys of an entry of routes in the file.
var routeFields = []string{"host", "path", "methods", "public", "role", "preflight", "encoded_slash"}

// routes is the setter of routes: in the file a list of mappings, elsewhere entries
// separated by commas, each some words: GET|HEAD /api/** viewer.
func routes(to *[]gate.Route) func(given) error {
	return func(g given) error {
		all, err := entries(g, writtenRoute, listedRoute)
		if err != nil {
			return err
		}
		*to = all
		return nil
	}
}

// entries reads a list of which each entry says several things: in the file a list of
// mappings, in a text words. Where an entry stands is given to the reader, for people.
func entries[T any](g given, written func(words []string, place string) (T, error), listed func(fields []field, place string) (T, error)) ([]T, error) {
	if g.node == nil || g.node.kind != listNode {
		items, err := g.items()
		if err != nil {
			return nil, err
		}
		var all []T
		for n, i := range items {
			v, err := written(strings.Fields(i.text), fmt.Sprintf("%s entry %d", g.source, n+1))
			if err != nil {
				return nil, i.wrong(fmt.Errorf("entry %d: %w", n+1, err))
			}
			all = append(all, v)
		}
		return all, nil
	}
	var all []T
	for _, n := range g.node.items {
		place := fileLine(g.file, n.line)
		var (
			v   T
			err error
		)
		if n.kind == mapNode {
			v, err = listed(n.fields, place)
		} else {
			var text string
			if text, err = n.scalar(); err == nil {
				v, err = written(strings.Fields(text), place)
			}
		}
		if err != nil {
			var at atLine
			if errors.As(err, &at) {
				return nil, err
			}
			return nil, atLine{n.line, err}
		}
		all = append(all, v)
	}
	return all, nil
}

// setFields gives each field of a mapping to the setter of its name.
func setFields(fields []field, names []string, set func(name string, value node) error) error {
	for _, f := range fields {
		if !slices.Contains(names, f.name) {
			return atLine{f.line, fmt.Errorf("unknown field %s%s", printable(f.name), nearestKnown(f.name, names))}
		}
		if err := set(f.name, f.value); err != nil {
			var at atLine
			if errors.As(err, &at) {
				return err
			}
			return atLine{f.line, fmt.Errorf("%s: %w", f.name, err)}
		}
	}
	return nil
}

func listedRoute(fields []field, place string) (gate.Route, error) {
	rt := gate.Route{Name: place}
	err := setFields(fields, routeFields, func(name string, value node) error {
		if name == "methods" {
			return setMethods(&rt, value)
		}
		text, err := value.scalar()
		if err != nil {
			return err
		}
		switch name {
		case "host":
			rt.Host = text
		case "path":
			rt.Path = text
		case "public":
			rt.Public, err = truth(text)
		case "role":
			rt.Role, err = roleWord(text)
		case "preflight":
			rt.Preflight, err = passWord(text)
		case "encoded_slash":
			rt.EncodedSlash, err = passWord(text)
		}
		return err
	})
	if err != nil {
		return rt, err
	}
	return rt, checkRoute(rt)
}

func roleWord(s string) (doorward.Role, error) {
	word, err := oneOf("superadmin", "admin", "editor", "viewer")(s)
	return doorward.Role(word), err
}

func passWord(s string) (bool, error) {
	word, err := oneOf("pass", "refuse")(s)
	return word == "pass", err
}

func setMethods(rt *gate.Route, value node) error {
	items, err := given{node: &value}.items()
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return errors.New("names none; leave it out for all")
	}
	for _, i := range items {
		if err := method(i.text); err != nil {
			if i.line == 0 {
				return err
			}
			return atLine{i.line, fmt.Errorf("methods: %w", err)}
		}
		rt.Methods = append(rt.Methods, i.text)
	}
	return nil
}

// method accepts a method as clients send it: case matters (RFC 9110, section 9.1), so a lower-case one is
// a slip that would never match.
func method(s string) error {
	if s == "" || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return fmt.Errorf("%s is not a method like GET; they are written in capitals", shown(s))
	}
	if s == "CONNECT" || s == "TRACE" {
		return fmt.Errorf("%s is never let through", s)
	}
	return nil
}

// writtenRoute reads the words of an entry: methods joined by |, a path that a host may
// stand before, and what it needs; preflight and encoded_slash let those pass.
func writtenRoute(words []string, place string) (gate.Route, error) {
	rt := gate.Route{Name: place}
	for _, w := range words {
		switch {
		case strings.Contains(w, "/") && rt.Path != "":
			return rt, fmt.Errorf("%s is a second path; entries are separated by commas", shown(w))
		case strings.Contains(w, "/"):
			host, path, _ := strings.Cut(w, "/")
			rt.Host, rt.Path = host, "/"+path
		case w == "public":
			rt.Public = true
		case w == "preflight":
			rt.Preflight = true
		case w == "encoded_slash":
			rt.EncodedSlash = true
		case doorward.Role(w).Rank() > 0 && rt.Role != "":
			return rt, fmt.Errorf("%s is a second role", w)
		case doorward.Role(w).Rank() > 0:
			rt.Role = doorward.Role(w)
		case strings.ToUpper(w) == w && rt.Methods == nil:
			for m := range strings.SplitSeq(w, "|") {
				if err := method(m); err != nil {
					return rt, err
				}
				rt.Methods = append(rt.Methods, m)
			}
		default:
			return rt, fmt.Errorf("%s is neither a path, nor methods like GET|HEAD, nor public, preflight, encoded_slash or a role%s", shown(w),
				didYouMean(w, []string{"public", "preflight", "encoded_slash", "superadmin", "admin", "editor", "viewer"}))
		}
	}
	return rt, checkRoute(rt)
}

// checkRoute says what is wrong with a route by itself.
func checkRoute(rt gate.Route) error {
	if rt.Path == "" {
		return errors.New("an entry has no path")
	}
	_, err := gate.NewPolicy(gate.Rules{Routes: []gate.Route{rt}})
	var wrong *gate.RouteError
	if errors.As(err, &wrong) {
		return wrong.Err
	}
	return err
}

// Upstream is one entry of upstreams: a service behind the door, by host and path.
type Upstream struct {
	Name    string // a slug
	URL     *url.URL
	Host    string // empty for any
	Path    string // a pattern as in routes; /** when not given
	Strip   string // what is taken off the path before it goes on; empty for nothing
	Timeout time.Duration
	place   string
}

var upstreamFields = []string{"name", "url", "host", "path", "strip", "timeout"}

// upstreams is the setter of upstreams, in the same two forms as routes: in a text the name, the URL,
// and where it is: app http://localhost:3001 app.example.com/**.
func upstreams(to *[]Upstream) func(given) error {
	return func(g given) error {
		all, err := entries(g, writtenUpstream, listedUpstream)
		if err != nil {
			return err
		}
		for i, u := range all {
			for _, other := range all[:i] {
				if other.Name == u.Name {
					return fmt.Errorf("two are called %s", u.Name)
				}
			}
		}
		*to = all
		return nil
	}
}

func listedUpstream(fields []field, place string) (Upstream, error) {
	u := Upstream{Path: "/**", place: place}
	err := setFields(fields, upstreamFields, func(name string, value node) error {
		text, err := value.scalar()
		if err != nil {
			return err
		}
		switch name {
		case "name":
			u.Name = text
		case "url":
			u.URL, err = upstreamURL(text)
		case "host":
			u.Host = text
		case "path":
			u.Path = text
		case "strip":
			u.Strip = text
		case "timeout":
			u.Timeout, err = positive(text)
		}
		return err
	})
	if err != nil {
		return u, err
	}
	return u, u.check()
}

func writtenUpstream(words []string, place string) (u Upstream, err error) {
	u = Upstream{Path: "/**", place: place}
	for i, w := range words {
		strip, isStrip := strings.CutPrefix(w, "strip=")
		switch {
		case i == 0:
			u.Name = w
		case strings.Contains(w, "://") && u.URL == nil:
			if u.URL, err = upstreamURL(w); err != nil {
				return u, fmt.Errorf("url: %w", err)
			}
		case isStrip:
			u.Strip = strip
		case strings.Contains(w, "/"):
			host, path, _ := strings.Cut(w, "/")
			u.Host, u.Path = host, "/"+path
		default:
			return u, fmt.Errorf("%s is neither a URL, nor a path, nor strip=PATH", shown(w))
		}
	}
	return u, u.check()
}

func (u Upstream) check() error {
	switch {
	case !slug(u.Name):
		return fmt.Errorf("name: %s must have 1 to 63 of a-z, 0-9 and -", shown(u.Name))
	case u.URL == nil:
		return errors.New("an entry has no url")
	case u.Strip != "" && !gate.CleanPath(u.Strip):
		return fmt.Errorf("strip: %s is not a path like /v1: it begins with a slash, does not end with one, and holds letters, digits and /-._~", shown(u.Strip))
	case u.Strip != "" && u.Path != u.Strip && !strings.HasPrefix(u.Path, u.Strip+"/"):
		return fmt.Errorf("strip: %s is not what the path %s begins with", shown(u.Strip), shown(u.Path))
	}
	_, err := gate.NewMatcher([]gate.Pattern{u.pattern()})
	var wrong *gate.PatternError
	if errors.As(err, &wrong) {
		return wrong.Err
	}
	return err
}

func (u Upstream) pattern() gate.Pattern { return gate.Pattern{Host: u.Host, Path: u.Path} }

// showRoutes and showUpstreams write the lists as they could be given in a text.
func (s *Settings) showRoutes() string {
	var all []string
	for _, rt := range s.Routes {
		var words []string
		if len(rt.Methods) > 0 {
			words = append(words, strings.Join(rt.Methods, "|"))
		}
		words = append(words, rt.Host+rt.Path)
		if rt.Public {
			words = append(words, "public")
		} else {
			words = append(words, string(rt.Role))
		}
		if rt.Preflight {
			words = append(words, "preflight")
		}
		if rt.EncodedSlash {
			words = append(words, "encoded_slash")
		}
		all = append(all, strings.Join(words, " "))
	}
	return strings.Join(all, ", ")
}

func (s *Settings) showUpstreams() string {
	var all []string
	for _, u := range s.Upstreams {
		text := u.Name + " " + u.URL.String() + " " + u.Host + u.Path
		if u.Strip != "" {
			text += " strip=" + u.Strip
		}
		if u.Timeout > 0 {
			text += " timeout=" + u.Timeout.String()
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// behind is what stands behind the door, in the order in which it is asked: the named
// upstreams, then the one that gets everything else. Empty for the sample service.
func (s *Settings) behind() []Upstream {
	all := slices.Clone(s.Upstreams)
	if s.Upstream != nil {
		all = append(all, Upstream{Name: "upstream", URL: s.Upstream, Path: "/**"})
	}
	return all
}

// patternsOf are the places of upstreams for the door; none where there is but one service.
func patternsOf(all []Upstream) []gate.Pattern {
	if len(all) == 1 && all[0].Host == "" && all[0].Path == "/**" {
		return nil
	}
	var patterns []gate.Pattern
	for _, u := range all {
		patterns = append(patterns, u.pattern())
	}
	return patterns
}

func namesOf(all []Upstream) []string {
	var names []string
	for _, u := range all {
		names = append(names, u.Name)
	}
	return names
}

// checkRoutes warns of rules that can never decide, and refuses what cannot be meant.
func (l *loaded) checkRoutes() {
	if len(l.problems) > 0 {
		return // what they leave undecided cannot be judged as a whole
	}
	behind := l.behind()
	policy, err := gate.NewPolicy(gate.Rules{Doors: doorsOf(l.Settings), Prefix: l.PathPrefix, Routes: l.Routes, Upstreams: patternsOf(behind)})
	if err != nil {
		l.problem(err) // each was checked where it was read
		return
	}
	for i, why := range inOrder(policy.NeverMatch()) {
		l.warnings = append(l.warnings, fmt.Sprintf("routes (%s): %s", l.Routes[i].Name, why))
	}
	for i, why := range inOrder(policy.NeverAsked(namesOf(behind))) {
		l.warnings = append(l.warnings, fmt.Sprintf("upstreams (%s): %s", behind[i].place, why))
	}
	for _, u := range l.Upstreams {
		if local(u.URL.Hostname()) && overlap(l.Listen, hostAndPort(u.URL)) {
			l.conflict("upstreams", "%s is this server itself; let %s be another address", u.Name, l.where("listen"))
		}
		if u.Name == "upstream" && l.Upstream != nil {
			l.conflict("upstreams", "one is called upstream, which %s is called in /health", l.where("upstream"))
		}
	}
}

// inOrder goes through m by key.
func inOrder(m map[int]string) func(yield func(k int, v string) bool) {
	return func(yield func(k int, v string) bool) {
		var keys []int
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

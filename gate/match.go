package gate

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// Pattern says which requests a rule is for.
//
// Path is a path in which a segment * stands for any one segment that is not empty, and a
// last segment ** for whatever follows, nothing included: /x/** is for /x and all below it.
// Otherwise it is matched as written, with escapes undone.
type Pattern struct {
	Host    string   // a name without a port, or *. and a name for all below it; empty for any
	Path    string   // see above
	Methods []string // as sent (RFC 9110, section 9.1: case matters); none for all
	// Fold matches without regard to ASCII case and to one slash at the end, since services
	// are known that take such paths for the same.
	Fold bool
}

// Matcher finds the first of many patterns that a request matches. It descends a tree of
// segments, so what it costs grows with the depth of a path and not with the number of
// patterns. It is immutable and safe for concurrent use.
type Matcher struct {
	patterns []Pattern
	depth    int        // the most segments of any pattern
	roots    [2]segment // of the patterns matched exactly, and of those matched folded
}

// segment is a place in the tree: the patterns whose first segments lead here.
type segment struct {
	least int // the first pattern at or below this place
	next  map[string]*segment
	any   *segment // *
	here  *ending  // patterns that end here
	below *ending  // patterns that end here in **
}

// ending holds the patterns with one path, by host, each in order.
type ending struct {
	byHost map[string][]int
	hosts  bool // some name a host
}

const nothing = math.MaxInt

// NewMatcher puts patterns in. The error names the index and says what is wrong with it.
func NewMatcher(patterns []Pattern) (*Matcher, error) {
	m := &Matcher{patterns: slices.Clone(patterns)}
	m.roots[0].least, m.roots[1].least = nothing, nothing
	for i := range m.patterns {
		p := &m.patterns[i]
		if err := checkHostPattern(p.Host); err != nil {
			return nil, &PatternError{i, err}
		}
		p.Host = canonicalPattern(p.Host)
		segments, err := splitPattern(p.Path)
		if err != nil {
			return nil, &PatternError{i, err}
		}
		m.add(i, segments)
	}
	return m, nil
}

// PatternError says which pattern is wrong.
type PatternError struct {
	Index int
	Err   error
}

func (e *PatternError) Error() string { return fmt.Sprintf("pattern %d: %v", e.Index, e.Err) }

// Unwrap returns what is wrong with it.
func (e *PatternError) Unwrap() error { return e.Err }

// splitPattern takes a pattern apart: its segments decoded, "*" and "**" for the wild ones
// alone, since a star that is meant is written %2A.
func splitPattern(path string) ([]patternSegment, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path: %q must begin with /", path)
	}
	if strings.ContainsAny(path, "?#") {
		return nil, fmt.Errorf("path: %q must not hold a query or a fragment; a sign that is meant is written %%3F or %%23", path)
	}
	parts := strings.Split(path[1:], "/")
	var all []patternSegment
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "**" && !last:
			return nil, fmt.Errorf("path: %q holds ** elsewhere than at its end", path)
		case part == "*", part == "**":
			all = append(all, patternSegment{part, true})
			continue
		case strings.Contains(part, "*"):
			return nil, fmt.Errorf("path: %q holds a * that is no whole segment; a star that is meant is written %%2A", path)
		case part == "" && last:
			if len(parts) > 1 { // the slash at the end of /x/
				all = append(all, patternSegment{"", false})
			}
			continue
		case part == "":
			return nil, fmt.Errorf("path: %q holds a double slash, which no request has once its path is clean", path)
		}
		_, plain, ok := canonicalSegment(part)
		if !ok || strings.ContainsRune(plain, '/') {
			return nil, fmt.Errorf("path: %q holds an encoded slash, a backslash, a control character or a malformed escape, which no request has", path)
		}
		if name, _, _ := strings.Cut(plain, ";"); name == "." || name == ".." {
			return nil, fmt.Errorf("path: %q holds a dot segment, which no request has once its path is clean", path)
		}
		all = append(all, patternSegment{plain, false})
	}
	return all, nil
}

type patternSegment struct {
	text string
	wild bool
}

// canonicalPattern is a host as canonicalHost would have it.
func canonicalPattern(host string) string {
	if isBareIPv6(host) {
		return canonicalHost("[" + host + "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func checkHostPattern(host string) error {
	name := strings.TrimPrefix(strings.TrimSuffix(host, "."), "*.")
	switch {
	case host == "":
		return nil
	case strings.ContainsFunc(host, func(r rune) bool { return r > '~' }):
		return fmt.Errorf("host: %q is not in ASCII; browsers send the form that begins with xn--, so write that", host)
	case isBareIPv6(name):
		if _, err := netip.ParseAddr(name); err != nil {
			return fmt.Errorf("host: %q is not an address", host)
		}
		return nil
	case strings.ContainsAny(name, "*/:@?# []\\%"), name == "", strings.HasSuffix(name, "."), strings.HasPrefix(name, "."):
		return fmt.Errorf("host: %q is not a name like app.example.com or *.example.com, without a port", host)
	}
	return nil
}

func isBareIPv6(s string) bool { return strings.Count(s, ":") > 1 && !strings.ContainsAny(s, "[]/*%") }

func (m *Matcher) add(index int, segments []patternSegment) {
	p := m.patterns[index]
	at := &m.roots[0]
	if p.Fold {
		at = &m.roots[1]
		// The slash at the end says nothing here.
		if n := len(segments); n > 0 && segments[n-1] == (patternSegment{}) {
			segments = segments[:n-1]
		}
	}
	m.depth = max(m.depth, len(segments))
	at.least = min(at.least, index)
	for _, s := range segments {
		switch {
		case s.wild && s.text == "**":
			at.below = at.below.with(p.Host, index)
			return
		case s.wild:
			if at.any == nil {
				at.any = &segment{least: nothing}
			}
			at = at.any
		default:
			text := s.text
			if p.Fold {
				text = lower(text)
			}
			if at.next == nil {
				at.next = map[string]*segment{}
			}
			if at.next[text] == nil {
				at.next[text] = &segment{least: nothing}
			}
			at = at.next[text]
		}
		at.least = min(at.least, index)
	}
	at.here = at.here.with(p.Host, index)
}

func (e *ending) with(host string, index int) *ending {
	if e == nil {
		e = &ending{byHost: map[string][]int{}}
	}
	e.byHost[host] = append(e.byHost[host], index)
	e.hosts = e.hosts || host != ""
	return e
}

// lower is s with ASCII letters in lower case.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, s)
		}
	}
	return s
}

// search is one look for the first pattern that matches.
type search struct {
	m            *Matcher
	method, host string
	fold         bool
	best         int
}

// Match returns the index of the first pattern that a request matches, given its method, its
// host as CanonicalHost has it and its canonical, decoded path; false if none does.
func (m *Matcher) Match(method, host, path string) (int, bool) {
	s := search{m: m, method: method, host: host, best: nothing}
	path = strings.TrimPrefix(path, "/")
	s.descend(&m.roots[0], path, path != "")
	s.fold = true
	path = strings.TrimSuffix(path, "/")
	s.descend(&m.roots[1], path, path != "")
	return s.best, s.best != nothing
}

// descend looks at and below a place; more says that rest holds a segment, be it empty.
func (s *search) descend(at *segment, rest string, more bool) {
	if at == nil || at.least >= s.best {
		return
	}
	s.end(at.below)
	if !more {
		s.end(at.here)
		return
	}
	name, rest, more := strings.Cut(rest, "/")
	if at.next != nil {
		s.descend(at.literal(name, s.fold), rest, more)
	}
	if name != "" {
		s.descend(at.any, rest, more)
	}
}

// literal is the place that a segment leads to. Folding it allocates nothing.
func (at *segment) literal(name string, fold bool) *segment {
	if !fold {
		return at.next[name]
	}
	var buf [128]byte
	if len(name) > len(buf) {
		return at.next[lower(name)]
	}
	b := buf[:len(name)]
	for i := range b {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b[i] = c
	}
	return at.next[string(b)]
}

// end looks among the patterns with one path for one whose host and method match.
func (s *search) end(e *ending) {
	if e == nil {
		return
	}
	s.among(e.byHost[""])
	if !e.hosts || s.host == "" {
		return
	}
	s.among(e.byHost[s.host])
	var buf [256]byte
	for parent := s.host; ; {
		_, below, found := strings.Cut(parent, ".")
		if !found || len(below)+2 > len(buf) {
			return
		}
		b := append(append(buf[:0], "*."...), below...)
		s.among(e.byHost[string(b)])
		parent = below
	}
}

func (s *search) among(indexes []int) {
	for _, i := range indexes {
		if i >= s.best {
			return
		}
		methods := s.m.patterns[i].Methods
		if len(methods) == 0 || slices.Contains(methods, s.method) {
			s.best = i
			return
		}
	}
}

// Unreachable returns the patterns that no request can match first, each with one of the
// earlier patterns that take its requests. ours tells of a path whether it never comes to be matched.
//
// Of each pattern it tries the requests that fewest others match: with segments, a
// method and a host that no pattern names wherever it names none itself. If an earlier
// pattern matches even those it has a wild card in their places, and so matches every
// other request of this one as well.
func (m *Matcher) Unreachable(ours func(path string) bool) map[int]int {
	dead := map[int]int{}
	for i, p := range m.patterns {
		if by, ok := m.takenBy(i, p, ours); ok {
			dead[i] = by
		}
	}
	return dead
}

// TakenAsWritten returns which earlier pattern takes the requests of the pattern with this index
// that are spelled as it is, whatever becomes of those that only a folded one matches.
func (m *Matcher) TakenAsWritten(index int, ours func(path string) bool) (by int, taken bool) {
	p := m.patterns[index]
	p.Fold = false
	return m.takenBy(index, p, ours)
}

// Ours is what Unreachable says of a pattern whose requests never come to be matched.
const Ours = -1

// takenBy returns who takes all requests for p, the pattern with this index, if somebody does.
func (m *Matcher) takenBy(index int, p Pattern, ours func(path string) bool) (by int, taken bool) {
	const fresh = "\x01" // stands in no path
	hosts := []string{p.Host}
	switch below, wild := strings.CutPrefix(p.Host, "*."); {
	case wild:
		hosts = []string{fresh + "." + below}
	case p.Host == "":
		hosts = []string{""}
	}
	methods := p.Methods
	if len(methods) == 0 {
		methods = []string{fresh}
	}
	by = Ours
	for _, path := range m.witnesses(p, fresh) {
		if ours != nil && ours(path) {
			continue
		}
		for _, method := range methods {
			for _, host := range hosts {
				first, _ := m.Match(method, host, path)
				if first == index {
					return 0, false
				}
				by = first
			}
		}
	}
	return by, true
}

// witnesses are the paths to try for p.
func (m *Matcher) witnesses(p Pattern, fresh string) []string {
	segments, err := splitPattern(p.Path)
	if err != nil { // NewMatcher has seen it
		return nil
	}
	path, open := "", false
	for _, s := range segments {
		switch {
		case s.wild && s.text == "**":
			open = true
		case s.wild:
			path += "/" + fresh
		default:
			path += "/" + s.text
		}
	}
	paths := []string{path}
	if path == "" {
		paths[0] = "/"
	}
	if open {
		for range m.depth + 1 {
			path += "/" + fresh
			paths = append(paths, path)
		}
	}
	if p.Fold {
		// Written so that a pattern which minds case or the slash at the end does not match.
		for _, w := range slices.Clone(paths) {
			for _, other := range []string{w, upper(w), lower(w), swapCase(w)} {
				other = strings.TrimSuffix(other, "/")
				paths = append(paths, other+"/")
				if other != "" {
					paths = append(paths, other)
				}
			}
		}
	}
	return paths
}

func upper(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

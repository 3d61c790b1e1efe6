package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// stripCookies takes the cookies called names out of h and leaves every other byte as the
// client sent it: a service may have its own idea of what a cookie's value looks like.
//
// Pairs end at a semicolon wherever it stands, in quotes too: that is how browsers write
// them (RFC 6265, section 5.4), and a cookie of ours that someone placed between two
// quotes of others must not arrive as a part of theirs.
func stripCookies(h http.Header, names []string) {
	lines := h["Cookie"]
	if len(lines) == 0 || len(names) == 0 {
		return
	}
	kept := lines[:0]
	for _, line := range lines {
		if line, ok := stripPairs(line, names); ok {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

// stripPairs returns line without the pairs called names; false when that leaves nothing.
func stripPairs(line string, names []string) (string, bool) {
	if !holdsAny(line, names) {
		return line, true
	}
	line = trimPairs(line, names)
	if !holdsAny(line, names) {
		return line, strings.Trim(line, "; \t") != ""
	}
	var b strings.Builder
	b.Grow(len(line))
	content, kept, first := false, 0, true
	for pair := range strings.SplitSeq(line, ";") {
		leads := first
		first = false
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(names, trim(name)) {
			continue
		}
		content = content || trim(pair) != ""
		switch {
		case kept > 0:
			b.WriteByte(';')
		case !leads:
			pair = strings.TrimLeft(pair, " \t") // it was the space after a pair that is gone
		}
		b.WriteString(pair)
		kept++
	}
	return b.String(), content
}

// trimPairs takes the pairs called names off the ends of line, which is where nearly every
// browser has them, without allocating.
func trimPairs(line string, names []string) string {
	ours := func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(names, trim(name))
	}
	for {
		pair, rest, _ := strings.Cut(line, ";")
		if !ours(pair) {
			break
		}
		line = strings.TrimLeft(rest, " \t") // it was the space after a pair that is gone
	}
	for {
		i := strings.LastIndexByte(line, ';')
		if i < 0 || !ours(line[i+1:]) {
			return line
		}
		line = line[:i]
	}
}

// holdsAny reports whether one of names is a pair of line, without allocating.
func holdsAny(line string, names []string) bool {
	for more := true; more; {
		var pair string
		pair, line, more = strings.Cut(line, ";")
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(names, trim(name)) {
			return true
		}
	}
	return false
}

// dropOurSetCookies keeps a service from setting a cookie of ours: it could otherwise put
// a session of its choosing under a person's hands (session fixation), or sign them out.
func dropOurSetCookies(h http.Header, names []string) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 || len(names) == 0 {
		return
	}
	lines = slices.DeleteFunc(lines, func(line string) bool {
		pair, _, _ := strings.Cut(line, ";")
		// A browser sends a cookie without a name as its bare value, so
		// "=brokoli_session=x" would come back as ours.
		name, _, _ := strings.Cut(strings.TrimLeft(pair, "= \t"), "=")
		return slices.Contains(names, trim(name))
	})
	if len(lines) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = lines
}

func trim(s string) string { return strings.Trim(s, " \t") }

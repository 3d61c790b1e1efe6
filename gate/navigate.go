package gate

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// navigates reports whether a browser is on its way to a page with r, so that a page, and
// not JSON, is the answer to somebody who must sign in. Browsers say so themselves (Fetch
// Metadata); of those that do not, and of other programs, who would rather have HTML than
// anything else and shows no credential in a header does.
func navigates(r *http.Request) bool {
	if m := r.Header["Sec-Fetch-Mode"]; len(m) > 0 {
		return len(m) == 1 && m[0] == "navigate"
	}
	for _, name := range [...]string{"Sec-Fetch-Site", "Sec-Fetch-Dest", "Sec-Fetch-User"} {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	return r.Method == http.MethodGet && prefersHTML(r.Header["Accept"])
}

// showsHeader reports whether r shows a credential of ours in a header, good or bad: who
// does is a program and gets JSON.
func showsHeader(r *http.Request) bool {
	if len(r.Header["X-Api-Key"]) > 0 {
		return true
	}
	for _, a := range r.Header["Authorization"] {
		if _, ours := bearer(a); ours {
			return true
		}
	}
	return false
}

// prefersHTML reads Accept (RFC 9110, section 12.5.1): HTML must be named, and nothing
// be wanted more.
func prefersHTML(accept []string) bool {
	html, most := 0.0, 0.0
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			kind, parameters, _ := strings.Cut(part, ";")
			q := quality(parameters)
			switch kind = strings.TrimSpace(kind); {
			case strings.EqualFold(kind, "text/html"), strings.EqualFold(kind, "application/xhtml+xml"):
				html = max(html, q)
			default:
				most = max(most, q)
			}
		}
	}
	return html > 0 && html >= most
}

// quality is the weight among the parameters of a media range: 1 when there is none, 0
// when it cannot be read.
func quality(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}

// maxNext is the longest target, in bytes, that somebody is sent back to after signing in.
const maxNext = 2048

// signInTarget is where a navigation that must sign in is sent.
func (g *Gate) signInTarget(r *http.Request, p *Pass) string { return g.ledTo(g.SignInPage, r, p) }

// ledTo is where a navigation is sent that must do something first: to page, told
// where to go on to afterwards. What was not a mere look at a page is not done again by
// going there, so it is not named.
func (g *Gate) ledTo(page string, r *http.Request, p *Pass) string {
	next := "/"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		next = (&url.URL{Path: p.Path, RawPath: p.RawPath, RawQuery: r.URL.RawQuery}).String()
	}
	at, back := g.hosts.elsewhere(p.Host)
	if len(back)+len(next) > maxNext {
		next = "/"
	}
	if at != "" && back == "" || at == "" && next == "/" {
		return at + page
	}
	return at + page + "?next=" + url.QueryEscape(back+next)
}

// setupTarget is where a navigation is sent while nobody is set up.
func (g *Gate) setupTarget(p *Pass) string {
	at, _ := g.hosts.elsewhere(p.Host)
	return at + g.SetupPage
}

// Next is next if it is a target to which a browser may be sent from a page of ours, else "/": one
// on this site, as SameSite has it, or a whole URL of a host that Config.RedirectAllow lets it be sent to.
func (p *Pass) Next(next string) string { return p.hosts.target(p.Host, next) }

// SameSite returns next if it is a target on this site to which a browser may be sent,
// else "/". What a browser could take for another site, or for a script, is none: it must begin with one
// slash, and hold neither a backslash, which browsers read as a slash, nor what they leave
// out before they read it (WHATWG URL, section 4.4).
func SameSite(next string) string {
	target, _ := sameSite(next)
	return target
}

// sameSite is SameSite, and whether next is such a target.
func sameSite(next string) (target string, ok bool) {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
		return "/", false
	}
	for i := 0; i < len(next); i++ {
		if next[i] <= ' ' || next[i] >= 0x7f || next[i] == '\\' {
			return "/", false
		}
	}
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" || u.User != nil || u.Opaque != "" {
		return "/", false
	}
	// Dot segments could leave two slashes at the beginning behind: "/.//e", "/x/..//e".
	// An encoded one is a name like any other to a browser until the service says otherwise.
	r := &http.Request{URL: u}
	f, err := canonicalPath(r)
	if err != nil {
		return "/", false
	}
	u = &url.URL{Path: f.decoded, RawPath: f.escaped, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery}
	if next = u.String(); len(next) > maxNext { // escapes are longer than what they stand for
		return "/", false
	}
	return next, true
}

package gate

import (
	"net/http"
	"strings"

	"doorward"
)

// Reads says which credentials a door looks at.
type Reads uint8

// What a door may read.
const (
	ReadsNothing      Reads = iota + 1 // a stale cookie or token never locks anyone out of it
	ReadsHeaders                       // Authorization: Bearer and X-API-Key
	ReadsAll                           // and the session cookie
	ReadsItself                        // the door's handler judges what is shown, a dead token or cookie too
	ReadsBearerItself                  // the same, and it looks at Authorization: Bearer alone
)

// judgesNothing reports whether the gate judges nothing of what is shown at such a door.
func (r Reads) judgesNothing() bool {
	return r == ReadsNothing || r == ReadsItself || r == ReadsBearerItself
}

// String names it for the table of doors.
func (r Reads) String() string {
	switch r {
	case ReadsNothing:
		return "nothing"
	case ReadsHeaders:
		return "headers"
	case ReadsAll:
		return "headers, cookie"
	case ReadsItself:
		return "Bearer or cookie, dead ones too"
	case ReadsBearerItself:
		return "Bearer, dead ones too"
	}
	return "unset"
}

// presented finds the one credential that decides, in an order that is a promise: Bearer,
// X-API-Key, cookie. The first that is present counts, good or bad; the others are not
// looked at. Two that claim the same place are an error, since whichever one were taken,
// somebody else might take the other.
func (g *Gate) presented(r *http.Request, reads Reads) (p doorward.Presented, present bool, err error) {
	if reads.judgesNothing() {
		return p, false, nil
	}
	token, present, err := Bearer(r)
	if err != nil || present {
		return doorward.Presented{Via: doorward.FromBearer, Value: token}, present, err
	}
	keys := r.Header["X-Api-Key"]
	if len(keys) > 1 {
		return p, false, doorward.Invalid("X-API-Key", "must not be given twice")
	}
	if len(keys) == 1 {
		return doorward.Presented{Via: doorward.FromKeyHeader, Value: keys[0]}, true, nil
	}
	if reads != ReadsAll {
		return p, false, nil
	}
	value, present, err := Cookie(r, g.CookieName)
	return doorward.Presented{Via: doorward.FromCookie, Value: value}, present, err
}

// Bearer returns the token of the request's Authorization header, if it has one of that
// scheme. Two such headers are an error.
func Bearer(r *http.Request) (token string, present bool, err error) {
	values := r.Header["Authorization"]
	if len(values) > 1 {
		return "", false, doorward.Invalid("Authorization", "must not be given twice")
	}
	if len(values) == 0 {
		return "", false, nil
	}
	token, present = bearer(values[0])
	return token, present, nil
}

// bearer takes the token out of an Authorization value. The scheme's name is compared
// without regard to case (RFC 9110, section 11.1); any other scheme is no credential of ours.
func bearer(value string) (string, bool) {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimLeft(token, " "), true
}

// Cookie returns the value of the session cookie called name. Browsers send several of
// one name when a sibling host or a parent path has planted one: if they differ, none can
// be believed. Read as it is stripped on the way to the service: pairs end at a semicolon
// wherever it stands, and what net/http would skip as ill-formed counts.
func Cookie(r *http.Request, name string) (value string, present bool, err error) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			n, v, _ := strings.Cut(pair, "=")
			if strings.Trim(n, " \t") != name {
				continue
			}
			if v = strings.Trim(v, " \t"); present && v != value {
				return "", true, twoCookies{doorward.Invalid("Cookie", "%s is given twice with different values", name)}
			}
			value, present = v, true
		}
	}
	return value, present, nil
}

// twoCookies is the refusal of a request with two session cookies that differ.
type twoCookies struct{ refusal *doorward.Error }

func (e twoCookies) Error() string { return e.refusal.Error() }
func (e twoCookies) Unwrap() error { return e.refusal }

// SetCookie gives the browser its session, for maxAge seconds; below 0 takes it away. Where one
// sign-in counts for many hosts, a cookie of that name which the browser has for this host alone goes in any
// case: it is from before that was so, or somebody else's, and would differ from what is set.
func SetCookie(w http.ResponseWriter, p *Pass, name, value string, maxAge int) {
	c := http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: p.Secure,
	}
	if domain := p.hosts.cookieDomain(p.Host); domain != "" {
		// First, since some take both for one cookie where the host is the domain itself (RFC
		// 6265, section 5.3, step 11).
		old := c
		old.Value, old.MaxAge = "", -1
		http.SetCookie(w, &old)
		c.Domain = domain
	}
	http.SetCookie(w, &c)
}

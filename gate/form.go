package gate

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"doorward"
)

// checkForm refuses a request whose head is read in different ways by different servers,
// or is more than anybody should read, before anything is decided about it.
func (g *Gate) checkForm(r *http.Request) error {
	lines := 0
	for _, values := range r.Header {
		lines += len(values)
	}
	if g.MaxHeaders > 0 && lines > g.MaxHeaders {
		return &doorward.Error{Code: doorward.CodeHeaders, Message: "headers: must not be more than " + strconv.Itoa(g.MaxHeaders)}
	}
	if r.ProtoMajor >= 2 {
		if err := checkHTTP2(r); err != nil {
			return err
		}
	}
	if r.URL.User != nil {
		return doorward.Invalid("Host", "must not hold a user name or password")
	}
	if !validHost(r.Host) {
		return doorward.Invalid("Host", "is not a host name or address, with or without a port")
	}
	return nil
}

// errNoHost refuses a request to the service that names no host, as HTTP/1.0 may: on the way
// it would be given the service's own, which nobody has judged. Our own doors need none.
var errNoHost = doorward.Invalid("Host", "must be given")

// closeOld has the connection closed after an answer to HTTP/1.0. There net/http drops a
// Transfer-Encoding unread, so what an earlier hop took for the body would be taken for
// the next request (RFC 9112, section 6.1: the framing is faulty, and the connection to be closed).
func closeOld(w http.ResponseWriter, r *http.Request) {
	if !r.ProtoAtLeast(1, 1) {
		w.Header().Set("Connection", "close")
	}
}

// checkHTTP2 refuses what HTTP/1.1 has no words for, or which net/http, that leaves it in, lets through: the
// service behind is asked in HTTP/1.1, and must be asked what the door has judged.
func checkHTTP2(r *http.Request) error {
	if !isToken(r.Method) {
		return doorward.Invalid("method", "must be a word")
	}
	if !strings.HasPrefix(r.RequestURI, "/") {
		return badPath("must begin with /")
	}
	// A Host may stand beside :authority, and who believes it where others believe the other is
	// fooled (RFC 9113, section 8.3.1).
	if hosts := r.Header["Host"]; len(hosts) > 1 || len(hosts) == 1 && !strings.EqualFold(hosts[0], r.Host) {
		return doorward.Invalid("Host", "differs from :authority")
	}
	// Where it is none, or the request has no body, net/http takes it for 0 (section 8.1.1).
	if lengths := r.Header["Content-Length"]; len(lengths) > 1 || len(lengths) == 1 && lengths[0] != strconv.FormatInt(r.ContentLength, 10) {
		return doorward.Invalid("Content-Length", "is not the length of the body")
	}
	return nil
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2), as a method must be.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !unreserved(c) && strings.IndexByte("!#$%&'*+^`|", c) < 0 {
			return false
		}
	}
	return s != ""
}

// validHost reports whether host is what a Host header may hold (RFC 9110, section 7.2): nothing, a
// name, an IPv4 address or an IPv6 address in brackets, and perhaps a port. Of the names that
// RFC 3986 allows, those are left out that no resolver knows, such as ones with escapes.
func validHost(host string) bool {
	if host == "" {
		return true
	}
	name, port, ok := splitHost(host)
	if !ok || len(name) > 255 {
		return false
	}
	if port != "" {
		if _, err := strconv.ParseUint(port[1:], 10, 16); err != nil || len(port) > len(":65535") {
			return false
		}
	}
	if host[0] == '[' {
		for i := 0; i < len(name); i++ {
			if !unreserved(name[i]) && name[i] != ':' { // a zone means something on one machine alone
				return false
			}
		}
		a, err := netip.ParseAddr(name)
		return err == nil && a.Is6()
	}
	afterDot := true
	for i := 0; i < len(name); i++ {
		dot := name[i] == '.'
		if dot && afterDot || !dot && (!unreserved(name[i]) || name[i] == '~') {
			return false
		}
		afterDot = dot
	}
	return name != ""
}

// splitHost takes a host apart: the name without brackets, and the port with its colon,
// empty when there is none. ok is false where brackets are not closed.
func splitHost(host string) (name, port string, ok bool) {
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 || end+1 < len(host) && host[end+1] != ':' {
			return "", "", false
		}
		return host[1:end], host[end+1:], true
	}
	if colon := strings.IndexByte(host, ':'); colon >= 0 {
		return host[:colon], host[colon:], true
	}
	return host, "", true
}

// canonicalHost is the one form of a host that passed validHost, for rules to compare: lower case,
// no port, no final dot, no brackets. It allocates only where there are upper-case letters.
func canonicalHost(host string) string {
	name, _, ok := splitHost(host)
	if !ok {
		return ""
	}
	if host != "" && host[0] == '[' {
		if a, err := netip.ParseAddr(name); err == nil {
			return a.String() // the one way to write it (RFC 5952)
		}
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

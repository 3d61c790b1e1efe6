package proxy

import (
	"net/url"
	"path"
	"strings"
)

// target is the URL to ask the service for: the canonical path below the base path, and
// the query as in has it.
func (p *Proxy) target(pass *Passage, in *url.URL) url.URL {
	decoded, raw := pass.target()
	if !strings.HasPrefix(decoded, "/") {
		decoded, raw = "/"+decoded, ""
	}
	decoded, raw = stripPrefix(decoded, raw, p.strip)
	if raw != "" || p.raw != p.path {
		if raw == "" {
			raw = (&url.URL{Path: decoded}).EscapedPath()
		}
		raw = p.raw + raw
	}
	return url.URL{
		Scheme: p.scheme, Host: p.host,
		Path: p.path + decoded, RawPath: raw,
		RawQuery: in.RawQuery, ForceQuery: in.ForceQuery,
	}
}

// stripPrefix takes prefix off a path, given decoded and as escaped, which may be empty if
// there is but one way to write it. It takes whole segments: /v1 is not taken off /v1x, nor
// off /v1%2Fx, which is one segment. What does not begin with prefix stays as it is.
func stripPrefix(decoded, raw, prefix string) (string, string) {
	rest, ok := strings.CutPrefix(decoded, prefix)
	if prefix == "" || !ok || rest != "" && rest[0] != '/' {
		return decoded, raw
	}
	if same, err := url.PathUnescape(raw); err != nil || same != decoded {
		raw = "" // as url.URL has it
	}
	if raw != "" {
		n := 0 // where in raw the rest begins
		for i := range len(prefix) {
			switch {
			case raw[n] != '%':
				n++
			case prefix[i] != '/':
				n += len("%41")
			default:
				return decoded, raw
			}
		}
		if rest != "" && raw[n] != '/' {
			return decoded, raw
		}
		raw = raw[n:]
	}
	if rest == "" {
		return "/", ""
	}
	return rest, raw
}

// cleanPrefix reports whether s can be stripped: empty, or a clean path with no slash at
// its end.
func cleanPrefix(s string) bool {
	return s == "" || s != "/" && s[0] == '/' && path.Clean(s) == s
}

package gate

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"doorward"
)

// form is the one form of a path.
type form struct {
	escaped string // what is forwarded
	decoded string // what is judged
	// opaque is decoded with a NUL for each slash that was encoded: the path as a service
	// reads it that takes such a slash for data. Empty when there is none.
	opaque string
	// unreserved says that it holds nothing that is ever escaped.
	unreserved bool
}

// canonicalPath returns the one form of a request's path: the escaped one that is
// forwarded and the decoded one that is judged. Dot segments (also as %2e) and double
// slashes are cleaned (RFC 3986, section 5.2.4), escapes of unreserved characters are
// undone and the rest written upper-case (section 6.2.2), and what must be escaped is, so
// that two targets which a service would take for the same are the same here, before
// anything is decided. The canonical form of a canonical form is itself.
//
// What servers are known to read in different ways is refused: a backslash, a control
// character, a raw '#', and dots followed by a path parameter ("..;"). An encoded slash is
// for the routes to refuse; where one hides an empty or a dot segment it is refused here.
func canonicalPath(r *http.Request) (form, error) {
	if strings.IndexByte(r.RequestURI, '#') >= 0 {
		return form{}, badPath("a fragment does not belong in a request")
	}
	raw := writtenPath(r.URL)
	if raw == "" && r.URL.Host != "" {
		raw = "/" // absolute form without a path
	}
	if raw == "" || raw[0] != '/' {
		return form{}, badPath("must begin with /")
	}
	if isCanonical(raw) {
		return form{escaped: raw, decoded: raw, unreserved: true}, nil
	}
	var segments, plain []string
	trailing := false
	for rest := raw[1:]; ; {
		segment, more, found := strings.Cut(rest, "/")
		esc, dec, ok := canonicalSegment(segment)
		if !ok {
			return form{}, errPathForm
		}
		if strings.IndexByte(dec, '/') >= 0 {
			if hidesDots(dec) {
				return form{}, errPathForm
			}
			dec = strings.ReplaceAll(dec, "/", "\x00")
		}
		name, _, hasParameter := strings.Cut(dec, ";")
		trailing = false
		switch {
		case hasParameter && (name == "." || name == ".."):
			return form{}, badPath("holds a dot segment with a parameter")
		case dec == "..":
			if len(plain) > 0 && strings.IndexByte(plain[len(plain)-1], 0) >= 0 {
				return form{}, errPathForm // is it one segment that this takes back, or half of it?
			}
			if len(segments) > 0 {
				segments, plain = segments[:len(segments)-1], plain[:len(plain)-1]
			}
			trailing = true
		case dec == "." || dec == "":
			trailing = true
		default:
			segments, plain = append(segments, esc), append(plain, dec)
		}
		if !found {
			break
		}
		rest = more
	}
	f := form{escaped: "/" + strings.Join(segments, "/"), decoded: "/" + strings.Join(plain, "/")}
	if trailing && len(segments) > 0 {
		f.escaped, f.decoded = f.escaped+"/", f.decoded+"/"
	}
	if strings.IndexByte(f.decoded, 0) >= 0 {
		f.opaque, f.decoded = f.decoded, strings.ReplaceAll(f.decoded, "\x00", "/")
	}
	return f, nil
}

var errPathForm = badPath("holds an encoded slash, a backslash, a control character or a malformed escape")

// hidesDots reports whether a segment that holds encoded slashes would, for a service that
// decodes them first, have empty or dot segments in it: then even a route that lets
// encoded slashes through must not.
func hidesDots(segment string) bool {
	for part := range strings.SplitSeq(segment, "/") {
		part, _, _ = strings.Cut(part, ";")
		if part == "" || part == "." || part == ".." {
			return true
		}
	}
	return false
}

// writtenPath is the path as the client wrote it. EscapedPath alone will not do: where
// net/url finds one byte that should have been escaped it writes the whole path anew, and
// an encoded slash elsewhere in it has then become a real one before anybody saw it.
func writtenPath(u *url.URL) string {
	if u.RawPath != "" {
		if plain, err := url.PathUnescape(u.RawPath); err == nil && plain == u.Path {
			return u.RawPath
		}
	}
	return u.EscapedPath()
}

func badPath(why string) *doorward.Error { return doorward.Invalid("path", "%s", why) }

// isCanonical is the quick way for nearly every request: nothing in it needs a second look.
func isCanonical(p string) bool {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '/' {
			if i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.') {
				return false
			}
			continue
		}
		if !unreserved(c) {
			return false
		}
	}
	return true
}

// canonicalSegment returns a segment in canonical escapes and decoded.
func canonicalSegment(s string) (escaped, decoded string, ok bool) {
	var esc, dec strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", "", false
			}
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 0 || lo < 0 {
				return "", "", false
			}
			c = byte(hi<<4 | lo)
			i += 2
			if c == '\\' || c < 0x20 || c == 0x7f {
				return "", "", false
			}
			dec.WriteByte(c)
			if unreserved(c) {
				esc.WriteByte(c)
			} else {
				writeEscape(&esc, c)
			}
			continue
		}
		if c == '\\' || c == '#' || c <= 0x20 || c == 0x7f {
			return "", "", false
		}
		dec.WriteByte(c)
		if unreserved(c) || strings.IndexByte(asWritten, c) >= 0 {
			esc.WriteByte(c)
		} else {
			writeEscape(&esc, c)
		}
	}
	return esc.String(), dec.String(), true
}

// asWritten may stand in a path unescaped, and means the same escaped only to some (RFC
// 3986, section 2.2): it stays as the client wrote it. The brackets have no place in a path by the RFC,
// but browsers send them so.
const asWritten = "!$&'()*+,;=:@[]"

func writeEscape(b *strings.Builder, c byte) {
	const hex = "0123456789ABCDEF"
	b.WriteByte('%')
	b.WriteByte(hex[c>>4])
	b.WriteByte(hex[c&15])
}

// unreserved reports whether c never needs an escape (RFC 3986, section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// CleanPath reports whether s is absolute, in the one form that routing uses, and needs
// no escaping; "/" is not, since nothing can stand below it alone.
func CleanPath(s string) bool {
	if !strings.HasPrefix(s, "/") || s == "/" || path.Clean(s) != s {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-._~") == ""
}

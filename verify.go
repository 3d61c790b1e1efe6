package doorward

import (
	"crypto/subtle"
	"slices"
	"strings"
	"time"
)

// maxAhead is how far a token's iat may lie ahead of the clock here: nodes disagree a little.
const maxAhead = 60 // seconds

// Verify returns what token says, if it is one that this ring signed for use with a key
// that is still good, and has not expired. Else the error is ErrTokenExpired for one that
// was good once, and ErrInvalidToken for everything else. Whether its session has been
// revoked is not asked here.
//
// It reads only what Sign wrote: a known header segment, one spelling of base64url, one
// order of claims. Nothing of a token is decoded before its MAC has been found right.
func (k *KeyRing) Verify(use Use, token string, now time.Time) (Claims, error) {
	s := k.signerOf(use, token, now)
	if s == nil {
		return Claims{}, ErrInvalidToken
	}
	end := len(token) - macLen - 1 // of header and claims, where the second dot is
	if end < len(s.header) || token[end] != '.' {
		return Claims{}, ErrInvalidToken
	}
	m := s.get()
	defer s.put(m)
	claims, ok := m.open(token, len(s.header), end)
	if !ok {
		return Claims{}, ErrInvalidToken
	}
	c, ok := parseClaims(use, claims)
	if !ok || c.IssuedAt > now.Unix()+maxAhead {
		return Claims{}, ErrInvalidToken
	}
	if now.Unix() >= c.ExpiresAt {
		return Claims{}, ErrTokenExpired
	}
	return c, nil
}

// signerOf finds the key whose header segment for this use begins token. There are as
// many to compare as there are keys, one or two.
func (k *KeyRing) signerOf(use Use, token string, now time.Time) *signer {
	if len(token) > MaxTokenLen {
		return nil
	}
	for i := range k.keys {
		key := &k.keys[i]
		s := key.signer(use)
		if s == nil || !strings.HasPrefix(token, s.header) {
			continue
		}
		if key.until.IsZero() || now.Before(key.until) {
			return s
		}
	}
	return nil
}

// open checks the MAC after token[end] and returns the claims in token[begin:end], decoded.
func (m *keyedMAC) open(token string, begin, end int) (claims string, ok bool) {
	m.text = append(m.text[:0], token...)
	// The encoded forms are compared, so a MAC has one spelling: decoding first would let
	// the two spare bits of its last character vary, and a logged-out token come back as another.
	if subtle.ConstantTimeCompare(m.sum(m.text[:end]), m.text[end+1:]) != 1 {
		return "", false
	}
	encoded := m.text[begin:end]
	m.claims = slices.Grow(m.claims[:0], len(encoded))[:len(encoded)]
	n, err := base64url.Decode(m.claims, encoded)
	// Decode skips line ends. Comparing with DecodedLen instead would miss one behind whole
	// groups of four.
	if err != nil || base64url.EncodedLen(n) != len(encoded) {
		return "", false
	}
	return string(m.claims[:n]), true
}

// parseClaims reads exactly what appendClaims writes: whatever it accepts, appendClaims
// would write again byte for byte. So there are no duplicates to decide about, no unknown
// names, no nesting and no second spelling. A claim added one day must be read one release
// before it is written, or nodes could not be upgraded one by one.
func parseClaims(use Use, s string) (Claims, bool) {
	always := use.identifies()
	p := claimsParser{s: s, ok: plain(s)}
	var c Claims
	p.literal(`{"iss":"` + Issuer + `"`)
	c.Subject = p.str(`,"sub":"`, always)
	c.IssuedAt = p.num(`,"iat":`)
	c.ExpiresAt = p.num(`,"exp":`)
	c.ID = p.str(`,"jti":"`, true)
	c.Session = p.str(`,"sid":"`, true)
	c.Gen = p.num(`,"gen":`)
	c.RefreshID = p.str(`,"rjti":"`, false)
	c.Kind = Kind(p.str(`,"kind":"`, always))
	c.Role = Role(p.str(`,"role":"`, always))
	c.Org = p.str(`,"org":"`, always)
	c.Workspaces = Workspaces(p.str(`,"ws":"`, always))
	c.Username = p.str(`,"username":"`, false)
	p.literal(`}`)
	if !p.ok || p.at != len(s) || !c.fit(use) {
		return Claims{}, false
	}
	return c, true
}

// claimsParser reads s from the left, at being how far it is; once something does not
// match, ok stays false and what it returns means nothing.
type claimsParser struct {
	s  string
	at int
	ok bool
}

func (p *claimsParser) skip(literal string) bool {
	if !strings.HasPrefix(p.s[p.at:], literal) {
		return false
	}
	p.at += len(literal)
	return true
}

func (p *claimsParser) literal(s string) { p.ok = p.skip(s) && p.ok }

// str reads a string member; key ends with the opening quote. One that is not always
// written is left out when it is empty, so an empty one is not ours.
func (p *claimsParser) str(key string, always bool) string {
	if !p.skip(key) {
		p.ok = p.ok && !always
		return ""
	}
	rest := p.s[p.at:]
	n := strings.IndexByte(rest, '"')
	if n < 0 || n == 0 && !always {
		p.ok = false
		return ""
	}
	p.at += n + 1
	return rest[:n]
}

// num reads an integer member from 0 to maxNumber, without sign, point or leading zero.
func (p *claimsParser) num(key string) int64 {
	p.literal(key)
	rest := p.s[p.at:]
	var n int64
	i := 0
	for i < len(rest) && rest[i]-'0' <= 9 && n <= maxNumber {
		n = n*10 + int64(rest[i]-'0')
		i++
	}
	if i == 0 || n > maxNumber || i > 1 && rest[0] == '0' {
		p.ok = false
	}
	p.at += i
	return n
}

// plain reports whether s is printable ASCII without a backslash, so that in JSON every
// character of it stands for itself. It looks at eight bytes at once, being half the cost
// of parsing otherwise.
func plain(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	if strings.IndexByte(s, '\\') >= 0 {
		return false
	}
	for ; len(s) >= 8; s = s[8:] {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// A top bit is set by x itself if a byte is above 0x7f, by the difference if one is
		// below 0x20, by the sum if one is 0x7f.
		if (x|(x-0x20*ones)|(x+ones))&tops != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

package doorward

import (
	"crypto/subtle"
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
// order of claims. Nothing of a token is decoded before its MAC or signature has been found right.
func (k *KeyRing) Verify(use Use, token string, now time.Time) (Claims, error) {
	s := k.signerOf(use, token, now)
	if s == nil {
		if use == AccessToken {
			return k.verifyPair(token, now)
		}
		return Claims{}, ErrInvalidToken
	}
	end := len(token) - macLen - 1 // of header and claims, where the second dot is
	if end < len(s.header) || token[end] != '.' {
		return Claims{}, ErrInvalidToken
	}
	known, hash := s.met.get(token)
	if known != nil {
		if err := known.inTime(now); err != nil {
			return Claims{}, err
		}
		return *known, nil
	}
	m := s.get()
	defer s.put(m)
	claims, ok := m.open(token, len(s.header), end)
	if !ok {
		return Claims{}, ErrInvalidToken
	}
	var c Claims
	if err := c.judge(plain(claims), use, claims, now); err != nil {
		return Claims{}, err
	}
	s.met.add(token, hash, &c)
	return c, nil
}

// judge reads into c, which is empty, the claims of a well-signed token that consist of
// plain characters, if they do, and judges their times. With an error c means nothing.
func (c *Claims) judge(isPlain bool, use Use, claims string, now time.Time) error {
	if !isPlain || !c.parse(use, claims) {
		return ErrInvalidToken
	}
	return c.inTime(now)
}

// inTime judges the times of a well-signed token.
func (c *Claims) inTime(now time.Time) error {
	unix := now.Unix()
	if c.IssuedAt > unix+maxAhead {
		return ErrInvalidToken
	}
	if unix >= c.ExpiresAt {
		return ErrTokenExpired
	}
	return nil
}

// signerOf finds the key whose header segment for this use begins token. There are as
// many to compare as there are keys, one or two.
func (k *KeyRing) signerOf(use Use, token string, now time.Time) *signer {
	if len(token) > MaxTokenLen {
		return nil
	}
	if use == AccessToken && k.access != nil && !now.Before(k.hs256Until) {
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
	if m.claims, ok = decodeBase64url(m.claims, m.text[begin:end]); !ok {
		return "", false
	}
	return string(m.claims), true
}

// parse reads into c, which is empty, from a plain string exactly what appendClaims writes: whatever it
// accepts, appendClaims would write again byte for byte. So there are no duplicates to
// decide about, no unknown names, no nesting and no second spelling. A claim added one day
// must be read one release before it is written, or nodes could not be upgraded one by one.
func (c *Claims) parse(use Use, s string) bool {
	always := use.identifies()
	p := claimsParser{s: s, ok: true}
	begun := p.skip(`{"iss":"` + Issuer + `"`)
	c.Subject = p.str(p.skip(`,"sub":"`), always)
	c.IssuedAt = p.num(p.skip(`,"iat":`))
	c.ExpiresAt = p.num(p.skip(`,"exp":`))
	c.ID = p.str(p.skip(`,"jti":"`), true)
	c.Session = p.str(p.skip(`,"sid":"`), true)
	c.Gen = p.num(p.skip(`,"gen":`))
	c.RefreshID = p.str(p.skip(`,"rjti":"`), false)
	c.Kind = Kind(p.str(p.skip(`,"kind":"`), always))
	c.Role = Role(p.str(p.skip(`,"role":"`), always))
	c.Org = p.str(p.skip(`,"org":"`), always)
	c.Workspaces = Workspaces(p.str(p.skip(`,"ws":"`), always))
	c.Username = p.str(p.skip(`,"username":"`), false)
	return begun && p.skip(`}`) && p.ok && p.at == len(s) && c.fit(use)
}

// claimsParser reads s from the left, at being how far it is; once something does not
// match, ok stays false and what it returns means nothing.
type claimsParser struct {
	s  string
	at int
	ok bool
}

// skip is small enough to be inlined, and literals are then compared a word at a time.
func (p *claimsParser) skip(literal string) bool {
	if !strings.HasPrefix(p.s[p.at:], literal) {
		return false
	}
	p.at += len(literal)
	return true
}

// str reads a string up to its closing quote, if its name and the opening one were found.
// One that is not always written is left out when it is empty, so an empty one is not ours.
func (p *claimsParser) str(found, always bool) string {
	if !found {
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

// num reads an integer from 0 to maxNumber, without sign, point or leading zero.
func (p *claimsParser) num(found bool) int64 {
	rest := p.s[p.at:]
	var n int64
	i := 0
	for i < len(rest) && rest[i]-'0' <= 9 && n <= maxNumber {
		n = n*10 + int64(rest[i]-'0')
		i++
	}
	if !found || i == 0 || n > maxNumber || i > 1 && rest[0] == '0' {
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

package doorward

import (
	"strconv"
	"strings"
)

// Issuer is the iss claim of every token made here.
const Issuer = "doorward"

// MaxTokenLen is the length in bytes past which no token is made or read. An
// Authorization header line with such a token still fits the 8 KiB that proxies commonly take.
const MaxTokenLen = 8000

// Use says what a token is good for. Uses never stand in for each other: each has its
// own typ (RFC 8725, section 3.11) and its own key.
type Use uint8

// The three uses.
const (
	AccessToken  Use = iota + 1 // typ at+jwt (RFC 9068): proves to a service who is asking
	RefreshToken                // typ rt+jwt: buys the next access token, and nothing else
	CookieToken                 // typ sc+jwt: the session cookie of a browser
)

const lastUse = CookieToken

func (u Use) typ() string {
	switch u {
	case AccessToken:
		return "at+jwt"
	case RefreshToken:
		return "rt+jwt"
	case CookieToken:
		return "sc+jwt"
	}
	return ""
}

// Claims is what a token says, iss aside, which is always Issuer. It is a value.
//
// Strings hold printable ASCII other than " and \, as all our ids and names do; numbers
// run from 0 to 2^53-1, which any reader of JSON keeps exact. A token needs ID and Session;
// one that says who is asking, access or cookie, also Subject, Kind and Role. Kind is
// a user's, a key's or a client's: an anonymous caller has nothing to prove.
type Claims struct {
	Subject    string     // sub
	IssuedAt   int64      // iat, Unix seconds
	ExpiresAt  int64      // exp, Unix seconds: the first second in which it is no longer good
	ID         string     // jti
	Session    string     // sid
	Gen        int64      // gen: generation in the session's refresh chain
	RefreshID  string     // rjti: ID of the refresh token minted beside this access token; machines only
	Kind       Kind       // kind
	Role       Role       // role
	Org        string     // org
	Workspaces Workspaces // ws
	Username   string     // username; people only
}

// Sign makes a token of c with the current key. Equal arguments make equal tokens.
//
// It returns "", which Verify refuses, rather than a token that Verify would refuse or
// another reader could take for something else: when c breaks a rule of Claims, or the
// token would be longer than MaxTokenLen. Only a very long workspace list can do the
// latter once names are checked where they are made.
func (k *KeyRing) Sign(use Use, c Claims) string {
	if use == AccessToken && k.access != nil {
		return k.signPair(&c)
	}
	s := k.keys[0].signer(use)
	if s == nil {
		return ""
	}
	m := s.get()
	defer s.put(m)
	claims, ok := appendClaims(m.claims[:0], use, &c)
	m.claims = claims // keeps the room it has grown to
	if !ok || len(s.header)+base64url.EncodedLen(len(claims))+1+macLen > MaxTokenLen {
		return ""
	}
	m.text = append(m.text[:0], s.header...)
	m.text = base64url.AppendEncode(m.text, claims)
	mac := m.sum(m.text)
	m.text = append(m.text, '.')
	m.text = append(m.text, mac...)
	return string(m.text)
}

// maxNumber is the largest integer that readers of JSON agree on (RFC 8259, section 6).
const maxNumber = 1<<53 - 1

// identifies reports whether tokens of this use say who is asking. They always have sub,
// kind, role, org and ws, for others to read; a refresh token need not.
func (u Use) identifies() bool { return u != RefreshToken }

// appendClaims writes c as flat JSON in the one order that parse reads, leaving out
// what is empty and not always there. It reports false for claims that a token may not carry.
//
// Nothing is ever escaped: a value that needed it could be read one way here and another
// way elsewhere, and no name of ours can have one.
func appendClaims(dst []byte, use Use, c *Claims) ([]byte, bool) {
	always := use.identifies()
	w := claimsWriter{buf: dst, ok: c.fit(use)}
	w.buf = append(w.buf, `{"iss":"`+Issuer+`"`...)
	w.str(`,"sub":"`, c.Subject, always)
	w.num(`,"iat":`, c.IssuedAt)
	w.num(`,"exp":`, c.ExpiresAt)
	w.str(`,"jti":"`, c.ID, true)
	w.str(`,"sid":"`, c.Session, true)
	w.num(`,"gen":`, c.Gen)
	w.str(`,"rjti":"`, c.RefreshID, false)
	w.str(`,"kind":"`, string(c.Kind), always)
	w.str(`,"role":"`, string(c.Role), always)
	w.str(`,"org":"`, c.Org, always)
	w.str(`,"ws":"`, string(c.Workspaces), always)
	w.str(`,"username":"`, c.Username, false)
	w.buf = append(w.buf, '}')
	return w.buf, w.ok
}

// fit reports whether c has what a token of this use needs, and no kind or role that does not exist.
func (c *Claims) fit(use Use) bool {
	if c.ID == "" || c.Session == "" {
		return false
	}
	if use.identifies() && (c.Subject == "" || c.Kind == "" || c.Role == "") {
		return false
	}
	switch c.Kind {
	case "", KindUser, KindKey, KindClient:
		return c.Role == "" || c.Role.Rank() > 0
	}
	return false
}

type claimsWriter struct {
	buf []byte
	ok  bool
}

func (w *claimsWriter) str(key, value string, always bool) {
	if value == "" && !always {
		return
	}
	if !plain(value) || strings.IndexByte(value, '"') >= 0 {
		w.ok = false
		return
	}
	w.buf = append(w.buf, key...)
	w.buf = append(w.buf, value...)
	w.buf = append(w.buf, '"')
}

func (w *claimsWriter) num(key string, n int64) {
	if n < 0 || n > maxNumber {
		w.ok = false
		return
	}
	w.buf = append(w.buf, key...)
	w.buf = strconv.AppendInt(w.buf, n, 10)
}

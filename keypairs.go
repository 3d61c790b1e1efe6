package doorward

import (
	"strconv"
	"strings"
	"time"
)

// KeyPairs are what a ring has beside its secrets, so that others can verify what it signs
// and sign nothing. The zero value is none.
type KeyPairs struct {
	Access       *KeyPair    // signs access tokens; nil: the secret does
	AccessOthers []PublicKey // verify access tokens as well, each until its end, and are published
	// HS256Until is, with Access, until when access tokens signed with a secret are still
	// accepted; zero: not at all. Whoever shares the secret can make one.
	HS256Until time.Time

	Assertion       *KeyPair    // signs assertions; nil: there are none
	AssertionOthers []PublicKey // are published
}

// pairSigner is a key pair in one use, with the header segment it writes, dot included.
type pairSigner struct {
	pair   *KeyPair
	header string
}

// pairVerifier is a public key with the header segment of the access tokens it verifies.
type pairVerifier struct {
	key    PublicKey
	header string
}

// pairSignatureLen is the length of a signature in base64url: 64 bytes, 86 characters.
const pairSignatureLen = (signatureLen*8 + 5) / 6

// assertionType is the typ of assertions (RFC 8725, section 3.11): no use of ours takes
// one for a token, and no service should.
const assertionType = "doorward-assertion+jwt"

func pairHeader(typ string, k PublicKey) string {
	return base64url.EncodeToString([]byte(`{"alg":"`+string(k.Algorithm)+`","typ":"`+typ+`","kid":"`+k.KeyID+`"}`)) + "."
}

// WithKeyPairs returns a ring with the secrets of k that uses these key pairs. k stays as it is.
func (k *KeyRing) WithKeyPairs(p KeyPairs) *KeyRing {
	with := &KeyRing{keys: k.keys, hs256Until: p.HS256Until}
	others := p.AccessOthers
	if p.Access != nil {
		with.access = &pairSigner{p.Access, pairHeader(AccessToken.typ(), p.Access.public)}
		others = append([]PublicKey{p.Access.public}, others...)
	}
	for _, key := range others {
		with.verifiers = append(with.verifiers, pairVerifier{key, pairHeader(AccessToken.typ(), key)})
	}
	if with.verifiers != nil {
		with.verified = newVerifiedTokens()
	}
	with.published = append(with.published, others...)
	if p.Assertion != nil {
		with.assertion = &pairSigner{p.Assertion, pairHeader(assertionType, p.Assertion.public)}
		with.published = append(with.published, p.Assertion.public)
	}
	with.published = append(with.published, p.AssertionOthers...)
	return with
}

// PublicKeys are the keys with which others can verify what this ring signs or has signed,
// those past their end at the time now left out. None of them can sign.
func (k *KeyRing) PublicKeys(now time.Time) []PublicKey {
	keys := []PublicKey{}
	seen := map[string]bool{}
	for i := range k.published {
		if key := k.published[i]; key.good(now) && !seen[key.KeyID] {
			seen[key.KeyID] = true
			keys = append(keys, key)
		}
	}
	return keys
}

// signPair makes an access token of c with the key pair.
func (k *KeyRing) signPair(c *Claims) string {
	m := k.verified.get()
	defer k.verified.put(m)
	var ok bool
	if m.claims, ok = appendClaims(m.claims[:0], AccessToken, c); !ok {
		return ""
	}
	return k.access.token(m)
}

// token signs the claims in m.
func (s *pairSigner) token(m *pairScratch) string {
	if len(s.header)+base64url.EncodedLen(len(m.claims))+1+pairSignatureLen > MaxTokenLen {
		return ""
	}
	m.text = append(m.text[:0], s.header...)
	m.text = base64url.AppendEncode(m.text, m.claims)
	signature, err := s.pair.sign(m.text)
	if err != nil {
		return ""
	}
	m.text = append(m.text, '.')
	m.text = base64url.AppendEncode(m.text, signature[:])
	return string(m.text)
}

// verifierOf finds the public key whose header segment begins token.
func (k *KeyRing) verifierOf(token string, now time.Time) *pairVerifier {
	if len(token) > MaxTokenLen {
		return nil
	}
	for i := range k.verifiers {
		v := &k.verifiers[i]
		if strings.HasPrefix(token, v.header) && v.key.good(now) {
			return v
		}
	}
	return nil
}

// verifyPair is Verify for access tokens signed by a key pair. Whether the signature is
// good is remembered, and with it that the claims are plain; all else is judged each time.
func (k *KeyRing) verifyPair(token string, now time.Time) (c Claims, err error) {
	v := k.verifierOf(token, now)
	if v == nil {
		return Claims{}, ErrInvalidToken
	}
	end := len(token) - pairSignatureLen - 1 // of header and claims, where the second dot is
	if end < len(v.header) || token[end] != '.' {
		return Claims{}, ErrInvalidToken
	}
	m := k.verified.get()
	defer k.verified.put(m)
	m.text = append(m.text[:0], token...)
	row := k.verified.row(m.text)
	digest := k.verified.digest(m)
	known := row.has(digest)
	var ok bool
	if !known {
		if m.signature, ok = decodeBase64url(m.signature, m.text[end+1:]); !ok || !v.key.verify(m.text[:end], m.signature) {
			return Claims{}, ErrInvalidToken
		}
	}
	if m.claims, ok = decodeBase64url(m.claims, m.text[len(v.header):end]); !ok {
		return Claims{}, ErrInvalidToken
	}
	claims := string(m.claims)
	if err := c.judge(known || plain(claims), AccessToken, claims, now); err != nil {
		return Claims{}, err
	}
	if !known {
		row.add(digest)
	}
	return c, nil
}

// Signers says which keys sign, by their ids. Its text is what the store remembers, and
// what tells other nodes that one of them has changed: the secret's id alone as long as
// there are no key pairs.
type Signers struct {
	Secret     string    // of refresh and cookie tokens, and of access tokens without Access
	Access     string    // of access tokens; empty: the secret
	HS256Until time.Time // until when access tokens signed with the secret are accepted, with Access
	Assertion  string    // of assertions; empty: none
}

// The words of a Signers' text that are not the secret's id. No id holds a colon.
const (
	accessWord    = "access:"
	hs256Word     = "hs256-until:"
	assertionWord = "assertion:"
)

// Signers returns which keys of the ring sign.
func (k *KeyRing) Signers() Signers {
	s := Signers{Secret: k.keys[0].id}
	if k.access != nil {
		s.Access, s.HS256Until = k.access.pair.public.KeyID, k.hs256Until
	}
	if k.assertion != nil {
		s.Assertion = k.assertion.pair.public.KeyID
	}
	return s
}

// ParseSigners reads what String writes. Words that it does not know are left out.
func ParseSigners(text string) Signers {
	var s Signers
	for word := range strings.FieldsSeq(text) {
		switch {
		case strings.HasPrefix(word, accessWord):
			s.Access = word[len(accessWord):]
		case strings.HasPrefix(word, assertionWord):
			s.Assertion = word[len(assertionWord):]
		case strings.HasPrefix(word, hs256Word):
			if n, err := strconv.ParseInt(word[len(hs256Word):], 10, 64); err == nil {
				s.HS256Until = time.Unix(n, 0)
			}
		case !strings.Contains(word, ":"):
			s.Secret = word
		}
	}
	return s
}

// String is the text of s.
func (s Signers) String() string {
	text := s.Secret
	if s.Access != "" {
		text += " " + accessWord + s.Access
		if !s.HS256Until.IsZero() {
			text += " " + hs256Word + strconv.FormatInt(s.HS256Until.Unix(), 10)
		}
	}
	if s.Assertion != "" {
		text += " " + assertionWord + s.Assertion
	}
	return text
}

// Lacks returns the ids of s that are not on the ring, each in its field: what nodes that
// sign with them sign could not be checked here, or not by who asks here for public keys.
func (k *KeyRing) Lacks(s Signers) (lacks Signers) {
	if s.Secret != "" && !k.hasSecret(s.Secret) {
		lacks.Secret = s.Secret
	}
	if s.Access != "" && !k.publishes(s.Access) {
		lacks.Access = s.Access
	}
	if s.Assertion != "" && !k.publishes(s.Assertion) {
		lacks.Assertion = s.Assertion
	}
	return lacks
}

func (k *KeyRing) publishes(kid string) bool {
	for i := range k.published {
		if k.published[i].KeyID == kid {
			return true
		}
	}
	return false
}

package doorward

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
	"time"
)

// SaltLen is the length in bytes of the salt that NewKeyRing takes.
const SaltLen = 32

// macLen is the length of an HMAC-SHA256 in base64url: 32 bytes, 43 characters.
const macLen = (sha256.Size*8 + 5) / 6

// SigningKey is a secret with the time until which it verifies.
type SigningKey struct {
	Secret Secret
	Until  time.Time // the first instant at which it no longer does; zero: no end
}

// KeyRing signs with its current key and verifies with that and the previous ones. It
// never changes after NewKeyRing and is safe for concurrent use.
//
// Access tokens are signed with the secret itself, so that a service which shares it can
// verify them. Refresh and cookie tokens are signed with keys derived from the secret and
// the salt (HKDF, RFC 5869), so that neither who shares the secret nor who has a copy of
// the database, where the salt lives, can make one.
//
// A ring may have key pairs besides (WithKeyPairs), which then sign access tokens in place
// of the secret, so that others can verify them and cannot make any.
type KeyRing struct {
	keys []ringKey // the current one first

	access     *pairSigner     // of access tokens; nil: the current secret
	hs256Until time.Time       // with access: until when the secrets verify access tokens
	verifiers  []pairVerifier  // of access tokens
	verified   *verifiedTokens // nil without verifiers
	assertion  *pairSigner     // nil for none
	published  []PublicKey
}

type ringKey struct {
	id      string
	until   time.Time
	setup   string           // what makes the first user
	places  cipher.AEAD      // of where a page begins
	signers [lastUse]*signer // by use, from AccessToken on
}

// NewKeyRing makes a ring that signs with current. The salt, SaltLen random bytes, must
// stay the same for as long as refresh tokens and cookies live. Each secret must pass
// CheckSecret; errors name the setting it comes from, and never show the secret. All
// arguments are copied.
func NewKeyRing(salt []byte, current Secret, previous ...SigningKey) (*KeyRing, error) {
	if len(salt) != SaltLen {
		return nil, fmt.Errorf("key ring: the salt has %d bytes, want %d", len(salt), SaltLen)
	}
	key, err := newRingKey("jwt.secret", salt, SigningKey{Secret: current})
	if err != nil {
		return nil, err
	}
	k := &KeyRing{keys: []ringKey{key}}
	for i, p := range previous {
		key, err := newRingKey(fmt.Sprintf("jwt.previous_secrets (number %d)", i+1), salt, p)
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, key)
	}
	return k, nil
}

func newRingKey(name string, salt []byte, from SigningKey) (ringKey, error) {
	if err := CheckSecret(name, from.Secret); err != nil {
		return ringKey{}, err
	}
	key := ringKey{id: KeyID(from.Secret), until: from.Until}
	derive := func(what string, bytes int) ([]byte, error) {
		derived, err := hkdf.Key(sha256.New, []byte(from.Secret), salt, "doorward "+what, bytes)
		if err != nil {
			return nil, errors.New(name + ": cannot derive keys: " + err.Error())
		}
		return derived, nil
	}
	code, err := derive("setup code", idBytes)
	if err != nil {
		return ringKey{}, err
	}
	key.setup = idText([idBytes]byte(code))
	places, err := derive("places", 32)
	if err != nil {
		return ringKey{}, err
	}
	block, err := aes.NewCipher(places)
	if err == nil {
		key.places, err = cipher.NewGCM(block)
	}
	if err != nil {
		return ringKey{}, errors.New(name + ": cannot derive keys: " + err.Error())
	}
	for i := range key.signers {
		use := Use(i + 1)
		secret := slices.Clone([]byte(from.Secret))
		if use != AccessToken {
			if secret, err = derive(use.typ(), sha256.Size); err != nil {
				return ringKey{}, err
			}
		}
		// alg comes first and nothing is configurable: Verify compares these bytes and
		// never reads a header, so no token chooses its algorithm or its key.
		header := `{"alg":"HS256","typ":"` + use.typ() + `","kid":"` + key.id + `"}`
		key.signers[i] = newSigner(base64url.EncodeToString([]byte(header))+".", secret)
		if use.identifies() {
			key.signers[i].met = newMetTokens()
		}
	}
	return key, nil
}

func (k *ringKey) signer(use Use) *signer {
	if use < AccessToken || use > lastUse {
		return nil
	}
	return k.signers[use-1]
}

// setupCode is the code that makes the first user. It is derived, as are the keys of refresh tokens, so that
// all nodes of an installation say and take the same, and nothing of it is kept.
func (k *KeyRing) setupCode() string { return k.keys[0].setup }

// isSetupCode reports whether code is that, of a secret that still verifies.
func (k *KeyRing) isSetupCode(code string, now time.Time) bool {
	good := 0
	for i := range k.keys {
		if until := k.keys[i].until; until.IsZero() || now.Before(until) {
			good |= subtle.ConstantTimeCompare([]byte(code), []byte(k.keys[i].setup))
		}
	}
	return good == 1
}

// KeyID returns the ids of the keys that sign: the kid of the current secret, and with key
// pairs the text of Signers.
func (k *KeyRing) KeyID() string { return k.Signers().String() }

// Has reports whether what the keys of kid sign can be checked with this ring. kid is what
// the KeyID of a ring has returned; keys past their end count.
func (k *KeyRing) Has(kid string) bool { return kid != "" && k.Lacks(ParseSigners(kid)) == Signers{} }

func (k *KeyRing) hasSecret(kid string) bool {
	return slices.ContainsFunc(k.keys, func(r ringKey) bool { return r.id == kid })
}

// Recognizes reports whether the first segment of token is, byte for byte, one that this
// server writes, of any use and any key on the ring, those past their end included. It
// says what the token claims to be, not that it is good.
func (k *KeyRing) Recognizes(token string) bool {
	for i := range k.keys {
		for _, s := range k.keys[i].signers {
			n := len(s.header) - 1
			if strings.HasPrefix(token, s.header[:n]) && (len(token) == n || token[n] == '.') {
				return true
			}
		}
	}
	for i := range k.verifiers {
		n := len(k.verifiers[i].header) - 1
		if strings.HasPrefix(token, k.verifiers[i].header[:n]) && (len(token) == n || token[n] == '.') {
			return true
		}
	}
	return false
}

// Format prints the id of the current key for every verb: left to itself, fmt would print
// the keys inside.
func (k *KeyRing) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "key ring %s", k.KeyID()) }

// KeyID returns the kid of a secret: 96 bits of a labelled SHA-256, in base64url. It tells
// keys apart and gives nothing of a secret away that any token signed with it does not.
func KeyID(secret []byte) string {
	h := sha256.New()
	h.Write([]byte("doorward kid\x00"))
	h.Write(secret)
	return base64url.EncodeToString(h.Sum(nil)[:12])
}

// signer is one key in one use, with the header segment it writes, dot included.
type signer struct {
	header string
	key    Secret
	met    *metTokens // nil for a use of which each token is shown once
	pool   sync.Pool  // of *keyedMAC
}

func newSigner(header string, key []byte) *signer { return &signer{header: header, key: key} }

// keyedMAC is an HMAC-SHA256 that has digested its key, which is half the work for a
// short message, and the memory that signing or verifying one token takes.
type keyedMAC struct {
	hash    hash.Hash
	text    []byte
	claims  []byte
	raw     [sha256.Size]byte
	encoded [macLen]byte
}

func (s *signer) get() *keyedMAC {
	if m, ok := s.pool.Get().(*keyedMAC); ok {
		return m
	}
	return &keyedMAC{hash: hmac.New(sha256.New, s.key)}
}

func (s *signer) put(m *keyedMAC) { s.pool.Put(m) }

// sum returns the MAC of text in base64url. It is good until the next call.
func (m *keyedMAC) sum(text []byte) []byte {
	m.hash.Reset()
	m.hash.Write(text)
	base64url.Encode(m.encoded[:], m.hash.Sum(m.raw[:0]))
	return m.encoded[:]
}

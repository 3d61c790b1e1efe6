package doorward

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"
)

// Algorithm says how an access token or an assertion is signed, by its name in a token's
// header (RFC 7518, section 3.1; RFC 8037, section 3.1).
type Algorithm string

// The algorithms.
const (
	HS256 Algorithm = "HS256" // with a secret, which whoever verifies must share
	EdDSA Algorithm = "EdDSA" // with an Ed25519 key pair (RFC 8032)
	ES256 Algorithm = "ES256" // with an ECDSA key pair on P-256
)

// signatureLen is the length in bytes of a signature by either kind of key pair.
const signatureLen = 64

// PublicKey verifies what a key pair has signed. Make one with KeyPair.Public or
// ParseSigningKeys; it is a value, and safe for concurrent use. As JSON it is a JWK (RFC 7517).
type PublicKey struct {
	Algorithm Algorithm
	KeyID     string
	Until     time.Time // the first instant at which it no longer verifies; zero: no end

	ed ed25519.PublicKey // of EdDSA
	ec *ecdsa.PublicKey  // of ES256
}

// KeyPair signs. It is immutable, safe for concurrent use, and prints as its id alone.
type KeyPair struct {
	public PublicKey
	ed     ed25519.PrivateKey
	ec     *ecdsa.PrivateKey
}

// GenerateKeyPair makes a key pair for alg, EdDSA or ES256, from random.
func GenerateKeyPair(alg Algorithm, random io.Reader) (*KeyPair, error) {
	var seed [ed25519.SeedSize]byte
	switch alg {
	case EdDSA:
		if _, err := io.ReadFull(random, seed[:]); err != nil {
			return nil, fmt.Errorf("cannot generate a signing key: no randomness: %w", err)
		}
		if oneByte(seed[:]) {
			return nil, errors.New("cannot generate a signing key: randomness repeats itself")
		}
		return newKeyPair(ed25519.NewKeyFromSeed(seed[:]))
	case ES256:
		// The library's own generator takes no source of randomness any more, so the scalar
		// is drawn here, by rejection (FIPS 186-5, appendix A.2.2).
		for range 100 {
			if _, err := io.ReadFull(random, seed[:]); err != nil {
				return nil, fmt.Errorf("cannot generate a signing key: no randomness: %w", err)
			}
			if oneByte(seed[:]) {
				break
			}
			if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:]); err == nil {
				return newKeyPair(key)
			}
		}
		return nil, errors.New("cannot generate a signing key: randomness repeats itself")
	}
	return nil, fmt.Errorf("cannot generate a signing key for %s", alg)
}

func newKeyPair(private any) (*KeyPair, error) {
	p := &KeyPair{}
	var public any
	switch key := private.(type) {
	case ed25519.PrivateKey:
		p.ed = key
		public = key.Public()
	case *ecdsa.PrivateKey:
		p.ec = key
		public = &key.PublicKey
	}
	var err error
	p.public, err = newPublicKey(public)
	return p, err
}

// errKeyKind refuses every key that tokens are not signed with here.
var errKeyKind = errors.New("is neither an Ed25519 key nor one on P-256")

func newPublicKey(key any) (PublicKey, error) {
	var k PublicKey
	switch key := key.(type) {
	case ed25519.PublicKey:
		k.Algorithm, k.ed = EdDSA, key
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return PublicKey{}, errKeyKind
		}
		k.Algorithm, k.ec = ES256, key
	default:
		return PublicKey{}, errKeyKind
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, errKeyKind
	}
	h := sha256.New()
	h.Write([]byte("doorward public kid\x00"))
	h.Write(der)
	k.KeyID = base64url.EncodeToString(h.Sum(nil)[:12])
	return k, nil
}

// Public is the key that verifies what p signs, without an end.
func (p *KeyPair) Public() PublicKey { return p.public }

// Format prints the id for every verb: left to itself, fmt would print the private key.
func (p *KeyPair) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "key pair %s", p.public.KeyID) }

// sign returns the signature of text, always the same for the same text: Ed25519 is so by
// itself, ECDSA takes its nonce from the key and the text (RFC 6979). Answers that are given
// again to the letter depend on it.
func (p *KeyPair) sign(text []byte) (signature [signatureLen]byte, err error) {
	if p.ed != nil {
		copy(signature[:], ed25519.Sign(p.ed, text))
		return signature, nil
	}
	sum := sha256.Sum256(text)
	der, err := p.ec.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return signature, err
	}
	var n struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &n); err != nil {
		return signature, err
	}
	n.R.FillBytes(signature[:32])
	n.S.FillBytes(signature[32:])
	if !lowS(signature[32:]) {
		n.S.Sub(elliptic.P256().Params().N, n.S).FillBytes(signature[32:])
	}
	return signature, nil
}

// halfOrder is half the order of P-256, rounded down.
var halfOrder = [32]byte{
	0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
}

// lowS reports whether s is in the lower half. Of an ECDSA signature (r, s) anybody can
// make (r, n-s), which is as good; only the one with the lower s is ours, so that a token
// has one spelling.
func lowS(s []byte) bool { return bytes.Compare(s, halfOrder[:]) <= 0 }

// verify reports whether signature is ours of text: 64 bytes, for ECDSA r and s one after
// the other (RFC 7518, section 3.4) with the lower s.
func (k *PublicKey) verify(text, signature []byte) bool {
	if len(signature) != signatureLen {
		return false
	}
	switch {
	case k.ed != nil:
		return ed25519.Verify(k.ed, text, signature)
	case k.ec != nil:
		if !lowS(signature[32:]) {
			return false
		}
		sum := sha256.Sum256(text)
		return ecdsa.Verify(k.ec, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	return false
}

// good reports whether the key has not come to its end.
func (k *PublicKey) good(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

// jwk is a public key as RFC 7517 has it, in the order of its section 4 after what RFC
// 7518, section 6.2, and RFC 8037, section 2, ask for.
type jwk struct {
	Type      string    `json:"kty"`
	Curve     string    `json:"crv"`
	X         string    `json:"x"`
	Y         string    `json:"y,omitempty"`
	Use       string    `json:"use"`
	Algorithm Algorithm `json:"alg"`
	KeyID     string    `json:"kid"`
}

// MarshalJSON writes the key as a JWK.
func (k PublicKey) MarshalJSON() ([]byte, error) {
	w := jwk{Use: "sig", Algorithm: k.Algorithm, KeyID: k.KeyID}
	switch {
	case k.ed != nil:
		w.Type, w.Curve, w.X = "OKP", "Ed25519", base64url.EncodeToString(k.ed)
	case k.ec != nil:
		point, err := k.ec.Bytes() // 4, x, y
		if err != nil {
			return nil, err
		}
		w.Type, w.Curve = "EC", "P-256"
		w.X, w.Y = base64url.EncodeToString(point[1:33]), base64url.EncodeToString(point[33:])
	default:
		return nil, errKeyKind
	}
	return json.Marshal(w)
}

// SigningKeys is a key pair that signs, and the public keys of others: those that have
// signed before, and those that will sign next.
type SigningKeys struct {
	Current *KeyPair
	Others  []PublicKey
}

// howToMakeKeys ends every refusal of a signing key.
const howToMakeKeys = "make one with: openssl genpkey -algorithm ed25519 (for ES256: -algorithm EC -pkeyopt ec_paramgen_curve:P-256)"

// untilHeader is the PEM header of a public key that has an end, RFC 3339.
const untilHeader = "Until"

// ParseSigningKeys reads PEM: one private key (PKCS #8, "PRIVATE KEY"), and any number of
// public ones ("PUBLIC KEY"). Errors begin with name, where the text comes from, and show
// none of it. What is damaged is never passed over.
func ParseSigningKeys(name string, text []byte) (SigningKeys, error) {
	wrong := func(why string) (SigningKeys, error) {
		return SigningKeys{}, fmt.Errorf("%s: %s; %s", name, why, howToMakeKeys)
	}
	var keys SigningKeys
	blocks := 0
	begin := []byte("-----BEGIN ")
	left := bytes.TrimSpace(text)
	if !bytes.HasPrefix(left, begin) {
		return wrong("does not begin with a key in PEM")
	}
	for len(left) > 0 {
		block, rest := pem.Decode(left)
		// The decoder passes over what it cannot read.
		if read := left[:len(left)-len(rest)]; block == nil || !bytes.HasPrefix(read, begin) || bytes.Count(read, begin) != 1 {
			return wrong("is damaged")
		}
		left = bytes.TrimSpace(rest)
		blocks++
		which := fmt.Sprintf("key %d ", blocks)
		switch block.Type {
		case "PRIVATE KEY":
			private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil || len(block.Headers) > 0 {
				return wrong(which + "is no private key in PKCS #8")
			}
			pair, err := newKeyPair(private)
			if err != nil {
				return wrong(which + err.Error())
			}
			if keys.Current != nil {
				return wrong("holds two private keys, and one alone can sign; give the other one's public key")
			}
			keys.Current = pair
		case "PUBLIC KEY":
			public, err := parsePublicKey(block)
			if err != nil {
				return wrong(which + err.Error())
			}
			keys.Others = append(keys.Others, public)
		case "ENCRYPTED PRIVATE KEY":
			return wrong(which + "is encrypted; give it as it is, in a file that nobody else can read")
		case "EC PRIVATE KEY", "EC PARAMETERS", "RSA PRIVATE KEY":
			return wrong(which + "is " + block.Type + ", not PKCS #8; convert it with: openssl pkcs8 -topk8 -nocrypt")
		default:
			return wrong(which + "is neither PRIVATE KEY nor PUBLIC KEY")
		}
	}
	if keys.Current == nil {
		return wrong("holds no private key")
	}
	keys.Others = slices.DeleteFunc(keys.Others, func(k PublicKey) bool { return k.KeyID == keys.Current.public.KeyID })
	return keys, nil
}

func parsePublicKey(block *pem.Block) (PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return PublicKey{}, errors.New("is no public key")
	}
	public, err := newPublicKey(key)
	if err != nil {
		return PublicKey{}, err
	}
	for name, value := range block.Headers {
		if public.Until, err = time.Parse(time.RFC3339, value); err != nil || name != untilHeader || public.Until.IsZero() {
			return PublicKey{}, errors.New("has a header other than " + untilHeader + " with a time")
		}
	}
	return public, nil
}

// FormatSigningKeys writes what ParseSigningKeys reads. The private key comes last: of a
// text that was cut short nothing is taken for the whole.
func FormatSigningKeys(keys SigningKeys) ([]byte, error) {
	var out bytes.Buffer
	for _, k := range keys.Others {
		var key any = k.ed
		if k.ec != nil {
			key = k.ec
		}
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return nil, err
		}
		block := &pem.Block{Type: "PUBLIC KEY", Bytes: der}
		if !k.Until.IsZero() {
			block.Headers = map[string]string{untilHeader: k.Until.UTC().Format(time.RFC3339)}
		}
		if err := pem.Encode(&out, block); err != nil {
			return nil, err
		}
	}
	var key any = keys.Current.ed
	if keys.Current.ec != nil {
		key = keys.Current.ec
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	err = pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return out.Bytes(), err
}

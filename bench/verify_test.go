// Package bench measures what a token and a request cost, beside what they must cost and what they cost
// elsewhere. It is a module of its own, so that what Doorward is compared with can grow
// without a line in Doorward's go.mod.
package bench

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"doorward"
)

var (
	secret = []byte("kq3Zt8uJm1Vw5xYc7BnA2sDf4GhK6lPe")
	salt   = []byte("0f1e2d3c4b5a69788796a5b4c3d2e1f0")
	now    = time.Unix(1_800_000_000, 0)
)

// person is what a signed-in user's access token says, of ordinary length.
var person = doorward.Claims{
	Subject: "usr_0198c2f4a1b27c3d8e9fa0b1", IssuedAt: now.Unix(), ExpiresAt: now.Unix() + 86400,
	ID: "AZjC9KGyfD2On6Cx0tHq8w", Session: "AZjC9KGyfD2On6Cx0tHq8x",
	Kind: doorward.KindUser, Role: doorward.Editor, Org: "default", Workspaces: "default,research", Username: "maria",
}

func ring(b testing.TB) *doorward.KeyRing {
	b.Helper()
	k, err := doorward.NewKeyRing(salt, secret)
	if err != nil {
		b.Fatal(err)
	}
	return k
}

// verifyDoorward, verifyGolangJWT and bareHMAC each return the function to measure. Doorward
// is shown tokens by turns, so many that it remembers none of them.
func verifyDoorward(b testing.TB) func() {
	k := ring(b)
	return verifyInTurn(b, k, signMany(k))
}

func signMany(k *doorward.KeyRing) []string {
	tokens := make([]string, 1<<13)
	for i := range tokens {
		c := person
		c.ID = fmt.Sprintf("AZjC9KGyfD2On6%08d", i)
		tokens[i] = k.Sign(doorward.AccessToken, c)
	}
	return tokens
}

func verifyInTurn(b testing.TB, k *doorward.KeyRing, tokens []string) func() {
	at := 0
	return func() {
		at = (at + 1) % len(tokens)
		if _, err := k.Verify(doorward.AccessToken, tokens[at], now); err != nil {
			b.Error(err)
		}
	}
}

type golangClaims struct {
	Session    string `json:"sid"`
	Gen        int64  `json:"gen"`
	Kind       string `json:"kind"`
	Role       string `json:"role"`
	Org        string `json:"org"`
	Workspaces string `json:"ws"`
	Username   string `json:"username"`
	jwt.RegisteredClaims
}

// verifyGolangJWT is the fastest use of that library that checks what we check: one parser
// made beforehand, a key function that is a constant, claims read into a struct.
func verifyGolangJWT(b testing.TB) func() {
	token := ring(b).Sign(doorward.AccessToken, person)
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithStrictDecoding(), jwt.WithIssuer(doorward.Issuer),
		jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }))
	var key any = secret
	keyFunc := func(*jwt.Token) (any, error) { return key, nil }
	return func() {
		var c golangClaims
		if _, err := parser.ParseWithClaims(token, &c, keyFunc); err != nil {
			b.Fatal(err)
		}
		if c.Username != person.Username {
			b.Fatal("not the claims")
		}
	}
}

// bareHMAC is the least that any verifier must do: the MAC of header and claims by a hash that has
// digested the key already, and one comparison.
func bareHMAC(b testing.TB) func() {
	token := ring(b).Sign(doorward.AccessToken, person)
	input := []byte(token[:strings.LastIndexByte(token, '.')])
	mac := hmac.New(sha256.New, secret)
	mac.Write(input)
	want := mac.Sum(nil)
	sum := make([]byte, 0, sha256.Size)
	return func() {
		mac.Reset()
		mac.Write(input)
		if subtle.ConstantTimeCompare(mac.Sum(sum), want) != 1 {
			b.Fatal("not the MAC")
		}
	}
}

func measure(b *testing.B, f func()) {
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}

func BenchmarkVerify(b *testing.B) {
	b.Run("doorward", func(b *testing.B) { measure(b, verifyDoorward(b)) })
	b.Run("hmac", func(b *testing.B) { measure(b, bareHMAC(b)) })
	b.Run("golang-jwt", func(b *testing.B) { measure(b, verifyGolangJWT(b)) })
}

// BenchmarkVerifyRatios takes the three in turns within one run, and of each the median
// turn, so that what else the machine does falls on all of them alike or on none: x_hmac
// says how many bare HMACs Doorward's Verify takes, x_golang-jwt how many of it golang-jwt
// takes, ns/verify its own time.
func BenchmarkVerifyRatios(b *testing.B) {
	const turn = 64 // long against reading the clock, short against what disturbs
	all := [...]func(){verifyDoorward(b), bareHMAC(b), verifyGolangJWT(b)}
	var spent [len(all)][]time.Duration
	for b.Loop() {
		for i, f := range all {
			start := time.Now()
			for range turn {
				f()
			}
			spent[i] = append(spent[i], time.Since(start))
		}
	}
	median := func(i int) float64 {
		slices.Sort(spent[i])
		return float64(spent[i][len(spent[i])/2])
	}
	ours, bare, theirs := median(0), median(1), median(2)
	b.ReportMetric(0, "ns/op") // of three things at once: means nothing
	b.ReportMetric(ours/turn, "ns/verify")
	b.ReportMetric(ours/bare, "x_hmac")
	b.ReportMetric(theirs/ours, "x_golang-jwt")
}

func BenchmarkSign(b *testing.B) {
	k := ring(b)
	measure(b, func() { k.Sign(doorward.AccessToken, person) })
}

func BenchmarkVerifyParallel(b *testing.B) {
	b.ReportAllocs()
	k := ring(b)
	tokens := signMany(k)
	b.RunParallel(func(pb *testing.PB) {
		f := verifyInTurn(b, k, tokens)
		for pb.Next() {
			f()
		}
	})
}

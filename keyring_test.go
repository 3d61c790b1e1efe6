package doorward_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward"
)

func TestNewKeyRingRefuses(t *testing.T) {
	t.Parallel()
	salt, secret := []byte(tokenSalt), doorward.Secret(tokenSecret)
	for _, c := range []struct {
		name     string
		salt     []byte
		current  doorward.Secret
		previous []doorward.SigningKey
		want     string
	}{
		{"no salt", nil, secret, nil, "salt"},
		{"short salt", salt[:31], secret, nil, "salt"},
		{"long salt", append(bytes.Clone(salt), 0), secret, nil, "salt"},
		{"no secret", salt, nil, nil, "jwt.secret: has 0 bytes"},
		{"short secret", salt, secret[:31], nil, "jwt.secret: has 31 bytes"},
		{"short previous secret", salt, secret, []doorward.SigningKey{{Secret: doorward.Secret(retireSecret)}, {Secret: secret[:31]}}, "jwt.previous_secrets (number 2): has 31 bytes"},
	} {
		k, err := doorward.NewKeyRing(c.salt, c.current, c.previous...)
		if err == nil || k != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: NewKeyRing = %v, %v, want an error about %q", c.name, k, err, c.want)
		}
	}
}

func TestKeyID(t *testing.T) {
	t.Parallel()
	k := tokenRing(t, doorward.SigningKey{Secret: doorward.Secret(retireSecret)})
	// printf 'doorward kid\0%s' SECRET | openssl dgst -sha256 -binary | head -c 12 | basenc --base64url
	const want = "dMIDqzDKVl2DtfYs"
	if got := doorward.KeyID([]byte(tokenSecret)); got != want || k.KeyID() != want {
		t.Errorf("KeyID = %s, the ring's %s, want %s", got, k.KeyID(), want)
	}
	if doorward.KeyID([]byte(retireSecret)) == want {
		t.Error("two secrets have one kid")
	}
}

func TestPreviousKeysVerifyButDoNotSign(t *testing.T) {
	t.Parallel()
	rotated := tokenRing(t, doorward.SigningKey{Secret: doorward.Secret(retireSecret)})
	fresh := tokenRing(t)
	for _, use := range tokenUses {
		if rotated.Sign(use, personClaims()) != fresh.Sign(use, personClaims()) {
			t.Errorf("use %d: a previous key changes what is signed", use)
		}
	}
}

// A secret that comes back, or stands twice in a list, is as good as its best entry.
func TestTheSameSecretTwice(t *testing.T) {
	t.Parallel()
	past := tokenNow.Add(-time.Hour)
	for name, previous := range map[string][]doorward.SigningKey{
		"current and retired": {{Secret: doorward.Secret(tokenSecret), Until: past}},
		"retired and kept":    {{Secret: doorward.Secret(retireSecret), Until: past}, {Secret: doorward.Secret(retireSecret)}},
	} {
		k := tokenRing(t, previous...)
		signer, err := doorward.NewKeyRing([]byte(tokenSalt), previous[0].Secret)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Verify(doorward.AccessToken, signer.Sign(doorward.AccessToken, personClaims()), tokenNow); err != nil {
			t.Errorf("%s: Verify = %v", name, err)
		}
	}
}

// The salt is what who shares the secret has not; the secret, what who copied the database has not.
func TestDerivedKeysNeedBothSecretAndSalt(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	otherSalt, err := doorward.NewKeyRing([]byte(strings.Repeat("another salt....", 2)), doorward.Secret(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	for use, wantErr := range map[doorward.Use]error{
		doorward.AccessToken: nil, doorward.RefreshToken: doorward.ErrInvalidToken, doorward.CookieToken: doorward.ErrInvalidToken,
	} {
		if _, err := k.Verify(use, otherSalt.Sign(use, personClaims()), tokenNow); !sameError(err, wantErr) {
			t.Errorf("use %d, signed under another salt: Verify = %v, want %v", use, err, wantErr)
		}
	}
}

func TestTheRingKeepsItsOwnCopies(t *testing.T) {
	t.Parallel()
	salt, secret, previous := []byte(tokenSalt), doorward.Secret(tokenSecret), doorward.Secret(retireSecret)
	k, err := doorward.NewKeyRing(salt, secret, doorward.SigningKey{Secret: previous})
	if err != nil {
		t.Fatal(err)
	}
	clear(salt)
	clear(secret)
	clear(previous)
	want := tokenRing(t, doorward.SigningKey{Secret: doorward.Secret(retireSecret)})
	for _, use := range tokenUses {
		if k.Sign(use, personClaims()) != want.Sign(use, personClaims()) {
			t.Errorf("use %d: the ring changed with the caller's memory", use)
		}
	}
}

func TestRecognizes(t *testing.T) {
	t.Parallel()
	k := tokenRing(t, doorward.SigningKey{Secret: doorward.Secret(retireSecret), Until: tokenNow.Add(-time.Hour)})
	old, err := doorward.NewKeyRing([]byte(tokenSalt), doorward.Secret(retireSecret))
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range tokenUses {
		for name, ring := range map[string]*doorward.KeyRing{"current": k, "retired": old} {
			token := ring.Sign(use, personClaims())
			header, payload, mac := segments(t, token)
			for _, yes := range []string{token, header, header + ".", header + "..", header + ".x.y", token + "."} {
				if !k.Recognizes(yes) {
					t.Errorf("use %d, %s key: does not recognize %s", use, name, yes)
				}
			}
			for _, no := range []string{"", ".", header[:len(header)-1], header + "A", header + "A." + payload, header + "=." + payload + "." + mac, " " + token, "A" + token,
				"." + token, strings.ToLower(token), payload + "." + header + "." + mac} {
				if k.Recognizes(no) {
					t.Errorf("use %d, %s key: recognizes %s", use, name, no)
				}
			}
		}
	}
	for _, no := range []string{
		"brk_0123456789abcdef", strings.Repeat(".", 1_000_000), strings.Repeat("e", 1_000_000),
		forge([]byte(tokenSecret), `{"alg":"HS256","typ":"JWT"}`, `{}`),
		forge([]byte(tokenSecret), `{"typ":"at+jwt","alg":"HS256","kid":"`+k.KeyID()+`"}`, goodPayload(t)),
		forge([]byte(tokenSecret), `{"alg":"HS256","typ":"at+jwt","kid":"`+k.KeyID()+`" }`, goodPayload(t)),
	} {
		if k.Recognizes(no) {
			t.Errorf("recognizes %.80s", no)
		}
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	t.Parallel()
	k := tokenRing(t, doorward.SigningKey{Secret: doorward.Secret(retireSecret)})
	holder := struct {
		Keys *doorward.KeyRing
		Old  doorward.SigningKey
	}{k, doorward.SigningKey{Secret: doorward.Secret(retireSecret)}}
	k.Sign(doorward.AccessToken, personClaims()) // so that there is a MAC state in the pool

	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", k)
		fmt.Fprintf(&out, verb+"\n", holder)
		fmt.Fprintf(&out, verb+"\n", &holder)
	}
	if err := json.NewEncoder(&out).Encode(holder); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("keys", "ring", k, "holder", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("keys", "ring", k, "holder", holder)

	printed := out.String()
	for _, secret := range []string{tokenSecret, retireSecret} {
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%d", []byte(secret[:4]))[1:12]} {
			if strings.Contains(printed, form) {
				t.Errorf("a secret was printed as %s", form)
			}
		}
	}
	if !strings.Contains(printed, "key ring "+k.KeyID()) {
		t.Errorf("the ring does not print as its kid: %s", printed)
	}
}

// The memory of one token must never show in another.
func TestManySignAndVerifyAtOnce(t *testing.T) {
	t.Parallel()
	k := tokenRing(t)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 300 {
				c := personClaims()
				c.Subject = fmt.Sprintf("usr_%d_%d_%s", worker, i, strings.Repeat("x", i%97))
				use := tokenUses[(worker+i)%len(tokenUses)]
				token := k.Sign(use, c)
				got, err := k.Verify(use, token, tokenNow)
				_, _ = k.Verify(use, token[:len(token)-1]+"!", tokenNow)
				if err != nil || got != c {
					t.Errorf("Verify = %+v, %v, want %+v", got, err, c)
					return
				}
			}
		})
	}
	wg.Wait()
}

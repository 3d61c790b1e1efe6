package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestTFForgedTokensAtTheDoor shows forged tokens at the doors of a whole server: each is
// refused, nothing is fetched from where a header points to, and the service is not asked.
func TestTFForgedTokensAtTheDoor(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		service := newEcho(t)
		d := e.machineDoor(t, "upstream="+service.URL)
		access, refresh := d.exchange(machineToken, "app")
		d.do("GET", "/x", bearer(access)).want(http.StatusOK)
		part := strings.Split(access, ".")
		header, claims := part[0], part[1]

		// Where an attacker waits for whoever follows a key's address.
		var visits atomic.Int64
		trap, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = trap.Close() })
		go func() {
			for {
				c, err := trap.Accept()
				if err != nil {
					return
				}
				visits.Add(1)
				_ = c.Close()
			}
		}()

		encode := base64.RawURLEncoding.EncodeToString
		signed := func(new func() hash.Hash, key, header string) string {
			text := encode([]byte(header)) + "." + claims
			mac := hmac.New(new, []byte(key))
			mac.Write([]byte(text))
			return text + "." + encode(mac.Sum(nil))
		}
		kid := strings.Split(string(must(base64.RawURLEncoding.DecodeString(header))), `"kid":"`)[1]
		kid = strings.TrimSuffix(kid, `"}`)
		forged := map[string]string{}
		for _, none := range []string{"none", "None", "NONE", "nOnE"} {
			h := encode([]byte(fmt.Sprintf(`{"alg":"%s","typ":"at+jwt","kid":"%s"}`, none, kid)))
			forged["TF1 "+none] = h + "." + claims + "."
			forged["TF1 "+none+" without the last dot"] = h + "." + claims
			forged["TF1 "+none+" with the old signature"] = h + "." + claims + "." + part[2]
		}
		forged["TF3 HS384"] = signed(sha512.New384, machineSecret, `{"alg":"HS384","typ":"at+jwt","kid":"`+kid+`"}`)
		forged["TF3 HS512"] = signed(sha512.New, machineSecret, `{"alg":"HS512","typ":"at+jwt","kid":"`+kid+`"}`)
		for _, name := range []string{"jku", "x5u"} {
			forged["TF5 "+name] = signed(sha256.New, machineSecret, `{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`","`+name+`":"http://`+trap.Addr().String()+`/keys"}`)
		}
		forged["TF5 jwk"] = signed(sha256.New, "attacker", `{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`","jwk":{"kty":"oct","k":"YXR0YWNrZXI"}}`)
		forged["TF5 x5c"] = signed(sha256.New, "attacker", `{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`","x5c":["YXR0YWNrZXI="]}`)
		forged["TF7 another kid"] = signed(sha256.New, machineSecret, `{"alg":"HS256","typ":"at+jwt","kid":"retired"}`)
		forged["TF9 five parts"] = access + ".x.y"
		forged["TF9 JWS JSON"] = `{"payload":"` + claims + `","protected":"` + header + `","signature":"` + part[2] + `"}`
		forged["TF9 nested"] = signed(sha256.New, machineSecret, `{"alg":"HS256","typ":"at+jwt","cty":"JWT","kid":"`+kid+`"}`)
		forged["TF9 deflated"] = signed(sha256.New, machineSecret, `{"alg":"HS256","typ":"at+jwt","zip":"DEF","kid":"`+kid+`"}`)
		forged["a refresh token as an access token"] = refresh
		forged["the access token under another key"] = signed(sha256.New, strings.Repeat("another!", 4), `{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`"}`)

		// What signs them can sign: they are refused for what they say.
		good := signed(sha256.New, machineSecret, string(must(base64.RawURLEncoding.DecodeString(header))))
		d.do("GET", "/x", bearer(good)).want(http.StatusOK)
		before := service.count()
		for name, token := range forged {
			for _, door := range [][2]string{{"GET", "/x"}, {"GET", "/auth/validate"}, {"POST", "/auth/logout"}, {"GET", "/api/auth/me"}} {
				got := d.do(door[0], door[1], bearer(token))
				if got.status != http.StatusUnauthorized || got.str("error") != "invalid token" {
					t.Errorf("%s: %s: %d %s", name, got.what, got.status, got.body)
				}
			}
			d.do("GET", "/x", cookie(token)).want(http.StatusUnauthorized)
		}
		if n := service.count() - before; n != 0 {
			t.Errorf("the service was asked %d times", n)
		}
		if n := visits.Load(); n != 0 {
			t.Errorf("the attacker's listener was visited %d times", n)
		}
		d.do("GET", "/x", bearer(access)).want(http.StatusOK)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

//go:build !race

// The race detector makes sync.Pool forget on purpose, so what is counted here holds only without it.

package doorward_test

import (
	"fmt"
	"strings"
	"testing"

	"doorward"
)

// Not parallel: AllocsPerRun counts what the whole program allocates.
func TestVerifyAllocatesAtMostOnce(t *testing.T) {
	k := tokenRing(t, doorward.SigningKey{Secret: doorward.Secret(retireSecret)})
	old, err := doorward.NewKeyRing([]byte(tokenSalt), doorward.Secret(retireSecret))
	if err != nil {
		t.Fatal(err)
	}
	long := personClaims()
	long.Workspaces = doorward.Workspaces(strings.Repeat("workspace,", 400) + "last")
	for _, made := range []struct {
		name   string
		by     *doorward.KeyRing
		claims doorward.Claims
	}{
		{"a person's", k, personClaims()}, {"a machine's", k, machineClaims()}, {"a long one", k, long}, {"a previous key's", old, personClaims()},
	} {
		const runs = 200
		tokens := make([]string, runs+1)
		for i := range tokens {
			made.claims.ID = fmt.Sprintf("AZjC9KGyfD2On6%08d", i)
			tokens[i] = made.by.Sign(doorward.AccessToken, made.claims)
		}
		at, step := 0, 1
		verify := func() {
			if _, err := k.Verify(doorward.AccessToken, tokens[at], tokenNow); err != nil {
				t.Errorf("%s: Verify = %v", made.name, err)
			}
			at += step
		}
		if n := testing.AllocsPerRun(runs, verify); n > 1 {
			t.Errorf("%s: Verify allocates %v times, want 1", made.name, n)
		}
		at, step = 0, 0
		verify()
		verify() // from now on it is remembered
		if n := testing.AllocsPerRun(runs, verify); n > 0 {
			t.Errorf("%s, again and again: Verify allocates %v times, want 0", made.name, n)
		}
	}
}

// A token by a key pair that was met before costs what one by the secret does.
func TestVerifyByKeyPairAllocatesOnce(t *testing.T) {
	for _, alg := range pairAlgorithms {
		k := pairRing(t, alg)
		token := k.Sign(doorward.AccessToken, personClaims())
		var err error
		n := testing.AllocsPerRun(200, func() { _, err = k.Verify(doorward.AccessToken, token, tokenNow) })
		if err != nil || n > 1 {
			t.Errorf("%s: Verify = %v, allocates %v times, want 1", alg, err, n)
		}
	}
}

func TestARefusalAllocatesNothing(t *testing.T) {
	k := tokenRing(t)
	token := k.Sign(doorward.AccessToken, personClaims())
	header, payload, mac := segments(t, token)
	for name, bad := range map[string]string{
		"wrong MAC":          forgeEncoded([]byte(retireSecret), header, payload),
		"five parts":         header + "." + payload + "." + payload + "." + payload + "." + mac,
		"a megabyte":         token + strings.Repeat("A", 1<<20),
		"a megabyte of dots": strings.Repeat(".", 1<<20),
		"no token":           "brk_0123456789abcdef",
	} {
		var err error
		n := testing.AllocsPerRun(200, func() {
			k.Recognizes(bad)
			_, err = k.Verify(doorward.AccessToken, bad, tokenNow)
		})
		if err != doorward.ErrInvalidToken {
			t.Errorf("%s: Verify = %v", name, err)
		}
		if n != 0 {
			t.Errorf("%s: Verify allocates %v times, want 0", name, n)
		}
	}
}

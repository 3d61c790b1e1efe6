package doorward_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward"
)

// TestRememberedTokensSayWhatTheySaid, each its own, to 64 callers at once, with several times
// as many tokens as are remembered, and forged ones between them.
func TestRememberedTokensSayWhatTheySaid(t *testing.T) {
	t.Parallel()
	const tokens, callers, each = 6000, 64, 2000
	k := tokenRing(t)
	signed, claims := make([]string, tokens), make([]doorward.Claims, tokens)
	for i := range signed {
		c := personClaims()
		c.Subject, c.Username, c.Session = fmt.Sprintf("usr_%d", i), fmt.Sprintf("user%d", i), fmt.Sprintf("AZjC9KGyfD2On6%08d", i)
		signed[i], claims[i] = k.Sign(doorward.AccessToken, c), c
	}
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range each {
				i := random.IntN(tokens)
				if random.IntN(2) == 0 {
					i %= 32 // some are shown again and again
				}
				for range 2 {
					if c, err := k.Verify(doorward.AccessToken, strings.Clone(signed[i]), tokenNow); err != nil || c != claims[i] {
						t.Errorf("token %d: Verify = %+v, %v", i, c, err)
						return
					}
				}
				// What one says, signed as another is.
				end, other := strings.LastIndexByte(signed[i], '.'), signed[(i+1)%tokens]
				forged := signed[i][:end] + other[strings.LastIndexByte(other, '.'):]
				if c, err := k.Verify(doorward.AccessToken, forged, tokenNow); err != doorward.ErrInvalidToken {
					t.Errorf("token %d with another's signature: Verify = %+v, %v", i, c, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkVerifyAgain: by turns, one of 64 tokens that are shown all the time, and one of
// so many that none is remembered. ratio says how much more the second takes.
func BenchmarkVerifyAgain(b *testing.B) {
	k := tokenRing(b)
	signed := make([]string, 1<<13)
	for i := range signed {
		c := personClaims()
		c.Session = fmt.Sprintf("AZjC9KGyfD2On6%08d", i)
		signed[i] = k.Sign(doorward.AccessToken, c)
	}
	many := tokenRing(b)
	verify := func(k *doorward.KeyRing, token string) {
		if _, err := k.Verify(doorward.AccessToken, token, tokenNow); err != nil {
			b.Fatal(err)
		}
	}
	const turn = 128
	var again, first []time.Duration
	at := 0
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		for i := range turn {
			verify(k, signed[i%64])
		}
		again = append(again, time.Since(start))
		start = time.Now()
		for range turn {
			at = (at + 1) % len(signed)
			verify(many, signed[at])
		}
		first = append(first, time.Since(start))
	}
	slices.Sort(again)
	slices.Sort(first)
	hit, miss := float64(again[len(again)/2])/turn, float64(first[len(first)/2])/turn
	b.ReportMetric(0, "ns/op") // of both: means nothing
	b.ReportMetric(hit, "ns/again")
	b.ReportMetric(miss, "ns/first")
	b.ReportMetric(miss/hit, "ratio")
}

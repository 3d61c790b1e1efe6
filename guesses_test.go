package doorward

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// standing is a clock that stands until it is moved.
type standing struct{ ns atomic.Int64 }

func (s *standing) now() time.Time          { return time.Unix(0, s.ns.Load()) }
func (s *standing) advance(d time.Duration) { s.ns.Add(int64(d)) }

func newStanding() *standing {
	s := new(standing)
	s.ns.Store(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC).UnixNano())
	return s
}

// TestGuessesAreNeverMoreThanTheLimitInAnyMinute, and never refused below it: against a
// model that keeps every time.
func TestGuessesAreNeverMoreThanTheLimitInAnyMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := newStanding()
		most := rapid.IntRange(1, 5).Draw(t, "most")
		g := newGuesses(GuessPolicy{PerMinute: most}, clock.now)
		taken := map[string][]time.Time{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			address := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "2001:db8::1"}).Draw(t, "address")
			from := netip.MustParseAddr(address)
			now := clock.now()
			recent := taken[address][:0:0]
			for _, at := range taken[address] {
				if now.Sub(at) < time.Minute {
					recent = append(recent, at)
				}
			}
			want := time.Duration(0)
			if len(recent) >= most {
				want = time.Minute - now.Sub(recent[0])
			}
			if got := g.left(from); got != want {
				t.Fatalf("%s: left %v, want %v", address, got, want)
			}
			switch rapid.IntRange(0, 5).Draw(t, "do") {
			case 0:
				g.sweep()
			case 1:
				if got := g.take(from); got != want {
					t.Fatalf("%s: take %v, want %v", address, got, want)
				}
				if want == 0 {
					g.giveBack(from)
				}
			default:
				if got := g.take(from); got != want {
					t.Fatalf("%s: take %v, want %v", address, got, want)
				}
				if want == 0 {
					recent = append(recent, now)
				}
			}
			taken[address] = recent
			clock.advance(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond)
		}
	})
}

func TestGuessesOfNeighboursAreOnes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		{"::", "0.0.0.0", false},
	} {
		if same := neighbours(netip.MustParseAddr(c.a)) == neighbours(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, same)
		}
	}
	if neighbours(netip.Addr{}).IsValid() {
		t.Error("an unknown address has become one")
	}
}

// TestAHostileNetworkDoesNotGrowTheCountOfGuesses: tens of thousands of /64s of one /32, each as
// often as it may.
func TestAHostileNetworkDoesNotGrowTheCountOfGuesses(t *testing.T) {
	t.Parallel()
	clock := newStanding()
	g := newGuesses(GuessPolicy{PerMinute: 60}, clock.now)
	const addresses = 40_000 // more than twice as many as are kept
	for i := range addresses {
		var b [16]byte
		copy(b[:], []byte{0x20, 0x01, 0x0d, 0xb8})
		binary.BigEndian.PutUint32(b[4:], uint32(i))
		from := netip.AddrFrom16(b)
		for range 60 {
			g.take(from)
		}
		if i%100 == 0 {
			clock.advance(time.Millisecond)
		}
	}
	n, times := 0, 0
	for i := range g.shards {
		n += len(g.shards[i].by)
		for _, at := range g.shards[i].by {
			times += cap(at.at)
		}
	}
	if n > guessShards*guessAddresses || times > 64*n {
		t.Errorf("%d addresses and %d times are kept", n, times)
	}
	t.Logf("of %d addresses %d are kept, with %d KiB of times", addresses, n, times*4>>10)
	clock.advance(time.Minute)
	g.sweep()
	for i := range g.shards {
		if len(g.shards[i].by) > 0 {
			t.Fatal("some are kept for longer than a minute")
		}
	}
	runtime.KeepAlive(g)
}

func TestGuessesBySeveralAtOnce(t *testing.T) {
	t.Parallel()
	g := newGuesses(GuessPolicy{PerMinute: 60}, newStanding().now)
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if g.take(netip.MustParseAddr("192.0.2.1")) == 0 {
				allowed.Add(1)
			}
		})
	}
	all.Wait()
	if allowed.Load() != 60 {
		t.Errorf("%d of 200 were allowed, want 60", allowed.Load())
	}
}

func TestGuessesAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	clock := newStanding()
	g := newGuesses(GuessPolicy{PerMinute: 1}, clock.now)
	from := netip.MustParseAddr("192.0.2.1")
	g.take(from)
	clock.advance(-2 * time.Hour)
	if left := g.take(from); left != 0 {
		t.Errorf("refused for %v", left)
	}
	if left := g.take(from); left != time.Minute {
		t.Errorf("refused for %v", left)
	}
	var unlimited *guesses
	if unlimited.take(from) != 0 || unlimited.left(from) != 0 {
		t.Error("no limit is one")
	}
	unlimited.giveBack(from)
	unlimited.sweep()
}

func BenchmarkGuess(b *testing.B) {
	for _, addresses := range []int{1, 1 << 20} {
		b.Run(fmt.Sprintf("of %d", addresses), func(b *testing.B) {
			g := newGuesses(GuessPolicy{PerMinute: 60}, time.Now)
			i := 0
			for b.Loop() {
				i++
				g.take(netip.AddrFrom4([4]byte{10, byte(i % addresses >> 16), byte(i % addresses >> 8), byte(i % addresses)}))
			}
		})
	}
}

package doorward

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// GuessPolicy says how many guesses one address may make: wrong passwords, unknown keys and
// tokens, wrong setup codes. The zero value sets no limit.
type GuessPolicy struct {
	PerMinute int // in any 60 seconds; 0 for no limit
}

// guessWindow is the time in which a GuessPolicy counts.
const guessWindow = time.Minute

// guesses counts guesses by address, exactly, in a window that slides: the time of each is
// kept until it is a minute old. Memory is bounded however many addresses there are: at most
// guessShards*guessAddresses of them with PerMinute times of four bytes each, some 6 MiB at
// 60. Past that the address is forgotten that has been quiet for longest. Only who
// guesses comes here, never a good credential. Each node counts for itself. A nil *guesses
// sets no limit. Safe for concurrent use.
type guesses struct {
	most   int
	now    func() time.Time
	seed   maphash.Seed // so that nobody can aim at another's shard
	shards [guessShards]guessShard
}

const (
	guessShards    = 64
	guessAddresses = 256 // in a shard
)

type guessShard struct {
	mu sync.Mutex
	by map[netip.Addr]*guessTimes
}

// guessTimes are the times of an address's guesses, oldest first: Unix milliseconds, of
// which the low 32 bits tell all that lie within weeks of each other apart.
type guessTimes struct{ at []uint32 }

func newGuesses(p GuessPolicy, now func() time.Time) *guesses {
	if p.PerMinute <= 0 {
		return nil
	}
	return &guesses{most: p.PerMinute, now: now, seed: maphash.MakeSeed()}
}

// neighbours is the address by which guesses are counted: of IPv6 the /64, since all of
// it is one subscriber's (RFC 6177), and an invalid one for all whose address is not known.
func neighbours(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// left returns the time until from may guess again; 0 for now.
func (g *guesses) left(from netip.Addr) time.Duration {
	if g == nil {
		return 0
	}
	key, s := g.find(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.by[key]
	if t == nil {
		return 0
	}
	return t.left(stamp(g.now()), g.most)
}

// take counts a guess by from and returns 0, or, past the limit, counts nothing and
// returns the time until the next may be made.
func (g *guesses) take(from netip.Addr) time.Duration {
	if g == nil {
		return 0
	}
	key, s := g.find(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := stamp(g.now())
	t := s.by[key]
	if t == nil {
		t = s.add(key, now)
	}
	if left := t.left(now, g.most); left > 0 {
		return left
	}
	t.at = append(t.at, now)
	return 0
}

// giveBack uncounts one guess by from that was none.
func (g *guesses) giveBack(from netip.Addr) {
	if g == nil {
		return
	}
	key, s := g.find(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.by[key]; t != nil && len(t.at) > 0 {
		t.at = t.at[:len(t.at)-1]
	}
}

// sweep forgets the addresses that have been quiet for a minute.
func (g *guesses) sweep() {
	if g == nil {
		return
	}
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		s.sweep(stamp(g.now()))
		s.mu.Unlock()
	}
}

func (g *guesses) find(from netip.Addr) (key netip.Addr, s *guessShard) {
	key = neighbours(from)
	return key, &g.shards[maphash.Comparable(g.seed, key)%guessShards]
}

// add makes room for a new address and adds it.
func (s *guessShard) add(key netip.Addr, now uint32) *guessTimes {
	if s.by == nil {
		s.by = map[netip.Addr]*guessTimes{}
	}
	if len(s.by) >= guessAddresses {
		if quietest := s.sweep(now); len(s.by) >= guessAddresses {
			delete(s.by, quietest)
		}
	}
	t := new(guessTimes)
	s.by[key] = t
	return t
}

// sweep forgets the addresses of which nothing is left to count, and returns which of the others
// has been quiet for longest.
func (s *guessShard) sweep(now uint32) (quietest netip.Addr) {
	longest := int32(-1)
	for a, t := range s.by {
		if len(t.at) == 0 || over(now, t.at[len(t.at)-1]) {
			delete(s.by, a)
		} else if quiet := int32(now - t.at[len(t.at)-1]); quiet > longest {
			quietest, longest = a, quiet
		}
	}
	return quietest
}

// left drops what is over and says when there is room for one more among most.
func (t *guessTimes) left(now uint32, most int) time.Duration {
	t.drop(now)
	if len(t.at) < most {
		return 0
	}
	return guessWindow - time.Duration(int32(now-t.at[len(t.at)-most]))*time.Millisecond
}

// over reports whether a guess at the time at does not count any more: it is a minute old,
// or of a clock that has been set back since.
func over(now, at uint32) bool {
	age := int32(now - at)
	return age < 0 || age >= int32(guessWindow/time.Millisecond)
}

// drop forgets the times that are over.
func (t *guessTimes) drop(now uint32) {
	kept := t.at[:0]
	for _, at := range t.at {
		if !over(now, at) {
			kept = append(kept, at)
		}
	}
	t.at = kept
}

func stamp(t time.Time) uint32 { return uint32(t.UnixMilli()) } //nolint:gosec // the low bits are what is wanted

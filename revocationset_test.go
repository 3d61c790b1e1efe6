package doorward

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const revocationWidth = 24 * time.Hour

var revocationStart = time.Unix(1_800_000_000, 0).Truncate(revocationWidth)

// hostileIDs are ids that we would never make, and some that differ from another in little.
var hostileIDs = []string{
	"", "\x00", "\x00\x00", "a", "AZjC9KGyfD2On6Cx0tHq8x", "AZjC9KGyfD2On6Cx0tHq8w", "BZjC9KGyfD2On6Cx0tHq8w",
	"AZjC9KGyfD2On6Cx0tHq8", "AZjC9KGyfD2On6Cx0tHq8xA", "azjc9kgyfd2on6cx0thq8x", strings.Repeat("\xff", 22),
	strings.Repeat("\x00", 22), strings.Repeat("A", 22), strings.Repeat("é", 11), strings.Repeat("x", 1<<10),
}

func TestRevocationSetAgreesWithAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newRevocationSet(revocationWidth)
		held := map[string]time.Time{} // id to the end of the day until which it is kept
		ids := rapid.OneOf(rapid.SampledFrom(hostileIDs[:3]), rapid.SampledFrom(hostileIDs), rapid.StringMatching(`[A-Za-d]{22}`))
		moments := rapid.Custom(func(t *rapid.T) time.Time { // of four days, each a generation
			day := time.Duration(rapid.SampledFrom([]int{0, 1, 2, 3}).Draw(t, "day")) * revocationWidth
			return revocationStart.Add(day + time.Duration(rapid.Int64Range(0, int64(revocationWidth)-1).Draw(t, "in it")))
		})
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				id, until := ids.Draw(t, "id"), moments.Draw(t, "until")
				s.add(id, until)
				if end := until.Truncate(revocationWidth).Add(revocationWidth); end.After(held[id]) {
					held[id] = end
				}
			},
			"sweep": func(t *rapid.T) { // the clock goes forth and back
				now := moments.Draw(t, "now")
				s.sweep(now)
				for id, end := range held {
					if !end.After(now) {
						delete(held, id)
					}
				}
			},
			"ask for another": func(t *rapid.T) {
				id := ids.Draw(t, "id")
				if _, want := held[id]; s.has(id) != want {
					t.Fatalf("has(%q) = %v", id, !want)
				}
			},
			"": func(t *rapid.T) {
				for id := range held {
					if !s.has(id) {
						t.Fatalf("%q is forgotten", id)
					}
				}
				if s.len() != int64(len(held)) {
					t.Fatalf("len = %d, want %d", s.len(), len(held))
				}
			},
		})
	})
}

// Whatever times the database holds, nothing is forgotten before its own, what was never
// added is not there, and a look-up stays bounded.
func TestRevocationSetKeepsAnyTime(t *testing.T) {
	t.Parallel()
	times := rapid.OneOf(
		rapid.Map(rapid.Int64Range(0, 1000), func(h int64) time.Time { return revocationStart.Add(time.Duration(h) * time.Hour) }),
		rapid.Map(rapid.Int64(), time.UnixMilli),
		rapid.Map(rapid.Int64Range(math.MinInt64/2, math.MaxInt64/2), func(s int64) time.Time { return time.Unix(s, 0) }),
		rapid.SampledFrom([]time.Time{
			{}, time.Unix(math.MaxInt64/2, 0), time.Unix(math.MaxInt64/2, 1), time.Unix(math.MinInt64/2, 0),
			time.UnixMilli(math.MaxInt64), time.UnixMilli(math.MinInt64), time.Unix(0, -1),
		}),
	)
	rapid.Check(t, func(t *rapid.T) {
		s := newRevocationSet(time.Duration(rapid.Int64().Draw(t, "width")))
		held := map[string]time.Time{}
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				id := fmt.Sprintf("%022d", rapid.IntRange(0, n).Draw(t, "id"))
				n++
				until := times.Draw(t, "until")
				s.add(id, until)
				if was, ok := held[id]; !ok || until.After(was) {
					held[id] = until
				}
				if !s.has(id) {
					t.Fatalf("%q, just added, is not there", id)
				}
			},
			"sweep": func(t *rapid.T) {
				now := times.Draw(t, "now")
				s.sweep(now)
				for id, until := range held {
					if !until.After(now) {
						delete(held, id) // it may be gone
					}
				}
			},
			"": func(t *rapid.T) {
				for id, until := range held {
					if !s.has(id) {
						t.Fatalf("%q is forgotten, long before %v", id, until)
					}
				}
				if s.has("never") || s.has(fmt.Sprintf("%022d", n+1)) {
					t.Fatal("an id is there that was never added")
				}
			},
		})
	})
}

func TestRevocationSetForgets(t *testing.T) {
	t.Parallel()
	s := newRevocationSet(revocationWidth)
	// More ends than there are generations, as after access tokens were made shorter.
	for day := range 40 {
		s.add(fmt.Sprint("day ", day), revocationStart.Add(time.Duration(day)*revocationWidth))
	}
	if s.len() != 40 {
		t.Fatalf("%d of 40 are remembered", s.len())
	}
	s.sweep(revocationStart.Add(3 * revocationWidth))
	if got := s.len(); got != 37 || s.has("day 2") || !s.has("day 3") {
		t.Fatalf("after three days %d of 40 are remembered", got)
	}
	s.sweep(revocationStart.Add(40 * revocationWidth))
	if s.len() != 0 || s.has("day 39") {
		t.Fatalf("after all days %d are remembered", s.len())
	}
	for i := range s.rows {
		if s.rows[i].Load() != nil {
			t.Fatal("after all days memory is still held")
		}
	}
	for _, day := range []int{41, 50, 60, 45} { // as many as there can be
		s.add(fmt.Sprint("day ", day), revocationStart.Add(time.Duration(day)*revocationWidth))
	}
	s.add("between", revocationStart.Add(43*revocationWidth))
	s.sweep(revocationStart.Add(44 * revocationWidth))
	if s.len() != 4 || !s.has("between") || s.has("day 41") {
		t.Fatal("an entry for which there is no generation is not kept with the next")
	}
	s.sweep(revocationStart.Add(46 * revocationWidth))
	if s.len() != 2 || s.has("between") || s.has("day 45") || !s.has("day 50") {
		t.Fatal("an entry for which there was no generation is kept longer than with the next")
	}
}

func TestRevocationSetAfterTheClockJumped(t *testing.T) {
	t.Parallel()
	s := newRevocationSet(revocationWidth)
	now := revocationStart.Add(revocationWidth - time.Hour)
	s.add("for an hour", now.Add(time.Hour))
	s.add("for three hours", now.Add(3*time.Hour))
	s.sweep(now.Add(2 * time.Hour))
	s.sweep(now)
	if !s.has("for three hours") {
		t.Fatal("a session lives again that had an hour to go where the clock jumped to")
	}
	s.add("for an hour", now.Add(time.Hour))
	if !s.has("for an hour") {
		t.Fatal("an entry added for a time already swept is not there")
	}
}

// A row must stay right when fingerprints crowd, which the hash makes them not do.
func TestRevocationRowWhenCrowded(t *testing.T) {
	t.Parallel()
	const row = 5 << (64 - revocationRowBits)
	for name, f := range map[string]func(i uint64) uint64{
		"at the first home":       func(i uint64) uint64 { return row + i },
		"at the first, downwards": func(i uint64) uint64 { return row + 1000 - i },
		"at the last home":        func(i uint64) uint64 { return row + 1<<(64-revocationRowBits) - 1 - i },
		"in the middle":           func(i uint64) uint64 { return row + 1<<(63-revocationRowBits) + (i*387)%1000 },
	} {
		r := &revocationRow{}
		const n = 1000
		for i := range uint64(n) {
			r = r.add(f(i), 1, firstRevocationSlots)
		}
		for i := range uint64(n) {
			if !r.has(f(i)) || !r.mayHave(f(i)) {
				t.Errorf("%s: entry %d of %d is lost", name, i, n)
			}
		}
		if r.tables[1].used != n || r.has(row+1<<20) {
			t.Errorf("%s: %d of %d entries, or one too many", name, r.tables[1].used, n)
		}
	}
}

// Readers must see every add that has returned, whatever the writer moves at that moment:
// entries that crowd, so that every add moves hundreds of others, in a row that grows.
func TestRevocationRowWhileItIsWritten(t *testing.T) {
	t.Parallel()
	const rounds, n = 3, 4_000
	for round := range uint64(rounds) {
		r := rand.New(rand.NewPCG(7, round))
		fs := make([]uint64, n)
		for i := range fs {
			// Four narrow stretches of the first row, about a thousand to each.
			fs[i] = (r.Uint64N(4)<<(62-revocationRowBits) | r.Uint64N(1<<(40-revocationRowBits))) + 1
		}
		var row atomic.Pointer[revocationRow]
		row.Store((&revocationRow{}).add(fs[0], 0, firstRevocationSlots))
		var added atomic.Int64
		added.Store(1)
		var started, readers sync.WaitGroup
		for reader := range uint64(2) {
			started.Add(1)
			readers.Go(func() {
				r := rand.New(rand.NewPCG(reader, round))
				started.Done()
				for {
					k := added.Load()
					i := r.Int64N(k)
					if r := row.Load(); !r.mayHave(fs[i]) || !r.has(fs[i]) {
						t.Errorf("entry %d of %d is not there", i, k)
						return
					}
					if k == n {
						return
					}
				}
			})
		}
		started.Wait()
		known := map[uint64]bool{fs[0]: true}
		for i := 1; i < n; i++ {
			if !known[fs[i]] {
				known[fs[i]] = true
				row.Store(row.Load().add(fs[i], 0, firstRevocationSlots))
			}
			added.Store(int64(i + 1))
		}
		readers.Wait()
	}
}

func TestRevocationSetUnderLoad(t *testing.T) {
	t.Parallel()
	const writers, each = 2, 8_000
	s := newRevocationSet(revocationWidth)
	ids := newIDRow(1, writers*each)
	living := newIDRow(2, each)
	keep := func(i int) time.Time { return revocationStart.Add(time.Duration(1+i%2) * revocationWidth) }
	var added [writers]atomic.Int64
	var left atomic.Int64
	left.Store(writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			defer left.Add(-1)
			for i := range each {
				id := ids.at(w*each + i)
				s.add(id, revocationStart.Add(-time.Hour)) // in a generation that is dropped meanwhile
				s.add(id, keep(i))
				added[w].Store(int64(i + 1))
			}
		})
	}
	all.Go(func() {
		for left.Load() > 0 {
			s.sweep(revocationStart)
		}
	})
	for reader := range 2 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(17, uint64(reader)))
			for left.Load() > 0 {
				w := r.IntN(writers)
				if k := int(added[w].Load()); k > 0 {
					if id := ids.at(w*each + r.IntN(k)); !s.has(id) {
						t.Errorf("%s is not there, though its add has returned", id)
						return
					}
				}
				if id := living.at(r.IntN(each)); s.has(id) {
					t.Errorf("%s is there, though nobody added it", id)
					return
				}
			}
		})
	}
	all.Wait()
	s.sweep(revocationStart)
	if s.len() != writers*each {
		t.Errorf("len = %d, want %d", s.len(), writers*each)
	}
	for i := range writers * each {
		if !s.has(ids.at(i)) {
			t.Fatalf("entry %d is lost", i)
		}
	}
}

// Not parallel: AllocsPerRun counts what the whole program allocates.
func TestRevocationSetAnswersWithoutAllocating(t *testing.T) {
	s := newRevocationSet(revocationWidth)
	for _, id := range hostileIDs {
		s.add(id, revocationStart)
	}
	found := 0
	n := testing.AllocsPerRun(100, func() {
		for _, id := range hostileIDs {
			if s.has(id) {
				found++
			}
		}
		if s.has("AZjC9KGyfD2On6Cx0tHq8y") {
			found = math.MinInt
		}
	})
	if n != 0 || found != 101*len(hostileIDs) {
		t.Errorf("%v allocations, %d found", n, found)
	}
}

package doorward

import (
	"encoding/base64"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Sized by REVOCATIONS, the number of sessions remembered, 100,000 unless given:
//
//	REVOCATIONS=10000000 go test -run '^$' -bench RevocationSet -timeout 30m .

func benchRevocations(b *testing.B) int {
	b.Helper()
	given := os.Getenv("REVOCATIONS")
	if given == "" {
		return 100_000
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 1 {
		b.Fatalf("REVOCATIONS=%q is not a number of sessions", given)
	}
	return n
}

var benchUntil = time.Unix(1_800_000_000, 0)

// idRow is many session ids in one string, so that walking through them is what reading
// an id out of a token is: no cache miss of its own.
type idRow struct{ text string }

const idLength = 22

func newIDRow(seed uint64, n int) idRow {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	text := make([]byte, 0, n*idLength)
	var raw [16]byte
	for range n {
		_, _ = r.Read(raw[:]) // never fails
		text = base64.RawURLEncoding.AppendEncode(text, raw[:])
	}
	return idRow{string(text)}
}

func (r idRow) at(i int) string { return r.text[i*idLength : (i+1)*idLength] }

func (r idRow) len() int { return len(r.text) / idLength }

// benchLookups is how many different ids the look-ups go through: at a million, the
// cache lines of a large table that they touch do not stay in the processor's cache.
const benchLookups = 1 << 20

// heapBytes is what lives on the heap.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkRevocationSet measures a look-up beside the same one in a Go map: x_map is how
// many times faster the set is than a map[string]int64 that is asked without the lock it
// would need, x_rwmap than the same map behind a sync.RWMutex. Both come from rounds that
// take turns, so that a busy machine slows both. map_bytes is without the ids themselves.
func BenchmarkRevocationSet(b *testing.B) {
	n := benchRevocations(b)
	ended := newIDRow(1, n)
	living := newIDRow(2, benchLookups)
	again := newIDRow(1, min(n, benchLookups))

	before := heapBytes()
	m := map[string]int64{}
	for i := range n {
		m[ended.at(i)] = benchUntil.UnixMilli()
	}
	mapBytes := heapBytes() - before
	var mu sync.RWMutex
	inMap := func(id string) bool { _, ok := m[id]; return ok }
	inLockedMap := func(id string) bool {
		mu.RLock()
		_, ok := m[id]
		mu.RUnlock()
		return ok
	}
	for _, generations := range []int{1, 2, 3} {
		before := heapBytes()
		s := newRevocationSet(24 * time.Hour)
		for i := range n {
			s.add(ended.at(i), benchUntil.Add(time.Duration(i%generations)*24*time.Hour))
		}
		bytes := heapBytes() - before
		lookup := func(name string, ids idRow, want bool) {
			b.Run(name+"/generations="+strconv.Itoa(generations), func(b *testing.B) {
				b.ReportAllocs()
				i, wrong := 0, 0
				for b.Loop() {
					if s.has(ids.at(i)) != want {
						wrong++
					}
					if i++; i == ids.len() {
						i = 0
					}
				}
				if wrong > 0 {
					b.Fatalf("%d look-ups did not answer %v", wrong, want)
				}
				t := medianTimes(b, ids, want, s.has, inMap, inLockedMap)
				b.ReportMetric(t[1]/t[0], "x_map")
				b.ReportMetric(t[2]/t[0], "x_rwmap")
				b.ReportMetric(float64(bytes)/float64(n), "bytes/entry")
				b.ReportMetric(float64(mapBytes)/float64(n), "map_bytes/entry")
			})
		}
		lookup("miss", living, false)
		lookup("hit", again, true)
	}
	b.Run("add", func(b *testing.B) {
		b.ReportAllocs()
		s := newRevocationSet(24 * time.Hour)
		i := 0
		for b.Loop() {
			if i == n {
				i, s = 0, newRevocationSet(24*time.Hour)
			}
			s.add(ended.at(i), benchUntil)
			i++
		}
	})
}

// medianTimes is the nanoseconds that a look-up takes each of the ways, the median of nine
// rounds in turn.
func medianTimes(b *testing.B, ids idRow, want bool, ways ...func(id string) bool) []float64 {
	b.Helper()
	const rounds = 9
	times := make([][]float64, len(ways))
	for range rounds {
		for way, has := range ways {
			start, wrong := time.Now(), 0
			for i := range ids.len() {
				if has(ids.at(i)) != want {
					wrong++
				}
			}
			if wrong > 0 {
				b.Fatalf("%d look-ups did not answer %v", wrong, want)
			}
			times[way] = append(times[way], float64(time.Since(start).Nanoseconds())/float64(ids.len()))
		}
	}
	medians := make([]float64, len(ways))
	for way := range ways {
		slices.Sort(times[way])
		medians[way] = times[way][rounds/2]
	}
	return medians
}

// BenchmarkRevocationSetExpiry measures the longest that a look-up and an add take while
// as many sessions as REVOCATIONS are forgotten in one sweep and their memory collected.
// Beside it, as quiet_*, the longest in a like stretch in which nothing is forgotten:
// what the machine and the collector do to anybody.
func BenchmarkRevocationSetExpiry(b *testing.B) {
	n := benchRevocations(b)
	ended := newIDRow(1, n)
	later := newIDRow(3, n)
	var hasLongest, addLongest, sweepLongest, quietHas, quietAdd time.Duration
	for b.Loop() {
		s := newRevocationSet(24 * time.Hour)
		for i := range n {
			s.add(ended.at(i), benchUntil)
		}
		next := 0
		quietHas, quietAdd = longestWhile(s, later, &next, func() { runtime.GC() })
		has, add := longestWhile(s, later, &next, func() {
			start := time.Now()
			s.sweep(benchUntil.Add(25 * time.Hour))
			sweepLongest = max(sweepLongest, time.Since(start))
			runtime.GC()
		})
		hasLongest, addLongest = max(hasLongest, has), max(addLongest, add)
		if s.has(ended.at(0)) || s.len() != int64(next) {
			b.Fatalf("after the sweep %d are remembered, of %d added later", s.len(), next)
		}
	}
	for name, d := range map[string]time.Duration{
		"has_us": hasLongest, "add_us": addLongest, "sweep_us": sweepLongest, "quiet_has_us": quietHas, "quiet_add_us": quietAdd,
	} {
		b.ReportMetric(float64(d.Nanoseconds())/1000, name)
	}
}

// longestWhile looks up and adds ids without a pause, the adds in a generation of their
// own, while event runs, and returns the longest that each took.
func longestWhile(s *revocationSet, ids idRow, next *int, event func()) (has, add time.Duration) {
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			id := ids.at(*next % ids.len())
			start := time.Now()
			s.has(id)
			looked := time.Now()
			if *next < ids.len() {
				s.add(id, benchUntil.Add(48*time.Hour))
				*next++
			}
			added := time.Now()
			has, add = max(has, looked.Sub(start)), max(add, added.Sub(looked))
		}
	}()
	event()
	stop.Store(true)
	<-done
	return has, add
}

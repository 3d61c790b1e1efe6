package doorward

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// revocationSet remembers the sessions that have ended, each until the last access token
// minted in it has expired. Every request with a good token asks it, and nearly always
// hears no, so that is what it is built for: a no is a hash and one word of a filter that
// is a sixth as large as what it stands before. It takes no lock.
//
//	set ── row, by the first bits of the fingerprint (1,024, each growing on its own)
//	         ├─ filter, of all that is in the row
//	         └─ table, by generation: the fingerprints, in order
//
// A generation is what may be forgotten at the same time: two or three are alive, and the
// oldest is dropped whole, by letting go of its table in each row.
//
// A session is kept as a fingerprint of 64 bits: its id hashed with a key that this
// process drew at its start. That is enough: with n sessions remembered, a living one is
// taken for ended with a chance of n / 2^64, which for ten million is 5.4e-13, and the
// chance is one a session and not one a request, since the same id always has the same
// fingerprint. It takes 10^12 sessions looked up, each another, to expect half a person
// who has to sign in again; 128 bits would cost twice the memory to spare that one. The
// first 64 bits of the id would be as random, but only of ids that we made: with the key,
// no row written into the database by somebody else can aim at a session or crowd a
// table, and two nodes, or one node before and after a restart, do not err together.
//
// An add that has returned is seen by every has that starts afterwards, and nothing is
// forgotten before its time. The set is safe for concurrent use; writers take turns.
type revocationSet struct {
	width int64 // of a generation, in milliseconds
	hash  revocationHash
	rows  [1 << revocationRowBits]atomic.Pointer[revocationRow] // nil when empty
	size  atomic.Int64

	mu          sync.Mutex // held by who adds or sweeps
	generations [revocationGenerations]revocationGeneration
}

// revocationRowBits is how many bits of a fingerprint choose its row. Many small rows keep
// the pause of the one add that makes a row grow short: at ten million entries it copies
// some 10,000, in order.
const revocationRowBits = 10

// revocationGenerations is how many generations there are at most, so that a look-up has
// a bound even when the ends are scattered (after access tokens were made shorter, say).
const revocationGenerations = 4

// revocationGeneration is what is to be known of the entries in the tables of one number.
type revocationGeneration struct {
	alive   bool
	end     int64 // Unix milliseconds from which no entry is needed
	entries int64 // but for those that are in a later generation as well
}

// newRevocationSet makes a set whose generations span width, best the longest life of an
// access token: then two or three are alive. An entry is forgotten no earlier than a
// sessionSet of the same width forgets one with the same time.
func newRevocationSet(width time.Duration) *revocationSet {
	return &revocationSet{width: max(width, time.Minute).Milliseconds(), hash: newRevocationHash()}
}

// add remembers that session id has ended, until the time until or somewhat longer.
// Adding again keeps the later time. It forgets nothing: what is over is for sweep alone.
func (s *revocationSet) add(id string, until time.Time) {
	f := s.hash.of(id)
	end := s.endFor(until)
	s.mu.Lock()
	defer s.mu.Unlock()
	row := &s.rows[rowOf(f)]
	r := row.Load()
	if r == nil {
		r = &revocationRow{}
	}
	held := s.latestWith(r, f)
	if held >= 0 && s.generations[held].end >= end {
		return
	}
	g := s.generationFor(end)
	if g == held {
		return // it ends later now
	}
	// Sizes differ from the start, so that the rows, which fill evenly, do not all grow at once.
	if larger := r.add(f, g, firstRevocationSlots+rowOf(f)%firstRevocationSpread); larger != r {
		row.Store(larger) // who still reads the old one finds in it all that was added before
	}
	s.generations[g].entries++
	if held >= 0 {
		s.generations[held].entries-- // it stays in the table: taking it out could hide others from who is reading
		return
	}
	s.size.Add(1)
}

// has reports whether session id has ended. It may still say so a while after the entry's
// time: by then no token of the session is good anyway.
func (s *revocationSet) has(id string) bool {
	f := s.hash.of(id)
	r := s.rows[rowOf(f)].Load()
	return r != nil && r.mayHave(f) && r.has(f)
}

// sweep drops the generations that are over at the time now. An entry whose time is after
// now stays. What it costs goes by the number of rows, not by how much it drops, and who
// looks up does not wait for it.
func (s *revocationSet) sweep(now time.Time) {
	n := min(unixMilli(now), math.MaxInt64-1) // the last generation there can be is never over
	s.mu.Lock()
	defer s.mu.Unlock()
	var over []int
	for i, g := range s.generations {
		if g.alive && g.end <= n {
			over = append(over, i)
			s.size.Add(-g.entries)
			s.generations[i] = revocationGeneration{}
		}
	}
	if len(over) == 0 {
		return
	}
	for i := range s.rows {
		if r := s.rows[i].Load(); r != nil {
			s.rows[i].Store(r.without(over))
		}
	}
}

// len is the number of sessions remembered.
func (s *revocationSet) len() int64 { return s.size.Load() }

// endFor is the end of the generation for an entry kept until the time until, in Unix
// milliseconds and always after it.
func (s *revocationSet) endFor(until time.Time) int64 {
	u := unixMilli(until)
	if u > math.MaxInt64-s.width {
		return math.MaxInt64
	}
	return (u/s.width + 1) * s.width
}

// unixMilli is t.UnixMilli where that is defined, else the nearest there is: times come
// from a database, which may hold any.
func unixMilli(t time.Time) int64 {
	switch sec := t.Unix(); {
	case sec > math.MaxInt64/1000-1:
		return math.MaxInt64
	case sec < math.MinInt64/1000+1:
		return math.MinInt64
	}
	return t.UnixMilli()
}

// latestWith returns the number of the generation that keeps f the longest, or -1. Only a
// writer calls it.
func (s *revocationSet) latestWith(r *revocationRow, f uint64) int {
	latest := -1
	for i, t := range r.tables {
		if t != nil && t.has(f) && (latest < 0 || s.generations[i].end > s.generations[latest].end) {
			latest = i
		}
	}
	return latest
}

// generationFor returns the number of a generation that is kept until end or longer,
// starting one where a number is free. Only a writer calls it.
func (s *revocationSet) generationFor(end int64) int {
	free, next, last := -1, -1, 0
	for i, g := range s.generations {
		switch {
		case !g.alive:
			free = i
			continue
		case g.end == end:
			return i
		case g.end > end && (next < 0 || g.end < s.generations[next].end):
			next = i
		}
		if g.end > s.generations[last].end {
			last = i
		}
	}
	switch {
	case free >= 0:
		s.generations[free] = revocationGeneration{alive: true, end: end}
		return free
	case next >= 0:
		return next
	}
	s.generations[last].end = end
	return last
}

// revocationRow is the entries whose fingerprints begin alike. One that is in the set is
// replaced where anything but an entry changes, so a reader has one picture.
type revocationRow struct {
	filter []atomic.Uint64 // of each entry some bits in one word; only ever set
	tables [revocationGenerations]*revocationTable
	room   int // entries that the filter has room for; only writers look
}

// entriesPerFilterWord is how many entries share 64 bits when the filter is full: then
// one in a hundred that are not there gets past it.
const entriesPerFilterWord = 5

// rowOf is the number of the row that f belongs in.
func rowOf(f uint64) int { return int(f >> (64 - revocationRowBits)) }

// place maps f onto one of n places, in order and evenly among the fingerprints of one row.
func place(f, n uint64) uint64 {
	hi, _ := bits.Mul64(f<<revocationRowBits, n)
	return hi
}

// filterBits is four of the 64 bits of a filter word, by the end of f that chooses neither
// row nor place.
func filterBits(f uint64) uint64 {
	return 1<<(f&63) | 1<<(f>>6&63) | 1<<(f>>12&63) | 1<<(f>>18&63)
}

// mayHave is what the filter says of f: when r has it not, false some 99 times in 100.
func (r *revocationRow) mayHave(f uint64) bool {
	b := filterBits(f)
	return r.filter[place(f, uint64(len(r.filter)))].Load()&b == b
}

func (r *revocationRow) has(f uint64) bool {
	for _, t := range r.tables {
		if t != nil && t.has(f) {
			return true
		}
	}
	return false
}

// add puts f, which is not there, into the generation of number g, whose table is to have
// first slots if it has none. It returns r, or what is to take its place.
func (r *revocationRow) add(f uint64, g, first int) *revocationRow {
	t := r.tables[g]
	if t == nil {
		t = newRevocationTable(first)
	}
	for !t.insert(f) {
		t = t.grown()
	}
	if t != r.tables[g] || r.room == 0 {
		next := *r
		next.tables[g] = t
		r = &next
	}
	if r.room == 0 {
		r.renewFilter()
		return r
	}
	r.room--
	r.note(f)
	return r
}

// without returns what is to take the place of r when the generations of the numbers over
// are dropped; nil when nothing is left. The filter stays, and lets more pass than it
// need, until the next add finds no room in it.
func (r *revocationRow) without(over []int) *revocationRow {
	next := *r
	for _, g := range over {
		next.tables[g] = nil
	}
	if next.tables == ([revocationGenerations]*revocationTable{}) {
		return nil
	}
	next.room = 0
	return &next
}

// renewFilter makes a filter of what is in the tables, with room for a third more.
func (r *revocationRow) renewFilter() {
	entries := 0
	for _, t := range r.tables {
		if t != nil {
			entries += t.used
		}
	}
	r.room = entries/3 + firstRevocationSlots
	r.filter = make([]atomic.Uint64, (entries+r.room)/entriesPerFilterWord+1)
	for _, t := range r.tables {
		if t == nil {
			continue
		}
		for i := range t.slots {
			if f := t.slots[i].Load(); f != 0 {
				r.note(f)
			}
		}
	}
}

// note sets f's bits in the filter.
func (r *revocationRow) note(f uint64) {
	w := &r.filter[place(f, uint64(len(r.filter)))]
	w.Store(w.Load() | filterBits(f))
}

// revocationTable is a hash table whose slots are in order: a fingerprint's home rises
// with the fingerprint, and what does not find its home free lies behind it, smaller
// before greater. So a search ends at the first slot that is empty or not smaller, after
// four slots or so even when seven in eight are taken, and copying a table into a larger
// one is one pass over both. Nothing wraps around: behind the last home are spare slots.
//
// One writer at a time inserts while others read. It makes room by moving entries one
// slot on, the last of them first, so at every moment each entry is in a slot, all slots
// are in order, and no entry is ever moved towards its home: a reader, who walks away
// from the home, cannot be overtaken by what it looks for. Hence there is no removing.
type revocationTable struct {
	slots []atomic.Uint64 // 0 is empty
	homes uint64          // slots that are somebody's home; the rest are spare
	used  int             // slots taken; only writers look
}

// The size of a table at first. With 66% to 88% of the homes taken once it has grown, and
// the filter, an entry takes 11 to 15 bytes.
const (
	firstRevocationSlots  = 16
	firstRevocationSpread = 8
)

// newRevocationTable makes a table of slots slots, or a few more where memory comes in
// larger pieces anyway.
func newRevocationTable(slots int) *revocationTable {
	s := slices.Grow([]atomic.Uint64(nil), slots)
	s = s[:cap(s)]
	return &revocationTable{slots: s, homes: uint64(len(s) - 8 - len(s)/64)}
}

func (t *revocationTable) has(f uint64) bool {
	slots := t.slots
	for i := place(f, t.homes); i < uint64(len(slots)); i++ {
		switch v := slots[i].Load(); {
		case v == f:
			return true
		case v == 0 || v > f:
			return false
		}
	}
	return false
}

// insert adds f, which t has not, or reports that t must grow first.
func (t *revocationTable) insert(f uint64) bool {
	if uint64(t.used) >= t.homes-t.homes/8 {
		return false
	}
	at := int(place(f, t.homes))
	for at < len(t.slots) && t.slots[at].Load() != 0 && t.slots[at].Load() < f {
		at++
	}
	free := at
	for free < len(t.slots) && t.slots[free].Load() != 0 {
		free++
	}
	if free == len(t.slots) {
		return false
	}
	for ; free > at; free-- {
		t.slots[free].Store(t.slots[free-1].Load())
	}
	t.slots[at].Store(f)
	t.used++
	return true
}

// grown returns a larger table with the same entries. They fit: it has more homes, and
// no fewer spare slots, so behind no home do more entries come than there are places.
func (t *revocationTable) grown() *revocationTable {
	larger := newRevocationTable(len(t.slots)*4/3 + 1)
	next := uint64(0)
	for i := range t.slots {
		f := t.slots[i].Load()
		if f == 0 {
			continue
		}
		next = max(next, place(f, larger.homes))
		larger.slots[next].Store(f)
		next++
	}
	larger.used = t.used
	return larger
}

// revocationHash makes fingerprints. Its key is drawn for each set, so that nobody who
// writes ids can know where they lie; nothing that anybody sees depends on it.
type revocationHash struct {
	seed maphash.Seed
	key  [3]uint64
}

func newRevocationHash() revocationHash {
	h := revocationHash{seed: maphash.MakeSeed()}
	for i := range h.key {
		h.key[i] = maphash.Comparable(h.seed, i)
	}
	h.key[2] |= 1 // whatever is drawn, the last product keeps all of its factor
	return h
}

// of returns the fingerprint of id, never 0, which is an empty slot. An id as we make
// them goes through two products folded in half, which takes a third of the time of
// maphash; that is for ids of any other length.
func (h *revocationHash) of(id string) uint64 {
	if len(id) != 22 {
		return max(maphash.String(h.seed, id), 1)
	}
	b := []byte(id) // not copied: it does not escape and is not written
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(b)^h.key[0], binary.LittleEndian.Uint64(b[8:])^h.key[1])
	hi, lo = bits.Mul64(hi^lo^binary.LittleEndian.Uint64(b[14:]), h.key[2])
	return max(hi^lo, 1)
}

//go:build !race

// One goroutine each and much to do, which the race detector would make slow for nothing.

package doorward

import (
	"fmt"
	"strings"
	"testing"
)

// From a hundred thousand entries to a million: 16 bytes each at most, and no row so
// large that copying it, which one add has to wait for, is more than a small part.
func TestRevocationSetIsSmall(t *testing.T) {
	t.Parallel()
	const n, step = 1_000_000, 25_000
	s := newRevocationSet(revocationWidth)
	ids := newIDRow(1, n)
	for i := range n {
		s.add(ids.at(i), revocationStart)
		entries := i + 1
		if entries%step != 0 || entries < 100_000 {
			continue
		}
		bytes, largest := s.bytes()
		if per := float64(bytes) / float64(entries); per > 16 {
			t.Errorf("%d entries take %.2f bytes each", entries, per)
		}
		if largest > entries/500 {
			t.Errorf("of %d entries %d lie in one row", entries, largest)
		}
	}
	if s.len() != n {
		t.Errorf("len = %d, want %d", s.len(), n)
	}
	if past := s.pastFilter(newIDRow(2, 100_000)); past > 2_000 {
		t.Errorf("of 100,000 ids that are not there %d get past the filter", past)
	}
}

// Dropping a generation leaves the filters as they were, but not for long.
func TestRevocationSetGivesMemoryBack(t *testing.T) {
	t.Parallel()
	const dropped, kept, later = 300_000, 10_000, 20_000
	s, fresh := newRevocationSet(revocationWidth), newRevocationSet(revocationWidth)
	tomorrow := revocationStart.Add(revocationWidth)
	gone, ids := newIDRow(1, dropped), newIDRow(2, kept+later)
	for i := range kept {
		s.add(ids.at(i), tomorrow)
	}
	for i := range dropped {
		s.add(gone.at(i), revocationStart)
	}
	s.sweep(tomorrow)
	for i := range kept {
		fresh.add(ids.at(i), tomorrow)
	}
	for i := kept; i < kept+later; i++ {
		s.add(ids.at(i), tomorrow)
		fresh.add(ids.at(i), tomorrow)
	}
	got, _ := s.bytes()
	want, _ := fresh.bytes()
	if got > want*11/10 {
		t.Errorf("%d bytes after %d were dropped, %d where they never were", got, dropped, want)
	}
	if past := s.pastFilter(gone); past > dropped/50 {
		t.Errorf("of %d that were dropped %d get past the filter", dropped, past)
	}
}

// pastFilter is how many of ids, none of which is there, the filters do not stop.
func (s *revocationSet) pastFilter(ids idRow) (past int) {
	for i := range ids.len() {
		f := s.hash.of(ids.at(i))
		if r := s.rows[rowOf(f)].Load(); r != nil && r.mayHave(f) {
			past++
		}
	}
	return past
}

// bytes is what the rows of s take, with what leads to them, and how many entries the
// largest has.
func (s *revocationSet) bytes() (total, largest int) {
	const word, rowHeader, tableHeader = 8, 64, 48
	total = len(s.rows) * word
	for i := range s.rows {
		r := s.rows[i].Load()
		if r == nil {
			continue
		}
		total += rowHeader + len(r.filter)*word
		entries := 0
		for _, t := range r.tables {
			if t != nil {
				total += tableHeader + len(t.slots)*word
				entries += t.used
			}
		}
		largest = max(largest, entries)
	}
	return total, largest
}

func TestRevocationHashSpreadsWhatSomebodyElseWrote(t *testing.T) {
	t.Parallel()
	const n = 1 << 17
	forms := map[string]func(i int) string{
		"counted at the start":  func(i int) string { return fmt.Sprintf("%06dAAAAAAAAAAAAAAAA", i) },
		"counted in the middle": func(i int) string { return fmt.Sprintf("AAAAAAAA%06dAAAAAAAA", i) },
		"counted at the end":    func(i int) string { return fmt.Sprintf("AAAAAAAAAAAAAAAA%06d", i) },
		"counted in bytes": func(i int) string {
			return string([]byte{byte(i), byte(i >> 8), byte(i >> 16)}) + strings.Repeat("\x00", 19)
		},
		"counted in other bytes": func(i int) string {
			return strings.Repeat("\x00", 19) + string([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		},
		"of another length": func(i int) string { return fmt.Sprint("session ", i) },
	}
	h, other := newRevocationHash(), newRevocationHash()
	all := map[uint64]string{}
	for name, form := range forms {
		rows := make([]int, 1<<revocationRowBits)
		for i := range n {
			id := form(i)
			f := h.of(id)
			if was, ok := all[f]; ok && was != id {
				t.Fatalf("%q and %q have one fingerprint", was, id)
			}
			all[f] = id
			rows[rowOf(f)]++
			if other.of(id) == f {
				t.Fatalf("%q has the same fingerprint under two keys", id)
			}
		}
		for _, got := range rows {
			if got > 2*n/len(rows) {
				t.Errorf("%s: a row has %d of %d ids", name, got, n)
			}
		}
	}
}

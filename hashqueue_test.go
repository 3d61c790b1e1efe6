package doorward

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

func address(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}) }

// queued lets callers wait for a turn, one after the other, and tells who got one in which
// order: waiting is what they come from.
type queued struct {
	s      *slots
	mu     sync.Mutex
	served []string
	failed map[string]error
}

func (q *queued) come(ctx context.Context, name string, from netip.Addr) {
	go func() {
		err := q.s.acquire(ctx, from)
		q.mu.Lock()
		defer q.mu.Unlock()
		if err != nil {
			q.failed[name] = err
			return
		}
		q.served = append(q.served, name)
		q.s.release()
	}()
	synctest.Wait()
}

// TestRE1TurnsAreFairByAddress: whoever comes first from an address waits for one turn of each
// other address, however many that one has sent.
func TestRE1TurnsAreFairByAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queued{s: newSlots(1, 5000), failed: map[string]error{}}
		if err := q.s.acquire(t.Context(), address(9)); err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			q.come(t.Context(), fmt.Sprintf("flood %d", i), address(1))
		}
		for i := range 3 {
			q.come(t.Context(), fmt.Sprintf("ann %d", i), address(2))
		}
		q.come(t.Context(), "bob", address(3))
		q.s.release()
		synctest.Wait()
		want := []string{"flood 0", "ann 0", "bob", "flood 1", "ann 1", "flood 2", "ann 2", "flood 3", "flood 4"}
		if got := q.served[:len(want)]; !slices.Equal(got, want) {
			t.Errorf("served in the order %q, want %q", got, want)
		}
		if len(q.served) != 2004 || len(q.failed) > 0 || q.s.free != 1 || q.s.waiting != 0 || len(q.s.lines) != 0 || q.s.turns.Len() != 0 {
			t.Errorf("%d served, %d failed, %+v", len(q.served), len(q.failed), q.s)
		}
	})
}

// TestAFullQueueHasAPlaceForEachAddress: who has many places gives one up to who has none.
func TestAFullQueueHasAPlaceForEachAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queued{s: newSlots(1, 4), failed: map[string]error{}}
		if err := q.s.acquire(t.Context(), address(9)); err != nil {
			t.Fatal(err)
		}
		for i := range 5 { // the last finds no place, and at once
			q.come(t.Context(), fmt.Sprintf("flood %d", i), address(1))
		}
		q.come(t.Context(), "ann", address(2))   // takes that of the newest, flood 3
		q.come(t.Context(), "ann 2", address(2)) // and of flood 2: two and two
		q.come(t.Context(), "ann 3", address(2)) // that would be three to one
		q.come(t.Context(), "bob", address(3))   // one of the two who have two
		q.come(t.Context(), "eve", address(4))
		q.come(t.Context(), "zoe", address(5)) // all four have one
		for _, name := range []string{"flood 2", "flood 3", "flood 4", "ann 3", "ann 2", "flood 1", "zoe"} {
			var e *Error
			if err := q.failed[name]; !errors.As(err, &e) || !errors.Is(err, ErrTooManyRequests) || e.RetryAfter <= 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		q.s.release()
		synctest.Wait()
		if want := []string{"flood 0", "ann", "bob", "eve"}; !slices.Equal(q.served, want) {
			t.Errorf("served %q, want %q; failed %v", q.served, want, q.failed)
		}
	})
}

// TestRE3WhoHangsUpTakesNoTurn, nor a place.
func TestRE3WhoHangsUpTakesNoTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queued{s: newSlots(1, 3), failed: map[string]error{}}
		if err := q.s.acquire(t.Context(), address(9)); err != nil {
			t.Fatal(err)
		}
		ctx, hangUp := context.WithCancel(t.Context())
		for i := range 3 {
			q.come(ctx, fmt.Sprintf("impatient %d", i), address(1))
		}
		hangUp()
		synctest.Wait()
		if len(q.failed) != 3 || q.s.waiting != 0 || len(q.s.lines) != 0 {
			t.Fatalf("%v, %+v", q.failed, q.s)
		}
		for i := range 3 {
			q.come(t.Context(), fmt.Sprintf("patient %d", i), address(1))
		}
		q.s.release()
		synctest.Wait()
		if want := []string{"patient 0", "patient 1", "patient 2"}; !slices.Equal(q.served, want) {
			t.Errorf("served %q", q.served)
		}
	})
}

// TestNoTurnIsLost: however callers come, hang up and are refused, in the end all turns are free.
func TestNoTurnIsLost(t *testing.T) {
	t.Parallel()
	s := newSlots(2, 16)
	random := mathrand.New(mathrand.NewPCG(5, 5))
	var all sync.WaitGroup
	var inside, most int
	var mu sync.Mutex
	for range 4000 {
		ctx, hangUp := context.WithCancel(t.Context())
		from := address(random.IntN(12) * random.IntN(2))
		all.Go(hangUp)
		all.Go(func() {
			if err := s.acquire(ctx, from); err != nil {
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			mu.Lock()
			inside--
			mu.Unlock()
			s.release()
		})
	}
	all.Wait()
	if s.free != 2 || s.waiting != 0 || len(s.lines) != 0 || s.turns.Len() != 0 || most > 2 {
		t.Errorf("%d free, %d waiting, %d lines, %d at once", s.free, s.waiting, len(s.lines), most)
	}
}

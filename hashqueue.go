package doorward

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"
)

// slots lets a bounded number of callers work at once and a bounded number wait for it.
// Turns are fair by address: each address that waits has a line of its own, and the lines
// take turns, so that whoever comes first from an address waits for one turn of each other
// address and not for the thousand that one of them has sent. When all places are taken, one
// from an address with fewer waiting takes the place of the newest in the longest line.
type slots struct {
	queue int // callers that may wait

	mu      sync.Mutex
	free    int
	waiting int                          // in all lines; not 0 only while free is 0
	lines   map[netip.Addr]*list.Element // of turns
	turns   list.List                    // of *line, none of them empty: the next in turn first
}

// line is who waits from one address, in order of arrival.
type line struct {
	from    netip.Addr
	waiting list.List // of *turn
}

// turn is a place in a line.
type turn struct {
	come    chan struct{} // closed when the slot is the caller's, or there will be none
	refused bool          // there will be none; to be read when come is closed
	line    *list.Element
	place   *list.Element
}

// retryThrottled is what a caller refused for a full queue is told. A full queue of the
// default size takes a few seconds to work off.
const retryThrottled = time.Second

func newSlots(n, queue int) *slots {
	return &slots{free: n, queue: queue, lines: map[netip.Addr]*list.Element{}}
}

// acquire takes a slot, which release must give back, or says why there is none.
func (s *slots) acquire(ctx context.Context, from netip.Addr) error {
	if ctx.Err() != nil {
		return Unavailable(context.Cause(ctx))
	}
	t, err := s.enqueue(neighbours(from))
	if err != nil || t == nil {
		return err
	}
	return s.wait(ctx, t)
}

// wait returns nil when the turn has come, and gives it back when ctx ends first.
func (s *slots) wait(ctx context.Context, t *turn) error {
	select {
	case <-t.come:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		// Hung up. The slot may have been handed over at that very moment, even so.
		if s.leave(t) {
			s.release()
		}
		return Unavailable(context.Cause(ctx))
	}
	if t.refused {
		return Throttled(retryThrottled)
	}
	return nil
}

// enqueue takes a free slot, and then the turn is nil, or a place in the line of from.
func (s *slots) enqueue(from netip.Addr) (*turn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free > 0 {
		s.free--
		return nil, nil
	}
	if s.waiting >= s.queue {
		last := s.giveWay(from)
		if last == nil {
			return nil, Throttled(retryThrottled)
		}
		s.remove(last)
		last.refused = true
		close(last.come)
	}
	e := s.lines[from]
	if e == nil {
		e = s.turns.PushBack(&line{from: from})
		s.lines[from] = e
	}
	t := &turn{come: make(chan struct{}), line: e}
	t.place = e.Value.(*line).waiting.PushBack(t)
	s.waiting++
	return t, nil
}

// full returns a refusal where enqueue would now, and takes no place. It is for who has
// something to do before waiting that would be done in vain.
func (s *slots) full(from netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= s.queue && s.free == 0 && s.giveWay(from) == nil {
		return Throttled(retryThrottled)
	}
	return nil
}

// giveWay returns the newest of the longest line, if that stays no shorter without it than
// from's will be; else nil.
func (s *slots) giveWay(from netip.Addr) *turn {
	var longest *line
	for e := s.turns.Front(); e != nil; e = e.Next() {
		if l := e.Value.(*line); longest == nil || l.waiting.Len() > longest.waiting.Len() {
			longest = l
		}
	}
	own := 0
	if e := s.lines[from]; e != nil {
		own = e.Value.(*line).waiting.Len()
	}
	if longest == nil || longest.waiting.Len() <= own+1 {
		return nil
	}
	return longest.waiting.Back().Value.(*turn)
}

// remove takes a turn that has not come out of its line.
func (s *slots) remove(t *turn) {
	l := t.line.Value.(*line)
	l.waiting.Remove(t.place)
	s.waiting--
	if l.waiting.Len() == 0 {
		s.turns.Remove(t.line)
		delete(s.lines, l.from)
	}
}

// leave gives up a turn; true if it had come and there is a slot to give back.
func (s *slots) leave(t *turn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-t.come:
		return !t.refused
	default:
	}
	s.remove(t)
	return false
}

// release hands the slot to the first of the line whose turn it is, or frees it.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.turns.Front()
	if e == nil {
		s.free++
		return
	}
	s.turns.MoveToBack(e)
	t := e.Value.(*line).waiting.Front().Value.(*turn)
	s.remove(t)
	close(t.come)
}

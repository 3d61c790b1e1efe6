package store

import (
	"container/list"
	"context"
	"sync"
)

// line is where those wait who can be served together. Who comes while fewer than so many
// lead, leads. The others wait until a leader has served them or, in the order of arrival,
// until they lead themselves. The zero value is an empty line.
type line[T any] struct {
	mu      sync.Mutex
	leaders int
	waiting list.List // of *place[T]
	arrived int64     // how many have ever waited
}

// place is where one waits.
type place[T any] struct {
	of     T
	number int64         // the line's arrived, with it
	at     *list.Element // nil once it was called
	called chan bool     // true: lead; false: it has been served
}

// enter returns when of is to lead, which ends with next, or has been served. An error is
// for who has left the line, having had no effect: its ctx has ended, the engine was silent
// for too long, the store is closed. Who was called before that stays until it is served.
func (l *line[T]) enter(ctx context.Context, s *Store, op string, of T, leaders int) (lead bool, err error) {
	p := l.queue(of, leaders)
	if p == nil {
		return true, nil
	}
	waiting, v := keepVigil(ctx, s.engine.patience)
	defer v.end()
	select {
	case lead := <-p.called:
		return lead, nil
	case <-waiting.Done():
		err = s.asker(op).failed(ctx, v.why(ctx.Err()))
	case <-s.closed:
		err = errClosed
	}
	switch {
	case l.leave(p):
		return false, err
	case <-p.called:
		l.next()
		return false, err
	}
	return false, nil
}

// queue returns the place of one that has to wait, and nil to one that leads.
func (l *line[T]) queue(of T, leaders int) *place[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaders < leaders {
		l.leaders++
		return nil
	}
	l.arrived++
	p := &place[T]{of: of, number: l.arrived, called: make(chan bool, 1)}
	p.at = l.waiting.PushBack(p)
	return p
}

// next is for who has led: the next one does.
func (l *line[T]) next() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first := l.waiting.Front(); first != nil {
		l.call(first).called <- true
		return
	}
	l.leaders--
}

// call takes one out of the line.
func (l *line[T]) call(at *list.Element) *place[T] {
	p := l.waiting.Remove(at).(*place[T])
	p.at = nil
	return p
}

// leave reports whether p was still waiting; now it is not.
func (l *line[T]) leave(p *place[T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.at == nil {
		return false
	}
	l.call(p.at)
	return true
}

// take calls those whom want wants, asking in their order until it wants no more. Who takes
// somebody serves them and says so.
func (l *line[T]) take(want func(p *place[T]) (it, more bool)) []*place[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []*place[T]
	more := true
	for at := l.waiting.Front(); at != nil && more; {
		var it bool
		following := at.Next()
		if it, more = want(at.Value.(*place[T])); it {
			taken = append(taken, l.call(at))
		}
		at = following
	}
	return taken
}

// newest returns the number of who came last.
func (l *line[T]) newest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arrived
}

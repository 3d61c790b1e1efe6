package doorward

import (
	"sync"
	"time"
)

// sessionSet remembers something about sessions until a time each has of its own, in
// memory that is bounded by what is still worth remembering: entries lie in generations
// by the time they may be forgotten, and a generation whose time has passed is dropped
// whole, so that forgetting pauses nobody. Safe for concurrent use.
type sessionSet[V any] struct {
	width time.Duration // of a generation; entries live at most about twice as long as asked
	mu    sync.RWMutex
	gens  []*sessionGeneration[V] // in order of end
}

type sessionGeneration[V any] struct {
	end     int64 // Unix milliseconds after which no entry is needed
	entries map[string]sessionEntry[V]
}

type sessionEntry[V any] struct {
	until int64
	value V
}

// newSessionSet makes a set whose generations span width, best the longest life of an
// access token: then a look-up probes two or three.
func newSessionSet[V any](width time.Duration) *sessionSet[V] {
	return &sessionSet[V]{width: max(width, time.Minute)}
}

// add remembers v for session id until the time until, or longer. Adding again keeps the
// later time and the newer value. It drops nothing: what is over is for sweep alone.
func (s *sessionSet[V]) add(id string, v V, until time.Time) {
	u := until.UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gens {
		if e, ok := g.entries[id]; ok {
			if u <= g.end {
				g.entries[id] = sessionEntry[V]{max(e.until, u), v}
				return
			}
			delete(g.entries, id)
			break
		}
	}
	width := s.width.Milliseconds()
	end := (u/width + 1) * width
	for i, g := range s.gens {
		if g.end == end {
			g.entries[id] = sessionEntry[V]{u, v}
			return
		}
		if g.end > end {
			s.gens = append(s.gens, nil)
			copy(s.gens[i+1:], s.gens[i:])
			s.gens[i] = &sessionGeneration[V]{end, map[string]sessionEntry[V]{id: {u, v}}}
			return
		}
	}
	s.gens = append(s.gens, &sessionGeneration[V]{end, map[string]sessionEntry[V]{id: {u, v}}})
}

// get returns what is remembered of session id. An entry may be returned a while after
// its time: by then no token of the session is good anyway. It never comes early.
func (s *sessionSet[V]) get(id string) (V, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.gens {
		if e, ok := g.entries[id]; ok {
			return e.value, true
		}
	}
	var zero V
	return zero, false
}

// sweep drops the generations that are over.
func (s *sessionSet[V]) sweep(now time.Time) {
	n := now.UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.gens) > 0 && s.gens[0].end <= n {
		s.gens[0] = nil
		s.gens = s.gens[1:]
	}
}

// clear forgets everything.
func (s *sessionSet[V]) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gens = nil
}

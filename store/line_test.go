package store

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

func TestWhoLeavesWhenCalledToLeadLetsTheNextOne(t *testing.T) {
	t.Parallel()
	s := &Store{closed: make(chan struct{})}
	for range 200 {
		var l line[int]
		if lead, err := l.enter(t.Context(), s, "lead", 0, 1); !lead || err != nil {
			t.Fatal(lead, err)
		}
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				lead, err := l.enter(ctx, s, "lead", i, 1)
				if lead {
					l.next()
				}
				if lead != (err == nil) {
					t.Errorf("leads %v, error %v", lead, err)
				}
			})
		}
		for l.newest() < 3 {
			runtime.Gosched()
		}
		leave() // and before they have noticed:
		l.next()
		all.Wait()
		if l.leaders != 0 || l.waiting.Len() != 0 {
			t.Fatalf("%d lead and %d wait for ever", l.leaders, l.waiting.Len())
		}
	}
}

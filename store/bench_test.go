package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"doorward"
)

// sixtyFour does n things, 64 callers at a time, and returns how long that took.
func sixtyFour(b *testing.B, n int, do func(i int64) error) time.Duration {
	b.Helper()
	const callers = 64
	var next, failed atomic.Int64
	done := make(chan struct{})
	began := time.Now()
	for range callers {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				if do(i) != nil {
					failed.Add(1)
				}
			}
		}()
	}
	for range callers {
		<-done
	}
	took := time.Since(began)
	if failed.Load() > 0 {
		b.Fatalf("%d of %d failed", failed.Load(), n)
	}
	return took
}

// beside does b.N things as the store does them and, in between and without counting them,
// some as it would if each had a transaction of its own. It reports how much longer these
// take, which on a busy machine means more than how long.
func beside(b *testing.B, s *Store, do func(i int64) error) {
	b.Helper()
	const step, sample = 2048, 512
	shared, apart := s.engine, s.engine
	apart.together, apart.batch = 0, nil
	var took, alone time.Duration
	var compared int
	b.ReportAllocs()
	b.ResetTimer()
	for n := b.N; n > 0; n -= step {
		b.StopTimer()
		s.engine = apart
		alone += sixtyFour(b, sample, do)
		compared += sample
		s.engine = shared
		b.StartTimer()
		took += sixtyFour(b, min(n, step), do)
	}
	b.StopTimer()
	b.ReportMetric(float64(alone)/float64(compared)*float64(b.N)/float64(took), "x")
	b.ReportMetric(float64(alone.Nanoseconds())/float64(compared), "ns/alone")
}

// advancing refreshes sessions in turn.
func advancing(b *testing.B, s *Store, c *clock) func(i int64) error {
	b.Helper()
	const sessions = 256
	for i := range sessions {
		if err := s.CreateSession(b.Context(), session(fmt.Sprintf("ses_%d", i), "tok_1", c), sessions, noted); err != nil {
			b.Fatal(err)
		}
	}
	return func(i int64) error {
		_, err := s.AdvanceRefresh(b.Context(), fmt.Sprintf("ses_%d", i%sessions), func(at doorward.RefreshState) doorward.RefreshDecision {
			chain := at.Session.Chain
			chain.Prev, chain.Head, chain.Gen = chain.Head, fmt.Sprintf("jti_%d", i), chain.Gen+1
			return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: chain, AccessUntil: at.Now}
		}, noted)
		return err
	}
}

func BenchmarkSignIn64(b *testing.B) {
	s, c := open(b, filepath.Join(b.TempDir(), "doorward.db"))
	const users = 100
	var next atomic.Int64
	for i := range users {
		if err := s.CreateUser(b.Context(), person(fmt.Sprintf("usr_%d", i), fmt.Sprintf("user%d", i)), hash, noted); err != nil {
			b.Fatal(err)
		}
	}
	beside(b, s, func(i int64) error {
		n := session(fmt.Sprintf("ses_%d", next.Add(1)), fmt.Sprintf("usr_%d", i%users), c)
		return s.SignIn(b.Context(), n, 0, "user", 1<<30, noted)
	})
}

func BenchmarkAdvanceRefresh64(b *testing.B) {
	s, c := open(b, filepath.Join(b.TempDir(), "doorward.db"))
	beside(b, s, advancing(b, s, c))
}

func BenchmarkAdvanceRefresh1(b *testing.B) {
	s, c := open(b, filepath.Join(b.TempDir(), "doorward.db"))
	one(b, advancing(b, s, c))
}

func one(b *testing.B, do func(i int64) error) {
	b.Helper()
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		if err := do(i); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSessionLimit is one caller more for a credential with 10,000 live sessions.
func BenchmarkSessionLimit(b *testing.B) {
	s, c := open(b, filepath.Join(b.TempDir(), "doorward.db"))
	const limit = 10_000
	err := s.write(b.Context(), "fill", func(ctx context.Context, t *tx) error {
		for i := range limit {
			n := session(fmt.Sprintf("ses_%d", i), "tok_1", c)
			n.Ends = n.Ends.Add(time.Duration(i) * time.Second)
			if err := t.insertSession(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		err := s.CreateSession(b.Context(), session("ses_more", "tok_1", c), limit, noted)
		if doorward.Refusal(err).Code != doorward.CodeThrottled {
			b.Fatal(err)
		}
	}
}

func BenchmarkSession(b *testing.B) {
	s, c := open(b, filepath.Join(b.TempDir(), "doorward.db"))
	if err := s.CreateSession(b.Context(), session("ses_1", "tok_1", c), 1, noted); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, found, err := s.Session(b.Context(), "ses_1"); err != nil || !found {
			b.Fatal(found, err)
		}
	}
}

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

// sixtyFour does b.N things, 64 callers at a time.
func sixtyFour(b *testing.B, do func(i int64) error) {
	b.Helper()
	const callers = 64
	b.ReportAllocs()
	var next, failed atomic.Int64
	done := make(chan struct{})
	b.ResetTimer()
	for range callers {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				i := next.Add(1)
				if i > int64(b.N) {
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
	b.StopTimer()
	if failed.Load() > 0 {
		b.Fatalf("%d of %d failed", failed.Load(), b.N)
	}
}

func BenchmarkSignIn64(b *testing.B) {
	s, c := open(b, filepath.Join(b.TempDir(), "doorward.db"))
	const users = 100
	for i := range users {
		if err := s.CreateUser(b.Context(), person(fmt.Sprintf("usr_%d", i), fmt.Sprintf("user%d", i)), hash, noted); err != nil {
			b.Fatal(err)
		}
	}
	sixtyFour(b, func(i int64) error {
		n := session(fmt.Sprintf("ses_%d", i), fmt.Sprintf("usr_%d", i%users), c)
		return s.SignIn(b.Context(), n, 0, "user", 1<<30, noted)
	})
}

func BenchmarkAdvanceRefresh64(b *testing.B) {
	s, c := open(b, filepath.Join(b.TempDir(), "doorward.db"))
	const sessions = 256
	for i := range sessions {
		if err := s.CreateSession(b.Context(), session(fmt.Sprintf("ses_%d", i), "tok_1", c), sessions, noted); err != nil {
			b.Fatal(err)
		}
	}
	sixtyFour(b, func(i int64) error {
		_, err := s.AdvanceRefresh(b.Context(), fmt.Sprintf("ses_%d", i%sessions), func(at doorward.RefreshState) doorward.RefreshDecision {
			jti, gen := at.Session.Chain.Newest()
			chain, outcome := at.Session.Chain.Present(jti, gen, at.Now, doorward.RefreshRules{}, func() string { return fmt.Sprintf("jti_%d", i) })
			return doorward.RefreshDecision{Outcome: outcome, Chain: chain, AccessUntil: at.Now}
		}, noted)
		return err
	})
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

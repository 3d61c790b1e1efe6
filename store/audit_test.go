package store

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"doorward"
)

// auditPages are the ways to ask for a page.
var auditPages = map[string]doorward.AuditQuery{
	"all":     {Orgs: []string{"default", ""}},
	"command": {},
	"action":  {Action: "user.change", Orgs: []string{"default", ""}},
	"family":  {Action: "user.", Orgs: []string{"default", ""}},
	"actor":   {Actor: "usr_7", Orgs: []string{"default", ""}},
	"target":  {Target: "usr_target7", Orgs: []string{"default", ""}},
	"request": {RequestID: "r700", Orgs: []string{"default", ""}},
}

// fillAudit writes n entries, a second apart.
func fillAudit(tb testing.TB, s *Store, from, n int) {
	tb.Helper()
	actions := []string{"user.create", "user.change", "session.create", "session.end", "key.create", "user.password", "user.sign_in"}
	for n > 0 {
		step := min(n, 10_000)
		err := s.write(context.Background(), "fill", func(ctx context.Context, t *tx) error {
			for i := from; i < from+step; i++ {
				a := noted
				a.Action, a.Actor, a.Target, a.RequestID = actions[i%len(actions)], fmt.Sprintf("usr_%d", i%11), fmt.Sprintf("usr_target%d", i%13), fmt.Sprintf("r%d", i)
				if i%17 == 0 {
					a.Org = ""
				}
				if err := t.audit(ctx, time.UnixMilli(int64(1_700_000_000_000+i*1000)), a); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
		from, n = from+step, n-step
	}
}

// BenchmarkAuditPage is a page of a hundred, of each kind, at 1,000 entries and at 200,000,
// and reports how the two compare.
func BenchmarkAuditPage(b *testing.B) {
	small, _ := open(b, filepath.Join(b.TempDir(), "small.db"))
	large, _ := open(b, filepath.Join(b.TempDir(), "large.db"))
	fillAudit(b, small, 0, 1000)
	fillAudit(b, large, 0, 200_000)
	for name, q := range auditPages {
		b.Run(name, func(b *testing.B) {
			q.Limit = 101
			var few, many time.Duration
			for b.Loop() {
				for _, of := range []struct {
					s    *Store
					took *time.Duration
				}{{small, &few}, {large, &many}} {
					began := time.Now()
					if _, err := of.s.Audit(b.Context(), q); err != nil {
						b.Fatal(err)
					}
					*of.took += time.Since(began)
				}
			}
			b.ReportMetric(float64(many)/float64(few), "x")
			b.ReportMetric(float64(many.Nanoseconds())/float64(b.N), "ns/page")
		})
	}
}

// BenchmarkCountByHour is what an overview counts of the last 30 days: at 1,000 entries, at a million, a
// second apart, and at a million that are all counted. x is how much longer the second takes than the first.
func BenchmarkCountByHour(b *testing.B) {
	for name, open := range map[string]func(b *testing.B) *Store{
		"SQLite": func(b *testing.B) *Store { s, _ := open(b, newPath(b)); return s },
		"PostgreSQL": func(b *testing.B) *Store {
			s, _ := openURL(b, postgres.Database(b), postgresOptions{readers: 2, writers: 2, patience: time.Minute})
			return s
		},
	} {
		b.Run(name, func(b *testing.B) {
			const million = 1_000_000
			end := time.UnixMilli(1_700_000_000_000 + million*1000)
			few, many := open(b), open(b)
			fillAudit(b, few, million-1000, 1000)
			fillAudit(b, many, 0, million)
			ask := func(s *Store, orgs ...string) time.Duration {
				began := time.Now()
				if got, err := s.CountByHour(b.Context(), orgs, end.Add(-30*24*time.Hour)); err != nil || len(got) == 0 {
					b.Fatal(got, err)
				}
				return time.Since(began)
			}
			var a, z time.Duration
			for b.Loop() {
				a += ask(few, "default", "")
				z += ask(many, "default", "")
			}
			b.ReportMetric(float64(z)/float64(a), "x")
			b.ReportMetric(float64(z.Microseconds())/float64(b.N), "us/million")
		})
	}
}

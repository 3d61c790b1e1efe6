package store

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"doorward"
)

// people fills organization default with n users, each with a session. Half of the names begin alike, and none holds a q.
func people(b *testing.B, s *Store, n int) {
	b.Helper()
	err := s.writeAlone(b.Context(), "fill", func(ctx context.Context, t *tx) error {
		for _, text := range []string{
			`INSERT INTO users (id, username, canonical, password, role, org, disabled, must_change, version, created, updated)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ` + strconv.Itoa(n) + `),
				named (i, name) AS (SELECT i, CASE WHEN i % 2 = 0 THEN 'user' || (1000000 + i) || '@example.com' ELSE 'b-' || (1000000 + i) END FROM n)
			SELECT 'usr_' || i, name, name, '', 'viewer', 'default', 0, 0, 0, 0, 0 FROM named`,
			`INSERT INTO memberships (user_id, org, workspace) SELECT id, org, 'default' FROM users`,
			`INSERT INTO sessions (id, kind, subject, credential, configured, terms, org, workspaces, created, ends, access_until, ended, end_reason,
				prev, head, child, gen, fork, minted, address, user_agent, listed)
			SELECT 'ses_' || id, 'user', id, id, 0, '', org, 'default', 0, 9999999999999, 0, 0, '', '', '', '', 0, 0, 0, '', '', canonical FROM users`,
			`ANALYZE`,
		} {
			if _, err := t.exec(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkList is a page of a list of 100,000, and of a search in it. x is how much longer it takes than with
// 1,000: at most 3, wherever the page begins and whatever is searched for.
func BenchmarkList(b *testing.B) {
	engines := map[string]func(b *testing.B) *Store{
		"SQLite": func(b *testing.B) *Store { s, _ := open(b, newPath(b)); return s },
		"PostgreSQL": func(b *testing.B) *Store {
			s, _ := openURL(b, postgres.Database(b), postgresOptions{readers: 2, writers: 2, patience: time.Minute})
			return s
		},
	}
	for name, open := range engines {
		b.Run(name, func(b *testing.B) {
			few, many := open(b), open(b)
			people(b, few, 1000)
			people(b, many, 100_000)
			query := func(q doorward.UserQuery) func(s *Store) error {
				q.Org, q.Limit = doorward.Default, 100
				return func(s *Store) error {
					_, _, err := s.Users(b.Context(), q)
					return err
				}
			}
			sessions := func(q doorward.OrgSessionQuery, may bool) func(s *Store) error {
				q.Org, q.Limit = doorward.Default, 100
				return func(s *Store) error {
					_, _, err := s.OrgSessions(b.Context(), q, func(doorward.HeldSession) bool { return may })
					return err
				}
			}
			for _, what := range []struct {
				name string
				ask  func(s *Store) error
			}{
				{"first page", query(doorward.UserQuery{})},
				{"page in the middle", query(doorward.UserQuery{After: "user10005"})},
				{"search of a beginning", query(doorward.UserQuery{Search: "user"})},
				{"search of one", query(doorward.UserQuery{Search: "user100050"})},
				{"search of a part", query(doorward.UserQuery{Search: "example"})},
				{"search of nothing", query(doorward.UserQuery{Search: "q"})},
				{"search of nothing, on", query(doorward.UserQuery{Search: "q", After: "~9"})},
				{"sessions", sessions(doorward.OrgSessionQuery{}, true)},
				{"sessions in the middle", sessions(doorward.OrgSessionQuery{After: doorward.SessionPlace{Listed: "user10005", ID: "x"}}, true)},
				{"sessions of one", sessions(doorward.OrgSessionQuery{Search: "user100050"}, true)},
				{"sessions of nobody", sessions(doorward.OrgSessionQuery{Search: "q"}, true)},
				{"sessions that are not shown", sessions(doorward.OrgSessionQuery{}, false)},
				{"members", func(s *Store) error {
					_, err := s.Members(b.Context(), doorward.MemberQuery{Org: doorward.Default, Workspace: doorward.Default, After: "usr_500", Limit: 100})
					return err
				}},
			} {
				b.Run(what.name, func(b *testing.B) {
					took := func(s *Store) time.Duration {
						began := time.Now()
						if err := what.ask(s); err != nil {
							b.Fatal(err)
						}
						return time.Since(began)
					}
					var of [2][]time.Duration
					for b.Loop() {
						of[0], of[1] = append(of[0], took(few)), append(of[1], took(many))
					}
					for i := range of {
						slices.Sort(of[i])
					}
					a, z := of[0][len(of[0])/2], of[1][len(of[1])/2]
					b.ReportMetric(float64(z)/float64(a), "x")
					b.ReportMetric(float64(a.Microseconds()), "us/1000")
					b.ReportMetric(float64(z.Microseconds()), "us/100000")
				})
			}
		})
	}
}

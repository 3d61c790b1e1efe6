package app

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorward"
	frontdoor "doorward/door"
)

// crowd is a whole server without a listener, with n users beside root, and root's cookie.
func crowd(b *testing.B, n int) (h *house, cookie string) {
	b.Helper()
	d := &door{dir: b.TempDir(), log: &logBuffer{}, flags: map[string]string{}}
	d.flags["data_dir"], d.flags["log.level"] = d.dir, "error"
	l := load(sources{flags: d.flags})
	if err := l.err(); err != nil {
		b.Fatal(err)
	}
	h, err := openWith(b.Context(), l.Settings, slog.New(slog.NewTextHandler(d.log, nil)), time.Now, func(c *frontdoor.Config) {
		c.Hashing = doorward.HasherConfig{Memory: 64, Time: 1}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := h.Close(); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(h.runBeside(context.Background()))
	by := doorward.Caller{}
	if _, err := h.authority.CreateFirstUser(b.Context(), by, h.authority.SetupCode(), nil, doorward.NewUser{Username: "root", Password: rootPassword}); err != nil {
		b.Fatal(err)
	}
	in, err := h.authority.SignIn(b.Context(), by, "root", rootPassword)
	if err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+d.dir+"/doorward.db?_pragma=busy_timeout(10000)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		`INSERT INTO users (id, username, canonical, password, role, org, disabled, must_change, version, created, updated)
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ` + strconv.Itoa(n) + `),
			named (i, name) AS (SELECT i, CASE WHEN i % 2 = 0 THEN 'user' || (1000000 + i) || '@example.com' ELSE 'b-' || (1000000 + i) END FROM n)
		SELECT 'usr_' || i, name, name, '', 'viewer', 'default', 0, 0, 0, 0, 0 FROM named`,
		`INSERT INTO memberships (user_id, org, workspace) SELECT id, org, 'default' FROM users WHERE id LIKE 'usr\_%' ESCAPE '\' AND username <> 'root'`,
		`ANALYZE`,
	} {
		if _, err := db.ExecContext(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
	return h, in.Cookie
}

// BenchmarkUsersPage is the page of users with 100,000 of them, and a search in it, as the browser gets it. x is how
// much longer it takes than with 1,000: at most 3.
func BenchmarkUsersPage(b *testing.B) {
	few, fewCookie := crowd(b, 1000)
	many, manyCookie := crowd(b, 100_000)
	for _, what := range []struct{ name, query string }{
		{"first page", ""},
		{"page in the middle", "?after=user10005"},
		{"search of a beginning", "?search=user"},
		{"search of a part", "?search=example"},
		{"search of nothing", "?search=q"},
	} {
		b.Run(what.name, func(b *testing.B) {
			comparePages(b, usersAt+what.query, "<h1>Users</h1>", few, many, fewCookie, manyCookie)
		})
	}
}

// comparePages measures a page in a house with few and in one with many.
func comparePages(b *testing.B, at, holds string, few, many *house, fewCookie, manyCookie string) {
	took := func(h *house, cookie string) time.Duration {
		r := httptest.NewRequest("GET", "http://localhost"+at, nil)
		r.Header.Set("Cookie", "brokoli_session="+cookie)
		r.Header.Set("Sec-Fetch-Site", "none")
		w := httptest.NewRecorder()
		began := time.Now()
		h.handler.ServeHTTP(w, r)
		d := time.Since(began)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), holds) {
			b.Fatalf("status %d: %s", w.Code, w.Body)
		}
		return d
	}
	var of [2][]time.Duration
	for b.Loop() {
		of[0], of[1] = append(of[0], took(few, fewCookie)), append(of[1], took(many, manyCookie))
	}
	for i := range of {
		slices.Sort(of[i])
	}
	a, z := of[0][len(of[0])/2], of[1][len(of[1])/2]
	b.ReportMetric(float64(z)/float64(a), "x")
	b.ReportMetric(float64(a.Microseconds()), "us/1000")
	b.ReportMetric(float64(z.Microseconds()), "us/100000")
}

// BenchmarkSessionsPage is likewise the page of an organization's sessions, half of them people's, as a superadmin
// sees it and as an admin does who may end none but the last of them.
func BenchmarkSessionsPage(b *testing.B) {
	filled := func(n int) (h *house, root, boss string) {
		h, root = crowd(b, n)
		db, err := sql.Open("sqlite", "file:"+h.settings.DataDir+"/doorward.db?_pragma=busy_timeout(10000)")
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		for _, text := range []string{
			`INSERT INTO sessions (id, kind, subject, credential, configured, terms, org, workspaces, created, ends, access_until, ended, end_reason,
				prev, head, child, gen, fork, minted, address, user_agent, listed)
			SELECT 'ses_' || u.id, 'user', u.id, u.id, 0, '', 'default', 'default', s.created, s.ends, s.access_until, 0, '', '', '', '', 0, 0, 0, '192.0.2.1', 'curl', u.canonical
			FROM users u, (SELECT * FROM sessions LIMIT 1) s WHERE u.canonical LIKE 'user%'
			UNION ALL SELECT 'ses_' || u.id, 'client', u.canonical, 'tok_gone', 0, '', 'default', 'default', s.created, s.ends, s.access_until, 0, '', '', '', '', 0, 0, 0, '192.0.2.1', 'curl', u.canonical
			FROM users u, (SELECT * FROM sessions LIMIT 1) s WHERE u.canonical LIKE 'b-%'`,
			`INSERT INTO workspaces (org, id, name, created) VALUES ('default', 'lab', 'lab', 0)`,
			`ANALYZE`,
		} {
			if _, err := db.ExecContext(b.Context(), text); err != nil {
				b.Fatal(err)
			}
		}
		by := doorward.Caller{Identity: doorward.Identity{Kind: doorward.KindUser, Role: doorward.Superadmin, Org: doorward.Default, Workspaces: doorward.Default, Workspace: doorward.Default}}
		if _, err := h.authority.CreateUser(b.Context(), by, doorward.NewUser{Username: "zz-boss", Password: rootPassword, Role: "admin", Workspaces: []string{"lab"}}); err != nil {
			b.Fatal(err)
		}
		in, err := h.authority.SignIn(b.Context(), doorward.Caller{}, "zz-boss", rootPassword)
		if err != nil {
			b.Fatal(err)
		}
		return h, root, in.Cookie
	}
	few, fewRoot, fewBoss := filled(1000)
	many, manyRoot, manyBoss := filled(100_000)
	for _, what := range []struct{ name, query string }{
		{"first page", ""},
		{"search of a beginning", "?search=user"},
		{"search of one", "?search=user1000500"},
		{"search of a part", "?search=example"},
		{"search of nothing", "?search=q"},
	} {
		b.Run(what.name, func(b *testing.B) {
			comparePages(b, sessionsAt+what.query, "<h1>Sessions</h1>", few, many, fewRoot, manyRoot)
		})
	}
	b.Run("to who may end one", func(b *testing.B) {
		comparePages(b, sessionsAt, "<h1>Sessions</h1>", few, many, fewBoss, manyBoss)
	})
}

//go:build unix

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"doorward"
	"doorward/pgtest"
	"doorward/storetest"
)

// postgres is the server for all tests but those that do it harm.
var postgres = pgtest.Shared{
	Config: pgtest.Config{Fast: true},
	Prepare: func(url string) error {
		s, err := OpenPostgres(context.Background(), url)
		if err != nil {
			return err
		}
		return s.Close()
	},
}

func stopServers() error { return postgres.Stop() }

// openURL opens a store that is closed when t ends, and reads its clock.
func openURL(t testing.TB, url string, o postgresOptions) (*Store, *clock) {
	t.Helper()
	s, err := openPostgres(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	now, err := s.engine.now(t.Context(), s.asker("read the clock"))
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{}
	c.ms.Store(now.UnixMilli())
	return s, c
}

// behind opens the database without the store, to hold locks and look at things.
func behind(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func execute(t testing.TB, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, text string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// blocked waits until somebody waits for a lock in db's database.
func blocked(t testing.TB, db *sql.DB) {
	t.Helper()
	began := time.Now()
	for n := 0; n == 0; {
		if time.Since(began) > soon {
			t.Fatal("nobody waits for a lock")
		}
		err := db.QueryRowContext(t.Context(), `
			SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// with returns a URL with one more parameter.
func with(t testing.TB, text string, pairs ...string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func TestPostgresConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) (doorward.Store, func(time.Duration)) {
		s, _ := openURL(t, postgres.Database(t), postgresDefaults)
		// The server's clock, which nobody can move, and how far ahead of it this store is.
		var ahead atomic.Int64
		s.engine.now = func(ctx context.Context, a asker) (time.Time, error) {
			now, err := postgresNow(ctx, a)
			return now.Add(time.Duration(ahead.Load())), err
		}
		return s, func(d time.Duration) { ahead.Add(int64(d)) }
	})
}

func TestEveryPostgresConnectionIsAsItMustBe(t *testing.T) {
	t.Parallel()
	// What is asked for here is what a server's or a user's defaults may say.
	text := with(t, postgres.Database(t), "synchronous_commit", "off", "default_transaction_isolation", "serializable",
		"statement_timeout", "0", "lock_timeout", "0", "target_session_attrs", "standby")
	s, _ := openURL(t, text, postgresDefaults)
	if err := s.MarkInitialised(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := <-s.turns
	defer func() { s.turns <- w }()
	for w.conn == nil {
		s.turns <- w
		w = <-s.turns
	}
	reader, err := s.readers.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for name, conn := range map[string]*sql.Conn{"writer": w.conn, "reader": reader} {
		for setting, want := range map[string]string{
			"synchronous_commit": "on", "transaction_isolation": "read committed", "transaction_read_only": "off",
			"lock_timeout": "4s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "10s", "application_name": "doorward",
		} {
			var got string
			if err := conn.QueryRowContext(t.Context(), `SELECT current_setting($1)`, setting).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %q, error %v, want %q", name, setting, got, err, want)
			}
		}
	}
	for _, stronger := range []string{"on", "remote_apply"} {
		s, _ := openURL(t, with(t, text, "synchronous_commit", stronger), postgresDefaults)
		var got string
		if err := s.readers.QueryRowContext(t.Context(), `SHOW synchronous_commit`).Scan(&got); err != nil || got != stronger {
			t.Errorf("synchronous_commit is %q, error %v, want %q", got, err, stronger)
		}
	}
}

func TestOpenPostgresSaysWhyNot(t *testing.T) {
	t.Parallel()
	cluster := postgres.Cluster(t)
	fresh := func(statements ...string) string {
		u := cluster.Database(t)
		for _, text := range statements {
			cluster.Exec(t, u, text)
		}
		return u
	}
	role := func(name, text, privileges string) {
		cluster.Exec(t, cluster.URL(), fmt.Sprintf("CREATE ROLE %s LOGIN %s", name, privileges))
		t.Cleanup(func() { cluster.Exec(t, cluster.URL(), "DROP ROLE "+name) })
	}
	role("reason_guest", "", "")
	role("reason_few", "", "CONNECTION LIMIT 0")
	as := func(user, text string) string {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(user, "hush")
		return u.String()
	}
	newer := postgres.Database(t)
	cluster.Exec(t, newer, "INSERT INTO doorward_version (version_id, is_applied) VALUES (99, true)")
	readOnly := fresh()
	cluster.Exec(t, readOnly, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$")
	latin := "t_latin1"
	cluster.Exec(t, cluster.URL(), "CREATE DATABASE "+latin+" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	t.Cleanup(func() { cluster.Exec(t, cluster.URL(), "DROP DATABASE "+latin) })
	in := func(database string) string {
		u, err := url.Parse(cluster.URL())
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + database
		return u.String()
	}
	// What is found there is left alone.
	recipes := fresh("CREATE TABLE users (recipe TEXT)", "INSERT INTO users VALUES ('soup')")

	for _, c := range []struct{ name, url, want string }{
		{"nobody there", "postgres://me:hush@127.0.0.1:1/db?sslmode=disable", "nothing answers there; is the server running?"},
		{"no such host", "postgres://me:hush@nowhere.invalid/db?sslmode=disable", "there is no host nowhere.invalid"},
		{"no such database", in("nowhere"), `database "nowhere" does not exist; create it first`},
		{"no such user", as("nobody_here", cluster.URL()), `role "nobody_here" does not exist; check the user, the password and the server's pg_hba.conf`},
		{"no such schema", with(t, fresh(), "search_path", "nowhere"), "no schema has been selected to create in; create the schema that search_path names"},
		{"no such setting", with(t, fresh(), "nonsense", "1"), `FATAL: unrecognized configuration parameter "nonsense"`},
		{"may not create", as("reason_guest", fresh("REVOKE CREATE ON SCHEMA public FROM PUBLIC")), "permission denied for schema public; the user must own the database or be granted CREATE on its schema"},
		{"no connection left", as("reason_few", fresh()), `too many connections for role "reason_few"; raise the server's max_connections`},
		{"another's", recipes, `relation "users" already exists, and not by this program; give it a database of its own, or a schema (?search_path=doorward)`},
		{"newer", newer, "it was written by a newer version of this program (schema 99, this one knows " + newestSchema(t, "postgres") + "); use that version"},
		{"read-only", readOnly, "it lets nothing be written (default_transaction_read_only is on); give the address of a primary, or a user who may write"},
		{"Latin 1", in(latin), "its encoding is not UTF8; create the database with ENCODING 'UTF8'"},
		{"no certificate", with(t, fresh(), "sslmode", "verify-full"), "server refused TLS connection"},
	} {
		s, err := OpenPostgres(t.Context(), c.url)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			s.Close()
			continue
		}
		u, parseErr := url.Parse(c.url)
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		begin := fmt.Sprintf("cannot open store postgres://%s@%s%s: ", u.User.Username(), u.Host, u.Path)
		if rest, ok := strings.CutPrefix(err.Error(), begin); !ok || !strings.Contains(rest, c.want) || strings.ContainsAny(rest, "\n\t") {
			t.Errorf("%s: got %q, want %q", c.name, err, begin+c.want)
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %q shows the password", c.name, err)
		}
	}
	if got := cluster.Exec(t, recipes, "SELECT recipe FROM users"); got != "soup" {
		t.Errorf("another's table holds %q", got)
	}
	if got := cluster.Exec(t, recipes, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); got != "2" {
		t.Errorf("another's database has %s tables, want its own and that of versions", got)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := OpenPostgres(gone, fresh()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestThePasswordIsNeverShown(t *testing.T) {
	t.Parallel()
	certificate := filepath.Join(t.TempDir(), "no.crt")
	if err := os.WriteFile(certificate, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "hush", "host=h password=hush", "mysql://u:hush@127.0.0.1:1/db", "postgres:/u:hush@h/db", "postgres:u:hush@h/db",
		"postgres://u:hush@127.0.0.1:1/db?sslmode=disable",
		"postgresql://u:hush@127.0.0.1:1/db?sslmode=disable",
		"postgres://u:hu%73h@127.0.0.1:1/db?sslmode=disable",
		"postgres://u:hush%zz@127.0.0.1:1/db",
		"postgres://u:%zzhush@127.0.0.1:1/db",
		"postgres://u:1/hush@127.0.0.1:1/db",
		"postgres://u:1/hush?x=y@127.0.0.1:1/db",
		"postgres://u:hush/1@127.0.0.1:1/db",
		"postgres://u:1@hush@127.0.0.1:1/db",
		"postgres://u:1@hush:2@127.0.0.1:1/db",
		"postgres://u:hush@1@127.0.0.1:1/db",
		"postgres://u:1:hush@127.0.0.1:1/db?sslmode=disable",
		"postgres://u:hush#1@127.0.0.1:1/db?sslmode=disable",
		"postgres://u:1#hush@127.0.0.1:1/db?sslmode=disable",
		"postgres://u:1?hush@127.0.0.1:1/db?sslmode=disable",
		"postgres://u:hush@127.0.0.1:99999/db",
		"postgres://u:hush@127.0.0.1:x/db",
		"postgres://u:hush@[::1/db",
		"postgres://u:hush@/db?host=127.0.0.1&port=1&sslmode=disable",
		"postgres://u@127.0.0.1:1/db?password=hush&sslmode=disable",
		"postgres://u@127.0.0.1:1/db?sslmode=nonsense&password=hush",
		"postgres://u@127.0.0.1:1/db?pass%77ord=hush&sslmode=nonsense",
		"postgres://u@127.0.0.1:1/db?password=hush=1",
		"postgres://u:hush@127.0.0.1:1/db?connect_timeout=x",
		"postgres://u:hush@127.0.0.1:1/db?target_session_attrs=x",
		"postgres://u:hush@127.0.0.1:1/db?sslmode=verify-full&sslrootcert=/nowhere",
		"postgres://u:hush@127.0.0.1:1/db?sslmode=verify-full&sslpassword=hush&sslkey=" + certificate + "&sslcert=" + certificate,
		"postgres://u:hush@127.0.0.1:1,127.0.0.1:2/db?sslmode=disable",
		"postgres://u:hush@127.0.0.1:1/db?sslmode=disable\x00",
	} {
		s, err := OpenPostgres(t.Context(), text)
		if err == nil {
			t.Errorf("%q: no error", text)
			s.Close()
			continue
		}
		if !strings.HasPrefix(err.Error(), "cannot open store") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %q", text, err)
		}
	}
}

func TestTheNextHostIsTried(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(postgres.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("postgres://%s@/%s?sslmode=disable&host=127.0.0.1,127.0.0.1&port=1,%s", u.User.Username(), strings.TrimPrefix(u.Path, "/"), u.Port())
	s, _ := openURL(t, text, postgresDefaults)
	if err := s.MarkInitialised(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestManyNodesOpenOneNewDatabase(t *testing.T) {
	t.Parallel()
	text := postgres.Cluster(t).Database(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := openPostgres(t.Context(), text, postgresOptions{readers: 1, writers: 1, patience: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.MarkInitialised(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s, _ := openURL(t, text, postgresDefaults)
	if st, err := s.State(t.Context()); err != nil || !st.Initialised {
		t.Errorf("state %+v, error %v", st, err)
	}
	var applied int
	if err := s.readers.QueryRowContext(t.Context(), `SELECT count(*) FROM doorward_version WHERE version_id = 1`).Scan(&applied); err != nil || applied != 1 {
		t.Errorf("the first migration was applied %d times, error %v", applied, err)
	}
}

func TestASchemaOfItsOwn(t *testing.T) {
	t.Parallel()
	text := postgres.Cluster(t).Database(t)
	db := behind(t, text)
	execute(t, db, `CREATE TABLE users (recipe TEXT)`)
	execute(t, db, `CREATE SCHEMA doorward`)
	for range 2 {
		s, c := openURL(t, with(t, text, "search_path", "doorward"), postgresDefaults)
		n := session(fmt.Sprintf("ses_%d", c.ms.Load()), "tok_1", c)
		if err := s.CreateSession(t.Context(), n, 10, noted); err != nil {
			t.Error(err)
		}
	}
	var sessions int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM doorward.sessions`).Scan(&sessions); err != nil || sessions != 2 {
		t.Errorf("%d sessions, error %v", sessions, err)
	}
}

// nodes opens as many stores on one new database.
func nodes(t *testing.T, n int) ([]*Store, *clock) {
	t.Helper()
	text := postgres.Database(t)
	var all []*Store
	var c *clock
	for range n {
		var s *Store
		s, c = openURL(t, text, postgresDefaults)
		all = append(all, s)
	}
	return all, c
}

// race lets n callers begin at the same moment and waits for all of them.
func race(n int, do func(i int)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	all.Wait()
}

func TestOneFirstUserAmongNodes(t *testing.T) {
	t.Parallel()
	on, _ := nodes(t, 2)
	var created atomic.Int64
	race(64, func(i int) {
		ok, err := on[i%2].CreateFirstUser(t.Context(), person(fmt.Sprintf("usr_%d", i), fmt.Sprintf("user%d", i)), hash, noted)
		if err != nil {
			t.Error(err)
		}
		if ok {
			created.Add(1)
		}
	})
	for i, s := range on {
		users, _, err := s.Users(t.Context(), doorward.UserQuery{Org: doorward.Default, Limit: 1000})
		if err != nil || created.Load() != 1 || len(users) != 1 {
			t.Errorf("node %d: %d first users, %d kept, error %v", i, created.Load(), len(users), err)
		}
	}
}

func TestNoMoreComparisonsThanAttemptsAmongNodes(t *testing.T) {
	t.Parallel()
	on, _ := nodes(t, 2)
	policy := doorward.LockoutPolicy{Attempts: 5, Window: time.Hour, Duration: time.Hour}
	var compared atomic.Int64
	race(1000, func(i int) {
		left, err := on[i%2].CountFailure(t.Context(), "anna", policy, noted)
		if err != nil {
			t.Error(err)
		}
		if err == nil && left == 0 {
			compared.Add(1)
		}
	})
	if compared.Load() != int64(policy.Attempts) {
		t.Errorf("%d guesses were compared, want %d", compared.Load(), policy.Attempts)
	}
	for i, s := range on {
		if left, err := s.LockedFor(t.Context(), "anna"); err != nil || left <= 0 {
			t.Errorf("node %d: locked for %v, error %v", i, left, err)
		}
	}
}

func TestOneSuccessorAmongNodes(t *testing.T) {
	t.Parallel()
	on, c := nodes(t, 2)
	n := session("ses_1", "tok_1", c)
	if err := on[0].CreateSession(t.Context(), n, 1, noted); err != nil {
		t.Fatal(err)
	}
	const callers = 64
	var made atomic.Int64
	children := make([]string, callers)
	race(callers, func(i int) {
		_, err := on[i%2].AdvanceRefresh(t.Context(), n.ID, func(at doorward.RefreshState) doorward.RefreshDecision {
			chain, outcome := at.Session.Chain.Present(n.Chain.Head, 0, n.Created.Unix(), at.Now, doorward.RefreshRules{RetryWindow: time.Hour}, func() string {
				made.Add(1)
				return fmt.Sprintf("child%d", i)
			})
			children[i], _ = chain.Newest()
			return doorward.RefreshDecision{Outcome: outcome, Chain: chain}
		}, noted)
		if err != nil {
			t.Error(err)
		}
	})
	if made.Load() != 1 || len(slices.Compact(children)) != 1 {
		t.Errorf("%d successors: %v", made.Load(), slices.Compact(children))
	}
}

func TestWhatOneNodeDoesTheOtherSeesAtOnce(t *testing.T) {
	t.Parallel()
	on, c := nodes(t, 2)
	ctx := t.Context()
	for i := range 20 {
		a, b := on[i%2], on[(i+1)%2]
		u := person(fmt.Sprintf("usr_%d", i), fmt.Sprintf("user%d", i))
		if err := a.CreateUser(ctx, u, hash, noted); err != nil {
			t.Fatal(err)
		}
		n := session("ses_"+u.ID, u.ID, c)
		if err := b.SignIn(ctx, n, 0, u.Username, 10, noted); err != nil {
			t.Fatalf("the user cannot sign in on the other node: %v", err)
		}
		if _, _, err := a.SetPassword(ctx, doorward.NewPassword{UserID: u.ID, Hash: hash, Reason: doorward.EndPassword}, anybody, noted); err != nil {
			t.Fatal(err)
		}
		if got, _, err := b.Session(ctx, n.ID); err != nil || got.Ended.IsZero() {
			t.Errorf("the session lives on, on the other node: %+v, error %v", got, err)
		}
		if err := b.SignIn(ctx, session("ses_late"+u.ID, u.ID, c), 0, u.Username, 10, noted); !errors.Is(err, doorward.ErrChanged) {
			t.Errorf("with the old password: %v", err)
		}
	}
}

// short are the options of a store that is soon out of patience.
var short = postgresOptions{readers: 2, writers: 2, patience: 500 * time.Millisecond}

func TestWhoWaitsForALockTooLongGetsAnError(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, short)
	n := session("ses_1", "tok_1", c)
	if err := s.CreateSession(t.Context(), n, 10, noted); err != nil {
		t.Fatal(err)
	}
	holding, err := behind(t, text).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holding.Rollback()
	execute(t, holding, `SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE`, n.ID)
	execute(t, holding, s.engine.nameLock, "lockout anna")
	for name, do := range map[string]func() error{
		"a row": func() error {
			_, _, err := s.EndSession(t.Context(), n.ID, doorward.EndSignedOut, noted)
			return err
		},
		"a name": func() error {
			_, err := s.CountFailure(t.Context(), "anna", lockSoon, noted)
			return err
		},
	} {
		began := time.Now()
		err := do()
		var said *pgconn.PgError
		if !errors.As(err, &said) && !errors.Is(err, errSilent) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
	if err := holding.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Session(t.Context(), n.ID); err != nil || !got.Ended.IsZero() {
		t.Errorf("who waited in vain had an effect: %+v, error %v", got, err)
	}
	if _, _, err := s.EndSession(t.Context(), n.ID, doorward.EndSignedOut, noted); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestWhoLeavesDoesNotWaitForALock(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, postgresOptions{readers: 1, writers: 1, patience: time.Hour})
	n := session("ses_1", "tok_1", c)
	if err := s.CreateSession(t.Context(), n, 10, noted); err != nil {
		t.Fatal(err)
	}
	db := behind(t, text)
	holding, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holding.Rollback()
	execute(t, holding, `SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE`, n.ID)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, _, err := s.EndSession(ctx, n.ID, doorward.EndSignedOut, noted)
		left <- err
	}()
	blocked(t, db)
	leave()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
	case <-time.After(soon):
		t.Fatal("it waits on")
	}
	if err := holding.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Session(t.Context(), n.ID); err != nil || !got.Ended.IsZero() {
		t.Errorf("who left had an effect: %+v, error %v", got, err)
	}
	if _, found, err := s.EndSession(t.Context(), n.ID, doorward.EndSignedOut, noted); err != nil || !found {
		t.Errorf("afterwards: found %v, error %v", found, err)
	}
}

func TestAFailureCountedDuringASuccessIsTheFirst(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, _ := openURL(t, text, postgresDefaults)
	for range lockSoon.Attempts - 1 {
		if _, err := s.CountFailure(t.Context(), "anna", lockSoon, noted); err != nil {
			t.Fatal(err)
		}
	}
	db := behind(t, text)
	success, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer success.Rollback()
	execute(t, success, `DELETE FROM lockouts WHERE account = 'anna'`)
	counted := make(chan error, 1)
	go func() {
		_, err := s.CountFailure(t.Context(), "anna", lockSoon, noted)
		counted <- err
	}()
	blocked(t, db)
	if err := success.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-counted; err != nil {
		t.Fatal(err)
	}
	if left, err := s.LockedFor(t.Context(), "anna"); err != nil || left != 0 {
		t.Errorf("locked for %v by failures that a success had cleared, error %v", left, err)
	}
}

func TestAFailureCountedDuringPruningIsKept(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, postgresDefaults)
	if _, err := s.CountFailure(t.Context(), "anna", lockSoon, noted); err != nil {
		t.Fatal(err)
	}
	db := behind(t, text)
	execute(t, db, `UPDATE lockouts SET last = 1`)
	failure, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer failure.Rollback()
	execute(t, failure, `UPDATE lockouts SET last = $1`, c.ms.Load()+time.Hour.Milliseconds())
	pruned := make(chan error, 1)
	go func() { pruned <- s.Prune(t.Context(), time.Minute) }()
	blocked(t, db)
	if err := failure.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-pruned; err != nil {
		t.Fatal(err)
	}
	var kept int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM lockouts`).Scan(&kept); err != nil || kept != 1 {
		t.Errorf("%d counters are left, error %v", kept, err)
	}
}

func TestWhoWaitsForAChangeSeesAllOfIt(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, _ := openURL(t, text, postgresDefaults)
	db := behind(t, text)
	execute(t, db, `INSERT INTO workspaces (org, id, name, created) VALUES ('default', 'cellar', 'cellar', 0)`)
	if err := s.CreateUser(t.Context(), person("usr_a", "anna"), hash, noted); err != nil {
		t.Fatal(err)
	}
	inside, moved := make(chan struct{}), make(chan error, 1)
	proceed, release := context.WithCancel(t.Context())
	defer release()
	go func() {
		_, _, _, err := s.ChangeUser(t.Context(), "usr_a", func(u doorward.User, _ doorward.Census) (doorward.User, error) {
			close(inside)
			<-proceed.Done()
			u.Role, u.Workspaces = doorward.Viewer, []string{"cellar"}
			return u, nil
		}, noted)
		moved <- err
	}()
	<-inside
	var seen doorward.User
	reset := make(chan error, 1)
	go func() {
		_, _, err := s.SetPassword(t.Context(), doorward.NewPassword{UserID: "usr_a", Hash: hash}, func(u doorward.User) error {
			seen = u
			return nil
		}, noted)
		reset <- err
	}()
	blocked(t, db)
	release()
	if err := errors.Join(<-moved, <-reset); err != nil {
		t.Fatal(err)
	}
	if seen.Role != doorward.Viewer || !slices.Equal(seen.Workspaces, []string{"cellar"}) || seen.Version != 1 {
		t.Errorf("it was judged by a mixture: %+v", seen)
	}
}

// failing makes a function for triggers that fails so many times with a code, and a
// sequence that counts its calls, failed ones too.
func failing(t *testing.T, db *sql.DB) {
	t.Helper()
	execute(t, db, `CREATE SEQUENCE failures`)
	execute(t, db, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('failures') <= TG_ARGV[0]::bigint THEN
				RAISE EXCEPTION 'on purpose' USING ERRCODE = TG_ARGV[1];
			END IF;
			RETURN NEW;
		END $$`)
}

func TestWhatIsUndoneAtItsCommitLeavesNothing(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, postgresDefaults)
	if err := s.CreateUser(t.Context(), person("usr_a", "anna"), hash, noted); err != nil {
		t.Fatal(err)
	}
	n := session("ses_1", "usr_a", c)
	if err := s.SignIn(t.Context(), n, 0, "anna", 10, noted); err != nil {
		t.Fatal(err)
	}
	db := behind(t, text)
	failing(t, db)
	execute(t, db, `
		CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION fail(1, '40001')`)
	runs := 0
	after, ended, found, err := s.ChangeUser(t.Context(), "usr_a", func(u doorward.User, _ doorward.Census) (doorward.User, error) {
		if runs++; runs == 1 {
			u.Disabled = true
		}
		return u, nil // which is not the case any more when it is decided again
	}, noted)
	if err != nil || !found || runs != 2 || after.Disabled || len(ended) > 0 {
		t.Errorf("after %d runs: %+v, ended %v, found %v, error %v", runs, after, ended, found, err)
	}
	if got, _, err := s.Session(t.Context(), n.ID); err != nil || !got.Ended.IsZero() {
		t.Errorf("session %+v, error %v", got, err)
	}
}

func TestWhoLeavesBetweenStatementsCostsNoConnection(t *testing.T) {
	t.Parallel()
	s, _ := openURL(t, postgres.Database(t), postgresOptions{readers: 1, writers: 1, patience: time.Minute})
	backend := func() (pid int) {
		t.Helper()
		if err := s.MarkInitialised(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := <-s.turns
		defer func() { s.turns <- w }()
		if err := w.conn.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	before := backend()
	ctx, leave := context.WithCancel(t.Context())
	err := s.write(ctx, "leave", func(ctx context.Context, t *tx) error {
		leave()
		return t.markInitialised(ctx)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if after := backend(); after != before {
		t.Errorf("connection %d was given up for %d", before, after)
	}
}

func TestWhatTheServerUndoesIsRunAgain(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, postgresDefaults)
	db := behind(t, text)
	failing(t, db)
	for i, test := range []struct {
		code     string
		failures int
		runs     int64
		ok       bool
	}{
		{pgSerializationFailure, 0, 1, true},
		{pgSerializationFailure, 1, 2, true},
		{pgDeadlock, tries - 1, tries, true},
		{pgSerializationFailure, tries, tries, false},
		{pgDeadlock, 1000, tries, false},
		{"57014", 1, 1, false}, // canceled: not for a reason that goes away
		{"53200", 1, 1, false}, // out of memory
	} {
		execute(t, db, `ALTER SEQUENCE failures RESTART`)
		execute(t, db, fmt.Sprintf(`CREATE TRIGGER fail BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION fail(%d, '%s')`, test.failures, test.code))
		n := session(fmt.Sprintf("ses_%d", i), "tok_1", c)
		err := s.CreateSession(t.Context(), n, 1000, noted)
		execute(t, db, `DROP TRIGGER fail ON sessions`)
		var refusal *doorward.Error
		if (err == nil) != test.ok || errors.As(err, &refusal) || errors.Is(err, errInDoubt) {
			t.Errorf("%s, %d times: error %v", test.code, test.failures, err)
		}
		if _, found, readErr := s.Session(t.Context(), n.ID); readErr != nil || found != (err == nil) {
			t.Errorf("%s, %d times: answered %v, but found %v, error %v", test.code, test.failures, err, found, readErr)
		}
		var runs int64
		if err := db.QueryRowContext(t.Context(), `SELECT last_value FROM failures`).Scan(&runs); err != nil || runs != test.runs {
			t.Errorf("%s, %d times: it ran %d times, error %v, want %d", test.code, test.failures, runs, err, test.runs)
		}
	}
	var entries int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM audit`).Scan(&entries); err != nil || entries != 3 {
		t.Errorf("%d audit entries of 3 successes, error %v", entries, err)
	}
}

func TestADeadlockIsNobodysError(t *testing.T) {
	t.Parallel()
	text := with(t, postgres.Database(t), "deadlock_timeout", "20ms")
	s, c := openURL(t, text, postgresDefaults)
	ids := []string{"ses_0", "ses_1"}
	for _, id := range ids {
		if err := s.CreateSession(t.Context(), session(id, "tok_1", c), 10, noted); err != nil {
			t.Fatal(err)
		}
	}
	var both sync.WaitGroup
	both.Add(2)
	var runs atomic.Int64
	race(2, func(i int) {
		first := true
		err := s.write(t.Context(), "lock crosswise", func(ctx context.Context, t *tx) error {
			runs.Add(1)
			if _, _, err := t.session(ctx, ids[i], t.engine.rowLock); err != nil {
				return err
			}
			if first {
				first = false
				both.Done()
				both.Wait()
			}
			_, _, err := t.session(ctx, ids[1-i], t.engine.rowLock)
			return err
		})
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	})
	if runs.Load() < 3 {
		t.Errorf("%d runs: there was no deadlock", runs.Load())
	}
}

func TestALostConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, postgresOptions{readers: 1, writers: 1, patience: time.Minute})
	db := behind(t, text)
	for name, lose := range map[string]func(w *writer){
		"ended by the server": func(*writer) {
			execute(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		},
		"become a replica's": func(w *writer) { execute(t, w.conn, `SET default_transaction_read_only = on`) },
		"closed": func(w *writer) {
			err := w.conn.Raw(func(conn any) error { return conn.(*postgresConn).Conn.Close() })
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		if err := s.CreateSession(t.Context(), session("ses_before "+name, "tok_1", c), 100, noted); err != nil {
			t.Fatal(err)
		}
		w := <-s.turns
		lose(w)
		s.turns <- w
		if err := s.CreateSession(t.Context(), session("ses_after "+name, "tok_1", c), 100, noted); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAConnectionLostBetweenStatementsIsReplaced(t *testing.T) {
	t.Parallel()
	s, _ := openURL(t, postgres.Database(t), postgresOptions{readers: 1, writers: 1, patience: time.Minute})
	for name, do := range map[string]func(ctx context.Context, t *tx) error{
		"prepared and changing": func(ctx context.Context, t *tx) error { return t.markInitialised(ctx) },
		"prepared and reading":  func(ctx context.Context, t *tx) error { return t.lockMeta(ctx) },
		"new": func(ctx context.Context, t *tx) error {
			_, err := t.exec(ctx, `UPDATE meta SET initialised = 1`)
			return err
		},
	} {
		runs := 0
		err := s.write(t.Context(), "lose the connection", func(ctx context.Context, t *tx) error {
			if err := errors.Join(t.markInitialised(ctx), t.lockMeta(ctx)); err != nil {
				return err
			}
			if runs++; runs == 1 {
				err := t.prepared.(*writer).conn.Raw(func(conn any) error { return conn.(*postgresConn).Conn.Close() })
				if err != nil {
					return err
				}
			}
			return do(ctx, t)
		})
		if err != nil || runs != 2 {
			t.Errorf("%s: after %d runs: %v", name, runs, err)
		}
	}
}

func TestAServerWithoutRoomGivesErrors(t *testing.T) {
	t.Parallel()
	cluster := postgres.Cluster(t)
	text := cluster.Database(t)
	cluster.Exec(t, cluster.URL(), "CREATE ROLE room_few LOGIN")
	t.Cleanup(func() { cluster.Exec(t, cluster.URL(), "DROP ROLE room_few") })
	cluster.Exec(t, text, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO room_few', current_database()); END $$; ALTER SCHEMA public OWNER TO room_few")
	t.Cleanup(func() {
		cluster.Exec(t, text, "REASSIGN OWNED BY room_few TO CURRENT_USER; DROP OWNED BY room_few")
	})
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User("room_few")
	s, c := openURL(t, u.String(), postgresDefaults)
	cluster.Exec(t, cluster.URL(), "ALTER ROLE room_few CONNECTION LIMIT 4")
	var ok, full atomic.Int64
	race(32, func(i int) {
		n := session(fmt.Sprintf("ses_%d", i), "tok_1", c)
		err := s.CreateSession(t.Context(), n, 1000, noted)
		var said *pgconn.PgError
		switch {
		case err == nil:
			ok.Add(1)
		case errors.As(err, &said) && said.Code == pgTooManyConnections:
			full.Add(1)
		default:
			t.Error(err)
		}
	})
	if ok.Load() == 0 || full.Load() == 0 {
		t.Errorf("%d succeeded and %d found no room", ok.Load(), full.Load())
	}
	cluster.Exec(t, cluster.URL(), "ALTER ROLE room_few CONNECTION LIMIT -1")
	for i := range postgresDefaults.writers {
		if err := s.CreateSession(t.Context(), session(fmt.Sprintf("ses_after_%d", i), "tok_1", c), 1000, noted); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
}

func TestWhatIsNoTextIsNoError(t *testing.T) {
	t.Parallel()
	s, c := openURL(t, postgres.Database(t), postgresDefaults)
	ctx := t.Context()
	for i, odd := range []string{"\xff", "a\x00b", "\x00", "\xed\xa0\x80", "ü\xc3"} {
		if _, found, err := s.User(ctx, odd); found || err != nil {
			t.Errorf("%q: found %v, error %v", odd, found, err)
		}
		if _, found, err := s.Session(ctx, odd); found || err != nil {
			t.Errorf("%q: found %v, error %v", odd, found, err)
		}
		if _, _, err := s.Users(ctx, doorward.UserQuery{Org: odd, Search: odd, After: odd, Limit: 1}); err != nil {
			t.Errorf("%q: %v", odd, err)
		}
		if _, err := s.CountFailure(ctx, odd, lockSoon, noted); err != nil {
			t.Errorf("%q: %v", odd, err)
		}
		n := session(fmt.Sprintf("ses_%d", i), "tok_1", c)
		n.UserAgent = "a" + odd
		a := noted
		a.RequestID, a.Detail = odd, odd
		if err := s.CreateSession(ctx, n, 100, a); err != nil {
			t.Errorf("%q: %v", odd, err)
		}
		if got, _, err := s.Session(ctx, n.ID); err != nil || !strings.HasPrefix(got.UserAgent, "a") || !strings.Contains(got.UserAgent, "\uFFFD") {
			t.Errorf("%q: kept %q, error %v", odd, got.UserAgent, err)
		}
	}
}

func TestARefreshChangesNoIndex(t *testing.T) {
	t.Parallel()
	db := behind(t, postgres.Database(t))
	rows, err := db.QueryContext(t.Context(), `SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'sessions'::regclass`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		for _, column := range []string{"prev", "head", "child", "gen", "fork", "minted", "access_until"} {
			if strings.Contains(text, column) {
				t.Errorf("%s knows of %s", text, column)
			}
		}
	}
	if err := rows.Err(); err != nil || n < 4 {
		t.Errorf("%d indexes, error %v", n, err)
	}
}

// postgresScans are the tables that a statement may read whole, with the reason.
var postgresScans = map[string]string{
	"SELECT 1 FROM users LIMIT 1":          "stops at the first user",
	"EXISTS (SELECT 1 FROM users)":         "stops at the first user",
	"GROUP BY role":                        "counts the enabled users by role, when one is changed",
	"SELECT DISTINCT credential":           "the live sessions of configured credentials, at start",
	"meta":                                 "one row",
	"FROM workspaces":                      "a few rows",
	"feed SET":                             "one row",
	"FROM feed WHERE":                      "one row",
	"FROM api_keys WHERE revoked":          "reads all keys, at start",
	"WHERE EXISTS (SELECT 1 FROM api_keys": "reads the owners of all keys, at start",
	"ORDER BY o.id, w.id":                  "all there are, at start",
}

func TestEveryPostgresStatementUsesAnIndex(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, postgresOptions{readers: 1, writers: 1, patience: time.Minute})
	exercise(t, s, c)
	db := behind(t, text)
	const many = 100_000
	execute(t, db, `
		INSERT INTO sessions SELECT 'ses_' || i, 'client', 'my-app', 'tok_' || i % 500, 1, 'editor', 'default', 'default', now, now + i * 1000,
			now + i * 1000, CASE WHEN i % 50 = 0 THEN now ELSE 0 END, '', '', 'j0', '', 0, 0, now, '', ''
		FROM generate_series(1, $2) i, (SELECT $1::bigint AS now) clock`, c.ms.Load(), many)
	execute(t, db, `INSERT INTO organizations SELECT 'org-' || i, '', 0 FROM generate_series(0, 9999) i`)
	execute(t, db, `INSERT INTO workspaces SELECT id, 'default', '', 0 FROM organizations ON CONFLICT DO NOTHING`)
	execute(t, db, `INSERT INTO workspaces SELECT 'org-' || i % 10, 'space-' || i, '', 0 FROM generate_series(1, 10000) i`)
	execute(t, db, `
		INSERT INTO users SELECT 'usr_' || i, 'user' || i, 'user' || i, '', 'viewer', 'org-' || i % 10, 0, 0, 0, 0, 0 FROM generate_series(1, $1) i`, many/4)
	execute(t, db, `INSERT INTO memberships SELECT id, org, 'default' FROM users ON CONFLICT DO NOTHING`)
	execute(t, db, `INSERT INTO lockouts SELECT 'account' || i, '', 0, $1::bigint + i * 1000 FROM generate_series(1, $2) i`, c.ms.Load(), 3*many)
	execute(t, db, `
		INSERT INTO api_keys SELECT 'key_' || i, sha256(i::text::bytea), 'brk_', 'a key', 'viewer', 'org-' || i % 100, 'default', 'usr_' || i, 0, '', 0, 0, 0, 0, NULL, 0, 'a key'
		FROM generate_series(1, $1) i`, many/4)
	execute(t, db, `INSERT INTO changes SELECT i, 0, $1::bigint + i * 100, 'session_ended', 'ses_' || i, 0 FROM generate_series(1000, $2) i`, c.ms.Load(), many)
	execute(t, db, `
		INSERT INTO audit (time, action, actor_kind, actor, actor_name, target, org, address, request_id, detail)
		SELECT $1::bigint + i * 1000, 'user.change' || i % 20, 'user', 'usr_' || i % 1000, '', 'usr_' || i, 'org-' || i % 100, '', 'r' || i, ''
		FROM generate_series(1, $2) i`, c.ms.Load(), many)
	execute(t, db, `
		INSERT INTO devices SELECT sha256(i::text::bytea), 'usr_' || i % 5000 + 1, i % 2, $1::bigint + i FROM generate_series(1, $2) i`, c.ms.Load(), 3*many)
	execute(t, db, `ALTER TABLE invites DROP CONSTRAINT invites_user_id_fkey`) // as many as there are of the others, without as many people
	execute(t, db, `INSERT INTO invites SELECT 'usr_' || i, sha256(i::text::bytea), 0, $1::bigint + i FROM generate_series(1, $2) i ON CONFLICT DO NOTHING`, c.ms.Load(), 3*many)
	execute(t, db, `VACUUM ANALYZE`)

	w := <-s.turns
	defer func() { s.turns <- w }()
	var texts []string
	for text := range w.statements {
		texts = append(texts, text)
	}
	s.asked.Range(func(text, _ any) bool {
		texts = append(texts, text.(string))
		return true
	})
	if len(texts) < 30 {
		t.Fatalf("only %d statements were used", len(texts))
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	execute(t, conn, `SET plan_cache_mode = force_generic_plan`)
	hot := map[string]bool{ // each must be in some statement's plan
		"Index Scan using sessions_pkey on sessions":            false, // a session
		"Index Only Scan using sessions_live on sessions":       false, // the limit
		"Index Scan using sessions_ended on sessions":           false, // the ended
		"Index Scan using sessions_prune on sessions":           false,
		"Index Scan using lockouts_prune on lockouts":           false,
		"Index Scan using users_canonical_key on users u":       false,
		"Index Scan using users_page on users u":                false, // a page, a search
		"Index Only Scan using memberships_page on memberships": false,
		"Index Scan using organizations_pkey on organizations":  false,
		"Index Scan using workspaces_pkey on workspaces":        false,
		"Index Scan using changes_pkey on changes":              false, // the feed
		"Index Only Scan using changes_prune on changes":        false,
	}
	for i, text := range texts {
		plan := postgresPlan(t, conn, i, text)
		for step := range hot {
			if strings.Contains(plan, step) {
				hot[step] = true
			}
		}
		excused := false
		for part := range postgresScans {
			if strings.Contains(text, part) {
				excused = true
			}
		}
		if !excused && strings.Contains(strings.ReplaceAll(plan, "Seq Scan on feed", ""), "Seq Scan") {
			t.Errorf("%s\n%s", text, plan)
		}
	}
	for step, used := range hot {
		if !used {
			t.Errorf("no statement does this: %s", step)
		}
	}
}

// postgresPlan returns the plan of a statement as it is once it has run a few times.
func postgresPlan(t *testing.T, conn *sql.Conn, i int, text string) string {
	t.Helper()
	args := ""
	for n := 1; strings.Contains(text, fmt.Sprintf("$%d", n)); n++ {
		args += ", NULL"
	}
	if args != "" {
		args = "(" + args[2:] + ")"
	}
	execute(t, conn, fmt.Sprintf("PREPARE p%d AS %s", i, text))
	rows, err := conn.QueryContext(t.Context(), fmt.Sprintf("EXPLAIN EXECUTE p%d%s", i, args))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"modernc.org/sqlite"

	"doorward"
	"doorward/storetest"
)

// clock is a clock that stands still until it is moved.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC).UnixMilli())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// open opens a store that is closed when t ends.
func open(t testing.TB, path string) (*Store, *clock) {
	t.Helper()
	c := newClock()
	s, err := OpenSQLite(t.Context(), path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, c
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "doorward.db") }

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) (doorward.Store, func(time.Duration)) {
		s, c := open(t, newPath(t))
		return s, c.advance
	})
}

func TestEveryConnectionIsAsItMustBe(t *testing.T) {
	t.Parallel()
	s, _ := open(t, newPath(t))
	if err := s.MarkInitialised(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := <-s.turns
	defer func() { s.turns <- w }()
	conns := map[string]*sql.Conn{"writer": w.conn}
	for i := range sqliteReaders { // all of them at once, so that each is another
		conn, err := s.readers.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[fmt.Sprintf("reader %d", i)] = conn
	}
	for name, conn := range conns {
		want := map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "query_only": "1"}
		if name == "writer" {
			want["query_only"] = "0"
		}
		for pragma, value := range want {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != value {
				t.Errorf("%s: %s is %q, error %v, want %q", name, pragma, got, err, value)
			}
		}
		_, err := conn.ExecContext(t.Context(), `UPDATE meta SET initialised = 0`)
		if (err == nil) != (name == "writer") {
			t.Errorf("%s: writing gives the error %v", name, err)
		}
	}
}

func TestNoConnectionIsLentThatIsNotAsItMustBe(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s, _ := open(t, path)
	if err := s.Close(); err != nil { // so that it may be taken out of WAL
		t.Fatal(err)
	}
	good := "file:" + path + "?mode=rw&_busy_timeout=5000&_journal_mode=wal&_synchronous=2&_foreign_keys=1&_query_only=0"
	for _, c := range []struct{ instead, of, want string }{
		{"", "", ""},
		{"_journal_mode=delete", "_journal_mode=wal", "its journal_mode stays delete instead of wal"},
		{"_synchronous=1", "_synchronous=2", "its synchronous stays 1 instead of 2"},
		{"_synchronous=0", "_synchronous=2", "its synchronous stays 0 instead of 2"},
		{"_foreign_keys=0", "_foreign_keys=1", "its foreign_keys stays 0 instead of 1"},
		{"_query_only=1", "_query_only=0", "its query_only stays 1 instead of 0"},
		{"_busy_timeout=0", "_busy_timeout=5000", "its busy_timeout stays 0 instead of 5000"},
	} {
		inner, err := sqlite.NewConnector(strings.Replace(good, c.of, c.instead, 1))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := sqliteConnector{Connector: inner}.Connect(t.Context())
		switch {
		case err != nil && (c.want == "" || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("with %q: error %v, want %q", c.instead, err, c.want)
		case err == nil && c.want != "":
			t.Errorf("with %q: no error", c.instead)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestFilesAreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	files := []string{path, path + "-wal", path + "-shm"}
	check := func(when string) {
		t.Helper()
		for _, name := range files {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %s has mode %v", when, filepath.Base(name), info.Mode().Perm())
			}
		}
	}
	s, _ := open(t, path)
	if err := s.MarkInitialised(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("new")
	for _, name := range files {
		if err := os.Chmod(name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := open(t, path)
	check("opened with a wider mode")
	if err := again.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOpenSaysWhyNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	execute := func(name string, statements ...string) string {
		path := filepath.Join(dir, name)
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, text := range statements {
			if _, err := db.ExecContext(t.Context(), text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
		return path
	}
	newer := filepath.Join(dir, "newer.db")
	s, err := OpenSQLite(t.Context(), newer, newClock().now)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(newer)
	if err != nil {
		t.Fatal(err)
	}
	execute("newer.db", `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
	damaged := slices.Clone(whole)
	for i := 4096; i < len(damaged); i++ {
		damaged[i] = 0xA5
	}
	noHeader := slices.Clone(whole)
	copy(noHeader, "not SQLite format 3")

	for _, c := range []struct{ name, path, want string }{
		{"no name", "", "it has no name"},
		{"directory", dir, "it is not a regular file"},
		{"no directory", filepath.Join(dir, "nowhere", "doorward.db"), "its directory does not exist; create it first"},
		{"below a file", filepath.Join(write("file", nil), "doorward.db"), "not a directory"},
		{"text", write("text.db", []byte(strings.Repeat("This is no database. ", 500))), "it is not a SQLite database"},
		{"no header", write("header.db", noHeader), "it is not a SQLite database"},
		{"damaged", write("damaged.db", damaged), "it is damaged; restore it from a backup"},
		{"another's", execute("another.db", `CREATE TABLE recipes (name TEXT)`), "it is a database of another program"},
		{"another's, marked", execute("marked.db", `PRAGMA application_id = 7`), "it is a database of another program"},
		{"newer", newer, "it was written by a newer version of this program (schema 99, this one knows " + newestSchema(t, "sqlite") + "); use that version"},
	} {
		s, err := OpenSQLite(t.Context(), c.path, newClock().now)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			s.Close()
			continue
		}
		if want := "cannot open store " + c.path + ": " + c.want; err.Error() != want {
			t.Errorf("%s: got %q, want %q", c.name, err, want)
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := OpenSQLite(gone, filepath.Join(dir, "late.db"), newClock().now); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if left, err := os.ReadFile(filepath.Join(dir, "text.db")); err != nil || !strings.HasPrefix(string(left), "This is no database.") {
		t.Errorf("what was no database was changed, or %v", err)
	}
}

func TestNoBadPageIsAPanic(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s, c := open(t, path)
	exercise(t, s, c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := 0; page < len(whole)/4096; page++ {
		for _, filler := range []byte{0x00, 0x0D, 0xFF} {
			bad := slices.Clone(whole)
			for i := range 4096 {
				bad[page*4096+i] = filler
			}
			path := newPath(t)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := OpenSQLite(t.Context(), path, c.now)
			if page == 0 && err == nil {
				t.Errorf("a file without its first page was opened")
			}
			if err != nil {
				continue
			}
			// Any answer will do, so long as it is one.
			_, _, _, _ = s.UserByName(t.Context(), "berta")
			_, _, _ = s.Session(t.Context(), "ses_m")
			_ = s.SignIn(t.Context(), session("ses_x", "usr_b", c), 0, "berta", 10, noted)
			_ = s.EndedSessions(t.Context(), func(doorward.EndedSession) error { return nil })
			_, _ = s.EndUnconfigured(t.Context(), nil, noted)
			_ = s.Close()
		}
	}
}

func TestOddNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "a?mode=memory", "a#b", "a%20b", "a%zz", "ä;--.db", ":memory:", "file:x.db"} {
		path := filepath.Join(t.TempDir(), name)
		s, _ := open(t, path)
		if err := s.MarkInitialised(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: the file is not where it was asked for: %v", name, err)
		}
	}
}

func TestManyOpenOneNewFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := OpenSQLite(t.Context(), path, newClock().now)
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
	s, _ := open(t, path)
	if st, err := s.State(t.Context()); err != nil || !st.Initialised {
		t.Errorf("state %+v, error %v", st, err)
	}
}

func TestWhatIsKeptIsThereAfterReopening(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s, c := open(t, path)
	salt, err := s.Salt(t.Context(), []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateFirstUser(t.Context(), person("usr_a", "Anna"), hash, noted); err != nil {
		t.Fatal(err)
	}
	live, out := session("ses_live", "tok_1", c), session("ses_out", "tok_1", c)
	for _, n := range []doorward.Session{live, out} {
		if err := s.CreateSession(t.Context(), n, 10, noted); err != nil {
			t.Fatal(err)
		}
	}
	live.Chain = doorward.Chain{Prev: "j0", Head: "j1", Child: "j2", Gen: 1, Minted: c.now()}
	_, err = s.AdvanceRefresh(t.Context(), live.ID, func(doorward.RefreshState) doorward.RefreshDecision {
		return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: live.Chain}
	}, noted)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.EndSession(t.Context(), out.ID, doorward.EndSignedOut, noted); err != nil {
		t.Fatal(err)
	}
	for range lockSoon.Attempts {
		if _, err := s.CountFailure(t.Context(), "anna", lockSoon, noted); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(path + "-*"); err != nil || len(left) > 0 {
		t.Errorf("closing left %v behind, error %v", left, err)
	}

	s, _ = open(t, path)
	if again, err := s.Salt(t.Context(), make([]byte, saltSize)); err != nil || string(again) != string(salt) {
		t.Errorf("another salt, error %v", err)
	}
	if st, err := s.State(t.Context()); err != nil || st != (doorward.State{Initialised: true, HasUsers: true}) {
		t.Errorf("state %+v, error %v", st, err)
	}
	if u, h, found, err := s.UserByName(t.Context(), "anna"); err != nil || !found || u.Username != "Anna" || h != hash {
		t.Errorf("user %+v, found %v, error %v", u, found, err)
	}
	got, _, err := s.Session(t.Context(), live.ID)
	if live.Chain.Minted = got.Chain.Minted; err != nil || got.Chain != live.Chain || !got.Ended.IsZero() {
		t.Errorf("session %+v, error %v", got, err)
	}
	if got, _, err := s.Session(t.Context(), out.ID); err != nil || got.EndReason != doorward.EndSignedOut {
		t.Errorf("session %+v, error %v", got, err)
	}
	if left, err := s.LockedFor(t.Context(), "anna"); err != nil || left != lockSoon.Duration {
		t.Errorf("locked for %v, error %v", left, err)
	}
}

func TestTwoProcessesShareAFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	a, c := open(t, path)
	b, _ := open(t, path)
	for i := range 20 {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		n := session(fmt.Sprintf("ses_%d", i), "tok_1", c)
		if err := from.CreateSession(t.Context(), n, 100, noted); err != nil {
			t.Fatal(err)
		}
		if _, found, err := to.Session(t.Context(), n.ID); err != nil || !found {
			t.Errorf("session %d: found %v, error %v", i, found, err)
		}
	}
}

// watched is a context that tells when somebody asks for its end.
type watched struct {
	context.Context
	once  sync.Once
	asked chan struct{}
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.asked) })
	return w.Context.Done()
}

func TestWhoLeavesDoesNotWaitForAnotherProcess(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s, c := open(t, path)
	n := session("ses_1", "tok_1", c)
	if err := s.CreateSession(t.Context(), n, 1, noted); err != nil {
		t.Fatal(err)
	}
	other, err := sqlitePool(path, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	holding, err := other.BeginTx(t.Context(), nil) // the one write lock there is
	if err != nil {
		t.Fatal(err)
	}
	defer holding.Rollback()

	w := <-s.turns
	_, err = w.conn.ExecContext(t.Context(), `PRAGMA busy_timeout = 600000`)
	s.turns <- w
	if err != nil {
		t.Fatal(err)
	}

	end := func(ctx context.Context) error {
		left := make(chan error, 1)
		go func() {
			_, _, err := s.EndSession(ctx, n.ID, doorward.EndSignedOut, noted)
			left <- err
		}()
		select {
		case err := <-left:
			return err
		case <-time.After(time.Minute):
			return errors.New("it waits on")
		}
	}
	canceled, leave := context.WithCancel(t.Context())
	waiting := &watched{Context: canceled, asked: make(chan struct{})}
	go func() {
		<-waiting.asked
		leave()
	}()
	if err := end(waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	late, leaveLate := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer leaveLate()
	if err := end(late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
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

func TestWritersQueueInTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		if err := s.CreateSession(t.Context(), session("ses_1", "tok_1", c), 1, noted); err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		var order []int // one writer at a time, so no lock
		turn := func(i int) {
			_, err := s.AdvanceRefresh(t.Context(), "ses_1", func(doorward.RefreshState) doorward.RefreshDecision {
				if order = append(order, i); i == 0 {
					<-release
				}
				return doorward.RefreshDecision{}
			}, noted)
			if err != nil {
				t.Error(err)
			}
		}
		for i := range 20 {
			go turn(i)
			synctest.Wait() // until it stands in the queue
		}
		close(release)
		synctest.Wait()
		if len(order) != 20 || !slices.IsSorted(order) {
			t.Errorf("served in the order %v", order)
		}
	})
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	s, c := open(t, newPath(t))
	pages := func(pragma string) {
		t.Helper()
		w := <-s.turns
		defer func() { s.turns <- w }()
		if w.conn == nil { // given up after a failure
			return
		}
		if _, err := w.conn.ExecContext(t.Context(), pragma); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CreateUser(t.Context(), person("usr_a", "anna"), hash, noted); err != nil {
		t.Fatal(err)
	}
	pages(`PRAGMA max_page_count = 1`) // that is: no more than there are
	var kept []string
	var failed error
	for i := 0; failed == nil && i < 10_000; i++ {
		n := session(fmt.Sprintf("ses_%d", i), "usr_a", c)
		n.UserAgent = strings.Repeat("x", 1000)
		if failed = s.SignIn(t.Context(), n, 0, "anna", 1<<30, noted); failed == nil {
			kept = append(kept, n.ID)
			continue
		}
		if _, found, err := s.Session(t.Context(), n.ID); err != nil || found {
			t.Errorf("the one that failed is found %v, error %v", found, err)
		}
	}
	var refusal *doorward.Error
	if failed == nil || errors.As(failed, &refusal) || !strings.HasPrefix(failed.Error(), "cannot sign a user in: ") {
		t.Errorf("error %v, want a foreign one that says what failed", failed)
	}
	pages(`PRAGMA max_page_count = 1000000`)
	if err := s.SignIn(t.Context(), session("ses_more", "usr_a", c), 0, "anna", 1<<30, noted); err != nil {
		t.Errorf("with room again: %v", err)
	}
	for _, id := range append(kept, "ses_more") {
		if _, found, err := s.Session(t.Context(), id); err != nil || !found {
			t.Errorf("%s is found %v, error %v", id, found, err)
		}
	}
}

func TestAuditIsWrittenWithWhatItRecords(t *testing.T) {
	t.Parallel()
	s, c := open(t, newPath(t))
	ctx := t.Context()
	entries := func() (n int) {
		t.Helper()
		if err := s.readers.QueryRowContext(ctx, `SELECT count(*) FROM audit`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	refuse := errors.New("no")
	same := func(u doorward.User, _ doorward.Census) (doorward.User, error) { return u, nil }
	outcome := func(o doorward.Presentation) func() error {
		return func() error {
			_, err := s.AdvanceRefresh(ctx, "ses_m", func(at doorward.RefreshState) doorward.RefreshDecision {
				return doorward.RefreshDecision{Outcome: o, Chain: at.Session.Chain}
			}, noted)
			return err
		}
	}
	for _, step := range []struct {
		name  string
		do    func() error
		wrote int
	}{
		{"first user", func() error { _, err := s.CreateFirstUser(ctx, person("usr_a", "anna"), hash, noted); return err }, 1},
		{"another first user", func() error { _, err := s.CreateFirstUser(ctx, person("usr_b", "berta"), hash, noted); return err }, 0},
		{"user", func() error { return s.CreateUser(ctx, person("usr_b", "berta"), hash, noted) }, 1},
		{"taken", func() error { return s.CreateUser(ctx, person("usr_c", "Berta"), hash, noted) }, 0},
		{"sign in", func() error { return s.SignIn(ctx, session("ses_a", "usr_a", c), 0, "anna", 1, noted) }, 1},
		{"past the limit", func() error { return s.SignIn(ctx, session("ses_b", "usr_a", c), 0, "anna", 1, noted) }, 0},
		{"exchange", func() error { return s.CreateSession(ctx, session("ses_m", "tok_1", c), 10, noted) }, 1},
		{"exchange", func() error { return s.CreateSession(ctx, session("ses_n", "tok_1", c), 10, noted) }, 1},
		{"advance", outcome(doorward.Advanced), 0},
		{"repeat", outcome(doorward.Repeated), 0},
		{"reuse", outcome(doorward.Reused), 1},
		{"reuse again", outcome(doorward.Reused), 0},
		{"end", func() error { _, _, err := s.EndSession(ctx, "ses_a", "x", noted); return err }, 1},
		{"end again", func() error { _, _, err := s.EndSession(ctx, "ses_a", "x", noted); return err }, 0},
		{"end nothing", func() error { _, _, err := s.EndSession(ctx, "ses_x", "x", noted); return err }, 0},
		{"unconfigured", func() error { _, err := s.EndUnconfigured(ctx, nil, noted); return err }, 1},
		{"unconfigured again", func() error { _, err := s.EndUnconfigured(ctx, nil, noted); return err }, 0},
		{"begin", func() error { return s.CreateSession(ctx, session("ses_p", "tok_1", c), 1, noted) }, 1},
		{"end all", func() error { _, err := s.EndSessions(ctx, doorward.SessionQuery{}, "x", noted); return err }, 1},
		{"end all again", func() error { _, err := s.EndSessions(ctx, doorward.SessionQuery{}, "x", noted); return err }, 0},
		{"begin again", func() error { return s.CreateSession(ctx, session("ses_o", "tok_1", c), 1, noted) }, 1},
		{"end one's", func() error {
			_, err := s.EndSessions(ctx, doorward.SessionQuery{Credential: "tok_1"}, "x", noted)
			return err
		}, 1},
		{"end nobody's", func() error {
			_, err := s.EndSessions(ctx, doorward.SessionQuery{User: "usr_a"}, "x", noted)
			return err
		}, 0},
		{"kid", func() error { return s.SetKeyID(ctx, "kid", noted) }, 1},
		{"kid again", func() error { return s.SetKeyID(ctx, "kid", noted) }, 0},
		{"no change", func() error { _, _, _, err := s.ChangeUser(ctx, "usr_a", same, noted); return err }, 0},
		{"change", func() error { _, _, _, err := s.ChangeUser(ctx, "usr_a", demote, noted); return err }, 1},
		{"password", func() error {
			_, _, err := s.SetPassword(ctx, doorward.NewPassword{UserID: "usr_a", Hash: hash}, anybody, noted)
			return err
		}, 1},
		{"refused password", func() error {
			_, _, err := s.SetPassword(ctx, doorward.NewPassword{UserID: "usr_a", Hash: hash}, func(doorward.User) error { return refuse }, noted)
			return err
		}, 0},
		{"better hash", func() error { return s.UpgradePassword(ctx, "usr_a", 2, hash) }, 0},
		{"failure", func() error { _, err := s.CountFailure(ctx, "anna", lockSoon, noted); return err }, 1},
		{"unlock", func() error { return s.ClearFailures(ctx, "anna", noted) }, 1},
		{"refused delete", func() error {
			_, _, err := s.DeleteUser(ctx, "usr_a", func(doorward.User, doorward.Census) error { return refuse }, noted)
			return err
		}, 0},
		{"delete", func() error { _, _, err := s.DeleteUser(ctx, "usr_a", anyone, noted); return err }, 1},
	} {
		before := entries()
		c.advance(time.Second)
		err := step.do()
		var refusal *doorward.Error
		if err != nil && !errors.As(err, &refusal) && !errors.Is(err, refuse) {
			t.Fatalf("%s: %v", step.name, err)
		}
		if wrote := entries() - before; wrote != step.wrote {
			t.Errorf("%s: %d entries, want %d", step.name, wrote, step.wrote)
		}
		if step.wrote == 0 {
			continue
		}
		var got doorward.AuditEntry
		var at int64
		err = s.readers.QueryRowContext(ctx, `
			SELECT time, action, actor_kind, actor, actor_name, target, org, address, request_id, detail FROM audit ORDER BY id DESC LIMIT 1`).
			Scan(&at, &got.Action, &got.ActorKind, &got.Actor, &got.ActorName, &got.Target, &got.Org, &got.Address, &got.RequestID, &got.Detail)
		want := noted
		if step.name == "unconfigured" {
			want.Target = "tok_1"
		}
		if err != nil || got != want || at != c.ms.Load() {
			t.Errorf("%s: wrote %+v at %d, error %v, want %+v at %d", step.name, got, at, err, want, c.ms.Load())
		}
	}
}

func TestSessionsOfAUsersKeysEndWithTheUsers(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *Store) ([]doorward.EndedSession, error){
		"change": func(s *Store) ([]doorward.EndedSession, error) {
			_, ended, _, err := s.ChangeUser(t.Context(), "usr_a", demote, noted)
			return ended, err
		},
		"delete": func(s *Store) ([]doorward.EndedSession, error) {
			ended, _, err := s.DeleteUser(t.Context(), "usr_a", anyone, noted)
			return ended, err
		},
		"revocation": func(s *Store) ([]doorward.EndedSession, error) {
			q := doorward.SessionQuery{User: "usr_a"}
			var listed []string
			err := s.Sessions(t.Context(), q, func(l doorward.ListedSession) error {
				listed = append(listed, l.ID+" "+l.Username)
				return nil
			})
			slices.Sort(listed)
			if err != nil || !slices.Equal(listed, []string{"ses_key ", "ses_own anna"}) {
				t.Errorf("listed %q, %v", listed, err)
			}
			return s.EndSessions(t.Context(), q, "x", noted)
		},
		"password": func(s *Store) ([]doorward.EndedSession, error) {
			ended, _, err := s.SetPassword(t.Context(), doorward.NewPassword{UserID: "usr_a", Hash: hash, Keep: "ses_own"}, anybody, noted)
			return ended, err
		},
	} {
		s, c := open(t, newPath(t))
		for _, u := range []doorward.User{person("usr_a", "anna"), person("usr_b", "berta")} {
			if err := s.CreateUser(t.Context(), u, hash, noted); err != nil {
				t.Fatal(err)
			}
		}
		err := s.write(t.Context(), "make keys", func(ctx context.Context, t *tx) error {
			for i, owner := range []string{"usr_a", "usr_b"} {
				_, err := t.exec(ctx, `
					INSERT INTO api_keys (id, sha256, prefix, name, role, org, workspace, owner, service, client_ids,
						created, expires, last_used, revoked, overlap_until)
					VALUES ($1, $2, 'brk_1234', 'a key', 'viewer', 'default', 'default', $3, 0, '', 1, 0, 0, 0, 0)`,
					"key_"+owner, []byte(strings.Repeat(fmt.Sprint(i), 32)), owner)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []doorward.Session{session("ses_own", "usr_a", c), session("ses_key", "key_usr_a", c), session("ses_other", "key_usr_b", c)} {
			if err := s.CreateSession(t.Context(), n, 10, noted); err != nil {
				t.Fatal(err)
			}
		}
		ended, err := end(s)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, e := range ended {
			ids = append(ids, e.ID)
		}
		slices.Sort(ids)
		want := []string{"ses_key", "ses_own"}
		if name == "password" {
			want = want[:1]
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%s: ended %v, want %v", name, ids, want)
		}
	}
}

func TestWhatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	s, c := open(t, newPath(t))
	ctx := t.Context()
	exercise(t, s, c)
	if err := s.CreateSession(ctx, session("ses_1", "tok_1", c), 1, noted); err != nil {
		t.Fatal(err)
	}
	for range lockSoon.Attempts {
		if _, err := s.CountFailure(ctx, "anna", lockSoon, noted); err != nil {
			t.Fatal(err)
		}
	}
	watch, err := s.readers.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	version := func() (v int64) { // grows with every commit that wrote something
		t.Helper()
		if err := watch.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for name, do := range map[string]func() error{
		"a locked account": func() error {
			_, err := s.CountFailure(ctx, "anna", lockSoon, noted)
			return err
		},
		"a repeated refresh": func() error {
			_, err := s.AdvanceRefresh(ctx, "ses_1", func(doorward.RefreshState) doorward.RefreshDecision {
				return doorward.RefreshDecision{Outcome: doorward.Repeated}
			}, noted)
			return err
		},
		"a session of none": func() error {
			_, _, err := s.EndSession(ctx, "ses_x", "x", noted)
			return err
		},
		"one more first user": func() error {
			_, err := s.CreateFirstUser(ctx, person("usr_x", "xaver"), hash, noted)
			return err
		},
		"all sessions of none": func() error {
			_, err := s.EndSessions(ctx, doorward.SessionQuery{Credential: "tok_x"}, "x", noted)
			return err
		},
		"the kid again":    func() error { return s.SetKeyID(ctx, "kid", noted) },
		"the mark again":   func() error { return s.MarkInitialised(ctx) },
		"nothing to prune": func() error { return s.Prune(ctx, time.Hour) },
		"past the limit": func() error {
			err := s.CreateSession(ctx, session("ses_2", "tok_1", c), 1, noted)
			if errors.Is(err, doorward.ErrTooManyRequests) {
				return nil
			}
			return fmt.Errorf("not refused: %v", err)
		},
		"the same user": func() error {
			_, _, _, err := s.ChangeUser(ctx, "usr_b", func(u doorward.User, _ doorward.Census) (doorward.User, error) { return u, nil }, noted)
			return err
		},
		"the same credentials": func() error {
			_, err := s.EndUnconfigured(ctx, map[string]string{"tok_1": "editor"}, noted)
			return err
		},
	} {
		before := version()
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if version() != before {
			t.Errorf("%s: something was written", name)
		}
	}
	before := version()
	if err := s.ClearFailures(ctx, "anna", noted); err != nil {
		t.Fatal(err)
	}
	if version() == before {
		t.Error("a change was not noticed")
	}
}

func TestAClockAtZeroStillEndsSessions(t *testing.T) {
	t.Parallel()
	s, c := open(t, newPath(t))
	n := session("ses_1", "tok_1", c)
	c.ms.Store(0)
	if err := s.CreateSession(t.Context(), n, 1, noted); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.EndSession(t.Context(), n.ID, doorward.EndSignedOut, noted); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Session(t.Context(), n.ID); err != nil || got.Ended.IsZero() {
		t.Errorf("it lives on: %+v, error %v", got, err)
	}
}

// newestSchema is the number of an engine's last migration.
func newestSchema(t *testing.T, engine string) string {
	t.Helper()
	files, err := schemas.ReadDir("schema/" + engine)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	number, _, _ := strings.Cut(files[len(files)-1].Name(), "_") // they are in order
	return strings.TrimLeft(number, "0")
}

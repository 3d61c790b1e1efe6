//go:build unix

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"doorward"
	"doorward/pgtest"
)

// oneBatch lets one batch at a time be under way, so that who comes while the writers are
// taken is in one.
func oneBatch(s *Store) {
	b := *s.engine.batch
	b.atOnce = 1
	s.engine.batch = &b
}

// batched lets n callers come while all writers are taken, and returns what each got: an
// error, or what it panicked with. meanwhile is called when all of them wait.
func batched(t *testing.T, s *Store, n int, do func(i int) error, meanwhile func()) []any {
	t.Helper()
	oneBatch(s)
	var writers []*writer
	for range cap(s.turns) {
		writers = append(writers, <-s.turns)
	}
	before := s.refreshes.newest()
	got := make([]any, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					got[i] = r
				}
			}()
			got[i] = do(i)
		})
	}
	for began := time.Now(); s.refreshes.newest() < before+int64(n)-1; runtime.Gosched() { // the first leads
		if time.Since(began) > soon {
			t.Fatal("they do not come")
		}
	}
	meanwhile()
	for _, w := range writers {
		s.turns <- w
	}
	all.Wait()
	return got
}

func nothing() {}

// calm are the options of a store whose tests do not fail because the machine is busy.
var calm = postgresOptions{readers: 8, writers: 8, patience: time.Minute}

// further advances a session as every good refresh here does.
func further(at doorward.RefreshState) doorward.RefreshDecision {
	n := at.Session
	n.Chain.Prev, n.Chain.Head, n.Chain.Child = n.Chain.Head, fmt.Sprintf("j%d", n.Chain.Gen+1), ""
	n.Chain.Gen++
	n.Chain.Fork++
	n.Chain.Minted = at.Now
	return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: n.Chain, AccessUntil: at.Now.Add(2 * time.Hour)}
}

// transactions counts those that last wrote sessions.
func transactions(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT count(DISTINCT xmin::text) FROM sessions WHERE gen > 0`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestABatchKeepsWhatEachDecided(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, calm)
	const callers = 60
	victims(t, s, c, callers)
	wants := make([]doorward.Session, callers)
	got := batched(t, s, callers, func(i int) error {
		found, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", i), func(at doorward.RefreshState) doorward.RefreshDecision {
			d := further(at)
			d.Chain.Head, d.Chain.Child = fmt.Sprintf("head %d ü'\"\\{}", i), fmt.Sprintf("child,%d", i)
			d.Chain.Gen, d.Chain.Fork = int64(100+i), int64(200+i)
			d.AccessUntil = at.Now.Add(time.Duration(i-30) * time.Hour) // half of them would lower it
			wants[i] = at.Session
			wants[i].Chain = d.Chain
			wants[i].AccessUntil = later(at.Session.AccessUntil, d.AccessUntil)
			return d
		}, noted)
		if !found && err == nil {
			return errors.New("not found")
		}
		return err
	}, nothing)
	for i, err := range got {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if n, _, err := s.Session(t.Context(), fmt.Sprintf("ses_%d", i)); err != nil || n != wants[i] || n.Chain.Gen == 0 {
			t.Errorf("%d: kept %+v, error %v, want %+v", i, n, err, wants[i])
		}
	}
	if n := transactions(t, behind(t, text)); n != 1 {
		t.Errorf("%d transactions", n)
	}
}

func TestARefreshThatFailsInABatchFailsItsCallerAlone(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, calm)
	const callers = 64
	victims(t, s, c, callers)
	if _, _, err := s.EndSession(t.Context(), "ses_5", doorward.EndSignedOut, noted); err != nil {
		t.Fatal(err)
	}
	db := behind(t, text)
	failing(t, db)

	mine := errors.New("mine")
	ids := map[int]string{20: "ses_none", 21: "ses_\xff", 22: "ses_\x00"}
	decisions := map[int]func(doorward.RefreshState) doorward.RefreshDecision{
		5: further, // of a session that has ended
		6: func(doorward.RefreshState) doorward.RefreshDecision { panic(mine) },
		7: func(doorward.RefreshState) doorward.RefreshDecision {
			return doorward.RefreshDecision{Outcome: doorward.Reused}
		},
		8: func(doorward.RefreshState) doorward.RefreshDecision {
			return doorward.RefreshDecision{Outcome: doorward.Repeated}
		},
		9: func(doorward.RefreshState) doorward.RefreshDecision { return doorward.RefreshDecision{} },
		10: func(at doorward.RefreshState) doorward.RefreshDecision {
			d := further(at)
			d.Chain.Child = "odd\x00\xff"
			return d
		},
	}
	const left, refused = 40, 50
	for _, round := range []string{"what the batch leaves out", "what the server refuses"} {
		if round == "what the server refuses" {
			execute(t, db, fmt.Sprintf(`
				CREATE TRIGGER fail BEFORE UPDATE ON sessions FOR EACH ROW WHEN (NEW.id = 'ses_%d') EXECUTE FUNCTION fail(1000, '23514')`, refused))
		}
		var before [callers]doorward.Session
		for i := range callers {
			var err error
			if before[i], _, err = s.Session(t.Context(), fmt.Sprintf("ses_%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		leaving, leave := context.WithCancel(t.Context())
		defer leave()
		var found [callers]bool
		var runs [callers]int
		got := batched(t, s, callers, func(i int) (err error) {
			id, ctx, decide := fmt.Sprintf("ses_%d", i), t.Context(), further
			if other, ok := ids[i]; ok {
				id = other
			}
			if other, ok := decisions[i]; ok {
				decide = other
			}
			if i == left {
				ctx = leaving
			}
			found[i], err = s.AdvanceRefresh(ctx, id, func(at doorward.RefreshState) doorward.RefreshDecision {
				runs[i]++
				return decide(at)
			}, noted)
			return err
		}, leave)
		for i, told := range got {
			n, _, err := s.Session(t.Context(), fmt.Sprintf("ses_%d", i))
			if err != nil {
				t.Fatal(err)
			}
			told, _ := told.(error)
			want, ok := before[i], told == nil && found[i]
			var constraint *pgconn.PgError
			switch {
			case i == 5:
				ok = errors.Is(told, errEnded)
			case i == 6:
				ok = told == mine
			case i == 7:
				want.Ended, want.EndReason = n.Ended, doorward.EndReuse
				ok = ok && !n.Ended.IsZero()
			case i == 8 || i == 9:
			case ids[i] != "":
				ok = told == nil && !found[i]
			case i == left:
				ok = told == context.Canceled
			case i == refused && round == "what the server refuses":
				ok = errors.As(told, &constraint) && constraint.Code == "23514" && strings.HasPrefix(told.Error(), "cannot advance a refresh chain: ")
			default:
				want.Chain = further(doorward.RefreshState{Session: want, Now: n.Chain.Minted}).Chain
				want.AccessUntil = n.AccessUntil
				if i == 10 {
					want.Chain.Child = "odd\uFFFD\uFFFD"
				} else if round == "what the batch leaves out" {
					ok = ok && runs[i] == 1 // the others are none of its business
				}
			}
			if !ok || n != want {
				t.Errorf("%s: %d: found %v after %d runs, got %v and %+v, want %+v", round, i, found[i], runs[i], told, n, want)
			}
		}
		// One for all, and one for the one that is odd.
		if n := transactions(t, db); round == "what the batch leaves out" && n != 2 {
			t.Errorf("%s: %d transactions", round, n)
		}
	}
	var entries, changes int
	err := db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM audit), (SELECT count(*) FROM changes)`).Scan(&entries, &changes)
	if err != nil || entries != callers+2 || changes != 2 { // one ended before, one by reuse
		t.Errorf("%d audit entries and %d changes, error %v", entries, changes, err)
	}
}

func TestASessionThatIsHeldHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, calm)
	const callers = 64
	victims(t, s, c, callers)
	holding, err := behind(t, text).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holding.Rollback()
	execute(t, holding, `SELECT 1 FROM sessions WHERE id = 'ses_30' FOR UPDATE`)
	var others, held atomic.Int64
	got := batched(t, s, callers, func(i int) error {
		_, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", i), further, noted)
		if i == 30 {
			held.Store(others.Load())
			return err
		}
		if others.Add(1) == callers-1 {
			err = errors.Join(err, holding.Rollback())
		}
		return err
	}, nothing)
	for i, err := range got {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if held.Load() != callers-1 {
		t.Errorf("the one that was held ended when %d others had", held.Load())
	}
}

func TestOnePlaceASessionInABatch(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, calm)
	victims(t, s, c, 8)
	db := behind(t, text)
	execute(t, db, `CREATE SEQUENCE updates`)
	execute(t, db, `CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('updates'); RETURN NULL; END $$`)
	execute(t, db, `CREATE TRIGGER counted AFTER UPDATE ON sessions FOR EACH STATEMENT EXECUTE FUNCTION counted()`)
	const callers = 64
	got := batched(t, s, callers, func(i int) error {
		_, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", i%8), further, noted)
		return err
	}, nothing)
	for i, err := range got {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	for i := range 8 {
		if n, _, err := s.Session(t.Context(), fmt.Sprintf("ses_%d", i)); err != nil || n.Chain.Gen != callers/8 {
			t.Errorf("%d: generation %d, error %v", i, n.Chain.Gen, err)
		}
	}
	var updates int
	if err := db.QueryRowContext(t.Context(), `SELECT last_value FROM updates`).Scan(&updates); err != nil || updates != callers/8 {
		t.Errorf("%d statements, error %v", updates, err)
	}
}

func TestABatchThatTheServerUndoesIsRunAgain(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, calm)
	const callers = 32
	victims(t, s, c, callers)
	db := behind(t, text)
	failing(t, db)
	for _, test := range []struct {
		name, code, when string
		failures         int
		ok               bool
		runs             int // of each decision
	}{
		{"a deadlock", pgDeadlock, "", 1, true, 2},
		{"at the commit", pgSerializationFailure, "DEFERRABLE INITIALLY DEFERRED", 1, true, 2},
		{"again and again", pgSerializationFailure, "", 100_000, false, 2 * tries}, // and then each alone
		{"out of memory", "53200", "", 1, false, 1},
		{"canceled", "57014", "", 1, false, 1},
	} {
		execute(t, db, `ALTER SEQUENCE failures RESTART`)
		kind := "TRIGGER"
		if test.when != "" {
			kind = "CONSTRAINT TRIGGER"
		}
		execute(t, db, fmt.Sprintf(`CREATE %s fail AFTER UPDATE ON sessions %s FOR EACH ROW EXECUTE FUNCTION fail(%d, '%s')`, kind, test.when, test.failures, test.code))
		var before, after int64
		sum := func(n *int64) {
			if err := db.QueryRowContext(t.Context(), `SELECT sum(gen)::bigint FROM sessions`).Scan(n); err != nil {
				t.Fatal(err)
			}
		}
		sum(&before)
		runs := make([]int, callers)
		got := batched(t, s, callers, func(i int) error {
			_, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", i), func(at doorward.RefreshState) doorward.RefreshDecision {
				runs[i]++
				return further(at)
			}, noted)
			return err
		}, nothing)
		sum(&after)
		execute(t, db, `DROP TRIGGER fail ON sessions`)
		for i, err := range got {
			if (err == nil) != test.ok || runs[i] != test.runs {
				t.Errorf("%s: %d: after %d runs: %v", test.name, i, runs[i], err)
			}
		}
		if want := int64(len(got)); test.ok && after-before != want || !test.ok && after != before {
			t.Errorf("%s: %d were kept", test.name, after-before)
		}
	}
}

func TestALostCommitIsInDoubtForAllOfABatch(t *testing.T) {
	t.Parallel()
	proxy := pgtest.NewProxy(t, postgres.Database(t))
	s, c := openURL(t, proxy.URL(), postgresOptions{readers: 1, writers: 1, patience: time.Minute})
	const callers = 8
	victims(t, s, c, callers)
	doubts := map[bool]int{}
	generation := func() (gen int64) {
		t.Helper()
		for i := range callers {
			n, _, err := s.Session(t.Context(), fmt.Sprintf("ses_%d", i))
			if err != nil { // its connection was cut as well
				n, _, err = s.Session(t.Context(), fmt.Sprintf("ses_%d", i))
			}
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 && n.Chain.Gen != gen {
				t.Fatalf("session %d is at generation %d, the others at %d", i, n.Chain.Gen, gen)
			}
			gen = n.Chain.Gen
		}
		return gen
	}
	for cut := 0; ; cut++ {
		// Once without a cut, so that everything is connected and prepared.
		for _, err := range batched(t, s, callers, func(i int) error {
			_, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", i), further, noted)
			return err
		}, nothing) {
			if err != nil {
				t.Fatal(err)
			}
		}
		before := generation()
		got := batched(t, s, callers, func(i int) error {
			_, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", i), further, noted)
			return err
		}, func() { proxy.CutAt(cut, true) })
		spared := proxy.Waiting()
		proxy.Heal()
		if spared {
			break
		}
		kept := generation() != before
		for i, err := range got {
			e, _ := err.(error)
			if i > 0 && fmt.Sprint(err) != fmt.Sprint(got[0]) {
				t.Errorf("cut before message %d: %d was told %v, the first %v", cut, i, err, got[0])
			}
			if errors.Is(e, errInDoubt) {
				doubts[kept]++
			} else if (err == nil) != kept {
				t.Errorf("cut before message %d: %d was told %v, kept %v", cut, i, err, kept)
			}
		}
	}
	if doubts[true] == 0 || doubts[false] == 0 {
		t.Errorf("in doubt: %d kept and %d not, want both", doubts[true], doubts[false])
	}
}

// Batches of two nodes, and transactions that lock the same sessions in the opposite order,
// some of them far too long.
func TestBatchesArePartOfNoDeadlock(t *testing.T) {
	t.Parallel()
	// The server does not find a deadlock, which ends in an error.
	text := with(t, postgres.Database(t), "deadlock_timeout", "600s")
	var on []*Store
	var c *clock
	for range 2 {
		var s *Store
		s, c = openURL(t, text, calm)
		on = append(on, s)
	}
	const sessions, each = 40, 30
	victims(t, on[0], c, sessions)
	var advanced [sessions]atomic.Int64
	race(66, func(i int) {
		s := on[i%2]
		order := rand.New(rand.NewPCG(1, uint64(i)))
		for range each {
			if i >= 64 {
				err := s.write(t.Context(), "lock many", func(ctx context.Context, t *tx) error {
					var id string
					return t.each(ctx, []any{&id}, func() error { return nil }, `SELECT id FROM sessions ORDER BY id DESC FOR UPDATE`)
				})
				if err != nil {
					t.Error(err)
					return
				}
				continue
			}
			n := order.IntN(sessions)
			_, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", n), further, noted)
			if err != nil {
				t.Error(err)
				return
			}
			advanced[n].Add(1)
		}
	})
	for i := range sessions {
		if n, _, err := on[0].Session(t.Context(), fmt.Sprintf("ses_%d", i)); err != nil || n.Chain.Gen != advanced[i].Load() {
			t.Errorf("%d: generation %d after %d refreshes, error %v", i, n.Chain.Gen, advanced[i].Load(), err)
		}
	}
}

func TestNobodyInABatchIsToldBeforeItIsKept(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, calm)
	const callers = 64
	victims(t, s, c, callers)
	other, _ := openURL(t, text, calm)
	for i, err := range batched(t, s, callers, func(i int) error {
		id := fmt.Sprintf("ses_%d", i)
		if _, err := s.AdvanceRefresh(t.Context(), id, further, noted); err != nil {
			return err
		}
		if n, _, err := other.Session(t.Context(), id); err != nil || n.Chain.Gen != 1 {
			return fmt.Errorf("told when generation %d was kept, error %v", n.Chain.Gen, err)
		}
		return nil
	}, nothing) {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestClosingWhileManyWaitForABatch(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, calm)
	const callers = 200
	victims(t, s, c, callers)
	inside, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	closed := make(chan error, 1)
	go func() {
		<-inside
		go func() { closed <- s.Close() }()
		<-s.closed
		close(proceed)
	}()
	got := batched(t, s, callers, func(i int) error {
		_, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", i), func(at doorward.RefreshState) doorward.RefreshDecision {
			once.Do(func() {
				close(inside)
				<-proceed
			})
			return further(at)
		}, noted)
		return err
	}, nothing)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	other, _ := openURL(t, text, calm)
	kept := 0
	for i, err := range got {
		n, _, readErr := other.Session(t.Context(), fmt.Sprintf("ses_%d", i))
		if readErr != nil || (n.Chain.Gen == 1) != (err == nil) || err != nil && err != errClosed {
			t.Errorf("%d: told %v, at generation %d, error %v", i, err, n.Chain.Gen, readErr)
		}
		if err == nil {
			kept++
		}
	}
	if kept == 0 || kept == callers {
		t.Errorf("%d of %d were kept", kept, callers)
	}
}

func TestABatchUsesTheIndex(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, calm)
	db := behind(t, text)
	execute(t, db, `
		INSERT INTO sessions SELECT 'ses_' || i, 'client', 'my-app', 'tok_' || i % 500, 1, 'editor', 'default', 'default', now, now + i * 1000,
			now + i * 1000, 0, '', '', 'j0', '', 0, 0, now, '', ''
		FROM generate_series(1, 50000) i, (SELECT $1::bigint AS now) clock`, c.ms.Load())
	execute(t, db, `VACUUM ANALYZE`)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	execute(t, conn, `SET plan_cache_mode = force_generic_plan`)
	for i, text := range []string{s.engine.batch.read, s.engine.batch.advance} {
		plan := postgresPlan(t, conn, i, text)
		if !strings.Contains(plan, "sessions_pkey") || strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s\n%s", text, plan)
		}
		// Locked in the order of their ids, or a batch of another node could hold what this one wants.
		if lock, sort := strings.Index(plan, "LockRows"), strings.Index(plan, "Sort"); i == 0 && (lock < 0 || sort < lock && !strings.Contains(plan, "Index Scan using sessions_pkey")) {
			t.Errorf("%s\n%s", text, plan)
		}
	}
}

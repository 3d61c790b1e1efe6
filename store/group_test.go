package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"doorward"
)

// gather lets n callers come one after the other while the one writer is taken. Each gets
// an error, or what it panicked with, or errGone while it has not returned. Only within
// synctest.
func gather(t *testing.T, s *Store, n int, do func(i int) error) (got []any, release func()) {
	t.Helper()
	got = make([]any, n)
	w := <-s.turns
	for i := range n {
		got[i] = errGone
		go func() {
			defer func() {
				if r := recover(); r != nil {
					got[i] = r
				}
			}()
			got[i] = do(i)
		}()
		synctest.Wait() // until it stands in line
	}
	return got, func() { s.turns <- w }
}

func gathered(t *testing.T, s *Store, n int, do func(i int) error) []any {
	t.Helper()
	got, release := gather(t, s, n, do)
	release()
	synctest.Wait()
	return got
}

var errGone = errors.New("it never returned")

// commits counts those of the writer's connection that wrote something. While refuse
// returns true they fail.
func commits(t *testing.T, s *Store, refuse func() bool) *atomic.Int64 {
	t.Helper()
	var n atomic.Int64
	w := <-s.turns
	defer func() { s.turns <- w }()
	err := w.conn.Raw(func(c any) error {
		c.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
			if refuse() {
				return 1
			}
			n.Add(1)
			return 0
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &n
}

func never() bool { return false }

// victims makes sessions ses_0 and so on that deeds end.
func victims(t *testing.T, s *Store, c *clock, n int) {
	t.Helper()
	for i := range n {
		if err := s.CreateSession(t.Context(), session(fmt.Sprintf("ses_%d", i), "tok_1", c), 1<<30, noted); err != nil {
			t.Fatal(err)
		}
	}
}

// deed ends session i, makes another one and then does what comes last.
func deed(s *Store, c *clock, i int, last func(ctx context.Context, t *tx) error) error {
	return s.write(context.Background(), "do a deed", func(ctx context.Context, t *tx) error {
		if _, _, err := t.endSession(ctx, fmt.Sprintf("ses_%d", i), doorward.EndSignedOut, c.now(), noted); err != nil {
			return err
		}
		if err := t.insertSession(ctx, session(fmt.Sprintf("new_%d", i), "tok_2", c)); err != nil {
			return err
		}
		return last(ctx, t)
	})
}

// check reports whether each deed is there as a whole, published once, or has left no trace.
func check(t *testing.T, s *Store, n int, done func(i int) bool) {
	t.Helper()
	published := map[string]int{}
	last := int64(0)
	if _, err := s.Changes(t.Context(), 0, func(ch doorward.Change) error {
		if ch.Number < last {
			t.Errorf("change %d after %d", ch.Number, last)
		}
		last = ch.Number
		published[ch.Target]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	audited := 0
	if err := s.readers.QueryRowContext(t.Context(), `SELECT count(*) FROM audit`).Scan(&audited); err != nil {
		t.Fatal(err)
	}
	deeds := 0
	for i := range n {
		old, _, err := s.Session(t.Context(), fmt.Sprintf("ses_%d", i))
		if err != nil {
			t.Fatal(err)
		}
		_, made, err := s.Session(t.Context(), fmt.Sprintf("new_%d", i))
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if done(i) {
			want = 1
			deeds++
		}
		if ended := !old.Ended.IsZero(); ended != done(i) || made != done(i) || published[old.ID] != want {
			t.Errorf("%d: told that it was done %v; ended %v, made %v, published %d times", i, done(i), ended, made, published[old.ID])
		}
	}
	if audited != n+deeds { // n were made
		t.Errorf("%d audit entries, want %d", audited, n+deeds)
	}
}

func TestAPartThatFailsFailsItsCallerAlone(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		const callers = 64
		victims(t, s, c, callers)
		shared := commits(t, s, never)
		mine := errors.New("mine")
		fine := func(context.Context, *tx) error { return nil }
		bad := map[int]func(ctx context.Context, t *tx) error{
			7:  func(context.Context, *tx) error { return doorward.ErrChanged },
			15: func(context.Context, *tx) error { return doorward.Conflict("no") },
			16: func(ctx context.Context, t *tx) error { return t.insertSession(ctx, session("ses_0", "tok_1", c)) },
			31: func(context.Context, *tx) error { panic(mine) },
			32: func(ctx context.Context, t *tx) error {
				_, err := t.exec(ctx, `nonsense`)
				return err
			},
			63: func(context.Context, *tx) error { return mine },
		}
		got := gathered(t, s, callers, func(i int) error {
			if last, ok := bad[i]; ok {
				return deed(s, c, i, last)
			}
			return deed(s, c, i, fine)
		})
		for i, err := range got {
			if _, ok := bad[i]; ok == (err == nil) {
				t.Errorf("%d: %v", i, err)
			}
		}
		var said *doorward.Error
		var constraint *sqlite.Error
		if got[7] != doorward.ErrChanged || got[31] != mine || got[63] != mine {
			t.Errorf("got %v, %v, %v", got[7], got[31], got[63])
		}
		if err, ok := got[15].(error); !ok || !errors.As(err, &said) || said.Code != doorward.CodeConflict {
			t.Errorf("got %v, want a conflict", got[15])
		}
		if err, ok := got[16].(error); !ok || !errors.As(err, &constraint) || !strings.HasPrefix(err.Error(), "cannot do a deed: ") {
			t.Errorf("got %v, want the constraint", got[16])
		}
		check(t, s, callers, func(i int) bool { return got[i] == nil })
		if shared.Load() != 1 {
			t.Errorf("%d transactions", shared.Load())
		}
	})
}

// A goroutine that ends takes the one with it that leads, and no other.
func TestAPartThatEndsItsGoroutineLeavesTheStoreWorking(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		victims(t, s, c, 8)
		got := gathered(t, s, 8, func(i int) error {
			return deed(s, c, i, func(context.Context, *tx) error {
				if i == 4 {
					runtime.Goexit()
				}
				return nil
			})
		})
		for i, err := range got {
			if want := i == 0 || i == 4; (err == errGone) != want || !want && err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		check(t, s, 8, func(i int) bool { return got[i] == nil })
	})
}

// trouble makes a session of the subject "bad" fail when it is kept: text runs then.
func trouble(t *testing.T, path string, texts ...string) {
	t.Helper()
	db, err := sqlitePool(path, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range texts {
		execute(t, db, text)
	}
}

func TestWhoSpoilsTheWholeTransactionFailsAlone(t *testing.T) {
	t.Parallel()
	for name, texts := range map[string][]string{
		// SQLite ends the transaction there and then, and what comes next would be kept by itself.
		"at once": {`
			CREATE TRIGGER spoil BEFORE INSERT ON sessions WHEN NEW.subject = 'bad'
			BEGIN SELECT RAISE(ROLLBACK, 'spoilt'); END`},
		"at the commit": {
			`CREATE TABLE parents (id TEXT PRIMARY KEY)`,
			`CREATE TABLE children (id TEXT REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)`,
			`CREATE TRIGGER spoil AFTER INSERT ON sessions WHEN NEW.subject = 'bad'
			BEGIN INSERT INTO children VALUES ('nobody''s'); END`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			synctest.Test(t, func(t *testing.T) {
				s, c := open(t, path)
				const callers = 64
				victims(t, s, c, callers)
				trouble(t, path, texts...)
				bad := func(i int) bool { return i == 0 || i == 20 || i == 41 || i == 63 }
				runs := make([]int, callers)
				got := gathered(t, s, callers, func(i int) error {
					return deed(s, c, i, func(ctx context.Context, t *tx) error {
						runs[i]++
						if !bad(i) {
							return nil
						}
						n := session(fmt.Sprintf("bad_%d", i), "tok_2", c)
						n.Subject = "bad"
						err := t.insertSession(ctx, n)
						if i == 20 || i == 0 { // who does not look what became of it, and goes on
							return t.insertSession(ctx, session(fmt.Sprintf("more_%d", i), "tok_2", c))
						}
						return err
					})
				})
				for i, err := range got {
					if bad(i) == (err == nil) || runs[i] > 3 {
						t.Errorf("%d: after %d runs: %v", i, runs[i], err)
					}
				}
				check(t, s, callers, func(i int) bool { return got[i] == nil })
				for _, id := range []string{"bad_0", "bad_20", "bad_41", "more_0", "more_20"} {
					if _, found, err := s.Session(t.Context(), id); found || err != nil {
						t.Errorf("%s: found %v, error %v", id, found, err)
					}
				}
				if err := s.MarkInitialised(t.Context()); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

func TestAFullDiskInTheMidstOfMany(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		const callers = 200
		victims(t, s, c, callers)
		var pages int
		if err := s.readers.QueryRowContext(t.Context(), `PRAGMA page_count`).Scan(&pages); err != nil {
			t.Fatal(err)
		}
		limit := func(conn *sql.Conn, pages int) {
			execute(t, conn, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages))
		}
		prepare := s.engine.undone
		s.engine.undone = func(conn *sql.Conn, tell func()) error { // also on the connections to come
			limit(conn, pages+40)
			return prepare(conn, tell)
		}
		w := <-s.turns
		limit(w.conn, pages+40)
		s.turns <- w
		got := gathered(t, s, callers, func(i int) error {
			return deed(s, c, i, func(ctx context.Context, t *tx) error {
				n := session(fmt.Sprintf("big_%d", i), "tok_2", c)
				n.UserAgent = strings.Repeat("x", 2000)
				return t.insertSession(ctx, n)
			})
		})
		kept := 0
		for i, err := range got {
			if err == nil {
				kept++
				continue
			}
			var full *sqlite.Error
			if err, ok := err.(error); !ok || !errors.As(err, &full) || full.Code() != sqlite3.SQLITE_FULL {
				t.Errorf("%d: %v, want that it is full", i, err)
			}
		}
		if kept == 0 || kept == callers {
			t.Errorf("%d of %d were kept", kept, callers)
		}
		check(t, s, callers, func(i int) bool { return got[i] == nil })
		w = <-s.turns
		if w.conn != nil {
			limit(w.conn, 1_000_000)
		}
		s.engine.undone = prepare
		s.turns <- w
		if err := s.MarkInitialised(t.Context()); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

func TestACommitThatFailsKeepsNothingOfAnybody(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		const callers = 64
		victims(t, s, c, callers)
		refused := 0
		commits(t, s, func() bool {
			refused++
			// Nothing of it can be seen by others, nor has anybody been told.
			if n, _, err := s.Session(t.Context(), "ses_1"); err != nil || !n.Ended.IsZero() {
				t.Errorf("before the commit: %+v, error %v", n, err)
			}
			return true
		})
		runs := make([]int, callers)
		got := gathered(t, s, callers, func(i int) error {
			return deed(s, c, i, func(context.Context, *tx) error {
				runs[i]++
				return nil
			})
		})
		for i, err := range got {
			if err != nil || runs[i] != 2 {
				t.Errorf("%d: after %d runs: %v", i, runs[i], err)
			}
		}
		if refused != 1 { // the connection was given up then, and with it what refuses
			t.Errorf("%d commits were refused", refused)
		}
		check(t, s, callers, func(i int) bool { return got[i] == nil })
	})
}

func TestNobodyWaitsTwiceForWhatCannotBegin(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		const callers = 64
		victims(t, s, c, callers)
		other, err := sqlitePool(path, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		holding, err := other.BeginTx(t.Context(), nil) // the one write lock there is
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		var got [callers]error
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() { got[i] = deed(s, c, i, func(context.Context, *tx) error { return nil }) })
		}
		all.Wait()
		for i, err := range got {
			var busy *sqlite.Error
			if !errors.As(err, &busy) || busy.Code()&0xff != sqlite3.SQLITE_BUSY || !strings.HasPrefix(err.Error(), "cannot do a deed: ") {
				t.Errorf("%d: %v", i, err)
			}
		}
		if took := time.Since(begun); took > 11*time.Second { // of a clock that only waiting moves
			t.Errorf("it took %v", took)
		}
		if err := holding.Rollback(); err != nil {
			t.Fatal(err)
		}
		check(t, s, callers, func(int) bool { return false })
		if err := deed(s, c, 0, func(context.Context, *tx) error { return nil }); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestNobodyIsToldBeforeItIsKept(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		victims(t, s, c, 1)
		other, _ := open(t, path) // which sees what was committed and nothing else
		shared := commits(t, s, never)
		got := gathered(t, s, 64, func(i int) error {
			var seen int64
			_, err := s.AdvanceRefresh(t.Context(), "ses_0", func(at doorward.RefreshState) doorward.RefreshDecision {
				seen = at.Session.Chain.Gen
				if i%2 == 1 {
					return doorward.RefreshDecision{Outcome: doorward.Repeated} // by what another has just advanced
				}
				at.Session.Chain.Gen++
				seen++
				return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: at.Session.Chain}
			}, noted)
			if err != nil {
				return err
			}
			if n, _, err := other.Session(t.Context(), "ses_0"); err != nil || n.Chain.Gen < seen {
				return fmt.Errorf("told of generation %d when %d was kept, error %v", seen, n.Chain.Gen, err)
			}
			return nil
		})
		for i, err := range got {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if n, _, err := s.Session(t.Context(), "ses_0"); err != nil || n.Chain.Gen != 32 || shared.Load() != 1 {
			t.Errorf("generation %d after %d transactions, error %v", n.Chain.Gen, shared.Load(), err)
		}
	})
}

func TestManyAreServedInTheOrderOfArrivalSoManyAtOnce(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		callers := 2 * s.engine.together
		victims(t, s, c, callers)
		done := commits(t, s, never)
		alone := s.engine.together + 5
		var order []int // one at a time, so no lock
		var after []int64
		got := gathered(t, s, callers, func(i int) error {
			write := s.write
			if i == alone {
				write = s.writeAlone
			}
			return write(t.Context(), "count", func(ctx context.Context, t *tx) error {
				order, after = append(order, i), append(after, done.Load())
				return t.insertSession(ctx, session(fmt.Sprintf("new_%d", i), "tok_2", c))
			})
		})
		for i, err := range got {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if len(order) != callers || !slices.IsSorted(order) {
			t.Errorf("served in the order %v", order)
		}
		// So many; a few, up to the one alone; that one; the rest.
		last := s.engine.together - 1
		for i, want := range map[int]int64{0: 0, last: 0, last + 1: 1, alone - 1: 1, alone: 2, alone + 1: 3, callers - 1: 3} {
			if after[i] != want {
				t.Errorf("%d was done after %d transactions, want %d", i, after[i], want)
			}
		}
		if done.Load() != 4 {
			t.Errorf("%d transactions, want 4", done.Load())
		}
	})
}

func TestOneThatIsSlowHoldsUpNobodyForLong(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		victims(t, s, c, 64)
		const each = 20
		var others sync.WaitGroup
		for i := 1; i < 64; i++ {
			others.Go(func() {
				for range each {
					if _, err := s.AdvanceRefresh(t.Context(), fmt.Sprintf("ses_%d", i), func(doorward.RefreshState) doorward.RefreshDecision {
						return doorward.RefreshDecision{Outcome: doorward.Advanced}
					}, noted); err != nil {
						t.Error(err)
					}
				}
			})
		}
		stop, slow := make(chan struct{}), make(chan int, 1)
		go func() {
			n := 0
			defer func() { slow <- n }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				n++
				if _, err := s.AdvanceRefresh(t.Context(), "ses_0", func(doorward.RefreshState) doorward.RefreshDecision {
					<-time.After(time.Second) // of a clock that only waiting moves
					return doorward.RefreshDecision{}
				}, noted); err != nil {
					t.Error(err)
				}
			}
		}()
		others.Wait()
		close(stop)
		// One that is under way, and one more in the same transaction or the next.
		if n := <-slow; n > 2*each+1 {
			t.Errorf("the slow one was served %d times while the others were served %d times each", n, each)
		}
	})
}

// unnoticed is a context whose end those who wait for it have yet to notice.
type unnoticed struct {
	context.Context
	ended *atomic.Bool
}

func (u unnoticed) Done() <-chan struct{} { return nil }

func (u unnoticed) Err() error {
	if u.ended.Load() {
		return context.Canceled
	}
	return nil
}

func TestWhoLeavesALineHarmsNobody(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		victims(t, s, c, 6)
		contexts, leave := make([]context.Context, 6), make([]context.CancelFunc, 6)
		for i := range contexts {
			contexts[i], leave[i] = context.WithCancel(t.Context())
			defer leave[i]()
		}
		var ended atomic.Bool
		contexts[5] = unnoticed{t.Context(), &ended}
		inside, proceed := make(chan struct{}), make(chan struct{})
		got, release := gather(t, s, 6, func(i int) error {
			_, err := s.AdvanceRefresh(contexts[i], fmt.Sprintf("ses_%d", i), func(doorward.RefreshState) doorward.RefreshDecision {
				if i == 3 {
					close(inside)
					<-proceed
					ended.Store(true)
				}
				return doorward.RefreshDecision{Outcome: doorward.Reused}
			}, noted)
			return err
		})
		left := func(want ...int) {
			t.Helper()
			synctest.Wait()
			for i, err := range got {
				if gone := slices.Contains(want, i); gone != (err == context.Canceled) || !gone && err != errGone {
					t.Errorf("%d: %v", i, err)
				}
			}
		}
		leave[0]() // who would lead
		leave[1]() // who waits
		left(0, 1)
		release()
		<-inside
		leave[2]() // too late: they have led and been served, but nobody knows yet whether it is kept
		leave[3]()
		leave[4]()
		left(0, 1, 4)
		close(proceed)
		synctest.Wait()
		if got[2] != nil || got[3] != nil || got[5] != context.Canceled {
			t.Errorf("who was served: %v, %v; who was next and left: %v", got[2], got[3], got[5])
		}
		for i := range 6 {
			if n, _, err := s.Session(t.Context(), fmt.Sprintf("ses_%d", i)); err != nil || !n.Ended.IsZero() != (i == 2 || i == 3) {
				t.Errorf("%d: %+v, error %v", i, n, err)
			}
		}
	})
}

func TestClosingWhileManyWait(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	const callers = 300
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, path)
		victims(t, s, c, callers)
		inside, proceed := make(chan struct{}), make(chan struct{})
		got, release := gather(t, s, callers, func(i int) error {
			return deed(s, c, i, func(context.Context, *tx) error {
				if i == 100 {
					close(inside)
					<-proceed
				}
				return nil
			})
		})
		release()
		<-inside
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if len(closed) > 0 {
			t.Error("closed in the midst of a transaction")
		}
		close(proceed)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for i, err := range got {
			// Those of the transaction under way, and nobody else.
			if i <= 100 && err != nil || i > 100 && err != errClosed {
				t.Errorf("%d: %v", i, err)
			}
		}
		s, _ = open(t, path)
		check(t, s, callers, func(i int) bool { return got[i] == nil })
	})
}

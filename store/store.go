package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"doorward"
)

var _ doorward.Store = (*Store)(nil)

// errClosed is what every method returns after Close.
var errClosed = errors.New("the store is closed")

// Store is a doorward.Store over SQL. Open one with OpenSQLite or OpenPostgres; it is safe
// for concurrent use.
type Store struct {
	engine  engine
	readers *sql.DB
	asked   sync.Map // SQL text to *sql.Stmt of readers

	writers   *sql.DB
	turns     chan *writer   // idle writers; who takes one has the turn
	parts     line[*part]    // who waits to share a transaction
	refreshes line[*refresh] // who waits to be part of a batch

	closing  sync.Once
	closed   chan struct{}
	closeErr error
	life     context.Context // ends with Close, for what runs beside the callers
	die      context.CancelFunc
	beside   []func() error // closes what the engine has opened for itself
}

// engine is all that database engines differ in once they are open.
type engine struct {
	// now reads the clock by which everything here is judged.
	now func(ctx context.Context, a asker) (time.Time, error)
	// rowLock ends a SELECT whose rows no other transaction may change before this one ends.
	rowLock string
	// nameLock is a statement that lets no other transaction have the lock named $1
	// before this one ends, for what has no row of its own. Empty where not needed.
	nameLock string
	// notify is a statement that wakes who waits for changes on other nodes once the
	// transaction is kept. Empty where they find out by themselves.
	notify string
	// await returns when the database may have changed since it was last called, or when
	// ctx ends.
	await func(ctx context.Context)
	// backUp copies the store into an empty file; nil where it cannot.
	backUp func(ctx context.Context, readers *sql.DB, path string) error
	// patience is how long the engine may take over one statement before who asked gets
	// an error; a statement then also ends when its caller leaves. 0 is for an engine that
	// is never waited for once a transaction has begun.
	patience time.Duration
	// together is how many callers may share a transaction, kept apart by savepoints; 0 for
	// none.
	together int
	// batch advances many refresh chains at once; nil where together does.
	batch *batch
	// holds says that a connection is not closed, whoever says so, while a statement that
	// was prepared on it is open: SQLite keeps it, and its files, until the last is
	// (sqlite3_close_v2). A server's connection needs no such care, and one that has
	// gone would be waited for.
	holds bool
	// undone has tell called when a transaction of conn's is rolled back, asked for or not.
	// nil for an engine that refuses what comes after it has done so.
	undone func(conn *sql.Conn, tell func()) error
	// again reports whether err says that a transaction had no effect for a reason that
	// may be gone when it is run anew. nil for an engine that has no such reasons.
	again func(err error) bool
	// failed reports whether err, of a COMMIT, says for certain that nothing was kept. nil
	// for an engine whose every error says so.
	failed func(err error) bool
}

// newStore takes over both pools; writers is how many transactions may run at once.
// beside are closed with it.
func newStore(e engine, readers, writers *sql.DB, n int, beside ...func() error) *Store {
	s := &Store{
		engine: e, readers: readers, writers: writers,
		turns: make(chan *writer, n), closed: make(chan struct{}), beside: beside,
	}
	s.life, s.die = context.WithCancel(context.Background())
	for range n {
		s.turns <- &writer{store: s}
	}
	return s
}

// Ping implements doorward.Store.
func (s *Store) Ping(ctx context.Context) error {
	var id int64
	found, err := s.asker("read the store").get(ctx, []any{&id}, `SELECT id FROM meta WHERE id = 1`)
	if err == nil && !found {
		err = errors.New("cannot read the store: its first row is missing")
	}
	return err
}

// Close lets the transactions under way end, refuses new ones and closes the store. What
// was acknowledged is durable without it. Closing again is nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		s.die()
		idle := make([]*writer, 0, cap(s.turns))
		for range cap(s.turns) {
			idle = append(idle, <-s.turns)
		}
		// The writers last: on SQLite the last one out tidies the file up, which a
		// connection that can change nothing could not.
		errs := []error{s.readers.Close()}
		for _, c := range s.beside {
			errs = append(errs, c())
		}
		for _, w := range idle {
			errs = append(errs, w.close())
		}
		s.closeErr = errors.Join(append(errs, s.writers.Close())...)
	})
	return s.closeErr
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"doorward"
)

// tries is how often a transaction is run before its failure is the caller's.
const tries = 4

// errInDoubt says that a COMMIT was sent and its answer never came.
var errInDoubt = errors.New("the connection was lost while it was being kept; whether it was is not known")

// write runs do as one transaction: durable when it returns nil, without effect when it
// does not. do's own error is returned as it is. Callers get their turn in the order of
// arrival; one whose ctx ends while it waits gets ctx's error and has no effect. What an
// engine undoes for reasons of its own (a deadlock, a lost connection) is run again, so do
// sets all that it leaves behind each time.
//
// Where the engine is a server, one error says something else: errInDoubt, when it went
// away with the COMMIT. Then the change may have been kept or not, and the caller, who was
// promised nothing, asks again.
//
// Every change goes through here, so this is the one place to let several callers share a
// transaction.
func (s *Store) write(ctx context.Context, op string, do func(ctx context.Context, t *tx) error) error {
	w, err := s.turn(ctx, op)
	if err != nil {
		return err
	}
	defer func() { s.turns <- w }() // also when do panics
	for try := 1; ; try++ {
		err := w.transact(ctx, op, do)
		if err == nil || try == tries || s.engine.again == nil || !s.engine.again(err) || errors.Is(err, errInDoubt) {
			return err
		}
	}
}

// turn waits for an idle writer. Receivers of a channel are served first come, first
// served; database/sql's own queue is not, it picks the next at random.
func (s *Store) turn(ctx context.Context, op string) (*writer, error) {
	if s.isClosed() {
		return nil, errClosed
	}
	waiting, v := keepVigil(ctx, s.engine.patience)
	defer v.end()
	select {
	case w := <-s.turns:
		if err := ctx.Err(); err != nil {
			s.turns <- w
			return nil, err
		}
		return w, nil
	case <-waiting.Done():
		return nil, s.asker(op).failed(ctx, v.why(ctx.Err()))
	case <-s.closed:
		return nil, errClosed
	}
}

// writer is one connection that changes things, for one transaction at a time.
type writer struct {
	store      *Store
	conn       *sql.Conn // nil until first used, and after a failure that leaves its state in doubt
	statements map[string]*sql.Stmt
}

// tx is a transaction under way.
type tx struct {
	asker
	engine  engine
	changes []doorward.Change // what publish will say
}

func (w *writer) transact(ctx context.Context, op string, do func(ctx context.Context, t *tx) error) error {
	engine := w.store.engine
	t := &tx{asker: asker{op: op, prepared: w, patience: engine.patience}, engine: engine}
	if err := w.connect(ctx); err != nil {
		return t.failed(ctx, err)
	}

	// Beginning may wait for another process, so it ends with ctx; the end does not.
	lasting := context.WithoutCancel(ctx)
	begin, cancel := context.WithCancel(lasting)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	begin, v := keepVigil(begin, engine.patience)
	defer v.end()
	under, err := w.conn.BeginTx(begin, nil)
	if err != nil {
		w.discard()
		return t.failed(ctx, v.why(err))
	}
	v.rest()
	open := true
	defer func() {
		if !open {
			return
		}
		v.resume()
		if under.Rollback() != nil {
			w.discard()
		}
	}()
	if !stop() {
		return ctx.Err()
	}

	during := lasting
	if engine.patience > 0 {
		during = ctx // which a lock that another holds may be waited for in vain
	}
	if err := do(during, t); err != nil {
		return err
	}
	if err := t.publish(during); err != nil {
		return err
	}
	open = false
	v.resume()
	if err := under.Commit(); err != nil {
		w.discard()
		if engine.failed != nil && !engine.failed(err) {
			return fmt.Errorf("cannot %s: %w: %w", op, errInDoubt, v.why(err))
		}
		return t.failed(lasting, err)
	}
	return nil
}

// connect gives the writer a connection, if it has none.
func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	connecting, v := keepVigil(ctx, w.store.engine.patience)
	defer v.end()
	conn, err := w.store.writers.Conn(connecting)
	if err != nil {
		return v.why(err)
	}
	w.conn, w.statements = conn, make(map[string]*sql.Stmt)
	return nil
}

func (w *writer) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if st, ok := w.statements[text]; ok {
		return st, nil
	}
	st, err := w.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	w.statements[text] = st
	return st, nil
}

// discard gives up the connection, so that the next transaction begins on a fresh one.
func (w *writer) discard() {
	// Told that it is bad, database/sql closes it instead of lending it again.
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.conn.Close()
	w.conn, w.statements = nil, nil
}

func (w *writer) close() error {
	if w.conn == nil {
		return nil
	}
	for _, st := range w.statements {
		st.Close()
	}
	return w.conn.Close()
}

// exec changes something and returns how many rows it touched.
func (t *tx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	st, asked, v, err := t.statement(ctx, text)
	if err != nil {
		return 0, err
	}
	defer v.end()
	result, err := st.ExecContext(asked, args...)
	if err != nil {
		return 0, t.failed(ctx, v.why(err))
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, t.failed(ctx, err)
	}
	return n, nil
}

// now reads the store's clock. Where rows are locked, read it after locking: who waited
// must not judge by the time before.
func (t *tx) now(ctx context.Context) (time.Time, error) { return t.engine.now(ctx, t.asker) }

// lock keeps other transactions that lock the same name out until this one ends.
func (t *tx) lock(ctx context.Context, name string) error {
	if t.engine.nameLock == "" {
		return nil
	}
	_, err := t.exec(ctx, t.engine.nameLock, name)
	return err
}

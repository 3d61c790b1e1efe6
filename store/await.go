package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// sqliteLook is how often a change by another process is looked for. A look costs a few
// microseconds and reads no table.
const sqliteLook = 25 * time.Millisecond

// sqliteWatch sees commits by others, our own writer's among them.
type sqliteWatch struct {
	mu      sync.Mutex // held by who waits
	db      *sql.DB    // of one connection, since data_version means something only there
	conn    *sql.Conn  // nil before the first look and after a failure
	version int64
}

// await returns when PRAGMA data_version has moved, or when ctx ends. Where it cannot be
// read it says at once that something may have changed; who then reads finds the error.
func (w *sqliteWatch) await(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tick := time.NewTicker(sqliteLook)
	defer tick.Stop()
	for {
		if moved, err := w.look(ctx); moved || err != nil && ctx.Err() == nil {
			if err != nil {
				<-ctx.Done() // a file that cannot be read is no reason to spin
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *sqliteWatch) look(ctx context.Context) (moved bool, err error) {
	if w.conn == nil {
		if w.conn, err = w.db.Conn(ctx); err != nil {
			w.conn = nil
			return false, err
		}
		w.version = -1
	}
	var version int64
	if err := w.conn.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version); err != nil {
		if ctx.Err() == nil {
			_ = w.conn.Close()
			w.conn = nil
		}
		return false, err
	}
	moved = version != w.version
	w.version = version
	return moved, nil
}

// close is for when nobody is to wait any more. A connection that is still held would stay
// open past it.
func (w *sqliteWatch) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
	return w.db.Close()
}

// changesChannel is what PostgreSQL's NOTIFY is sent on. A notification carries nothing: it
// can be lost, so all that matters is in the table.
const changesChannel = "doorward_changes"

// listenAgain is how long after its connection was lost a node listens again. It reads
// the feed meanwhile.
const listenAgain = time.Second

// postgresListener holds a connection that listens for other nodes' changes.
type postgresListener struct {
	config *pgx.ConnConfig
	heard  chan struct{} // of one place: that something was heard
	stop   context.CancelFunc
	done   chan struct{}
}

func listenPostgres(config *pgx.ConnConfig) *postgresListener {
	ctx, stop := context.WithCancel(context.Background())
	l := &postgresListener{config: config.Copy(), heard: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	// Nobody hangs up on this connection but us, and then it is to end at once.
	l.config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	l.config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return checkPostgres(ctx, conn, nil) // the same server as everybody else
	}
	go l.run(ctx)
	return l
}

func (l *postgresListener) run(ctx context.Context) {
	defer close(l.done)
	for ctx.Err() == nil {
		_ = l.listen(ctx) // what is lost is read from the table
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

func (l *postgresListener) listen(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, l.config)
	if err != nil {
		return err
	}
	defer func() {
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(leaving)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+changesChannel); err != nil {
		return err
	}
	for {
		l.hear() // also after connecting: what was sent before was not heard
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}

func (l *postgresListener) hear() {
	select {
	case l.heard <- struct{}{}:
	default: // it is known already
	}
}

// await returns when something was heard, or when ctx ends.
func (l *postgresListener) await(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.heard:
	}
}

func (l *postgresListener) close() error {
	l.stop()
	select {
	case <-l.done:
		return nil
	case <-time.After(5 * time.Second):
		return errors.New("the connection that listens for changes does not end")
	}
}

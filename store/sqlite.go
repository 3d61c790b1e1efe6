package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// sqliteID marks a file as ours in its header ("Door"), so that no other program's
	// database is ever taken for an empty one and filled with our tables.
	sqliteID = 0x446F6F72

	// sqliteReaders is how many questions can be asked at once. They take microseconds
	// and wait for no writer, so more would not be faster.
	sqliteReaders = 4
)

// OpenSQLite opens the store in the file at path, which is created with mode 0600 if
// there is none and brought up to date if it is older. now is the store's clock: SQLite
// runs in our process, so the engine's clock is ours. Several processes may have the file
// open, on one machine. Errors are for people: cannot open store doorward.db: ...
func OpenSQLite(ctx context.Context, path string, now func() time.Time) (*Store, error) {
	s, err := openSQLite(ctx, path, now)
	if err != nil {
		return nil, fmt.Errorf("cannot open store %s: %w", path, sqliteReason(err))
	}
	return s, nil
}

func openSQLite(ctx context.Context, path string, now func() time.Time) (_ *Store, err error) {
	file, err := ownFile(path)
	if err != nil {
		return nil, err
	}
	writers, err := sqlitePool(file, 4, false) // the migrations use more than one
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			writers.Close()
		}
	}()
	if err := claimSQLite(ctx, writers); err != nil {
		return nil, err
	}
	if err := migrate(ctx, goose.DialectSQLite3, writers, "schema/sqlite", goose.DefaultTablename); err != nil {
		return nil, err
	}
	readers, err := sqlitePool(file, sqliteReaders, true)
	if err != nil {
		return nil, err
	}
	if err := readers.PingContext(ctx); err != nil {
		return nil, errors.Join(err, readers.Close())
	}
	watchers, err := sqlitePool(file, 1, true)
	if err != nil {
		return nil, errors.Join(err, readers.Close())
	}
	watch := &sqliteWatch{db: watchers}
	e := engine{
		now: func(context.Context, asker) (time.Time, error) {
			// Cut to what is kept; and never 0, which would say "never".
			return time.UnixMilli(max(1, now().UnixMilli())).UTC(), nil
		},
		await:    watch.await,
		together: 128,
		holds:    true,
		undone:   sqliteUndone,
		backUp:   sqliteBackUp,
	}
	// One writer is all that SQLite allows, so no row and no name needs a lock.
	writers.SetMaxOpenConns(1)
	return newStore(e, readers, writers, 1, watch.close), nil
}

// sqliteUndone has tell called when a transaction is rolled back, which SQLite does by
// itself when the disk is full, for one; what comes next is then a transaction each.
func sqliteUndone(conn *sql.Conn, tell func()) error {
	return conn.Raw(func(c any) error {
		hooks, ok := c.(sqlite.HookRegisterer)
		if !ok {
			return errors.New("the driver does not tell of rollbacks")
		}
		hooks.RegisterRollbackHook(tell)
		return nil
	})
}

// ownFile returns path made absolute, of a file that exists and that only its owner can
// read. SQLite gives the files it adds (-wal, -shm) the mode of the first.
func ownFile(path string) (string, error) {
	if path == "" {
		return "", errors.New("it has no name")
	}
	file, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		return file, f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// An existing file is not opened: closing it would give up the locks that this
	// process may hold on it through another Store (POSIX locks belong to the process).
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Perm()&0o077 == 0 {
			continue
		}
		if err == nil {
			err = os.Chmod(name, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	return file, nil
}

// sqlitePragmas is what every connection is opened with, and asked for afterwards: a
// PRAGMA that SQLite does not like is ignored without a word, and a file system without
// shared memory silently leaves WAL off.
func sqlitePragmas(readOnly bool) [][2]string {
	return [][2]string{
		{"busy_timeout", "5000"}, // ms; other processes only, ours queue in Go
		{"journal_mode", "wal"},
		{"synchronous", "2"}, // FULL: durable when COMMIT returns, also without power
		{"foreign_keys", "1"},
		{"query_only", fmt.Sprint(bit(readOnly))},
	}
}

// sqlitePool opens n connections at most.
func sqlitePool(file string, n int, readOnly bool) (*sql.DB, error) {
	// mode=rw: a file that was deleted under us is an error, not an empty store.
	q := url.Values{"mode": {"rw"}, "_dqs": {"0"}, "_defensive": {"1"}, "_error_rc": {"1"}}
	for _, p := range sqlitePragmas(readOnly) {
		q.Set("_"+p[0], p[1])
	}
	if !readOnly {
		q.Set("_txlock", "immediate")
	}
	path := filepath.ToSlash(file)
	if path[0] != '/' {
		path = "/" + path // C:/...
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	c, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(sqliteConnector{Connector: c, readOnly: readOnly})
	db.SetMaxIdleConns(n)
	db.SetMaxOpenConns(n)
	return db, nil
}

// sqliteConnector opens connections and lends none that is not as it must be.
type sqliteConnector struct {
	driver.Connector
	readOnly bool
}

func (c sqliteConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range sqlitePragmas(c.readOnly) {
		got, err := readPragma(ctx, conn, p[0])
		if err == nil && got != p[1] {
			err = fmt.Errorf("its %s stays %s instead of %s; is it on a network file system?", p[0], got, p[1])
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

func readPragma(ctx context.Context, conn driver.Conn, name string) (string, error) {
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return "", errors.New("the driver cannot be queried")
	}
	rows, err := q.QueryContext(ctx, "PRAGMA "+name, nil)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	value := make([]driver.Value, len(rows.Columns()))
	switch err := rows.Next(value); {
	case errors.Is(err, io.EOF):
		return "", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprint(value[0]), nil
}

// claimSQLite refuses a file that is another program's and marks an empty one as ours,
// with the table in which goose keeps the schema's version. Goose would make that table
// too, but of two processes that do so at once one waits a second, and on a damaged one it
// tries for three.
func claimSQLite(ctx context.Context, db *sql.DB) error {
	versions, err := database.NewStore(goose.DialectSQLite3, goose.DefaultTablename)
	if err != nil {
		return err
	}
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback()
	var id, tables int64
	if err := t.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return err
	}
	if err := t.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return err
	}
	switch {
	case id == sqliteID:
		_, err := versions.GetLatestVersion(ctx, t)
		return err
	case id != 0 || tables > 0:
		return errors.New("it is a database of another program")
	}
	if _, err := t.ExecContext(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, sqliteID)); err != nil {
		return err
	}
	if err := versions.CreateVersionTable(ctx, t); err != nil {
		return err
	}
	if err := versions.Insert(ctx, t, database.InsertRequest{Version: 0}); err != nil {
		return err
	}
	return t.Commit()
}

// sqliteReason puts what SQLite and the file system say into words that lead somewhere.
func sqliteReason(err error) error {
	var p *fs.PathError
	var e *sqlite.Error
	switch {
	case errors.Is(err, fs.ErrPermission):
		return reason("permission denied; this user must be able to write the file and its directory", err)
	case errors.Is(err, fs.ErrNotExist):
		return reason("its directory does not exist; create it first", err)
	case errors.As(err, &p):
		return reason(p.Err.Error(), err)
	case !errors.As(err, &e):
		return err
	}
	switch e.Code() & 0xff { // the rest is detail
	case sqlite3.SQLITE_NOTADB:
		return reason("it is not a SQLite database", err)
	case sqlite3.SQLITE_CORRUPT:
		return reason("it is damaged; restore it from a backup", err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return reason("permission denied; this user must be able to write the file and its directory", err)
	case sqlite3.SQLITE_BUSY:
		return reason("another program holds it; stop that and try again", err)
	case sqlite3.SQLITE_FULL:
		return reason("the disk is full", err)
	}
	return err
}

// reason says words in place of err, which remains its cause.
func reason(words string, err error) error { return &reasonError{words: words, cause: err} }

type reasonError struct {
	words string
	cause error
}

func (e *reasonError) Error() string { return e.words }
func (e *reasonError) Unwrap() error { return e.cause }

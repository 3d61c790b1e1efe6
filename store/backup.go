package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
)

// ErrNoBackup says that the engine is a server, which has its own way to be backed up.
var ErrNoBackup = errors.New("this database is backed up by its own tools")

// BackUp writes a copy of the store into the file at path, which must exist and be empty. The
// copy is of one moment, at which all that was acknowledged before the call is there; nobody
// who writes meanwhile waits for it. It is checked before BackUp returns nil, but not synced
// to the disk. Errors: ErrNoBackup on PostgreSQL.
func (s *Store) BackUp(ctx context.Context, path string) error {
	if s.engine.backUp == nil {
		return ErrNoBackup
	}
	if err := s.engine.backUp(ctx, s.readers, path); err != nil {
		return s.asker("copy the store").failed(ctx, sqliteReason(err))
	}
	return nil
}

// sqliteBackUp copies by VACUUM INTO, which reads one snapshot of the file.
func sqliteBackUp(ctx context.Context, readers *sql.DB, path string) error {
	file, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	conn, err := readers.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A connection that may change nothing may not even write to another file. This one is
	// used for nothing else, and is not lent again.
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }()
	if _, err := conn.ExecContext(ctx, `PRAGMA query_only = 0`); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, `VACUUM INTO $1`, file); err != nil {
		return err
	}
	path = filepath.ToSlash(file)
	if path[0] != '/' {
		path = "/" + path // C:/...
	}
	// Opened so that nothing is put beside it.
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro&immutable=1"}
	copied, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return err
	}
	defer copied.Close()
	var verdict string
	if err := copied.QueryRowContext(ctx, `PRAGMA quick_check`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("the copy is damaged: %s", verdict)
	}
	return nil
}

package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
)

//go:embed schema
var schemas embed.FS

// migrate brings the schema up to date from the files in dir, keeping its version in
// table. A schema newer than this program knows is refused: what a column of the future
// means cannot be guessed.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB, dir, table string) error {
	files, err := fs.Sub(schemas, dir)
	if err != nil {
		return err
	}
	last := int64(-1)
	for {
		p, err := goose.NewProvider(dialect, db, files,
			goose.WithTableName(table), goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
		if err != nil {
			return err
		}
		is, known, err := p.GetVersions(ctx)
		if err != nil {
			return err
		}
		if is > known {
			return fmt.Errorf("it was written by a newer version of this program (schema %d, this one knows %d); use that version", is, known)
		}
		if is == known {
			return nil
		}
		_, err = p.Up(ctx)
		if err == nil {
			return nil
		}
		// Another process that opens the store at the same time may have been first.
		// As long as the schema moves on, look again.
		if is == last {
			return fmt.Errorf("cannot bring its schema up to date: %w", err)
		}
		last = is
	}
}

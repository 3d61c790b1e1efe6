package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"doorward"
	"doorward/safe"
	"doorward/store"
)

// byHand is the detail of every audit entry that the command line writes.
const byHand = safe.ByHand

// loadBeside reads the settings of a command that works on the database itself, beside a
// server or without one, by the same rules as the server's.
func (p *program) loadBeside(command takesSettings, src sources) (*loaded, error) {
	l, unknown := loadSome(command.takes, src)
	l.problems = append(l.problems, unknown...)
	if err := l.err(); err != nil {
		return nil, err
	}
	for _, w := range l.warnings {
		p.warn(w)
	}
	l.placeDatabase()
	l.checkFiles()
	return l, l.err()
}

// openKept opens the database of a command that is about what is kept in it, with the settings
// that the command takes.
func (p *program) openKept(ctx context.Context, command takesSettings, src *sources) (*store.Store, *loaded, error) {
	l, err := p.loadBeside(command, *src)
	if err != nil {
		return nil, nil, err
	}
	kept, err := openBeside(ctx, l.Settings, time.Now)
	return kept, l, err
}

// openBeside opens the database that a server has made, which may be running.
func openBeside(ctx context.Context, s Settings, now func() time.Time) (*store.Store, error) {
	if s.Database.URL != nil {
		return store.OpenPostgres(ctx, string(s.Database.URL))
	}
	// Never made here: who mistypes a path must not be told that there are no sessions.
	switch _, err := os.Stat(s.Database.Path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no database %s; name the server's with --data-dir or --database (it is made when a server first starts)", s.Database.Path)
	case err != nil:
		return nil, fmt.Errorf("cannot open store %s: %w", s.Database.Path, reason(err))
	}
	return store.OpenSQLite(ctx, s.Database.Path, now)
}

// auditByHand starts the audit entry of a command.
func auditByHand(action, target, org string) doorward.AuditEntry {
	a := doorward.Caller{}.Audit(action, target, byHand)
	a.Org = org
	return a
}

package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"doorward"
	"doorward/safe"
	"doorward/store"
)

type backupCmd struct {
	File       string `arg:"" name:"file" help:"The file to make; it must not exist."`
	WithSecret bool   `name:"with-secret" help:"Copy the secret file too, to FILE.secret: who has both can sign in as anybody."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

func (*backupCmd) takes(key string) bool { return inDatabase(key) || key == "names.secret_file" }

// backedUp is what a backup came to.
type backedUp struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	Secret string `json:"secret"` // the file of the secret's copy; empty for none
}

// Run copies the database as it is at one moment, beside a server or without one. There is a
// whole copy in the end, or none.
func (c *backupCmd) Run(ctx context.Context, p *program, src *sources) error {
	if c.File == "" {
		return errors.New("FILE names no file")
	}
	l, err := p.loadBeside(c, *src)
	if err != nil {
		return err
	}
	if l.Database.URL != nil {
		name, err := store.PostgresName(string(l.Database.URL))
		if err != nil {
			return err
		}
		return fmt.Errorf("with PostgreSQL use its own tools, as in: pg_dump --format=custom --file=FILE %s (docs/backup.md)", name)
	}
	var secrets []secretCopy
	secret := l.doorConfig().Safe().SecretPath()
	if c.WithSecret {
		secrets = []secretCopy{{from: secret, to: c.File + ".secret"}, {from: safe.PreviousPath(secret), to: safe.PreviousPath(c.File + ".secret"), mayLack: true}}
	}
	for _, name := range append([]string{c.File}, targets(secrets)...) {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = errors.New("it exists already; name another, or remove it first")
			}
			return fmt.Errorf("cannot back up to %s: %w", name, reason(err))
		}
	}
	kept, err := openBeside(ctx, l.Settings, time.Now)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // it was only read
	a := auditByHand("backup.create", "", "")
	if c.WithSecret {
		a.Detail += ": with the secret"
	}
	done := backedUp{File: c.File}
	if done.Bytes, err = backUp(ctx, kept, c.File, a); err != nil {
		return fmt.Errorf("cannot back up to %s: %w", c.File, reason(err))
	}
	if c.WithSecret {
		// After the database: a secret that was rotated in between is in the file of previous ones.
		if err := copySecrets(ctx, l.DataDir, secrets); err != nil {
			return fmt.Errorf("the database was copied to %s, but not the secret: %w", c.File, err)
		}
		done.Secret = secrets[0].to
	}
	if c.JSON {
		return p.printJSON(done)
	}
	words := fmt.Sprintf("backed up to %s (%d bytes)", done.File, done.Bytes)
	if done.Secret != "" {
		words += ", the secret to " + done.Secret
	} else if _, err := os.Stat(secret); err == nil {
		words += fmt.Sprintf("; the secret that signs tokens is not in it: keep %s as well, in another place, or everybody signs in again after a restore", secret)
	}
	_, err = fmt.Fprintln(p.Out, words)
	return err
}

// backUp makes the file at path a copy of kept, and durable, or makes none. a is written first,
// so that the copy knows of itself, and so does the store of one that went wrong half-way.
func backUp(ctx context.Context, kept *store.Store, path string, a doorward.AuditEntry) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // mode 0600
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	defer os.Remove(f.Name())
	if err := kept.WriteAudit(ctx, a); err != nil {
		return 0, err
	}
	if err := kept.BackUp(ctx, f.Name()); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), putInPlace(f, path)
}

// putInPlace gives the file f, which is beside it, the name path, unless there is one of that
// name, and makes both the content and the name durable.
func putInPlace(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	err := os.Link(f.Name(), path) // which, unlike a rename, replaces nothing
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = os.Rename(f.Name(), path) // not every file system has links
	}
	if err != nil {
		return err
	}
	return safe.SyncDir(filepath.Dir(path))
}

// secretCopy is a file of secrets to be copied.
type secretCopy struct {
	from, to string
	mayLack  bool // there need not be one
}

func targets(all []secretCopy) []string {
	var names []string
	for _, c := range all {
		names = append(names, c.to)
	}
	return names
}

// copySecrets copies while no secret is rotated.
func copySecrets(ctx context.Context, dir string, all []secretCopy) error {
	unlock, err := safe.Lock(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	for _, c := range all {
		content, err := os.ReadFile(c.from)
		if errors.Is(err, fs.ErrNotExist) && c.mayLack {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no secret file %s: is jwt.secret given to the server? then keep that", c.from)
		}
		if err != nil {
			return err
		}
		if err := writeInPlace(c.to, content); err != nil {
			return err
		}
	}
	return nil
}

func writeInPlace(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		return err
	}
	return putInPlace(f, path)
}

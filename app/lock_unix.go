//go:build unix

package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockDatabase makes this process the only server on a SQLite file until the returned
// function is called or the process ends, however it ends: the kernel gives the lock up
// then, so that no stale one is ever left. Commands may work on the file meanwhile.
func lockDatabase(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the database %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another server is running on the database %s; stop it, or give this one a --data-dir of its own (several servers need PostgreSQL)", path)
		}
		return nil, fmt.Errorf("cannot lock the database %s: %w", path, err)
	}
	return func() error {
		// Given up by name: closing alone would leave it to a child process that is just
		// being started and still holds a copy.
		return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
	}, nil
}

// secretsPatience is how long lockSecrets waits for another process.
const secretsPatience = 20 * time.Second

// lockSecrets waits until this process is the only one that changes the secrets in dir, or
// that starts with them, and stays so until the returned function is called or the process
// ends. It is the directory itself that is locked, so that no file is left of it which
// another user could not open.
func lockSecrets(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the secrets: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, secretsPatience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return func() {
				_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // by name, as in lockDatabase
				_ = f.Close()
			}, nil
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EWOULDBLOCK):
			_ = f.Close()
			return nil, fmt.Errorf("cannot lock the secrets in %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("cannot lock the secrets in %s: another process has them locked; is a server starting there that does not get on?", dir)
		case <-tick.C:
		}
	}
}

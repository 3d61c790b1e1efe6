//go:build unix

package door

import (
	"errors"
	"fmt"
	"os"
	"syscall"
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
			return nil, fmt.Errorf("another server is running on the database %s; stop it, or give this one a data directory of its own (several servers need PostgreSQL)", path)
		}
		return nil, fmt.Errorf("cannot lock the database %s: %w", path, err)
	}
	return func() error {
		// Given up by name: closing alone would leave it to a child process that is just
		// being started and still holds a copy.
		return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
	}, nil
}

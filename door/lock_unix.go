//go:build unix

package door

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// lockDatabase makes this process the only server on a SQLite file until the returned
// function is called or the process ends, however it ends: the kernel gives the lock up
// then, so that no stale one is ever left. Commands may work on the file meanwhile.
//
// The lock goes by the file's own name, whatever link has led to it. A file with two names of its own
// (hard links) is refused: SQLite would keep a log beside each.
func lockDatabase(path string) (unlock func() error, err error) {
	given := path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	} else if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("cannot open store %s: it is a symbolic link that leads nowhere; name the file itself", given)
	}
	if info, err := os.Stat(path); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
			return nil, fmt.Errorf("cannot open store %s: the file has %d names (hard links), by each of which another server could open it; copy it with doorward backup instead", given, stat.Nlink)
		}
	}
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

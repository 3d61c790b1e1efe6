package store

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestOpenWithoutPermission(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := filepath.Join(dir, "kept.db")
	s, _ := open(t, kept)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, kept: 0, dir: 0o555} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Error(err)
		}
	})
	errs := make(chan error)
	for _, path := range []string{kept, filepath.Join(dir, "new.db")} {
		go func() {
			// Root may do everything, so this thread becomes nobody to the file system. It
			// is not unlocked, so it ends with the goroutine.
			runtime.LockOSThread()
			if os.Geteuid() == 0 {
				if err := syscall.Setfsuid(65534); err != nil {
					errs <- err
					return
				}
			}
			s, err := OpenSQLite(t.Context(), path, newClock().now)
			if err == nil {
				s.Close()
			}
			errs <- err
		}()
		err := <-errs
		const want = ": permission denied; this user must be able to write the file and its directory"
		if err == nil || !strings.HasPrefix(err.Error(), "cannot open store "+path) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: error %v", filepath.Base(path), err)
		}
	}
}

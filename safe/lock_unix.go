//go:build unix

package safe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// secretsPatience is how long Lock waits for another process.
const secretsPatience = 20 * time.Second

// Lock waits until this process is the only one that changes the secrets in dir, or
// that starts with them, and stays so until the returned function is called or the process
// ends. It is the directory itself that is locked, so that no file is left of it which
// another user could not open.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
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

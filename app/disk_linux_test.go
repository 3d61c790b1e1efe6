package app

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRE7AFullDisk fills the disk under a running server: what must be kept is refused with
// 503 and never acknowledged, what need not be goes on, and all is well once there is room.
func TestRE7AFullDisk(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small disk cannot be made here: mounting a tmpfs needs root (%v)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	e := newEchoService(t)
	d := &door{t: t, dir: dir, clock: &clock{}, log: &logBuffer{}, flags: map[string]string{}}
	d.set("data_dir="+dir, "api_tokens="+machineToken, "jwt.secret="+machineSecret, "upstream="+e.URL)
	d.start()
	t.Cleanup(d.stop)
	root := d.setUp()
	_, cookieOfRoot := d.signIn("root", rootPassword)
	access, refresh := d.exchange(machineToken, "app")
	other, _ := d.exchange(machineToken, "other")
	d.do("GET", "/auth/validate", bearer(other)).want(http.StatusOK)

	fill(t, filepath.Join(dir, "filler"))
	files := openIn(t, dir)
	const away = "temporarily unavailable"
	d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("root", rootPassword))).refused(http.StatusServiceUnavailable, away)
	d.do("POST", "/auth/token", bearer(machineToken), formBody(`{"client_id":"third"}`)).refused(http.StatusServiceUnavailable, away)
	d.refresh(refresh).refused(http.StatusServiceUnavailable, away)
	d.do("POST", "/auth/logout", bearer(access)).refused(http.StatusServiceUnavailable, away)
	d.do("POST", "/api/auth/logout", cookie(cookieOfRoot)).refused(http.StatusServiceUnavailable, away)
	for _, token := range []string{access, other, root} { // nobody was told that it has ended
		d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
		d.do("POST", "/x", bearer(token)).want(http.StatusOK)
	}
	d.do("GET", "/health/live").want(http.StatusOK)
	for range 20 {
		d.do("POST", "/auth/logout", bearer(access)).want(http.StatusServiceUnavailable)
	}
	if now := openIn(t, dir); now > files+2 { // a connection may be between its end and its successor
		t.Errorf("each refusal leaves files open: %d of them, %d before", now, files)
	}

	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
	d.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
	d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
	d.signIn("root", rootPassword)
	d.restart()
	d.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
	d.do("GET", "/auth/validate", bearer(other)).want(http.StatusOK)
}

// openIn counts what this process has open in dir.
func openIn(t *testing.T, dir string) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range all {
		// One that was closed meanwhile has no name.
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, dir) {
			n++
		}
	}
	return n
}

// fill writes a file until no byte more fits.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

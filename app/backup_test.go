package app

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// restored starts a server on a copy: the database's and, unless it is empty, the secret's file.
func restored(t *testing.T, database, secret string, settings ...string) *door {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{database: "doorward.db", secret: ".brokoli-jwt-secret"} {
		if from == "" {
			continue
		}
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return newDoor(t, append([]string{"data_dir=" + dir}, settings...)...)
}

// TestABackupTakenUnderLoadIsWhole: while sessions are made, refreshed and ended a copy is
// taken by the real command, and what was acknowledged before it began is in it.
func TestABackupTakenUnderLoadIsWhole(t *testing.T) {
	t.Parallel()
	settings := []string{"api_tokens=" + machineToken, "open_mode=never"}
	d := newDoor(t, settings...)
	root := d.setUp()
	d.newUser(root, "anna", "editor")
	var mu sync.Mutex
	var made, ended []string // access tokens, as acknowledged
	stop := make(chan struct{})
	var all sync.WaitGroup
	rest := sync.OnceFunc(func() {
		close(stop)
		all.Wait()
	})
	defer rest()
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				keep, refresh := d.exchange(machineToken, "app")
				gone, _ := d.exchange(machineToken, "app")
				d.rotated(refresh)
				d.do("POST", "/auth/logout", bearer(gone)).want(http.StatusOK)
				mu.Lock()
				made, ended = append(made, keep), append(ended, gone)
				mu.Unlock()
			}
		})
	}
	until(t, 30*time.Second, "there is a load", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(made) > 50
	})
	quiet, quietRefresh := d.exchange(machineToken, "quiet")
	_, busyRefresh := d.exchange(machineToken, "busy")
	_, busyRefresh = d.rotated(busyRefresh)
	file := filepath.Join(t.TempDir(), "copy.db")
	mu.Lock()
	before, over := len(made), len(ended)
	mu.Unlock()
	d.prints("backup", "--with-secret", file)
	rest()
	if len(made) == before {
		t.Log("nothing was made while the copy was taken")
	}
	// What happens after the backup is lost with a restore.
	newest := busyRefresh
	for range 3 {
		_, newest = d.rotated(newest)
	}
	d.do("POST", "/auth/logout", bearer(made[0])).want(http.StatusOK)
	d.newUser(root, "later", "viewer")

	for _, name := range []string{file, file + ".secret"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	beside, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(beside) != 2 {
		t.Errorf("left behind: %v, %v", beside, err)
	}

	r := restored(t, file, file+".secret", settings...)
	for _, token := range made[:before] {
		r.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
	}
	for _, token := range ended[:over] {
		r.do("GET", "/auth/validate", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
	}
	r.do("GET", "/auth/validate", bearer(root)).want(http.StatusOK)
	r.do("GET", "/auth/validate", bearer(quiet)).want(http.StatusOK)
	r.signIn("anna", "password of anna")
	r.login("later", "password of later").refused(http.StatusUnauthorized, "invalid credentials")
	r.rotated(quietRefresh)
	// A token newer than its row is never taken for reuse: it is an alarm, until the chain is
	// taken up again from a token that the copy knows.
	r.refresh(newest).refused(http.StatusServiceUnavailable, "temporarily unavailable")
	if !strings.Contains(r.log.String(), "ALARM") {
		t.Error("no alarm")
	}
	r.rotated(busyRefresh)
	// The operator's own way to be on the safe side.
	all2, _ := r.signIn("anna", "password of anna")
	if got, _, _ := runProgram(t, nil, "session", "revoke", "--all", "--data-dir", r.flags["data_dir"]); got != 0 {
		t.Errorf("session revoke: %d", got)
	}
	for _, token := range []string{all2, made[0], quiet} {
		until(t, 10*time.Second, "a session is over", func() bool { return r.do("GET", "/auth/validate", bearer(token)).status == 401 })
	}

	// Without the secret everybody signs in again, and nothing else is lost.
	r = restored(t, file, "", settings...)
	r.do("GET", "/auth/validate", bearer(quiet)).refused(http.StatusUnauthorized, "invalid token")
	r.refresh(quietRefresh).refused(http.StatusUnauthorized, "invalid token")
	r.signIn("root", rootPassword)
}

// TestABackupThatCannotBeFinishedLeavesNothing.
func TestABackupThatCannotBeFinishedLeavesNothing(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.setUp()
	dir := t.TempDir()
	d.stop()
	if err := os.WriteFile(filepath.Join(d.dir, "doorward.db"), []byte("not a database, whatever it is called"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := d.command("backup", filepath.Join(dir, "copy.db"))
	if left, _ := os.ReadDir(dir); status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || len(left) != 0 {
		t.Errorf("status %d, %q, %q, left %v", status, stdout, stderr, left)
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	hangs := make(chan struct{})
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hangs":
			select {
			case <-hangs:
			case <-r.Context().Done():
			}
		case "/moved":
			http.Redirect(w, r, d.URL+"/health/ready", http.StatusSeeOther)
		default:
			http.Error(w, "no", http.StatusTeapot)
		}
	}))
	t.Cleanup(func() { close(hangs); other.Close() })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	says := func(status int, want string, args ...string) {
		t.Helper()
		got, stdout, stderr := runProgram(t, nil, append([]string{"healthcheck"}, args...)...)
		if got != status || !strings.HasPrefix(stdout+stderr, want) || strings.Count(stdout+stderr, "\n") != 1 {
			t.Errorf("healthcheck %v: status %d, %q, %q", args, got, stdout, stderr)
		}
	}
	for _, listen := range []string{"127.0.0.1:" + port, "0.0.0.0:" + port, ":" + port, "localhost:" + port} {
		says(0, "ok\n", "--listen", listen)
	}
	says(0, "ok\n", "--url", d.URL+"/health/ready")
	const no = "doorward: not ready: "
	says(1, no, "--listen", nobody)
	says(1, no+"the answer is 418", "--url", other.URL+"/x")
	says(1, no+"the answer is 303", "--url", other.URL+"/moved")
	says(1, no+"no answer within 50ms\n", "--timeout", "50ms", "--url", other.URL+"/hangs")
	says(1, "doorward: paths.health is off", "--paths-health", "off")
	says(1, "doorward: listen: ", "--listen", "127.0.0.1:0")
	says(1, "doorward: --url: must be", "--url", "localhost")
	inJSON := func(status int, want, complaint string, args ...string) {
		t.Helper()
		got, stdout, stderr := runProgram(t, nil, append([]string{"healthcheck", "--json"}, args...)...)
		if got != status || stdout != want+"\n" || !strings.HasPrefix(stderr, complaint) || (complaint == "") != (stderr == "") {
			t.Errorf("healthcheck --json %v: status %d, %q, %q; want %q", args, got, stdout, stderr, want)
		}
	}
	inJSON(0, `{"status":"ok","url":"http://127.0.0.1:`+port+`/health/ready","http_status":200}`, "", "--listen", ":"+port)
	inJSON(1, `{"status":"error","url":"`+other.URL+`/x","http_status":418,"error":"not ready: the answer is 418 I'm a teapot"}`, no, "--url", other.URL+"/x")
	// Somebody may have put a password into it, or a token.
	inJSON(1, `{"status":"error","url":"`+other.URL+`/hangs","error":"not ready: no answer within 50ms"}`, no,
		"--timeout", "50ms", "--url", strings.Replace(other.URL, "//", "//me:hush@", 1)+"/hangs?token=hush")
	_ = d.house.store.Close()
	says(1, no+"the answer is 503", "--listen", "127.0.0.1:"+port)
	inJSON(1, `{"status":"error","url":"http://127.0.0.1:`+port+`/health/ready","http_status":503,"error":"not ready: the answer is 503 Service Unavailable"}`, no, "--listen", ":"+port)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := askReady(ctx, other.URL+"/hangs", time.Minute, false); err == nil {
		t.Error("who is asked to end goes on")
	}
}

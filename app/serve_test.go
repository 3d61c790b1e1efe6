package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// served is the real program, serving.
type served struct {
	cmd    *exec.Cmd
	addr   string
	stderr *logBuffer
	ended  chan error
}

// serveProgram starts doorward serve on a free port and waits until it says where it
// listens; when it ends first, addr is empty.
func serveProgram(t *testing.T, args ...string) *served {
	t.Helper()
	s := &served{stderr: &logBuffer{}, ended: make(chan error, 1)}
	s.cmd = exec.Command("doorward", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			_, _ = s.stderr.Write(append(lines.Bytes(), '\n'))
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				addr <- m[1]
			}
			var line struct{ Msg, Addr string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				addr <- line.Addr
			}
		}
		close(addr)
		s.ended <- s.cmd.Wait()
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	s.addr = <-addr
	return s
}

// TestStoppingLetsRequestsFinish: SIGTERM closes the door, and who is inside is served.
func TestStoppingLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	arrived, leave := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-leave
		_, _ = io.WriteString(w, "done")
	}))
	t.Cleanup(upstream.Close)
	s := serveProgram(t, "--data-dir", t.TempDir(), "--upstream", upstream.URL, "--api-key", machineKey)
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		r, err := http.NewRequest("GET", "http://"+s.addr+"/slow", nil)
		if err != nil {
			got <- result{"", err}
			return
		}
		r.Header.Set("X-API-Key", machineKey)
		resp, err := oneShot.Do(r)
		if err != nil {
			got <- result{"", err}
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		got <- result{string(b), err}
	}()
	<-arrived
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for { // until nobody else gets in
		conn, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(leave)
	if r := <-got; r.err != nil || r.body != "done" {
		t.Errorf("the request under way got %q, %v", r.body, r.err)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("the server ended with %v\n%s", err, s.stderr)
	}
}

// TestStartUpErrorsAreOneLine: what cannot work is said before anything listens, in one
// line that says what to do, and with status 1.
func TestStartUpErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	running := t.TempDir()
	if s := serveProgram(t, "--data-dir", running); s.addr == "" {
		t.Fatalf("did not start: %s", s.stderr)
	}
	broken := filepath.Join(t.TempDir(), "doorward.db")
	if err := os.WriteFile(broken, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--listen", taken.Addr().String()}, "cannot listen on " + taken.Addr().String()},
		{[]string{"--data-dir", running}, "another server is running on the database"},
		{[]string{"--database", broken}, "cannot open store " + broken},
		{[]string{"--database", "postgres://localhost/x", "--jwt-secret", "a secret of at least 32 bytes, ours"}, "PostgreSQL"},
		{[]string{"--data-dir", filepath.Join(broken, "x")}, "data_dir: cannot make"},
		{[]string{"--jwt-secret", "your-32-byte-secret-key"}, "has 23 bytes, must have at least 32"},
		{[]string{"--metrics-listen", taken.Addr().String()}, "for metrics"},
		{[]string{"--sample-command", "no-such-program-anywhere"}, "no-such-program-anywhere"},
	} {
		args := c.args
		if !strings.Contains(strings.Join(args, " "), "--data-dir") {
			args = append(args, "--data-dir", t.TempDir())
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		args = append([]string{"serve"}, args...)
		if args[1] != "--listen" {
			args = append(args, "--listen", "127.0.0.1:0")
		}
		cmd := exec.CommandContext(ctx, "doorward", args...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		cancel()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%q ended with %v\n%s", c.args, err, &errs)
		}
		last := strings.TrimSpace(errs.String())
		last = last[strings.LastIndexByte(last, '\n')+1:]
		if !strings.HasPrefix(last, "doorward: ") || !strings.Contains(last, c.want) || out.Len() != 0 {
			t.Errorf("%q says %q, want a line with %q", c.args, last, c.want)
		}
		if strings.Contains(errs.String(), "goroutine ") {
			t.Errorf("%q panics: %s", c.args, &errs)
		}
	}
}

// TestTheLogIsJSONWhenAsked and what the console prints beside it is the setup command alone.
func TestTheLogIsJSONWhenAsked(t *testing.T) {
	t.Parallel()
	s := serveProgram(t, "--data-dir", t.TempDir(), "--log-format", "json", "--metrics-listen", "127.0.0.1:0", "--auth-enabled")
	if s.addr == "" {
		t.Fatalf("did not start: %s", s.stderr)
	}
	resp, err := oneShot.Get("http://" + s.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable { // not ours any more: the service's, which is closed until set up
		t.Errorf("/metrics beside metrics.listen: %d", resp.StatusCode)
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	lines, setup := 0, 0
	for line := range strings.Lines(s.stderr.String()) {
		switch {
		case strings.HasPrefix(line, "{"):
			lines++
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		case strings.Contains(line, "X-Setup-Code: "):
			setup++
		}
	}
	if lines < 3 || setup != 1 {
		t.Errorf("%d lines of log, %d setup commands:\n%s", lines, setup, s.stderr)
	}
}

package app

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	ended  chan error    // gets how it ended
	over   chan struct{} // closed when it has
}

// serveProgram starts doorward serve on a free port and waits until it says where it
// listens; when it ends first, addr is empty.
func serveProgram(t testing.TB, args ...string) *served {
	t.Helper()
	s := &served{stderr: &logBuffer{}, ended: make(chan error, 1), over: make(chan struct{})}
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
		close(s.over)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.over // before its directory is removed
	})
	s.addr = <-addr
	record.program(s.addr)
	go func() {
		<-s.over
		record.ended(s.addr)
	}()
	return s
}

// ask sends GET to the program, with the operator's key, and returns the answer.
func (s *served) ask(t *testing.T, url string) answer {
	t.Helper()
	d := &door{t: t, URL: url}
	return d.do("GET", "", apiKey(machineKey))
}

// signal sends a signal to the program.
func (s *served) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
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

// TestASecondSignalEndsAtOnce: who asks twice does not want to wait for who is inside.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	service, asked := silent(t)
	s := serveProgram(t, "--data-dir", t.TempDir(), "--upstream", service, "--api-key", machineKey)
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.stderr)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"+machineKeyLine+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-asked
	began := time.Now()
	again := time.NewTicker(20 * time.Millisecond) // the first may still be being heard
	defer again.Stop()
	for {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended
		select {
		case <-again.C:
			continue
		case err := <-s.ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
				t.Errorf("it ended with %v", err)
			}
		}
		break
	}
	if took := time.Since(began); took >= stopTimeout {
		t.Errorf("it took %s", took)
	}
}

// TestTheDatabaseIsFreeOnceAServerHasEnded, however it ended.
func TestTheDatabaseIsFreeOnceAServerHasEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT} {
		s := serveProgram(t, "--data-dir", dir)
		if s.addr == "" {
			t.Fatalf("did not start: %s", s.stderr)
		}
		s.signal(t, sig)
		if err := <-s.ended; (err == nil) != (sig != syscall.SIGKILL) {
			t.Errorf("%s: it ended with %v\n%s", sig, err, s.stderr)
		}
	}
}

// TestMetricsOnAnAddressOfTheirOwn: there and only there, and nothing else there.
func TestMetricsOnAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	e := newEchoService(t)
	s := serveProgram(t, "--data-dir", t.TempDir(), "--upstream", e.URL, "--api-key", machineKey, "--metrics-listen", "127.0.0.1:0", "--paths-metrics", "/numbers")
	said := regexp.MustCompile(`msg="serving metrics" addr=(\S+) path=/numbers\n`).FindStringSubmatch(s.stderr.String())
	if said == nil {
		t.Fatalf("the log does not say where the metrics are:\n%s", s.stderr)
	}
	if got := s.ask(t, "http://"+s.addr+"/numbers").echoed(); got.Target != "/numbers" {
		t.Errorf("/numbers at the door arrives as %s", got.Target)
	}
	if a := s.ask(t, "http://"+said[1]+"/numbers").want(http.StatusOK); !strings.Contains(a.body, `doorward_http_requests_total{code="200"} 1`) {
		t.Errorf("the metrics are\n%s", a.body)
	}
	for _, path := range []string{"/", "/health", "/metrics", "/auth/token", "/x", "/numbers/x"} {
		s.ask(t, "http://"+said[1]+path).want(http.StatusNotFound)
	}
	s.signal(t, syscall.SIGTERM)
	if err := <-s.ended; err != nil {
		t.Errorf("it ended with %v\n%s", err, s.stderr)
	}
}

// TestTheLogSaysWhatIsOurs: which paths never reach the service, and which service that is.
func TestTheLogSaysWhatIsOurs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		settings []string
		want     []string
	}{
		{nil, []string{`behind="the built-in sample service`, `paths="[/auth/ /api/auth/ /health /metrics]"`}},
		{[]string{"upstream=http://service.example:3000/base"}, []string{"behind=http://service.example:3000/base "}},
		{[]string{"paths.prefix=/door", "paths.health=off", "paths.metrics=/m"}, []string{`paths="[/door/auth/ /door/api/auth/ /m]"`, "/door/api/auth/users -H"}},
		{[]string{"metrics.listen=127.0.0.1:0"}, []string{`paths="[/auth/ /api/auth/ /health]"`}},
		{[]string{"public_url=https://door.example"}, []string{"curl -X POST https://door.example/api/auth/users -H \"X-Setup-Code: "}},
		{[]string{"auth.enabled=true"}, []string{"closed until set up"}},
	} {
		d := newDoor(t, c.settings...)
		for _, want := range c.want {
			if !strings.Contains(d.log.String(), want) {
				t.Errorf("%q: no %q in\n%s", c.settings, want, d.log)
			}
		}
	}
	if d := newDoor(t, "auth.enabled=false"); strings.Contains(d.log.String(), "closed") {
		t.Errorf("what is open to all is called closed:\n%s", d.log)
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
	elsewhere := filepath.Join(t.TempDir(), "other.db")
	other, err := sql.Open("sqlite", elsewhere)
	if err == nil {
		_, err = other.Exec("CREATE TABLE theirs (x)")
	}
	if err := errors.Join(err, other.Close()); err != nil {
		t.Fatal(err)
	}
	exposed := t.TempDir()
	if err := os.WriteFile(filepath.Join(exposed, ".brokoli-jwt-secret"), []byte("0123456789abcdefghijklmnopqrstuv"), 0o644); err != nil {
		t.Fatal(err)
	}
	links := t.TempDir()
	linked, dangling, twice, once := filepath.Join(links, "linked.db"), filepath.Join(links, "dangling.db"), filepath.Join(links, "twice.db"), filepath.Join(links, "once.db")
	if err := errors.Join(os.Symlink(filepath.Join(running, "doorward.db"), linked), os.Symlink(filepath.Join(links, "nothing"), dangling),
		os.WriteFile(once, nil, 0o600), os.Link(once, twice)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--database", elsewhere}, "it is a database of another program"},
		{[]string{"--database", t.TempDir()}, "it is not a regular file"},
		{[]string{"--database", filepath.Join(t.TempDir(), "no", "such.db")}, "no such"},
		{[]string{"--data-dir", exposed}, "can be read by others (mode 0644); run: chmod 600"},
		{[]string{"--upstream", "localhost:3000"}, "upstream"},
		{[]string{"--upstream", "ftp://localhost"}, "upstream"},
		{[]string{"--routes", "/x king"}, "routes (--routes): entry 1: \"king\" is neither a path, nor methods like GET|HEAD"},
		{[]string{"--listen", taken.Addr().String()}, "cannot listen on " + taken.Addr().String()},
		{[]string{"--data-dir", running}, "another server is running on the database"},
		{[]string{"--database", linked}, "another server is running on the database"},
		{[]string{"--database", dangling}, "it is a symbolic link that leads nowhere"},
		{[]string{"--database", twice}, "the file has 2 names (hard links), by each of which another server could open it; copy it with doorward backup instead"},
		{[]string{"--database", broken}, "cannot open store " + broken},
		{[]string{"--database", "postgres://me:hush@127.0.0.1:1/x", "--jwt-secret", "a secret of at least 32 bytes, ours"}, "cannot open store postgres://me@127.0.0.1:1/x: nothing answers there; is the server running?"},
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
		var said []string
		for line := range strings.Lines(errs.String()) {
			if !strings.Contains(line, " level=WARN ") {
				said = append(said, line)
			}
		}
		if len(said) != 1 || !strings.HasPrefix(said[0], "doorward: ") || !strings.Contains(said[0], c.want) || out.Len() != 0 {
			t.Errorf("%q says %q, want one line with %q", c.args, said, c.want)
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

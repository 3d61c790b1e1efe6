// Package examples holds programs that embed Doorward, to be copied. Its tests build each and
// knock at it.
package examples

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nethttp", "chi"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, name)
			p.want(t, "GET", "/", "", "", http.StatusServiceUnavailable, "setup required")
			// The first user, by the code that the console says, and two whom that one makes.
			p.want(t, "POST", "/api/auth/users", `{"username":"root","password":"correct horse battery"}`, "", http.StatusUnauthorized, "token required")
			p.want(t, "POST", "/api/auth/users", `{"username":"root","password":"correct horse battery"}`, "X-Setup-Code: "+p.code, http.StatusCreated, `"superadmin"`)
			root := p.signIn(t, "root", "correct horse battery")
			for _, u := range []string{"viewer", "editor"} {
				p.want(t, "POST", "/api/auth/users", fmt.Sprintf(`{"username":%q,"password":"password of %s","role":%q}`, u, u, u), root, http.StatusCreated, u)
			}
			viewer, editor := p.signIn(t, "viewer", "password of viewer"), p.signIn(t, "editor", "password of editor")

			p.want(t, "GET", "/", "", viewer, http.StatusOK, "hello, viewer, you are viewer")
			p.want(t, "POST", "/books", "Emma", viewer, http.StatusForbidden, "insufficient permissions")
			p.want(t, "POST", "/books", "Emma", editor, http.StatusCreated, "")
			p.want(t, "GET", "/books", "", viewer, http.StatusOK, "Emma")
			p.want(t, "GET", "/public/../books", "", viewer, http.StatusOK, "Emma")
			p.want(t, "DELETE", "/books", "", editor, http.StatusForbidden, "insufficient permissions")
			p.want(t, "DELETE", "/books", "", root, http.StatusOK, "")
			p.want(t, "GET", "/", "", "X-Forwarded-User: root", http.StatusUnauthorized, "token required")
			p.want(t, "GET", "/", "", "Accept: text/html", http.StatusSeeOther, "")
			p.want(t, "GET", "/auth/login", "", "", http.StatusOK, "<form")

			// Signing out ends what is under way.
			res := p.send(t, "GET", "/ticks", "", viewer)
			defer res.Body.Close()
			lines := bufio.NewReader(res.Body)
			if line, err := lines.ReadString('\n'); err != nil || line != "data: tick\n" {
				t.Fatalf("%q, %v", line, err)
			}
			p.want(t, "POST", "/auth/logout", "", viewer, http.StatusOK, "token invalidated")
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, lines)
				ended <- err
			}()
			select {
			case err := <-ended:
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("the stream ends with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("the stream goes on")
			}
			p.want(t, "GET", "/", "", viewer, http.StatusUnauthorized, "token blacklisted")
			p.stop(t)

			// Who signed in before stays so.
			again := startIn(t, name, p.dir)
			again.want(t, "GET", "/", "", editor, http.StatusOK, "hello, editor")
			again.want(t, "GET", "/", "", viewer, http.StatusUnauthorized, "token blacklisted")
			again.stop(t)
		})
	}
}

// program is an example that runs.
type program struct {
	cmd       *exec.Cmd
	dir       string
	url, code string
	ended     chan struct{} // its standard error has
}

func start(t *testing.T, name string) *program {
	t.Helper()
	return startIn(t, name, t.TempDir())
}

var (
	listening = regexp.MustCompile(`listening on (http://\S+)`)
	setupCode = regexp.MustCompile(`/auth/setup#code=(\S+)`)
)

func startIn(t *testing.T, name, dir string) *program {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := &program{cmd: exec.Command(binary, "-listen", "127.0.0.1:0"), dir: dir, ended: make(chan struct{})}
	p.cmd.Dir = dir
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(t) })
	said := bufio.NewScanner(stderr)
	var all strings.Builder
	for p.url == "" && said.Scan() {
		fmt.Fprintln(&all, said.Text())
		if m := setupCode.FindStringSubmatch(said.Text()); m != nil {
			p.code = m[1]
		}
		if m := listening.FindStringSubmatch(said.Text()); m != nil {
			p.url = m[1]
		}
	}
	if p.url == "" {
		t.Fatalf("it does not start:\n%s", all.String())
	}
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(io.Discard, stderr)
	}()
	return p
}

// stop asks the program to end, as a service manager does.
func (p *program) stop(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	if p.url != "" {
		<-p.ended
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (p *program) send(t *testing.T, method, path, body, line string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if name, value, ok := strings.Cut(line, ": "); ok {
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (p *program) want(t *testing.T, method, path, body, line string, status int, words string) string {
	t.Helper()
	res := p.send(t, method, path, body, line)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || !strings.Contains(string(b), words) {
		t.Errorf("%s %s: %d %s, %v; want %d %s", method, path, res.StatusCode, b, err, status, words)
	}
	return string(b)
}

// signIn returns the header line by which a user is known from then on.
func (p *program) signIn(t *testing.T, username, password string) string {
	t.Helper()
	var answer struct{ Token string }
	body := p.want(t, "POST", "/api/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, username, password), "", http.StatusOK, "token")
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + answer.Token
}

package sample_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorward/sample"
)

// patience is for what happens at once unless something is broken.
const patience = 30 * time.Second

// childVariable makes this test binary the command that the service runs.
const childVariable = "SAMPLE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child(os.Args[1], os.Args[2:]))
	}
	os.Exit(m.Run())
}

// child is the command under test. It tells the test where it is by connecting to it,
// and what holds such a connection ends at the latest with the test.
func child(mode string, args []string) int {
	switch mode {
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "args":
		_ = json.NewEncoder(os.Stdout).Encode(args)
	case "env":
		fmt.Print(strings.Join(os.Environ(), "\n"))
	case "print": // without reading anything
		fmt.Print(args[0])
	case "exit":
		fmt.Print("half an answer")
		fmt.Fprint(os.Stderr, "a complaint")
		code, _ := strconv.Atoi(args[0])
		return code
	case "fail-on": // cat, but for one prompt
		prompt, _ := io.ReadAll(os.Stdin)
		if string(prompt) == args[0] {
			return 3
		}
		_, _ = os.Stdout.Write(prompt)
	case "flood":
		for {
			if _, err := fmt.Println("again and again"); err != nil {
				return 1
			}
		}
	case "ask": // tells the test the prompt, and prints what the test says
		prompt, _ := io.ReadAll(os.Stdin)
		reply, err := tell(args[0], string(prompt))
		if err != nil {
			return 3
		}
		fmt.Print(reply)
	case "hold": // until the test hangs up
		_, _ = tell(args[0], "held")
	case "family": // starts another of the same group, and stays
		if err := start("hold", args[0]).Run(); err != nil {
			return 4
		}
	case "orphan": // leaves another behind, who holds the output open
		cmd := start("ready-hold", args[0])
		if len(args) > 1 {
			leaveGroup(cmd)
		}
		r, w, err := os.Pipe()
		if err != nil {
			return 4
		}
		cmd.ExtraFiles = []*os.File{w}
		if err := cmd.Start(); err != nil {
			return 4
		}
		w.Close()
		_, _ = io.ReadAll(r) // until it is connected
		fmt.Print("the answer")
	case "ready-hold":
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return 4
		}
		fmt.Fprintln(conn, strconv.Quote("held"))
		os.NewFile(3, "ready").Close()
		_, _ = io.ReadAll(conn)
	default:
		return 99
	}
	return 0
}

// start is this binary once more, as a child's child.
func start(mode, addr string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], mode, addr)
	cmd.Stdout = os.Stdout
	return cmd
}

// tell sends the test a text and waits for its reply.
func tell(addr, text string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprintln(conn, strconv.Quote(text))
	reply, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSuffix(reply, "\n"), err
}

// A line is where children call.
type line struct{ *net.TCPListener }

func newLine(t *testing.T) line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return line{l.(*net.TCPListener)}
}

// A party is a child that has called.
type party struct {
	conn net.Conn
	said string
}

func (l line) accept(t *testing.T) *party {
	t.Helper()
	p := l.acceptWithin(t, patience)
	if p == nil {
		t.Fatal("no child called")
	}
	return p
}

// acceptWithin returns nil if no child calls in time.
func (l line) acceptWithin(t *testing.T, wait time.Duration) *party {
	t.Helper()
	_ = l.SetDeadline(time.Now().Add(wait))
	conn, err := l.Accept()
	if err != nil {
		return nil
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	text, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil // killed while it spoke
	}
	said, err := strconv.Unquote(strings.TrimSuffix(text, "\n"))
	if err != nil {
		t.Fatalf("child said %q: %v", text, err)
	}
	return &party{conn, said}
}

func (p *party) reply(t *testing.T, text string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.conn, text); err != nil {
		t.Fatal(err)
	}
}

// mustDie waits until the process at the other end is no more: the kernel closes what
// a dead process held.
func (p *party) mustDie(t *testing.T) {
	t.Helper()
	_ = p.conn.SetDeadline(time.Now().Add(patience))
	if n, err := p.conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Fatalf("process is still alive (%d bytes, %v)", n, err)
	}
}

// commandOf configures this binary as the command.
func commandOf(t *testing.T, args ...string) sample.Config {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return sample.Config{Command: append([]string{exe}, args...), Env: []string{childVariable + "=1", "GORACE=atexit_sleep_ms=0"}}
}

// A house is a service behind a real server.
type house struct {
	*sample.Service
	*httptest.Server
}

func open(t *testing.T, c sample.Config) house {
	t.Helper()
	svc, err := sample.New(c)
	if err != nil {
		t.Fatal(err)
	}
	h := house{svc, httptest.NewServer(svc)}
	t.Cleanup(func() {
		h.Service.Close()
		h.Server.Close()
	})
	return h
}

// A reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request with a body (none if empty) and headers as "Name: value".
func (h house) do(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	got, err := h.try(t, method, path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// try is do for other goroutines than the test's.
func (h house) try(t *testing.T, method, path, body string, headers ...string) (reply, error) {
	res, err := h.send(t, method, path, body, headers...)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(data)}, err
}

func (h house) send(t *testing.T, method, path, body string, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(t.Context(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Add(name, value)
	}
	return h.Client().Do(req)
}

// want checks the status and decodes a JSON answer.
func (r reply) want(t *testing.T, status int, into any) {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	if ct := r.header.Get("Content-Type"); ct != "application/json" {
		t.Fatalf("content type %q, want application/json", ct)
	}
	if r.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatal("nosniff is missing")
	}
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
}

type refused struct{ ID, Error, Status string }

// wantRefusal checks that an answer is a refusal with this status and sentence.
func (r reply) wantRefusal(t *testing.T, status int, sentence string) refused {
	t.Helper()
	var got refused
	r.want(t, status, &got)
	if got.Error != sentence || got.Status != "error" {
		t.Fatalf("refused with %q (status %q), want %q", got.Error, got.Status, sentence)
	}
	return got
}

type pipeline struct {
	ID, Name string
	Steps    []struct{ Name, Prompt string }
	Created  time.Time `json:"created_at"`
	Updated  time.Time `json:"updated_at"`
}

type run struct {
	ID       string
	Pipeline string `json:"pipeline_id"`
	Status   string
	Steps    []struct{ Name, Status, Output, Error string }
	Created  time.Time  `json:"created_at"`
	Finished *time.Time `json:"finished_at"`
	Events   string
}

// create makes a pipeline from its JSON.
func (h house) create(t *testing.T, body string) pipeline {
	t.Helper()
	var p pipeline
	h.do(t, "POST", "/api/pipelines", body).want(t, 201, &p)
	return p
}

// begin starts a run of a pipeline.
func (h house) begin(t *testing.T, pipelineID string) run {
	t.Helper()
	var r run
	h.do(t, "POST", "/api/pipelines/"+pipelineID+"/run", "").want(t, 202, &r)
	return r
}

// await follows a run's events to their end and returns the run.
func (h house) await(t *testing.T, r run) run {
	t.Helper()
	if got := h.do(t, "GET", r.Events, ""); got.status != 200 && got.status != 204 {
		t.Fatalf("events: %d %s", got.status, got.body)
	}
	var ended run
	h.do(t, "GET", strings.TrimSuffix(r.Events, "/events"), "").want(t, 200, &ended)
	return ended
}

package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorward"
)

var smallHash = doorward.Argon2{Password: []byte("a password"), Salt: []byte("0123456789abcdef"), Memory: 64, Time: 1, Lanes: 1, Length: 32}

// TestHashWorkerComputesTheSame: a worker's keys are this process's, however many ask at once, and
// a worker that is killed among them costs nobody anything.
func TestHashWorkerComputesTheSame(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	w := newHashWorker(slog.New(slog.NewTextHandler(log, nil)))
	w.begin = func() *exec.Cmd { return exec.Command("doorward", "hash-worker") }
	want := smallHash.Key()
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for range 20 {
				if i == 0 {
					if run := w.run(); run != nil {
						_ = run.cmd.Process.Kill()
					}
				}
				if key, err := w.key(smallHash); err != nil || !bytes.Equal(key, want) {
					t.Errorf("%x, %v", key, err)
				}
			}
		})
	}
	all.Wait()
	run := w.run()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if run != nil {
		<-run.over
	}
	if key, err := w.key(smallHash); err != nil || !bytes.Equal(key, want) {
		t.Errorf("after Close: %x, %v", key, err)
	}
	if strings.Contains(log.String(), "a password") {
		t.Errorf("the log: %s", log)
	}
}

// TestHashWorkersThatAreNone: what cannot be begun, ends at once, or answers with something else, is
// done without, and said three times at most.
func TestHashWorkersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func() *exec.Cmd{
		"not there":      func() *exec.Cmd { return exec.Command("/no/such/program") },
		"ends at once":   func() *exec.Cmd { return exec.Command("doorward", "version") },
		"answers others": func() *exec.Cmd { return exec.Command("cat") },
	} {
		log := &logBuffer{}
		w := newHashWorker(slog.New(slog.NewTextHandler(log, nil)))
		w.begin = begin
		for range 10 {
			if key, err := w.key(smallHash); err != nil || !bytes.Equal(key, smallHash.Key()) {
				t.Errorf("%s: %x, %v", name, key, err)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != hashWorkerTries || !strings.Contains(log.String(), "in this process from now on") {
			t.Errorf("%s: the log: %s", name, log)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHashWorkerReadsNothingElse: what is no ask ends it with a sentence.
func TestHashWorkerReadsNothingElse(t *testing.T) {
	t.Parallel()
	err := computeHashes(strings.NewReader("root\npassword\n"), &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "this command is for the server alone") || strings.Contains(err.Error(), "root") {
		t.Errorf("error %v", err)
	}
	if err := computeHashes(strings.NewReader(""), &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
}

// childrenOf are the processes that a process has begun and that have not ended, as /proc tells.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		stat := string(b)
		id, _, _ := strings.Cut(stat, " ")
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // proc(5): from the state on
		if child, err := strconv.Atoi(id); err == nil && fields[0] != "Z" && fields[1] == strconv.Itoa(pid) {
			all = append(all, child)
		}
	}
	return all
}

// TestTheServersHashWorker: the real program computes hashes in a second process that knows no
// secret, survives what ends the server in good order, and does not outlive it.
func TestTheServersHashWorker(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	s := serveProgram(t, "--data-dir", t.TempDir(), "--jwt-secret", machineSecret, "--api-key", machineKey)
	signIn := func() int {
		t.Helper()
		d := &door{t: t, URL: "http://" + s.addr}
		return d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("nobody", "a password that nobody has"))).status
	}
	worker := func() int {
		t.Helper()
		if status := signIn(); status != http.StatusUnauthorized {
			t.Fatalf("a sign-in: %d", status)
		}
		all := childrenOf(t, s.cmd.Process.Pid)
		if len(all) != 1 {
			t.Fatalf("the server has begun %v: %s", all, s.stderr)
		}
		return all[0]
	}
	first := worker()
	for _, file := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", first, file))
		if err != nil {
			t.Fatal(err)
		}
		if file == "environ" && len(b) > 0 || strings.Contains(string(b), machineSecret) {
			t.Errorf("%s: %q", file, b)
		}
	}
	// What a terminal or systemd sends to all of a server's processes does not end it.
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := syscall.Kill(first, sig); err != nil {
			t.Fatal(err)
		}
	}
	if again := worker(); again != first {
		t.Errorf("the worker was %d and is %d", first, again)
	}
	// Killed, it is replaced.
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := worker()
	// It does not outlive the server, however that ends.
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.over
	for until := time.Now().Add(10 * time.Second); syscall.Kill(second, 0) == nil && !zombie(second); {
		if time.Now().After(until) {
			t.Fatal("the worker has outlived the server")
		}
		runtime.Gosched()
	}
}

// zombie reports whether a process has ended and nobody has asked how.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

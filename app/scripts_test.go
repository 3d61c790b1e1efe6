package app

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptServer is the script command server: it starts the program on the script's database and
// a free port, and stops it when the script ends.
func scriptServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: server FLAGS")
	}
	cmd := exec.Command("doorward", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.MkAbs(".")}
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	said, addr := new(strings.Builder), ""
	for lines := bufio.NewScanner(stderr); addr == "" && lines.Scan(); {
		fmt.Fprintln(said, lines.Text())
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			addr = m[1]
		}
	}
	rest := make(chan struct{})
	go func() { defer close(rest); _, _ = io.Copy(io.Discard, stderr) }()
	ts.Defer(func() {
		record.ended(addr)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-rest
		_ = cmd.Wait()
	})
	if addr == "" {
		ts.Fatalf("the server did not start:\n%s", said)
	}
	record.program(addr)
	ts.Setenv("ADDR", addr)
}

// scriptAsks is the script command asks: asks STATUS METHOD PATH [BODY] asks the server that
// server has started, and fails unless it answers so.
func scriptAsks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: asks STATUS METHOD PATH [BODY]")
	}
	r, err := http.NewRequest(args[1], "http://"+ts.Getenv("ADDR")+args[2], nil)
	ts.Check(err)
	if len(args) == 4 {
		jsonBody(args[3])(r)
	}
	resp, err := oneShot.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if strconv.Itoa(resp.StatusCode) != args[0] {
		ts.Fatalf("%s %s: %d %s", args[1], args[2], resp.StatusCode, body)
	}
}

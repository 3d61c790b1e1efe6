package app

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestREADME runs the commands of README.md as they are printed there, against the real
// program: testdata/readme/*.txtar name the sections in the order in which somebody would
// try them, and say what must come out. Every shell block of the README must be run.
func TestREADME(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "curl is not installed: the README's commands were not run")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		missing(t, "openssl is not installed: the README's commands were not run")
	}
	blocks := blocksOf(t, "README.md", "sh")
	scripts, err := filepath.Glob(filepath.Join("testdata", "readme", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range scripts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	for heading := range blocks {
		// Which of the first two is run by whoever runs this.
		if heading != "Doorward" && !strings.Contains(all.String(), "'"+heading+"'") {
			t.Errorf("no script in testdata/readme runs the README's section %q", heading)
		}
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "readme"),
		Setup: func(e *testscript.Env) error {
			shims := filepath.Join(e.WorkDir, ".shims")
			if err := os.Mkdir(shims, 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(shims, "curl"), []byte("#!/bin/sh\nexec pagecurl \"$@\"\n"), 0o700); err != nil {
				return err
			}
			e.Setenv("PATH", shims+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("REAL_CURL", curl)
			e.Setenv("DOORWARD_LISTEN", "127.0.0.1:0")
			e.Setenv("DOORWARD_DATA_DIR", filepath.Join(e.WorkDir, "data"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"readme": func(ts *testscript.TestScript, neg bool, args []string) { runBlock(ts, neg, blocks, args) },
			"serve":  func(ts *testscript.TestScript, neg bool, args []string) { serveBlock(ts, neg, blocks, args) },
			"take":   takeField,
		},
	})
}

// missing skips a test that this machine cannot run, or fails it where everything must run.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("DOORWARD_TEST_ALL") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// TestGoThatIsShownIsRun: what the README and docs/library.md show of Go stands in programs and
// examples that are built and run, line by line, but for how far it is indented.
func TestGoThatIsShownIsRun(t *testing.T) {
	t.Parallel()
	flat := func(text string) string {
		var b strings.Builder
		for line := range strings.Lines(text) {
			b.WriteString(strings.TrimLeft(line, "\t"))
		}
		return b.String()
	}
	nethttp, ladder, tests := "examples/nethttp/main.go", "door/example_test.go", "doorwardtest/example_test.go"
	for page, sources := range map[string][]string{"README.md": {nethttp}, "docs/library.md": {nethttp, ladder, tests}} {
		run, shown := "", 0
		for _, name := range sources {
			source, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
			if err != nil {
				t.Fatal(err)
			}
			run += flat(string(source))
		}
		for heading, block := range blocksOf(t, page, "go") {
			for part := range strings.SplitSeq(strings.TrimSpace(block), "\n\n") {
				shown++
				if part = strings.TrimSpace(flat(part)); !strings.Contains(run, part) {
					t.Errorf("%s, %q, shows what is not in %v:\n%s", page, heading, sources, part)
				}
			}
		}
		if shown < 3 {
			t.Errorf("%s shows %d pieces of Go", page, shown)
		}
	}
}

// blocksOf are a page's blocks in a language by the heading they stand under.
func blocksOf(t *testing.T, page, language string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	heading, inside := "", false
	for line := range strings.Lines(string(b)) {
		switch {
		case inside && line == "```\n":
			inside = false
		case inside:
			blocks[heading] += line
		case line == "```"+language+"\n":
			inside = true
			if blocks[heading] != "" {
				blocks[heading] += "\n" // between two of them
			}
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return blocks
}

// block is a section's commands, ready for a shell: what the page leaves to the reader to
// fill in is filled in from the script's variables.
func block(ts *testscript.TestScript, blocks map[string]string, args []string) string {
	if len(args) != 1 || blocks[args[0]] == "" {
		ts.Fatalf("usage: readme|serve 'a heading of the README with a shell block'")
	}
	text := strings.ReplaceAll(blocks[args[0]], "go run ./cmd/doorward", "doorward")
	for placeholder, variable := range map[string]string{
		"eyJhbGciOiJIUzI1NiIs...": "TOKEN", "eyJhbGciOi...": "TOKEN", "{token}": "TOKEN", "{admin-token}": "TOKEN",
		"brk_a1b2c3d4e5f6...": "KEY", "user-abc": "USER",
	} {
		text = strings.ReplaceAll(text, placeholder, ts.Getenv(variable))
	}
	return text
}

// runBlock is the script command readme: it runs a section's commands in a shell; what
// they export stays.
func runBlock(ts *testscript.TestScript, neg bool, blocks map[string]string, args []string) {
	exports := ts.MkAbs("exports")
	err := ts.Exec("sh", "-c", "set -e\n"+block(ts, blocks, args)+"\nenv > '"+exports+"'")
	if (err != nil) != neg {
		ts.Fatalf("section %q: %v", args[0], err)
	}
	if err != nil {
		return
	}
	for line := range strings.Lines(ts.ReadFile(exports)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if ok && (strings.HasPrefix(name, "STROMBOLI_") || strings.HasPrefix(name, "BROKOLI_")) {
			ts.Setenv(name, value)
		}
	}
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// serveBlock is the script command serve: it starts the server that a section starts,
// waits until it listens, and stops it when the script ends or serves again.
func serveBlock(ts *testscript.TestScript, neg bool, blocks map[string]string, args []string) {
	stopServer(ts)
	cmd := exec.Command("sh", "-c", "exec "+block(ts, blocks, args))
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{
		"PATH", "HOME", "DOORWARD_LISTEN", "DOORWARD_DATA_DIR", "STROMBOLI_AUTH_ENABLED", "STROMBOLI_JWT_SECRET",
		"STROMBOLI_API_TOKENS", "BROKOLI_JWT_SECRET",
	} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	said, addr := new(strings.Builder), ""
	lines := bufio.NewScanner(stderr)
	for addr == "" && lines.Scan() {
		fmt.Fprintln(said, lines.Text())
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			addr = m[1]
		}
	}
	if addr == "" {
		err := cmd.Wait()
		if !neg {
			ts.Fatalf("the server did not start (%v):\n%s", err, said)
		}
		ts.Check(os.WriteFile(ts.MkAbs("refusal"), []byte(said.String()), 0o600))
		return
	}
	if neg {
		_ = cmd.Process.Kill()
		ts.Fatalf("the server started, which it should not have")
	}
	rest := make(chan struct{})
	go func() { defer close(rest); _, _ = io.Copy(io.Discard, stderr) }()
	ts.Setenv("ADDR", addr)
	ts.Setenv("SERVER", fmt.Sprint(cmd.Process.Pid))
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-rest
		_ = cmd.Wait()
	})
}

// stopServer ends the server that serve started before, if any, and waits for its end.
func stopServer(ts *testscript.TestScript) {
	pid := ts.Getenv("SERVER")
	if pid == "" {
		return
	}
	// The process is this test's child: signal it by number and wait until its port is shut.
	_ = exec.Command("kill", "-TERM", pid).Run()
	for {
		if err := exec.Command("kill", "-0", pid).Run(); err != nil {
			break
		}
		state, err := os.ReadFile("/proc/" + pid + "/stat")
		if err == nil && strings.Contains(string(state), ") Z ") {
			break // ended; its parent reads it at the end of the script
		}
	}
	ts.Setenv("SERVER", "")
}

// takeField is the script command take: take NAME FIELD keeps a string field of the last
// command's JSON in the variable NAME; with the FIELD -, the whole output without its newline.
func takeField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: take NAME FIELD")
	}
	out := ts.ReadFile("stdout")
	if args[1] == "-" {
		ts.Setenv(args[0], strings.TrimSpace(out))
		return
	}
	m := regexp.MustCompile(`"` + regexp.QuoteMeta(args[1]) + `": ?"([^"]*)"`).FindStringSubmatch(out)
	if m == nil {
		ts.Fatalf("no field %s in %s", args[1], out)
	}
	ts.Setenv(args[0], m[1])
}

// curlMain stands for curl in the scripts: the real one, with the address that the
// README's commands name replaced by the one that the server under test has.
func curlMain() {
	args := []string{"curl", "-sS", "--max-time", "20"}
	for _, a := range os.Args[1:] {
		args = append(args, strings.ReplaceAll(a, "localhost:8080", os.Getenv("ADDR")))
	}
	err := syscall.Exec(os.Getenv("REAL_CURL"), args, os.Environ())
	fmt.Fprintln(os.Stderr, "cannot run curl:", err)
	os.Exit(1)
}

package app

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite golden files and generated pages")

func TestMain(m *testing.M) {
	os.Unsetenv("COLUMNS") //nolint:errcheck // help is as wide as it says
	testscript.Main(withServers{m}, map[string]func(){
		"doorward": func() { os.Exit(Main("doorward")) },
		"broked":   func() { os.Exit(Main("broked")) },
		"pagecurl": curlMain,
		"floor":    floorMain,
	})
}

// withServers stops the servers that tests have started.
type withServers struct{ *testing.M }

// Run runs the tests.
func (w withServers) Run() int {
	// Many tests wait more than they work: for a time-out, for another process. So more of
	// them are under way than there are processors, unless -parallel says otherwise.
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := w.M.Run()
	if err := postgres.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	summary, failures := record.verdict(code == 0 && wholeRun())
	if testing.Verbose() {
		fmt.Println(summary)
	}
	if len(failures) > 0 {
		fmt.Fprintln(os.Stderr, strings.Join(failures, "\n"))
		return 1
	}
	return code
}

// wholeRun reports whether no test was left out by a flag.
func wholeRun() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}

// TestScripts runs the program itself.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition:           without,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": scriptServer,
			"asks":   scriptAsks,
		},
	})
}

// without is the condition [without:PROGRAM] of scripts, for those that need one; where everything must run it
// is an error that there is none.
func without(condition string) (bool, error) {
	name, ok := strings.CutPrefix(condition, "without:")
	if !ok {
		return false, fmt.Errorf("unknown condition %s", condition)
	}
	if _, err := exec.LookPath(name); err == nil {
		return false, nil
	}
	if os.Getenv("DOORWARD_TEST_ALL") != "" {
		return false, fmt.Errorf("install %s", name)
	}
	return true, nil
}

// golden compares got with a file that is kept beside the code, or rewrites it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date; go test ./app -update rewrites it. Got:\n%s", path, got)
	}
}

// runProgram runs one command line within the test.
func runProgram(t *testing.T, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return runWith(t, strings.NewReader(strings.Repeat("r", 32)), environ, args...)
}

// runWith is runProgram with this randomness.
func runWith(t *testing.T, random io.Reader, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{
		Streams: Streams{In: strings.NewReader(""), Out: &out, Err: &errs},
		name:    "doorward",
		environ: environ,
		random:  random,
	}
	status = p.run(t.Context(), args)
	return status, out.String(), errs.String()
}

// write makes a file in the test's own directory and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

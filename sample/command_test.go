package sample_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"doorward/sample"
)

type answer struct{ ID, Status, Output string }

func TestCommandIsFedThePromptAndItsOutputIsTheAnswer(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "cat"))
	prompt := "two\nlines, a NUL \x00, \u00fcber & <b>"
	var got answer
	h.do(t, "POST", "/run", `{"prompt": "two\nlines, a NUL \u0000, über & <b>"}`).want(t, 200, &got)
	if got.Output != prompt || got.Status != "completed" || !strings.HasPrefix(got.ID, "run_") {
		t.Errorf("got %+v", got)
	}
}

func TestCommandRunsWithoutAShell(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "args", "$HOME", "; exit 1", "*"))
	var got answer
	h.do(t, "POST", "/run", `{"prompt": "x"}`).want(t, 200, &got)
	if want := `["$HOME","; exit 1","*"]` + "\n"; got.Output != want {
		t.Errorf("arguments %s, want %s", got.Output, want)
	}
}

func TestCommandNeedNotReadItsPrompt(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "print", "done"))
	var got answer
	// More than a pipe holds, so that nobody may wait for it to be taken.
	h.do(t, "POST", "/run", `{"prompt": "`+strings.Repeat("x", 900_000)+`"}`).want(t, 200, &got)
	if got.Output != "done" {
		t.Errorf("got %q", got.Output)
	}
}

func TestCommandOutputThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "print", "a\xffb"))
	var got answer
	h.do(t, "POST", "/run", `{"prompt": "x"}`).want(t, 200, &got)
	if got.Output != "a\uFFFDb" {
		t.Errorf("got %q", got.Output)
	}
}

// Not parallel, since it changes this process's environment.
func TestCommandIsNotHandedDoorwardsSecrets(t *testing.T) {
	secrets := []string{"DOORWARD_JWT_SECRET", "STROMBOLI_API_TOKENS", "BROKOLI_JWT_SECRET", "PGPASSWORD"}
	for _, name := range secrets {
		t.Setenv(name, "very-secret")
	}
	t.Setenv(childVariable, "1")
	t.Setenv("SAMPLE_TEST_ORDINARY", "kept")
	c := commandOf(t, "env")
	c.Env = nil
	h := open(t, c)
	var got answer
	h.do(t, "POST", "/run", `{"prompt": "x"}`).want(t, 200, &got)
	env := strings.Split(got.Output, "\n")
	if !slices.Contains(env, "SAMPLE_TEST_ORDINARY=kept") {
		t.Error("an ordinary variable did not arrive")
	}
	if strings.Contains(got.Output, "very-secret") {
		t.Errorf("a secret arrived: %s", got.Output)
	}
}

func TestCommandThatFails(t *testing.T) {
	t.Parallel()
	h := open(t, commandOf(t, "exit", "3"))
	got := h.do(t, "POST", "/run", `{"prompt": "x"}`).wantRefusal(t, 502, "command failed: exit status 3")
	if !strings.HasPrefix(got.ID, "run_") {
		t.Errorf("run id %q", got.ID)
	}
}

func TestCommandThatPrintsTooMuch(t *testing.T) {
	t.Parallel()
	c := commandOf(t, "flood")
	c.MaxOutput = 1000
	h := open(t, c)
	h.do(t, "POST", "/run", `{"prompt": "x"}`).wantRefusal(t, 502, "command printed too much: a run may print 1000 bytes")
}

func TestCommandMayPrintExactlyTheLimit(t *testing.T) {
	t.Parallel()
	c := commandOf(t, "cat")
	c.MaxOutput = 10
	h := open(t, c)
	var got answer
	h.do(t, "POST", "/run", `{"prompt": "0123456789"}`).want(t, 200, &got)
	if got.Output != "0123456789" {
		t.Errorf("got %q", got.Output)
	}
	h.do(t, "POST", "/run", `{"prompt": "0123456789a"}`).wantRefusal(t, 502, "command printed too much: a run may print 10 bytes")
}

func TestCommandThatTakesTooLongIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	// The child's child must have had the time to call: on a busy machine, try longer.
	for timeout := 500 * time.Millisecond; ; timeout *= 4 {
		l := newLine(t)
		c := commandOf(t, "family", l.Addr().String())
		c.Timeout = timeout
		h := open(t, c)
		h.do(t, "POST", "/run", `{"prompt": "x"}`).wantRefusal(t, 504, "command timed out after "+timeout.String())
		if p := l.acceptWithin(t, time.Second); p != nil {
			p.mustDie(t)
			return
		}
		if timeout > time.Minute {
			t.Fatal("the child's child never called")
		}
	}
}

func TestHangUpKillsTheCommandWithItsChildren(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	h := open(t, commandOf(t, "family", l.Addr().String()))
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, "POST", h.URL+"/run", strings.NewReader(`{"prompt": "x"}`))
		if err == nil {
			var res *http.Response
			if res, err = h.Client().Do(req); err == nil {
				res.Body.Close()
			}
		}
		done <- err
	}()
	grandchild := l.accept(t)
	hangUp()
	grandchild.mustDie(t)
	if err := <-done; err == nil {
		t.Error("the request was answered, though the client had hung up")
	}
}

func TestOrphanDoesNotHoldUpTheAnswer(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"in the group, killed":        nil,
		"out of the group, abandoned": {"leave"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			h := open(t, commandOf(t, append([]string{"orphan", l.Addr().String()}, args...)...))
			var got answer
			h.do(t, "POST", "/run", `{"prompt": "x"}`).want(t, 200, &got)
			if got.Output != "the answer" {
				t.Errorf("got %q", got.Output)
			}
			orphan := l.accept(t)
			if args == nil {
				orphan.mustDie(t)
			} // else it ends when the test hangs up
		})
	}
}

func TestCommandsWaitTheirTurn(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c := commandOf(t, "ask", l.Addr().String())
	c.MaxConcurrent = 2
	h := open(t, c)
	const callers = 5
	got := make(chan reply, callers)
	for range callers {
		go func() {
			r, err := h.try(t, "POST", "/run", `{"prompt": "x"}`)
			if err != nil {
				t.Error(err)
			}
			got <- r
		}()
	}
	waiting := []*party{l.accept(t), l.accept(t)}
	if l.acceptWithin(t, 200*time.Millisecond) != nil {
		t.Fatal("a third command runs")
	}
	for i := range callers {
		waiting[0].reply(t, "go on")
		waiting = waiting[1:]
		var a answer
		(<-got).want(t, 200, &a)
		if a.Output != "go on" {
			t.Errorf("got %q", a.Output)
		}
		if i < callers-2 {
			waiting = append(waiting, l.accept(t))
		}
	}
}

func TestWhoHangsUpInTheQueueTakesNoTurn(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c := commandOf(t, "ask", l.Addr().String())
	c.MaxConcurrent = 1
	h := open(t, c)
	first := make(chan reply, 1)
	go func() {
		r, err := h.try(t, "POST", "/run", `{"prompt": "first"}`)
		if err != nil {
			t.Error(err)
		}
		first <- r
	}()
	busy := l.accept(t)

	// The second waits behind the first. Its handler must have returned before the first
	// is done, so the request is served here, where that can be seen.
	ctx, hangUp := context.WithCancel(t.Context())
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		req, err := http.NewRequestWithContext(ctx, "POST", "/run", strings.NewReader(`{"prompt": "second"}`))
		if err != nil {
			t.Error(err)
			return
		}
		h.ServeHTTP(discard{http.Header{}}, req)
	}()
	hangUp()
	<-returned

	busy.reply(t, "done")
	var got answer
	(<-first).want(t, 200, &got)

	go func() { _, _ = h.try(t, "POST", "/run", `{"prompt": "third"}`) }()
	next := l.accept(t)
	if next.said != "third" {
		t.Errorf("the turn went to %q", next.said)
	}
	next.reply(t, "done")
}

// discard is where answers to nobody go.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
func (d discard) WriteHeader(int)             {}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]sample.Config{
		"sample timeout: must not be negative, is -1s":         {Timeout: -time.Second},
		"sample output limit: must not be negative, is -1":     {MaxOutput: -1},
		"sample commands at once: must not be negative, is -1": {MaxConcurrent: -1},
		"sample pipelines: must not be negative, is -1":        {MaxPipelines: -1},
		"cannot find the sample command":                       {Command: []string{"no-such-program-anywhere"}},
		"sample command: must not contain a NUL byte":          {Command: []string{"cat", "a\x00b"}},
	} {
		svc, err := sample.New(c)
		if svc != nil || err == nil || !strings.Contains(err.Error(), sentence) {
			t.Errorf("New(%+v) = %v, want %q", c, err, sentence)
		}
	}
}

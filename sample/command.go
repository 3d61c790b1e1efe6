package sample

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	// orphanDelay is how long a process that outlives the command may hold its output
	// open. What it prints until then still counts.
	orphanDelay = 500 * time.Millisecond

	// maxComplaint is how much of a command's standard error is logged, in bytes.
	maxComplaint = 2 << 10
)

// command answers prompts by running a program: one process group a prompt, so many at
// once as there are slots.
type command struct {
	argv    []string
	env     []string
	timeout time.Duration
	most    int64 // bytes a whole run may print, for the message alone
	slots   chan struct{}
	log     *slog.Logger
}

// answer waits for a slot and runs the program. When ctx ends, the time is up or the
// output exceeds limit bytes, the whole process group is killed. It returns after the
// program has been reaped; a process that has left the group by its own doing (setsid) is
// not followed.
//
// The error is a 502 when the program failed, a 504 when it took too long, and errBusy
// when ctx ended.
func (c *command) answer(ctx context.Context, prompt string, limit int64) (string, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return "", errBusy
	}
	defer func() { <-c.slots }()
	if ctx.Err() != nil { // select chooses at random when both were ready
		return "", errBusy
	}

	timed, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	output := &capture{limit: limit, full: cancel}
	complaint := &capture{limit: maxComplaint}

	cmd := exec.CommandContext(timed, c.argv[0], c.argv[1:]...)
	cmd.Env = c.env
	cmd.Stdin = strings.NewReader(prompt)
	cmd.Stdout = output
	cmd.Stderr = complaint
	cmd.WaitDelay = orphanDelay
	ownGroup(cmd)

	err := cmd.Run()
	if cmd.Process != nil {
		// What the program left behind. Its number cannot name another group yet: for
		// that all numbers would have to be used up since it was reaped.
		_ = killGroup(cmd.Process.Pid)
	}
	if complaint.kept.Len() > 0 {
		c.log.Debug("sample command's standard error", "text", complaint.kept.String())
	}

	var exit *exec.ExitError
	switch {
	case output.over:
		return "", &refusal{status: http.StatusBadGateway, message: fmt.Sprintf("command printed too much: a run may print %d bytes", c.most)}
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // the latter: it ended well, but an orphan held its output open
		return output.kept.String(), nil
	case ctx.Err() != nil:
		return "", errBusy
	case timed.Err() != nil:
		return "", &refusal{status: http.StatusGatewayTimeout, message: fmt.Sprintf("command timed out after %v", c.timeout)}
	case errors.As(err, &exit):
		return "", &refusal{status: http.StatusBadGateway, message: "command failed: " + exit.ProcessState.String()}
	default:
		return "", &refusal{status: http.StatusBadGateway, message: "command could not be run", cause: err}
	}
}

// capture keeps what is written up to limit bytes. The first write beyond it calls full,
// if there is one, and fails; without full, what exceeds is dropped. The buffer is not
// embedded: its ReadFrom would let io.Copy go around Write.
type capture struct {
	kept  bytes.Buffer
	limit int64
	full  func()
	over  bool
}

var errFull = errors.New("too much output")

func (c *capture) Write(p []byte) (int, error) {
	room := c.limit - int64(c.kept.Len())
	if int64(len(p)) <= room {
		return c.kept.Write(p)
	}
	c.kept.Write(p[:room])
	c.over = true
	if c.full == nil {
		return len(p), nil
	}
	c.full()
	return int(room), errFull
}

// withoutSecrets drops the variables that configure Doorward: the command answers to
// whoever may send prompts, and must not be handed a signing secret.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(env, func(kv string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		return strings.HasPrefix(name, "DOORWARD_") || strings.HasPrefix(name, "STROMBOLI_") ||
			strings.HasPrefix(name, "BROKOLI_") || name == "PGPASSWORD"
	})
}

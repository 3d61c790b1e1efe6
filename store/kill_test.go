package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"doorward"
)

// victim names the store that this process is to write to until it is killed.
const victim = "DOORWARD_STORE_TEST_VICTIM"

func TestMain(m *testing.M) {
	if path := os.Getenv(victim); path != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(path, os.Args[1]))
		os.Exit(1)
	}
	code := m.Run()
	if err := stopServers(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// writeUntilKilled makes, refreshes and ends sessions, several at a time, and says each on standard
// output only after it was acknowledged.
func writeUntilKilled(path, prefix string) error {
	c := newClock()
	ctx := context.Background()
	s, err := OpenSQLite(ctx, path, c.now)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for worker := range 8 {
		go func() {
			for i := 0; ; i++ {
				n := session(fmt.Sprintf("%s-%d-%d", prefix, worker, i), "tok_1", c)
				if err := s.CreateSession(ctx, n, 1<<30, noted); err != nil {
					failed <- err
				}
				fmt.Println("made", n.ID)
				_, err := s.AdvanceRefresh(ctx, n.ID, func(at doorward.RefreshState) doorward.RefreshDecision {
					return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: doorward.Chain{Prev: "j0", Head: "j1", Gen: 1}}
				}, noted)
				if err != nil {
					failed <- err
				}
				fmt.Println("advanced", n.ID)
				if _, _, err := s.EndSession(ctx, n.ID, doorward.EndSignedOut, noted); err != nil {
					failed <- err
				}
				fmt.Println("ended", n.ID)
			}
		}()
	}
	return <-failed
}

func TestWhatWasAcknowledgedOutlivesAKill(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	acknowledged := map[string][]string{}
	for round := range 3 {
		child := exec.CommandContext(t.Context(), os.Args[0], fmt.Sprintf("round%d", round))
		child.Env = append(os.Environ(), victim+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var kill sync.Once
		lines := 0
		for in := bufio.NewScanner(out); in.Scan(); lines++ {
			what, id, ok := strings.Cut(in.Text(), " ")
			if !ok {
				t.Errorf("the child said %q", in.Text())
			}
			acknowledged[what] = append(acknowledged[what], id)
			if lines == 100+50*round {
				kill.Do(func() {
					if err := child.Process.Kill(); err != nil {
						t.Error(err)
					}
				})
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.Exited() {
			t.Fatalf("the child was not killed: %v", err)
		}
		if lines < 100 {
			t.Fatalf("the child said only %d lines", lines)
		}

		s, _ := open(t, path)
		for what, ids := range acknowledged {
			for _, id := range ids {
				got, found, err := s.Session(t.Context(), id)
				if err != nil || !found || what == "advanced" && got.Chain.Gen != 1 || what == "ended" && got.Ended.IsZero() {
					t.Errorf("%s %s was acknowledged; found %v, %+v, error %v", what, id, found, got, err)
				}
			}
		}
		var verdict string
		if err := s.readers.QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
			t.Errorf("integrity: %s, error %v", verdict, err)
		}
		if err := s.Close(); err != nil { // the next child is to find the file as a crash leaves it
			t.Error(err)
		}
	}
}

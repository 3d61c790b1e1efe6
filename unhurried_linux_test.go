package doorward

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// niceOf reads a thread's nice value from its stat file (proc(5), field 19).
func niceOf(t *testing.T, file string) (nice int, found bool) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false // it has ended
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if nice, err = strconv.Atoi(fields[16]); err != nil {
		t.Fatal(err)
	}
	return nice, true
}

// TestHashingStepsBack: a hash is computed by a thread of lower priority, which ends with it.
// It runs by itself, so that no other test hashes meanwhile.
func TestHashingStepsBack(t *testing.T) {
	during := 0
	for range 100 {
		unhurried(func() { during, _ = niceOf(t, "/proc/thread-self/stat") })
		if during != patience {
			t.Fatalf("a hash was computed at nice %d", during)
		}
		if n, _ := niceOf(t, "/proc/thread-self/stat"); n != 0 {
			t.Fatalf("who asked for it is at nice %d", n)
		}
	}
	until := time.Now().Add(10 * time.Second)
	for steppedBack(t) > 0 {
		if time.Now().After(until) {
			t.Fatalf("%d threads stay behind", steppedBack(t))
		}
		runtime.Gosched()
	}
	h, err := NewHasher(HasherConfig{Memory: 64 << 10, Time: 4})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := h.Hash(t.Context(), "a password")
		done <- err
	}()
	for steppedBack(t) == 0 {
		select {
		case err := <-done:
			t.Fatalf("hashed by a thread like the others; error %v", err)
		default:
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// steppedBack counts the threads of this process that have stepped back.
func steppedBack(t *testing.T) (n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, file := range all {
		if nice, found := niceOf(t, file); found && nice != 0 {
			n++
		}
	}
	return n
}

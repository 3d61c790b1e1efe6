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
	h := cheap(t, HasherConfig{})
	during := 0
	h.derive = func(password string, p phc) []byte {
		during, _ = niceOf(t, "/proc/thread-self/stat")
		return deriveKey(password, p)
	}
	for range 100 {
		if _, err := h.Hash(t.Context(), "a password"); err != nil {
			t.Fatal(err)
		}
		if during != patience {
			t.Fatalf("a hash was computed at nice %d", during)
		}
		if n, _ := niceOf(t, "/proc/thread-self/stat"); n != 0 {
			t.Fatalf("who asked for it is at nice %d", n)
		}
	}
	for until := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		all, err := filepath.Glob("/proc/self/task/*/stat")
		if err != nil || len(all) == 0 {
			t.Fatal(all, err)
		}
		left := 0
		for _, file := range all {
			if n, found := niceOf(t, file); found && n != 0 {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d of %d threads stay behind", left, len(all))
		}
	}
}

package app

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"", "abc", 3}, {"abc", "", 3},
		{"abc", "abd", 1}, {"abc", "ab", 1}, {"abc", "abcd", 1}, {"abc", "acb", 1},
		{"ca", "abc", 3}, {"kitten", "sitting", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"listen", "log.level", "refresh.retry_window", "refresh.reuse", "lockout.window"}
	for _, c := range []struct {
		name, want string
		slip       bool
	}{
		{"lisen", "listen", true},
		{"LISTEN", "listen", true},
		{"--refresh-retry-window", "refresh.retry_window", true},
		{"DOORWARD_REFRESH_REUSE", "refresh.reuse", true},
		{"retry_window", "refresh.retry_window", true},
		{"level", "log.level", true},
		{"refresh.re", "refresh.retry_window", true},
		{"li", "listen", false},
		{"refresh.reues", "refresh.reuse", true},
		{"nothing.like.it.at.all", "", false},
		{"", "", false},
		{strings.Repeat("listen", 100_000), "", false},
	} {
		got, slip := nearest(c.name, known)
		if slip != c.slip || got == "" || c.want != "" && got != c.want {
			t.Errorf("nearest(%.30q) = %s, %v; want %s, %v", c.name, got, slip, c.want, c.slip)
		}
	}
	if got, slip := nearest("x", nil); got != "" || slip {
		t.Errorf("of no names the nearest is %q, %v", got, slip)
	}
}

package doorward

import (
	"strconv"
	"strings"
	"time"
)

// MaxDuration is the longest that anything lasts here. It keeps every time that is computed
// from a setting or a request far from overflow.
const MaxDuration = 36500 * 24 * time.Hour

// ParseDuration reads a duration in Go's form, to which days may be put first: 90s, 24h,
// 7d, 1d12h. It reports whether s is one at all; one longer than MaxDuration comes out as
// something longer than MaxDuration.
func ParseDuration(s string) (time.Duration, bool) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		return d, err == nil
	}
	if !digits(days) {
		return 0, false
	}
	n, err := strconv.ParseInt(days, 10, 32)
	if err != nil {
		return MaxDuration + 1, true // only digits, so too many of them
	}
	var d time.Duration
	if rest != "" {
		if d, err = time.ParseDuration(rest); err != nil || !digits(rest[:1]) {
			return 0, false
		}
	}
	if n > int64(MaxDuration/(24*time.Hour)) || d > MaxDuration {
		return MaxDuration + 1, true
	}
	return time.Duration(n)*24*time.Hour + d, true
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

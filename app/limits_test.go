package app

import (
	"strings"
	"testing"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"0": 0, "1": 1, "65536": 65536, "32KiB": 32 << 10, "32 KiB": 32 << 10, "10MiB": 10 << 20, "1GiB": 1 << 30, "8589934591GiB": 8589934591 << 30, "9223372036854775807": 1<<63 - 1,
		"": -1, "KiB": -1, "-1": -1, "+1": -1, "1.5MiB": -1, "1k": -1, "32KB": -1, "32kib": -1, "1TiB": -1, "1  KiB": -1, " 1": -1, "1KiBKiB": -1, "0x10": -1, "1e3": -1, "8589934592GiB": -1, "9223372036854775808": -1,
	} {
		got, err := sizeOf(s)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %d, %v; want %d", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"32KB": `"32KB" is not a size; write bytes as 65536, or with a unit as 64KiB, 10MiB or 1GiB`, "99999999999999999999": `"99999999999999999999" is too large`,
		"4095": `"4095" is not a size from 4KiB to 1MiB`, "2MiB": `"2MiB" is not a size from 4KiB to 1MiB`,
	} {
		if _, err := headerSize(s); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", s, err, want)
		}
	}
}

func TestLimitsAreSettings(t *testing.T) {
	t.Parallel()
	l := load(sources{flags: map[string]string{
		"limits.header_bytes": "64KiB", "limits.headers": "50", "limits.header_timeout": "1s", "limits.idle_timeout": "3s", "limits.body_timeout": "2s",
		"limits.body_bytes": "1GiB", "limits.stall_timeout": "0", "limits.connections": "0", "limits.streams": "7",
	}})
	if err := l.err(); err != nil {
		t.Fatal(err)
	}
	if want := (Limits{64 << 10, 50, 1e9, 3e9, 2e9, 1 << 30, 0, 0, 7}); l.Limits != want {
		t.Errorf("%+v, want %+v", l.Limits, want)
	}
	if got, want := defaultLimits(t), (Limits{32 << 10, 200, 10e9, 120e9, 20e9, 0, 60e9, 4096, 100}); got != want {
		t.Errorf("by default %+v, want %+v", got, want)
	}
	for key, value := range map[string]string{
		"limits.header_bytes": "0", "limits.headers": "0", "limits.header_timeout": "0", "limits.idle_timeout": "0", "limits.body_timeout": "0s",
		"limits.body_bytes": "-1", "limits.stall_timeout": "-1s", "limits.connections": "-1", "limits.streams": "0",
	} {
		if err := load(sources{flags: map[string]string{key: value}}).err(); err == nil || !strings.Contains(err.Error(), "--"+flagName(key)) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
}

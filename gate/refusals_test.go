package gate

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward"
)

var (
	aMoment    = time.Date(2030, 1, 31, 12, 30, 0, 0, time.UTC)
	superadmin = doorward.Caller{Identity: doorward.Identity{Kind: doorward.KindUser, Role: doorward.Superadmin, Org: "default"}}
)

func adminOf(org string) doorward.Caller {
	return doorward.Caller{Identity: doorward.Identity{Kind: doorward.KindUser, Role: doorward.Admin, Org: org}}
}

func refusalNumber(i int) Refusal {
	return Refusal{
		RequestID: fmt.Sprintf("%020d", i), Time: aMoment.Add(time.Duration(i) * time.Millisecond), Method: "GET", Path: fmt.Sprint("/x/", i), Rule: "default: GET needs viewer",
		Status: 403, Error: "insufficient permissions", Client: netip.MustParseAddr("198.51.100.1"),
		Subject: fmt.Sprint("usr_", i), Username: "ada", Role: doorward.Viewer, Org: []string{"default", "acme", ""}[i%3],
	}
}

// TestRefusalsAreFoundByTheirID: whole, by who may know of them, for as long as they are kept.
func TestRefusalsAreFoundByTheirID(t *testing.T) {
	t.Parallel()
	rs := NewRefusals(aMoment)
	for i := range KeptRefusals + 500 {
		f := refusalNumber(i)
		rs.keep(f.Time, f)
	}
	find := func(by doorward.Caller, i int) (Refusal, bool) {
		t.Helper()
		found, err := rs.Newest(by, time.Time{}, fmt.Sprintf("%020d", i), 10)
		if err != nil || len(found) > 1 {
			t.Fatalf("number %d: %v, %v", i, found, err)
		}
		if found == nil {
			return Refusal{}, false
		}
		return found[0], true
	}
	for _, i := range []int{0, 499, 500, 501, 502, KeptRefusals, KeptRefusals + 499, KeptRefusals + 500} {
		kept := i >= 500 && i < KeptRefusals+500
		if got, ok := find(superadmin, i); ok != kept || ok && got != refusalNumber(i) {
			t.Errorf("number %d: %+v, %t", i, got, ok)
		}
		for _, org := range []string{"default", "acme", "other", ""} {
			if _, ok := find(adminOf(org), i); ok != (kept && org != "" && refusalNumber(i).Org == org) {
				t.Errorf("number %d: an admin of %q finds it: %t", i, org, ok)
			}
		}
	}
	newest, err := rs.Newest(superadmin, time.Time{}, "", 3)
	if err != nil || len(newest) != 3 || newest[0] != refusalNumber(KeptRefusals+499) || newest[2] != refusalNumber(KeptRefusals+497) {
		t.Errorf("the newest are %+v, %v", newest, err)
	}
	for _, id := range []string{"x", strings.Repeat("0", 21), strings.Repeat("0", 2000), "\x00"} {
		if found, err := rs.Newest(superadmin, time.Time{}, id, 10); err != nil || found != nil {
			t.Errorf("%q: %v, %v", id, found, err)
		}
	}
	for _, role := range []doorward.Role{"", doorward.Viewer, doorward.Editor} {
		by := doorward.Caller{Identity: doorward.Identity{Role: role, Org: "default"}}
		if found, err := rs.Newest(by, time.Time{}, "", 10); found != nil || err != doorward.ErrForbidden {
			t.Errorf("a %s gets %v, %v", role, found, err)
		}
	}
	if _, err := rs.Hours(adminOf("default"), aMoment); err != doorward.ErrForbidden {
		t.Errorf("an admin is told what the node has refused: %v", err)
	}
}

// TestRefusalsAreCountedByTheHour compares with a model, the clock being set back and far ahead.
func TestRefusalsAreCountedByTheHour(t *testing.T) {
	t.Parallel()
	rs := NewRefusals(aMoment)
	model := map[int64]int64{}
	now, newest := aMoment, int64(0)
	for i, step := range []time.Duration{0, 0, time.Hour, 20 * time.Minute, 40 * time.Minute, -3 * time.Hour, 5 * time.Hour, 29 * 24 * time.Hour, time.Hour, -40 * 24 * time.Hour, 41 * 24 * time.Hour, 300 * 24 * time.Hour, time.Minute} {
		now = now.Add(step)
		rs.keep(now, refusalNumber(i))
		hour := now.Unix() / 3600
		newest = max(newest, hour)
		if hour > newest-RefusalHours {
			model[hour]++
		}
		for h := range model {
			if h <= newest-RefusalHours {
				delete(model, h)
			}
		}
		got, err := rs.Hours(superadmin, now)
		if err != nil || len(got) != len(model) {
			t.Fatalf("step %d: %v, %v, want %v", i, got, err, model)
		}
		for j, c := range got {
			if c.Refusals != model[c.Hour.Unix()/3600] || j > 0 && !got[j-1].Hour.Before(c.Hour) {
				t.Errorf("step %d: %v, want %v", i, got, model)
			}
		}
	}
}

// TestRefusalsTakeBoundedMemory fills them with as much as clients can send, each text part of
// something larger, and wants no more than was promised; and one allocation for each.
func TestRefusalsTakeBoundedMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	rs := NewRefusals(aMoment)
	for i := range KeptRefusals * 2 {
		f := refusalNumber(i)
		long := strings.Repeat("<", 64<<10)
		f.RequestID, f.Method, f.Path, f.Rule, f.Error, f.Subject, f.Username, f.Org = long, long, long, long, long, long, long, long
		rs.keep(aMoment, f)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d refusals of the longest take %d KiB", KeptRefusals, took>>10)
	if took > 12<<20 {
		t.Errorf("%d refusals take %d bytes", KeptRefusals, took)
	}
	if got, err := rs.Newest(superadmin, time.Time{}, "", 1); err != nil || len(got) != 1 || len(got[0].Path) != keptPath {
		t.Errorf("%v, %v", got, err)
	}
	if n := testing.AllocsPerRun(1000, func() { rs.keep(aMoment, refusalForBench) }); n > 1 {
		t.Errorf("one refusal allocates %.1f times", n)
	}
}

var refusalForBench = refusalNumber(7)

func TestRefusalsAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	rs := NewRefusals(aMoment)
	for i := range KeptRefusals { // there is no room: each drives out one of these
		rs.keep(aMoment, refusalNumber(i))
	}
	const each = KeptRefusals / 8 // in all no more than drive out these alone
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range each {
				f := refusalNumber(KeptRefusals + i*each + j)
				rs.keep(f.Time, f)
				if j%100 == 0 {
					found, err := rs.Newest(superadmin, time.Time{}, f.RequestID, 1)
					if err != nil || len(found) != 1 || found[0] != f {
						t.Errorf("%+v, %v", found, err)
					}
					if _, err := rs.Hours(superadmin, f.Time); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkKeepRefusal is what remembering costs each refusal of a flood.
func BenchmarkKeepRefusal(b *testing.B) {
	rs := NewRefusals(aMoment)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			rs.keep(aMoment, refusalForBench)
		}
	})
}

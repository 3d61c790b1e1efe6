package doorward_test

import (
	"testing"
	"time"

	"doorward"
)

// The rule for access tokens, row by row. The chain of most rows is in the middle of its
// life: b, which came from a, is the head at generation 5, c its child; two tokens were
// minted of generation 3 and none twice since. Tokens were issued in the second in which
// the newest token of the row was minted, or later by as many seconds as the row says.
func TestChainConfirm(t *testing.T) {
	t.Parallel()
	minted := time.UnixMilli(1_800_000_000_123)
	plain := doorward.Chain{Prev: "a", Head: "b", Child: "c", Gen: 5, Fork: 3, Minted: minted}
	waiting := doorward.Chain{Prev: "a", Head: "b", Gen: 5, Fork: 3, Minted: minted} // no child yet
	forked := doorward.Chain{Prev: "a", Head: "b", Child: "c", Gen: 5, Fork: 6, Minted: minted}
	first := doorward.Chain{Head: "r0", Minted: minted}
	second := doorward.Chain{Head: "r0", Child: "r1", Minted: minted}
	adopted := doorward.Chain{Prev: "r0", Head: "r1", Child: "r2", Gen: 1, Minted: minted}

	for name, row := range map[string]struct {
		chain doorward.Chain
		rjti  string
		gen   int64
		want  doorward.Confirmation
		later int64
	}{
		"generation 0, the first token":                            {first, "r0", 0, doorward.Passes, 0},
		"generation 0, long after":                                 {plain, "r0", 0, doorward.Passes, 0},
		"generation 0, unheard of":                                 {plain, "x", 0, doorward.Passes, 0},
		"generation 1, the child: not confirmed":                   {second, "r1", 1, doorward.Passes, 0},
		"generation 1, a child given up":                           {second, "x", 1, doorward.Passes, 0},
		"generation 1, a branch given up, long after":              {plain, "x", 1, doorward.Passes, 0},
		"generation 1, newer than the row":                         {first, "r1", 1, doorward.Passes, 0},
		"the head":                                                 {plain, "b", 5, doorward.Passes, 0},
		"the head while it waits":                                  {waiting, "b", 5, doorward.Passes, 0},
		"prev":                                                     {plain, "a", 4, doorward.Passes, 0},
		"prev while the head waits":                                {waiting, "a", 4, doorward.Passes, 0},
		"the child":                                                {plain, "c", 6, doorward.Confirms, 0},
		"the child of two":                                         {forked, "c", 6, doorward.Confirms, 0},
		"the first child that is confirmed":                        {adopted, "r2", 2, doorward.Confirms, 0},
		"newer than the row by far":                                {plain, "x", 7, doorward.Ahead, 0},
		"newer than the row, under the child's name":               {plain, "c", 7, doorward.Ahead, 0},
		"newer than the row, which has no child":                   {waiting, "x", 6, doorward.Ahead, 0},
		"newer than the row, which has no child, no name":          {waiting, "", 6, doorward.Ahead, 0},
		"newer than a row in its first life":                       {first, "r2", 2, doorward.Ahead, 0},
		"not the child":                                            {plain, "x", 6, doorward.AccessReused, 0},
		"not the child of two":                                     {forked, "x", 6, doorward.AccessReused, 0},
		"not the head":                                             {plain, "x", 5, doorward.AccessReused, 0},
		"not the head, which waits":                                {waiting, "x", 5, doorward.AccessReused, 0},
		"not prev":                                                 {plain, "x", 4, doorward.AccessReused, 0},
		"not prev, and forked since":                               {forked, "x", 4, doorward.AccessReused, 0},
		"prev's name at another generation":                        {plain, "a", 5, doorward.AccessReused, 0},
		"older than prev, above the fork":                          {doorward.Chain{Prev: "a", Head: "b", Gen: 5, Fork: 2}, "x", 3, doorward.Passes, 0},
		"older than prev, never forked":                            {doorward.Chain{Prev: "a", Head: "b", Gen: 5}, "x", 2, doorward.Passes, 0},
		"older than prev, of the fork":                             {plain, "x", 3, doorward.Stale, 0},
		"older than prev, below the fork":                          {plain, "x", 2, doorward.Stale, 0},
		"older than prev, the fork above all":                      {forked, "x", 3, doorward.Stale, 0},
		"a generation that cannot be":                              {plain, "x", -1, doorward.Stale, 0},
		"not the child, issued later":                              {plain, "x", 6, doorward.Ahead, 1},
		"not the child of two, issued later":                       {forked, "x", 6, doorward.Ahead, 1},
		"not the child, issued long before":                        {plain, "x", 6, doorward.AccessReused, -1_000_000},
		"not the head, issued later":                               {plain, "x", 5, doorward.Ahead, 1},
		"not the head, which waits, issued later":                  {waiting, "x", 5, doorward.Ahead, 1},
		"the child, issued later (by a clock set back since)":      {plain, "c", 6, doorward.Confirms, 1},
		"the head, issued later (by a clock set back since)":       {plain, "b", 5, doorward.Passes, 1},
		"prev, issued later (by a clock set back since)":           {plain, "a", 4, doorward.Passes, 1},
		"not prev, issued later (by a clock set back since)":       {plain, "x", 4, doorward.AccessReused, 1},
		"of the fork, issued later (by a clock set back since)":    {plain, "x", 3, doorward.Stale, 1},
		"above the fork, issued later (by a clock set back since)": {doorward.Chain{Prev: "a", Head: "b", Gen: 5, Fork: 2}, "x", 3, doorward.Passes, 1},
		"generation 1, a child given up, issued later":             {second, "x", 1, doorward.Passes, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := row.chain
			if row.want == doorward.Confirms {
				want = doorward.Chain{Prev: row.chain.Head, Head: row.rjti, Gen: row.chain.Gen + 1, Fork: row.chain.Fork, Minted: minted}
			}
			next, got := row.chain.Confirm(row.rjti, row.gen, row.chain.Minted.Unix()+row.later)
			if got != row.want || next != want {
				t.Errorf("%+v.Confirm(%q, %d, %+d s) = %+v, %d; want %+v, %d", row.chain, row.rjti, row.gen, row.later, next, got, want, row.want)
			}
		})
	}
}

// Once a confirmation is written, the same token is like any other of the path: it writes
// nothing again, and the head it replaced still has an answer for a retry.
func TestChainConfirmOnce(t *testing.T) {
	t.Parallel()
	minted := time.UnixMilli(1_800_000_000_123)
	c := doorward.Chain{Prev: "a", Head: "b", Child: "c", Gen: 5, Fork: 3, Minted: minted}
	next, _ := c.Confirm("c", 6, minted.Unix())
	if again, outcome := next.Confirm("c", 6, minted.Unix()); outcome != doorward.Passes || again != next {
		t.Errorf("the second use: %+v, %d", again, outcome)
	}
	newID := func() string { t.Error("a token was minted"); return "x" }
	rules := doorward.RefreshRules{RetryWindow: 10 * time.Second}
	after, outcome := next.Present("b", 5, minted.Unix(), minted.Add(10*time.Second-time.Millisecond), rules, newID)
	jti, gen := after.Newest()
	if outcome != doorward.Repeated || jti != "c" || gen != 6 {
		t.Errorf("the retry within the window: %q of generation %d, outcome %d", jti, gen, outcome)
	}
	if _, outcome := next.Present("b", 5, minted.Unix(), minted.Add(10*time.Second), rules, newID); outcome != doorward.Reused {
		t.Errorf("the replaced token after the window: outcome %d", outcome)
	}
}

package doorward_test

import (
	"testing"
	"time"

	"doorward"
)

// The rule for refresh tokens, row by row. The chain of most rows is in the middle of its
// life: b, which came from a, is the head at generation 5, c its child. Tokens were issued
// in the second in which the newest token of the row was minted, or later by as many
// seconds as the row says.
func TestChainPresent(t *testing.T) {
	t.Parallel()
	minted := time.UnixMilli(1_800_000_000_999)
	plain := doorward.Chain{Prev: "a", Head: "b", Child: "c", Gen: 5, Fork: 3, Minted: minted}
	waiting := doorward.Chain{Prev: "a", Head: "b", Gen: 5, Fork: 3, Minted: minted} // no child yet
	first := doorward.Chain{Head: "r0", Minted: minted}
	const window = 10 * time.Second
	const soon, late = window - time.Millisecond, window

	for name, row := range map[string]struct {
		chain  doorward.Chain
		jti    string
		gen    int64
		age    time.Duration
		want   doorward.Presentation
		strict doorward.Presentation // the same if 0
		later  int64
	}{
		"the child":                                         {plain, "c", 6, soon, doorward.Advanced, 0, 0},
		"the child, late":                                   {plain, "c", 6, late, doorward.Advanced, 0, 0},
		"the first token":                                   {first, "r0", 0, soon, doorward.Advanced, 0, 0},
		"the head, which waits":                             {waiting, "b", 5, soon, doorward.Advanced, 0, 0},
		"the head, which waits, late":                       {waiting, "b", 5, late, doorward.Advanced, 0, 0},
		"the head again":                                    {plain, "b", 5, soon, doorward.Repeated, doorward.Reused, 0},
		"the head again, late":                              {plain, "b", 5, late, doorward.Advanced, doorward.Reused, 0},
		"prev while the head waits":                         {waiting, "a", 4, soon, doorward.Repeated, doorward.Reused, 0},
		"prev while the head waits, late":                   {waiting, "a", 4, late, doorward.Reused, 0, 0},
		"prev":                                              {plain, "a", 4, soon, doorward.Reused, 0, 0},
		"prev, late":                                        {plain, "a", 4, late, doorward.Reused, 0, 0},
		"older than prev":                                   {plain, "x", 3, soon, doorward.Reused, 0, 0},
		"not prev":                                          {waiting, "x", 4, soon, doorward.Reused, 0, 0},
		"not the head":                                      {plain, "x", 5, soon, doorward.Reused, 0, 0},
		"not the head, issued later":                        {plain, "x", 5, soon, doorward.Backwards, 0, 1},
		"not the head, which waits":                         {waiting, "x", 5, late, doorward.Reused, 0, 0},
		"not the head, which waits, issued later":           {waiting, "x", 5, late, doorward.Backwards, 0, 1},
		"not the child":                                     {plain, "x", 6, soon, doorward.Reused, 0, 0},
		"not the child, late":                               {plain, "x", 6, late, doorward.Reused, 0, 0},
		"not the child, issued long before":                 {plain, "x", 6, soon, doorward.Reused, 0, -1_000_000},
		"not the child, issued later":                       {plain, "x", 6, soon, doorward.Backwards, 0, 1},
		"not the child, issued later, late":                 {plain, "x", 6, late, doorward.Backwards, 0, 1},
		"of a generation that is not there yet":             {waiting, "x", 6, soon, doorward.Backwards, 0, 0},
		"... issued long before":                            {waiting, "x", 6, soon, doorward.Backwards, 0, -1_000_000},
		"... of a chain in its first life":                  {first, "r1", 1, soon, doorward.Backwards, 0, 0},
		"of a generation far above":                         {plain, "x", 7, soon, doorward.Backwards, 0, 0},
		"of a generation far above, under the head's name":  {plain, "b", 7, soon, doorward.Backwards, 0, 0},
		"of a generation far above, under the child's name": {plain, "c", 8, soon, doorward.Backwards, 0, 0},

		// What follows was issued before a clock that was set back. A token that the row knows
		// is what it is, and a replaced one of the line stays a replaced one.
		"the child, of a clock since set back":              {plain, "c", 6, soon, doorward.Advanced, 0, 3600},
		"the head again, of a clock since set back":         {plain, "b", 5, soon, doorward.Repeated, doorward.Reused, 3600},
		"the head again, late, of a clock since set back":   {plain, "b", 5, late, doorward.Advanced, doorward.Reused, 3600},
		"prev, of a clock since set back":                   {plain, "a", 4, soon, doorward.Reused, 0, 3600},
		"prev, late, of a clock since set back":             {waiting, "a", 4, late, doorward.Reused, 0, 3600},
		"not prev, of a clock since set back":               {plain, "x", 4, late, doorward.Reused, 0, 3600},
		"older than prev, of a clock since set back":        {plain, "x", 3, late, doorward.Reused, 0, 3600},
		"the first token of all, of a clock since set back": {plain, "x", 0, late, doorward.Reused, 0, 3600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, strict := range []bool{false, true} {
				want := row.want
				if strict && row.strict != 0 {
					want = row.strict
				}
				ids := 0
				now := minted.Add(row.age)
				// Below what is kept, so it does not count.
				next, got := row.chain.Present(row.jti, row.gen, minted.Unix()+row.later, now.Add(999*time.Microsecond), doorward.RefreshRules{RetryWindow: window, Strict: strict}, func() string {
					ids++
					return "new"
				})
				after := row.chain
				switch {
				case want == doorward.Advanced && row.jti == row.chain.Child:
					after = doorward.Chain{Prev: row.chain.Head, Head: row.chain.Child, Child: "new", Gen: row.chain.Gen + 1, Fork: row.chain.Fork, Minted: now}
				case want == doorward.Advanced:
					if after.Child != "" {
						after.Fork = after.Gen + 1
					}
					after.Child, after.Minted = "new", now
				}
				if got != want || next != after || (ids == 1) != (want == doorward.Advanced) {
					t.Errorf("strict %v: %+v.Present(%q, %d, %+d s, %v later) = %+v, %d with %d ids made; want %+v, %d", strict, row.chain, row.jti, row.gen, row.later, row.age, next, got, ids, after, want)
				}
			}
		})
	}
}

package doorward_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorward"
)

// chainWorld plays long random histories with real times and whole memories against the
// rules, where the exhaustive model plays all short ones with abstract time.
type chainWorld struct {
	now    time.Time
	rules  doorward.RefreshRules
	chain  doorward.Chain
	tokens []*chainToken // in the order of minting
	byID   map[string]*chainToken
	line   []string // every head there was
	ended  string   // why the session was revoked
}

type chainToken struct {
	id       string
	gen      int64
	iat      int64
	toClient bool
	toThief  bool
	rotated  bool // when the thief got it, the session had rotated
	accepted bool // of the thief, at the door
	passed   bool // at the door
}

func newChainWorld(r *rapid.T) *chainWorld {
	w := &chainWorld{now: time.UnixMilli(1_800_000_000_000), byID: map[string]*chainToken{}}
	w.rules.RetryWindow = time.Duration(rapid.IntRange(0, 20_000).Draw(r, "window")) * time.Millisecond
	w.chain = doorward.Chain{Head: w.mint(0).id, Minted: w.now}
	w.line = []string{w.chain.Head}
	return w
}

func (w *chainWorld) mint(gen int64) *chainToken {
	t := &chainToken{id: fmt.Sprintf("t%d", len(w.tokens)), gen: gen, iat: w.now.Unix()}
	w.tokens = append(w.tokens, t)
	w.byID[t.id] = t
	return t
}

// passTime lets up to three windows pass, and often exactly what the window's edge needs.
func (w *chainWorld) passTime(r *rapid.T) {
	left := w.rules.RetryWindow - w.now.Sub(w.chain.Minted)
	if left > 0 && rapid.Bool().Draw(r, "to the edge") {
		w.now = w.now.Add(left - time.Duration(rapid.IntRange(0, 1).Draw(r, "before"))*time.Millisecond)
		return
	}
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 60_000).Draw(r, "ms")) * time.Millisecond)
}

// present returns the token that was answered, nil when the session ended by it.
func (w *chainWorld) present(r *rapid.T, t *chainToken) *chainToken {
	before, known := w.chain, len(w.tokens)
	w.rules.Strict = false
	next, outcome := w.chain.Present(t.id, t.gen, t.iat, w.now, w.rules, func() string { return w.mint(-1).id })
	switch outcome {
	case doorward.Advanced:
		if len(w.tokens) != known+1 || next.Child != w.tokens[known].id || !next.Minted.Equal(w.now) {
			r.Fatalf("%+v became %+v", before, next)
		}
		w.tokens[known].gen = next.Gen + 1
	case doorward.Reused:
		w.ended = "presented " + t.id
		fallthrough
	case doorward.Repeated:
		if next != before || len(w.tokens) != known {
			r.Fatalf("%+v changed to %+v by %d", before, next, outcome)
		}
	default:
		r.Fatalf("presenting %+v to %+v: outcome %d", *t, before, outcome)
	}
	w.keep(r, next)
	if outcome == doorward.Reused {
		return nil
	}
	id, gen := w.chain.Newest()
	answer := w.byID[id]
	if answer.gen != gen || answer == t {
		r.Fatalf("presenting %+v was answered with %+v as of generation %d", *t, *answer, gen)
	}
	return answer
}

// use shows the access token of t at the door.
func (w *chainWorld) use(r *rapid.T, t *chainToken) (passed bool) {
	before := w.chain
	next, outcome := w.chain.Confirm(t.id, t.gen, t.iat)
	switch outcome {
	case doorward.Passes, doorward.Confirms:
		passed, t.passed = true, true
		if (next != before) != (outcome == doorward.Confirms) {
			r.Fatalf("%+v became %+v by %d", before, next, outcome)
		}
		w.keep(r, next)
		if again, outcome := next.Confirm(t.id, t.gen, t.iat); outcome != doorward.Passes || again != next {
			r.Fatalf("a pass asked for again: %+v became %+v by %d", next, again, outcome)
		}
	case doorward.AccessReused:
		w.ended = "used the access token of " + t.id
		if t.passed {
			r.Fatalf("the access token of %s passed once and is now reuse", t.id)
		}
	case doorward.Stale:
		if next != before {
			r.Fatalf("a stale token changed %+v to %+v", before, next)
		}
	default:
		r.Fatalf("using %+v on %+v: outcome %d", *t, before, outcome)
	}
	return passed
}

// keep checks that the heads form one line.
func (w *chainWorld) keep(r *rapid.T, next doorward.Chain) {
	old := w.chain
	w.chain = next
	if next.Head != old.Head {
		w.line = append(w.line, next.Head)
		if next.Head != old.Child || next.Prev != old.Head {
			r.Fatalf("the head of %+v moved: %+v", old, next)
		}
	}
	if int(next.Gen) != len(w.line)-1 || w.byID[next.Head].gen != next.Gen || next.Fork > next.Gen+1 || next.Fork < old.Fork {
		r.Fatalf("%+v became %+v", old, next)
	}
}

// among draws one of all that is as asked, nil when there is none.
func among(r *rapid.T, label string, all []*chainToken, is func(*chainToken) bool) *chainToken {
	var some []*chainToken
	for _, t := range all {
		if is(t) {
			some = append(some, t)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return rapid.SampledFrom(some).Draw(r, label)
}

// An honest client, one request at a time, is never signed out, however many answers are
// lost, and is always served.
func TestChainRapidHonest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := newChainWorld(r)
		current := w.tokens[0]
		current.toClient = true
		adopts := rapid.Bool().Draw(r, "adopts")
		newest := current // access token
		for range rapid.IntRange(1, 200).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"refresh", "lost", "time", "use", "use an old one"}).Draw(r, "step") {
			case "refresh":
				if answer := w.present(r, current); answer != nil {
					answer.toClient, newest = true, answer
					if adopts {
						current = answer
					}
				}
			case "lost":
				w.present(r, current)
			case "time":
				w.passTime(r)
			case "use":
				if !w.use(r, newest) {
					r.Fatalf("the newest access token, of %+v, was refused by %+v", *newest, w.chain)
				}
			case "use an old one":
				if x := among(r, "old", w.tokens, func(t *chainToken) bool { return t.toClient }); x != nil {
					w.use(r, x)
				}
			}
			if w.ended != "" {
				r.Fatalf("signed out: %s", w.ended)
			}
		}
	})
}

// Once a session has rotated, a thief who refreshed and was let in is found by the client's
// next refresh, unless both got the same answer. A session that ends makes way for another.
func TestChainRapidTheft(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		for range rapid.IntRange(1, 50).Draw(r, "sessions") {
			w := newChainWorld(r)
			current := w.tokens[0]
			current.toClient = true
			thiefs := map[*chainToken]bool{} // refresh and access tokens
			for range 40 {
				if w.ended != "" {
					break
				}
				switch step := rapid.SampledFrom([]string{"refresh", "lost", "time", "use", "steal", "thief refreshes", "thief uses"}).Draw(r, "step"); step {
				case "refresh", "lost":
					answer := w.present(r, current)
					if answer == nil {
						break
					}
					answer.toClient = true
					for _, t := range w.tokens {
						if t.toThief && t.rotated && t.accepted && !t.toClient {
							r.Fatalf("the client was answered %+v, though the thief had got %+v and been let in", *answer, *t)
						}
					}
					if step == "refresh" {
						current = answer
					}
				case "time":
					w.passTime(r)
				case "use":
					w.use(r, current)
				case "steal":
					x := current
					if rapid.IntRange(0, 7).Draw(r, "an old one") == 7 {
						x = among(r, "stolen", w.tokens, func(t *chainToken) bool { return t.toClient })
					}
					thiefs[x] = true
				case "thief refreshes":
					x := among(r, "thief's", w.tokens, func(t *chainToken) bool { return thiefs[t] })
					if x == nil {
						break
					}
					rotated := x.gen >= 1 || current.gen >= 1
					if answer := w.present(r, x); answer != nil {
						thiefs[answer] = true
						answer.toThief, answer.rotated = true, answer.rotated || rotated
					}
				case "thief uses":
					x := among(r, "thief's access", w.tokens, func(t *chainToken) bool { return thiefs[t] })
					if x != nil && w.use(r, x) {
						x.accepted = true
					}
				}
			}
		}
	})
}

// A clock that is set back signs no serial client out, and never makes a token of the line
// newer than the row: replaced, it is reuse whenever it says that it was issued.
func TestChainRapidClockSetBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := newChainWorld(r)
		current := w.tokens[0]
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"refresh", "lost", "time", "back", "use"}).Draw(r, "step") {
			case "refresh":
				if answer := w.present(r, current); answer != nil {
					current = answer
				}
			case "lost":
				w.present(r, current)
			case "time":
				w.passTime(r)
			case "back":
				w.now = w.now.Add(-time.Duration(rapid.IntRange(1, 7200).Draw(r, "s")) * time.Second)
			case "use":
				if !w.use(r, current) {
					r.Fatalf("the newest access token, of %+v, was refused by %+v", *current, w.chain)
				}
			}
			if w.ended != "" {
				r.Fatalf("signed out: %s", w.ended)
			}
			for _, id := range w.line[:max(0, len(w.line)-2)] {
				x := w.byID[id]
				if _, outcome := w.chain.Present(x.id, x.gen, x.iat, w.now, w.rules, func() string { return "new" }); outcome != doorward.Reused {
					r.Fatalf("presenting %+v, long replaced, to %+v: outcome %d", *x, w.chain, outcome)
				}
				if _, outcome := w.chain.Confirm(x.id, x.gen, x.iat); outcome != doorward.Passes && outcome != doorward.Stale {
					r.Fatalf("using %+v on %+v: outcome %d", *x, w.chain, outcome)
				}
			}
		}
	})
}

// Whatever the row and the token are, the rules answer, change the row only when they say
// so, and never lower a generation.
func TestChainRapidAnything(t *testing.T) {
	t.Parallel()
	id := rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
	gen := rapid.OneOf(rapid.Int64Range(-2, 8), rapid.Int64())
	rapid.Check(t, func(r *rapid.T) {
		minted := time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(r, "minted"))
		c := doorward.Chain{
			Prev: id.Draw(r, "prev"), Head: id.Draw(r, "head"), Child: id.Draw(r, "child"),
			Gen: rapid.Int64Range(0, 6).Draw(r, "gen"), Fork: rapid.Int64Range(0, 7).Draw(r, "fork"), Minted: minted,
		}
		rules := doorward.RefreshRules{
			RetryWindow: time.Duration(rapid.Int64Range(0, 1<<40).Draw(r, "window")),
			Strict:      rapid.Bool().Draw(r, "strict"),
		}
		jti, of := id.Draw(r, "jti"), gen.Draw(r, "of")
		iat := rapid.OneOf(rapid.Int64Range(minted.Unix()-1, minted.Unix()+1), rapid.Int64()).Draw(r, "iat")
		calls := 0
		next, outcome := c.Present(jti, of, iat, minted.Add(time.Duration(rapid.Int64Range(-1<<40, 1<<41).Draw(r, "age"))), rules, func() string { calls++; return "new" })
		switch {
		case outcome < doorward.Advanced || outcome > doorward.Reused:
			r.Fatalf("outcome %d", outcome)
		case (outcome == doorward.Advanced) != (next != c), (outcome == doorward.Advanced) != (calls == 1), calls > 1:
			r.Fatalf("%+v became %+v by %d, %d ids made", c, next, outcome, calls)
		case next.Gen < c.Gen || next.Gen > c.Gen+1:
			r.Fatalf("generation %d became %d", c.Gen, next.Gen)
		}
		confirmed, confirmation := c.Confirm(jti, of, iat)
		switch {
		case confirmation < doorward.Passes || confirmation > doorward.AccessReused:
			r.Fatalf("confirmation %d", confirmation)
		case (confirmation == doorward.Confirms) != (confirmed != c):
			r.Fatalf("%+v became %+v by %d", c, confirmed, confirmation)
		case confirmed.Gen < c.Gen || confirmed.Gen > c.Gen+1 || !confirmed.Minted.Equal(c.Minted) || confirmed.Fork != c.Fork:
			r.Fatalf("%+v became %+v", c, confirmed)
		}
	})
}

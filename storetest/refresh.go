package storetest

import (
	"testing"
	"time"

	"doorward"
)

var refreshTests = []test{
	{"nothing is decided about what is not there", func(k *kit) {
		found, err := k.AdvanceRefresh(k.ctx(), "ses_x", func(doorward.RefreshState) doorward.RefreshDecision {
			k.Error("decide was called")
			return doorward.RefreshDecision{}
		}, entry("session.end"))
		if found || err != nil {
			k.Errorf("found %v, error %v", found, err)
		}
	}},
	{"what is decided on is the session and the store's time", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		before := k.now()
		k.advance(90 * time.Second)
		k.decide(s.ID, func(at doorward.RefreshState) doorward.RefreshDecision {
			if !sameSession(at.Session, s) {
				k.Errorf("got %+v, want %+v", at.Session, s)
			}
			if d := at.Now.Sub(before); d < 90*time.Second || d > 150*time.Second {
				k.Errorf("the clock moved by %v, want 90s", d)
			}
			return doorward.RefreshDecision{}
		})
	}},
	{"an advance is kept and never takes access back", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		for _, step := range []struct {
			chain doorward.Chain
			until time.Time
			want  time.Time
		}{
			{doorward.Chain{Head: s.Chain.Head, Child: "c1", Minted: s.Created.Add(time.Minute)}, s.AccessUntil.Add(time.Hour), s.AccessUntil.Add(time.Hour)},
			{doorward.Chain{Prev: s.Chain.Head, Head: "c1", Child: "c2", Gen: 1, Fork: 1, Minted: s.Created.Add(2 * time.Minute)}, s.AccessUntil, s.AccessUntil.Add(time.Hour)},
			{doorward.Chain{Prev: "c1", Head: "c2", Gen: 2, Fork: 1, Minted: s.Created.Add(2 * time.Minute)}, time.Time{}, s.AccessUntil.Add(time.Hour)},
		} {
			k.decide(s.ID, func(doorward.RefreshState) doorward.RefreshDecision {
				return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: step.chain, AccessUntil: step.until}
			})
			want := s
			want.Chain, want.AccessUntil = step.chain, step.want
			if got := k.session(s.ID); !sameSession(got, want) {
				k.Errorf("got %+v, want %+v", got, want)
			}
		}
		ended, _, err := k.EndSession(k.ctx(), s.ID, doorward.EndSignedOut, entry("session.end"))
		k.ok(err)
		if !sameTime(ended.Until, s.AccessUntil.Add(time.Hour)) {
			k.Errorf("remembered until %v, want the latest expiry minted", ended.Until)
		}
	}},
	{"any other outcome keeps nothing", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		for _, outcome := range []doorward.Presentation{0, doorward.Repeated, doorward.Backwards} {
			k.decide(s.ID, func(doorward.RefreshState) doorward.RefreshDecision {
				return doorward.RefreshDecision{Outcome: outcome, Chain: doorward.Chain{Head: "x"}, AccessUntil: s.Ends}
			})
			if got := k.session(s.ID); !sameSession(got, s) {
				k.Errorf("outcome %d: got %+v, want %+v", outcome, got, s)
			}
		}
	}},
	{"reuse ends the session", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		reuse := func(doorward.RefreshState) doorward.RefreshDecision {
			return doorward.RefreshDecision{Outcome: doorward.Reused, Chain: doorward.Chain{Head: "x"}, AccessUntil: s.Ends}
		}
		k.decide(s.ID, reuse)
		got := k.session(s.ID)
		want := s
		want.Ended, want.EndReason = got.Ended, doorward.EndReuse
		if got.Ended.IsZero() || !sameSession(got, want) {
			k.Errorf("got %+v, want %+v", got, want)
		}
		if until, ok := k.ended()[s.ID]; !ok || !sameTime(until, s.AccessUntil) {
			k.Errorf("listed %v until %v, want until %v", ok, until, s.AccessUntil)
		}
		k.advance(time.Second)
		k.decide(s.ID, reuse)
		if again := k.session(s.ID); !sameSession(again, got) {
			k.Errorf("it ended twice: %+v, then %+v", got, again)
		}
	}},
	{"what has ended never advances", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		_, _, err := k.EndSession(k.ctx(), s.ID, doorward.EndSignedOut, entry("session.end"))
		k.ok(err)
		want := k.session(s.ID)
		_, err = k.AdvanceRefresh(k.ctx(), s.ID, func(at doorward.RefreshState) doorward.RefreshDecision {
			if at.Session.Ended.IsZero() {
				k.Error("decide was not told that it has ended")
			}
			return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: doorward.Chain{Head: "x"}, AccessUntil: s.Ends}
		}, entry("session.end"))
		if err == nil {
			k.Error("no error")
		}
		if got := k.session(s.ID); !sameSession(got, want) {
			k.Errorf("got %+v, want %+v", got, want)
		}
		_, _, err = k.EndSession(k.ctx(), s.ID, doorward.EndReuse, entry("session.end"))
		k.ok(err)
		if got := k.session(s.ID); got.EndReason != doorward.EndSignedOut {
			k.Errorf("the reason became %q", got.EndReason)
		}
	}},
}

// decide presents a refresh token of a session that is there.
func (k *kit) decide(id string, d func(doorward.RefreshState) doorward.RefreshDecision) {
	k.Helper()
	found, err := k.AdvanceRefresh(k.ctx(), id, d, entry("session.end"))
	k.ok(err)
	if !found {
		k.Fatalf("session %s is not found", id)
	}
}

// present lets the root's rules judge a refresh token, as the verb does.
func present(s doorward.Store, t testing.TB, id, jti string, gen int64, rules doorward.RefreshRules, newID func() string) (outcome doorward.Presentation, after doorward.Chain) {
	found, err := s.AdvanceRefresh(t.Context(), id, func(at doorward.RefreshState) doorward.RefreshDecision {
		outcome, after = 0, at.Session.Chain
		if !at.Session.Ended.IsZero() {
			return doorward.RefreshDecision{}
		}
		after, outcome = at.Session.Chain.Present(jti, gen, at.Session.Created.Unix(), at.Now, rules, newID)
		return doorward.RefreshDecision{Outcome: outcome, Chain: after, AccessUntil: at.Now.Add(time.Hour)}
	}, entry("session.end"))
	if err != nil || !found {
		t.Errorf("session %s: found %v, error %v", id, found, err)
	}
	return outcome, after
}

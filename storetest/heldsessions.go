package storetest

import (
	"slices"
	"time"

	"doorward"
)

var heldSessionTests = []test{
	{"a session is read with whose it is", func(k *kit) {
		u := k.user("anna")
		person, machine := k.signIn(u), k.exchange("tok_1", "editor")
		for id, owner := range map[string]string{person.ID: u.ID, machine.ID: ""} {
			got, found, err := k.HeldSession(k.ctx(), id)
			k.ok(err)
			if !found || got.ID != id || got.Owner != owner || got.KeyRole != "" || !sameSession(got.Session, k.session(id)) {
				k.Errorf("got %+v, found %v", got, found)
			}
		}
		if _, found, err := k.HeldSession(k.ctx(), "nothing"); found || err != nil {
			k.Errorf("found %v, error %v", found, err)
		}
	}},
	{"a page of sessions, those that end last first", func(k *kit) {
		u := k.user("anna")
		now := k.now()
		var want []string
		for i := range 25 {
			s := k.sessionOf(u, now)
			s.Ends = now.Add(time.Duration(1+i/3) * time.Hour) // three at a time end together
			k.ok(k.SignIn(k.ctx(), s, u.Version, "nobody", 1000, entry("session.create")))
			want = append(want, s.ID)
		}
		slices.Reverse(want) // ids grow
		other := k.user("berta")
		k.signIn(other)
		k.exchange("tok_1", "editor")
		read := func(q doorward.SessionQuery, limit int) []string {
			k.Helper()
			var ids []string
			var after doorward.SessionMark
			for {
				page, err := k.SessionPage(k.ctx(), q, after, limit)
				k.ok(err)
				for _, s := range page {
					ids = append(ids, s.ID)
					after = doorward.SessionMark{Ends: s.Ends, ID: s.ID}
				}
				if len(page) < limit {
					return ids
				}
			}
		}
		for _, limit := range []int{1, 4, 25, 100} {
			for _, q := range []doorward.SessionQuery{{User: u.ID}, {Credential: u.ID}} {
				if got := read(q, limit); !slices.Equal(got, want) {
					k.Errorf("%+v by %d: %v, want %v", q, limit, got, want)
				}
			}
		}
		if got := read(doorward.SessionQuery{Credential: "tok_1"}, 10); len(got) != 1 {
			k.Errorf("got %v", got)
		}
		_, _, err := k.EndSession(k.ctx(), want[0], "x", entry("session.end"))
		k.ok(err)
		k.advance(2 * time.Hour) // the first six are over
		if got := read(doorward.SessionQuery{User: u.ID}, 7); !slices.Equal(got, want[1:len(want)-6]) {
			k.Errorf("got %v, want %v", got, want[1:len(want)-6])
		}
	}},
	{"all end but the one to keep", func(k *kit) {
		u := k.user("anna")
		var mine, theirs []string
		for range 3 {
			mine = append(mine, k.signIn(u).ID)
			theirs = append(theirs, k.exchange("tok_1", "editor").ID)
		}
		for _, c := range []struct {
			q    doorward.SessionQuery
			kept string
			of   []string
		}{
			{doorward.SessionQuery{User: u.ID, Keep: mine[1]}, mine[1], mine},
			{doorward.SessionQuery{Credential: "tok_1", Keep: theirs[2]}, theirs[2], theirs},
		} {
			ended, err := k.EndSessions(k.ctx(), c.q, doorward.EndRevoked, entry("session.end"))
			k.ok(err)
			if len(ended) != 2 {
				k.Errorf("%d ended, want 2", len(ended))
			}
			for _, id := range c.of {
				if alive := k.session(id).Ended.IsZero(); alive != (id == c.kept) {
					k.Errorf("%s lives: %v", id, alive)
				}
			}
		}
	}},
}

package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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
	{"a session made with a key is read with the key and its owner as they are now", func(k *kit) {
		k.workspaces(doorward.Default, "lab")
		u := k.member("anna", doorward.Default, "lab", doorward.Default)
		theirs, service := k.newKey(u.ID), k.newKey("")
		for _, key := range []doorward.KeyState{theirs, service} {
			s, err := k.keySession(key.ID)
			k.ok(err)
			got, found, err := k.HeldSession(k.ctx(), s.ID)
			k.ok(err)
			if !found || got.Owner != key.Owner || got.KeyRole != key.Role || got.KeyName != key.Name || got.Holder.ID != key.Owner {
				k.Errorf("got %+v, found %v", got, found)
			}
			if h := got.Holder; key.Owner != "" && (h.Username != "anna" || h.Role != u.Role || h.Org != u.Org || !slices.Equal(h.Workspaces, []string{doorward.Default, "lab"})) {
				k.Errorf("held by %+v", h)
			}
		}
	}},
	{"the sessions of an organization, by whose they are", func(k *kit) {
		k.org("acme", "lab")
		anna, bert, zoe := k.user("Anna"), k.user("bert"), k.member("anna.of.acme", "acme", "lab")
		want := map[string]string{} // by id: what it is listed by
		add := func(s doorward.Session, listed string) doorward.Session {
			want[s.ID] = listed
			return s
		}
		for range 3 {
			add(k.signIn(bert), "bert")
			add(k.signIn(anna), "anna")
		}
		key, service := k.newKey(anna.ID), k.newKey("")
		for _, of := range []doorward.KeyState{key, service} {
			s, err := k.keySession(of.ID)
			k.ok(err)
			listed := "my-app " + strings.ToLower(of.Name)
			if of.Owner != "" {
				listed = "anna " + listed
			}
			add(s, listed)
		}
		gone := add(k.exchange("tok_1", "editor"), "my-app")
		over := k.machine("tok_1", "editor", k.now())
		over.Ends = k.now().Add(time.Minute)
		k.ok(k.CreateSession(k.ctx(), over, 10, entry("session.create")))
		k.advance(time.Hour)
		elsewhere := k.signIn(zoe)
		_, _, err := k.EndSession(k.ctx(), gone.ID, "x", entry("session.end"))
		k.ok(err)
		delete(want, gone.ID)
		var order []string
		for id := range want {
			order = append(order, id)
		}
		slices.SortFunc(order, func(x, y string) int { return cmp.Or(cmp.Compare(want[x], want[y]), cmp.Compare(x, y)) })
		all := func(doorward.HeldSession) bool { return true }
		with := func(part string, begins bool) (ids []string) {
			for _, id := range order {
				if strings.Contains(want[id], part) && strings.HasPrefix(want[id], part) == begins {
					ids = append(ids, id)
				}
			}
			return ids
		}
		for _, limit := range []int{1, 2, 3, 5, 100} {
			for search, ids := range map[string][]string{
				"": order, "ANNA": with("anna", true), "b": append(with("b", true), with("b", false)...), "my-app": append(with("my-app", true), with("my-app", false)...),
				"anna my-app k": with("anna my-app k", true), "key": with("key", false), "nobody": nil, "%": nil, "anna.of": nil,
			} {
				if got := k.orgSessions(doorward.OrgSessionQuery{Org: doorward.Default, Search: search, Limit: limit}, all); !slices.Equal(got, ids) {
					k.Errorf("%q by %d: %v, want %v", search, limit, got, ids)
				}
			}
			bertsOnly := func(s doorward.HeldSession) bool { return s.Owner == bert.ID }
			if got := k.orgSessions(doorward.OrgSessionQuery{Org: doorward.Default, Limit: limit}, bertsOnly); !slices.Equal(got, with("bert", true)) {
				k.Errorf("bert's by %d: %v", limit, got)
			}
			if got := k.orgSessions(doorward.OrgSessionQuery{Org: "acme", Limit: limit}, all); !slices.Equal(got, []string{elsewhere.ID}) {
				k.Errorf("acme's by %d: %v", limit, got)
			}
		}
		if got := k.orgSessions(doorward.OrgSessionQuery{Org: "none", Limit: 10}, all); got != nil {
			k.Errorf("of none: %v", got)
		}
	}},
	{"a page of an organization's sessions looks at so many and says where to go on", func(k *kit) {
		now := k.now()
		const many = 1205
		for i := range many {
			s := k.machine("tok_1", "editor", now)
			s.Subject = fmt.Sprintf("app-%04d", i)
			k.ok(k.CreateSession(k.ctx(), s, 10_000, entry("session.create")))
		}
		last := func(s doorward.HeldSession) bool { return s.Subject == "app-1204" }
		asked := 0
		page, next, err := k.OrgSessions(k.ctx(), doorward.OrgSessionQuery{Org: doorward.Default, Limit: 10}, func(s doorward.HeldSession) bool {
			asked++
			return last(s)
		})
		k.ok(err)
		if len(page) != 0 || next == (doorward.SessionPlace{}) || asked >= many {
			k.Errorf("%d of %d looked at, %d found, next %+v", asked, many, len(page), next)
		}
		for _, search := range []string{"", "app-1204", "1204"} {
			if got := k.orgSessions(doorward.OrgSessionQuery{Org: doorward.Default, Search: search, Limit: 10}, last); len(got) != 1 {
				k.Errorf("%q: %v", search, got)
			}
		}
		all := k.orgSessions(doorward.OrgSessionQuery{Org: doorward.Default, Limit: 100}, func(doorward.HeldSession) bool { return true })
		slices.Sort(all)
		if n := len(slices.Compact(all)); n != many || len(all) != many {
			k.Errorf("%d are listed, %d of them different, want %d", len(all), n, many)
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

// orgSessions reads all pages of an organization's sessions.
func (k *kit) orgSessions(q doorward.OrgSessionQuery, may func(doorward.HeldSession) bool) (ids []string) {
	k.Helper()
	for range 10_000 {
		page, next, err := k.OrgSessions(k.ctx(), q, may)
		k.ok(err)
		if len(page) > q.Limit {
			k.Fatalf("a page of %d holds %d", q.Limit, len(page))
		}
		for _, s := range page {
			ids = append(ids, s.ID)
		}
		if next == (doorward.SessionPlace{}) {
			return ids
		}
		if next == q.After {
			k.Fatalf("%+v leads to itself", next)
		}
		q.After = next
	}
	k.Fatal("the pages have no end")
	return nil
}

package storetest

import (
	"errors"
	"maps"
	"slices"
	"time"

	"doorward"
)

var sessionTests = []test{
	{"a session is kept as created", func(k *kit) {
		now := k.now().Add(456 * time.Microsecond) // below what is kept
		machine := doorward.Session{
			ID: k.id("ses_"), Kind: doorward.KindClient, Subject: "my:app/1", Credential: "tok_1", Configured: true, Terms: "editor default",
			Org: "default", Workspaces: "a,b,default", Created: now, Ends: now.Add(time.Hour), AccessUntil: now.Add(time.Minute),
			Chain:   doorward.Chain{Prev: "p", Head: "h", Child: "c", Gen: 1 << 40, Fork: 3, Minted: now},
			Address: "2001:db8::1", UserAgent: `a "quoted" 'agent' – ünïcode; --`,
		}
		k.ok(k.CreateSession(k.ctx(), machine, 10, entry("session.create")))
		if got := k.session(machine.ID); !sameSession(got, machine) {
			k.Errorf("got %+v, want %+v", got, machine)
		}
		u := k.user("anna")
		person := k.sessionOf(u, now)
		k.ok(k.SignIn(k.ctx(), person, u.Version, "anna", 10, entry("session.create")))
		if got := k.session(person.ID); !sameSession(got, person) {
			k.Errorf("got %+v, want %+v", got, person)
		}
	}},
	{"what is not there is not found, without an error", func(k *kit) {
		k.exchange("tok_1", "editor")
		for _, id := range []string{"", "ses_x", "SES_000002", "%"} {
			if _, found, err := k.Session(k.ctx(), id); found || err != nil {
				k.Errorf("session %q: found %v, error %v", id, found, err)
			}
			if ended, found, err := k.EndSession(k.ctx(), id, "x", entry("session.end")); found || err != nil || ended != (doorward.EndedSession{}) {
				k.Errorf("end %q: found %v, ended %v, error %v", id, found, ended, err)
			}
		}
	}},
	{"an id is not used twice", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		twin := k.machine("tok_2", "viewer", k.now())
		twin.ID = s.ID
		if err := k.CreateSession(k.ctx(), twin, 10, entry("session.create")); err == nil {
			k.Error("no error")
		}
		if got := k.session(s.ID); !sameSession(got, s) {
			k.Errorf("got %+v, want %+v", got, s)
		}
	}},
	{"signing in clears the failures", func(k *kit) {
		u := k.user("anna")
		policy := doorward.LockoutPolicy{Attempts: 2, Window: time.Hour, Duration: time.Hour}
		for range 3 { // one failure and a success each time
			k.count("anna", policy, 0)
			k.count("berta", doorward.LockoutPolicy{Attempts: 9, Window: time.Hour, Duration: time.Hour}, 0)
			s := k.sessionOf(u, k.now())
			k.ok(k.SignIn(k.ctx(), s, u.Version, "anna", 10, entry("session.create")))
		}
		k.count("anna", policy, 0)
		k.count("anna", policy, 0)
		k.count("anna", policy, time.Hour)
		k.count("berta", doorward.LockoutPolicy{Attempts: 4, Window: time.Hour, Duration: time.Hour}, 0)
		k.lockedFor("berta", time.Hour)
	}},
	{"who has changed meanwhile is not signed in", func(k *kit) {
		policy := doorward.LockoutPolicy{Attempts: 1, Window: time.Hour, Duration: time.Hour}
		changed, disabled, deleted := k.user("changed"), k.user("disabled"), k.user("deleted")
		_, _, err := k.SetPassword(k.ctx(), doorward.NewPassword{UserID: changed.ID, Hash: hashTwo}, agree, entry("user.password"))
		k.ok(err)
		_, _, _, err = k.ChangeUser(k.ctx(), disabled.ID, disable, entry("user.change"))
		k.ok(err)
		_, _, err = k.DeleteUser(k.ctx(), deleted.ID, func(doorward.User, doorward.Census) error { return nil }, entry("user.delete"))
		k.ok(err)
		nowDisabled := k.known(disabled.ID)
		for _, u := range []doorward.User{changed, disabled, nowDisabled, deleted} {
			k.ok(k.ClearFailures(k.ctx(), u.Username, entry("user.unlock")))
			k.count(u.Username, policy, 0)
			s := k.sessionOf(u, k.now())
			if err := k.SignIn(k.ctx(), s, u.Version, u.Username, 10, entry("session.create")); !errors.Is(err, doorward.ErrChanged) {
				k.Errorf("%s: error %v, want ErrChanged", u.Username, err)
			}
			if _, found, err := k.Session(k.ctx(), s.ID); found || err != nil {
				k.Errorf("%s: the session is found %v, error %v", u.Username, found, err)
			}
			k.lockedFor(u.Username, time.Hour) // not cleared
		}
	}},
	{"a credential has so many live sessions", func(k *kit) {
		u := k.user("anna")
		for name, begin := range map[string]func(life time.Duration) (doorward.Session, error){
			"a person": func(life time.Duration) (doorward.Session, error) {
				s := k.sessionOf(u, k.now())
				s.Ends = s.Created.Add(life)
				return s, k.SignIn(k.ctx(), s, u.Version, "anna", 3, entry("session.create"))
			},
			"a machine": func(life time.Duration) (doorward.Session, error) {
				s := k.machine("tok_1", "editor", k.now())
				s.Ends = s.Created.Add(life)
				return s, k.CreateSession(k.ctx(), s, 3, entry("session.create"))
			},
		} {
			short, err := begin(time.Hour)
			k.ok(err)
			out, err := begin(2 * time.Hour)
			k.ok(err)
			_, err = begin(3 * time.Hour)
			k.ok(err)

			past, err := begin(time.Hour)
			e := k.refused(err, doorward.CodeThrottled)
			if e.RetryAfter <= 59*time.Minute || e.RetryAfter > time.Hour {
				k.Errorf("%s: retry after %v, want what is left of an hour", name, e.RetryAfter)
			}
			if _, found, err := k.Session(k.ctx(), past.ID); found || err != nil {
				k.Errorf("%s: the session past the limit is found %v, error %v", name, found, err)
			}
			k.exchange("tok_other", "editor") // another's count is another

			_, _, err = k.EndSession(k.ctx(), out.ID, doorward.EndSignedOut, entry("session.end"))
			k.ok(err)
			_, err = begin(3 * time.Hour) // in place of the one that was ended
			k.ok(err)
			_, err = begin(time.Hour)
			k.refused(err, doorward.CodeThrottled)
			k.advance(short.Ends.Sub(k.now()))
			_, err = begin(3 * time.Hour) // in place of the one that came to its end
			k.ok(err)
			_, err = begin(time.Hour)
			k.refused(err, doorward.CodeThrottled)
		}
	}},
	{"a session ends once", func(k *kit) {
		s := k.exchange("tok_1", "editor")
		want := doorward.EndedSession{ID: s.ID, Until: s.AccessUntil}
		before := k.now()
		for i, reason := range []string{doorward.EndSignedOut, "another", ""} {
			got, found, err := k.EndSession(k.ctx(), s.ID, reason, entry("session.end"))
			k.ok(err)
			if !found || got.ID != want.ID || !sameTime(got.Until, want.Until) {
				k.Errorf("call %d: found %v, got %v, want %v", i+1, found, got, want)
			}
			k.advance(time.Second)
		}
		got := k.session(s.ID)
		if got.EndReason != doorward.EndSignedOut || got.Ended.Before(before) || got.Ended.After(before.Add(time.Second)) {
			k.Errorf("ended at %v for %q, want the first time, %v", got.Ended, got.EndReason, before)
		}
		s.Ended, s.EndReason = got.Ended, got.EndReason
		if !sameSession(got, s) {
			k.Errorf("more than the end changed: got %+v, want %+v", got, s)
		}
	}},
	{"what has ended is listed until its last access token has expired", func(k *kit) {
		live := k.exchange("tok_1", "editor")
		short, long := k.exchange("tok_1", "editor"), k.machine("tok_2", "editor", k.now())
		long.AccessUntil = long.Ends
		k.ok(k.CreateSession(k.ctx(), long, 10, entry("session.create")))
		if got := k.ended(); len(got) > 0 {
			k.Errorf("ended: %v, want none", got)
		}
		for _, s := range []doorward.Session{short, long} {
			_, _, err := k.EndSession(k.ctx(), s.ID, doorward.EndSignedOut, entry("session.end"))
			k.ok(err)
		}
		got := k.ended()
		if len(got) != 2 || !sameTime(got[short.ID], short.AccessUntil) || !sameTime(got[long.ID], long.AccessUntil) {
			k.Errorf("ended: %v, want %s and %s", got, short.ID, long.ID)
		}
		k.advance(time.Hour) // to the end of short's last access token, or a little past it
		if got := slices.Collect(maps.Keys(k.ended())); !slices.Equal(got, []string{long.ID}) {
			k.Errorf("ended: %v, want %s", got, long.ID)
		}
		if !k.session(live.ID).Ended.IsZero() {
			k.Error("the live one has ended")
		}
	}},
	{"a reader of the ended may stop", func(k *kit) {
		for range 3 {
			_, _, err := k.EndSession(k.ctx(), k.exchange("tok_1", "editor").ID, "x", entry("session.end"))
			k.ok(err)
		}
		seen := 0
		err := k.EndedSessions(k.ctx(), func(doorward.EndedSession) error {
			seen++
			return errMine
		})
		if !errors.Is(err, errMine) || seen != 1 {
			k.Errorf("error %v after %d", err, seen)
		}
		if got := k.ended(); len(got) != 3 {
			k.Errorf("ended: %v, want 3", got)
		}
	}},
	{"sessions of what is no longer configured as it was end", func(k *kit) {
		kept, gone, changed := k.exchange("tok_kept", "editor"), k.exchange("tok_gone", "editor"), k.exchange("tok_changed", "editor")
		changedToo, later := k.exchange("tok_changed", "editor"), k.exchange("tok_changed", "viewer")
		person := k.signIn(k.user("anna"))
		own := k.machine("key_1", "", k.now())
		own.Configured = false
		k.ok(k.CreateSession(k.ctx(), own, 10, entry("session.create")))
		out := k.exchange("tok_gone", "editor")
		_, _, err := k.EndSession(k.ctx(), out.ID, doorward.EndSignedOut, entry("session.end"))
		k.ok(err)

		keep := map[string]string{"tok_kept": "editor", "tok_changed": "viewer", "tok_new": "admin"}
		for i, want := range [][]doorward.Session{{gone, changed, changedToo}, nil} {
			ended, err := k.EndUnconfigured(k.ctx(), keep, entry("session.end"))
			k.ok(err)
			if len(ended) != len(want) {
				k.Errorf("call %d", i+1)
			}
			k.endedExactly(ended, want...)
		}
		for _, s := range []doorward.Session{gone, changed, changedToo} {
			if got := k.session(s.ID); got.Ended.IsZero() || got.EndReason != doorward.EndCredentialGone {
				k.Errorf("%s ended at %v for %q", s.Credential, got.Ended, got.EndReason)
			}
		}
		for _, s := range []doorward.Session{kept, later, person, own} {
			if got := k.session(s.ID); !got.Ended.IsZero() {
				k.Errorf("%s with %q ended", s.Credential, s.Terms)
			}
		}
		if got := k.session(out.ID); got.EndReason != doorward.EndSignedOut {
			k.Errorf("the one that had ended says now %q", got.EndReason)
		}
		ended, err := k.EndUnconfigured(k.ctx(), nil, entry("session.end"))
		k.ok(err)
		k.endedExactly(ended, kept, later)
	}},
	{"the sessions that live are listed", func(k *kit) {
		anna, berta := k.user("anna"), k.user("berta")
		first, second, other := k.signIn(anna), k.signIn(anna), k.signIn(berta)
		out := k.signIn(anna)
		_, _, err := k.EndSession(k.ctx(), out.ID, doorward.EndSignedOut, entry("session.end"))
		k.ok(err)
		over := k.machine("tok_1", "editor", k.now())
		over.Ends = over.Created.Add(time.Hour)
		k.ok(k.CreateSession(k.ctx(), over, 10, entry("session.create")))
		k.advance(time.Hour)
		machine := k.exchange("tok_1", "editor")
		for _, c := range []struct {
			q    doorward.SessionQuery
			want []doorward.ListedSession
		}{
			{doorward.SessionQuery{}, []doorward.ListedSession{named(first, "anna"), named(second, "anna"), named(other, "berta"), named(machine, "")}},
			{doorward.SessionQuery{User: anna.ID}, []doorward.ListedSession{named(first, "anna"), named(second, "anna")}},
			{doorward.SessionQuery{Credential: berta.ID}, []doorward.ListedSession{named(other, "berta")}},
			{doorward.SessionQuery{Credential: "tok_1"}, []doorward.ListedSession{named(machine, "")}},
			{doorward.SessionQuery{User: "usr_nobody"}, nil},
			{doorward.SessionQuery{Credential: "tok"}, nil},
		} {
			got := k.listed(c.q)
			delete(got, "clock") // the kit's own
			if len(got) != len(c.want) {
				k.Errorf("%+v: %d sessions, want %d", c.q, len(got), len(c.want))
			}
			for _, want := range c.want {
				if l := got[want.ID]; l.Username != want.Username || !sameSession(l.Session, want.Session) {
					k.Errorf("%+v: got %+v, want %+v", c.q, l, want)
				}
			}
		}
	}},
	{"more sessions than a page are each listed once, and all end", func(k *kit) {
		const n = 1234
		now := k.now() // which makes a session of its own
		race(callers, func(c int) {
			for i := c; i < n; i += callers {
				if err := k.CreateSession(k.ctx(), k.machine("tok_1", "editor", now), n, entry("session.create")); err != nil {
					k.Errorf("session %d: %v", i, err)
				}
			}
		})
		got := k.listed(doorward.SessionQuery{})
		if len(got) != n+1 {
			k.Errorf("%d sessions are listed, want %d", len(got), n+1)
		}
		before, err := k.LastChange(k.ctx())
		k.ok(err)
		ended, err := k.EndSessions(k.ctx(), doorward.SessionQuery{}, doorward.EndRevoked, entry("session.end"))
		k.ok(err)
		told := map[string]bool{}
		for _, c := range k.changes(before) {
			told[c.Target] = true
		}
		for _, e := range ended {
			if l, ok := got[e.ID]; !ok || !told[e.ID] || !sameTime(l.AccessUntil, e.Until) {
				k.Errorf("ended %v, listed %v, in the feed %v", e, ok, told[e.ID])
			}
			delete(got, e.ID)
		}
		if len(got) > 0 || len(k.ended()) != n { // the kit's own has no token to remember
			k.Errorf("%d did not end; %d are remembered, want %d", len(got), len(k.ended()), n)
		}
		if got := k.listed(doorward.SessionQuery{}); len(got) != 0 {
			k.Errorf("%d still live", len(got))
		}
	}},
	{"a reader of the sessions may stop, and may ask the store", func(k *kit) {
		for range 3 {
			k.exchange("tok_1", "editor")
		}
		for _, q := range []doorward.SessionQuery{{}, {Credential: "tok_1"}} {
			seen := 0
			err := k.Sessions(k.ctx(), q, func(l doorward.ListedSession) error {
				seen++
				_, _, err := k.EndSession(k.ctx(), l.ID, "x", entry("session.end")) // nothing is held up
				return errors.Join(errMine, err)
			})
			if !errors.Is(err, errMine) || seen != 1 {
				k.Errorf("error %v after %d", err, seen)
			}
		}
	}},
	{"a part of the sessions ends, once, and nobody else's", func(k *kit) {
		anna, berta := k.user("anna"), k.user("berta")
		first, second, other := k.signIn(anna), k.signIn(anna), k.signIn(berta)
		machine, another := k.exchange("tok_1", "editor"), k.exchange("tok_2", "editor")
		for _, c := range []struct {
			q    doorward.SessionQuery
			want []doorward.Session
		}{
			{doorward.SessionQuery{User: anna.ID}, []doorward.Session{first, second}},
			{doorward.SessionQuery{User: anna.ID}, nil},
			{doorward.SessionQuery{Credential: anna.ID}, nil},
			{doorward.SessionQuery{Credential: "tok_1"}, []doorward.Session{machine}},
			{doorward.SessionQuery{User: "tok_2"}, nil}, // no user
		} {
			before, err := k.LastChange(k.ctx())
			k.ok(err)
			ended, err := k.EndSessions(k.ctx(), c.q, doorward.EndRevoked, entry("session.end"))
			k.ok(err)
			if len(ended) != len(c.want) || len(k.changes(before)) != len(c.want) {
				k.Errorf("%+v: ended %v, in the feed %v, want %d", c.q, ended, k.changes(before), len(c.want))
			}
			k.endedExactly(ended, c.want...)
		}
		for _, s := range []doorward.Session{first, second, machine} {
			if got := k.session(s.ID); got.Ended.IsZero() || got.EndReason != doorward.EndRevoked {
				k.Errorf("%s ended at %v for %q", s.ID, got.Ended, got.EndReason)
			}
		}
		for _, s := range []doorward.Session{other, another} {
			if !k.session(s.ID).Ended.IsZero() {
				k.Errorf("the session of %s ended", s.Credential)
			}
		}
	}},
	{"the last end of any session", func(k *kit) {
		if last, err := k.LastSessionEnd(k.ctx()); err != nil || !last.IsZero() {
			k.Errorf("of none: %v, %v", last, err)
		}
		short, long := k.machine("tok_1", "editor", time.Unix(1_700_000_000, 0)), k.machine("tok_1", "editor", time.Unix(1_700_000_000, 0))
		long.Ends = short.Ends.Add(1234 * time.Millisecond)
		for _, s := range []doorward.Session{long, short} {
			k.ok(k.CreateSession(k.ctx(), s, 10, entry("session.create")))
		}
		_, _, err := k.EndSession(k.ctx(), long.ID, "x", entry("session.end"))
		k.ok(err)
		if last, err := k.LastSessionEnd(k.ctx()); err != nil || !sameTime(last, long.Ends) {
			k.Errorf("%v, %v, want %v", last, err, long.Ends)
		}
	}},
}

func named(s doorward.Session, username string) doorward.ListedSession {
	return doorward.ListedSession{Session: s, Username: username}
}

// listed reads the sessions that live, by id.
func (k *kit) listed(q doorward.SessionQuery) map[string]doorward.ListedSession {
	k.Helper()
	all := map[string]doorward.ListedSession{}
	k.ok(k.Sessions(k.ctx(), q, func(l doorward.ListedSession) error {
		if _, twice := all[l.ID]; twice {
			k.Errorf("session %s is listed twice", l.ID)
		}
		all[l.ID] = l
		return nil
	}))
	return all
}

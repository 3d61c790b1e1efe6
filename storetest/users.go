package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"doorward"
)

var errMine = errors.New("refused by the caller")

var userTests = []test{
	{"a user is kept as created", func(k *kit) {
		u := k.person("Anna.B+c@d_e-f")
		u.MustChange, u.Role, u.Version = true, doorward.Admin, 7
		k.ok(k.CreateUser(k.ctx(), u, hashOne, entry("user.create")))
		if got := k.known(u.ID); !sameUser(got, u) {
			k.Errorf("by id: got %+v, want %+v", got, u)
		}
		got, hash, found, err := k.UserByName(k.ctx(), "anna.b+c@d_e-f")
		k.ok(err)
		if !found || !sameUser(got, u) || hash != hashOne {
			k.Errorf("by name: got %+v, %v, hash kept %v, want %+v", got, found, hash == hashOne, u)
		}
	}},
	{"who is not there is not found, without an error", func(k *kit) {
		k.user("anna")
		for _, id := range []string{"", "usr_x", "USR_000001", "' OR 1=1 --"} {
			if _, found, err := k.User(k.ctx(), id); found || err != nil {
				k.Errorf("user %q: found %v, error %v", id, found, err)
			}
		}
		for _, name := range []string{"", "ann", "annaa", "%", "ann_", "Anna"} { // the last is not canonical
			if _, _, found, err := k.UserByName(k.ctx(), name); found || err != nil {
				k.Errorf("name %q: found %v, error %v", name, found, err)
			}
		}
		_, ended, found, err := k.ChangeUser(k.ctx(), "usr_x", func(u doorward.User, _ doorward.Census) (doorward.User, error) {
			k.Error("change was called for nobody")
			return u, nil
		}, entry("user.change"))
		if found || err != nil || len(ended) > 0 {
			k.Errorf("change: found %v, ended %v, error %v", found, ended, err)
		}
		ended, found, err = k.DeleteUser(k.ctx(), "usr_x", func(doorward.User, doorward.Census) error {
			k.Error("check was called for nobody")
			return nil
		}, entry("user.delete"))
		if found || err != nil || len(ended) > 0 {
			k.Errorf("delete: found %v, ended %v, error %v", found, ended, err)
		}
	}},
	{"a name that differs in case is taken", func(k *kit) {
		first := k.user("anna")
		twin := k.person("ANNA")
		k.refused(k.CreateUser(k.ctx(), twin, hashTwo, entry("user.create")), doorward.CodeConflict)
		if _, found, err := k.User(k.ctx(), twin.ID); found || err != nil {
			k.Errorf("the twin: found %v, error %v", found, err)
		}
		_, hash, _, err := k.UserByName(k.ctx(), "anna")
		k.ok(err)
		if hash != hashOne {
			k.Error("the twin's hash took the place of the first's")
		}
		if got := k.known(first.ID); got.Username != "anna" {
			k.Errorf("got %q, want anna", got.Username)
		}
	}},
	{"what is no username is refused", func(k *kit) {
		for _, name := range []string{"", "anna ", "ännä", "a\x00b", strings.Repeat("a", 65)} {
			k.refused(k.CreateUser(k.ctx(), k.person(name), hashOne, entry("user.create")), doorward.CodeInvalid)
		}
		k.state(false, false)
	}},
	{"an unknown workspace is refused and leaves nothing", func(k *kit) {
		u := k.person("anna")
		u.Workspaces = []string{doorward.Default, "nowhere"}
		k.refused(k.CreateUser(k.ctx(), u, hashOne, entry("user.create")), doorward.CodeInvalid)
		_, err := k.CreateFirstUser(k.ctx(), u, hashOne, entry("user.create"))
		k.refused(err, doorward.CodeInvalid)
		k.state(false, false)
		known := k.user("berta")
		for _, move := range []func(u *doorward.User){
			func(u *doorward.User) { u.Workspaces = []string{"nowhere"} },
			func(u *doorward.User) { u.Workspaces[0] = "nowhere" }, // in place
		} {
			_, _, _, err = k.ChangeUser(k.ctx(), known.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
				move(&u)
				u.Role = doorward.Admin
				return u, nil
			}, entry("user.change"))
			k.refused(err, doorward.CodeInvalid)
		}
		if got := k.known(known.ID); !sameUser(got, known) {
			k.Errorf("got %+v, want %+v", got, known)
		}
	}},
	{"there is one first user", func(k *kit) {
		u := k.person("anna")
		for i, want := range []bool{true, false} {
			created, err := k.CreateFirstUser(k.ctx(), u, hashOne, entry("user.create"))
			k.ok(err)
			if created != want {
				k.Errorf("call %d: created %v, want %v", i+1, created, want)
			}
		}
		if got := k.known(u.ID); !sameUser(got, u) {
			k.Errorf("got %+v, want %+v", got, u)
		}
		created, err := k.CreateFirstUser(k.ctx(), k.person("berta"), hashOne, entry("user.create"))
		k.ok(err)
		if created {
			k.Error("there are two first users")
		}
	}},
	{"pages are in order, whole and without repetition", func(k *kit) {
		var want []string
		for i := range 25 {
			name := fmt.Sprintf("User%02d", (i*7)%25) // not in order
			k.user(name)
			want = append(want, strings.ToLower(name))
		}
		slices.Sort(want)
		var got []string
		after := ""
		for {
			page, _, err := k.Users(k.ctx(), doorward.UserQuery{Org: doorward.Default, After: after, Limit: 10})
			k.ok(err)
			if len(page) == 0 {
				break
			}
			if len(page) > 10 {
				k.Fatalf("a page of %d, want 10 at most", len(page))
			}
			for _, u := range page {
				got = append(got, strings.ToLower(u.Username))
				if !slices.Equal(u.Workspaces, []string{doorward.Default}) {
					k.Errorf("%s is in workspaces %v", u.Username, u.Workspaces)
				}
			}
			after = got[len(got)-1]
		}
		if !slices.Equal(got, want) {
			k.Errorf("got %v, want %v", got, want)
		}
	}},
	{"a search is for the text as it is", func(k *kit) {
		for _, name := range []string{"anna", "Joanna", "an_na", "bob", "a-b", "axb"} {
			k.user(name)
		}
		for search, want := range map[string][]string{
			"anna": {"anna", "Joanna"}, "ANNA": {"anna", "Joanna"}, "n_n": {"an_na"}, "_": {"an_na"},
			"%": nil, "!": nil, "!_": nil, "!b": nil, `\`: nil, "'": nil, "a-b": {"a-b"}, "bob": {"bob"}, "bobb": nil, "a%a": nil, "*": nil, "a?b": nil,
		} {
			page, _, err := k.Users(k.ctx(), doorward.UserQuery{Org: doorward.Default, Search: search, Limit: 100})
			k.ok(err)
			var got []string
			for _, u := range page {
				got = append(got, u.Username)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				k.Errorf("search %q: got %q, want %q", search, got, want)
			}
		}
	}},
	{"a page shows one organization", func(k *kit) {
		k.user("anna")
		for _, org := range []string{"", "other", "Default", "%"} {
			page, _, err := k.Users(k.ctx(), doorward.UserQuery{Org: org, Limit: 10})
			k.ok(err)
			if len(page) > 0 {
				k.Errorf("organization %q: got %d users, want none", org, len(page))
			}
		}
	}},
	{"a grave change raises the version and ends the sessions", func(k *kit) {
		for name, change := range map[string]func(*doorward.User){
			"disabled":  func(u *doorward.User) { u.Disabled = true },
			"role":      func(u *doorward.User) { u.Role = doorward.Viewer },
			"workspace": func(u *doorward.User) { u.Workspaces = nil },
			"all": func(u *doorward.User) {
				u.Disabled, u.Role, u.Workspaces, u.MustChange = true, doorward.Admin, nil, true
			},
		} {
			u := k.user(name)
			other := k.signIn(k.user(name + "-other"))
			first, second := k.signIn(u), k.signIn(u)
			want := u
			change(&want)
			got, ended, found, err := k.ChangeUser(k.ctx(), u.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
				change(&u)
				return u, nil
			}, entry("user.change"))
			k.ok(err)
			want.Version = u.Version + 1
			if !found || !sameUser(got, want) || !sameUser(k.known(u.ID), want) {
				k.Errorf("%s: found %v, got %+v and kept %+v, want %+v", name, found, got, k.known(u.ID), want)
			}
			k.endedExactly(ended, first, second)
			for _, s := range []doorward.Session{first, second} {
				if got := k.session(s.ID); got.Ended.IsZero() || got.EndReason != doorward.EndUserChanged {
					k.Errorf("%s: session ended at %v for %q", name, got.Ended, got.EndReason)
				}
			}
			if !k.session(other.ID).Ended.IsZero() {
				k.Errorf("%s: somebody else's session ended", name)
			}
		}
	}},
	{"a light change or none leaves version and sessions alone", func(k *kit) {
		u := k.user("anna")
		s := k.signIn(u)
		for _, mustChange := range []bool{true, true, false} {
			got, ended, found, err := k.ChangeUser(k.ctx(), u.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
				u.MustChange = mustChange
				u.Workspaces = append(u.Workspaces, u.Workspaces...) // twice is once
				return u, nil
			}, entry("user.change"))
			k.ok(err)
			u.MustChange = mustChange
			if !found || !sameUser(got, u) || !sameUser(k.known(u.ID), u) || len(ended) > 0 {
				k.Errorf("found %v, got %+v, ended %v, want %+v", found, got, ended, u)
			}
		}
		if !k.session(s.ID).Ended.IsZero() {
			k.Error("the session ended")
		}
	}},
	{"a change keeps role, workspaces, disabled and must-change, and nothing else", func(k *kit) {
		u := k.user("anna")
		got, _, _, err := k.ChangeUser(k.ctx(), u.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
			return doorward.User{ID: "usr_other", Username: "other", Role: doorward.Viewer, Org: "other", Workspaces: u.Workspaces, Version: 99}, nil
		}, entry("user.change"))
		k.ok(err)
		want := u
		want.Role, want.Version = doorward.Viewer, u.Version+1
		if !sameUser(got, want) || !sameUser(k.known(u.ID), want) {
			k.Errorf("got %+v, kept %+v, want %+v", got, k.known(u.ID), want)
		}
	}},
	{"a refused change changes nothing", func(k *kit) {
		u := k.user("anna")
		s := k.signIn(u)
		_, ended, _, err := k.ChangeUser(k.ctx(), u.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
			u.Workspaces[0] = "spoilt" // what is given may be spoilt
			u.Disabled = true
			return u, errMine
		}, entry("user.change"))
		if !errors.Is(err, errMine) || len(ended) > 0 {
			k.Errorf("error %v, ended %v", err, ended)
		}
		ended, _, err = k.DeleteUser(k.ctx(), u.ID, func(doorward.User, doorward.Census) error { return errMine }, entry("user.delete"))
		if !errors.Is(err, errMine) || len(ended) > 0 {
			k.Errorf("error %v, ended %v", err, ended)
		}
		if got := k.known(u.ID); !sameUser(got, u) {
			k.Errorf("got %+v, want %+v", got, u)
		}
		if !k.session(s.ID).Ended.IsZero() {
			k.Error("the session ended")
		}
	}},
	{"the census counts the enabled others", func(k *kit) {
		add := func(name string, role doorward.Role, disabled bool) doorward.User {
			u := k.person(name)
			u.Role, u.Disabled = role, disabled
			k.ok(k.CreateUser(k.ctx(), u, hashOne, entry("user.create")))
			return u
		}
		anna, berta := add("anna", doorward.Superadmin, false), add("berta", doorward.Superadmin, true)
		add("carl", doorward.Admin, false)
		add("dora", doorward.Viewer, false)
		add("emil", doorward.Viewer, false)
		add("fred", doorward.Viewer, true)
		for _, c := range []struct {
			of          doorward.User
			superadmins int
		}{{anna, 0}, {berta, 1}} {
			want := map[doorward.Role]int{doorward.Superadmin: c.superadmins, doorward.Admin: 1, doorward.Editor: 0, doorward.Viewer: 2}
			see := func(u doorward.User, others doorward.Census) error {
				for role, n := range want {
					if others[role] != n {
						k.Errorf("beside %s: %d enabled %ss, want %d", u.Username, others[role], role, n)
					}
				}
				return errMine
			}
			_, _, _, err := k.ChangeUser(k.ctx(), c.of.ID, func(u doorward.User, others doorward.Census) (doorward.User, error) { return u, see(u, others) }, entry("user.change"))
			if !errors.Is(err, errMine) {
				k.Errorf("change: error %v", err)
			}
			if _, _, err := k.DeleteUser(k.ctx(), c.of.ID, see, entry("user.delete")); !errors.Is(err, errMine) {
				k.Errorf("delete: error %v", err)
			}
		}
	}},
	{"a deleted user is gone and its name free", func(k *kit) {
		u := k.user("anna")
		live := k.signIn(u)
		out := k.signIn(u)
		_, _, err := k.EndSession(k.ctx(), out.ID, doorward.EndSignedOut, entry("session.end"))
		k.ok(err)
		ended, found, err := k.DeleteUser(k.ctx(), u.ID, func(got doorward.User, _ doorward.Census) error {
			if !sameUser(got, u) {
				k.Errorf("check was given %+v, want %+v", got, u)
			}
			return nil
		}, entry("user.delete"))
		k.ok(err)
		if !found {
			k.Fatal("not found")
		}
		k.endedExactly(ended, live)
		if got := k.session(live.ID); got.Ended.IsZero() || got.EndReason != doorward.EndUserDeleted {
			k.Errorf("session ended at %v for %q", got.Ended, got.EndReason)
		}
		if got := k.session(out.ID); got.EndReason != doorward.EndSignedOut {
			k.Errorf("the session that had ended says now %q", got.EndReason)
		}
		if _, found, err := k.User(k.ctx(), u.ID); found || err != nil {
			k.Errorf("found %v, error %v", found, err)
		}
		again := k.user("Anna")
		if again.ID == u.ID {
			k.Error("the same id")
		}
	}},
}

// endedExactly wants ended to be those sessions, each with the end of its last access token.
func (k *kit) endedExactly(ended []doorward.EndedSession, want ...doorward.Session) {
	k.Helper()
	if len(ended) != len(want) {
		k.Errorf("%d sessions ended, want %d", len(ended), len(want))
	}
	for _, s := range want {
		if !slices.ContainsFunc(ended, func(e doorward.EndedSession) bool { return e.ID == s.ID && sameTime(e.Until, s.AccessUntil) }) {
			k.Errorf("session %s until %v is not among the ended %v", s.ID, s.AccessUntil, ended)
		}
	}
}

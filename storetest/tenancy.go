package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"doorward"
)

// whoever lets a place go whatever is in it.
func whoever(doorward.Occupants) error { return nil }

// empty lets a place go that nobody and nothing is in.
func empty(in doorward.Occupants) error {
	if in != (doorward.Occupants{}) {
		return doorward.Conflict("%d people and %d keys are in it", in.People, in.Keys)
	}
	return nil
}

func anyone(doorward.User) error { return nil }

// org makes an organization with the workspaces given beside default.
func (k *kit) org(id string, workspaces ...string) {
	k.Helper()
	k.ok(k.CreateOrganization(k.ctx(), doorward.Organization{ID: id, Name: "The " + id, Created: time.UnixMilli(1_700_000_000_123)}, entry("organization.create")))
	k.workspaces(id, workspaces...)
}

func (k *kit) workspaces(org string, ids ...string) {
	k.Helper()
	for _, id := range ids {
		_, err := k.CreateWorkspace(k.ctx(), doorward.Workspace{Org: org, ID: id, Name: "The " + id, Created: time.UnixMilli(1_700_000_000_123)}, "", anyone, entry("workspace.create"))
		k.ok(err)
	}
}

// member makes a user of an organization.
func (k *kit) member(name, org string, workspaces ...string) doorward.User {
	k.Helper()
	u := k.person(name)
	u.Org, u.Workspaces = org, workspaces
	k.ok(k.CreateUser(k.ctx(), u, hashOne, entry("user.create")))
	return u
}

// places reads all there is, a line each.
func (k *kit) places(org string) []string {
	k.Helper()
	var all []string
	k.ok(k.Places(k.ctx(), org, func(o doorward.Organization, workspaces []string) error {
		all = append(all, fmt.Sprint(o.ID, " ", o.Name, " ", workspaces))
		return nil
	}))
	return all
}

func (k *kit) arePlaces(org string, want ...string) {
	k.Helper()
	if got := k.places(org); !slices.Equal(got, want) {
		k.Errorf("there are %q, want %q", got, want)
	}
}

// toldOf reads which organizations the feed names after the number given.
func (k *kit) toldOf(after int64) (orgs []string) {
	k.Helper()
	_, err := k.Changes(k.ctx(), after, func(c doorward.Change) error {
		if c.What == doorward.PlacesChanged {
			orgs = append(orgs, c.Target)
		}
		return nil
	})
	k.ok(err)
	return orgs
}

var tenancyTests = []test{
	{"there is an organization default with a workspace default", func(k *kit) {
		k.arePlaces("", "default default [default]")
		k.arePlaces("default", "default default [default]")
		k.arePlaces("other")
	}},
	{"an organization comes with a workspace, has a name, and goes with what is its own", func(k *kit) {
		last, err := k.LastChange(k.ctx())
		k.ok(err)
		k.org("acme", "lab")
		k.org("zeta", "lab")
		k.arePlaces("", "acme The acme [default lab]", "default default [default]", "zeta The zeta [default lab]")
		o, found, err := k.RenameOrganization(k.ctx(), "acme", "Acme; Ltd, ü", entry("organization.rename"))
		k.ok(err)
		if !found || o.ID != "acme" || o.Name != "Acme; Ltd, ü" || o.Created.UnixMilli() != 1_700_000_000_123 {
			k.Errorf("renamed: %+v, %v", o, found)
		}
		w, found, err := k.RenameWorkspace(k.ctx(), "acme", "lab", "Lab", entry("workspace.rename"))
		k.ok(err)
		if kept, _, err := k.Workspace(k.ctx(), "acme", "lab"); err != nil || !found || kept.Name != "Lab" || !sameTime(kept.Created, w.Created) {
			k.Errorf("renamed: %+v, %v, kept %+v, %v", w, found, kept, err)
		}
		if other, _, err := k.Workspace(k.ctx(), "zeta", "lab"); err != nil || other.Name != "The lab" {
			k.Errorf("the other lab is %+v, %v", other, err)
		}
		if found, err := k.DeleteOrganization(k.ctx(), "acme", empty, entry("organization.delete")); !found || err != nil {
			k.Errorf("deleted: %v, %v", found, err)
		}
		k.arePlaces("", "default default [default]", "zeta The zeta [default lab]")
		told := k.toldOf(last)
		slices.Sort(told)
		if got := strings.Join(slices.Compact(told), " "); got != "acme zeta" {
			k.Errorf("the feed tells of %s", got)
		}
	}},
	{"an id belongs to one, and what is not there is not found", func(k *kit) {
		k.org("acme")
		k.refused(k.CreateOrganization(k.ctx(), doorward.Organization{ID: "acme", Name: "x"}, entry("x")), doorward.CodeConflict)
		create := func(w doorward.Workspace) error {
			_, err := k.CreateWorkspace(k.ctx(), w, "", anyone, entry("x"))
			return err
		}
		k.refused(create(doorward.Workspace{Org: "acme", ID: "default", Name: "x"}), doorward.CodeConflict)
		k.refused(create(doorward.Workspace{Org: "none", ID: "lab", Name: "x"}), doorward.CodeNotFound)
		for _, bad := range []string{"", "A", "a b", "a,b", "ü", "a\x00", strings.Repeat("a", 64)} {
			k.refused(k.CreateOrganization(k.ctx(), doorward.Organization{ID: bad, Name: "x"}, entry("x")), doorward.CodeInvalid)
			k.refused(create(doorward.Workspace{Org: "acme", ID: bad, Name: "x"}), doorward.CodeInvalid)
		}
		for _, id := range []string{"", "none", "%", "'"} {
			_, one, err1 := k.RenameOrganization(k.ctx(), id, "x", entry("x"))
			two, err2 := k.DeleteOrganization(k.ctx(), id, empty, entry("x"))
			_, three, err3 := k.RenameWorkspace(k.ctx(), "acme", id, "x", entry("x"))
			_, four, err4 := k.DeleteWorkspace(k.ctx(), "acme", id, "", empty, entry("x"))
			_, five, err5 := k.Workspace(k.ctx(), id, "default")
			k.ok(errors.Join(err1, err2, err3, err4, err5))
			if one || two || three || four || five {
				k.Errorf("%q is found: %v %v %v %v %v", id, one, two, three, four, five)
			}
		}
		k.arePlaces("", "acme The acme [default]", "default default [default]")
	}},
	{"who is in it keeps it", func(k *kit) {
		k.org("acme", "lab")
		u := k.member("anna", "acme", "lab")
		_, err := k.DeleteOrganization(k.ctx(), "acme", empty, entry("x"))
		k.refused(err, doorward.CodeConflict)
		_, _, err = k.DeleteWorkspace(k.ctx(), "acme", "lab", "", empty, entry("x"))
		k.refused(err, doorward.CodeConflict)
		// The only workspace of who leaves is not left.
		_, _, err = k.DeleteWorkspace(k.ctx(), "acme", "lab", u.ID, empty, entry("x"))
		k.refused(err, doorward.CodeConflict)
		k.arePlaces("acme", "acme The acme [default lab]")
		if got := k.known(u.ID); !sameUser(got, u) {
			k.Errorf("got %+v, want %+v", got, u)
		}
	}},
	{"who makes a workspace is its member, and leaves with it", func(k *kit) {
		k.org("acme")
		u := k.member("anna", "acme", doorward.Default)
		s := k.signIn(u)
		ended, err := k.CreateWorkspace(k.ctx(), doorward.Workspace{Org: "acme", ID: "lab", Name: "lab"}, u.ID, anyone, entry("workspace.create"))
		k.ok(err)
		k.endedExactly(ended, s)
		u.Workspaces, u.Version = []string{doorward.Default, "lab"}, u.Version+1
		if got := k.known(u.ID); !sameUser(got, u) {
			k.Errorf("got %+v, want %+v", got, u)
		}
		s = k.signIn(u)
		ended, found, err := k.DeleteWorkspace(k.ctx(), "acme", "lab", u.ID, empty, entry("workspace.delete"))
		k.ok(err)
		if !found {
			k.Error("not found")
		}
		k.endedExactly(ended, s)
		u.Workspaces, u.Version = []string{doorward.Default}, u.Version+1
		if got := k.known(u.ID); !sameUser(got, u) {
			k.Errorf("got %+v, want %+v", got, u)
		}
		// Who may not, does not, and leaves nothing.
		_, err = k.CreateWorkspace(k.ctx(), doorward.Workspace{Org: "acme", ID: "den", Name: "den"}, u.ID, func(doorward.User) error { return errMine }, entry("x"))
		if !errors.Is(err, errMine) {
			k.Errorf("error %v", err)
		}
		_, err = k.CreateWorkspace(k.ctx(), doorward.Workspace{Org: "acme", ID: "den", Name: "den"}, "usr_none", anyone, entry("x"))
		k.refused(err, doorward.CodeNotFound)
		k.arePlaces("acme", "acme The acme [default]")
	}},
	{"the people in a workspace, page by page", func(k *kit) {
		k.org("acme", "lab")
		k.workspaces(doorward.Default, "lab")
		var want []string
		for i := range 25 {
			u := k.member(fmt.Sprintf("in%02d", i), "acme", "lab", doorward.Default)
			want = append(want, u.ID)
			k.member(fmt.Sprintf("out%02d", i), "acme", doorward.Default)
			k.member(fmt.Sprintf("far%02d", i), doorward.Default, "lab")
		}
		slices.Sort(want)
		var got []string
		for after := ""; ; {
			page, err := k.Members(k.ctx(), doorward.MemberQuery{Org: "acme", Workspace: "lab", After: after, Limit: 7})
			k.ok(err)
			if len(page) == 0 {
				break
			}
			for _, u := range page {
				got = append(got, u.ID)
				if u.Org != "acme" || !slices.Equal(u.Workspaces, []string{doorward.Default, "lab"}) {
					k.Errorf("%+v", u)
				}
			}
			after = got[len(got)-1]
		}
		if !slices.Equal(got, want) {
			k.Errorf("got %v, want %v", got, want)
		}
	}},
	{"pages and searches of places are whole, in order and without repetition", func(k *kit) {
		var all []string
		for i := range 30 {
			id := fmt.Sprintf("org-%02d", (i*7)%30)
			k.org(id)
			k.workspaces(doorward.Default, id)
			all = append(all, id)
		}
		all = append(all, doorward.Default)
		slices.Sort(all)
		for _, search := range []string{"", "org", "ORG-1", "-2", "THE", "ult", "none", "%", "_"} {
			var want []string
			for _, id := range all {
				name := "The " + id
				if id == doorward.Default {
					name = id
				}
				if strings.Contains(strings.ToLower(id+"\n"+name), strings.ToLower(search)) {
					want = append(want, id)
				}
			}
			for _, limit := range []int{1, 7, 31, 100} {
				for what, read := range map[string]func(doorward.PlaceQuery) (ids []string, next string){
					"organizations": func(q doorward.PlaceQuery) (ids []string, next string) {
						page, next, err := k.Organizations(k.ctx(), q)
						k.ok(err)
						for _, o := range page {
							ids = append(ids, o.ID)
						}
						return ids, next
					},
					"workspaces": func(q doorward.PlaceQuery) (ids []string, next string) {
						page, next, err := k.Workspaces(k.ctx(), q)
						k.ok(err)
						for _, w := range page {
							ids = append(ids, w.ID)
						}
						return ids, next
					},
				} {
					var got []string
					for after, pages := "", 0; ; pages++ {
						page, next := read(doorward.PlaceQuery{Org: doorward.Default, Search: search, After: after, Limit: limit})
						if got = append(got, page...); next == "" || pages > 40 {
							break
						}
						after = next
					}
					if !slices.Equal(got, want) {
						k.Errorf("%s, %q by %d: got %v, want %v", what, search, limit, got, want)
					}
				}
			}
		}
	}},
	{"a search of names shows first who begins with it, then who holds it", func(k *kit) {
		for _, name := range []string{"anna", "Joanna", "annabel", "hannah", "anna.anna", "bob"} {
			k.user(name)
		}
		for _, limit := range []int{1, 2, 3, 100} {
			var got []string
			for after, pages := "", 0; pages < 20; pages++ {
				page, next, err := k.Users(k.ctx(), doorward.UserQuery{Org: doorward.Default, Search: "Anna", After: after, Limit: limit})
				k.ok(err)
				if len(page) > limit {
					k.Errorf("a page of %d, want %d at most", len(page), limit)
				}
				for _, u := range page {
					got = append(got, u.Username)
				}
				if after = next; next == "" {
					break
				}
			}
			if want := []string{"anna", "anna.anna", "annabel", "hannah", "Joanna"}; !slices.Equal(got, want) {
				k.Errorf("by %d: got %v, want %v", limit, got, want)
			}
		}
	}},
	{"all are created or none", func(k *kit) {
		k.org("acme", "lab")
		account := func(name string) doorward.NewAccount {
			u := k.person(name)
			u.Org, u.Workspaces = "acme", []string{"lab"}
			return doorward.NewAccount{User: u, Hash: hashOne, Audit: entry("user.create")}
		}
		k.user("Taken")
		k.user("gone")
		e := k.refused(k.CreateUsers(k.ctx(), []doorward.NewAccount{account("anna"), account("taken"), account("GONE"), account("zoe")}), doorward.CodeConflict)
		if e.Message != "2 usernames are taken: GONE, taken" {
			k.Errorf("says %q", e.Message)
		}
		e = k.refused(k.CreateUsers(k.ctx(), []doorward.NewAccount{account("anna"), account("ANNA")}), doorward.CodeConflict)
		if e.Message != "username ANNA is taken" {
			k.Errorf("says %q", e.Message)
		}
		nowhere := account("nowhere")
		nowhere.User.Workspaces = []string{"none"}
		k.refused(k.CreateUsers(k.ctx(), []doorward.NewAccount{account("anna"), nowhere}), doorward.CodeInvalid)
		nowhere.User.Org = "none"
		k.refused(k.CreateUsers(k.ctx(), []doorward.NewAccount{nowhere}), doorward.CodeNotFound)
		page, _, err := k.Users(k.ctx(), doorward.UserQuery{Org: "acme", Limit: 10})
		k.ok(err)
		if len(page) > 0 {
			k.Errorf("%d were created", len(page))
		}
		anna := account("anna")
		k.ok(k.CreateUsers(k.ctx(), []doorward.NewAccount{account("zoe"), anna}))
		if got := k.known(anna.User.ID); !sameUser(got, anna.User) {
			k.Errorf("got %+v, want %+v", got, anna.User)
		}
	}},
	{"a place that goes and somebody who comes", func(k *kit) {
		// Of the two one wins: nobody is ever in a place that is no more.
		for round := range 8 {
			org := fmt.Sprintf("org-%d", round)
			k.org(org, "lab")
			mover := k.member("mover-"+org, org, doorward.Default)
			people := make([]doorward.User, callers)
			for i := range people {
				people[i] = k.person(fmt.Sprintf("u-%s-%d", org, i))
				people[i].Org, people[i].Workspaces = org, []string{"lab"}
			}
			var came, went atomic.Int64
			race(callers, func(i int) {
				var err error
				switch i % 4 {
				case 0:
					_, gone, e := k.DeleteWorkspace(k.ctx(), org, "lab", "", empty, entry("x"))
					if err = e; gone && e == nil {
						went.Add(1)
					}
				case 1:
					_, _, _, err = k.ChangeUser(k.ctx(), mover.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
						u.Workspaces = []string{doorward.Default, "lab"}
						return u, nil
					}, entry("x"))
				default:
					err = k.CreateUser(k.ctx(), people[i], hashOne, entry("x"))
				}
				var refusal *doorward.Error
				switch {
				case err == nil && i%4 > 0:
					came.Add(1)
				case err != nil && !errors.As(err, &refusal):
					k.Errorf("caller %d: %v", i, err)
				}
			})
			_, there, err := k.Workspace(k.ctx(), org, "lab")
			k.ok(err)
			if there != (came.Load() > 0) || there == (went.Load() > 0) || went.Load() > 1 {
				k.Errorf("%s: there %v, came %d, went %d", org, there, came.Load(), went.Load())
			}
		}
	}},
	{"an organization that goes and somebody who comes", func(k *kit) {
		for round := range 8 {
			org := fmt.Sprintf("org-%d", round)
			k.org(org)
			people := make([]doorward.User, callers)
			for i := range people {
				people[i] = k.person(fmt.Sprintf("u-%s-%d", org, i))
				people[i].Org = org
			}
			var came, went atomic.Int64
			race(callers, func(i int) {
				var err error
				switch i % 4 {
				case 0:
					gone, e := k.DeleteOrganization(k.ctx(), org, empty, entry("x"))
					if err = e; gone && e == nil {
						went.Add(1)
					}
				case 1:
					_, err = k.CreateWorkspace(k.ctx(), doorward.Workspace{Org: org, ID: fmt.Sprintf("w-%d", i), Name: "w"}, "", anyone, entry("x"))
				default:
					if err = k.CreateUser(k.ctx(), people[i], hashOne, entry("x")); err == nil {
						came.Add(1)
					}
				}
				var refusal *doorward.Error
				if err != nil && !errors.As(err, &refusal) {
					k.Errorf("caller %d: %v", i, err)
				}
			})
			there := len(k.places(org)) > 0
			if there != (came.Load() > 0) || there == (went.Load() > 0) || went.Load() > 1 {
				k.Errorf("%s: there %v, came %d, went %d", org, there, came.Load(), went.Load())
			}
		}
	}},
}

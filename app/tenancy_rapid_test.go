package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorward"
)

// administration is random administration on a real store: each world has organizations and
// people of its own, whose names begin with its prefix, and shares the rest with the others.
type administration struct {
	t     *testing.T
	store doorward.Store
	desk  *doorward.Authority
	root  doorward.User // a superadmin of organization default
	made  atomic.Int64  // worlds
}

func newAdministration(t *testing.T, e engine) *administration {
	t.Helper()
	d := e.door(t)
	d.setUp()
	hasher, err := doorward.NewHasher(doorward.HasherConfig{Memory: 8, Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	a := &administration{t: t, store: d.house.store}
	a.desk, err = doorward.Beside(doorward.Config{Store: a.store, Hasher: hasher, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	root, _, found, err := a.store.UserByName(t.Context(), "root")
	if err != nil || !found {
		t.Fatal(found, err)
	}
	a.root = root
	return a
}

// realm is one history of administration.
type realm struct {
	*administration
	prefix string
}

func (a *administration) realm() *realm {
	return &realm{a, fmt.Sprintf("w%04d", a.made.Add(1))}
}

func (w *realm) org(name string) string { return w.prefix + "-" + name }

// plain takes the world's own prefix out of what is observed in it.
func (w *realm) plain(s string) string { return strings.ReplaceAll(s, w.prefix, "w") }

// people reads everybody in an organization of this world, by canonical name.
func (w *realm) people(org string) map[string]doorward.User {
	users, _, err := w.store.Users(context.Background(), doorward.UserQuery{Org: org, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]doorward.User{}
	for _, u := range users {
		all[strings.ToLower(u.Username)] = u
	}
	return all
}

func (w *realm) places() *doorward.Places {
	p, err := doorward.NewPlaces(func(yield func(doorward.Organization, []string) error) error {
		return w.store.Places(context.Background(), "", yield)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// as is u, who asks to act somewhere; an error is the door's.
func (w *realm) as(u doorward.User, asked doorward.Asked) (doorward.Caller, error) {
	id := doorward.Identity{
		Kind: doorward.KindUser, Subject: u.ID, Username: u.Username, Role: u.Role, Org: u.Org,
		Workspaces: doorward.JoinWorkspaces(u.Workspaces), Credential: u.ID, Via: doorward.ViaCookie,
	}
	id, err := id.Enter(asked, w.places())
	return doorward.Caller{Identity: id}, err
}

// order is one thing that somebody asks for, in words that mean the same in each world.
type order struct {
	what       string
	who        string // username without prefix, "root" for the superadmin
	org, in    string // asked for in headers; empty for nothing
	name       string // of the user meant, or to be made
	role       string
	workspaces []string
	workspace  string
	disabled   bool
}

var (
	orderNames  = []string{"ann", "bob", "cleo", "dan"}
	orderSpaces = []string{"default", "lab", "den"}
	orderRoles  = []string{"viewer", "editor", "admin", "superadmin"}
	orderWhats  = []string{"create", "change", "change", "disable", "delete", "reset", "make", "rename", "unmake", "join", "leave", "users", "workspaces", "members", "unlock"}
)

// drawOrder draws an order by one of the people in whose organization the tenant is.
func drawOrder(r *rapid.T, tenants []string, byRoot bool) order {
	tenant := rapid.SampledFrom(tenants).Draw(r, "tenant")
	o := order{
		what: rapid.SampledFrom(orderWhats).Draw(r, "what"),
		who:  tenant + "-" + rapid.SampledFrom(orderNames).Draw(r, "who"),
		name: tenant + "-" + rapid.SampledFrom(orderNames).Draw(r, "name"),
		role: rapid.SampledFrom(orderRoles).Draw(r, "role"), workspace: rapid.SampledFrom(orderSpaces).Draw(r, "workspace"),
		workspaces: rapid.SliceOfNDistinct(rapid.SampledFrom(orderSpaces), 0, 3, rapid.ID).Draw(r, "workspaces"),
		disabled:   rapid.Bool().Draw(r, "disabled"),
	}
	if byRoot && rapid.IntRange(0, 3).Draw(r, "root") == 0 {
		o.who, o.org = "root", tenant
	}
	if rapid.IntRange(0, 4).Draw(r, "in") == 0 {
		o.in = rapid.SampledFrom(orderSpaces).Draw(r, "asked")
	}
	return o
}

// obey does what is ordered and returns all that who ordered it can see of it.
func (w *realm) obey(o order, who doorward.User, target string) (seen string) {
	ctx := context.Background()
	asked := doorward.Asked{Workspace: o.in}
	if o.org != "" {
		asked.Org = w.org(o.org)
	}
	by, err := w.as(who, asked)
	if err != nil {
		return "at the door: " + err.Error()
	}
	show := func(u doorward.User) string {
		return fmt.Sprint(u.Username, " ", u.Role, " ", u.Workspaces, " ", u.Disabled, u.MustChange)
	}
	list := func(users []doorward.User) string {
		var all []string
		for _, u := range users {
			all = append(all, show(u))
		}
		slices.Sort(all) // ids are random
		return strings.Join(all, ", ")
	}
	var got string
	switch o.what {
	case "create":
		var u doorward.User
		u, err = w.desk.CreateUser(ctx, by, doorward.NewUser{Username: w.org(o.name), Password: "a password of theirs", Role: o.role, Workspaces: o.workspaces})
		got = show(u)
	case "change":
		var u doorward.User
		c := doorward.UserChange{Role: &o.role}
		if len(o.workspaces) > 0 {
			c.Workspaces = o.workspaces
		}
		u, err = w.desk.ChangeUser(ctx, by, target, c)
		got = show(u)
	case "disable":
		var u doorward.User
		u, err = w.desk.ChangeUser(ctx, by, target, doorward.UserChange{Disabled: &o.disabled})
		got = show(u)
	case "delete":
		err = w.desk.DeleteUser(ctx, by, target)
	case "reset":
		err = w.desk.ResetPassword(ctx, by, target, "chosen by another", o.disabled)
	case "unlock":
		err = w.desk.UnlockUser(ctx, by, target)
	case "make":
		_, err = w.desk.CreateWorkspace(ctx, by, o.workspace, "")
	case "rename":
		_, err = w.desk.RenameWorkspace(ctx, by, o.workspace, "another name")
	case "unmake":
		err = w.desk.DeleteWorkspace(ctx, by, o.workspace)
	case "join":
		var u doorward.User
		u, err = w.desk.AddMember(ctx, by, o.workspace, target)
		got = show(u)
	case "leave":
		err = w.desk.RemoveMember(ctx, by, o.workspace, target)
	case "users":
		var all []doorward.User
		all, _, err = w.desk.Users(ctx, by, "", "", 1000)
		got = list(all)
	case "members":
		var all []doorward.User
		all, _, err = w.desk.Members(ctx, by, o.workspace, "", 100)
		got = list(all)
	case "workspaces":
		var all []doorward.Workspace
		all, _, err = w.desk.Workspaces(ctx, by, doorward.PlaceQuery{Limit: 100})
		for _, ws := range all {
			got += ws.ID + " " + ws.Name + ", "
		}
	}
	var refusal *doorward.Error
	switch {
	case err == nil:
		return w.plain(got)
	case !errors.As(err, &refusal) || refusal.Code == doorward.CodeUnavailable:
		w.t.Errorf("%+v: %v", o, err)
	}
	return w.plain("refused: " + err.Error())
}

// found makes the organizations of a world, each with an admin ann of all its workspaces.
func (w *realm) found(r *rapid.T, tenants ...string) {
	ctx := context.Background()
	for _, tenant := range tenants {
		root, _ := w.as(w.root, doorward.Asked{})
		if _, err := w.desk.CreateOrganization(ctx, root, w.org(tenant), ""); err != nil {
			r.Fatal(err)
		}
		by, err := w.as(w.root, doorward.Asked{Org: w.org(tenant)})
		if err != nil {
			r.Fatal(err)
		}
		if _, err := w.desk.CreateWorkspace(ctx, by, "lab", ""); err != nil {
			r.Fatal(err)
		}
		for name, role := range map[string]string{"ann": "admin", "bob": "editor"} {
			_, err := w.desk.CreateUser(ctx, by, doorward.NewUser{Username: w.org(tenant + "-" + name), Password: "a password of theirs", Role: role, Workspaces: []string{"default", "lab"}})
			if err != nil {
				r.Fatal(err)
			}
		}
	}
}

const nobodyID = "usr_aaaaaaaaaaaaaaaaaaaaaaaa"

// TestInvariantRoleCeiling: whatever administration is tried, nobody makes or alters anybody
// above themselves, in another organization, or in workspaces beyond their own; what is refused changes nothing; and somebody of the highest rank remains.
func TestInvariantRoleCeiling(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		a := newAdministration(t, e)
		rapid.Check(t, func(r *rapid.T) {
			w := a.realm()
			tenants := []string{"a", "b"}
			w.found(r, tenants...)
			everybody := func() map[string]doorward.User {
				all := map[string]doorward.User{}
				for _, tenant := range tenants {
					for _, u := range w.people(w.org(tenant)) {
						all[u.ID] = u
					}
				}
				return all
			}
			before := everybody()
			for range 20 {
				o := drawOrder(r, tenants, true)
				if rapid.IntRange(0, 3).Draw(r, "abroad") == 0 { // the other's people, or asking for the other
					other := map[byte]string{'a': "b", 'b': "a"}[o.name[0]]
					if rapid.Bool().Draw(r, "by header") {
						o.org = other
					} else {
						o.name = other + o.name[1:]
					}
				}
				who, known := w.root, true
				if o.who != "root" {
					who, known = find(before, w.org(o.who))
				}
				if !known || who.Disabled {
					continue
				}
				target := nobodyID
				if u, known := find(before, w.org(o.name)); known {
					target = u.ID
				}
				seen := w.obey(o, who, target)
				after := everybody()
				altered := 0
				for id := range union(before, after) {
					was, is := before[id], after[id]
					if fmt.Sprint(was) == fmt.Sprint(is) {
						continue
					}
					altered++
					fault := func(why string) {
						r.Fatalf("%s (%s of %s, %v) orders %+v: %s\nbefore %+v\nafter  %+v", who.Username, who.Role, who.Org, who.Workspaces, o, why, was, is)
					}
					if was.Role.Rank() > who.Role.Rank() || is.Role.Rank() > who.Role.Rank() {
						fault("above their rank")
					}
					if !who.Role.AtLeast(doorward.Admin) {
						fault("no admin")
					}
					if who.Role == doorward.Superadmin {
						continue
					}
					if was.ID != "" && was.Org != who.Org || is.ID != "" && is.Org != who.Org {
						fault("in another organization")
					}
					own := who.Workspaces
					if id == who.ID && o.what == "make" {
						own = append(slices.Clone(own), o.workspace)
					}
					for _, ws := range append(slices.Clone(was.Workspaces), is.Workspaces...) {
						if !slices.Contains(own, ws) {
							fault("beyond their workspaces")
						}
					}
				}
				if altered > 1 || altered > 0 && (strings.HasPrefix(seen, "refused") || strings.HasPrefix(seen, "at the door")) {
					r.Fatalf("%+v alters %d and says %s", o, altered, seen)
				}
				if root, found, err := w.store.User(context.Background(), w.root.ID); err != nil || !found || root.Disabled || root.Role != doorward.Superadmin {
					r.Fatalf("root is %+v, %v, %v", root, found, err)
				}
				before = after
			}
		})
	})
}

func find(all map[string]doorward.User, username string) (doorward.User, bool) {
	for _, u := range all {
		if u.Username == username {
			return u, true
		}
	}
	return doorward.User{}, false
}

func union(a, b map[string]doorward.User) map[string]bool {
	all := map[string]bool{}
	for id := range a {
		all[id] = true
	}
	for id := range b {
		all[id] = true
	}
	return all
}

// TestInvariantTenantNonInterference tells two stories in which the same happens in tenant a and
// something else in tenant b, and compares what those of a have seen. They try b's people and
// places too, which are there in one story and not in the other. Usernames, which are one
// of a kind in the installation, are kept apart; and superadmins, who are above tenants, do not tell what they see.
func TestInvariantTenantNonInterference(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		a := newAdministration(t, e)
		rapid.Check(t, func(r *rapid.T) {
			type turn struct {
				ofA    *order
				abroad bool // it means b's of that name
				ofB    [2]*order
			}
			var turns []turn
			for range 20 {
				var n turn
				if rapid.Bool().Draw(r, "in a") {
					o := drawOrder(r, []string{"a"}, true)
					n.ofA, n.abroad = &o, rapid.IntRange(0, 2).Draw(r, "abroad") == 0
					if o.who != "root" && rapid.IntRange(0, 5).Draw(r, "asks for b") == 0 {
						o.org = "b"
					}
				} else {
					for i := range n.ofB {
						if rapid.IntRange(0, 3).Draw(r, "nothing") > 0 {
							o := drawOrder(r, []string{"b"}, true)
							n.ofB[i] = &o
						}
					}
				}
				turns = append(turns, n)
			}
			bExists := [2]bool{rapid.Bool().Draw(r, "b in the first"), rapid.Bool().Draw(r, "b in the second")}
			var seen [2][]string
			for story := range seen {
				w := a.realm()
				w.found(r, "a")
				if bExists[story] {
					w.found(r, "b")
				}
				do := func(tenant string, o order, abroad bool) (string, bool) {
					people := w.people(w.org(tenant))
					who, known := w.root, true
					if o.who != "root" {
						who, known = people[w.org(o.who)]
					}
					if !known || who.Disabled {
						return "is not there", true
					}
					if abroad && o.what != "create" {
						people = w.people(w.org("b"))
						o.name = "b" + o.name[1:]
					}
					if who.Role == doorward.Superadmin && o.org == "b" {
						o.org = "" // there they could take a name that a's are to have
					}
					target := nobodyID
					if u, known := people[w.org(o.name)]; known {
						target = u.ID
					}
					got := w.obey(o, who, target)
					return got, who.Role != doorward.Superadmin
				}
				for _, n := range turns {
					if n.ofA != nil {
						if n.abroad && n.ofA.who == "root" {
							continue
						}
						got, told := do("a", *n.ofA, n.abroad)
						if told {
							seen[story] = append(seen[story], fmt.Sprintf("%+v: %s", *n.ofA, got))
						}
						continue
					}
					if o := n.ofB[story]; o != nil && bExists[story] {
						do("b", *o, false)
					}
				}
				for _, u := range w.people(w.org("a")) {
					seen[story] = append(seen[story], w.plain(fmt.Sprint(u.Username, u.Role, u.Workspaces, u.Disabled, u.MustChange)))
				}
				slices.Sort(seen[story][max(0, len(seen[story])-len(w.people(w.org("a")))):])
			}
			if !slices.Equal(seen[0], seen[1]) {
				for i := range min(len(seen[0]), len(seen[1])) {
					if seen[0][i] != seen[1][i] {
						r.Fatalf("what b does is seen in a:\n%s\n%s", seen[0][i], seen[1][i])
					}
				}
				r.Fatalf("what b does is seen in a: %d and %d things", len(seen[0]), len(seen[1]))
			}
		})
	})
}

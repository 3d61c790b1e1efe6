package doorward_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorward"
	"doorward/store"
)

// Random administration of users and keys, against the real thing on SQLite and beside it a
// second node that follows. What it is held to is written down here a second time:
//
//   - RoleCeiling: nobody makes a key above their own rank, nor is a key ever let in above
//     its owner's present role, nor does anybody touch a key of somebody above them;
//   - a key is let in exactly while it is not revoked, its owner is enabled and a member of
//     its workspace, and has not been away from it since.

type keyWorld struct {
	ctx   context.Context
	store *store.Store
	nodes [2]*doorward.Authority
	users []*keyUser
	keys  []*modelKey
}

type keyUser struct {
	doorward.User
	gone bool
}

type modelKey struct {
	id, secret string
	role       doorward.Role
	workspace  string
	owner      *keyUser // nil for a service key
	dead       bool     // for good
	rotated    bool
}

const keyModelHash doorward.PasswordHash = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

func (u *keyUser) caller(workspace string) doorward.Caller {
	id := doorward.Identity{
		Kind: doorward.KindUser, Subject: u.ID, Username: u.Username, Role: u.Role, Org: u.Org, Workspaces: doorward.JoinWorkspaces(u.Workspaces),
		Credential: u.ID, Via: doorward.ViaAccessToken,
	}
	id.Workspace, _ = id.PickWorkspace(workspace)
	return doorward.Caller{Identity: id}
}

// may reports who a key lets in: its role, or none.
func (k *modelKey) may() (doorward.Role, bool) {
	switch {
	case k.dead:
		return "", false
	case k.owner == nil:
		return k.role, true
	case k.owner.gone, k.owner.Disabled, !slices.Contains(k.owner.Workspaces, k.workspace):
		return "", false
	}
	return doorward.MinRole(k.role, k.owner.Role), true
}

// touches reports whether u may rotate or remove k, which is not dead.
func (u *keyUser) touches(k *modelKey) bool {
	if k.owner == u {
		return true
	}
	rank := k.role.Rank()
	if k.owner != nil {
		rank = k.owner.Role.Rank()
	}
	return u.Role.AtLeast(doorward.Admin) && u.Role.Rank() >= rank && (u.Role == doorward.Superadmin || slices.Contains(u.Workspaces, k.workspace))
}

func TestKeysUnderRandomAdministration(t *testing.T) {
	t.Parallel()
	fresh, salt, ring, hasher := newWorld(t)
	db, err := sql.Open("sqlite", "file:"+fresh)
	if err == nil {
		_, err = db.Exec(`INSERT INTO workspaces VALUES ('default', 'lab', 'lab', 0)`)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(filepath.Dir(fresh), "draw")
		if err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "doorward.db")
		if err := os.WriteFile(file, empty, 0o600); err != nil {
			r.Fatal(err)
		}
		w := &keyWorld{ctx: t.Context()}
		if w.store, err = store.OpenSQLite(w.ctx, file, time.Now); err != nil {
			r.Fatal(err)
		}
		defer w.store.Close()
		for i := range w.nodes {
			w.nodes[i], err = doorward.New(w.ctx, doorward.Config{Store: w.store, Keys: ring, Salt: salt, Hasher: hasher, MaxStaleness: time.Hour})
			if err != nil {
				r.Fatal(err)
			}
		}
		for i, role := range []doorward.Role{doorward.Superadmin, doorward.Admin, doorward.Editor, doorward.Viewer} {
			u := doorward.User{ID: fmt.Sprintf("usr_%d", i), Username: string(role), Role: role, Org: doorward.Default, Workspaces: []string{doorward.Default}}
			if i < 2 {
				u.Workspaces = []string{doorward.Default, "lab"}
			}
			if err := w.store.CreateUser(w.ctx, u, keyModelHash, doorward.AuditEntry{}); err != nil {
				r.Fatal(err)
			}
			w.users = append(w.users, &keyUser{User: u})
		}
		for range rapid.IntRange(15, 50).Draw(r, "steps") {
			what := rapid.SampledFrom([]string{"make", "make", "make", "make", "rotate", "remove", "role", "role", "role", "disable", "disable", "move", "move", "move", "leave", "delete"}).Draw(r, "what")
			done := w.step(r, what)
			seen[fmt.Sprintf("%s: %v", what, done)]++
			w.check(r, 0)
			if rapid.Bool().Draw(r, "the other reads") {
				if err := w.nodes[1].CatchUp(w.ctx); err != nil {
					r.Fatal(err)
				}
				w.check(r, 1)
			}
		}
		again, err := doorward.New(w.ctx, doorward.Config{Store: w.store, Keys: ring, Salt: salt, Hasher: hasher})
		if err != nil {
			r.Fatal(err)
		}
		w.nodes[1] = again
		w.check(r, 1)
	})
	for _, what := range []string{"make", "rotate", "remove", "role", "disable", "move", "leave", "delete"} {
		if seen[what+": true"] == 0 {
			t.Errorf("nothing was ever done: %s (%v)", what, seen)
		}
	}
	t.Log(seen)
}

// step does one thing as somebody, and reports whether it was allowed.
func (w *keyWorld) step(r *rapid.T, what string) bool {
	by := rapid.SampledFrom(w.users).Draw(r, "by")
	if what != "make" && what != "remove" && rapid.IntRange(0, 3).Draw(r, "the superadmin") > 0 {
		by = w.users[0] // most others may not
	}
	if by.gone || by.Disabled {
		return false // the door would not have let them in
	}
	a := w.nodes[0]
	workspace := rapid.SampledFrom([]string{"", doorward.Default, "lab"}).Draw(r, "workspace")
	caller := by.caller("")
	if what == "make" {
		role, service := rapid.SampledFrom(doorward.Roles[:]).Draw(r, "role"), rapid.Bool().Draw(r, "service")
		made, secret, err := a.CreateKey(w.ctx, caller, doorward.NewKey{Name: "k", Role: string(role), Workspace: workspace, Service: service})
		where := workspace
		if where == "" {
			where = caller.Workspace
		}
		member := slices.Contains(by.Workspaces, where)
		allowed := by.Role.AtLeast(role) && (!service || by.Role.AtLeast(doorward.Admin)) &&
			(member || service && by.Role == doorward.Superadmin && where != "")
		if (err == nil) != allowed {
			r.Fatalf("%s makes a key with role %s, service %v, in %q: %v", by.Username, role, service, workspace, err)
		}
		if err != nil {
			return false
		}
		k := &modelKey{id: made.ID, secret: string(secret), role: role, workspace: made.Workspace}
		if !service {
			k.owner = by
		}
		w.keys = append(w.keys, k)
		return true
	}
	if what == "rotate" || what == "remove" {
		if len(w.keys) == 0 {
			return false
		}
		k := rapid.SampledFrom(w.keys).Draw(r, "key")
		allowed := !k.dead && !(k.owner != nil && k.owner.gone) && by.touches(k)
		if what == "remove" {
			err := a.RevokeKey(w.ctx, caller, k.id)
			if (err == nil) != allowed {
				r.Fatalf("%s removes a key of %v: %v", by.Username, k, err)
			}
			k.dead = k.dead || err == nil
			return err == nil
		}
		role, good := k.may()
		overlap := rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(r, "overlap")
		_, next, secret, err := a.RotateKey(w.ctx, caller, k.id, overlap)
		if (err == nil) != (allowed && good && !k.rotated) {
			r.Fatalf("%s rotates a key of %v: %v", by.Username, k, err)
		}
		if err != nil {
			return false
		}
		k.rotated, k.dead = true, overlap == 0
		w.keys = append(w.keys, &modelKey{id: next.ID, secret: string(secret), role: role, workspace: k.workspace, owner: k.owner})
		return true
	}
	u := rapid.SampledFrom(w.users).Draw(r, "user")
	if u.gone {
		return false
	}
	if what == "delete" {
		if rapid.IntRange(0, 3).Draw(r, "spared") > 0 {
			return false
		}
		if err := a.DeleteUser(w.ctx, caller, u.ID); err != nil {
			return false
		}
		u.gone = true
		return true
	}
	var c doorward.UserChange
	switch what {
	case "role":
		role := string(rapid.SampledFrom(doorward.Roles[:]).Draw(r, "role"))
		c.Role = &role
	case "disable":
		off := rapid.Bool().Draw(r, "disabled")
		c.Disabled = &off
	case "move":
		c.Workspaces = rapid.SampledFrom([][]string{{doorward.Default}, {"lab"}, {"lab", doorward.Default}}).Draw(r, "workspaces")
	case "leave":
		// A member of nothing, or no member any more, is what the verbs make of nobody.
		_, _, _, err := w.store.ChangeUser(w.ctx, u.ID, func(u doorward.User, _ doorward.Census) (doorward.User, error) {
			if u.Workspaces = nil; rapid.Bool().Draw(r, "back") {
				u.Workspaces = []string{doorward.Default}
			}
			return u, nil
		}, doorward.AuditEntry{})
		if err == nil {
			err = w.nodes[0].CatchUp(w.ctx)
		}
		if err != nil {
			r.Fatal(err)
		}
		return w.became(r, u)
	}
	if _, err := a.ChangeUser(w.ctx, caller, u.ID, c); err != nil {
		var e *doorward.Error
		if !errors.As(err, &e) || e.Code == doorward.CodeUnavailable {
			r.Fatal(err)
		}
		return false
	}
	return w.became(r, u)
}

// became reads what has become of u. Whose membership ends, their keys there are dead for good.
func (w *keyWorld) became(r *rapid.T, u *keyUser) bool {
	now, found, err := w.store.User(w.ctx, u.ID)
	if err != nil || !found {
		r.Fatal(found, err)
	}
	u.User = now
	for _, k := range w.keys {
		if k.owner == u && !slices.Contains(u.Workspaces, k.workspace) {
			k.dead = true
		}
	}
	return true
}

// check shows every key there ever was to a node.
func (w *keyWorld) check(r *rapid.T, node int) {
	for _, k := range w.keys {
		id, err := w.nodes[node].Authenticate(w.ctx, doorward.Presented{Via: doorward.FromBearer, Value: k.secret})
		role, good := k.may()
		if good != (err == nil) || id.Role != role || good && (id.Subject != k.id || id.Workspaces != doorward.Workspaces(k.workspace)) {
			r.Fatalf("node %d: a key that may %q (%v) is let in as %+v, %v", node, role, good, id, err)
		}
		if good && k.owner != nil && id.Role.Rank() > k.owner.Role.Rank() {
			r.Fatalf("a key of %s, who is %s, is let in as %s", k.owner.Username, k.owner.Role, id.Role)
		}
		if !good || node != 0 {
			continue
		}
		g, err := w.nodes[0].Exchange(w.ctx, doorward.Caller{Identity: id}, "app")
		if err != nil {
			r.Fatal(err)
		}
		c, err := w.nodes[0].AccessClaims(w.ctx, g.AccessToken)
		if err != nil || c.Role != role {
			r.Fatalf("exchanged, it is %s: %v", c.Role, err)
		}
	}
}

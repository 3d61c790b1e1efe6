package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// prints2 reads what a command about one key prints as JSON.
func (d *door) prints2(args ...string) (k keyShown) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(d.prints(args...)), &k); err != nil {
		d.t.Fatal(err)
	}
	return k
}

// TestKeysByHand: the command line makes, lists, rotates and revokes keys in the database,
// and a running server notices within 250 ms.
func TestKeysByHand(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		d.newUser(root, "ed", "editor")
		noticed := func(what string, ok func() bool) {
			t.Helper()
			until(t, 250*time.Millisecond, what, ok)
		}
		status, key, stderr := d.command("key", "create", "Build Bot", "--owner", "Ed", "--role", "editor", "--expires-in", "90d", "--client-id", "ci")
		if status != 0 || !strings.HasPrefix(stderr, "doorward: made key key_") || !strings.Contains(stderr, "(Build Bot), of ed, editor in default, good until ") {
			t.Fatalf("status %d, %s", status, stderr)
		}
		key, more := strings.CutSuffix(key, "\n")
		if !more || strings.Contains(stderr, key) || !strings.HasPrefix(key, "brk_") || len(key) != 76 {
			t.Errorf("on standard output is %d bytes", len(key))
		}
		noticed("the key is good", func() bool { return d.me(key).status == http.StatusOK })
		me := d.me(key)
		if me.str("role") != "editor" || me.str("kind") != "key" {
			t.Errorf("it is %s", me.body)
		}
		d.exchange(key, "ci")
		d.do("POST", "/auth/token", bearer(key), formBody(`{"client_id":"cd"}`)).want(http.StatusForbidden)

		list := d.prints("key", "list")
		if lines := strings.Split(list, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], me.str("id")+"  "+key[:12]+"  editor ") || !strings.HasSuffix(lines[1], "  default  ed  Build Bot") {
			t.Errorf("the list:\n%s", list)
		}
		service := d.prints2("key", "create", "svc", "--service", "--role", "admin", "--json")
		noticed("the service key is good", func() bool { return d.me(service.Key).status == http.StatusOK })
		var listed struct{ Keys []keyShown }
		if err := json.Unmarshal([]byte(d.prints("key", "list", "--json", "--owner", "ed")), &listed); err != nil || len(listed.Keys) != 1 || listed.Keys[0].Owner != "ed" || listed.Keys[0].Key != "" {
			t.Errorf("%v: %+v", err, listed)
		}
		if err := json.Unmarshal([]byte(d.prints("key", "list", "--json", "--search", "SV")), &listed); err != nil || len(listed.Keys) != 1 || listed.Keys[0].ID != service.ID {
			t.Errorf("%v: %+v", err, listed)
		}

		access, _ := d.exchange(key, "ci")
		next := d.prints2("key", "rotate", me.str("id"), "--overlap", "0s", "--json")
		noticed("the old key is dead", func() bool { return d.me(key).status == http.StatusUnauthorized })
		noticed("its session is dead", func() bool { return d.me(access).status == http.StatusUnauthorized })
		d.me(next.Key).want(http.StatusOK)
		if got := d.prints("key", "revoke", next.ID); got != "revoked key "+next.ID+" (Build Bot), and ended 0 of its sessions\n" {
			t.Errorf("it prints %s", got)
		}
		noticed("the new key is dead", func() bool { return d.me(next.Key).status == http.StatusUnauthorized })

		for _, c := range []struct{ args, want string }{
			{"key revoke " + next.ID, "doorward: there is no key with that id; key list shows those that are not revoked"},
			{"key revoke " + service.Key, "doorward: there is no key with that id; key list shows those that are not revoked"},
			{"key rotate key_none", "doorward: there is no key with that id; key list shows those that are not revoked"},
			{"key rotate " + service.ID + " --overlap 31d", "doorward: --overlap: overlap: must be from 0s to 30d"},
			{"key create x --role admin --owner ed", "doorward: --role: ed has not the role admin"},
			{"key create x --role editor --owner nobody", "doorward: there is no user nobody"},
			{"key create x --role nope --service", "doorward: role: must be one of superadmin, admin, editor, viewer"},
			{"key create x --role editor --service --workspace nowhere", "doorward: workspace: there is no workspace of that name"},
			{"key create x --role editor --owner ed --workspace nowhere", "doorward: workspace: there is no workspace of that name that you could give"},
			{"key create x --role editor --service --expires-in soon", `doorward: --expires-in: "soon" is not a duration; write one like 90s, 24h or 7d`},
		} {
			status, stdout, stderr := d.command(strings.Fields(c.args)...)
			if status != 1 || stdout != "" || stderr != c.want+"\n" {
				t.Errorf("%s: status %d, %q%q", c.args, status, stdout, stderr)
			}
		}
		for _, args := range []string{"key create x --role editor", "key create x --role editor --service --owner ed", "key create --service --role editor"} {
			if status, stdout, stderr := d.command(strings.Fields(args)...); status != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: status %d, %q%q", args, status, stdout, stderr)
			}
		}
		if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action LIKE 'key.%' AND detail LIKE 'command line%'`); n != 4 {
			t.Errorf("%d audited, want 4", n)
		}
	})
}

package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorward"
)

// newKey makes a key as the holder of a token, with fields in JSON beside name and role, and returns its id and the key.
func (d *door) newKey(token, role, more string) (id, key string) {
	d.t.Helper()
	a := d.do("POST", "/api/auth/keys", bearer(token), jsonBody(keyJSON("a key", role, more))).want(http.StatusCreated)
	return a.str("id"), a.str("key")
}

func keyJSON(name, role, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"name":%q,"role":%q%s}`, name, role, more)
}

// rotateKey rotates a key and returns the new one.
func (d *door) rotateKey(token, id, body string) (next, key string) {
	d.t.Helper()
	a := d.do("POST", "/api/auth/keys/"+id+"/rotate", bearer(token), jsonBody(body)).want(http.StatusCreated)
	return a.str("id"), a.str("key")
}

// me is who the holder of a key is, as far as it is let in.
func (d *door) me(key string) answer { return d.do("GET", "/api/auth/me", bearer(key)) }

// workspace makes a workspace behind the server's back.
func (d *door) workspace(org, id string) {
	d.t.Helper()
	if org != doorward.Default {
		d.sqlExec(`INSERT INTO organizations (id, name, created) VALUES (?, ?, 0)`, org, org)
	}
	d.sqlExec(`INSERT INTO workspaces (org, id, name, created) VALUES (?, ?, ?, 0)`, org, id, id)
}

func TestAKeyIsMadeShownOnceListedAndRemoved(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "names.key_prefix=acme_")
		root := d.setUp()
		rootID := claimsOf(t, root).Subject
		a := d.do("POST", "/api/auth/keys", bearer(root), jsonBody(`{"name":"Deploy Bot","role":"editor","client_ids":["ci","cd"],"expires_in":"90d","unknown":1}`)).want(http.StatusCreated)
		id, key := a.str("id"), a.str("key")
		if !strings.HasPrefix(id, "key_") || !strings.HasPrefix(key, "acme_") || a.str("prefix") != key[:len("acme_")+8] {
			t.Errorf("id %s, prefix %s", id, a.str("prefix"))
		}
		if wellFormed, sumOK := doorward.CheckAPIKeySum(key); !wellFormed || !sumOK {
			t.Errorf("the key is well formed %v, its sum right %v", wellFormed, sumOK)
		}
		for field, want := range map[string]any{
			"name": "Deploy Bot", "role": "editor", "workspace": "default", "org_id": "default", "service": false, "last_used": nil,
			"owner.id": rootID, "owner.username": "root", "rotated_to": nil, "overlap_until": nil,
		} {
			if got := a.field(field); got != want {
				t.Errorf("%s is %v, want %v", field, got, want)
			}
		}
		if got := fmt.Sprint(a.field("client_ids")); got != "[cd ci]" {
			t.Errorf("client_ids: %s", got)
		}
		expires, err := time.Parse(time.RFC3339, a.str("expires_at"))
		if left := time.Until(expires); err != nil || left > 90*24*time.Hour || left < 90*24*time.Hour-time.Minute {
			t.Errorf("expires_at: %v, %v", expires, err)
		}
		got := d.me(key).want(http.StatusOK)
		if got.str("id") != id || got.str("kind") != "key" || got.str("role") != "editor" || got.str("username") != "" {
			t.Errorf("me: %s", got.body)
		}
		list := d.do("GET", "/api/auth/keys", bearer(root)).want(http.StatusOK)
		if !strings.Contains(list.body, `"id":"`+id+`"`) || strings.Contains(list.body, key[13:]) || list.str("next") != "" {
			t.Errorf("the list: %s", list.body)
		}
		d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(http.StatusNoContent)
		d.me(key).refused(http.StatusUnauthorized, "invalid token")
		d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).refused(http.StatusNotFound, "key not found")
		d.do("POST", "/api/auth/keys/"+id+"/rotate", bearer(root), jsonBody(`{}`)).refused(http.StatusNotFound, "key not found")
		if list := d.do("GET", "/api/auth/keys", bearer(root)).want(http.StatusOK); strings.TrimSpace(list.body) != `{"keys":[],"next":""}` {
			t.Errorf("the list: %s", list.body)
		}
		for action, want := range map[string]int64{"key.create": 1, "key.revoke": 1} {
			if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action = ? AND target = ? AND actor = ? AND actor_name = 'root' AND request_id <> '' AND outcome = 'done'`, action, id, rootID); n != want {
				t.Errorf("%s is audited %d times", action, n)
			}
		}
	})
}

func TestAKeyIsRefusedForWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	root := d.setUp()
	long := strings.Repeat("é", 128)
	d.do("POST", "/api/auth/keys", bearer(root), jsonBody(keyJSON(long, "viewer", ""))).want(http.StatusCreated)
	for body, want := range map[string]string{
		`{"role":"viewer"}`:                                                             "name: is required",
		keyJSON("", "viewer", ""):                                                       "name: is required",
		`{"name":1,"role":"viewer"}`:                                                    "name: must be a string",
		keyJSON(long+"x", "viewer", ""):                                                 "name: must have 1 to 128 visible characters, with spaces only between them",
		keyJSON(" x", "viewer", ""):                                                     "name: must have 1 to 128 visible characters, with spaces only between them",
		`{"name":"a\nb","role":"viewer"}`:                                               "name: must have 1 to 128 visible characters, with spaces only between them",
		`{"name":"a\u202eb","role":"viewer"}`:                                           "name: must have 1 to 128 visible characters, with spaces only between them",
		`{"name":"a\u0000b","role":"viewer"}`:                                           "name: must have 1 to 128 visible characters, with spaces only between them",
		`{"name":"\ud800","role":"viewer"}`:                                             "name: must have 1 to 128 visible characters, with spaces only between them",
		`{"name":"x"}`:                                                                  "role: is required",
		keyJSON("x", "Viewer", ""):                                                      "role: must be one of superadmin, admin, editor, viewer",
		`{"name":"x","role":null}`:                                                      "role: must be a string",
		`{"name":"x","role":"viewer","role":"admin"}`:                                   "body: gives a field twice",
		keyJSON("x", "viewer", `"workspace":"nowhere"`):                                 "workspace: there is no workspace of that name that you could give",
		keyJSON("x", "viewer", `"workspace":""`):                                        "workspace: is required",
		keyJSON("x", "viewer", `"workspace":"nowhere","service":true`):                  "workspace: there is no workspace of that name",
		keyJSON("x", "viewer", `"service":"yes"`):                                       "service: must be true or false",
		keyJSON("x", "viewer", `"client_ids":[]`):                                       "client_ids: must name at least one; leave it out to allow any",
		keyJSON("x", "viewer", `"client_ids":["usr_x"]`):                                "client_ids: must not begin with usr_ or key_",
		keyJSON("x", "viewer", `"client_ids":["a,b"]`):                                  "client_ids: may hold letters, digits and ._:@/- only",
		keyJSON("x", "viewer", `"client_ids":"a"`):                                      "client_ids: must be a list of strings",
		keyJSON("x", "viewer", `"expires_in":"soon"`):                                   "expires_in: must be a duration like 90s, 24h or 7d",
		keyJSON("x", "viewer", `"expires_in":"0s"`):                                     "expires_in: must be more than zero, and 36500d at most",
		keyJSON("x", "viewer", `"expires_in":"-1h"`):                                    "expires_in: must be more than zero, and 36500d at most",
		keyJSON("x", "viewer", `"expires_in":"99999999999999d"`):                        "expires_in: must be more than zero, and 36500d at most",
		keyJSON("x", "viewer", `"expires_at":"tomorrow"`):                               "expires_at: must be a time like 2030-12-31T23:59:59Z (RFC 3339)",
		keyJSON("x", "viewer", `"expires_at":"0001-01-01T00:00:00Z"`):                   "expires_at: must be a time like 2030-12-31T23:59:59Z (RFC 3339)",
		keyJSON("x", "viewer", `"expires_at":"2001-01-01T00:00:00Z"`):                   "expires_at: must lie in the future",
		keyJSON("x", "viewer", `"expires_at":"9999-01-01T00:00:00Z"`):                   "expires_at: must not lie more than 36500d ahead",
		keyJSON("x", "viewer", `"expires_at":"2099-01-01T00:00:00Z","expires_in":"1h"`): "expires_in: must not be given together with expires_at",
	} {
		d.do("POST", "/api/auth/keys", bearer(root), jsonBody(body)).refused(http.StatusBadRequest, want)
	}
	d.do("POST", "/api/auth/keys", bearer(root), formBody(keyJSON("x", "viewer", ""))).refused(http.StatusUnsupportedMediaType, "Content-Type: must be application/json")
	d.do("POST", "/api/auth/keys", jsonBody(keyJSON("x", "viewer", ""))).refused(http.StatusUnauthorized, "token required")
	d.do("PUT", "/api/auth/keys", bearer(root)).refused(http.StatusMethodNotAllowed, "method not allowed")
	_, session := d.signIn("root", rootPassword)
	d.do("POST", "/api/auth/keys", cookie(session), header("Origin", "https://evil.example"), jsonBody(keyJSON("x", "viewer", ""))).refused(http.StatusForbidden, "cross-origin request refused")
	id, _ := d.newKey(root, "viewer", "")
	for body, want := range map[string]string{
		`{"overlap":"soon"}`: "overlap: must be a duration like 90s, 24h or 7d",
		`{"overlap":"31d"}`:  "overlap: must be from 0s to 30d",
		`{"overlap":"-1s"}`:  "overlap: must be from 0s to 30d",
		`{"overlap":24}`:     "overlap: must be a string",
	} {
		d.do("POST", "/api/auth/keys/"+id+"/rotate", bearer(root), jsonBody(body)).refused(http.StatusBadRequest, want)
	}
	for query, want := range map[string]string{
		"limit=0": "limit: must be a number from 1 to 100", "limit=101": "limit: must be a number from 1 to 100",
		"after=x": "after: is not where a page begins", "after=key_": "after: is not where a page begins",
	} {
		d.do("GET", "/api/auth/keys?"+query, bearer(root)).refused(http.StatusBadRequest, want)
	}
	for _, search := range []string{"%00", "%ff", "%25", "_", "'", "%E2%80%AE", strings.Repeat("x", 200)} {
		if a := d.do("GET", "/api/auth/keys?search="+search, bearer(root)).want(http.StatusOK); strings.Contains(a.body, "key_") {
			t.Errorf("%s finds %s", search, a.body)
		}
	}
}

// TestWhoMayMakeSeeAndRemoveKeys is the table of whose a key may be and who may touch it.
func TestWhoMayMakeSeeAndRemoveKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		d.workspace("default", "lab")
		tokens, ids := map[string]string{"root": root}, map[string]string{}
		user := func(name, role, workspaces string) {
			a := d.do("POST", "/api/auth/users", bearer(root), jsonBody(`{"username":"`+name+`","password":"password of `+name+`","role":"`+role+`","workspaces":["default"]}`)).want(http.StatusCreated)
			ids[name] = a.str("id")
			if workspaces != "default" {
				d.sqlExec(`DELETE FROM memberships WHERE user_id = ?`, ids[name])
				for _, w := range strings.Split(workspaces, ",") {
					d.sqlExec(`INSERT INTO memberships (user_id, org, workspace) VALUES (?, 'default', ?)`, ids[name], w)
				}
			}
			tokens[name], _ = d.signIn(name, "password of "+name)
		}
		user("adam", "admin", "default")
		user("lara", "admin", "lab")
		user("ed", "editor", "default")
		user("vic", "viewer", "default,lab")

		ranks := map[string]int{"root": 4, "adam": 3, "lara": 3, "ed": 2, "vic": 1}
		for name, rank := range ranks {
			for _, role := range doorward.Roles {
				a := d.do("POST", "/api/auth/keys", bearer(tokens[name]), jsonBody(keyJSON(name+" "+string(role), string(role), "")))
				if role.Rank() > rank {
					a.refused(http.StatusForbidden, "insufficient permissions")
				} else {
					a.want(http.StatusCreated)
				}
				a = d.do("POST", "/api/auth/keys", bearer(tokens[name]), jsonBody(keyJSON(name+" service", string(role), `"service":true`)))
				if role.Rank() > rank || rank < 3 {
					a.refused(http.StatusForbidden, "insufficient permissions")
				} else if a.want(http.StatusCreated); a.field("owner") != nil || a.field("service") != true {
					t.Errorf("a service key: %s", a.body)
				}
			}
		}
		// Where: in one of one's own, picked by the request when nothing is said.
		d.do("POST", "/api/auth/keys", bearer(tokens["ed"]), jsonBody(keyJSON("x", "viewer", `"workspace":"lab"`))).refused(http.StatusBadRequest, "workspace: there is no workspace of that name that you could give")
		d.do("POST", "/api/auth/keys", bearer(tokens["root"]), jsonBody(keyJSON("x", "viewer", `"workspace":"lab"`))).refused(http.StatusBadRequest, "workspace: there is no workspace of that name that you could give")
		d.do("POST", "/api/auth/keys", bearer(tokens["root"]), jsonBody(keyJSON("root's in lab", "viewer", `"workspace":"lab","service":true`))).want(http.StatusCreated)
		if got := d.do("POST", "/api/auth/keys", bearer(tokens["vic"]), header("X-Workspace-ID", "lab"), jsonBody(keyJSON("vic in lab", "viewer", ""))).want(http.StatusCreated).str("workspace"); got != "lab" {
			t.Errorf("the workspace is %s, want the one that the request picked", got)
		}

		// A machine makes service keys alone, in its own workspace, and as an admin.
		_, admin := d.newKey(tokens["adam"], "admin", "")
		_, editor := d.newKey(tokens["ed"], "editor", "")
		d.do("POST", "/api/auth/keys", bearer(admin), jsonBody(keyJSON("x", "admin", ""))).refused(http.StatusForbidden, "insufficient permissions")
		d.do("POST", "/api/auth/keys", bearer(admin), jsonBody(keyJSON("of adam's key", "admin", `"service":true`))).want(http.StatusCreated)
		d.do("POST", "/api/auth/keys", bearer(admin), jsonBody(keyJSON("x", "superadmin", `"service":true`))).refused(http.StatusForbidden, "insufficient permissions")
		d.do("POST", "/api/auth/keys", bearer(admin), jsonBody(keyJSON("x", "admin", `"service":true,"workspace":"lab"`))).refused(http.StatusBadRequest, "workspace: there is no workspace of that name that you could give")
		for _, machine := range []string{editor, machineToken} {
			d.do("POST", "/api/auth/keys", bearer(machine), jsonBody(keyJSON("x", "viewer", `"service":true`))).refused(http.StatusForbidden, "insufficient permissions")
			d.do("GET", "/api/auth/keys", bearer(machine)).refused(http.StatusForbidden, "insufficient permissions")
		}
		client, _ := d.exchange(admin, "app")
		d.do("POST", "/api/auth/keys", bearer(client), jsonBody(keyJSON("of a client", "editor", `"service":true`))).want(http.StatusCreated)
		d.do("POST", "/api/auth/keys", bearer(machineKey), jsonBody(keyJSON("of the operator", "admin", `"service":true`))).want(http.StatusCreated)

		// Who sees which.
		names := func(token string) (names []string) {
			var body struct{ Keys []struct{ Name string } }
			if err := json.Unmarshal([]byte(d.do("GET", "/api/auth/keys", bearer(token)).want(http.StatusOK).body), &body); err != nil {
				t.Fatal(err)
			}
			for _, k := range body.Keys {
				names = append(names, k.Name)
			}
			return names
		}
		if got := names(tokens["vic"]); fmt.Sprint(got) != "[vic in lab vic viewer]" {
			t.Errorf("a viewer sees %q", got)
		}
		for _, name := range names(tokens["lara"]) {
			if !strings.Contains(name, "lara") && !strings.Contains(name, "lab") {
				t.Errorf("an admin of lab sees %q", name)
			}
		}
		if got := names(tokens["lara"]); !slices.Contains(got, "root's in lab") || !slices.Contains(got, "vic in lab") {
			t.Errorf("an admin of lab sees %q", got)
		}
		if got := names(tokens["root"]); !slices.Contains(got, "vic in lab") || !slices.Contains(got, "ed editor") {
			t.Errorf("a superadmin sees %q", got)
		}

		// Who touches which: adam of those in default that are not above him, everybody their own.
		for _, c := range []struct {
			by, of, role, more, want string
		}{
			{"ed", "ed", "editor", "", ""},
			{"vic", "vic", "viewer", "", ""},
			{"adam", "ed", "editor", "", ""},
			{"adam", "vic", "viewer", "", ""},
			{"adam", "adam", "admin", `"service":true`, ""},
			{"root", "lara", "admin", "", ""},
			{"adam", "root", "viewer", "", "insufficient permissions"}, // of somebody above
			{"adam", "root", "superadmin", `"service":true`, "insufficient permissions"},
			{"adam", "lara", "viewer", "", "insufficient permissions"}, // elsewhere
			{"adam", "vic", "viewer", `"workspace":"lab"`, "insufficient permissions"},
			{"lara", "ed", "viewer", "", "insufficient permissions"},
			{"ed", "vic", "viewer", "", "key not found"},
			{"ed", "adam", "viewer", `"service":true`, "key not found"},
			{"vic", "ed", "viewer", "", "key not found"},
		} {
			id, key := d.newKey(tokens[c.of], c.role, c.more)
			for _, a := range []answer{
				d.do("POST", "/api/auth/keys/"+id+"/rotate", bearer(tokens[c.by]), jsonBody(`{}`)),
				d.do("DELETE", "/api/auth/keys/"+id, bearer(tokens[c.by])),
			} {
				switch c.want {
				case "":
					if a.status/100 != 2 {
						t.Errorf("%s, one of %s: %s %d %s", c.by, c.of, a.what, a.status, a.body)
					}
				case "key not found":
					a.refused(http.StatusNotFound, c.want)
				default:
					a.refused(http.StatusForbidden, c.want)
				}
			}
			if d.me(key).status == http.StatusOK != (c.want != "") {
				t.Errorf("%s, one of %s: refused %q, and the key is %d", c.by, c.of, c.want, d.me(key).status)
			}
		}
	})
}

// TestKeysOfAnotherOrganizationAreNotThere: the same answer as for none.
func TestEN9KeysOfAnotherOrganizationAreNotThere(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		d.workspace("other", "default")
		id, other := d.newKey(root, "editor", `"service":true`)
		d.sqlExec(`UPDATE api_keys SET org = 'other' WHERE id = ?`, id)
		theirs := "key_" + strings.Repeat("a", 24)
		for _, by := range []string{root, machineKey} {
			for _, one := range []string{id, theirs, "x", "%00", "key_%27"} {
				a := d.do("DELETE", "/api/auth/keys/"+one, bearer(by))
				if a.status == http.StatusBadRequest && one == "%00" {
					continue // no path at all
				}
				a.refused(http.StatusNotFound, "key not found")
				d.do("POST", "/api/auth/keys/"+one+"/rotate", bearer(by), jsonBody(`{}`)).refused(http.StatusNotFound, "key not found")
			}
			if a := d.do("GET", "/api/auth/keys", bearer(by)).want(http.StatusOK); strings.Contains(a.body, id) {
				t.Errorf("it is listed: %s", a.body)
			}
		}
		d.restart()
		if got := d.me(other).want(http.StatusOK).str("org_id"); got != "other" {
			t.Errorf("the key is of %s", got)
		}
	})
}

func TestAK1BothHeadersGiveOnePrincipalForAKeyMadeAtRunTime(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		echo := newEcho(t)
		d := e.machineDoor(t, "upstream="+echo.URL)
		root := d.setUp()
		id, key := d.newKey(root, "viewer", "")
		one, two := d.do("GET", "/api/auth/me", bearer(key)).want(http.StatusOK), d.do("GET", "/api/auth/me", apiKey(key)).want(http.StatusOK)
		if one.body != two.body || one.str("sub") != id {
			t.Errorf("as Bearer %s, as X-API-Key %s", one.body, two.body)
		}
		for _, as := range []ask{bearer(key), apiKey(key)} {
			h := d.do("GET", "/x", as).carried().Header
			for name, want := range map[string]string{
				"X-Auth-Subject": id, "X-Auth-Kind": "key", "X-Auth-Role": "viewer", "X-Auth-Organization": "default", "X-Auth-Workspace": "default", "X-Forwarded-User": "",
			} {
				if got := h[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if h.Get("Authorization") != "" || h.Get("X-Api-Key") != "" {
				t.Error("the key reaches the service")
			}
			d.do("POST", "/x", as).refused(http.StatusForbidden, "insufficient permissions") // a viewer reads
			d.do("GET", "/x", as, header("X-Workspace-ID", "default")).want(http.StatusOK)
			d.do("GET", "/x", as, header("X-Workspace-ID", "lab")).refused(http.StatusForbidden, "insufficient permissions")
		}
		d.restart("names.key_prefix=other_") // renaming orphans none
		d.me(key).want(http.StatusOK)
	})
}

// TestAK3TheDoorStaysClosedWhenTheLastKeyGoes: whoever made it, and if it was ever the only thing there.
func TestAK3TheDoorStaysClosedWhenTheLastKeyGoes(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "open_mode=always")
		d.do("GET", "/", header("Host", "localhost")).want(http.StatusOK) // open
		made := d.prints2("key", "create", "first", "--service", "--role", "admin", "--json")
		id, key := made.ID, made.Key
		until(t, time.Second, "the door closes", func() bool { return d.do("GET", "/api/pipelines").status == http.StatusUnauthorized })
		d.do("GET", "/api/pipelines").refused(http.StatusUnauthorized, "token required")
		if !d.do("GET", "/api/auth/setup").want(http.StatusOK).field("needs_setup").(bool) {
			t.Error("a key is not a user")
		}
		until(t, time.Second, "the key is known", func() bool { return d.me(key).status == http.StatusOK })
		d.do("POST", "/api/auth/users", bearer(key), jsonBody(`{"username":"root","password":"right-password"}`)).want(http.StatusUnauthorized) // not the operator's

		for _, restart := range []bool{false, true} {
			if restart {
				d.restart()
			} else {
				d.do("DELETE", "/api/auth/keys/"+id, bearer(key)).want(http.StatusNoContent)
			}
			d.do("GET", "/api/pipelines").refused(http.StatusServiceUnavailable, "setup required")
			d.do("GET", "/api/pipelines", bearer(key)).refused(http.StatusServiceUnavailable, "setup required")
			d.do("POST", "/api/auth/users", jsonBody(`{"username":"root","password":"right-password"}`)).want(http.StatusUnauthorized)
		}
	})
}

func TestAK5EveryTruncationAndExtensionOfAKeyMadeAtRunTime(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "rate_limits.enabled=false")
	root := d.setUp()
	_, key := d.newKey(root, "viewer", "")
	for n := 1; n < len(key); n++ {
		d.me(key[:n]).refused(http.StatusUnauthorized, "invalid token")
		d.me(key[n:]).refused(http.StatusUnauthorized, "invalid token")
	}
	for c := byte(0x21); c < 0x7f; c++ {
		d.me(key+string(rune(c))).refused(http.StatusUnauthorized, "invalid token")
		d.me(string(rune(c))+key).refused(http.StatusUnauthorized, "invalid token")
	}
	for _, other := range []string{strings.ToUpper(key), strings.Replace(key, "brk_", "BRK_", 1), "other_" + key[4:], key + "," + key} {
		d.me(other).refused(http.StatusUnauthorized, "invalid token")
	}
	d.me(key).want(http.StatusOK)
}

func TestAK7AKeyInTheQueryOrABodyIsNone(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	root := d.setUp()
	_, key := d.newKey(root, "admin", "")
	for _, name := range []string{"access_token", "token", "api_key", "apikey", "key", "X-API-Key", "authorization"} {
		for _, path := range []string{"/api/auth/me", "/api/pipelines", "/api/auth/keys"} {
			d.do("GET", path+"?"+name+"="+key).refused(http.StatusUnauthorized, "token required")
			d.do("POST", "/api/pipelines", formBody(name+"="+key)).refused(http.StatusUnauthorized, "token required")
			d.do("GET", path, header("Cookie", name+"="+key)).refused(http.StatusUnauthorized, "token required")
		}
	}
	d.do("GET", "/api/auth/me", cookie(key)).refused(http.StatusUnauthorized, "invalid token") // nor is it a cookie
}

// TestRF13AndRV5WhatBecomesOfAnOwnerBecomesOfTheirKeys: sessions end, the refresh token
// is refused, and the key is what its owner is.
func TestRF13AndRV5WhatBecomesOfAnOwnerBecomesOfTheirKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		d.workspace("default", "lab")
		rootID := claimsOf(t, root).Subject
		d.sqlExec(`INSERT INTO memberships (user_id, org, workspace) VALUES (?, 'default', 'lab')`, rootID)
		root, _ = d.signIn("root", rootPassword)
		patch := func(body string) func(id string) {
			return func(id string) {
				d.do("PATCH", "/api/auth/users/"+id, bearer(root), jsonBody(body)).want(http.StatusOK)
			}
		}
		for i, c := range []struct {
			name string
			do   func(id string)
			role string // of the key afterwards; empty when it is dead
			undo func(id string)
			back string // its role then
		}{
			{"demoted", patch(`{"role":"viewer"}`), "viewer", patch(`{"role":"admin"}`), "editor"},
			{"promoted", patch(`{"role":"superadmin"}`), "editor", patch(`{"role":"editor"}`), "editor"},
			{"disabled", patch(`{"disabled":true}`), "", patch(`{"disabled":false}`), "editor"},
			{"moved", patch(`{"workspaces":["lab"]}`), "", patch(`{"workspaces":["default"]}`), ""}, // dead for good
			{"a member elsewhere too", patch(`{"workspaces":["default","lab"]}`), "editor", patch(`{"workspaces":["default"]}`), "editor"},
			{"deleted", func(id string) { d.do("DELETE", "/api/auth/users/"+id, bearer(root)).want(http.StatusNoContent) }, "", nil, ""},
			{"reset", func(id string) {
				d.do("POST", "/api/auth/admin-reset-password", bearer(root), jsonBody(`{"user_id":"`+id+`","new_password":"another-password"}`)).want(http.StatusOK)
			}, "editor", nil, ""},
		} {
			owner, token, _ := d.newUser(root, fmt.Sprintf("user%d", i), "admin")
			id, key := d.newKey(token, "editor", "")
			access, refresh := d.exchange(key, "app")
			d.do("GET", "/api/pipelines", bearer(access)).want(http.StatusOK)
			d.me(key).want(http.StatusOK)
			is := func(role, when string) {
				t.Helper()
				a := d.me(key)
				switch {
				case role == "":
					a.refused(http.StatusUnauthorized, "invalid token")
					d.do("POST", "/auth/token", bearer(key), formBody(`{"client_id":"app"}`)).refused(http.StatusUnauthorized, "invalid token")
				case a.status != http.StatusOK || a.str("role") != role:
					t.Errorf("%s, %s: %d %s, want %s", c.name, when, a.status, a.body, role)
				default:
					next, refresh := d.exchange(key, "app")
					if got := claimsOf(t, next).Role; got != role {
						t.Errorf("%s, %s: exchanged, it has the role %s, want %s", c.name, when, got, role)
					}
					d.rotated(refresh)
				}
			}
			c.do(owner)
			d.do("GET", "/api/pipelines", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
			d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
			is(c.role, "after it")
			if c.undo != nil {
				c.undo(owner)
				is(c.back, "taken back")
			}
			d.restart() // memory is made anew
			if c.undo != nil {
				is(c.back, "after a restart")
			} else {
				is(c.role, "after a restart")
			}
			root, _ = d.signIn("root", rootPassword)
			_ = id
		}
	})
}

// TestRF13ARevokedKeyEndsItsSessions, and no other's.
func TestRF13ARevokedKeyEndsItsSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		id, key := d.newKey(root, "editor", "")
		_, other := d.newKey(root, "editor", "")
		access, refresh := d.exchange(key, "app")
		access2, refresh2 := d.exchange(other, "app")
		d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(http.StatusNoContent)
		d.deadEverywhere(access, "token blacklisted")
		d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
		d.me(key).refused(http.StatusUnauthorized, "invalid token")
		d.do("GET", "/auth/validate", bearer(access2)).want(http.StatusOK)
		d.rotated(refresh2)
		d.restart()
		d.me(key).refused(http.StatusUnauthorized, "invalid token")
		d.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

func TestAKeyAndItsTokensEndWhenItExpires(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		d.clock.freeze(time.Now().Truncate(time.Second))
		_, key := d.newKey(root, "editor", `"expires_in":"1h"`)
		_, fixed := d.newKey(root, "editor", `"expires_at":"`+d.clock.now().Add(time.Hour).UTC().Format(time.RFC3339)+`"`)
		access, refresh := d.exchange(key, "app")
		if c := claimsOf(t, access); c.ExpiresAt != d.clock.now().Add(time.Hour).Unix() {
			t.Errorf("its token is good until %v", time.Unix(c.ExpiresAt, 0))
		}
		d.clock.advance(time.Hour - time.Millisecond)
		for _, k := range []string{key, fixed, access} {
			d.me(k).want(http.StatusOK)
		}
		d.clock.advance(time.Millisecond)
		for _, k := range []string{key, fixed, access} {
			d.me(k).refused(http.StatusUnauthorized, "token expired")
		}
		d.refresh(refresh).refused(http.StatusUnauthorized, "token expired")
		d.restart()
		d.me(key).refused(http.StatusUnauthorized, "token expired")
	})
}

func TestAKeyMayBeLimitedToClientIDs(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		_, key := d.newKey(root, "editor", `"client_ids":["ci"]`)
		access, _ := d.exchange(key, "ci")
		if c := claimsOf(t, access); c.Kind != "client" || c.Subject != "ci" || c.Role != "editor" {
			t.Errorf("its token says %+v", c)
		}
		d.do("POST", "/auth/token", bearer(key), formBody(`{"client_id":"cd"}`)).refused(http.StatusForbidden, "insufficient permissions")
		d.restart()
		d.do("POST", "/auth/token", bearer(key), formBody(`{"client_id":"cd"}`)).refused(http.StatusForbidden, "insufficient permissions")
		d.exchange(key, "ci")
	})
}

// TestARotatedKeyLivesForItsOverlap and no longer; so do the sessions made with it.
func TestARotatedKeyLivesForItsOverlap(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "jwt.expiry=48h", "jwt.refresh_expiry=7d", "session.lifetime=7d")
		root := d.setUp()
		d.clock.freeze(time.Now().Truncate(time.Second))
		id, key := d.newKey(root, "editor", `"client_ids":["app"]`)
		before, refreshBefore := d.exchange(key, "app")
		d.me(before).want(http.StatusOK)
		a := d.do("POST", "/api/auth/keys/"+id+"/rotate", bearer(root), jsonBody(`{"overlap":"1h"}`)).want(http.StatusCreated)
		nextID, next := a.str("id"), a.str("key")
		if nextID == id || a.str("name") != "a key" || a.str("role") != "editor" || fmt.Sprint(a.field("client_ids")) != "[app]" || a.field("overlap_until") != nil {
			t.Errorf("the new key: %s", a.body)
		}
		if list := d.do("GET", "/api/auth/keys", bearer(root)); !strings.Contains(list.body, `"rotated_to":"`+nextID+`","overlap_until":"`+d.clock.now().Add(time.Hour).UTC().Format(time.RFC3339)) {
			t.Errorf("the list: %s", list.body)
		}
		// Rotating it again is for the new one.
		d.do("POST", "/api/auth/keys/"+id+"/rotate", bearer(root), jsonBody(`{}`)).refused(http.StatusConflict, "the key was rotated to "+nextID+", which can be rotated")
		third, thirdKey := d.rotateKey(root, nextID, `{"overlap":"30d"}`)

		during, _ := d.exchange(key, "app")
		refreshed, _ := d.rotated(refreshBefore)
		for _, token := range []string{during, refreshed} { // minted since, they do not outlive it
			if c := claimsOf(t, token); c.ExpiresAt > d.clock.now().Add(time.Hour).Unix() {
				t.Errorf("a token of the old key is good until %v", time.Unix(c.ExpiresAt, 0))
			}
		}
		d.clock.advance(time.Hour - time.Second)
		for _, good := range []string{key, next, thirdKey, before, during, refreshed} {
			d.me(good).want(http.StatusOK)
		}
		d.clock.advance(time.Second)
		for _, dead := range []string{before, during, refreshed, key} {
			if a := d.me(dead); a.status != http.StatusUnauthorized {
				t.Errorf("after the overlap: %d %s", a.status, a.body)
			}
		}
		d.do("POST", "/auth/token", bearer(key), formBody(`{"client_id":"app"}`)).want(http.StatusUnauthorized)
		d.refresh(refreshBefore).refused(http.StatusUnauthorized, "token blacklisted")
		d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).refused(http.StatusNotFound, "key not found")
		for _, good := range []string{next, thirdKey} {
			d.me(good).want(http.StatusOK)
		}

		// The old one revoked while it lives on, and one whose overlap is nothing.
		token, _ := d.exchange(next, "app")
		d.do("DELETE", "/api/auth/keys/"+nextID, bearer(root)).want(http.StatusNoContent)
		d.me(next).refused(http.StatusUnauthorized, "invalid token")
		d.me(token).refused(http.StatusUnauthorized, "token blacklisted")
		d.me(thirdKey).want(http.StatusOK)
		token, _ = d.exchange(thirdKey, "app")
		_, fourth := d.rotateKey(root, third, `{"overlap":"0s"}`)
		d.me(thirdKey).refused(http.StatusUnauthorized, "invalid token")
		d.me(token).refused(http.StatusUnauthorized, "token blacklisted")
		d.me(fourth).want(http.StatusOK)
	})
}

// TestAnOverlapThatEndsWhileNothingRuns: who starts later does not let in what is over.
func TestAnOverlapThatEndsWhileNothingRuns(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "jwt.expiry=48h", "session.lifetime=7d")
		root := d.setUp()
		id, key := d.newKey(root, "editor", "")
		access, _ := d.exchange(key, "app")
		d.rotateKey(root, id, `{}`) // a day
		d.me(access).want(http.StatusOK)
		d.stop()
		d.clock.advance(24*time.Hour + time.Second)
		d.start()
		d.me(access).refused(http.StatusUnauthorized, "token blacklisted")
		d.me(key).refused(http.StatusUnauthorized, "invalid token")
		if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'key.revoke' AND target = ?`, id); n != 1 {
			t.Errorf("its end is audited %d times", n)
		}
	})
}

func TestLastUseIsWrittenOnceAMinute(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		began := time.Now().Truncate(time.Minute).Add(10 * time.Second)
		d.clock.freeze(began)
		id, key := d.newKey(root, "viewer", "")
		used := func() time.Time {
			return time.UnixMilli(d.sqlNumber(`SELECT last_used FROM api_keys WHERE id = ?`, id))
		}
		for range 20 {
			d.me(key).want(http.StatusOK)
		}
		until(t, 5*time.Second, "the use is written", func() bool { return used().Equal(began) })
		version := func() int64 {
			return d.sqlNumber(`SELECT count(*) FROM api_keys WHERE id = ? AND last_used = ?`, id, began.UnixMilli())
		}
		d.clock.advance(55 * time.Second) // another minute, and yet not a minute
		d.me(key).want(http.StatusOK)
		d.still()
		if version() != 1 {
			t.Errorf("it was written again within a minute: %v after %v", used(), began)
		}
		d.still = d.house.runBeside(t.Context())
		d.clock.advance(65 * time.Second)
		d.me(key).want(http.StatusOK)
		d.stop() // what was gathered is written
		if got := used(); !got.Equal(began.Add(2 * time.Minute)) {
			t.Errorf("last used at %v, want %v", got, began.Add(2*time.Minute))
		}
		d.start()
		if list := d.do("GET", "/api/auth/keys", bearer(root)); !strings.Contains(list.body, `"last_used":"`+began.Add(2*time.Minute).UTC().Format(time.RFC3339)+`"`) {
			t.Errorf("the list: %s", list.body)
		}
	})
}

func TestKeysArePagedAndSearched(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		_, token, _ := d.newUser(root, "ed", "editor")
		var want []string
		for i := range 23 {
			name := fmt.Sprintf("%s %02d", []string{"Build", "build", "Übung"}[i%3], i)
			a := d.do("POST", "/api/auth/keys", bearer([]string{root, token}[i%2]), jsonBody(keyJSON(name, "viewer", ""))).want(http.StatusCreated)
			want = append(want, strings.ToLower(name)+" "+a.str("prefix"))
		}
		slices.Sort(want)
		list := func(by, query string) (got []string) {
			after := ""
			for range 30 {
				a := d.do("GET", "/api/auth/keys?limit=4&"+query+"&after="+after, bearer(by)).want(http.StatusOK)
				var body struct {
					Keys []struct{ Name, Prefix string }
					Next string
				}
				if err := json.Unmarshal([]byte(a.body), &body); err != nil || len(body.Keys) > 4 {
					t.Fatalf("%v: %s", err, a.body)
				}
				for _, k := range body.Keys {
					got = append(got, strings.ToLower(k.Name)+" "+k.Prefix)
				}
				if after = body.Next; after == "" {
					return got
				}
			}
			t.Fatal("the list has no end")
			return nil
		}
		if got := list(root, ""); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := list(token, ""); len(got) != 11 {
			t.Errorf("of 11 of their own somebody sees %q", got)
		}
		of := func(part string) (some []string) {
			for _, w := range want {
				if strings.HasPrefix(w, part) {
					some = append(some, w)
				}
			}
			return some
		}
		for _, search := range []string{"BUILD", "übung 0", "ÜBUNG", "build 0"} {
			if got := list(root, "search="+url.QueryEscape(search)); !slices.Equal(got, of(strings.ToLower(search))) || len(got) == 0 {
				t.Errorf("%s: got %q, want %q", search, got, of(strings.ToLower(search)))
			}
		}
		prefix := want[3][strings.LastIndexByte(want[3], ' ')+1:]
		if got := list(root, "search="+prefix); len(got) != 1 || got[0] != want[3] {
			t.Errorf("%s: got %q", prefix, got)
		}
	})
}

// TestNoSecretOfAKeyIsKeptOrLogged: neither it nor what is not its beginning, whatever was done with it.
func TestNoSecretOfAKeyIsKeptOrLogged(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		id, key := d.newKey(root, "admin", "")
		next, nextKey := d.rotateKey(root, id, `{}`)
		made := d.prints2("key", "create", "by hand", "--service", "--role", "editor", "--json")
		for _, k := range []string{key, nextKey, made.Key} {
			until(t, time.Second, "it is let in", func() bool { return d.me(k).status == http.StatusOK })
			d.do("GET", "/api/pipelines", apiKey(k)).want(http.StatusOK)
			d.exchange(k, "app")
			d.me(k[:len(k)-1]).want(http.StatusUnauthorized)
			d.do("GET", "/api/auth/keys?search="+k, bearer(root)).want(http.StatusOK)
		}
		d.do("DELETE", "/api/auth/keys/"+next, bearer(root)).want(http.StatusNoContent)
		for _, k := range []string{key, nextKey, made.Key} {
			if strings.Contains(d.log.String(), k[12:]) || strings.Contains(d.log.String(), k[:20]) {
				t.Error("a key is in the log")
			}
			for _, table := range []string{"api_keys", "sessions", "audit", "changes"} {
				db := d.sqlOpen()
				rows, err := db.Query(`SELECT * FROM ` + table)
				if err != nil {
					t.Fatal(err)
				}
				columns, _ := rows.Columns()
				for rows.Next() {
					values := make([]any, len(columns))
					for i := range values {
						values[i] = new(any)
					}
					if err := rows.Scan(values...); err != nil {
						t.Fatal(err)
					}
					for i, v := range values {
						if text := fmt.Sprintf("%s", *v.(*any)); strings.Contains(text, k[12:20]) || strings.Contains(text, k[:13]) {
							t.Errorf("a key is in %s.%s", table, columns[i])
						}
					}
				}
				rows.Close()
				db.Close()
			}
		}
	})
}

// TestSixtyFourMakeAndRemoveKeysAtOnce: each key is good from its 201 to its 204 and never after.
func TestSixtyFourMakeAndRemoveKeysAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "rate_limits.enabled=false")
		root := d.setUp()
		var all sync.WaitGroup
		var dead sync.Map
		for range 64 {
			all.Go(func() {
				for range 3 {
					id, key := d.newKey(root, "viewer", "")
					d.me(key).want(http.StatusOK)
					switch a := d.do("DELETE", "/api/auth/keys/"+id, bearer(root)); a.status {
					case http.StatusNoContent:
					default:
						t.Errorf("%d %s", a.status, a.body)
					}
					d.me(key).refused(http.StatusUnauthorized, "invalid token")
					dead.Store(key, true)
				}
			})
		}
		all.Wait()
		n := 0
		dead.Range(func(k, _ any) bool {
			n++
			d.me(k.(string)).refused(http.StatusUnauthorized, "invalid token")
			return true
		})
		if n != 64*3 {
			t.Errorf("%d keys", n)
		}
		// All of them one: one wins.
		id, _ := d.newKey(root, "viewer", "")
		var rotated, removed atomic.Int64
		for i := range 64 {
			all.Go(func() {
				if i%2 == 0 {
					if d.do("POST", "/api/auth/keys/"+id+"/rotate", bearer(root), jsonBody(`{}`)).status == http.StatusCreated {
						rotated.Add(1)
					}
				} else if d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).status == http.StatusNoContent {
					removed.Add(1)
				}
			})
		}
		all.Wait()
		if rotated.Load() > 1 || removed.Load() != 1 {
			t.Errorf("%d rotated it and %d removed it", rotated.Load(), removed.Load())
		}
	})
}

func TestNobodyFillsTheMemoryWithKeys(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	root := d.setUp()
	rootID := claimsOf(t, root).Subject
	d.sqlExec(`
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
		INSERT INTO api_keys (id, sha256, prefix, name, canonical, role, org, workspace, owner, service, client_ids, created, expires, last_used, revoked, rotated_to, overlap_until)
		SELECT 'key_' || i, randomblob(32), 'brk_', 'x', 'x', 'viewer', 'default', 'default', ?, 0, '', 0, 0, 0, 0, NULL, 0 FROM n`, rootID)
	id, _ := d.newKey(root, "viewer", "")
	d.do("POST", "/api/auth/keys", bearer(root), jsonBody(keyJSON("x", "viewer", ""))).refused(http.StatusConflict, "there are 1000 keys of this owner, and no more may be; remove one first")
	d.do("POST", "/api/auth/keys", bearer(root), jsonBody(keyJSON("x", "viewer", `"service":true`))).want(http.StatusCreated)
	// The old key of a rotation lives on, and is one more.
	rotate := func(id, overlap string) answer {
		return d.do("POST", "/api/auth/keys/"+id+"/rotate", bearer(root), jsonBody(`{"overlap":"`+overlap+`"}`))
	}
	rotate(id, "30d").refused(http.StatusConflict, "there are 1000 keys of this owner, and no more may be; remove one first")
	id = rotate(id, "0s").want(http.StatusCreated).str("id")
	d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(http.StatusNoContent)
	d.newKey(root, "viewer", "")
}

// TestAKeyBehindTheDoor: a service that verifies tokens gets one for a key made at run time, which dies with the key.
func TestAKeyBehindTheDoor(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		echo := newEcho(t)
		d := e.machineDoor(t, "upstream="+echo.URL, "forward_credentials=bearer")
		root := d.setUp()
		owner, token, _ := d.newUser(root, "ed", "editor")
		id, key := d.newKey(token, "editor", "")
		forwarded := func() string {
			t.Helper()
			return strings.TrimPrefix(d.do("GET", "/x", bearer(key)).carried().Header.Get("Authorization"), "Bearer ")
		}
		first := forwarded()
		if c := claimsOf(t, first); c.Subject != id || c.Kind != "key" || c.Role != "editor" {
			t.Errorf("the service gets %+v", c)
		}
		if again := forwarded(); again != first {
			t.Error("each request costs a session")
		}
		d.do("PATCH", "/api/auth/users/"+owner, bearer(root), jsonBody(`{"role":"viewer"}`)).want(http.StatusOK)
		d.do("GET", "/auth/validate", bearer(first)).refused(http.StatusUnauthorized, "token blacklisted")
		second := forwarded()
		if c := claimsOf(t, second); c.Role != "viewer" {
			t.Errorf("after the owner's demotion the service gets %+v", c)
		}
		d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(second)).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

// TestKeysOutliveAKill: 201 means that the key is kept, 204 that it is dead.
func TestKeysOutliveAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := []string{"DOORWARD_API_KEY=" + machineKey, "DOORWARD_JWT_SECRET=" + machineSecret}
	p := startProgram(t, dir, environ...)
	for range 3 {
		kept, keptKey := p.door.newKey(machineKey, "editor", `"service":true`)
		gone, goneKey := p.door.newKey(machineKey, "editor", `"service":true`)
		old, oldKey := p.door.newKey(machineKey, "editor", `"service":true`)
		access, refresh := p.door.exchange(goneKey, "app")
		_, nextKey := p.door.rotateKey(machineKey, old, `{"overlap":"0s"}`)
		p.door.do("DELETE", "/api/auth/keys/"+gone, bearer(machineKey)).want(http.StatusNoContent)
		p.kill()
		p = startProgram(t, dir, environ...)
		if got := p.door.me(keptKey).want(http.StatusOK).str("id"); got != kept {
			t.Errorf("it is %s", got)
		}
		p.door.me(nextKey).want(http.StatusOK)
		for _, dead := range []string{goneKey, oldKey} {
			p.door.me(dead).refused(http.StatusUnauthorized, "invalid token")
		}
		p.door.me(access).refused(http.StatusUnauthorized, "token blacklisted")
		p.door.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
	}
}

// TestAMachineRisesAboveNoLimitByKeys: it gets no key in a person's name, and none that is under
// fewer limits than its own.
func TestAMachineRisesAboveNoLimitByKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := bearer(d.setUp())
		create := func(by ask, body string) answer { return d.do("POST", "/api/auth/keys", by, jsonBody(body)) }
		mine := create(root, `{"name":"mine","role":"admin"}`).want(http.StatusCreated)
		service := create(root, `{"name":"service","role":"admin","service":true}`).want(http.StatusCreated)
		for name, by := range map[string]ask{"the operator's key": apiKey(machineKey), "a service key": apiKey(service.str("key"))} {
			a := d.do("POST", "/api/auth/keys/"+mine.str("id")+"/rotate", by, jsonBody(`{}`))
			a.what += " by " + name
			a.refused(http.StatusForbidden, "insufficient permissions")
		}
		access, _ := d.exchange(service.str("key"), "app")
		d.do("POST", "/api/auth/keys/"+mine.str("id")+"/rotate", bearer(access), jsonBody(`{}`)).refused(http.StatusForbidden, "insufficient permissions")
		vi, _ := d.newMember(root, "vi", "viewer", doorward.Default, doorward.Default)
		const another = `{"name":"another","role":"viewer","service":true}`
		create(bearer(access), another).want(http.StatusCreated)
		for _, limit := range []string{`"client_ids":["one"]`, `"expires_in":"1h"`} {
			made := create(root, `{"name":"limited","role":"admin","service":true,`+limit+`}`).want(http.StatusCreated)
			key := made.str("key")
			create(apiKey(key), another).refused(http.StatusForbidden, "insufficient permissions")
			access, _ := d.exchange(key, "one")
			create(bearer(access), another).refused(http.StatusForbidden, "insufficient permissions")
			// Nor does it give out anything else that would be under none of its limits.
			for _, by := range []ask{apiKey(key), bearer(access)} {
				for _, c := range []struct{ method, path, body string }{
					{"POST", "keys/" + service.str("id") + "/rotate", `{"overlap":"0s"}`},
					{"POST", "users", `{"username":"eve","password":"a password of hers","role":"viewer"}`},
					{"POST", "users", `{"username":"eve","role":"viewer","invite":true}`},
					{"POST", "users/" + vi + "/invite", `{}`},
					{"POST", "admin-reset-password", `{"user_id":"` + vi + `","new_password":"a password of hers"}`},
					{"PATCH", "users/" + vi, `{"role":"editor"}`},
				} {
					a := d.do(c.method, "/api/auth/"+c.path, by, jsonBody(c.body))
					a.what += " " + c.body + " by a key with " + limit
					a.refused(http.StatusForbidden, "insufficient permissions")
				}
				d.do("PATCH", "/api/auth/users/"+vi, by, jsonBody(`{"disabled":true}`)).want(http.StatusOK) // which takes away
				d.do("PATCH", "/api/auth/users/"+vi, by, jsonBody(`{"disabled":false}`)).refused(http.StatusForbidden, "insufficient permissions")
			}
			// Its own successor is as limited.
			next := d.do("POST", "/api/auth/keys/"+made.str("id")+"/rotate", apiKey(key), jsonBody(`{"overlap":"0s"}`)).want(http.StatusCreated)
			create(apiKey(next.str("key")), another).refused(http.StatusForbidden, "insufficient permissions")
		}
		d.do("POST", "/api/auth/keys/"+service.str("id")+"/rotate", apiKey(machineKey), jsonBody(`{}`)).want(http.StatusCreated)
	})
}

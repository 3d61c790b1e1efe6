package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"doorward"
)

// inOrg asks to act in an organization, inWorkspace in a workspace.
func inOrg(id string) ask       { return header("X-Organization-ID", id) }
func inWorkspace(id string) ask { return header("X-Workspace-ID", id) }

// orgs makes organizations with the workspaces given beside default, as root does.
func (d *door) orgs(root ask, all map[string][]string) {
	d.t.Helper()
	for org, workspaces := range all {
		if org != doorward.Default {
			d.do("POST", "/api/auth/organizations", root, jsonOf(map[string]string{"id": org, "name": "The " + org})).want(http.StatusCreated)
		}
		for _, w := range workspaces {
			d.do("POST", "/api/auth/workspaces", root, inOrg(org), jsonOf(map[string]string{"id": w})).want(http.StatusCreated)
		}
	}
}

// newMember makes a user of an organization and signs them in.
func (d *door) newMember(root ask, name, role, org string, workspaces ...string) (id, token string) {
	d.t.Helper()
	body, _ := json.Marshal(map[string]any{"username": name, "password": "password of " + name, "role": role, "workspaces": workspaces})
	id = d.do("POST", "/api/auth/users", root, inOrg(org), jsonBody(string(body))).want(http.StatusCreated).str("id")
	token, _ = d.signIn(name, "password of "+name)
	return id, token
}

// listed reads one field of each entry of a list, page by page.
func (d *door) listed(by ask, path, list, field string, more ...ask) (got []string) {
	d.t.Helper()
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	for after, pages := "", 0; pages < 200; pages++ {
		a := d.do("GET", path+separator+"after="+url.QueryEscape(after), append(more, by)...).want(http.StatusOK)
		all, ok := a.field(list).([]any)
		if !ok {
			d.t.Fatalf("%s: %s is no list in %s", path, list, a.body)
		}
		for _, e := range all {
			got = append(got, e.(map[string]any)[field].(string))
		}
		if after = a.str("next"); after == "" {
			return got
		}
	}
	d.t.Fatalf("%s: there is no end of it", path)
	return nil
}

func (d *door) lists(by ask, path, list, field, want string, more ...ask) {
	d.t.Helper()
	if got := strings.Join(d.listed(by, path, list, field, more...), " "); got != want {
		d.t.Errorf("%s: got %q, want %q", path, got, want)
	}
}

// TestAnOrganizationsIDIsGivenAnew: what the log says of those who had it before is for no tenant after them.
func TestAnOrganizationsIDIsGivenAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := bearer(d.setUp())
		for _, name := range []string{"first", "second"} {
			d.orgs(root, map[string][]string{"cust": nil})
			id, token := d.newMember(root, name+"-admin", "admin", "cust", doorward.Default)
			d.do("POST", "/api/auth/workspaces", bearer(token), jsonBody(`{"id":"`+name+`-lab"}`)).want(http.StatusCreated)
			token, _ = d.signIn(name+"-admin", "password of "+name+"-admin") // a member of one more: the session has ended
			see := func(by ask) string {
				page := d.do("GET", "/api/auth/audit", by, inOrg("cust")).want(http.StatusOK).body
				csv := d.do("GET", "/api/auth/audit?format=csv", by, inOrg("cust")).want(http.StatusOK).body
				asked := d.do("GET", "/api/auth/audit?from=1990-01-01T00:00:00Z&action=workspace.create", by, inOrg("cust")).want(http.StatusOK).body
				if !strings.Contains(page, name+"-admin") || !strings.Contains(csv, name+"-admin") || !strings.Contains(asked, name+"-lab") {
					t.Errorf("their own entries are missing: %s", page)
				}
				return page + csv + asked
			}
			if all := see(bearer(token)); name == "second" && strings.Contains(all, "first-") {
				t.Errorf("the new tenant reads of the old: %s", all)
			}
			if all := see(root); name == "second" && !strings.Contains(all, "first-admin") {
				t.Error("superadmins do not see the old tenant's entries")
			}
			hours := d.do("GET", "/api/auth/overview", bearer(token)).want(http.StatusOK)
			signIns := 0.0
			for _, hour := range hours.field("hours").([]any) {
				signIns += hour.(map[string]any)["sign_ins"].(float64)
			}
			// Of the first hour of an id given anew nothing is counted, should it have begun with another's.
			if name == "first" && signIns != 2 || name == "second" && signIns > 2 {
				t.Errorf("%s: the overview counts %v sign-ins: %s", name, signIns, hours.body)
			}
			refusals := d.do("GET", "/api/auth/refusals", bearer(token)).want(http.StatusOK).body
			if name == "second" && strings.Contains(refusals, "first-") {
				t.Errorf("the new tenant reads of what the old was refused: %s", refusals)
			}
			d.do("GET", "/api/auth/organizations", bearer(token)).want(http.StatusForbidden) // is one to be found
			d.do("DELETE", "/api/auth/users/"+id, root, inOrg("cust")).want(http.StatusNoContent)
			d.do("DELETE", "/api/auth/workspaces/"+name+"-lab", root, inOrg("cust")).want(http.StatusNoContent)
			d.do("DELETE", "/api/auth/organizations/cust", root).want(http.StatusNoContent)
		}
	})
}

func TestOrganizationsAndWorkspaces(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "lockout.attempts=100")
		root := bearer(d.setUp())
		const orgs, spaces = "/api/auth/organizations", "/api/auth/workspaces"
		created := func(a answer) answer {
			t.Helper()
			if at, err := time.Parse(time.RFC3339, a.str("created")); err != nil || time.Since(at).Abs() > time.Hour {
				t.Errorf("created %s", a.str("created"))
			}
			return a
		}
		created(d.do("POST", orgs, root, jsonBody(`{"id":"acme","name":"Acme, Ltd; ü"}`)).want(http.StatusCreated)).shape(`{"id":"acme","name":"Acme, Ltd; ü","created":"*"}`)
		d.do("POST", orgs, root, jsonBody(`{"id":"zeta"}`)).want(http.StatusCreated).shape(`{"id":"zeta","name":"zeta","created":"*"}`)
		d.lists(root, orgs, "organizations", "id", "acme default zeta")
		d.lists(root, orgs+"?limit=1", "organizations", "id", "acme default zeta")
		d.lists(root, orgs+"?search=LTD", "organizations", "id", "acme")
		d.lists(root, orgs+"?search=%ff", "organizations", "id", "")
		d.do("PATCH", orgs+"/acme", root, jsonBody(`{"name":"Acme"}`)).want(http.StatusOK).shape(`{"id":"acme","name":"Acme","created":"*"}`)
		for _, path := range []string{orgs, spaces} { // what comes with the schema
			created(d.do("PATCH", path+"/default", root, jsonBody(`{"name":"default"}`)).want(http.StatusOK)).shape(`{"id":"default","name":"default","created":"*"}`)
		}
		d.lists(root, spaces, "workspaces", "id", "default", inOrg("acme"))
		created(d.do("POST", spaces, root, inOrg("acme"), jsonBody(`{"id":"lab","name":"The lab"}`)).want(http.StatusCreated)).shape(`{"id":"lab","name":"The lab","created":"*"}`)
		d.do("PATCH", spaces+"/lab", root, inOrg("acme"), jsonBody(`{"name":"Lab"}`)).want(http.StatusOK).shape(`{"id":"lab","name":"Lab","created":"*"}`)
		d.lists(root, spaces, "workspaces", "name", "default Lab", inOrg("acme"))
		d.lists(root, spaces, "workspaces", "id", "default")
		d.lists(root, spaces+"?search=la", "workspaces", "id", "lab", inOrg("acme"))

		t.Run("ids and names belong to one and have a form", func(t *testing.T) {
			d.do("POST", orgs, root, jsonBody(`{"id":"acme"}`)).refused(http.StatusConflict, "organization acme exists")
			d.do("POST", spaces, root, inOrg("acme"), jsonBody(`{"id":"lab"}`)).refused(http.StatusConflict, "workspace lab exists")
			for _, path := range []string{orgs, spaces} {
				// PX15: what could break a header or a list is refused at creation.
				for _, id := range []string{"A", "a b", "a,b", "a;b", "ü", "a\r\nX: y", "a\x00", "a/b", "..", strings.Repeat("a", 64), strings.Repeat("a", 8<<10)} {
					d.do("POST", path, root, jsonOf(map[string]string{"id": id})).refused(http.StatusBadRequest, "id: must have 1 to 63 of a-z, 0-9 and -")
				}
				for _, name := range []string{" ", "a\r\nb", "a\x00", "\u202e", "a\u200bb", " a", "a ", "\uFFFD", strings.Repeat("ü", 129), strings.Repeat("a", 8<<10)} {
					d.do("POST", path, root, jsonOf(map[string]string{"id": "odd", "name": name})).refused(http.StatusBadRequest, "name: must have 1 to 128 visible characters")
				}
				d.do("POST", path, root, jsonBody(`{"name":"x"}`)).refused(http.StatusBadRequest, "id: is required")
				d.do("POST", path, root, jsonBody(`{"id":7}`)).refused(http.StatusBadRequest, "id: must be a string")
				d.do("GET", path+"?after=A", root).refused(http.StatusBadRequest, "after: is not where a page begins")
				d.do("GET", path+"?limit=101", root).refused(http.StatusBadRequest, "limit: must be a number from 1 to 100")
			}
		})
		t.Run("what is not there", func(t *testing.T) {
			for _, id := range []string{"none", "%ff", "%27", strings.Repeat("x", 2000)} {
				d.do("PATCH", orgs+"/"+id, root, jsonBody(`{"name":"x"}`)).refused(http.StatusNotFound, "organization not found")
				d.do("DELETE", orgs+"/"+id, root).refused(http.StatusNotFound, "organization not found")
				d.do("PATCH", spaces+"/"+id, root, jsonBody(`{"name":"x"}`)).refused(http.StatusNotFound, "workspace not found")
				d.do("DELETE", spaces+"/"+id, root).refused(http.StatusNotFound, "workspace not found")
				d.do("GET", spaces+"/"+id+"/members", root).refused(http.StatusNotFound, "workspace not found")
				d.do("POST", spaces+"/"+id+"/members", root, jsonBody(`{"user_id":"usr_x"}`)).refused(http.StatusNotFound, "workspace not found")
				d.do("POST", spaces+"/default/members", root, jsonOf(map[string]string{"user_id": id})).refused(http.StatusNotFound, "user not found")
				d.do("DELETE", spaces+"/default/members/"+id, root).refused(http.StatusNotFound, "user not found")
			}
			d.do("GET", spaces+"/default/members?after=%ff%00", root).want(http.StatusOK)
		})
		t.Run("what is in the way of its end", func(t *testing.T) {
			d.do("DELETE", orgs+"/default", root).refused(http.StatusConflict, "organization default cannot be deleted: there is always one")
			d.do("DELETE", spaces+"/default", root, inOrg("acme")).refused(http.StatusConflict, "workspace default cannot be deleted: there is always one")
			id, _ := d.newMember(root, "ann", "viewer", "acme", "lab")
			d.do("DELETE", spaces+"/lab", root, inOrg("acme")).refused(http.StatusConflict, "workspace lab cannot be deleted: 1 person is in it")
			d.sqlExec(`INSERT INTO api_keys (id, sha256, prefix, name, role, org, workspace, owner, service, client_ids, created, expires, last_used, revoked, rotated_to, overlap_until)
				VALUES ('key_1', ?, 'brk_', 'a key', 'viewer', 'acme', 'lab', NULL, 1, '', 0, 0, 0, 0, NULL, 0)`, bytes.Repeat([]byte{1}, 32))
			d.do("DELETE", orgs+"/acme", root).refused(http.StatusConflict, "organization acme cannot be deleted: 1 person and 1 API key are in it")
			d.do("DELETE", "/api/auth/users/"+id, root, inOrg("acme")).want(http.StatusNoContent)
			d.do("DELETE", spaces+"/lab", root, inOrg("acme")).refused(http.StatusConflict, "workspace lab cannot be deleted: 1 API key is in it")
			d.sqlExec(`UPDATE api_keys SET revoked = 1`)
			d.do("DELETE", spaces+"/lab", root, inOrg("acme")).want(http.StatusNoContent)
			d.do("GET", "/api/auth/me", root, inOrg("acme"), inWorkspace("lab")).refused(http.StatusForbidden, forbidden)
			d.do("DELETE", orgs+"/acme", root).want(http.StatusNoContent)
			d.do("GET", "/api/auth/me", root, inOrg("acme")).refused(http.StatusForbidden, forbidden)
			d.lists(root, orgs, "organizations", "id", "default zeta")
		})
	})
}

// TestASuperadminActsEverywhere: X-Organization-ID picks the organization, X-Workspace-ID any
// workspace of it, and the service behind hears what was judged.
func TestASuperadminActsEverywhere(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		echo := newEchoService(t)
		d := e.door(t, "upstream="+echo.URL, "open_mode=never")
		rootToken := d.setUp()
		root := bearer(rootToken)
		_, rootCookie := d.signIn("root", rootPassword)
		d.orgs(root, map[string][]string{"acme": {"lab"}, doorward.Default: {"annex"}})
		for _, how := range []ask{root, cookie(rootCookie)} {
			for _, c := range []struct {
				asks      []ask
				org, want string // "" for a refusal
			}{
				{nil, "default", "default"},
				{[]ask{inOrg("")}, "default", "default"},
				{[]ask{inOrg("default"), inWorkspace("annex")}, "default", "annex"},
				{[]ask{inWorkspace("annex")}, "default", "annex"},
				{[]ask{inOrg("acme")}, "acme", "default"},
				{[]ask{inOrg("acme"), inWorkspace("lab")}, "acme", "lab"},
				{[]ask{inWorkspace("lab")}, "", ""},
				{[]ask{inOrg("acme"), inWorkspace("annex")}, "", ""},
				{[]ask{inOrg("none")}, "", ""},
				{[]ask{inOrg("ACME")}, "", ""},
				{[]ask{inOrg("acme,default")}, "", ""},
				{[]ask{inOrg("*")}, "", ""},
			} {
				a := d.do("GET", "/x", append(c.asks, how)...)
				if c.want == "" {
					a.refused(http.StatusForbidden, forbidden)
					if line := d.logOf(a); !strings.Contains(line, " needs membership") {
						t.Errorf("the log does not say why: %s", line)
					}
					continue
				}
				a.want(http.StatusOK)
				h := a.echoed().Header
				if h.Get("X-Auth-Organization") != c.org || h.Get("X-Auth-Workspace") != c.want || len(h["X-Organization-Id"])+len(h["X-Workspace-Id"]) > 0 {
					t.Errorf("the service sees %v, want %s and %s", h, c.org, c.want)
				}
			}
			for _, name := range []string{"X-Organization-Id", "X-Workspace-Id"} {
				for _, path := range []string{"/x", "/api/auth/me"} {
					d.do("GET", path, how, header(name, "default"), header(name, "default")).refused(http.StatusBadRequest, name+": must not be given twice")
				}
			}
		}
		me := d.do("GET", "/api/auth/me", root, inOrg("acme"), inWorkspace("lab")).want(http.StatusOK)
		me.shape(`{"id":"*","sub":"*","username":"root","role":"superadmin","kind":"user","org_id":"acme","organization":{"id":"acme","name":"The acme"},"workspaces":["lab"]}`)
		d.do("GET", "/api/auth/me", root).shape(`{"id":"*","sub":"*","username":"root","role":"superadmin","kind":"user","org_id":"default","organization":{"id":"default","name":"default"},"workspaces":["default"]}`)

		// Who is made there belongs there; and there alone is found.
		a := d.do("POST", "/api/auth/users", root, inOrg("acme"), inWorkspace("lab"), jsonOf(map[string]string{"username": "ann", "password": "password of ann", "role": "admin"})).want(http.StatusCreated)
		id := a.shape(`{"id":"*","username":"ann","role":"admin","workspaces":["lab"],"disabled":false}`).str("id")
		d.change(root, id, `{"role":"editor"}`).refused(http.StatusNotFound, "user not found")
		d.do("PATCH", "/api/auth/users/"+id, root, inOrg("acme"), jsonBody(`{"role":"editor","workspaces":["lab","default"]}`)).want(http.StatusOK)
		d.do("PATCH", "/api/auth/users/"+id, root, inOrg("acme"), jsonBody(`{"workspaces":["annex"]}`)).refused(http.StatusBadRequest, "workspaces: there is no workspace of that name")
		d.lists(root, "/api/auth/users", "users", "username", "root")
		d.lists(root, "/api/auth/users", "users", "username", "ann", inOrg("acme"))
		ann, _ := d.signIn("ann", "password of ann")
		if got := d.do("GET", "/x", bearer(ann)).want(http.StatusOK).echoed().Header; got.Get("X-Auth-Organization") != "acme" || got.Get("X-Auth-Workspace") != "default" {
			t.Errorf("the service sees %v", got)
		}
	})
}

// TestRT7AnotherOrganizationIsNotThere: what belongs to it is 404 as what does not exist, and
// its name in a header is 403 as one that does not exist.
func TestRT7AnotherOrganizationIsNotThere(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "lockout.attempts=100")
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{"acme": {"lab"}, "zeta": {"den"}})
		annID, ann := d.newMember(root, "ann", "admin", "acme", "default", "lab")
		_, vic := d.newMember(root, "vic", "viewer", "acme", "lab")
		zoeID, _ := d.newMember(root, "zoe", "editor", "zeta", "den")
		admin := bearer(ann)
		same := func(what string, theirs, nobodys answer) { // EN9: to the letter
			t.Helper()
			if theirs.status != nobodys.status || theirs.body != nobodys.body {
				t.Errorf("%s: %d %s, of what does not exist %d %s", what, theirs.status, theirs.body, nobodys.status, nobodys.body)
			}
		}
		const none = "usr_aaaaaaaaaaaaaaaaaaaaaaaa"
		reset := func(by ask, id string) answer {
			return d.do("POST", "/api/auth/admin-reset-password", by, jsonOf(map[string]string{"user_id": id, "new_password": "chosen by another"}))
		}
		for _, id := range []string{zoeID, none} {
			d.change(admin, id, `{"role":"viewer"}`).refused(http.StatusNotFound, "user not found")
			d.change(admin, id, `{"workspaces":["den"]}`).refused(http.StatusBadRequest, "workspaces: there is no workspace of that name that you could give")
			d.remove(admin, id).refused(http.StatusNotFound, "user not found")
			reset(admin, id).refused(http.StatusNotFound, "user not found")
			d.do("POST", "/api/auth/workspaces/lab/members", admin, jsonOf(map[string]string{"user_id": id})).refused(http.StatusNotFound, "user not found")
			d.do("DELETE", "/api/auth/workspaces/lab/members/"+id, admin).refused(http.StatusNotFound, "user not found")
		}
		for _, id := range []string{"den", "none"} {
			d.do("PATCH", "/api/auth/workspaces/"+id, admin, jsonBody(`{"name":"x"}`)).refused(http.StatusNotFound, "workspace not found")
			d.do("DELETE", "/api/auth/workspaces/"+id, admin).refused(http.StatusNotFound, "workspace not found")
			d.do("GET", "/api/auth/workspaces/"+id+"/members", admin).refused(http.StatusNotFound, "workspace not found")
			d.do("POST", "/api/auth/workspaces/"+id+"/members", admin, jsonOf(map[string]string{"user_id": annID})).refused(http.StatusNotFound, "workspace not found")
		}
		for _, how := range []ask{inWorkspace("den"), inWorkspace("none"), inOrg("zeta"), inOrg("none"), inOrg("default")} {
			for _, path := range []string{"/api/auth/users", "/api/auth/me", "/api/pipelines"} {
				d.do("GET", path, admin, how).refused(http.StatusForbidden, forbidden)
			}
		}
		same("a workspace", d.do("GET", "/api/auth/me", admin, inWorkspace("den")), d.do("GET", "/api/auth/me", admin, inWorkspace("none")))
		d.do("GET", "/api/auth/me", admin, inOrg("acme"), inWorkspace("lab")).want(http.StatusOK)
		d.lists(admin, "/api/auth/users", "users", "username", "ann vic")
		d.lists(admin, "/api/auth/users?search=o", "users", "username", "")
		d.lists(admin, "/api/auth/workspaces", "workspaces", "id", "default lab")
		d.do("GET", "/api/auth/organizations", admin).refused(http.StatusForbidden, forbidden)
		d.do("GET", "/api/auth/users", bearer(vic)).refused(http.StatusForbidden, forbidden)
		// The one thing that is everybody's: a username.
		d.create(admin, "ZOE", "viewer").refused(http.StatusConflict, "username ZOE is taken")
		d.login("zoe", "password of zoe").want(http.StatusOK)
	})
}

// TestEN7AUsernameIsNobodysToTry but an admin's.
func TestEN7AUsernameIsNobodysToTry(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		rootToken := d.setUp()
		for _, role := range []string{"viewer", "editor"} {
			_, token, _ := d.newUser(rootToken, role, role)
			for _, name := range []string{"root", "ROOT", "nobody-yet"} {
				d.create(bearer(token), name, "viewer").refused(http.StatusForbidden, forbidden)
			}
		}
	})
}

// TestEN9WhatIsNotTheirsTakesNoLonger than what does not exist: it is the same work.
func TestEN9WhatIsNotTheirsTakesNoLonger(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{"acme": nil, "zeta": nil})
		_, ann := d.newMember(root, "ann", "admin", "acme", "default")
		zoe, _ := d.newMember(root, "zoe", "viewer", "zeta", "default")
		const none, rounds = "usr_aaaaaaaaaaaaaaaaaaaaaaaa", 100
		var theirs, nobodys []time.Duration
		took := func(id string) time.Duration {
			began := time.Now()
			d.change(bearer(ann), id, `{"role":"viewer"}`).refused(http.StatusNotFound, "user not found")
			return time.Since(began)
		}
		for range rounds {
			theirs, nobodys = append(theirs, took(zoe)), append(nobodys, took(none))
		}
		slices.Sort(theirs)
		slices.Sort(nobodys)
		if a, b := theirs[rounds/10], nobodys[rounds/10]; a > 3*b || b > 3*a { // the fast ones say most where others work too
			t.Errorf("theirs take %v, nobody's %v", a, b)
		}
	})
}

// TestLK5TwinsAtCreation: a name in another case is the same name, and what looks like one is none.
func TestLK5TwinsAtCreation(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := bearer(d.setUp())
		d.create(root, "admin", "viewer").want(http.StatusCreated)
		for _, twin := range []string{"Admin", "ADMIN", "admin"} {
			d.create(root, twin, "viewer").refused(http.StatusConflict, "username "+twin+" is taken")
		}
		for _, name := range []string{"admin ", " admin", "\uff41dmin", "\u0430dmin", "adm\u0131n", "admin\u200b", "admin\x00", "admin\n"} {
			d.create(root, name, "viewer").refused(http.StatusBadRequest, "username: must have 1 to 64 of ASCII letters, digits and ._@+-")
			d.login(name, "password of admin").refused(http.StatusUnauthorized, "invalid credentials")
		}
		// PX15: nothing that could break a header or a list is a name.
		for _, name := range []string{"a\r\nX-Auth-Role: admin", "a,b", "a;b", "\u00fc", strings.Repeat("a", 65), strings.Repeat("a", 8<<10)} {
			d.create(root, name, "viewer").refused(http.StatusBadRequest, "username: must have 1 to 64 of ASCII letters, digits and ._@+-")
		}
	})
}

// TestAnAdminsReach is their workspaces: what lies within, all of it; what does not, none.
func TestAnAdminsReach(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "lockout.attempts=100")
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{"acme": {"lab", "den"}})
		_, token := d.newMember(root, "ann", "admin", "acme", "lab")
		in, inToken := d.newMember(root, "in", "editor", "acme", "lab")
		out, _ := d.newMember(root, "out", "viewer", "acme", "den")
		both, _ := d.newMember(root, "both", "viewer", "acme", "lab", "den")
		chief, _ := d.newMember(root, "chief", "superadmin", "acme", "lab")
		ann := bearer(token)
		d.lists(ann, "/api/auth/users", "users", "username", "ann both chief in out") // seen are all
		for _, id := range []string{out, both, chief} {
			for _, body := range []string{`{}`, `{"role":"viewer"}`, `{"disabled":true}`, `{"workspaces":["lab"]}`} {
				d.change(ann, id, body).refused(http.StatusForbidden, forbidden)
			}
			d.remove(ann, id).refused(http.StatusForbidden, forbidden)
			d.do("POST", "/api/auth/admin-reset-password", ann, jsonOf(map[string]string{"user_id": id, "new_password": "chosen by another"})).refused(http.StatusForbidden, forbidden)
			d.do("POST", "/api/auth/workspaces/lab/members", ann, jsonOf(map[string]string{"user_id": id})).refused(http.StatusForbidden, forbidden)
			d.do("DELETE", "/api/auth/workspaces/lab/members/"+id, ann).refused(http.StatusForbidden, forbidden)
		}
		d.change(ann, in, `{"workspaces":["lab","den"]}`).refused(http.StatusBadRequest, "workspaces: there is no workspace of that name that you could give")
		d.do("POST", "/api/auth/users", ann, jsonBody(`{"username":"new","password":"password of new","role":"viewer","workspaces":["den"]}`)).refused(http.StatusBadRequest, "workspaces: there is no workspace of that name that you could give")
		for _, w := range []string{"den", "default"} {
			d.do("PATCH", "/api/auth/workspaces/"+w, ann, jsonBody(`{"name":"x"}`)).refused(http.StatusForbidden, forbidden)
			d.do("DELETE", "/api/auth/workspaces/"+w, ann).refused(http.StatusForbidden, forbidden)
			d.do("POST", "/api/auth/workspaces/"+w+"/members", ann, jsonOf(map[string]string{"user_id": in})).refused(http.StatusForbidden, forbidden)
			d.do("DELETE", "/api/auth/workspaces/"+w+"/members/"+in, ann).refused(http.StatusForbidden, forbidden)
		}
		d.do("PATCH", "/api/auth/workspaces/lab", ann, jsonBody(`{"name":"Our lab"}`)).want(http.StatusOK)
		if got := d.create(ann, "new", "admin").want(http.StatusCreated); !strings.Contains(got.body, `"workspaces":["lab"]`) {
			t.Error(got.body)
		}

		// A workspace of one's own making: one is a member of it, and has to sign in again.
		d.do("POST", "/api/auth/workspaces", ann, jsonBody(`{"id":"own"}`)).want(http.StatusCreated)
		d.do("GET", "/api/auth/me", ann).refused(http.StatusUnauthorized, "token blacklisted")
		token, _ = d.signIn("ann", "password of ann")
		ann = bearer(token)
		d.do("GET", "/api/auth/me", ann, inWorkspace("own")).want(http.StatusOK)
		d.do("POST", "/api/auth/workspaces/own/members", ann, jsonOf(map[string]string{"user_id": in})).want(http.StatusOK).
			shape(`{"id":"*","username":"in","role":"editor","workspaces":["lab","own"],"disabled":false}`)
		d.do("GET", "/api/auth/me", bearer(inToken)).refused(http.StatusUnauthorized, "token blacklisted")
		if got := d.listed(ann, "/api/auth/workspaces/own/members?limit=1", "members", "username"); len(got) != 2 {
			t.Errorf("its members are %q", got)
		}
		d.do("DELETE", "/api/auth/workspaces/own", ann).refused(http.StatusConflict, "workspace own cannot be deleted: 1 person is in it")
		d.do("DELETE", "/api/auth/workspaces/own/members/"+in, ann).want(http.StatusNoContent)
		d.do("DELETE", "/api/auth/workspaces/own/members/"+in, ann).refused(http.StatusNotFound, "member not found")
		d.do("DELETE", "/api/auth/workspaces/lab/members/"+in, ann).refused(http.StatusConflict, "in is in no other workspace; disable or delete the account instead")
		d.do("DELETE", "/api/auth/workspaces/own", ann).want(http.StatusNoContent)
		d.do("GET", "/api/auth/me", ann).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

// TestAMachineMakesNoWorkspace: it could not be a member of it.
func TestAMachineMakesNoWorkspace(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_key="+ownerKey)
	d.setUp()
	d.do("POST", "/api/auth/workspaces", apiKey(ownerKey), jsonBody(`{"id":"lab"}`)).refused(http.StatusForbidden, forbidden)
	d.do("PATCH", "/api/auth/workspaces/default", apiKey(ownerKey), jsonBody(`{"name":"Ours"}`)).want(http.StatusOK)
}

// TestPlacesReachTheOtherNode within a second, and hold at once where they were made.
func TestPlacesReachTheOtherNode(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	root := bearer(a.setUp())
	for i := range 5 {
		org := fmt.Sprintf("org-%d", i)
		enters := func(d *door, want int, workspace string) func() bool {
			return func() bool {
				return d.do("GET", "/api/auth/me", root, inOrg(org), inWorkspace(workspace)).status == want
			}
		}
		a.do("POST", "/api/auth/organizations", root, jsonOf(map[string]string{"id": org})).want(http.StatusCreated)
		if !enters(a, 200, "")() {
			t.Error("it is not there where it was made")
		}
		until(t, time.Second, "the other node knows the organization", enters(b, 200, ""))
		b.do("POST", "/api/auth/workspaces", root, inOrg(org), jsonOf(map[string]string{"id": "lab"})).want(http.StatusCreated)
		until(t, time.Second, "the other node knows the workspace", enters(a, 200, "lab"))
		a.do("PATCH", "/api/auth/organizations/"+org, root, jsonOf(map[string]string{"name": "New name"})).want(http.StatusOK)
		until(t, time.Second, "the other node knows the name", func() bool {
			return b.do("GET", "/api/auth/me", root, inOrg(org)).str("organization.name") == "New name"
		})
		a.do("DELETE", "/api/auth/workspaces/lab", root, inOrg(org)).want(http.StatusNoContent)
		until(t, time.Second, "the other node lets nobody into a workspace that is no more", enters(b, 403, "lab"))
		b.do("DELETE", "/api/auth/organizations/"+org, root).want(http.StatusNoContent)
		until(t, time.Second, "the other node lets nobody into an organization that is no more", enters(a, 403, ""))
	}
}

// TestTheLastOfTheHighestRankStaysOnTwoNodes, in whatever organizations the two are.
func TestTheLastOfTheHighestRankStaysOnTwoNodes(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t, "lockout.attempts=1000")
	rootToken := a.setUp()
	root := bearer(rootToken)
	me := a.do("GET", "/api/auth/me", root).str("id")
	a.orgs(root, map[string][]string{"acme": nil})
	until(t, time.Second, "the other node knows the organization", func() bool { return b.do("GET", "/api/auth/me", root, inOrg("acme")).status == 200 })
	for i := range 5 {
		name := fmt.Sprintf("chief-%d", i)
		id, token := a.newMember(root, name, "superadmin", "acme", "default")
		got := at(2, func(i int) answer {
			if i == 0 {
				return b.do("PATCH", "/api/auth/users/"+me, bearer(token), inOrg("default"), jsonBody(`{"role":"viewer"}`))
			}
			return a.do("DELETE", "/api/auth/users/"+id, root, inOrg("acme"))
		})
		if got[http.StatusOK]+got[http.StatusNoContent] != 1 {
			t.Errorf("two who push each other out: %v", got)
		}
		var left string
		db := a.sqlOpen()
		if err := db.QueryRow(`SELECT string_agg(username, ',') FROM users WHERE role = 'superadmin' AND disabled = 0`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		_ = db.Close()
		switch left {
		case "root":
		case name: // who won makes the loser what they were
			token, _ = a.signIn(name, "password of "+name)
			a.do("PATCH", "/api/auth/users/"+me, bearer(token), inOrg("default"), jsonBody(`{"role":"superadmin"}`)).want(http.StatusOK)
			rootToken, _ = a.signIn("root", rootPassword)
			root = bearer(rootToken)
			a.do("DELETE", "/api/auth/users/"+id, root, inOrg("acme")).want(http.StatusNoContent)
		default:
			t.Fatalf("left are %s", left)
		}
	}
}

// TestSU5AllUsersAreGone: the door stays closed, and the command line makes a user again.
func TestSU5AllUsersAreGone(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		d.sqlExec(`DELETE FROM users`)
		d.do("GET", "/api/pipelines").want(http.StatusUnauthorized)
		d.restart()
		d.do("GET", "/api/pipelines").refused(http.StatusServiceUnavailable, "setup required")
		d.do("GET", "/api/auth/me", bearer(root)).want(http.StatusServiceUnavailable)
		d.do("POST", "/api/auth/users", jsonBody(`{"username":"eve","password":"password of eve"}`)).refused(http.StatusUnauthorized, "token required")
		status, out, errs := d.typing("password of ann", "user", "add", "ann", "--role", "superadmin", "--password-stdin")
		if status != 0 || out != "made user ann: superadmin in organization default, workspaces default\n" || errs != "" {
			t.Fatalf("%d %s %s", status, out, errs)
		}
		token, _ := d.signIn("ann", "password of ann")
		d.do("GET", "/api/pipelines", bearer(token)).want(http.StatusOK)
		d.do("GET", "/api/pipelines").refused(http.StatusUnauthorized, "token required")
	})
}

// typing runs a command beside the server with something on its standard input.
func (d *door) typing(stdin string, args ...string) (status int, stdout, stderr string) {
	d.t.Helper()
	args = append(args, "--data-dir", d.dir)
	if url := d.flags["database"]; url != "" {
		args = append(args, "--database", url)
	}
	var out, errs bytes.Buffer
	p := &program{Streams: Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs}, name: "doorward", random: strings.NewReader(strings.Repeat("r", 32))}
	status = p.run(context.Background(), args)
	return status, out.String(), errs.String()
}

// TestExplainSaysWhereOneMayAct, as the door does.
func TestExplainSaysWhereOneMayAct(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := bearer(d.setUp())
	d.orgs(root, map[string][]string{"acme": {"lab"}})
	d.newMember(root, "ann", "admin", "acme", "lab")
	for args, want := range map[string]string{
		"--as root --org acme":                 "let through to the sample service: root (superadmin) asks for GET /x; default: GET needs viewer\n",
		"--as root --org acme --workspace lab": "let through to the sample service: root (superadmin) asks for GET /x; default: GET needs viewer\n",
		"--as root --org none":                 "403 insufficient permissions: root (superadmin) asks for GET /x; X-Organization-ID needs membership\n",
		"--as root --workspace lab":            "403 insufficient permissions: root (superadmin) asks for GET /x; X-Workspace-ID needs membership\n",
		"--as ann":                             "let through to the sample service: ann (admin) asks for GET /x; default: GET needs viewer\n",
		"--as ann --org default":               "403 insufficient permissions: ann (admin) asks for GET /x; X-Organization-ID needs membership\n",
		"--as ann --workspace default":         "403 insufficient permissions: ann (admin) asks for GET /x; X-Workspace-ID needs membership\n",
	} {
		_, got, stderr := d.command(append(append([]string{"explain"}, strings.Fields(args)...), "GET", "/x")...)
		if got != want {
			t.Errorf("%s: %s%s, want %s", args, got, stderr, want)
		}
	}
}

// TestAKeyDiesAtOnceWithItsOwnersMembership on the node that is told of it, however the
// membership ends; others hear of it by the feed.
func TestAKeyDiesAtOnceWithItsOwnersMembership(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		d := on.door(t)
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{doorward.Default: {"lab"}})
		for _, way := range []string{"removed", "changed"} {
			id, token := d.newMember(root, "owner-"+way, "editor", doorward.Default, doorward.Default, "lab")
			key := d.do("POST", "/api/auth/keys", bearer(token), jsonBody(`{"name":"k","role":"viewer","workspace":"lab"}`)).want(http.StatusCreated).str("key")
			d.do("GET", "/api/auth/me", bearer(key)).want(http.StatusOK)
			if way == "removed" {
				d.do("DELETE", "/api/auth/workspaces/lab/members/"+id, root).want(http.StatusNoContent)
			} else {
				d.do("PATCH", "/api/auth/users/"+id, root, jsonBody(`{"workspaces":["default"]}`)).want(http.StatusOK)
			}
			d.do("GET", "/api/auth/me", bearer(key)).want(http.StatusUnauthorized)
		}
	})
}

// TestATokenOfAWorkspaceThatIsNot is let in, since it may be made later; the start warns of it, by the name of the setting and
// the token's place, never by the token.
func TestATokenOfAWorkspaceThatIsNot(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_key="+machineKey, "config="+write(t, "doorward.yaml", `
api_tokens:
  - `+teamToken+`
  - {token: `+machineToken+`, name: ci, workspace: nowhere}
`))
	const want = "api_tokens: entry 2 (ci): there is no workspace nowhere in organization default yet; make it with: doorward workspace create nowhere"
	if !slices.Equal(d.house.warnings, []string{want}) {
		t.Errorf("the server warns of %q, want %q", d.house.warnings, want)
	}
	d.do("GET", "/api/pipelines", bearer(machineToken)).want(http.StatusOK)
	d.prints("workspace", "create", "nowhere")
	d.restart()
	if len(d.house.warnings) > 0 {
		t.Errorf("with the workspace there the server warns of %q", d.house.warnings)
	}

	// The program says so on its log, and starts.
	s := serveProgram(t, "--data-dir", t.TempDir(), "--config", d.flags["config"])
	if s.addr == "" || strings.Count(s.stderr.String(), want) != 1 || strings.Contains(s.stderr.String(), machineToken) {
		t.Errorf("the log: %s", s.stderr)
	}
}

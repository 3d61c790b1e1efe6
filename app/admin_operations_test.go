package app

import (
	"encoding/csv"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorward"
)

// hides fails the test if the page holds any of texts, as people read them or as they are.
func (a answer) hides(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) || strings.Contains(a.body, html.EscapeString(text)) {
			a.t.Errorf("%s: there is %q in %s", a.what, text, a.body)
		}
	}
	return a
}

// holds fails the test unless the page holds each of texts, in its HTML.
func (a answer) holds(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			a.t.Errorf("%s: no %q in %s", a.what, text, a.body)
		}
	}
	return a
}

// inert fails the test if the page holds any of texts in its HTML, where they would do something.
func (a answer) inert(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) {
			a.t.Errorf("%s: there is %q in %s", a.what, text, a.body)
		}
	}
	return a
}

// chartTotal is how many things a chart of the page counts; the first chart of this title.
func (a answer) chartTotal(title string) int {
	a.t.Helper()
	m := regexp.MustCompile(`<figcaption>` + title + `: <strong>(\d+)</strong>`).FindStringSubmatch(a.body)
	if m == nil {
		a.t.Fatalf("%s: no chart of %s in %s", a.what, title, a.body)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// wrongPasswords tries n of them.
func (d *door) wrongPasswords(username string, n int) {
	for range n {
		d.do("POST", "/api/auth/login", jsonBody(credentialsJSON(username, wrongPassword))).want(http.StatusUnauthorized)
	}
}

// TestOverview: what happens is counted and drawn for whose it is, and for nobody else.
func TestOverview(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		d.clock.freeze(time.Date(2030, 1, 31, 12, 30, 0, 0, time.UTC))
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{"acme": nil})
		d.newMember(root, "anna", "admin", doorward.Default, doorward.Default)
		annasKey := d.do("POST", "/api/auth/keys", root, jsonBody(`{"name":"k","role":"viewer"}`)).want(http.StatusCreated).str("key")
		d.exchange(annasKey, "app") // a machine's session is no sign-in
		_, ada := d.newMember(root, "ada", "admin", "acme", doorward.Default)
		otto, _ := d.newMember(root, "otto", "viewer", "acme", doorward.Default)
		d.wrongPasswords("otto", 5)
		d.wrongPasswords("nobody-at-all", 2)

		rooted := d.signedIn(t, "root", rootPassword)
		page := rooted.load("/auth/admin").says(http.StatusOK, "").shows("database", "fine", "closed: a credential is needed", "31 Jan 12:00", "2 in all; the most, 2, at 31 Jan 12:00.")
		page.hides("otto", "style=", "<script>")
		if in, failed, locked := page.chartTotal("Sign-ins"), page.chartTotal("Failed sign-ins"), page.chartTotal("Accounts locked"); in != 3 || failed != 2 || locked != 0 {
			t.Errorf("root sees %d sign-ins, %d failures, %d locks", in, failed, locked)
		}
		if n := page.chartTotal("Refusals"); n < 7 {
			t.Errorf("root sees %d refusals", n)
		}
		byAda := d.signedIn(t, "ada", "password of ada")
		page = byAda.load("/auth/admin").says(http.StatusOK, "").shows("The acme", "otto", "/auth/admin/in/acme/users/"+otto, "31 Jan 2030, 12:45 UTC").hides("Refusals:", "Refusals</th>", "nobody's")
		if in, failed, locked := page.chartTotal("Sign-ins"), page.chartTotal("Failed sign-ins"), page.chartTotal("Accounts locked"); in != 3 || failed != 5 || locked != 1 {
			t.Errorf("ada sees %d sign-ins, %d failures, %d locks", in, failed, locked)
		}

		// The same by JSON; a superadmin may look at another organization.
		body := d.do("GET", "/api/auth/overview", bearer(ada)).want(http.StatusOK)
		if got := fmt.Sprint(body.field("hours")); got != "[map[failures:5 hour:2030-01-31T12:00:00Z lockouts:1 sign_ins:3]]" {
			t.Errorf("the hours are %s", got)
		}
		locked := body.field("locked").([]any)
		if len(locked) != 1 || locked[0].(map[string]any)["user_id"] != otto || locked[0].(map[string]any)["until"] != "2030-01-31T12:45:00Z" {
			t.Errorf("locked are %v", locked)
		}
		if strings.Contains(body.body, `"refusals":`) {
			t.Errorf("an admin is told what the node has refused: %s", body.body)
		}
		of := d.do("GET", "/api/auth/overview", root, inOrg("acme")).want(http.StatusOK)
		if !strings.Contains(of.body, otto) || of.field("refusals") == nil || of.str("health.status") != "ok" {
			t.Errorf("of acme root is told %s", of.body)
		}
		d.do("GET", "/api/auth/overview?x=1", root).refused(http.StatusBadRequest, "query: may hold ")

		// Days go by: what is old is in the month and not in the day, and then in neither.
		d.clock.advance(48 * time.Hour)
		d.do("POST", "/api/auth/users/"+otto, root) // 404 or 405: refused in another hour
		rooted = d.signedIn(t, "root", rootPassword)
		page = rooted.load("/auth/admin").shows("31 Jan: 3", "None.")
		if in := page.chartTotal("Sign-ins"); in != 1 {
			t.Errorf("in the last day there were %d sign-ins", in)
		}
		d.clock.advance(30 * 24 * time.Hour)
		rooted = d.signedIn(t, "root", rootPassword)
		rooted.load("/auth/admin").hides("31 Jan: ")
	})
}

// lookUp is the page about a refusal.
func (b *browser) lookUp(id string) answer {
	b.d.t.Helper()
	return b.load("/auth/admin/refusals?request_id=" + url.QueryEscape(id))
}

// TestRefusalsPage: a refusal is found by its id, by who may know of it, and whatever a client has sent
// stays text.
func TestRefusalsPage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := bearer(d.setUp())
	d.orgs(root, map[string][]string{"acme": nil})
	_, anna := d.newMember(root, "anna", "viewer", doorward.Default, doorward.Default)
	_, olga := d.newMember(root, "olga", "viewer", "acme", doorward.Default)
	d.newMember(root, "ada", "admin", "acme", doorward.Default)
	d.newMember(root, "abel", "admin", doorward.Default, doorward.Default)
	const markup = `/x"><script>alert(1)</script><img src=x onerror=alert(1)>'` + "/{{.}}/\u202egnp"
	refused := func(asks ...ask) string {
		t.Helper()
		a := d.do("POST", (&url.URL{Path: markup}).EscapedPath()+"?password=secret-in-the-query", append(asks, header("User-Agent", "<script>alert(2)</script>"))...)
		if a.status != http.StatusForbidden && a.status != http.StatusUnauthorized {
			t.Fatalf("%s: status %d", a.what, a.status)
		}
		return a.header.Get("X-Request-Id")
	}
	ids := map[string]string{"anna": refused(bearer(anna)), "olga": refused(bearer(olga)), "nobody": refused()}
	browsers := map[string]*browser{"root": d.signedIn(t, "root", rootPassword), "ada": d.signedIn(t, "ada", "password of ada"), "abel": d.signedIn(t, "abel", "password of abel")}
	for who, may := range map[string]map[string]bool{
		"root": {"anna": true, "olga": true, "nobody": true}, "abel": {"anna": true}, "ada": {"olga": true},
	} {
		for of, id := range ids {
			page := browsers[who].lookUp(id).says(http.StatusOK, "")
			page.inert("<script>alert", "<img", "secret-in-the-query", "\u202e")
			if !may[of] {
				page.shows("It is not among the last 10000 refusals of this server since its start").hides("This was refused", "onerror")
				continue
			}
			page.shows("This was refused", "POST "+doorward.Printable(markup), "default: POST needs editor", "127.0.0.1", id)
			switch of {
			case "nobody":
				page.shows("401 token required", "nobody who is known")
			default:
				page.shows("403 insufficient permissions", of, "viewer")
			}
		}
		list := browsers[who].load("/auth/admin/refusals").says(http.StatusOK, "").inert("<script>alert", "<img")
		for of, id := range ids {
			if got := strings.Contains(list.body, id); got != may[of] {
				t.Errorf("%s's list has the refusal of %s: %t", who, of, got)
			}
		}
	}
	for _, id := range []string{"nonsense", strings.Repeat("0", 20), "\x00", "<b>"} {
		browsers["root"].lookUp(id).says(http.StatusOK, "").shows("It is not among the last 10000").inert("<b>")
	}
	browsers["root"].lookUp(strings.Repeat("x", 65)).says(http.StatusBadRequest, "Request_id: must have at most 64 characters.")

	a := d.do("GET", "/api/auth/refusals?request_id="+ids["anna"], root).want(http.StatusOK)
	got := a.field("refusals").([]any)[0].(map[string]any)
	if got["path"] != markup || got["username"] != "anna" || got["org_id"] != doorward.Default || got["status"] != 403.0 || got["rule"] != "default: POST needs editor" || got["client"] != "127.0.0.1" {
		t.Errorf("the refusal is %v", got)
	}
	if n := len(d.do("GET", "/api/auth/refusals?request_id="+ids["anna"], inOrg("acme"), root).field("refusals").([]any)); n != 1 {
		t.Errorf("a superadmin elsewhere finds %d", n)
	}
	if n := len(d.do("GET", "/api/auth/refusals?limit=2", root).field("refusals").([]any)); n != 2 {
		t.Errorf("a page of two has %d", n)
	}
	d.do("GET", "/api/auth/refusals?limit=0", root).refused(http.StatusBadRequest, "limit: must be a number from 1 to 100")
	// By forward auth and after a restart: the one is remembered, the other forgets.
	d.restart()
	d.signedIn(t, "root", rootPassword).lookUp(ids["anna"]).shows("It is not among the last 10000")
}

// TestRoutesPage: the rules as they stand, and the same answer as the command gives.
func TestRoutesPage(t *testing.T) {
	t.Parallel()
	const rules = "routes:\n  - {path: /admin/**, role: admin}\n  - {path: /admin/x, role: viewer}\n  - {path: /hook/**, public: true}\nupstreams:\n  - {name: one, url: URL, path: /one/**}\n  - {name: two, url: URL, path: /one/two}\n"
	e := newEchoService(t)
	d := newDoor(t, settingsFile(t, threeTokens+strings.ReplaceAll(rules, "URL", e.URL)), "upstream="+e.URL)
	root := bearer(d.setUp())
	d.orgs(root, map[string][]string{"acme": nil, doorward.Default: {"lab"}})
	d.newMember(root, "anna", "viewer", doorward.Default, doorward.Default)
	d.newMember(root, "olga", "viewer", "acme", doorward.Default)
	d.newMember(root, "lena", "viewer", doorward.Default, "lab")
	_, abel := d.newMember(root, "abel", "admin", doorward.Default, doorward.Default)
	rooted, byAbel := d.signedIn(t, "root", rootPassword), d.signedIn(t, "abel", "password of abel")

	page := rooted.load("/auth/admin/routes").says(http.StatusOK, "")
	page.shows("/admin/** needs admin", "/admin/x can never match: /admin/** (", "/hook/** is public", "/one/** goes to one at "+e.URL, "two can never be asked: one takes its requests before it", "GET, HEAD and OPTIONS need viewer, all else needs editor")
	byAbel.load("/auth/admin/routes").says(http.StatusOK, "").shows("/one/** goes to one").hides(e.URL)

	explain := func(b *browser, pairs ...string) answer {
		t.Helper()
		return b.load("/auth/admin/routes?" + fieldsOf(append(pairs, "host", "door.example")...).Encode())
	}
	for _, c := range []struct{ as, role, method, path, workspace string }{
		{"anna", "", "GET", "/admin/y", ""}, {"Anna", "", "GET", "/y", ""}, {"", "", "GET", "/y", ""}, {"", "", "POST", "/hook/y", ""},
		{"", "editor", "DELETE", "/y", ""}, {"anna", "", "GET", "/y", "lab"}, {"root", "", "GET", "/x/../ADMIN", ""}, {"", "", "GET", "/a%2fb", ""},
		{"anna", "", "GET", "/api/auth/users", ""}, {"olga", "", "GET", "/one/y", ""}, {"reader", "", "POST", "/one/y", ""},
	} {
		args := []string{"explain", "--config", d.flags["config"], "--data-dir", d.dir, "--upstream", e.URL, "--host", "door.example", c.method, c.path}
		for flag, v := range map[string]string{"--as": c.as, "--role": c.role, "--workspace": c.workspace} {
			if v != "" {
				args = append(args, flag, v)
			}
		}
		status, said, stderr := runProgram(t, nil, args...)
		if status != 0 {
			t.Fatalf("%q: %s", args, stderr)
		}
		said = strings.TrimSuffix(said, "\n")
		explain(rooted, "as", c.as, "role", c.role, "method", c.method, "path", c.path, "workspace", c.workspace).want(http.StatusOK).shows(said)
		asJSON, _, _ := strings.Cut(runExplainJSON(t, args), "\n")
		q := fieldsOf("as", c.as, "role", c.role, "method", c.method, "path", c.path, "workspace", c.workspace, "host", "door.example").Encode()
		if got := strings.TrimSpace(d.do("GET", "/api/auth/explain?"+q, root).want(http.StatusOK).body); got != asJSON {
			t.Errorf("%v:\n got %s\nwant %s", c, got, asJSON)
		}
	}
	explain(rooted, "as", "anna", "method", "GET", "path", "/y").shows("let through to", "Workspace", "default", "From the kind on")

	// Of whom an admin does not manage nothing is told, not even that they are.
	for _, as := range []string{"root", "olga", "lena", "nobody-at-all", "operator", "no name"} {
		explain(byAbel, "as", as, "path", "/y").says(http.StatusBadRequest, "User not found.")
		d.do("GET", "/api/auth/explain?path=/y&as="+url.QueryEscape(as), bearer(abel)).refused(http.StatusNotFound, "user not found")
	}
	explain(byAbel, "as", "anna", "path", "/one/y").says(http.StatusOK, "").shows("let through to one").hides(e.URL)
	explain(byAbel, "role", "superadmin", "path", "/y").says(http.StatusBadRequest, "The role must not be above your own.")
	d.do("GET", "/api/auth/explain?path=/y&organization=acme", bearer(abel)).refused(http.StatusBadRequest, "organization: must be your own")
	d.do("GET", "/api/auth/explain?path=/y&organization=acme&role=superadmin", root).want(http.StatusOK)
	for _, c := range []struct{ path, problem string }{
		{"", "Path: is required."}, {"y", "GET y is no request: it would be refused with 400."}, {"/a b", "METHOD, PATH and HOST are one word each; a space in a path is written %20."},
		{"/x\r\nHost: y", "METHOD, PATH and HOST are one word each; a space in a path is written %20."},
	} {
		explain(rooted, "path", c.path).says(http.StatusBadRequest, c.problem)
	}
	explain(rooted, "path", "/"+strings.Repeat("x", 300)).want(http.StatusBadRequest)
	explain(rooted, "path", `/"><script>alert(1)</script>`).want(http.StatusOK).inert("<script>alert")
	rooted.load("/auth/admin/routes?after=x").says(http.StatusBadRequest, "After: is not where a page begins.")
	if got := len(d.do("GET", "/api/auth/routes?limit=2", root).want(http.StatusOK).field("routes").([]any)); got != 2 {
		t.Errorf("a page of two has %d", got)
	}
	if next := d.do("GET", "/api/auth/routes?limit=2&after=2", root).want(http.StatusOK); len(next.field("routes").([]any)) != 1 || next.str("next") != "" {
		t.Errorf("the next page is %s", next.body)
	}
}

func runExplainJSON(t *testing.T, args []string) string {
	t.Helper()
	status, out, stderr := runProgram(t, nil, append([]string{args[0], "--json"}, args[1:]...)...)
	if status != 0 {
		t.Fatal(stderr)
	}
	return out
}

// TestAuditPage: entries in words, filters, pages, and the same as CSV.
func TestAuditPage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := bearer(d.setUp())
	d.orgs(root, map[string][]string{"acme": nil})
	anna, _ := d.newMember(root, "anna", "viewer", doorward.Default, doorward.Default)
	d.newMember(root, "ada", "admin", "acme", doorward.Default)
	d.do("POST", "/api/auth/keys", root, jsonBody(`{"name":"<b>\"key\"</b>","role":"viewer"}`)).want(http.StatusCreated)
	d.wrongPasswords("anna", 5)
	b := d.signedIn(t, "root", rootPassword)
	page := b.load("/auth/admin/audit").says(http.StatusOK, "")
	page.shows("User created", "Signed in", "Sign-in failed", "Account locked", "API key created", `<b>"key"</b>`, "/auth/admin/in/default/users/"+anna).inert("<b>")
	created := b.load("/auth/admin/audit?action=user.create").says(http.StatusOK, "").shows("User created")
	if rows := strings.Count(created.body, `<tr role="row"><td`); rows != 2 || strings.Contains(created.body, `data-label="What">Signed in`) {
		t.Errorf("%d users were created: %s", rows, created.body)
	}
	b.load("/auth/admin/audit?action=user.&target="+anna).says(http.StatusOK, "").shows("User created", "Account locked").holds(`value="user." selected`)
	b.load("/auth/admin/audit?actor=usr_nobody").says(http.StatusOK, "").shows("There is nothing like that.")
	b.load("/auth/admin/audit?from=2000-01-01T00:00&to=2001-01-01T00:00:00").says(http.StatusOK, "").shows("There is nothing like that.").holds(`value="2000-01-01T00:00:00"`)
	b.load("/auth/admin/audit?from=2000-01-01T00:00").says(http.StatusOK, "").shows("User created")
	b.load("/auth/admin/audit?from=yesterday").says(http.StatusBadRequest, "From: must be a time like 2030-01-31T23:59:59Z.")
	b.load("/auth/admin/audit?what=x").says(http.StatusBadRequest, "Query: may hold actor, action, target, request_id, from, to, after, limit and format.")

	link := regexp.MustCompile(`href="(/auth/admin/in/default/audit\.csv\?[^"]*)"`).FindStringSubmatch(b.load("/auth/admin/audit?action=user.create&from=2000-01-01T00:00").body)
	if link == nil {
		t.Fatal("there is no CSV to follow")
	}
	file := b.load(html.UnescapeString(link[1])).want(http.StatusOK)
	rows, err := csv.NewReader(strings.NewReader(file.body)).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Errorf("%v: %q", err, rows)
	}

	// Nothing of another organization; pages follow one another.
	d.signedIn(t, "ada", "password of ada").load("/auth/admin/audit").says(http.StatusOK, "").hides("anna", `data-label="What">Sign-in failed`)
	for range 60 {
		d.signIn("root", rootPassword)
	}
	seen, at := 0, "/auth/admin/audit?action=session.create"
	for at != "" {
		page := b.load(at).says(http.StatusOK, "")
		seen += strings.Count(page.body, `data-label="What">Signed in`)
		next := regexp.MustCompile(`rel="next" href="([^"]*)"`).FindStringSubmatch(page.body)
		if at = ""; next != nil {
			at = html.UnescapeString(next[1])
		}
	}
	if seen < 62 {
		t.Errorf("%d sign-ins in all", seen)
	}
}

// TestSigningPage: keys are listed and rotated, and who is signed in stays so, or does not.
func TestSigningPage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	d.newUser(root, "abel", "admin")
	b := d.signedIn(t, "root", rootPassword)
	page := b.load("/auth/admin/signing").says(http.StatusOK, "").shows(kidOf(t, root), "HS256", "signs", "access, refresh and cookie tokens")
	if strings.Count(page.body, `<tr role="row"><td`) != 1 {
		t.Errorf("there are other keys: %s", page.body)
	}
	asked := b.load("/auth/admin/signing/rotate").says(http.StatusOK, "").shows("Let new keys sign?", "nobody is signed out")
	for _, site := range []string{"cross-site", "same-site"} { // a page of another site's cannot press it
		b.send("POST", "/auth/admin/signing/rotate", site, url.Values{}).want(http.StatusForbidden)
	}
	b.press(asked, "/auth/admin/signing/rotate", url.Values{}).want(http.StatusSeeOther)
	page = b.load("/auth/admin/signing?done=keys-rotated").says(http.StatusOK, "").shows("New keys sign from now on.", kidOf(t, root))
	fresh, _ := d.signIn("root", rootPassword)
	if kidOf(t, fresh) == kidOf(t, root) || !strings.Contains(page.body, kidOf(t, fresh)) {
		t.Errorf("after the rotation kid %s signs, before it %s: %s", kidOf(t, fresh), kidOf(t, root), page.body)
	}
	d.do("GET", "/api/auth/me", bearer(root)).want(http.StatusOK)
	me := d.do("GET", "/api/auth/me", bearer(root)).str("id")
	entries, _ := d.auditPage(bearer(root), "action=secret.rotate")
	if len(entries) != 2 || entries[0].Actor != me || entries[0].Target != kidOf(t, fresh) || entries[0].Org != "" || entries[0].Address != "127.0.0.1" || entries[0].RequestID == "" {
		t.Errorf("the rotation is on record as %+v", entries)
	}

	// By JSON, where whether everybody is signed out must be said.
	d.do("POST", "/api/auth/signing-keys/rotate", bearer(root), jsonBody(`{}`)).refused(http.StatusBadRequest, "now: is required: true signs everybody out, false nobody")
	rotated := d.do("POST", "/api/auth/signing-keys/rotate", bearer(root), jsonBody(`{"now":false}`)).want(http.StatusOK)
	keys := d.do("GET", "/api/auth/signing-keys", bearer(root)).want(http.StatusOK).field("keys").([]any)
	if first := keys[0].(map[string]any); len(keys) != 3 || first["kid"] != rotated.str("kid") || first["signs"] != true || first["since"] == nil || keys[1].(map[string]any)["until"] == nil {
		t.Errorf("the keys are %v", keys)
	}

	// And now everybody out.
	asked = b.load("/auth/admin/signing/rotate-now").says(http.StatusOK, "").shows("Sign everybody out?", "you among them")
	if to := b.press(asked, "/auth/admin/signing/rotate-now", url.Values{}).sentTo(); to != "/auth/login" {
		t.Errorf("sent to %s", to)
	}
	d.do("GET", "/api/auth/me", bearer(root)).refused(http.StatusUnauthorized, "invalid token")
	b.load("/auth/admin/signing").want(http.StatusSeeOther)
	b = d.signedIn(t, "root", rootPassword)
	if page := b.load("/auth/admin/signing"); strings.Count(page.body, `<tr role="row"><td`) != 1 {
		t.Errorf("there are other keys: %s", page.body)
	}
	// A restart is no other door.
	d.restart()
	b.load("/auth/admin/signing").says(http.StatusOK, "")
	d.signedIn(t, "abel", "password of abel").load("/auth/admin/signing").says(http.StatusForbidden, "You may not do that.")
}

// TestSigningPageWhereTheSecretIsGiven says what to do instead, as the command does.
func TestSigningPageWhereTheSecretIsGiven(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "jwt.secret="+machineSecret)
		root := d.setUp()
		b := d.signedIn(t, "root", rootPassword)
		page := b.load("/auth/admin/signing").says(http.StatusOK, "").shows("give the new one as jwt.secret and the old one in jwt.previous_secrets").hides("/signing/rotate")
		if e.name == onPostgres.name {
			page.shows("With PostgreSQL the secret is given by a setting")
		}
		b.send("POST", "/auth/admin/signing/rotate", "same-origin", url.Values{}).want(http.StatusConflict).shows("give the new one as jwt.secret")
		a := d.do("POST", "/api/auth/signing-keys/rotate", bearer(root), jsonBody(`{"now":true}`)).want(http.StatusConflict)
		if why := d.do("GET", "/api/auth/signing-keys", bearer(root)).str("no_rotation"); a.str("error") != why {
			t.Errorf("refused with %s, listed with %s", a.body, why)
		}
		d.do("GET", "/api/auth/me", bearer(root)).want(http.StatusOK)
	})
}

// operationPages are the pages of administration about the running door.
var operationPages = []string{"/auth/admin", "/auth/admin/routes", "/auth/admin/refusals", "/auth/admin/audit", "/auth/admin/signing", "/auth/admin/signing/rotate", "/auth/admin/signing/rotate-now"}

// TestOperationPagesAreGuarded: who may see them, who must change the password first, and what they
// may load.
func TestOperationPagesAreGuarded(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	d.newUser(root, "anna", "editor")
	id, _, _ := d.newUser(root, "abel", "admin")
	rooted, stranger, editor := d.signedIn(t, "root", rootPassword), d.browser(t), d.signedIn(t, "anna", "password of anna")
	for _, at := range operationPages {
		a := rooted.load(at).says(http.StatusOK, "")
		if got := a.header.Get("Content-Security-Policy"); strings.Contains(got, "unsafe") || !strings.HasPrefix(got, "default-src 'none'; style-src 'self'; ") || strings.Contains(got, "img-src") {
			t.Errorf("%s: Content-Security-Policy %q", at, got)
		}
		if regexp.MustCompile(` on[a-z]+=| style=|(?:href|src|action)="[^/#]`).MatchString(a.body) || strings.Count(a.body, "<script") != 1 {
			t.Errorf("%s holds what it must not: %s", at, a.body)
		}
		if to := stranger.load(at).sentTo(); to != "/auth/login?next="+url.QueryEscape(at) {
			t.Errorf("a stranger at %s is sent to %s", at, to)
		}
		editor.load(at).says(http.StatusForbidden, "You may not do that.").holds(`href="/auth/account"`)
		d.do("GET", at).refused(http.StatusUnauthorized, "token required")
	}
	editor.load("/auth/account").hides("Administration")
	rooted.load("/auth/account").holds(`<a href="/auth/admin">Administration</a>`)
	d.do("POST", "/api/auth/admin-reset-password", bearer(root), jsonBody(`{"user_id":"`+id+`","new_password":"chosen by another","must_change":true}`)).want(http.StatusOK)
	waits := d.signedIn(t, "abel", "chosen by another")
	for _, at := range operationPages[:4] {
		if to := waits.load(at).sentTo(); to != "/auth/password?next="+url.QueryEscape(at) {
			t.Errorf("%s leads to %s", at, to)
		}
	}
}

// TestOperationPagesAreSmall: none takes more than 60 KB with what it loads, whatever clients have sent.
func TestOperationPagesAreSmall(t *testing.T) {
	t.Parallel()
	rules := "routes:\n"
	for i := range 300 {
		rules += fmt.Sprintf("  - {path: '/a-rather-long-path/to-somewhere/%d/**', methods: [GET, POST, PUT], role: viewer}\n", i)
	}
	d := newDoor(t, settingsFile(t, threeTokens+rules), "lockout.attempts=1")
	d.clock.freeze(time.Now())
	root := bearer(d.setUp())
	for i := range 60 {
		d.do("POST", "/api/auth/users", root, jsonOf(map[string]string{"username": fmt.Sprintf("%s-%03d", strings.Repeat("n", 60), i), "password": "password of n", "role": "viewer"})).want(http.StatusCreated)
	}
	d.set("rate_limits.enabled=false")
	d.restart()
	for i := range 60 {
		d.do("POST", "/api/auth/login", jsonBody(credentialsJSON(fmt.Sprintf("%s-%03d", strings.Repeat("n", 60), i), "x"))).want(http.StatusUnauthorized)
	}
	for hour := range 40 * 24 {
		if hour%7 == 0 {
			d.clock.advance(7 * time.Hour)
			d.signIn("root", rootPassword)
		}
	}
	for i := range 60 { // locked again, now
		d.do("POST", "/api/auth/login", jsonBody(credentialsJSON(fmt.Sprintf("%s-%03d", strings.Repeat("n", 60), i), "x"))).want(http.StatusUnauthorized)
	}
	token, _ := d.signIn("root", rootPassword)
	for i := range 40 {
		d.do("POST", "/api/auth/keys", bearer(token), jsonOf(map[string]string{"name": strings.Repeat(`"`, 126) + strconv.Itoa(i+10), "role": "viewer"})).want(http.StatusCreated)
	}
	for range 30 {
		d.do("GET", "/%e2%80%ae"+strings.Repeat("%22", 400))
	}
	b := d.signedIn(t, "root", rootPassword)
	beside := len(b.load("/auth/style.css").body) + len(b.load("/auth/page.js").body)
	for _, at := range append(operationPages, "/auth/admin/routes?path=/"+strings.Repeat("%22", 250), "/auth/admin/audit?actor="+strings.Repeat("%22", 250), "/auth/admin/audit?action=key.create") {
		n := beside + len(b.load(at).says(http.StatusOK, "").body)
		t.Logf("%.60s takes %d bytes", at, n)
		if n > 60<<10 {
			t.Errorf("%s takes %d bytes", at, n)
		}
	}
	b.load("/auth/admin").shows("There are more.", "Unlock")
}

// TestRefusalsOfSuperadminsAreTheirs: a superadmin acts in other organizations too, and what was
// refused there is nothing for the admins of their own.
func TestRefusalsOfSuperadminsAreTheirs(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	d.newUser(root, "ada", "admin")
	d.do("POST", "/api/auth/organizations", bearer(root), jsonBody(`{"id":"acme"}`)).want(http.StatusCreated)
	d.do("POST", "/api/auth/users", bearer(root), header("X-Organization-ID", "acme"), jsonBody(`{"username":"secretly-there","password":"password of x","role":"viewer"}`)).want(http.StatusCreated)
	d.do("DELETE", "/api/auth/organizations/acme", bearer(root)).want(http.StatusConflict)
	ada, boss := d.signedIn(t, "ada", "password of ada"), d.signedIn(t, "root", rootPassword)
	boss.load("/auth/admin/refusals").says(http.StatusOK, "").shows("organization acme cannot be deleted")
	ada.load("/auth/admin/refusals").says(http.StatusOK, "").hides("acme")
}

// TestOperationsOfAnotherOrganization: how it goes in another organization and what its log says is told to superadmins, on
// pages that name it, and to nobody else from elsewhere.
func TestOperationsOfAnotherOrganization(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{"acme": nil, "zeta": nil})
		adaID, _ := d.newMember(root, "ada", "admin", "acme", doorward.Default)
		otto, _ := d.newMember(root, "otto", "viewer", "acme", doorward.Default)
		d.newMember(root, "zoe", "admin", "zeta", doorward.Default)
		d.wrongPasswords("otto", 5)
		rooted := d.signedIn(t, "root", rootPassword)
		ada := d.signedIn(t, "ada", "password of ada")
		const at = "/auth/admin/in/acme"

		rooted.load("/auth/admin").says(http.StatusOK, "").hides("otto").holds(`<a href="/auth/admin" aria-current="page"`)
		rooted.load("/auth/admin/organizations/acme").says(http.StatusOK, "").holds(`<a href="`+at+`/overview"`, `<a href="`+at+`/audit"`)
		page := rooted.load(at+"/overview").says(http.StatusOK, "").shows("You act in the organization", "The acme", "otto")
		page.holds(`<a href="`+at+"/users/"+otto+`"`, `<a href="`+at+`/overview" aria-current="page"`, `<a href="`+at+`/audit"`)
		own := ada.load("/auth/admin").says(http.StatusOK, "").shows("otto")
		for _, chart := range []string{"Sign-ins", "Accounts locked", "Failed sign-ins"} {
			if there, here := page.chartTotal(chart), own.chartTotal(chart); there != here || here == 0 {
				t.Errorf("%s: root counts %d, ada %d", chart, there, here)
			}
		}

		// The log, its filters and what is on the next page.
		rooted.load("/auth/admin/audit?action=user.create").says(http.StatusOK, "").hides(otto, adaID)
		log := rooted.load(at+"/audit").says(http.StatusOK, "").shows("You act in the organization", otto).hides("zoe")
		log.holds(`action="`+at+`/audit"`, `<a href="`+at+`/audit" aria-current="page"`, `<a href="`+at+"/users/"+otto+`"`, `href="`+at+`/audit?request_id=`)
		log = rooted.load(at+"/audit?action=user.create&target="+otto).says(http.StatusOK, "").shows("root", otto).hides(adaID)
		file := rooted.load(html.UnescapeString(regexp.MustCompile(`href="([^"]*audit\.csv[^"]*)"`).FindStringSubmatch(log.body)[1])).want(http.StatusOK)
		rows, err := csv.NewReader(strings.NewReader(file.body)).ReadAll()
		if err != nil || len(rows) != 2 || rows[1][2] != "user.create" || rows[1][7] != otto || rows[1][8] != "acme" || !strings.HasPrefix(file.header.Get("Content-Type"), "text/csv") {
			t.Errorf("the file holds %q, error %v", file.body, err)
		}
		whole := rooted.load(at + "/audit.csv").want(http.StatusOK)
		if rows, err = csv.NewReader(strings.NewReader(whole.body)).ReadAll(); err != nil || len(rows) < 10 {
			t.Errorf("the file has %d rows, error %v", len(rows), err)
		}
		for _, row := range rows[1:] {
			if row[8] != "acme" && row[8] != "" {
				t.Errorf("in the file of acme stands %q", row)
			}
		}
		if theirs := ada.load("/auth/admin/in/acme/audit.csv").want(http.StatusOK); strings.Count(theirs.body, "\r\n") < 10 || strings.Contains(theirs.body, "zeta") {
			t.Errorf("ada's file holds %q", theirs.body)
		}
		rooted.load(at + "/audit?from=x").want(http.StatusBadRequest).holds(`<a href="` + at + `/audit"`)
		rooted.load(at + "/audit.csv?frm=2020-01-01").want(http.StatusBadRequest)

		// To an admin their own organization is the same by its name, and there is no other; who is no admin sees none.
		otto2 := d.browser(t)
		d.clock.advance(time.Hour) // the lock is over
		ada = d.signedIn(t, "ada", "password of ada")
		otto2.submit(otto2.load("/auth/login"), fieldsOf("username", "otto", "password", "password of otto")).want(http.StatusSeeOther)
		for _, rest := range []string{"/overview", "/audit", "/audit.csv"} {
			ada.load(at + rest).want(http.StatusOK).hides("You act in the organization")
			for _, org := range []string{"default", "zeta", "none"} {
				ada.load("/auth/admin/in/"+org+rest).says(http.StatusNotFound, "Organization not found.").hides("zoe")
			}
			otto2.load(at+rest).says(http.StatusForbidden, "You may not do that.")
			rooted.load("/auth/admin/in/none"+rest).says(http.StatusNotFound, "Organization not found.")
		}
	})
}

package app

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"doorward"
)

// made makes a user of default and signs them in with a browser.
func (d *door) made(t *testing.T, root, username, role string) (id string, b *browser) {
	t.Helper()
	id, _, _ = d.newUser(root, username, role)
	return id, d.signedIn(t, username, "password of "+username)
}

// lacks fails the test if the page holds one of texts, as people or browsers read them.
func (a answer) lacks(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, html.EscapeString(text)) {
			a.t.Errorf("%s: %q stands in %s", a.what, text, a.body)
		}
	}
	return a
}

// saved fails the test unless the answer leads to a page that says done.
func (b *browser) saved(a answer, done string) answer {
	b.d.t.Helper()
	page := b.follow(a).says(http.StatusOK, "").shows(done)
	if !strings.Contains(page.body, `<p class="done" role="status">`+html.EscapeString(done)) {
		b.d.t.Errorf("%s: the page does not say %q", page.what, done)
	}
	return page
}

// asks loads a question from a link of the page, and answers it yes.
func (b *browser) asks(page answer, at string, will ...string) answer {
	b.d.t.Helper()
	if !strings.Contains(page.body, `<a href="`+html.EscapeString(at)+`"`) {
		b.d.t.Fatalf("%s: no link to %s in %s", page.what, at, page.body)
	}
	return b.press(b.load(at).says(http.StatusOK, "").shows(will...), at, url.Values{})
}

const usersAt = "/auth/admin/in/default/users"

// TestUsersPages: an admin makes, finds, changes, disables, lets in again and deletes a user, by the pages alone.
func TestUsersPages(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "lockout.attempts=2")
		root := d.setUp()
		_, b := d.made(t, root, "boss", "admin")
		d.keepsQuiet()
		b.load("/auth/account").says(http.StatusOK, "").shows("Administration")
		if to := b.load("/auth/admin/users").sentTo(); to != usersAt {
			t.Errorf("sent to %s", to)
		}
		list := b.load(usersAt).says(http.StatusOK, "").shows("boss", "root", "superadmin", "Make a user")
		list.lacks("Organizations", "You act in the organization")

		// Made with a link, which is shown once.
		form := b.load(usersAt+"/new").says(http.StatusOK, "").shows("viewer", "editor", "admin").lacks("<option>superadmin")
		fields := func(username, role, how, password string) url.Values {
			return fieldsOf("username", username, "role", role, "how", how, "password", password, "in-default", "on")
		}
		b.press(form, usersAt, fields("no name", "viewer", "invite", "")).says(http.StatusBadRequest, "The username must have 1 to 64 of ASCII letters, digits and ._@+-.").shows(`no name`)
		b.press(form, usersAt, fields("root", "viewer", "invite", "")).says(http.StatusConflict, "Username root is taken.")
		b.press(form, usersAt, fields("anna", "viewer", "password", "short")).says(http.StatusBadRequest, "The password must have at least 8 characters.").lacks(`value="short"`)
		b.press(form, usersAt, fields("anna", "viewer", "magic", "")).says(http.StatusBadRequest, "The form does not say how the user gets a password.")
		b.press(form, usersAt, fields("anna", "superadmin", "invite", "")).says(http.StatusForbidden, "You may not do that.")
		b.press(form, usersAt, fieldsOf("username", "anna", "role", "viewer", "how", "invite", "in-lab", "on")).
			says(http.StatusBadRequest, "There is no workspace of that name that you could give.")
		shown := b.press(form, usersAt, fields("anna", "viewer", "invite", "")).says(http.StatusOK, "").shows("Give them this link", "This is the only time")
		code := codeIn(shown, shown.body)
		d.accept(code, chosen).want(http.StatusOK)
		anna := d.knownID(t, "anna")
		at := usersAt + "/" + anna

		// Made with a password that somebody chose for them.
		page := b.saved(b.press(form, usersAt, fields("bert", "editor", "password", "chosen for bert")), "The account is made.").shows("bert", "must change the password")
		if to := d.signedIn(t, "bert", "chosen for bert").load("/auth/account").sentTo(); !strings.HasPrefix(to, "/auth/password") {
			t.Errorf("bert is sent to %s", to)
		}
		_ = page

		// Found by a part of the name.
		b.load(usersAt+"?search=NN").says(http.StatusOK, "").shows("anna").lacks("bert")
		b.load(usersAt+"?search="+url.QueryEscape("<script>")).says(http.StatusOK, "").shows("Nothing is called like that.").lacks("bert")
		b.load(usersAt+"?after=%25").says(http.StatusBadRequest, "After: is not where a page begins.")

		// Changed, in two tabs.
		page = b.load(at).says(http.StatusOK, "").shows("viewer", "Delete the account")
		version := page.hidden("version")
		change := func(role string) answer {
			return b.press(page, at, fieldsOf("version", version, "role", role, "in-default", "on"))
		}
		b.saved(change("editor"), "The account is changed, and its sessions have ended.").shows("editor")
		change("admin").says(http.StatusConflict, "Anna was changed meanwhile; look at the account again.").shows("Go back")
		b.press(page, at, fieldsOf("role", "editor", "in-default", "on")).says(http.StatusBadRequest, "The form does not say which state of the account it is about.")
		page = b.load(at)
		b.press(page, at, fieldsOf("version", page.hidden("version"), "role", "editor")).says(http.StatusBadRequest, "The list of workspaces must name at least one.")
		b.press(page, at, fieldsOf("version", page.hidden("version"), "role", "superadmin", "in-default", "on")).says(http.StatusForbidden, "You may not do that.")

		// Locked, and unlocked from the list.
		d.guess("anna", 2)
		list = b.load(usersAt).shows("locked")
		b.saved(b.press(list, at+"/unlock", url.Values{}), "The account is unlocked.")
		b.load(usersAt).lacks("locked")

		// Sessions: one, and all.
		one, two := d.signedIn(t, "anna", chosen), d.signedIn(t, "anna", chosen)
		key := keyOnPage(t, one.send("POST", "/auth/account/keys", "same-origin", fieldsOf("name", "ci", "role", "viewer", "workspace", "default", "life", "")))
		page = b.load(at).shows("Sessions", "ci")
		ends := page.actions("/sessions/")
		if len(ends) != 2 {
			t.Fatalf("the page ends %v", ends)
		}
		b.saved(b.press(page, ends[0], url.Values{}), "The session has ended.")
		gone := 0
		for _, who := range []*browser{one, two} {
			if who.load("/auth/account").status == http.StatusSeeOther {
				gone++
			}
		}
		if gone != 1 {
			t.Errorf("%d sessions have ended, want 1", gone)
		}
		d.exchange(key, "app")
		b.saved(b.asks(b.load(at), at+"/end-sessions", "End all sessions of anna?", "This ends 2 sessions"), "The sessions have ended.")
		one.load("/auth/account").want(http.StatusSeeOther)
		two.load("/auth/account").want(http.StatusSeeOther)
		b.load(at).shows("There is none.")

		// A link for who has forgotten the password.
		shown = b.press(b.load(at), at+"/invite", url.Values{}).says(http.StatusOK, "").shows("Give them this link")
		second := codeIn(shown, shown.body)
		b.load(at).shows("Invite link good until", "A new link makes the one before void.")

		// More than a page shows at once.
		for i := range 20 {
			d.login("anna", chosen).want(http.StatusOK)
			one = d.signedIn(t, "anna", chosen)
			one.send("POST", "/auth/account/keys", "same-origin", fieldsOf("name", fmt.Sprintf("further %02d", i), "role", "viewer", "workspace", "default", "life", "")).want(http.StatusOK)
		}
		pages := map[string]int{}
		page = b.load(at)
		for _, m := range regexp.MustCompile(`<a href="([^"]+)">There are more`).FindAllStringSubmatch(page.body, -1) {
			next := b.load(html.UnescapeString(m[1])).says(http.StatusOK, "")
			pages["sessions"] += len(next.actions("/sessions/"))
			pages["keys"] += len(next.actions("/keys/"))
		}
		if pages["sessions"] != 30 || pages["keys"] != 21 { // each link turns over one of the two
			t.Errorf("the pages behind hold %v", pages)
		}
		b.asks(b.load(at), at+"/end-sessions", "This ends 40 sessions").want(http.StatusSeeOther)
		for _, id := range d.listed(bearer(d.rootToken()), "/api/auth/keys?search=further", "keys", "id") {
			d.do("DELETE", "/api/auth/keys/"+id, bearer(d.rootToken())).want(http.StatusNoContent)
		}

		// Disabled, which asks once, and enabled.
		one = d.signedIn(t, "anna", chosen)
		page = b.saved(b.asks(b.load(at), at+"/disable", "Disable anna?", "This ends 1 session at once. Their API keys (1 key now) do not work while the account is disabled"), "The account is disabled, and its sessions have ended.")
		one.load("/auth/account").want(http.StatusSeeOther)
		d.do("GET", "/api/pipelines", bearer(key)).want(http.StatusUnauthorized)
		d.accept(second, chosen).refused(http.StatusUnauthorized, "invalid token")
		b.send("POST", at+"/invite", "same-origin", url.Values{}).says(http.StatusConflict, "Anna is disabled; enable the account first.")
		b.saved(b.press(page, at+"/enable", url.Values{}), "The account is enabled.").lacks("Enable the account")
		d.do("GET", "/api/pipelines", bearer(key)).want(http.StatusOK)

		// Deleted, which asks once and says what goes; again there is nobody.
		d.signedIn(t, "anna", chosen)
		b.saved(b.asks(b.load(at), at+"/delete", "Delete anna?", "This ends 1 session and revokes 1 API key."), "The account is deleted.").lacks("anna")
		d.do("GET", "/api/pipelines", bearer(key)).want(http.StatusUnauthorized)
		for _, method := range []string{"GET", "POST"} {
			b.send(method, at+"/delete", "same-origin", url.Values{}).says(http.StatusNotFound, "User not found.").shows("Go back")
		}
		b.load(at).says(http.StatusNotFound, "User not found.")

		// Whoever is above is looked at, and nothing else.
		chief := d.knownID(t, "root")
		chiefAt := usersAt + "/" + chief
		b.load(chiefAt).says(http.StatusOK, "").shows("superadmin", "You may look at this account and not change it").lacks("Delete the account", "Disable the account", `name="role"`)
		for _, action := range []string{"/disable", "/delete", "/end-sessions", "/invite", "/unlock", "/enable"} {
			a := b.send("POST", chiefAt+action, "same-origin", url.Values{})
			if a.status != http.StatusForbidden && a.status != http.StatusNotFound {
				a.want(http.StatusForbidden)
			}
		}
		for _, question := range []string{"/disable", "/delete", "/end-sessions"} {
			b.load(chiefAt+question).says(http.StatusForbidden, "You may not do that.")
		}
	})
}

// knownID finds a user by the list.
func (d *door) knownID(t *testing.T, username string) string {
	t.Helper()
	return d.listed(bearer(d.rootToken()), "/api/auth/users?search="+username, "users", "id")[0]
}

// TestTheLastOneStays: the last of the highest rank, by the pages: 409 in words; and what is said to who does it to themselves.
func TestTheLastOneStays(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.setUp()
	b, id := d.signedIn(t, "root", rootPassword), d.knownID(t, "root")
	at := usersAt + "/" + id
	page := b.load(at).says(http.StatusOK, "").shows("Organizations", "Make a link to choose a password")
	const last = "The last enabled superadmin cannot be removed, disabled or demoted."
	b.asks(page, at+"/disable", "This is your own account: you will be signed out.").says(http.StatusConflict, last).shows("Go back")
	b.asks(page, at+"/delete", "This is your own account").says(http.StatusConflict, last)
	b.press(page, at, fieldsOf("version", page.hidden("version"), "role", "admin", "in-default", "on")).says(http.StatusConflict, last)
	b.saved(b.asks(page, at+"/end-sessions", "the session that you are in stays"), "The sessions have ended.")
}

// TestKeysPage: the keys of everybody in the admin's workspaces, and those of a workspace.
func TestKeysPage(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		_, b := d.made(t, root, "boss", "admin")
		_, anna := d.made(t, root, "anna", "editor")
		theirs := keyOnPage(t, anna.send("POST", "/auth/account/keys", "same-origin", fieldsOf("name", "<i>anna's</i>", "role", "viewer", "workspace", "default", "life", "")))
		d.newKey(root, "superadmin", `"service":true`)
		const at = "/auth/admin/in/default/keys"
		page := b.load(at).says(http.StatusOK, "").shows("<i>anna's</i>", "anna", "the workspace", "superadmin").lacks("<option>superadmin")
		if n := len(page.actions("/rotate")); n != 1 {
			t.Errorf("%d keys are offered to be rotated, want anna's alone", n)
		}
		b.press(page, at, fieldsOf("name", "", "role", "viewer", "workspace", "default", "life", "")).want(http.StatusBadRequest).shows("The name")
		b.press(page, at, fieldsOf("name", "x", "role", "superadmin", "workspace", "default", "life", "")).says(http.StatusForbidden, "You may not do that.")
		b.press(page, at, fieldsOf("name", "x", "role", "viewer", "workspace", "lab", "life", "")).says(http.StatusBadRequest, "There is no workspace of that name that you could give.")
		shown := b.press(page, at, fieldsOf("name", "deploy", "role", "editor", "workspace", "default", "life", "7d")).says(http.StatusOK, "").shows("This is the only time")
		key := keyOnPage(t, shown)
		if got := d.me(key).want(http.StatusOK).str("kind"); got != "key" {
			t.Errorf("kind %s", got)
		}
		page = b.load(at+"?search=dep").says(http.StatusOK, "").shows("deploy").lacks("anna's")
		rotated := keyOnPage(t, b.press(page, page.actions("/rotate")[0], url.Values{}).says(http.StatusOK, "").shows("lives on until"))
		d.me(rotated).want(http.StatusOK)
		page = b.load(at + "?search=" + url.QueryEscape("<i>"))
		question := regexp.MustCompile(`href="(` + at + `/key_[a-z0-9]+/revoke)"`).FindStringSubmatch(page.body)[1]
		b.saved(b.asks(page, question, "Revoke the key <i>anna's</i>?", "It is a key of anna."), "The key is revoked, and what was begun with it has ended.")
		d.me(theirs).want(http.StatusUnauthorized)
		b.load(question).says(http.StatusNotFound, "Key not found.")
	})
}

// TestWorkspacePages: made, renamed, filled, emptied and deleted.
func TestWorkspacePages(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		_, b := d.made(t, root, "boss", "admin")
		anna, _ := d.made(t, root, "anna", "editor")
		const at = "/auth/admin/in/default/workspaces"
		page := b.load(at).says(http.StatusOK, "").shows("default", "You become its member, which ends your sessions")
		b.press(page, at, fieldsOf("id", "NO", "name", "")).says(http.StatusBadRequest, "The id must have 1 to 63 of a-z, 0-9 and -.")
		b.press(page, at, fieldsOf("id", "default", "name", "")).want(http.StatusConflict)
		made := b.press(page, at, fieldsOf("id", "lab", "name", "<b>The Lab</b>"))
		login := b.follow(made) // the session has ended, as the page has said
		b = d.signedIn(t, "boss", "password of boss")
		if to := login.sentTo(); !strings.HasPrefix(to, "/auth/login?next=") {
			t.Errorf("sent to %s", to)
		}
		b.load(made.sentTo()).says(http.StatusOK, "").shows("The workspace is made.", "<b>The Lab</b>")
		b.load(at+"?search=lab").says(http.StatusOK, "").shows("<b>The Lab</b>").lacks(`>default<`)
		lab := at + "/lab"
		page = b.load(lab).says(http.StatusOK, "").shows("boss", "Add a member")
		b.press(page, lab+"/members", fieldsOf("username", "nobody")).says(http.StatusNotFound, "User not found.").shows("Go back")
		b.press(page, lab+"/members", fieldsOf("username", "root")).says(http.StatusForbidden, "You may not do that.")
		page = b.saved(b.press(page, lab+"/members", fieldsOf("username", "ANNA")), "The member is added.").shows("anna")
		b.saved(b.press(page, lab, fieldsOf("name", "Labs")), "The workspace has another name now.").shows("Labs")
		b.press(page, lab, fieldsOf("name", " ")).says(http.StatusBadRequest, "The name must have 1 to 128 visible characters.")
		b.asks(page, lab+"/delete", "Delete the workspace Labs?", "you will have to sign in again").says(http.StatusConflict, "Workspace lab cannot be deleted: 1 person is in it.")
		d.signedIn(t, "anna", "password of anna")
		page = b.saved(b.asks(page, lab+"/members/"+anna+"/remove", "Take anna out of the workspace Labs?", "This ends 1 session of anna"), "The member is removed.").lacks("anna")
		b.send("POST", lab+"/members/"+anna+"/remove", "same-origin", url.Values{}).says(http.StatusNotFound, "Member not found.")
		b.asks(page, lab+"/delete").want(http.StatusSeeOther)
		b = d.signedIn(t, "boss", "password of boss")
		b.load(lab).says(http.StatusNotFound, "Workspace not found.")
		b.load(at+"/default").says(http.StatusOK, "").lacks("Delete the workspace")
		b.send("POST", at+"/default/delete", "same-origin", url.Values{}).says(http.StatusConflict, "Workspace default cannot be deleted: there is always one.")

		// One that others made is looked at.
		d.orgs(bearer(d.rootToken()), map[string][]string{doorward.Default: {"annex"}})
		b.load(at+"/annex").says(http.StatusOK, "").shows("You are no member of this workspace").lacks("Add a member", "Delete the workspace")
		b.load(at+"/annex/delete").says(http.StatusForbidden, "You may not do that.")
	})
}

// TestOrganizationPages: a superadmin makes one, fills it on its own pages, and cannot act in another by mistake.
func TestOrganizationPages(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		d.setUp()
		b := d.signedIn(t, "root", rootPassword)
		const at = "/auth/admin/organizations"
		page := b.load(at).says(http.StatusOK, "").shows("default", "Make an organization")
		b.press(page, at, fieldsOf("id", "-A", "name", "x")).want(http.StatusBadRequest)
		page = b.saved(b.press(page, at, fieldsOf("id", "acme", "name", "<u>Acme</u>")), "The organization is made.").shows("<u>Acme</u>", "Its users")
		b.saved(b.press(page, at+"/acme", fieldsOf("name", "Acme Ltd")), "The organization has another name now.").shows("Acme Ltd")
		b.load(at+"?search=ltd").says(http.StatusOK, "").shows("Acme Ltd")

		const in = "/auth/admin/in/acme"
		list := b.load(in+"/users").says(http.StatusOK, "").shows("You act in the organization", "Acme Ltd", "Back to your own", "There is nothing here yet.").lacks(">root</a>")
		if !strings.Contains(list.body, `href="`+in+`/users/new"`) || strings.Contains(strings.ReplaceAll(list.body, `<a href="`+usersAt+`">Back`, ""), "/in/default/") {
			t.Errorf("the page leads out of acme: %s", list.body)
		}
		form := b.load(in+"/users/new").says(http.StatusOK, "")
		b.press(form, in+"/users", fieldsOf("username", "zoe", "role", "admin", "how", "password", "password", "password of zoe", "in-default", "on")).want(http.StatusSeeOther)
		zoe := d.knownIn(t, "zoe", "acme")
		b.load(usersAt).says(http.StatusOK, "").lacks("zoe")
		// A user is found in their own organization alone, also by who may go everywhere.
		b.load(usersAt+"/"+zoe).says(http.StatusNotFound, "User not found.")
		for _, rest := range []string{"", "/disable", "/delete", "/invite", "/unlock", "/end-sessions"} {
			b.send("POST", usersAt+"/"+zoe+rest, "same-origin", fieldsOf("version", "0", "role", "viewer", "in-default", "on")).says(http.StatusNotFound, "User not found.")
		}
		// A header that a program would pick with changes nothing.
		for _, org := range []string{"default", "acme"} {
			d.do("GET", in+"/users", bearer(d.rootToken()), inOrg(org), navigation("none")).says(http.StatusOK, "").shows("zoe")
		}
		b.load("/auth/admin/in/none/users").says(http.StatusNotFound, "Organization not found.")
		b.load("/auth/admin/in/ACME/users").says(http.StatusNotFound, "Organization not found.")
		b.load(at+"/none").says(http.StatusNotFound, "Organization not found.")
		shown := b.press(b.load(in+"/keys").says(http.StatusOK, ""), in+"/keys", fieldsOf("name", "k", "role", "viewer", "workspace", "default", "life", "")).says(http.StatusOK, "")
		if org := d.me(keyOnPage(t, shown)).want(http.StatusOK).str("org_id"); org != "acme" {
			t.Errorf("the key is of %s", org)
		}
		b.saved(b.press(b.load(in+"/workspaces"), in+"/workspaces", fieldsOf("id", "lab", "name", "")), "The workspace is made.").shows("lab")
		page = b.load(at + "/acme")
		b.asks(page, at+"/acme/delete", "Delete the organization Acme Ltd?").says(http.StatusConflict, "Organization acme cannot be deleted: 1 person and 1 API key are in it.")
		keys := b.load(in + "/keys")
		b.asks(keys, regexp.MustCompile(`href="([^"]*/revoke)"`).FindStringSubmatch(keys.body)[1]).want(http.StatusSeeOther)
		b.asks(b.load(in+"/users/"+zoe), in+"/users/"+zoe+"/delete").want(http.StatusSeeOther)
		b.saved(b.asks(page, at+"/acme/delete"), "The organization is deleted.").lacks("Acme Ltd")
		b.load(at + "/default").lacks("Delete the organization")
	})
}

// knownIn finds a user of an organization by the list.
func (d *door) knownIn(t *testing.T, username, org string) string {
	t.Helper()
	return d.listed(bearer(d.rootToken()), "/api/auth/users?search="+username, "users", "id", inOrg(org))[0]
}

// peoplePages are all pages of administration of an organization that GET shows, for a user, a workspace and a key.
func peoplePages(org, user, workspace, key string) []string {
	at := "/auth/admin/in/" + org
	return []string{
		at + "/users", at + "/users?search=a", at + "/users/new", at + "/users/" + user, at + "/users/" + user + "/disable", at + "/users/" + user + "/delete",
		at + "/users/" + user + "/end-sessions", at + "/keys", at + "/keys/" + key + "/revoke", at + "/workspaces", at + "/workspaces/" + workspace,
		at + "/workspaces/" + workspace + "/delete", at + "/workspaces/" + workspace + "/members/" + user + "/remove",
		at + "/sessions", at + "/sessions?search=a",
	}
}

// TestRT7PagesOfAnotherOrganization: an admin of one sees nothing of another, not even that it is there.
func TestRT7PagesOfAnotherOrganization(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{"acme": {"lab"}, "zeta": {"den"}})
		d.newMember(root, "ann", "admin", "acme", "default", "lab")
		zoe, _ := d.newMember(root, "zoe", "editor", "zeta", "den")
		key := d.do("POST", "/api/auth/keys", root, inOrg("zeta"), jsonBody(`{"name":"zeta's","role":"viewer","workspace":"den","service":true}`)).want(http.StatusCreated).str("id")
		b := d.signedIn(t, "ann", "password of ann")
		for _, org := range []string{"zeta", "none", "%2e%2e"} {
			for _, page := range peoplePages(org, zoe, "den", key) {
				a := b.load(page)
				if org != "%2e%2e" {
					a.says(http.StatusNotFound, "Organization not found.").lacks("zoe", "The zeta")
				} else if a.status == http.StatusOK {
					t.Errorf("%s is shown", page)
				}
			}
		}
		for _, page := range peoplePages("acme", zoe, "den", key)[3:] {
			if a := b.load(page); strings.Contains(page, zoe) || strings.Contains(page, "den") || strings.Contains(page, key) {
				a.want(http.StatusNotFound).lacks(">zoe<", "zeta's")
			}
		}
		b.load("/auth/admin/in/acme/users?search=zoe").says(http.StatusOK, "").shows("Nothing is called like that.")
		b.send("POST", "/auth/admin/in/zeta/users", "same-origin", fieldsOf("username", "eve", "role", "admin", "how", "invite", "in-default", "on")).says(http.StatusNotFound, "Organization not found.")
		b.send("POST", "/auth/admin/in/acme/workspaces/lab/members", "same-origin", fieldsOf("username", "zoe")).says(http.StatusNotFound, "User not found.")
		// The headers that choose for programs choose nothing here.
		d.do("GET", "/auth/admin/in/zeta/users", bearer(d.tokenOf("ann")), inOrg("zeta"), navigation("none")).want(http.StatusForbidden)
		b.load("/auth/admin/organizations").says(http.StatusForbidden, "You may not do that.")
	})
}

func (d *door) tokenOf(username string) string {
	d.t.Helper()
	token, _ := d.signIn(username, "password of "+username)
	return token
}

// TestRT1PagesForAdminsAlone: everybody else is refused on each page, strangers are led to the sign-in page,
// who must change the password is led there, and other sites drive nothing.
func TestRT1PagesForAdminsAlone(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	bossID, boss := d.made(t, root, "boss", "admin")
	victim, _ := d.made(t, root, "victim", "viewer")
	keyID, _ := d.newKey(root, "viewer", `"service":true`)
	pages := peoplePages("default", victim, "default", keyID)
	for _, role := range []string{"viewer", "editor"} {
		_, b := d.made(t, root, role, role)
		b.load("/auth/account").lacks("Administration")
		for _, page := range append(pages, "/auth/admin/users", "/auth/admin/organizations") {
			b.load(page).says(http.StatusForbidden, "You may not do that.").lacks("victim")
		}
	}
	stranger := d.browser(t)
	for _, page := range pages {
		if to := stranger.load(page).sentTo(); !strings.HasPrefix(to, "/auth/login?next=") {
			t.Errorf("%s: a stranger is sent to %s", page, to)
		}
		d.do("GET", page).refused(http.StatusUnauthorized, "token required")
	}
	// A question answered from another site is not answered, nor any form sent.
	at := usersAt + "/" + victim
	for _, site := range []string{"cross-site", "same-site"} {
		for _, action := range []string{usersAt, at, at + "/disable", at + "/delete", at + "/invite", at + "/end-sessions", "/auth/admin/in/default/keys", "/auth/admin/in/default/keys/" + keyID + "/revoke",
			"/auth/admin/in/default/workspaces", "/auth/admin/in/default/workspaces/default", "/auth/admin/in/default/workspaces/default/members/" + victim + "/remove"} {
			boss.send("POST", action, site, url.Values{}).says(http.StatusForbidden, notFromHere)
		}
	}
	boss.load(at).says(http.StatusOK, "").shows("in order")
	d.resetPassword(bearer(root), bossID, "chosen by another", true).want(http.StatusOK)
	boss = d.signedIn(t, "boss", "chosen by another")
	for _, page := range pages {
		if to := boss.load(page).sentTo(); !strings.HasPrefix(to, "/auth/password?next=") {
			t.Errorf("%s: sent to %s", page, to)
		}
	}
}

// TestAdministrationIsSmallAndReadable: with the longest names there can be no page takes more than 60 KB, and
// each has one heading of the first rank, labels for what is filled in, and headers for its columns.
func TestAdministrationIsSmallAndReadable(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "rate_limits.enabled=false", "lockout.attempts=1")
	root := d.setUp()
	long := strings.Repeat("+", 60)
	var ids []string
	for i := range 45 {
		id := fmt.Sprintf("%s-%02d", strings.Repeat("w", 60), i)
		ids = append(ids, id)
		d.do("POST", "/api/auth/workspaces", bearer(root), jsonOf(map[string]string{"id": id, "name": strings.Repeat("&", 128)})).want(http.StatusCreated)
	}
	var user, key string
	for i := range 45 {
		user = d.do("POST", "/api/auth/users", bearer(root), jsonOf(map[string]any{"username": fmt.Sprintf("%s%02d", long, i), "role": "superadmin", "invite": true, "workspaces": ids})).want(http.StatusCreated).str("id")
		made := d.do("POST", "/api/auth/keys", bearer(root), jsonOf(map[string]any{"name": fmt.Sprintf("%s%02d", strings.Repeat(`"`, 126), i), "role": "superadmin", "service": true, "workspace": ids[0]})).want(http.StatusCreated)
		key = made.str("id")
		d.exchange(made.str("key"), fmt.Sprintf("%s%02d", strings.Repeat("w", 126), i))
		d.guess(fmt.Sprintf("%s%02d", long, i), 1)
	}
	b := d.signedIn(t, "root", rootPassword)
	beside := len(b.load("/auth/style.css").body) + len(b.load("/auth/page.js").body)
	fields := regexp.MustCompile(`<(?:input|select)[^>]* id="([^"]+)"`)
	for _, at := range append(peoplePages("default", user, ids[0], key), "/auth/admin/organizations", "/auth/admin/organizations/default", "/auth/admin/organizations/default/delete", "/auth/account/keys", "/auth/invite") {
		if strings.Contains(at, "default/delete") {
			continue
		}
		page := b.load(at).says(http.StatusOK, "")
		if n := beside + len(page.body); n > 60<<10 {
			t.Errorf("%s takes %d bytes", at, n)
		}
		if n := strings.Count(page.body, "<h1>"); n != 1 {
			t.Errorf("%s has %d headings", at, n)
		}
		for _, m := range fields.FindAllStringSubmatch(page.body, -1) {
			if !strings.Contains(page.body, `<label for="`+m[1]+`">`) {
				t.Errorf("%s: no label for %s", at, m[1])
			}
		}
		if strings.Count(page.body, "<th") != strings.Count(page.body, ` scope="col">`)+strings.Count(page.body, "<thead") {
			t.Errorf("%s: a header without a scope", at)
		}
		ids := map[string]bool{}
		for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
			if ids[m[1]] {
				t.Errorf("%s: id %s stands twice", at, m[1])
			}
			ids[m[1]] = true
		}
		for _, m := range regexp.MustCompile(`aria-(?:describedby|labelledby)="([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
			for id := range strings.FieldsSeq(m[1]) {
				if !ids[id] {
					t.Errorf("%s: there is no %s", at, id)
				}
			}
		}
		if strings.Contains(page.body, " style=") || strings.Contains(page.body, " onclick=") {
			t.Errorf("%s needs what the content policy forbids", at)
		}
	}
	// Page by page all are there, once each.
	seen, next := map[string]int{}, usersAt
	for next != "" {
		page := b.load(next).says(http.StatusOK, "")
		for _, m := range regexp.MustCompile(`href="`+usersAt+`/(usr_[a-z0-9]+)"`).FindAllStringSubmatch(page.body, -1) {
			seen[m[1]]++
		}
		next = ""
		if m := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page.body); m != nil {
			next = html.UnescapeString(m[1])
		}
	}
	if len(seen) != 46 {
		t.Errorf("%d users are listed, want 46", len(seen))
	}
	// So many workspaces are typed rather than ticked.
	b.load(usersAt + "/new").shows("Their ids, with spaces between them.")
	b.send("POST", usersAt, "same-origin", fieldsOf("username", "typed", "role", "viewer", "how", "invite", "workspaces", ids[0]+" "+ids[1])).says(http.StatusOK, "")
	if got := d.do("GET", "/api/auth/users/"+d.knownID(t, "typed"), bearer(d.rootToken())).want(http.StatusOK).field("workspaces").([]any); len(got) != 2 {
		t.Errorf("in %v", got)
	}
}

// TestLeavingAWorkspaceAsksAboutKeys: a change that revokes keys says so on a page of its own, once.
func TestLeavingAWorkspaceAsksAboutKeys(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	d.do("POST", "/api/auth/workspaces", bearer(root), jsonBody(`{"id":"shop"}`)).want(http.StatusCreated)
	id := d.do("POST", "/api/auth/users", bearer(root), jsonBody(`{"username":"anna","password":"password of anna","role":"editor","workspaces":["default","shop"]}`)).want(http.StatusCreated).str("id")
	token, _ := d.signIn("anna", "password of anna")
	key := d.do("POST", "/api/auth/keys", bearer(token), jsonBody(`{"name":"till","role":"viewer","workspace":"shop"}`)).want(http.StatusCreated).str("key")
	b := d.signedIn(t, "root", rootPassword)
	at := "/auth/admin/in/default/users/" + id
	page := b.load(at).says(http.StatusOK, "")
	fields := fieldsOf("version", page.hidden("version"), "role", "editor", "in-default", "on")
	asked := b.press(page, at, fields).says(http.StatusOK, "").shows("Take workspaces away?", "The user has an API key in workspaces that they leave.")
	d.do("GET", "/api/pipelines", apiKey(key)).want(http.StatusOK)
	sure := url.Values{}
	for _, name := range []string{"version", "role", "workspaces", "confirmed"} {
		sure.Set(name, asked.hidden(name))
	}
	b.press(asked, at, sure).want(http.StatusSeeOther)
	d.do("GET", "/api/pipelines", apiKey(key)).want(http.StatusUnauthorized)
	// With nothing to lose nothing is asked.
	page = b.load(at)
	b.press(page, at, fieldsOf("version", page.hidden("version"), "role", "viewer", "in-default", "on")).want(http.StatusSeeOther)
	b.press(b.load("/auth/admin/in/default/users/new"), "/auth/admin/in/default/users", fieldsOf("username", "bert", "role", "viewer", "how", "invite")).says(http.StatusBadRequest, "The list of workspaces must name at least one.")
}

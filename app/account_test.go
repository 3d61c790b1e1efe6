package app

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// signedIn is a browser in which somebody has signed in by the form.
func (d *door) signedIn(t *testing.T, username, password string) *browser {
	t.Helper()
	b := d.browser(t)
	b.submit(b.load("/auth/login"), fieldsOf("username", username, "password", password)).want(http.StatusSeeOther)
	return b
}

// press sends the form of a page that posts to action, as its button does.
func (b *browser) press(page answer, action string, fields url.Values) answer {
	b.d.t.Helper()
	if !strings.Contains(page.body, `<form method="post" action="`+html.EscapeString(action)+`">`) {
		b.d.t.Fatalf("%s: no form posts to %s in %s", page.what, action, page.body)
	}
	return b.send("POST", action, "same-origin", fields)
}

// shows fails the test unless the page holds each of texts, as people read them.
func (a answer) shows(texts ...string) answer {
	a.t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.body, html.EscapeString(text)) {
			a.t.Errorf("%s: no %q in %s", a.what, text, a.body)
		}
	}
	return a
}

var actionOf = regexp.MustCompile(`action="([^"]*)"`)

// actions are where the forms of a page post to, those that hold part.
func (a answer) actions(part string) []string {
	var all []string
	for _, m := range actionOf.FindAllStringSubmatch(a.body, -1) {
		if strings.Contains(m[1], part) {
			all = append(all, html.UnescapeString(m[1]))
		}
	}
	return all
}

// TestOwnSessionsPage: somebody ends a session that they do not know, all others, and their own.
func TestOwnSessionsPage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	admin := d.setUp()
	d.newUser(admin, "anna", "editor")
	here, there := d.signedIn(t, "anna", "password of anna"), d.signedIn(t, "anna", "password of anna")
	page := here.load("/auth/account/sessions").says(http.StatusOK, "")
	page.shows("this one", "Sign out", "End all others")
	if ends := page.actions("/end"); len(ends) != 4 { // newUser signed in as well
		t.Fatalf("the page ends %v", ends)
	}
	here.press(page, "/auth/account/sessions/end-others", url.Values{}).want(http.StatusSeeOther)
	there.load("/auth/account").want(http.StatusSeeOther) // to the sign-in page
	page = here.load("/auth/account/sessions?done=sessions-ended").shows("All your other sessions have ended.")
	ends := page.actions("/end")
	if len(ends) != 1 {
		t.Fatalf("the page ends %v", ends)
	}
	if to := here.press(page, ends[0], url.Values{}).sentTo(); to != "/auth/login" {
		t.Errorf("after the own session has ended the browser is sent to %s", to)
	}
	here.load("/auth/account").want(http.StatusSeeOther)

	// Of others' sessions nobody hears, and nobody ends them.
	here = d.signedIn(t, "anna", "password of anna")
	sessions := d.do("GET", "/api/auth/sessions", bearer(admin)).want(http.StatusOK)
	others := sessions.field("sessions").([]any)[0].(map[string]any)["id"].(string)
	here.send("POST", "/auth/account/sessions/"+others+"/end", "same-origin", url.Values{}).says(http.StatusNotFound, "Session not found.")
	d.do("GET", "/api/auth/me", bearer(admin)).want(http.StatusOK)
}

// TestOwnKeysPage: a key is made, shown once, used, rotated and revoked, without any script.
func TestOwnKeysPage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.newUser(d.setUp(), "anna", "editor")
	b := d.signedIn(t, "anna", "password of anna")
	page := b.load("/auth/account/keys").says(http.StatusOK, "").shows("You have none yet.")
	if strings.Contains(page.body, "<option>admin") {
		t.Error("an editor is offered the role admin")
	}
	b.press(page, "/auth/account/keys", fieldsOf("name", "", "role", "editor", "workspace", "default", "life", "")).want(http.StatusBadRequest).shows("The name")
	shown := b.press(page, "/auth/account/keys", fieldsOf("name", "<b>ci</b>", "role", "viewer", "workspace", "default", "life", "30d")).says(http.StatusOK, "")
	shown.shows("<b>ci</b>", "This is the only time")
	key := keyOnPage(t, shown)
	d.do("GET", "/api/pipelines", bearer(key)).want(http.StatusOK)
	d.do("POST", "/api/pipelines", bearer(key), jsonBody(`{"name":"x","steps":[]}`)).want(http.StatusForbidden)
	page = b.load("/auth/account/keys").says(http.StatusOK, "").shows("<b>ci</b>", "viewer")
	if strings.Contains(page.body, key) {
		t.Error("the list shows the key")
	}
	rotated := b.press(page, page.actions("/rotate")[0], url.Values{}).says(http.StatusOK, "").shows("lives on until")
	next := keyOnPage(t, rotated)
	d.do("GET", "/api/pipelines", bearer(next)).want(http.StatusOK)
	d.do("GET", "/api/pipelines", bearer(key)).want(http.StatusOK)
	page = b.load("/auth/account/keys").shows("replaced, lives on until its end")
	for _, ask := range regexp.MustCompile(`href="(/auth/account/keys/key_[a-z0-9]+/revoke)"`).FindAllStringSubmatch(page.body, -1) {
		asked := b.load(ask[1]).says(http.StatusOK, "").shows("Revoke this key?", "dead at once")
		b.press(asked, ask[1], url.Values{}).want(http.StatusSeeOther)
	}
	d.do("GET", "/api/pipelines", bearer(next)).want(http.StatusUnauthorized)
	d.do("GET", "/api/pipelines", bearer(key)).want(http.StatusUnauthorized)
	b.load("/auth/account/keys?done=key-revoked").shows("The key is revoked")
	b.load("/auth/account/keys?done=%3Cb%3E").says(http.StatusOK, "")
	b.send("POST", "/auth/account/keys/key_nothing/revoke", "same-origin", url.Values{}).says(http.StatusNotFound, "Key not found.")
}

func keyOnPage(t *testing.T, page answer) string {
	t.Helper()
	m := regexp.MustCompile(`id="key" tabindex="0">(brk_[0-9a-f]+)<`).FindStringSubmatch(page.body)
	if m == nil {
		t.Fatalf("%s shows no key: %s", page.what, page.body)
	}
	return m[1]
}

// TestAccountPages: who somebody is, what was done, and that nobody else gets here.
func TestAccountPages(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	admin := d.setUp()
	id, token, _ := d.newUser(admin, "anna", "editor")
	d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("anna", "wrong"))).want(http.StatusUnauthorized)
	b := d.signedIn(t, "anna", "password of anna")
	b.load("/auth/account").says(http.StatusOK, "").shows("anna", "editor", "default", "Signed in", "Sign-in failed")
	b.load("/auth/account/activity").says(http.StatusOK, "").shows("User created", "root")
	b.load("/auth/account/activity?after=nonsense").says(http.StatusBadRequest, "After: is not where a page begins.")

	// By the JSON contract it is the same, and nobody sees the address of somebody else.
	activity := d.do("GET", "/api/auth/activity", bearer(token)).want(http.StatusOK)
	created := false
	for i := range activity.field("audit").([]any) {
		entry := activity.field("audit").([]any)[i].(map[string]any)
		if entry["action"] == "user.create" {
			created = true
			if entry["actor_name"] != "root" || entry["target"] != id || entry["address"] != "" {
				t.Errorf("the entry is %v", entry)
			}
		}
	}
	if !created {
		t.Errorf("nobody is told who made them: %s", activity.body)
	}
	d.do("GET", "/api/auth/activity?limit=1", bearer(token)).want(http.StatusOK)
	d.do("GET", "/api/auth/activity?limit=0", bearer(token)).refused(http.StatusBadRequest, "limit: must be a number from 1 to 100")

	// Who is not signed in is led to the sign-in page and back; programs get JSON.
	stranger := d.browser(t)
	if to := stranger.load("/auth/account/keys").sentTo(); to != "/auth/login?next=%2Fauth%2Faccount%2Fkeys" {
		t.Errorf("a stranger is sent to %s", to)
	}
	d.do("GET", "/auth/account").refused(http.StatusUnauthorized, "token required")
	// A page of another site can neither frame nor drive these.
	for _, site := range []string{"cross-site", "same-site"} {
		b.send("POST", "/auth/account/sign-out", site, url.Values{}).want(http.StatusForbidden)
	}
	b.load("/auth/account").says(http.StatusOK, "")
	out := b.load("/auth/account")
	if to := b.press(out, "/auth/account/sign-out", url.Values{}).sentTo(); to != "/auth/login" {
		t.Errorf("signing out leads to %s", to)
	}
	b.load("/auth/account").want(http.StatusSeeOther)
}

// TestOwnPagesWait: who must change the password is led there from every page, and may sign out.
func TestOwnPagesWait(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	admin := d.setUp()
	id, _, _ := d.newUser(admin, "anna", "editor")
	d.do("POST", "/api/auth/admin-reset-password", bearer(admin), jsonBody(`{"user_id":"`+id+`","new_password":"chosen by another","must_change":true}`)).want(http.StatusOK)
	b := d.signedIn(t, "anna", "chosen by another")
	for _, at := range []string{"/auth/account", "/auth/account/keys", "/auth/account/sessions", "/auth/account/activity"} {
		if to := b.load(at).sentTo(); to != "/auth/password?next="+url.QueryEscape(at) {
			t.Errorf("%s leads to %s", at, to)
		}
	}
	b.send("POST", "/auth/account/sign-out", "same-origin", url.Values{}).want(http.StatusSeeOther)
}

// TestPagesAreSmall: no page takes more than 60 KB, with the stylesheet and the script.
func TestPagesAreSmall(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.newUser(d.setUp(), "anna", "editor")
	b := d.signedIn(t, "anna", "password of anna")
	for range 60 {
		b.send("POST", "/auth/account/keys", "same-origin", fieldsOf("name", strings.Repeat("n", 128), "role", "viewer", "workspace", "default", "life", "")).want(http.StatusOK)
	}
	beside := len(b.load("/auth/style.css").body) + len(b.load("/auth/page.js").body)
	for _, at := range []string{"/auth/account", "/auth/account/keys", "/auth/account/sessions", "/auth/account/activity"} {
		if n := beside + len(b.load(at).says(http.StatusOK, "").body); n > 60<<10 {
			t.Errorf("%s takes %d bytes", at, n)
		}
	}
}

var hrefOf = regexp.MustCompile(`<a [^>]*href="([^"#]+)"`)

// linksOf are where a page leads.
func linksOf(page answer) []string {
	var all []string
	for _, m := range hrefOf.FindAllStringSubmatch(page.body, -1) {
		all = append(all, html.UnescapeString(m[1]))
	}
	return all
}

package app

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"doorward"
)

const sessionsAt = "/auth/admin/in/default/sessions"

var endOnPage = regexp.MustCompile(`href="(/auth/admin/in/[a-z]+/sessions/([A-Za-z0-9_-]+)/end)"`)

// sessionsOnPages are the ids of the sessions that a page and those behind it list, in their order.
func (b *browser) sessionsOnPages(at string) (ids []string) {
	b.d.t.Helper()
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	for range 1000 {
		page := b.load(at).says(http.StatusOK, "")
		for _, m := range endOnPage.FindAllStringSubmatch(page.body, -1) {
			ids = append(ids, m[2])
		}
		m := next.FindStringSubmatch(page.body)
		if m == nil {
			return ids
		}
		at = html.UnescapeString(m[1])
	}
	b.d.t.Fatalf("%s has no end", at)
	return nil
}

// allSessions are the ids of an organization's sessions, by JSON.
func (d *door) allSessions(by ask, query string, more ...ask) []string {
	d.t.Helper()
	return d.listed(by, "/api/auth/sessions?all=true"+query, "sessions", "id", more...)
}

// TestAllSessions: who looks after an organization sees and ends the sessions that they may end, people's and machines',
// by the page as by JSON; which those are is one rule, and nothing of another organization is among them.
func TestAllSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(http.StatusCreated)
		rootToken, _ := d.signIn("root", rootPassword)
		root := bearer(rootToken)
		d.orgs(root, map[string][]string{doorward.Default: {"lab"}, "acme": {"lab"}})
		id := func(token string) string { return claimsOf(t, token).Session }
		_, boss := d.newMember(root, "boss", "admin", doorward.Default, "lab")
		annaID, anna := d.newMember(root, "anna", "editor", doorward.Default, "lab")
		_, bert := d.newMember(root, "bert", "viewer", doorward.Default, doorward.Default)
		_, both := d.newMember(root, "both", "viewer", doorward.Default, doorward.Default, "lab")
		_, ada := d.newMember(root, "ada", "admin", "acme", doorward.Default, "lab")
		key := func(by ask, body string, more ...ask) string {
			return d.do("POST", "/api/auth/keys", append(more, by, jsonBody(body))...).want(http.StatusCreated).str("key")
		}
		annas, _ := d.exchange(key(bearer(anna), `{"name":"CI","role":"viewer","workspace":"lab"}`), "builds")
		robotKey := key(root, `{"name":"deploy","role":"editor","workspace":"lab","service":true}`)
		robot, robotRefresh := d.exchange(robotKey, "robot")
		high, _ := d.exchange(key(root, `{"name":"high","role":"superadmin","workspace":"lab","service":true}`), "high")
		far, _ := d.exchange(key(root, `{"name":"far","role":"viewer","workspace":"default","service":true}`), "far")
		byToken, _ := d.exchange(machineToken, "script")
		byOperator, _ := d.exchange(machineKey, "ops")
		theirs, _ := d.exchange(key(root, `{"name":"theirs","role":"viewer","workspace":"lab","service":true}`, inOrg("acme")), "theirs")
		rooted := d.signedIn(t, "root", rootPassword)
		byBoss := d.signedIn(t, "boss", "password of boss")
		byAda := d.signedIn(t, "ada", "password of ada")

		// Whoever looks sees what they may end, and that alone.
		bosss := d.allSessions(bearer(boss), "")
		want := []string{id(anna), id(annas), id(boss), id(robot)}
		if len(bosss) != 5 || !slices.Equal(bosss[:2], want[:2]) || !slices.Contains(bosss, id(boss)) || bosss[4] != id(robot) {
			t.Errorf("the admin of lab sees %v, want %v and the browser's own", bosss, want)
		}
		everybody := d.allSessions(root, "")
		for name, token := range map[string]string{
			"root": rootToken, "boss": boss, "anna": anna, "bert": bert, "both": both, "anna's key": annas, "robot": robot, "high": high, "far": far, "token": byToken, "operator": byOperator,
		} {
			if !slices.Contains(everybody, id(token)) {
				t.Errorf("root does not see %s", name)
			}
		}
		if len(everybody) != 13 {
			t.Errorf("root sees %d sessions: %v", len(everybody), everybody)
		}
		acmes := d.allSessions(bearer(ada), "")
		if len(acmes) != 3 || !slices.Contains(acmes, id(ada)) || !slices.Contains(acmes, id(theirs)) {
			t.Errorf("the admin of acme sees %v", acmes)
		}
		for _, one := range acmes {
			if slices.Contains(everybody, one) {
				t.Errorf("%s is in two organizations", one)
			}
		}
		for what, both := range map[string][2][]string{
			"the admin's page":            {byBoss.sessionsOnPages(sessionsAt), bosss},
			"root's page":                 {rooted.sessionsOnPages(sessionsAt), everybody},
			"acme's page":                 {byAda.sessionsOnPages("/auth/admin/in/acme/sessions"), acmes},
			"acme's page, to root":        {rooted.sessionsOnPages("/auth/admin/in/acme/sessions"), acmes},
			"acme by the header":          {d.allSessions(root, "", inOrg("acme")), acmes},
			"root's, by one":              {d.allSessions(root, "&limit=1"), everybody},
			"the admin's, by one":         {d.allSessions(bearer(boss), "&limit=1"), bosss},
			"a search by the admin":       {d.allSessions(bearer(boss), "&search=ROB"), {id(robot)}},
			"a search of another's":       {d.allSessions(bearer(boss), "&search=bert"), nil},
			"a search of a key":           {d.allSessions(root, "&search=deploy"), {id(robot)}},
			"a search of what is nothing": {d.allSessions(root, "&search="+url.QueryEscape("\u202e%")), nil},
		} {
			if !slices.Equal(both[0], both[1]) {
				t.Errorf("%s: %v, want %v", what, both[0], both[1])
			}
		}
		if got := d.allSessions(apiKey(machineKey), ""); !slices.Contains(got, id(byToken)) || !slices.Contains(got, id(bert)) || slices.Contains(got, id(rootToken)) || slices.Contains(got, id(robot)) {
			t.Errorf("the operator's key, which is an admin of workspace default, sees %v", got)
		}

		// What is said of them.
		d.clock.advance(time.Minute)
		robot, robotRefresh = d.refresh(robotRefresh).want(http.StatusOK).str("access_token"), d.refresh(robotRefresh).want(http.StatusOK).str("refresh_token")
		seen := d.clock.now().UTC().Truncate(time.Second)
		whose := d.do("GET", "/api/auth/sessions?all=true&search=robot", root).want(http.StatusOK).field("sessions").([]any)[0].(map[string]any)
		of := whose["whose"].(map[string]any)
		at, err := time.Parse(time.RFC3339, of["last_seen"].(string))
		delete(of, "last_seen")
		if credential, _ := of["credential"].(string); !strings.HasPrefix(credential, "key_") {
			t.Errorf("begun with %s", credential)
		}
		delete(of, "credential")
		if got := fmt.Sprint(of); whose["kind"] != "client" || err != nil || at.Before(seen.Add(-2*time.Second)) || got != "map[credential_name:deploy role:editor subject:robot user_id: username: workspaces:[lab]]" {
			t.Errorf("listed as %v", whose)
		}
		whose = d.do("GET", "/api/auth/sessions?all=true&search=builds", root).want(http.StatusOK).field("sessions").([]any)[0].(map[string]any)
		if of := whose["whose"].(map[string]any); of["user_id"] != annaID || of["username"] != "anna" || of["role"] != "viewer" || of["credential_name"] != "CI" {
			t.Errorf("listed as %v", whose)
		}
		rooted.load(sessionsAt).says(http.StatusOK, "").shows("robot", "API key deploy", "API key CI of anna", "the operator's key", "machine, by an API token", "person, by a sign-in", "bert", "this one", "last seen", "127.0.0.1")
		byBoss.load(sessionsAt).says(http.StatusOK, "").shows("robot", "API key CI of anna").lacks("bert", "the operator's key", ">root<", ">high<", "theirs")
		rooted.load("/auth/admin/in/acme/sessions").says(http.StatusOK, "").shows("You act in the organization", "theirs", "ada").lacks(">robot<", ">bert<")
		rooted.load("/auth/admin").says(http.StatusOK, "").holds(`<a href="` + sessionsAt + `"`)
		rooted.load("/auth/admin/organizations/acme").says(http.StatusOK, "").holds(`<a href="/auth/admin/in/acme/sessions"`)

		// Nobody ends what they do not see, by the page, or by JSON, or in the name of another organization.
		for _, one := range slices.Concat(everybody, acmes) {
			question := sessionsAt + "/" + one + "/end"
			if !slices.Contains(bosss, one) {
				byBoss.load(question).says(http.StatusNotFound, "Session not found.")
				byBoss.send("POST", question, "same-origin", url.Values{}).says(http.StatusNotFound, "Session not found.")
				d.do("DELETE", "/api/auth/sessions/"+one, bearer(boss)).refused(http.StatusNotFound, "session not found")
			}
			if slices.Contains(acmes, one) {
				rooted.load(question).says(http.StatusNotFound, "Session not found.")
				rooted.send("POST", question, "same-origin", url.Values{}).says(http.StatusNotFound, "Session not found.")
				continue
			}
			byAda.load("/auth/admin/in/acme/sessions/"+one+"/end").says(http.StatusNotFound, "Session not found.")
			byAda.send("POST", "/auth/admin/in/acme/sessions/"+one+"/end", "same-origin", url.Values{}).says(http.StatusNotFound, "Session not found.")
			byAda.load(question).says(http.StatusNotFound, "Organization not found.")
			byAda.send("POST", question, "same-origin", url.Values{}).says(http.StatusNotFound, "Organization not found.")
		}
		for _, alive := range []string{rootToken, boss, anna, bert, both, ada, annas, robot, high, far, byToken, byOperator, theirs} {
			d.do("GET", "/auth/validate", bearer(alive)).want(http.StatusOK)
		}
		if left := d.allSessions(root, ""); !slices.Equal(left, everybody) {
			t.Errorf("left are %v of %v", left, everybody)
		}

		// A machine's session ends at once with its tokens, and nothing else does.
		page := byBoss.load(sessionsAt + "?search=robot")
		byBoss.saved(byBoss.asks(page, sessionsAt+"/"+id(robot)+"/end", "End the session of robot?", "begun with the API key deploy, ends at once", "can begin another"), "The session has ended.").lacks(">robot<")
		d.do("GET", "/auth/validate", bearer(robot)).refused(http.StatusUnauthorized, "token blacklisted")
		d.do("GET", "/api/pipelines", bearer(robot)).want(http.StatusUnauthorized)
		d.refresh(robotRefresh).want(http.StatusUnauthorized)
		d.do("GET", "/auth/validate", bearer(annas)).want(http.StatusOK)
		d.exchange(robotKey, "robot")
		byBoss.load(sessionsAt+"/"+id(robot)+"/end").says(http.StatusNotFound, "Session not found.")
		ends := d.do("GET", "/api/auth/audit?action=session.end&target="+id(robot), root).want(http.StatusOK).field("audit").([]any)
		if len(ends) != 1 || ends[0].(map[string]any)["actor_name"] != "boss" {
			t.Errorf("in the log are %v", ends)
		}
		// Each by JSON: that of a token, of the operator's key, and, from another organization, of acme's.
		for _, one := range []string{byToken, byOperator, far} {
			d.do("DELETE", "/api/auth/sessions/"+id(one), root).want(http.StatusNoContent)
			d.do("GET", "/auth/validate", bearer(one)).refused(http.StatusUnauthorized, "token blacklisted")
		}
		page = rooted.load("/auth/admin/in/acme/sessions")
		rooted.saved(rooted.asks(page, "/auth/admin/in/acme/sessions/"+id(theirs)+"/end", "End the session of theirs?"), "The session has ended.")
		d.do("GET", "/auth/validate", bearer(theirs)).refused(http.StatusUnauthorized, "token blacklisted")
		// A person's, and in the end one's own.
		byBoss.saved(byBoss.asks(byBoss.load(sessionsAt), sessionsAt+"/"+id(anna)+"/end", "End the session of anna?", "anna can sign in again"), "The session has ended.")
		d.do("GET", "/auth/validate", bearer(anna)).refused(http.StatusUnauthorized, "token blacklisted")
		page = byBoss.load(sessionsAt + "?search=boss")
		here := regexp.MustCompile(`this one(?s:.*?)` + endOnPage.String()).FindStringSubmatch(page.body)[1]
		if to := byBoss.asks(page, here, "End your own session?", "you will be signed out").sentTo(); to != "/auth/login" {
			t.Errorf("sent to %s", to)
		}
		byBoss.load(sessionsAt).want(http.StatusSeeOther)
		d.restart()
		d.do("GET", "/auth/validate", bearer(byToken)).refused(http.StatusUnauthorized, "token blacklisted")
		d.do("GET", "/auth/validate", bearer(boss)).want(http.StatusOK)
	})
}

// TestAllSessionsAreForAdmins, and what is asked for is read strictly.
func TestAllSessionsAreForAdmins(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	token := d.setUp()
	root := bearer(token)
	id, anna, _ := d.newUser(token, "anna", "editor")
	_, key := d.newKey(token, "editor", `"service":true`)
	client, _ := d.exchange(key, "app")
	for _, by := range []string{anna, key, client} {
		d.do("GET", "/api/auth/sessions?all=true", bearer(by)).refused(http.StatusForbidden, forbidden)
		d.do("GET", "/api/auth/sessions?all=false", bearer(by)).want(http.StatusOK)
	}
	d.do("GET", "/api/auth/sessions?all=true").refused(http.StatusUnauthorized, "token required")
	for query, problem := range map[string]string{
		"all=yes": "all: must be true or false", "all=true&user=" + id: "user: must not be given together with all", "search=a": "search: needs all=true",
		"all=true&after=x": "after: is not where a page begins", "all=true&after=" + strings.Repeat("A", 5000): "after: must be a text of at most 4096 bytes",
		"all=true&limit=0": "limit: must be a number from 1 to 100", "all=true&all=true": "query: must not give a name twice",
	} {
		d.do("GET", "/api/auth/sessions?"+query, root).refused(http.StatusBadRequest, problem)
	}
	// For one's own and a user's nothing is said beside what was.
	for _, query := range []string{"", "?user=" + id} {
		if a := d.do("GET", "/api/auth/sessions"+query, root).want(http.StatusOK); strings.Contains(a.body, "whose") {
			t.Errorf("it says %s", a.body)
		}
	}
	d.do("DELETE", "/api/auth/sessions?all=true", root).refused(http.StatusBadRequest, "query: may hold user")
	b := d.signedIn(t, "root", rootPassword)
	b.load(sessionsAt+"?after=%25").says(http.StatusBadRequest, "After: is not where a page begins.")
	b.load(sessionsAt+"?search="+url.QueryEscape("<b>")).says(http.StatusOK, "").shows("Nothing is called like that.", "<b>")
}

// TestManySessions: page by page and by a search all are there, once each, whatever begins and ends meanwhile.
func TestManySessions(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		d.setUp()
		d.sqlExec(`
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 95)
			INSERT INTO sessions (id, kind, subject, credential, configured, terms, org, workspaces, created, ends, access_until, ended,
				end_reason, prev, head, child, gen, fork, minted, address, user_agent, listed)
			SELECT 'many' || (1000 + n.i), 'client', 'app' || (n.i % 7), 'tok_gone', 0, '', s.org, s.workspaces, s.created, s.ends, s.access_until, 0,
				'', '', '', '', 0, 0, s.created, '', '', 'app' || (n.i % 7)
			FROM n, (SELECT * FROM sessions LIMIT 1) s`)
		b := d.signedIn(t, "root", rootPassword)
		root := bearer(d.rootToken())
		all := b.sessionsOnPages(sessionsAt)
		many := 0
		for _, id := range all {
			if strings.HasPrefix(id, "many") {
				many++
			}
		}
		if unique := slices.Compact(slices.Sorted(slices.Values(all))); many != 95 || len(unique) != len(all) {
			t.Errorf("%d of 95 are listed, %d in all, %d of them different", many, len(all), len(unique))
		}
		if got := d.allSessions(root, "&limit=7"); !slices.Equal(got, all) {
			t.Errorf("JSON lists %v, the pages %v", got, all)
		}
		if got := b.sessionsOnPages(sessionsAt + "?search=APP3"); len(got) != 14 {
			t.Errorf("%d found, want 14: %v", len(got), got)
		}
		if got := d.allSessions(root, "&search=pp3&limit=5"); len(got) != 14 {
			t.Errorf("%d found, want 14: %v", len(got), got)
		}
		// What ends between two pages is on the second one no more, and nothing else is lost or told twice.
		first := d.do("GET", "/api/auth/sessions?all=true&limit=50", root).want(http.StatusOK)
		// Where a page ends may be a session that whoever asks may not know of: it is sealed, and good for its organization alone.
		mark, err := base64.RawURLEncoding.DecodeString(first.str("next"))
		if err != nil || bytes.Contains(mark, []byte("app")) || bytes.Contains(mark, []byte(all[49])) {
			t.Errorf("next says %q, %v", mark, err)
		}
		mark[len(mark)-1] ^= 1
		d.orgs(root, map[string][]string{"acme": nil})
		for next, in := range map[string]ask{base64.RawURLEncoding.EncodeToString(mark): inOrg(doorward.Default), first.str("next"): inOrg("acme")} {
			d.do("GET", "/api/auth/sessions?all=true&after="+next, root, in).refused(http.StatusBadRequest, "after: is not where a page begins")
		}
		for _, id := range []string{all[10], all[49], all[60]} {
			d.do("DELETE", "/api/auth/sessions/"+id, root).want(http.StatusNoContent)
		}
		rest := d.do("GET", "/api/auth/sessions?all=true&limit=100&after="+url.QueryEscape(first.str("next")), root).want(http.StatusOK)
		if n := len(rest.field("sessions").([]any)); n != len(all)-50-1 {
			t.Errorf("the second page has %d, want %d", n, len(all)-51)
		}
		b.load(sessionsAt+"?search=app3").says(http.StatusOK, "").shows("a key that is no more", "not known")
	})
}

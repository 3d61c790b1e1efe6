package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// ownSession is a session as the API shows it.
type ownSession struct {
	ID, Kind, Created, Ends, Address string
	UserAgent                        string `json:"user_agent"`
	Current                          bool
}

// ownSessions reads all pages of a list of sessions.
func (d *door) ownSessions(by ask, query string) []ownSession {
	d.t.Helper()
	var all []ownSession
	for after := ""; ; {
		a := d.do("GET", "/api/auth/sessions?"+query+"&after="+after, by).want(http.StatusOK)
		var body struct {
			Sessions []ownSession
			Next     string
		}
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			d.t.Fatal(err)
		}
		if all = append(all, body.Sessions...); body.Next == "" {
			return all
		}
		after = body.Next
	}
}

func idsOf(all []ownSession) []string {
	var ids []string
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	return ids
}

func TestOwnSessionsAreListedAndEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		root, _ := d.signIn("root", rootPassword)
		annaID, one, _ := d.newUser(root, "anna", "editor")
		_, ed, _ := d.newUser(root, "ed", "editor")
		a := d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("anna", "password of anna")), header("User-Agent", "Browser/1.0 \u202e")).want(200)
		two, twoCookie := a.str("token"), a.sessionCookie()
		three, _ := d.signIn("anna", "password of anna")
		id := func(token string) string { return claimsOf(t, token).Session }

		all := d.ownSessions(cookie(twoCookie), "")
		if got := idsOf(all); len(got) != 3 || !slices.Contains(got, id(one)) || !slices.Contains(got, id(two)) || !slices.Contains(got, id(three)) {
			t.Fatalf("listed %v", got)
		}
		for _, s := range all {
			created, err := time.Parse(time.RFC3339, s.Created)
			ends, err2 := time.Parse(time.RFC3339, s.Ends)
			if s.Current != (s.ID == id(two)) || s.Kind != "user" || s.Address != "127.0.0.1" || err != nil || err2 != nil || ends.Sub(created) != 24*time.Hour {
				t.Errorf("listed %+v", s)
			}
			if s.ID == id(two) && s.UserAgent != "Browser/1.0 \u202e" {
				t.Errorf("by %q", s.UserAgent)
			}
		}
		if got := idsOf(d.ownSessions(bearer(two), "limit=1")); !slices.Equal(got, idsOf(all)) {
			t.Errorf("a page at a time: %v", got)
		}
		if got := idsOf(d.ownSessions(bearer(two), "user="+annaID)); !slices.Equal(got, idsOf(all)) {
			t.Errorf("by her own id: %v", got)
		}

		// One of one's own, and none of anybody else's.
		d.do("DELETE", "/api/auth/sessions/"+id(three), cookie(twoCookie), header("Sec-Fetch-Site", "cross-site")).want(http.StatusForbidden)
		d.do("DELETE", "/api/auth/sessions/"+id(three), bearer(ed)).refused(404, "session not found")
		d.do("DELETE", "/api/auth/sessions/nothing", bearer(ed)).refused(404, "session not found")
		d.do("DELETE", "/api/auth/sessions/"+id(three)).refused(401, "token required")
		d.do("GET", "/api/auth/sessions").refused(401, "token required")
		d.do("GET", "/api/auth/sessions?user="+annaID, bearer(ed)).refused(404, "user not found")
		d.do("DELETE", "/api/auth/sessions?user="+annaID, bearer(ed)).refused(404, "user not found")
		d.do("GET", "/auth/validate", bearer(three)).want(200)
		d.do("DELETE", "/api/auth/sessions/"+id(three), bearer(two)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(three)).refused(401, "token blacklisted")
		d.do("DELETE", "/api/auth/sessions/"+id(three), bearer(two)).want(http.StatusNoContent)

		// All of one's own but the current one.
		three, _ = d.signIn("anna", "password of anna")
		d.do("DELETE", "/api/auth/sessions", cookie(twoCookie)).want(http.StatusNoContent)
		for _, over := range []string{one, three} {
			d.do("GET", "/auth/validate", bearer(over)).refused(401, "token blacklisted")
		}
		for _, alive := range []string{two, ed, root} {
			d.do("GET", "/auth/validate", bearer(alive)).want(200)
		}
		// And that, whose cookie goes as well.
		d.do("DELETE", "/api/auth/sessions/"+id(two), cookie(twoCookie)).want(http.StatusNoContent).cleared(true)
		d.do("GET", "/api/auth/me", cookie(twoCookie)).refused(401, "token blacklisted")

		for _, wrong := range []string{"GET ?limit=0", "GET ?limit=101", "GET ?after=x", "GET ?usr=" + annaID, "DELETE ?usr=" + annaID, "DELETE ?user=a&user=b", "GET ?user=%00"} {
			var method, query string
			_, _ = fmt.Sscan(wrong, &method, &query)
			d.do(method, "/api/auth/sessions"+query, bearer(ed)).want(http.StatusBadRequest)
		}
		d.do("GET", "/auth/validate", bearer(ed)).want(200)
		d.restart()
		d.do("GET", "/auth/validate", bearer(three)).refused(401, "token blacklisted") // it was durable
	})
}

// TestOwnSessionsOfMachines: a client has its own session, a key or token those begun with it,
// and a person those begun with keys of theirs.
func TestOwnSessionsOfMachines(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		root, _ := d.signIn("root", rootPassword)
		_, anna, _ := d.newUser(root, "anna", "editor")
		one, refresh := d.exchange(machineToken, "one")
		two, _ := d.exchange(machineToken, "two")
		byKey, _ := d.exchange(machineKey, "three")
		id := func(token string) string { return claimsOf(t, token).Session }
		for name, c := range map[string]struct {
			by   ask
			want []string
		}{
			"a client": {bearer(one), []string{id(one)}}, "the token": {bearer(machineToken), []string{id(one), id(two)}},
			"the key": {apiKey(machineKey), []string{id(byKey)}}, "its client": {bearer(byKey), []string{id(byKey)}},
		} {
			got, want := idsOf(d.ownSessions(c.by, "")), slices.Sorted(slices.Values(c.want))
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s sees %v, want %v", name, got, want)
			}
		}
		if all := d.ownSessions(bearer(one), ""); !all[0].Current || all[0].Kind != "client" {
			t.Errorf("listed %+v", all)
		}
		// A client of the same credential is another.
		d.do("DELETE", "/api/auth/sessions/"+id(two), bearer(one)).refused(404, "session not found")
		d.do("DELETE", "/api/auth/sessions/"+id(byKey), bearer(one)).refused(404, "session not found")
		d.do("DELETE", "/api/auth/sessions", bearer(one)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(two)).want(200)
		d.do("DELETE", "/api/auth/sessions/"+id(one), bearer(one)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(one)).refused(401, "token blacklisted")
		d.refresh(refresh).refused(401, "token blacklisted")
		// The token itself ends what was begun with it, and nothing else.
		d.do("DELETE", "/api/auth/sessions", bearer(machineToken)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(two)).refused(401, "token blacklisted")
		d.do("GET", "/auth/validate", bearer(byKey)).want(200)

		// With a key of somebody's.
		key := d.do("POST", "/api/auth/keys", bearer(anna), jsonBody(`{"name":"hers","role":"viewer"}`)).want(http.StatusCreated).str("key")
		begun, _ := d.exchange(key, "hers")
		if got := idsOf(d.ownSessions(apiKey(key), "")); len(got) != 1 || got[0] != id(begun) {
			t.Errorf("the key sees %v", got)
		}
		d.do("DELETE", "/api/auth/sessions/"+id(anna), apiKey(key)).refused(404, "session not found") // it acts as itself
		if got := idsOf(d.ownSessions(bearer(anna), "")); len(got) != 2 || !slices.Contains(got, id(begun)) {
			t.Errorf("anna sees %v", got)
		}
		d.do("DELETE", "/api/auth/sessions/"+id(begun), bearer(anna)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(begun)).refused(401, "token blacklisted")
	})
}

// TestRT7SessionsOfOthers: an admin ends those of whom they manage; what is above, elsewhere, or
// not there is all the same 404, and on record.
func TestRT7SessionsOfOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		root, _ := d.signIn("root", rootPassword)
		rootID := claimsOf(t, root).Subject
		_, anna, _ := d.newUser(root, "anna", "admin")
		edID, ed, _ := d.newUser(root, "ed", "editor")
		strangerID, stranger, _ := d.newUser(root, "stranger", "viewer")
		machine, _ := d.exchange(machineToken, "app")
		operators, _ := d.exchange(machineKey, "ops")
		elsewhere, _ := d.exchange(machineToken, "elsewhere")
		id := func(token string) string { return claimsOf(t, token).Session }
		d.sqlExec(`INSERT INTO organizations (id, name, created) VALUES ('other', 'other', 0)`)
		d.sqlExec(`INSERT INTO workspaces (org, id, name, created) VALUES ('other', 'default', 'default', 0), ('default', 'lab', 'lab', 0)`)
		d.sqlExec(`UPDATE users SET org = 'other' WHERE id = ?`, strangerID)
		d.sqlExec(`UPDATE sessions SET org = 'other' WHERE id IN (?, ?)`, id(elsewhere), id(stranger))
		labID, lab, _ := d.newUser(root, "lab", "viewer")
		d.sqlExec(`INSERT INTO memberships (user_id, org, workspace) VALUES (?, 'default', 'lab')`, labID)

		for _, userID := range []string{rootID, strangerID, labID, "usr_nobody", "x"} {
			d.do("GET", "/api/auth/sessions?user="+userID, bearer(anna)).refused(404, "user not found")
			d.do("DELETE", "/api/auth/sessions?user="+userID, bearer(anna)).refused(404, "user not found")
		}
		for _, token := range []string{root, stranger, elsewhere, lab} {
			d.do("DELETE", "/api/auth/sessions/"+id(token), bearer(anna)).refused(404, "session not found")
			d.do("GET", "/auth/validate", bearer(token)).want(200)
		}
		if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE outcome = 'refused' AND actor = ?`, claimsOf(t, anna).Subject); n != 10 {
			t.Errorf("%d refusals are on record, want the first ten", n)
		}
		// A machine with the role editor or viewer manages nobody.
		d.do("DELETE", "/api/auth/sessions/"+id(ed), bearer(machine)).refused(404, "session not found")
		d.do("GET", "/api/auth/sessions?user="+edID, bearer(machine)).refused(404, "user not found")

		if got := idsOf(d.ownSessions(bearer(anna), "user="+edID)); len(got) != 1 || got[0] != id(ed) {
			t.Errorf("got %v", got)
		}
		d.do("DELETE", "/api/auth/sessions/"+id(ed), bearer(anna)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(ed)).refused(401, "token blacklisted")
		d.do("DELETE", "/api/auth/sessions/"+id(machine), bearer(anna)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(machine)).refused(401, "token blacklisted")
		ed, _ = d.signIn("ed", "password of ed")
		d.do("DELETE", "/api/auth/sessions?user="+edID, apiKey(machineKey)).want(http.StatusNoContent) // the operator's key is an admin
		d.do("GET", "/auth/validate", bearer(ed)).refused(401, "token blacklisted")
		d.do("DELETE", "/api/auth/sessions/"+id(operators), bearer(anna)).want(http.StatusNoContent) // its equal
		d.do("DELETE", "/api/auth/sessions/"+id(anna), bearer(root)).want(http.StatusNoContent)
		d.do("GET", "/auth/validate", bearer(anna)).refused(401, "token blacklisted")
	})
}

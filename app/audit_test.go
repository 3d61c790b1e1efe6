package app

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// audited is an entry as the API shows it.
type audited struct {
	ID        int64
	Time      time.Time
	Action    string
	Outcome   string
	ActorKind string `json:"actor_kind"`
	Actor     string
	ActorName string `json:"actor_name"`
	Target    string
	Org       string `json:"org_id"`
	Address   string
	RequestID string `json:"request_id"`
	Detail    string
}

// auditPage reads a page of the audit log.
func (d *door) auditPage(by ask, query string) (page []audited, next string) {
	d.t.Helper()
	a := d.do("GET", "/api/auth/audit?"+query, by).want(http.StatusOK)
	var body struct {
		Audit []audited
		Next  string
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		d.t.Fatal(err)
	}
	return body.Audit, body.Next
}

// auditLog reads all of it, a page at a time.
func (d *door) auditLog(by ask, query string) []audited {
	d.t.Helper()
	var all []audited
	for after := ""; ; {
		page, next := d.auditPage(by, query+"&after="+after)
		if all = append(all, page...); next == "" {
			return all
		}
		after = next
	}
}

// TestEachVerbWritesItsEntry goes through what changes something, and what is refused that
// would have, and wants one entry of each with who, what, whom, from where and in which request.
func TestEachVerbWritesItsEntry(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "lockout.attempts=3")
		nobody := func(*http.Request) {}
		type want struct{ action, outcome, actor, target, org, detail string }
		var root, rootID, annaID, anna, editorID, access, refresh string
		secrets := []string{rootPassword, machineToken, machineKey, wrongPassword, "password of anna"}
		step := func(name string, do func() answer, wants ...want) answer {
			t.Helper()
			a := do()
			var got []audited
			for _, e := range d.auditLog(bearer(root), "") {
				if e.RequestID == a.header.Get("X-Request-Id") {
					got = append(got, e)
				}
			}
			slices.Reverse(got)
			if len(got) != len(wants) {
				t.Errorf("%s (%s): %d entries, want %d: %+v", name, a.what, len(got), len(wants), got)
				return a
			}
			for i, e := range got {
				is := want{e.Action, e.Outcome, e.Actor, e.Target, e.Org, e.Detail}
				w := wants[i]
				if w.target == "*" {
					w.target = e.Target
				}
				if w.detail == "*" {
					w.detail = e.Detail
				}
				if is != w {
					t.Errorf("%s: wrote %+v, want %+v", name, is, w)
				}
				if e.Address != "127.0.0.1" || time.Since(e.Time).Abs() > time.Minute {
					t.Errorf("%s: from %s at %v", name, e.Address, e.Time)
				}
			}
			return a
		}
		post := func(path string, by ask, body string) func() answer {
			return func() answer { return d.do("POST", path, by, jsonBody(body)) }
		}
		// The first user, by the operator's key, whose id is in the entry.
		made := d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		rootID = made.str("id")
		root, _ = d.signIn("root", rootPassword)
		secrets = append(secrets, root)
		first, _ := d.auditPage(bearer(root), "target="+rootID)
		if len(first) != 1 || first[0].Action != "user.create" || first[0].ActorKind != "key" || !strings.HasPrefix(first[0].Actor, "key_") ||
			first[0].Detail != "first user root, superadmin, by the operator's key" || first[0].Org != "default" || first[0].RequestID != made.header.Get("X-Request-Id") {
			t.Errorf("the first user's entry: %+v", first)
		}
		by := bearer(root)

		a := step("create", post("/api/auth/users", by, `{"username":"anna","password":"password of anna","role":"admin"}`),
			want{"user.create", "done", rootID, "*", "default", "anna, admin"})
		annaID = a.str("id")
		a = step("create an editor", post("/api/auth/users", by, `{"username":"ed","password":"password of ed","role":"editor"}`), want{"user.create", "done", rootID, "*", "default", "ed, editor"})
		editorID = a.str("id")
		step("create what is taken", post("/api/auth/users", by, `{"username":"anna","password":"password of anna","role":"admin"}`))

		// Signing in, well and not.
		a = step("sign in", post("/api/auth/login", nobody, credentialsJSON("Anna", "password of anna")),
			want{"session.create", "done", annaID, "*", "default", "signed in"})
		anna = a.str("token")
		secrets = append(secrets, anna, a.sessionCookie())
		step("a wrong password", post("/api/auth/login", nobody, credentialsJSON("anna", wrongPassword)),
			want{"user.sign_in", "failed", "", annaID, "default", ""})
		step("nobody's password", post("/api/auth/login", nobody, credentialsJSON("hunter2-hunter2", wrongPassword)),
			want{"user.sign_in", "failed", "", "", "", "no such user"})
		step("what is no name", post("/api/auth/login", nobody, credentialsJSON("no name", wrongPassword)))
		secrets = append(secrets, "hunter2-hunter2")
		step("a wrong current password", post("/api/auth/change-password", bearer(anna), `{"current_password":"`+wrongPassword+`","new_password":"another password"}`),
			want{"user.password", "failed", annaID, annaID, "default", "wrong current password"})
		step("the one that locks", post("/api/auth/login", nobody, credentialsJSON("anna", wrongPassword)),
			want{"user.sign_in", "failed", "", annaID, "default", ""}, want{"user.lock", "done", "", annaID, "default", "*"})
		step("at a locked account", post("/api/auth/login", nobody, credentialsJSON("anna", "password of anna")))
		step("reset", post("/api/auth/admin-reset-password", by, `{"user_id":"`+annaID+`","new_password":"password two of anna"}`),
			want{"user.password", "done", rootID, annaID, "default", "reset"})
		anna, _ = d.signIn("anna", "password two of anna")
		secrets = append(secrets, "password two of anna", anna)
		step("change one's own", post("/api/auth/change-password", bearer(anna), `{"current_password":"password two of anna","new_password":"password three of anna"}`),
			want{"user.password", "done", annaID, annaID, "default", "changed"})
		secrets = append(secrets, "password three of anna")

		// Changes, and those that change nothing.
		patch := func(by ask, id, body string) func() answer { return func() answer { return d.change(by, id, body) } }
		del := func(by ask, id string) func() answer {
			return func() answer { return d.do("DELETE", "/api/auth/users/"+id, by) }
		}
		step("change", patch(by, editorID, `{"role":"viewer"}`), want{"user.change", "done", rootID, editorID, "default", "role viewer"})
		step("change nothing", patch(by, editorID, `{"role":"viewer"}`))
		step("disable", patch(by, editorID, `{"disabled":true}`), want{"user.change", "done", rootID, editorID, "default", "disabled"})
		step("the last of the highest rank", patch(by, rootID, `{"disabled":true}`))

		// Refused escalations.
		no := ": insufficient permissions"
		step("grant above one's rank", post("/api/auth/users", bearer(anna), `{"username":"eve","password":"password of eve","role":"superadmin"}`),
			want{"user.create", "refused", annaID, "", "default", "role superadmin" + no})
		step("promote oneself", patch(bearer(anna), annaID, `{"role":"superadmin"}`), want{"user.change", "refused", annaID, annaID, "default", "role superadmin" + no})
		step("demote who is above", patch(bearer(anna), rootID, `{"role":"viewer"}`), want{"user.change", "refused", annaID, rootID, "default", "role viewer" + no})
		step("delete who is above", del(bearer(anna), rootID), want{"user.delete", "refused", annaID, rootID, "default", "insufficient permissions"})
		step("reset who is above", post("/api/auth/admin-reset-password", bearer(anna), `{"user_id":"`+rootID+`","new_password":"password of eve"}`),
			want{"user.password", "refused", annaID, rootID, "default", "reset" + no})
		step("delete nobody", del(bearer(anna), "usr_none"), want{"user.delete", "refused", annaID, "usr_none", "default", "user not found"})
		step("delete what is no id", del(bearer(anna), "a%20secret"), want{"user.delete", "refused", annaID, "", "default", "user not found"})
		step("a viewer who asks", func() answer { return d.do("GET", "/api/auth/audit", bearer("x")) })
		step("delete", del(by, editorID), want{"user.delete", "done", rootID, editorID, "default", ""})

		// Keys.
		a = step("make a key", post("/api/auth/keys", bearer(anna), `{"name":"hers","role":"viewer"}`), want{"key.create", "done", annaID, "*", "default", "*"})
		key := a.str("id")
		secrets = append(secrets, a.str("key"))
		step("a key above oneself", post("/api/auth/keys", bearer(anna), `{"name":"more","role":"superadmin"}`), want{"key.create", "refused", annaID, "", "default", "*"})
		step("revoke nobody's key", func() answer { return d.do("DELETE", "/api/auth/keys/key_none", bearer(anna)) },
			want{"key.revoke", "refused", annaID, "key_none", "default", "key not found"})
		a = step("rotate", post("/api/auth/keys/"+key+"/rotate", bearer(anna), `{"overlap":"1h"}`), want{"key.rotate", "done", annaID, key, "default", "*"})
		secrets = append(secrets, a.str("key"))
		step("revoke", func() answer { return d.do("DELETE", "/api/auth/keys/"+key, bearer(anna)) }, want{"key.revoke", "done", annaID, key, "default", ""})

		// Machines.
		a = step("exchange", func() answer {
			return d.do("POST", "/auth/token", bearer(machineToken), formBody(`{"client_id":"app"}`))
		},
			want{"session.create", "done", d.do("GET", "/api/auth/me", bearer(machineToken)).str("id"), "*", "default", "client app"})
		access, refresh = a.str("access_token"), a.str("refresh_token")
		session := claimsOf(t, access).Session
		_, second := d.rotated(refresh)
		_, third := d.rotated(second)
		step("reuse", func() answer { return d.refresh(refresh) }, want{"session.end", "done", "app", session, "default", "refresh token reused"})
		secrets = append(secrets, access, refresh, second, third)
		a = d.do("POST", "/auth/token", bearer(machineToken), formBody(`{"client_id":"app"}`))
		access = a.str("access_token")
		step("log out", func() answer { return d.do("POST", "/auth/logout", bearer(access)) },
			want{"session.end", "done", "app", claimsOf(t, access).Session, "default", "signed out"})
		step("log out again", func() answer { return d.do("POST", "/auth/logout", bearer(access)) })
		step("sign out", func() answer { return d.do("POST", "/api/auth/logout", bearer(anna)) },
			want{"session.end", "done", annaID, claimsOf(t, anna).Session, "default", "signed out"})

		for _, e := range d.auditLog(by, "") {
			text := fmt.Sprintf("%+v", e)
			for _, s := range secrets {
				if strings.Contains(text, s) {
					t.Errorf("a secret is on record: %s", text)
				}
			}
		}
	})
}

// TestRT7TheAuditLogIsAnAdminsAndOfOneOrganization.
func TestRT7TheAuditLogIsAnAdminsAndOfOneOrganization(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "audit.retention=10000d")
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		root, _ := d.signIn("root", rootPassword)
		_, admin, _ := d.newUser(root, "anna", "admin")
		_, editor, _ := d.newUser(root, "ed", "editor")
		d.login("nobody", wrongPassword).want(401)
		d.sqlExec(`INSERT INTO audit (time, action, actor_kind, actor, actor_name, target, org, address, request_id, detail)
			VALUES (1700000000000, 'user.create', 'user', 'usr_b', 'b', 'usr_c', 'other', '', 'rb', '')`)
		d.do("GET", "/api/auth/audit").refused(401, "token required")
		d.do("GET", "/api/auth/audit", bearer(editor)).refused(403, "insufficient permissions")
		d.do("GET", "/api/auth/audit", bearer(machineToken)).refused(403, "insufficient permissions")
		d.do("GET", "/api/auth/audit?format=csv", bearer(editor)).refused(403, "insufficient permissions")
		orgs := func(by ask, query string) map[string]int {
			n := map[string]int{}
			for _, e := range d.auditLog(by, query) {
				n[e.Org]++
			}
			return n
		}
		for _, by := range []ask{bearer(admin), apiKey(machineKey)} {
			if got := orgs(by, ""); len(got) != 1 || got["default"] == 0 {
				t.Errorf("an admin sees %v", got)
			}
			for _, query := range []string{"actor=usr_b", "target=usr_c", "request_id=rb", "org=other", "org_id=other", "to=2023-11-15T00:00:00Z"} {
				if a := d.do("GET", "/api/auth/audit?"+query, by); strings.Contains(a.body, "usr_b") || a.status != 200 && a.status != 400 {
					t.Errorf("%s: %s", query, a.body)
				}
			}
		}
		if got := orgs(bearer(root), ""); got[""] == 0 || got["default"] == 0 || got["other"] != 0 {
			t.Errorf("a superadmin sees %v", got)
		}
		if got := d.auditLog(bearer(root), "action=user.sign_in"); len(got) != 1 || got[0].Target != "" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestTheAuditLogIsPagedAndFiltered(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		root, _ := d.signIn("root", rootPassword)
		by := bearer(root)
		const n = 250
		began := time.Now().Truncate(time.Second).Add(-time.Hour)
		for i := range n {
			d.sqlExec(`INSERT INTO audit (time, action, actor_kind, actor, actor_name, target, org, address, request_id, detail)
				VALUES (?, ?, 'user', ?, '', ?, 'default', '', ?, '')`,
				began.Add(time.Duration(i/2)*time.Second).UnixMilli(), "test."+[]string{"one", "two"}[i%2], fmt.Sprint("usr_", i%5), fmt.Sprint("t_", i), fmt.Sprintf("%020x", i))
		}
		page, next := d.auditPage(by, "action=test.")
		if len(page) != 100 || next == "" || page[0].Target != "t_249" || page[99].Target != "t_150" {
			t.Errorf("the first page: %d, %+v", len(page), page[0])
		}
		for query, want := range map[string]int{
			"action=test.": n, "action=test.one": n / 2, "action=test": 0, "actor=usr_3&action=test.": n / 5, "target=t_17": 1, "request_id=" + fmt.Sprintf("%020x", 17): 1,
			"from=" + url.QueryEscape(began.Add(100*time.Second).Format(time.RFC3339)) + "&action=test.": 50,
			"action=test.&to=" + began.Add(100*time.Second).UTC().Format(time.RFC3339):                   200,
			"action=test.&limit=7": n, "action=test.&actor=usr_3&target=t_3": 1, "actor=nobody": 0,
		} {
			all := d.auditLog(by, query)
			if len(all) != want {
				t.Errorf("%s: %d entries, want %d", query, len(all), want)
			}
			if !slices.IsSortedFunc(all, func(a, b audited) int { return b.Time.Compare(a.Time) }) {
				t.Errorf("%s: not the newest first", query)
			}
		}
		for _, wrong := range []string{
			"limit=0", "limit=101", "limit=x", "after=x", "after=1", "after=-5-1", "from=yesterday", "to=2024-01-01", "actor=a&actor=b", "nothing=1",
			"format=xml", "actor=%00", "actor=%ff", "actor=" + strings.Repeat("x", 257), "from=9999999-01-01T00:00:00Z",
		} {
			d.do("GET", "/api/auth/audit?"+wrong, by).want(http.StatusBadRequest)
		}
	})
}

// TestTheAuditLogAsCSV: all of it, in one answer, and nothing in it that a spreadsheet would compute.
func TestTheAuditLogAsCSV(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "audit.retention=10000d")
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		root, _ := d.signIn("root", rootPassword)
		for i, name := range []string{"=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", "\rx", "a \"quote\", and\r\na line", "plain"} {
			d.sqlExec(`INSERT INTO audit (time, action, actor_kind, actor, actor_name, target, org, address, request_id, detail)
				VALUES (?, 'csv.one', 'user', ?, '', '', 'default', '', '', ?)`, 1700000000000+i, name, name)
		}
		const n = 1203 // more than two steps
		for i := range n {
			d.sqlExec(`INSERT INTO audit (time, action, actor_kind, actor, actor_name, target, org, address, request_id, detail)
				VALUES (?, 'csv.many', 'user', '', '', ?, 'default', '', '', '')`, 1700000000000+i/3, fmt.Sprint("t_", i))
		}
		read := func(a answer) [][]string {
			t.Helper()
			rows, err := csv.NewReader(strings.NewReader(a.want(200).body)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if got := a.header.Get("Content-Type"); got != "text/csv; charset=utf-8; header=present" {
				t.Errorf("Content-Type %q", got)
			}
			return rows
		}
		rows := read(d.do("GET", "/api/auth/audit?action=csv.one", bearer(root), header("Accept", "text/csv")))
		if len(rows) != 9 || strings.Join(rows[0], ",") != "id,time,action,outcome,actor_kind,actor,actor_name,target,org_id,address,request_id,detail" {
			t.Fatalf("%q", rows)
		}
		for _, row := range rows[1:] {
			for _, cell := range row {
				if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
					t.Errorf("a cell %q", cell)
				}
			}
		}
		if got := rows[8][11]; got != "'=cmd|' /C calc'!A0" {
			t.Errorf("a cell %q", got)
		}
		rows = read(d.do("GET", "/api/auth/audit?action=csv.many&format=csv", bearer(root)))
		if len(rows) != n+1 {
			t.Fatalf("%d rows, want %d", len(rows), n+1)
		}
		for i, row := range rows[1:] {
			if row[7] != fmt.Sprint("t_", n-1-i) {
				t.Fatalf("row %d is %q", i, row)
			}
		}
		rows = read(d.do("GET", "/api/auth/audit?actor=nobody&format=csv", bearer(root)))
		if len(rows) != 1 {
			t.Errorf("%q", rows)
		}

		// The command line says the same.
		says := func(args ...string) string { return d.prints(append([]string{"audit"}, args...)...) }
		if got := strings.Count(says("--action", "csv."), "\n"); got != n+8+1 {
			t.Errorf("%d lines", got)
		}
		if got := says("--csv", "--action", "csv.many"); strings.Count(got, "\n") != n+1 || !strings.HasPrefix(got, "id,time,") {
			t.Errorf("%.200s", got)
		}
		if got := says("--json", "--target", "t_7", "--limit", "3"); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"target":"t_7"`) {
			t.Errorf("%s", got)
		}
		if got := says("--json", "--limit", "3", "--org", "default", "--from", "2023-11-14T00:00:00Z"); strings.Count(got, "\n") != 3 {
			t.Errorf("%s", got)
		}
	})
}

// TestRefusedEscalationsDoNotFillTheDisk: ten in ten minutes of one actor, the rest counted.
func TestRefusedEscalationsDoNotFillTheDisk(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		root, _ := d.signIn("root", rootPassword)
		_, anna, _ := d.newUser(root, "anna", "admin")
		_, eve, _ := d.newUser(root, "eve", "admin")
		at(200, func(i int) answer {
			return d.do("DELETE", "/api/auth/users/usr_"+strconv.Itoa(i), bearer(anna)).refused(404, "user not found")
		})
		d.do("DELETE", "/api/auth/users/usr_x", bearer(eve)).refused(404, "user not found") // who is another has a count of their own
		if got := d.auditLog(bearer(root), "action=user.delete"); len(got) != 11 {
			t.Errorf("%d entries, want 11", len(got))
		}
		d.clock.advance(11 * time.Minute)
		if err := d.house.authority.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := d.auditLog(bearer(root), "action=user.delete")
		if len(got) != 12 || got[0].Detail != "and 190 more that were refused; this is the last of them" {
			t.Errorf("%d entries, the newest %+v", len(got), got[0])
		}
		d.do("DELETE", "/api/auth/users/usr_x", bearer(anna)).refused(404, "user not found")
		if got := d.auditLog(bearer(root), "action=user.delete"); len(got) != 13 {
			t.Errorf("%d entries, want 13", len(got))
		}
	})
}

func TestTheAuditLogIsKeptAsLongAsSaid(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "audit.retention=30d")
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		sweep := func() {
			if err := d.house.authority.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		sweep()
		entries := func() int64 { return d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'user.create'`) }
		d.clock.advance(29 * 24 * time.Hour)
		sweep()
		if entries() != 1 {
			t.Error("an entry went early")
		}
		d.clock.advance(25 * time.Hour)
		sweep()
		if entries() != 0 {
			t.Error("an entry did not go")
		}
	})
}

// TestEachCommandWritesItsEntry: who works on the database itself is in the log as well, and
// nobody is taken for them.
func TestEachCommandWritesItsEntry(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(201)
		root, _ := d.signIn("root", rootPassword)
		_, anna, _ := d.newUser(root, "anna", "editor")
		one, _ := d.exchange(machineToken, "one")
		d.exchange(machineToken, "two")
		id := claimsOf(t, one).Session
		credential := d.listedSessions()[id].Credential
		annas := claimsOf(t, anna).Session
		type want struct{ action, target, org, detail string }
		for _, c := range []struct {
			args  []string
			wants []want
		}{
			{[]string{"session", "list"}, nil},
			{[]string{"audit"}, nil},
			{[]string{"session", "revoke", annas}, []want{{"session.end", annas, "default", "command line"}}},
			{[]string{"session", "revoke", annas}, nil}, // it had ended before
			{[]string{"session", "revoke", "--user", "anna"}, nil},
			{[]string{"session", "revoke", "--user", "root"}, []want{{"session.end", claimsOf(t, root).Subject, "default", "command line"}}},
			{[]string{"session", "revoke", "--credential", credential}, []want{{"session.end", credential, "", "command line"}}},
			{[]string{"session", "revoke", "--all"}, nil},
		} {
			before := d.sqlNumber(`SELECT max(id) FROM audit`)
			d.prints(c.args...)
			var got []want
			for line := range strings.Lines(d.prints("audit", "--json")) {
				var a audited
				if err := json.Unmarshal([]byte(line), &a); err != nil {
					t.Fatal(err)
				}
				if a.ID <= before {
					break
				}
				got = append(got, want{a.Action, a.Target, a.Org, a.Detail})
				if a.Actor != "" || a.ActorKind != "" || a.ActorName != "" || a.Address != "" || a.RequestID != "" || a.Outcome != "done" {
					t.Errorf("%v: wrote %+v", c.args, a)
				}
			}
			if !slices.Equal(got, c.wants) {
				t.Errorf("%v: wrote %+v, want %+v", c.args, got, c.wants)
			}
		}
	})
}

// TestTheAuditLogAsCSVTakesNoMemory, however long it is.
func TestTheAuditLogAsCSVTakesNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a database")
	}
	d := newDoor(t, "audit.retention=10000d")
	root := d.setUp()
	const n = 60_000
	d.exec(`INSERT INTO audit (time, action, actor_kind, actor, actor_name, target, org, address, request_id, detail)
		WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?)
		SELECT 1700000000000 + n, 'test.many', 'user', 'usr_aaaaaaaaaaaaaaaaaaaaaaaa', 'somebody', 'usr_bbbbbbbbbbbbbbbbbbbbbbbb', 'default', '192.0.2.1', 'r' || n, 'in words, and some more of them' FROM i`, n)
	r, err := http.NewRequest("GET", d.URL+"/api/auth/audit?format=csv&action=test.many", nil)
	if err != nil {
		t.Fatal(err)
	}
	bearer(root)(r)
	answer, err := oneShot.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	lines, most := 0, uint64(0)
	for s := bufio.NewScanner(answer.Body); s.Scan(); lines++ {
		if lines%50_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	if lines != n+1 {
		t.Errorf("%d lines, want %d", lines, n+1)
	}
	if grown := int64(most) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

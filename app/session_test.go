package app

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"doorward"
)

// command runs a command on the door's database, beside the server.
func (d *door) command(args ...string) (status int, stdout, stderr string) {
	d.t.Helper()
	args = append(args, "--data-dir", d.dir)
	if url := d.flags["database"]; url != "" {
		args = append(args, "--database", url)
	}
	return runWith(d.t, rand.Reader, nil, args...)
}

// prints is command for one that must succeed and have nothing to complain of.
func (d *door) prints(args ...string) string {
	d.t.Helper()
	status, stdout, stderr := d.command(args...)
	if status != 0 || stderr != "" {
		d.t.Fatalf("doorward %v: status %d, %s", args, status, stderr)
	}
	return stdout
}

// sessionsOf reads what session list --json prints.
func (d *door) listedSessions(args ...string) map[string]listedSession {
	d.t.Helper()
	var all struct{ Sessions []listedSession }
	if err := json.Unmarshal([]byte(d.prints(append([]string{"session", "list", "--json"}, args...)...)), &all); err != nil {
		d.t.Fatal(err)
	}
	byID := map[string]listedSession{}
	for _, s := range all.Sessions {
		byID[s.ID] = s
	}
	if len(byID) != len(all.Sessions) {
		d.t.Errorf("a session is listed twice among %d", len(all.Sessions))
	}
	return byID
}

func TestSessionListShowsWhoIsIn(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.setUp()
		login := jsonBody(credentialsJSON("root", rootPassword))
		person := d.do("POST", "/api/auth/login", login, header("User-Agent", "Browser/1.0")).want(http.StatusOK).str("token")
		hostile := d.do("POST", "/api/auth/login", login, header("User-Agent", "\u202egnp.\x9b1m")).want(http.StatusOK).str("token")
		out, _ := d.signIn("root", rootPassword)
		d.do("POST", "/api/auth/logout", bearer(out), jsonBody("{}")).want(http.StatusOK)
		machine, refresh := d.exchange(machineToken, "my-app")
		id := func(token string) string { return claimsOf(t, token).Session }
		user := claimsOf(t, person).Subject

		all := d.listedSessions()
		if len(all) != 4 { // with the one that setUp began
			t.Errorf("%d sessions are listed, want 4: %v", len(all), all)
		}
		if _, ok := all[id(out)]; ok {
			t.Error("one that was signed out is listed")
		}
		begun := all[id(person)].Created
		want := listedSession{ID: id(person), Kind: "user", Subject: user, Username: "root", Credential: user, Org: "default", Address: "127.0.0.1", UserAgent: "Browser/1.0"}
		got := all[id(person)]
		created, err := time.Parse(time.RFC3339, begun)
		ends, err2 := time.Parse(time.RFC3339, got.Ends)
		if err != nil || err2 != nil || ends.Sub(created) != 24*time.Hour || time.Since(created) > time.Hour {
			t.Errorf("from %s to %s", begun, got.Ends)
		}
		got.Created, got.Ends = "", ""
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		m := all[id(machine)]
		if m.Kind != "client" || m.Subject != "my-app" || m.Username != "" || !strings.HasPrefix(m.Credential, "tok_") {
			t.Errorf("the machine's: %+v", m)
		}
		if of := d.listedSessions("--user", "ROOT"); len(of) != 3 || of[id(machine)].ID != "" {
			t.Errorf("root's: %v", of)
		}
		if of := d.listedSessions("--credential", m.Credential); len(of) != 1 || of[id(machine)] != m {
			t.Errorf("the API token's: %v", of)
		}
		if of := d.listedSessions("--credential", "tok_none"); len(of) != 0 {
			t.Errorf("nobody's: %v", of)
		}

		text := d.prints("session", "list")
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) != 5 {
			t.Errorf("%d lines:\n%s", len(lines), text)
		}
		for _, want := range []string{
			id(person) + "  user    " + begun + "  " + all[id(person)].Ends + "  127.0.0.1        " + user + "  root  Browser/1.0\n",
			id(machine) + "  client  " + m.Created + "  " + m.Ends + "  127.0.0.1        " + m.Credential + "      my-app  Go-http-client/1.1\n",
			id(hostile) + "  user    ", `"root  \u202egnp.`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		for _, token := range []string{person, machine, refresh, machineToken, machineKey} {
			if strings.Contains(text, token) || strings.Contains(text, strings.Split(token, ".")[0]+".") {
				t.Error("a token is shown")
			}
		}
		if strings.ContainsAny(text, "\u202e\x1b\u009b") {
			t.Error("a client's name for itself reaches the terminal")
		}
	})
}

// TestSessionListGoesOnPastAPage and is one JSON document whatever the number.
func TestSessionListGoesOnPastAPage(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	kept := d.beside(d.settings())
	now := d.clock.now()
	db := d.sqlOpen()
	defer db.Close()
	const n = 1203
	_, err := db.Exec(`
		WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?)
		INSERT INTO sessions SELECT printf('session-%05d', n), 'client', 'app', 'tok_' || n % 2, 1, '', 'default', 'default', ?, ?, ?, 0, '', '', 'h', '', 0, 0, 0, '', '', 'app'
		FROM i`, n, now.UnixMilli(), now.Add(time.Hour).UnixMilli(), now.Add(time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	if all := d.listedSessions(); len(all) != n || all["session-00001"].Subject != "app" || all["session-01203"].Subject != "app" {
		t.Errorf("%d sessions are listed, want %d", len(all), n)
	}
	if lines := strings.Count(d.prints("session", "list"), "\n"); lines != n+1 {
		t.Errorf("%d lines, want %d", lines, n+1)
	}
	if got := d.prints("session", "revoke", "--all"); got != fmt.Sprintf("ended %d sessions: everybody's\n", n) {
		t.Errorf("it says %s", got)
	}
	if all := d.listedSessions(); len(all) != 0 {
		t.Errorf("%d sessions live on", len(all))
	}
	left := 0
	if err := kept.EndedSessions(t.Context(), func(doorward.EndedSession) error { left++; return nil }); err != nil || left != n {
		t.Errorf("%d are remembered, want %d; %v", left, n, err)
	}
}

// TestSessionRevokeEndsWhatItNames and nothing else, as a running server soon knows.
func TestSessionRevokeEndsWhatItNames(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		_, anna, annasCookie := d.newUser(root, "anna", "editor")
		first, firstRefresh := d.exchange(machineToken, "one")
		second, _ := d.exchange(machineToken, "two")
		byKey, _ := d.exchange(machineKey, "three")
		alive := []string{root, anna, first, second, byKey}
		for _, token := range alive {
			d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
		}
		ends := func(tokens ...string) {
			t.Helper()
			for _, token := range tokens {
				until(t, 10*time.Second, "a revoked session's token is refused", func() bool {
					return d.do("GET", "/auth/validate", bearer(token)).status == http.StatusUnauthorized
				})
				d.do("GET", "/auth/validate", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
				alive = slices.DeleteFunc(alive, func(a string) bool { return a == token })
			}
			for _, token := range alive {
				d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
			}
		}
		says := func(want string, args ...string) {
			t.Helper()
			if got := d.prints(append([]string{"session", "revoke"}, args...)...); got != want {
				t.Errorf("session revoke %v says %q, want %q", args, got, want)
			}
		}
		one := claimsOf(t, first).Session
		says("ended session "+one+"\n", one)
		ends(first)
		d.refresh(firstRefresh).refused(http.StatusUnauthorized, "token blacklisted")
		says("session "+one+" had ended before: revoked\n", one)
		says(`{"ended":0}`+"\n", one, "--json")

		says("ended 1 session: those of Anna\n", "--user", "Anna")
		ends(anna)
		d.do("GET", "/api/auth/me", cookie(annasCookie)).refused(http.StatusUnauthorized, "token blacklisted")
		says("ended 0 sessions: those of anna\n", "--user", "anna")

		credential := d.listedSessions()[claimsOf(t, second).Session].Credential
		says(`{"ended":1}`+"\n", "--credential", credential, "--json")
		ends(second)
		says("ended 2 sessions: everybody's\n", "--all")
		ends(root, byKey)
		again, _ := d.signIn("anna", "password of anna")
		d.do("GET", "/auth/validate", bearer(again)).want(http.StatusOK)

		// Each is on record, once.
		for target, want := range map[string]int64{one: 1, claimsOf(t, anna).Subject: 1, credential: 1, "": 1} {
			n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'session.end' AND target = ? AND actor = '' AND detail LIKE 'command line%'`, target)
			if n != want {
				t.Errorf("%d audit entries of %q, want %d", n, target, want)
			}
		}
		if n := d.sqlNumber(`SELECT count(*) FROM sessions WHERE end_reason = ?`, doorward.EndRevoked); n != 5 {
			t.Errorf("%d sessions were revoked, want 5", n)
		}
	})
}

// TestTheCommandLineIsNoticedAtOnce: the real program for both.
func TestTheCommandLineIsNoticedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveProgram(t, "--data-dir", dir, "--api-tokens", machineToken)
	d := &door{t: t, URL: "http://" + s.addr}
	var took []time.Duration
	for range 5 {
		access, _ := d.exchange(machineToken, "app")
		d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
		doorwardPrints(t, "session", "revoke", "--data-dir", dir, "--", claimsOf(t, access).Session)
		began := time.Now()
		until(t, 10*time.Second, "the token is refused", func() bool {
			return d.do("GET", "/auth/validate", bearer(access)).status == http.StatusUnauthorized
		})
		took = append(took, time.Since(began))
	}
	promptly(t, "a revoked session's token is refused", took)
}

// TestSessionIdsAreNoFlags: whatever the randomness, an id can be given to the command as it is.
func TestSessionIdsAreNoFlags(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	ids := map[string]bool{}
	for range 200 { // one in 64 would begin with a dash
		access, _ := d.exchange(machineToken, "app")
		id := claimsOf(t, access).Session
		if len(id) != 22 || strings.HasPrefix(id, "-") || ids[id] {
			t.Errorf("the id %s", id)
		}
		ids[id] = true
	}
}

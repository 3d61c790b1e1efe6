package app

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// invited makes a user with an invite link as by, and returns the id and the code.
func (d *door) invited(by ask, username, role string, asks ...ask) (id, code string) {
	d.t.Helper()
	a := d.do("POST", "/api/auth/users", append(asks, by, jsonOf(map[string]any{"username": username, "role": role, "invite": true}))...).want(http.StatusCreated)
	return a.str("id"), codeIn(a, a.str("invite.link"))
}

// newLink makes a link for a user that there is.
func (d *door) newLink(by ask, id string) (code string) {
	d.t.Helper()
	a := d.do("POST", "/api/auth/users/"+id+"/invite", by).want(http.StatusCreated).shape(`{"link":"*","expires_at":"*"}`)
	return codeIn(a, a.str("link"))
}

var inviteCode = regexp.MustCompile(`/auth/invite#code=([A-Za-z0-9_-]{43})\b`)

func codeIn(a answer, text string) string {
	a.t.Helper()
	m := inviteCode.FindStringSubmatch(text)
	if m == nil {
		a.t.Fatalf("%s: no invite link in %s", a.what, text)
	}
	return m[1]
}

// accept shows a code to the JSON door.
func (d *door) accept(code, password string, asks ...ask) answer {
	return d.do("POST", "/api/auth/invite", append(asks, jsonOf(map[string]string{"code": code, "password": password}))...)
}

const chosen = "a password of one's own"

// TestInviteJourney is the way of somebody with a link and a browser that runs no script.
func TestInviteJourney(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := bearer(d.setUp())
		d.do("GET", "/api/auth/users", bearer("unknown")).want(http.StatusUnauthorized) // for the log
		made := d.do("POST", "/api/auth/users", root, jsonBody(`{"username":"anna","role":"editor","invite":true}`)).want(http.StatusCreated).
			shape(`{"id":"*","username":"anna","role":"editor","workspaces":["default"],"disabled":false,"invite":{"link":"*","expires_at":"*"}}`)
		id, link := made.str("id"), made.str("invite.link")
		if !strings.HasPrefix(link, d.URL+"/auth/invite#code=") {
			t.Errorf("the link is %s", link)
		}
		code := codeIn(made, link)
		d.keepsQuiet(code, chosen)
		expires, err := time.Parse(time.RFC3339, made.str("invite.expires_at"))
		if left := time.Until(expires); err != nil || left > 7*24*time.Hour || left < 7*24*time.Hour-time.Minute {
			t.Errorf("good until %v, %v", expires, err)
		}
		if n := d.sqlNumber(`SELECT count(*) FROM users WHERE id = ? AND password = ''`, id); n != 1 {
			t.Error("a password is kept already")
		}
		for _, table := range []string{"invites", "users", "audit"} {
			if n := d.sqlNumber(`SELECT count(*) FROM ` + table + ` AS x WHERE CAST(x.` + map[string]string{"invites": "sha256", "users": "password", "audit": "detail"}[table] + ` AS TEXT) LIKE '%` + code + `%'`); n != 0 {
				t.Errorf("the code stands in %s", table)
			}
		}
		d.do("GET", "/api/auth/users/"+id, root).want(http.StatusOK).
			shape(`{"id":"*","username":"anna","role":"editor","workspaces":["default"],"disabled":false,"must_change":false,"no_password":true,"locked_until":null,"invited_until":"*"}`)
		for _, password := range []string{"", chosen, code, "$argon2id$"} {
			d.login("anna", password).refused(http.StatusUnauthorized, "invalid credentials")
		}

		b := d.browser(t)
		form := b.load("/auth/invite").says(http.StatusOK, "")
		if strings.Contains(form.header.Get("Content-Security-Policy"), "unsafe") || form.header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("headers %v", form.header)
		}
		send := func(fields url.Values) answer { return b.press(form, "/auth/invite", fields) }
		fields := func(code, password string) url.Values {
			return fieldsOf("code", code, "password", password, "password_again", password)
		}
		send(fields("", chosen)).says(http.StatusUnauthorized, noGoodLink)
		send(fieldsOf("password", chosen, "password_again", chosen)).says(http.StatusBadRequest, "The code is missing. It is the part of the link after #code=.")
		wrong := send(fields(code[1:]+"x", chosen)).says(http.StatusUnauthorized, noGoodLink)
		if strings.Contains(wrong.body, chosen) || strings.Contains(wrong.body, code[1:]) {
			t.Errorf("the form comes back as %s", wrong.body)
		}
		for password, problem := range map[string]string{"short": "The password must have at least 8 characters.", "password1": "The password is one of the most common passwords; choose another."} {
			again := send(fields(code, password)).says(http.StatusBadRequest, problem)
			if !strings.Contains(again.body, `value="`+code+`"`) {
				t.Errorf("the code must be found again: %s", again.body)
			}
		}
		send(fieldsOf("code", code, "password", chosen, "password_again", "x")).says(http.StatusBadRequest, "The repeated password is not the same as the password.")
		for _, site := range []string{"cross-site", "same-site"} {
			b.send("POST", "/auth/invite", site, fields(code, chosen)).says(http.StatusForbidden, notFromHere)
		}
		in := send(fields(code, chosen))
		if got := in.sentTo(); got != "/" || in.sessionCookie() == "" {
			t.Errorf("sent to %s", got)
		}
		b.load("/auth/account").says(http.StatusOK, "").shows("anna", "editor", "Password changed", "Signed in")
		send(fields(code, "another of one's own")).says(http.StatusUnauthorized, noGoodLink)
		d.accept(code, "another of one's own").refused(http.StatusUnauthorized, "invalid token")
		d.login("anna", chosen).want(http.StatusOK)
		d.do("GET", "/api/auth/users/"+id, root).want(http.StatusOK).
			shape(`{"id":"*","username":"anna","role":"editor","workspaces":["default"],"disabled":false,"must_change":false,"no_password":false,"locked_until":null,"invited_until":null}`)
		var actions []string
		for _, entry := range d.auditLog(root, "target="+id) {
			actions = append(actions, entry.Action+" by "+entry.ActorName+" "+entry.Detail)
		}
		log := strings.Join(actions, "\n")
		for _, want := range []string{"user.create by root anna, editor", "user.invite by root good until 2", "user.password by anna chosen by an invite link"} {
			if !strings.Contains(log, want) {
				t.Errorf("the audit log lacks %q: %s", want, log)
			}
		}
	})
}

const noGoodLink = "This link is no good: it was used, its time is over, a newer one was made, or a part of it is missing. Ask who gave it to you for a new one."

// TestALinkForSomebodyWhoIsThere: all stays as it is until it is used; then sessions, the lock and the old password are over.
func TestALinkForSomebodyWhoIsThere(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "lockout.attempts=2")
		root := bearer(d.setUp())
		id, token, _ := d.newUser(d.rootToken(), "anna", "editor")
		code := d.newLink(root, id)
		d.do("GET", "/api/auth/me", bearer(token)).want(http.StatusOK)
		d.login("anna", "password of anna").want(http.StatusOK)
		d.guess("anna", 2)
		d.login("anna", "password of anna").want(http.StatusTooManyRequests)
		in := d.accept(code, chosen).want(http.StatusOK).shape(`{"token":"*","user":{"id":"*","username":"anna","role":"editor"}}`)
		if in.sessionCookie() == "" {
			t.Error("no cookie")
		}
		d.do("GET", "/api/auth/me", bearer(in.str("token"))).want(http.StatusOK)
		d.do("GET", "/api/auth/me", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
		d.login("anna", "password of anna").refused(http.StatusUnauthorized, "invalid credentials")
		d.login("anna", chosen).want(http.StatusOK)
	})
}

// rootToken signs root in once more.
func (d *door) rootToken() string {
	d.t.Helper()
	token, _ := d.signIn("root", rootPassword)
	return token
}

// TestLinksThatAreNoGoodAnyMore: whatever makes the user another than the one the link was made for.
func TestLinksThatAreNoGoodAnyMore(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "invites.life=1h", "rate_limits.per_minute=1000")
		root := bearer(d.setUp())
		for i, c := range []struct {
			what string
			do   func(id string)
			good bool
		}{
			{"nothing", func(string) {}, true},
			{"unlocked", func(id string) { d.do("POST", "/api/auth/users/"+id+"/unlock", root).want(http.StatusNoContent) }, true},
			{"a newer one", func(id string) { d.newLink(root, id) }, false},
			{"disabled", func(id string) { d.change(root, id, `{"disabled":true}`).want(http.StatusOK) }, false},
			{"disabled and enabled", func(id string) {
				d.change(root, id, `{"disabled":true}`).want(http.StatusOK)
				d.change(root, id, `{"disabled":false}`).want(http.StatusOK)
			}, false},
			{"raised", func(id string) { d.change(root, id, `{"role":"superadmin"}`).want(http.StatusOK) }, false},
			{"reset", func(id string) { d.resetPassword(root, id, "chosen by another", false).want(http.StatusOK) }, false},
			{"deleted", func(id string) { d.remove(root, id).want(http.StatusNoContent) }, false},
			{"over", func(string) { d.clock.advance(time.Hour); root = bearer(d.rootToken()) }, false},
		} {
			id, code := d.invited(root, "user"+string(rune('a'+i)), "viewer")
			c.do(id)
			a := d.accept(code, chosen)
			a.what += " after " + c.what
			if c.good {
				a.want(http.StatusOK)
			} else {
				a.refused(http.StatusUnauthorized, "invalid token")
			}
		}
		id, _ := d.invited(root, "out", "viewer")
		d.change(root, id, `{"disabled":true}`).want(http.StatusOK)
		d.do("POST", "/api/auth/users/"+id+"/invite", root).refused(http.StatusConflict, "out is disabled; enable the account first")
	})
}

// TestOneOfManyUsesALink: of 64 at once one is let in, and the password is that one's.
func TestOneOfManyUsesALink(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "rate_limits.per_minute=1000")
		_, code := d.invited(bearer(d.setUp()), "anna", "viewer")
		const callers = 64
		answers := make([]answer, callers)
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() { answers[i] = d.accept(code, "the password of caller "+string(rune('A'+i))) })
		}
		all.Wait()
		won := -1
		for i, a := range answers {
			switch {
			case a.status == http.StatusOK && won < 0:
				won = i
			case a.status == http.StatusOK:
				t.Errorf("callers %d and %d are both let in", won, i)
			case a.status != http.StatusUnauthorized && a.status != http.StatusTooManyRequests:
				a.want(http.StatusUnauthorized)
			}
		}
		if won < 0 {
			t.Fatal("nobody was let in")
		}
		d.login("anna", "the password of caller "+string(rune('A'+won))).want(http.StatusOK)
	})
}

// TestWrongInviteCodesAreGuesses: they count with an address's others, and a good one passes however many there were.
func TestWrongInviteCodesAreGuesses(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "rate_limits.per_minute=4", "trusted_proxies=127.0.0.1", "open_mode=never")
		_, code := d.invited(bearer(d.setUp()), "anna", "viewer")
		d.clock.freeze(time.Now())
		d.accept("x", chosen).refused(http.StatusUnauthorized, "invalid token")
		d.accept(strings.Repeat("x", 43), chosen).refused(http.StatusUnauthorized, "invalid token")
		d.unknownKey().refused(http.StatusUnauthorized, "invalid token")
		d.browser(t).send("POST", "/auth/invite", "same-origin", fieldsOf("code", "y", "password", chosen, "password_again", chosen)).says(http.StatusUnauthorized, noGoodLink)
		d.accept(strings.Repeat("x", 43), chosen).tooMany()
		d.unknownKey().tooMany()
		d.accept(strings.Repeat("x", 43), chosen, header("X-Forwarded-For", "198.51.100.7")).refused(http.StatusUnauthorized, "invalid token")
		d.accept(code, chosen).want(http.StatusOK)
	})
}

// TestWhoMayInvite: nobody above themselves, nor into another organization; RT1, RT7.
func TestWhoMayInvite(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := bearer(d.setUp())
		d.orgs(root, map[string][]string{"acme": {"lab"}})
		_, ann := d.newMember(root, "ann", "admin", "acme", "default")
		vic, viewer := d.newMember(root, "vic", "viewer", "acme", "default")
		out, _ := d.newMember(root, "out", "viewer", "acme", "lab")
		chief, _ := d.newMember(root, "chief", "superadmin", "acme", "default")
		theirs, _ := d.newMember(root, "zoe", "viewer", "default", "default")
		admin := bearer(ann)
		invite := func(by ask, id string) answer { return d.do("POST", "/api/auth/users/"+id+"/invite", by) }
		for _, id := range []string{theirs, "usr_none"} {
			invite(admin, id).refused(http.StatusNotFound, "user not found")
			d.do("GET", "/api/auth/users/"+id, admin).refused(http.StatusNotFound, "user not found")
			d.do("POST", "/api/auth/users/"+id+"/unlock", admin).refused(http.StatusNotFound, "user not found")
		}
		for _, id := range []string{chief, out} {
			invite(admin, id).refused(http.StatusForbidden, forbidden)
			d.do("GET", "/api/auth/users/"+id, admin).want(http.StatusOK)
		}
		invite(bearer(viewer), vic).refused(http.StatusForbidden, forbidden)
		code := codeIn(answer{t: t}, "/auth/invite#code="+d.newLink(admin, vic))
		for body, message := range map[string]string{
			`{"username":"x","role":"superadmin","invite":true}`:                                 "",
			`{"username":"x","role":"viewer","invite":true,"workspaces":["lab"]}`:                "workspaces: there is no workspace of that name that you could give",
			`{"username":"x","role":"viewer","invite":true,"password":"password of x"}`:          "password: must not be given together with invite",
			`{"username":"x","role":"viewer","invite":"yes"}`:                                    "invite: must be true or false",
			`{"username":"x","role":"viewer","invite":false}`:                                    "password: is required",
			`{"username":"x","invite":true}`:                                                     "role: is required: one of superadmin, admin, editor, viewer",
			`{"username":"VIC","role":"viewer","invite":true}`:                                   "username VIC is taken",
			`{"username":"<b>","role":"viewer","invite":true}`:                                   usernameRule("<b>"),
			`{"username":"x","role":"viewer","invite":true,"workspaces":["default"],"invite":1}`: "body: gives a field twice",
		} {
			a := d.do("POST", "/api/auth/users", admin, jsonBody(body))
			switch {
			case message == "":
				a.refused(http.StatusForbidden, forbidden)
			case strings.HasSuffix(message, "taken"):
				a.refused(http.StatusConflict, message)
			default:
				a.refused(http.StatusBadRequest, message)
			}
		}
		for body, message := range map[string]string{`{}`: "code: is required", `{"code":"x"}`: "password: is required", `{"code":["x"],"password":"y"}`: "code: must be a string"} {
			d.do("POST", "/api/auth/invite", jsonBody(body)).refused(http.StatusBadRequest, message)
		}
		d.do("POST", "/api/auth/invite", formBody(`{}`)).want(http.StatusUnsupportedMediaType)
		d.accept(code, chosen, header("Sec-Fetch-Site", "cross-site")).refused(http.StatusForbidden, crossOrigin)
		// A stale credential is in nobody's way.
		d.accept(code, chosen, bearer("stale"), cookie("stale")).want(http.StatusOK)
	})
}

// TestInviteLinksNameThisServer: as the operator says, with the prefix.
func TestInviteLinksNameThisServer(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "public_url=https://auth.example.com", "paths.prefix=/door")
	code := header("X-Setup-Code", d.house.authority.SetupCode())
	d.do("POST", "/door/api/auth/users", code, jsonBody(`{"username":"root","password":"x","role":"admin","invite":true}`)).want(http.StatusBadRequest)
	d.do("POST", "/door/api/auth/users", code, jsonBody(`{"username":"root","role":"admin","invite":true}`)).refused(http.StatusBadRequest, "invite: must not be given for the first user, who chooses a password")
	d.do("POST", "/door/api/auth/users", code, jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusCreated)
	in := d.do("POST", "/door/api/auth/login", jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusOK)
	a := d.do("POST", "/door/api/auth/users", bearer(in.str("token")), jsonBody(`{"username":"anna","role":"viewer","invite":true}`)).want(http.StatusCreated)
	if link := a.str("invite.link"); !strings.HasPrefix(link, "https://auth.example.com/door/auth/invite#code=") {
		t.Errorf("the link is %s", link)
	}
}

// TestInviteByCommand: beside a running server, for somebody who is there or is made by it.
func TestInviteByCommand(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := bearer(d.setUp())
	out := d.prints("user", "invite", "anna", "--role", "editor")
	if !strings.HasPrefix(out, "link for anna, good once until ") || !strings.Contains(out, ": /auth/invite#code=") || !strings.HasSuffix(out, " (put the address of this server before it, or set public_url)\n") {
		t.Errorf("it prints %q", out)
	}
	code := codeIn(answer{t: t}, out)
	d.accept(code, chosen).want(http.StatusOK)
	d.login("anna", chosen).want(http.StatusOK)
	out = d.prints("user", "invite", "ANNA", "--json", "--public-url", "https://auth.example.com", "--invites-life", "2h")
	if !strings.Contains(out, `"link":"https://auth.example.com/auth/invite#code=`) || !strings.Contains(out, `"username":"anna"`) {
		t.Errorf("it prints %s", out)
	}
	d.accept(codeIn(answer{t: t}, out), "another of one's own").want(http.StatusOK)
	d.fails("there is no user nobody", "", "user", "invite", "nobody")
	d.fails("username anna is taken", "", "user", "invite", "anna", "--role", "viewer")
	d.fails("user invite: --org and --workspace are for a user to be made; give --role too", "", "user", "invite", "anna", "--org", "default")
	d.fails("there is no organization acme", "", "user", "invite", "bob", "--role", "viewer", "--org", "acme")
	d.fails(`invites.life (--invites-life): "91d" must be from 1m to 90d`, "", "user", "invite", "anna", "--invites-life", "91d")
	if entries := d.auditLog(root, "action=user.invite"); len(entries) != 2 {
		t.Errorf("%d entries", len(entries))
	}
}

// TestWhoWasOnlyInvitedIsNotTheLast: the last superadmin who can sign in stays one, whoever has
// been invited to be another and has not come yet.
func TestWhoWasOnlyInvitedIsNotTheLast(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		id := d.do("GET", "/api/auth/me", bearer(root)).str("id")
		boss := d.do("POST", "/api/auth/users", bearer(root), jsonBody(`{"username":"boss","role":"superadmin","invite":true}`)).want(http.StatusCreated)
		for _, change := range []string{`{"role":"admin"}`, `{"disabled":true}`} {
			d.do("PATCH", "/api/auth/users/"+id, bearer(root), jsonBody(change)).want(http.StatusConflict)
		}
		d.do("DELETE", "/api/auth/users/"+id, bearer(root)).want(http.StatusConflict)
		link := boss.str("invite.link")
		_, code, _ := strings.Cut(link, "#code=")
		d.do("POST", "/api/auth/invite", header("Sec-Fetch-Site", "same-origin"), jsonBody(`{"code":"`+code+`","password":"a password of boss"}`)).want(http.StatusOK)
		d.do("PATCH", "/api/auth/users/"+id, bearer(root), jsonBody(`{"role":"admin"}`)).want(http.StatusOK)
	})
}

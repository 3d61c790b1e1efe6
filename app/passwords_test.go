package app

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// changePassword asks for a new password of the caller's own.
func (d *door) changePassword(by ask, current, next string) answer {
	return d.do("POST", "/api/auth/change-password", by, jsonOf(map[string]string{"current_password": current, "new_password": next}))
}

// resetPassword asks for a new password of somebody else.
func (d *door) resetPassword(by ask, id, next string, mustChange bool) answer {
	body := map[string]any{"user_id": id, "new_password": next}
	if mustChange {
		body["must_change"] = true
	}
	return d.do("POST", "/api/auth/admin-reset-password", by, jsonOf(body))
}

// TestIN7PasswordPolicy chooses passwords at every door where one is chosen, and signs in
// with those that are accepted.
func TestIN7PasswordPolicy(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "open_mode=never", "lockout.attempts=1000")
	code := header("X-Setup-Code", d.house.authority.SetupCode())
	const short, long, common = "must have at least 8 characters", "must have at most 256 characters", "is one of the most common passwords; choose another"
	refused := []struct{ password, reason string }{
		{"1234567", short},
		{"pässwör", short}, // seven characters in nine bytes
		{"日本語日本語日", short}, // seven in twenty-one
		{"        ", common},
		{"password", common},
		{"PassWord", common},
		{"12345678", common},
		{"Pass.Word-User", "must not be the username"},
		{"pass.word-user", "must not be the username"},
		{strings.Repeat("x", 257), long},
		{strings.Repeat("日", 257), long},
		{strings.Repeat("x", 60000), long},
	}
	for _, r := range refused {
		d.do("POST", "/api/auth/users", code, jsonOf(map[string]string{"username": "pass.word-user", "password": r.password})).
			refused(http.StatusBadRequest, "password: "+r.reason)
	}
	root := d.setUp()
	d.keepsQuiet("s3cret", "pässwör", "Pass.Word-User")
	id := d.do("POST", "/api/auth/users", bearer(root), jsonBody(`{"username":"pass.word-user","password":"s3cret one","role":"viewer"}`)).want(http.StatusCreated).str("id")
	token, _ := d.signIn("pass.word-user", "s3cret one")
	for _, r := range refused {
		d.do("POST", "/api/auth/users", bearer(root), jsonOf(map[string]string{"username": "PASS.word-user", "password": r.password, "role": "viewer"})).
			refused(http.StatusBadRequest, "password: "+r.reason)
		d.changePassword(bearer(token), "s3cret one", r.password).refused(http.StatusBadRequest, "new_password: "+r.reason)
		d.resetPassword(bearer(root), id, r.password, false).refused(http.StatusBadRequest, "new_password: "+r.reason)
	}
	// None of that has touched anything.
	d.do("GET", "/api/auth/me", bearer(token)).want(http.StatusOK)

	for _, good := range []string{
		"secure-password", "your-password", "new-pass", // the pages' own
		strings.Repeat("x ", 128), // IN5: 256
		strings.Repeat("🔑", 256),  // 256 in 1024 bytes
		"    x   y    ", "pässwört", "\x00\x01\x02\x03\"\\\r\n", "e\u0301e\u0301e\u0301e\u0301",
	} {
		d.resetPassword(bearer(root), id, good, false).want(http.StatusOK)
		d.login("pass.word-user", good).want(http.StatusOK)
		if trimmed := strings.TrimSpace(good); trimmed != good {
			d.login("pass.word-user", trimmed).refused(http.StatusUnauthorized, "invalid credentials")
		}
	}
	// Typed as it was chosen: nothing is added, and the same letters composed are other characters.
	d.login("pass.word-user", "e\u0301e\u0301e\u0301e\u0301 ").refused(http.StatusUnauthorized, "invalid credentials")
	d.login("pass.word-user", "éééé").refused(http.StatusUnauthorized, "invalid credentials")

	t.Run("IN5 ten megabytes", func(t *testing.T) {
		for _, path := range []string{"users", "change-password", "admin-reset-password", "login"} {
			// Only what need be read is sent: the answer does not wait for the rest.
			conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = fmt.Fprintf(conn, "POST /api/auth/%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"+
				`{"username":"x","password":"%s`, path, root, 10<<20, strings.Repeat("x", 64<<10))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: status %d", path, resp.StatusCode)
			}
		}
	})
}

func TestMinLengthIsASetting(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "passwords.min_length=15")
	d.do("POST", "/api/auth/users", jsonBody(`{"username":"root","password":"fourteen chars"}`)).
		refused(http.StatusBadRequest, "password: must have at least 15 characters")
	d.do("POST", "/api/auth/users", jsonBody(`{"username":"root","password":"fifteen chars!!"}`)).want(http.StatusCreated)
	// A rule made stricter locks nobody out whose password was good when it was chosen.
	d.restart("passwords.min_length=64")
	d.signIn("root", "fifteen chars!!")
}

func TestChangePasswordKeepsOnesOwnSession(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	d.keepsQuiet("her second one", "her third one", "her fourth one")
	_, other, otherCookie := d.newUser(root, "ann", "editor")
	token, value := d.signIn("ann", "password of ann")
	const wrong = "current_password: is wrong"

	d.changePassword(bearer(token), "her second one", "her second one").refused(http.StatusBadRequest, wrong)
	d.do("GET", "/api/auth/me", bearer(other)).want(http.StatusOK)

	// By token, and its cookie is of the same session.
	d.changePassword(bearer(token), "password of ann", "her second one").want(http.StatusOK).shape(`{"status":"password changed"}`)
	for _, how := range []ask{bearer(token), cookie(value)} {
		d.do("GET", "/api/pipelines", how).want(http.StatusOK)
	}
	d.do("GET", "/api/pipelines", bearer(other)).refused(http.StatusUnauthorized, "token blacklisted")
	d.do("GET", "/api/pipelines", cookie(otherCookie)).refused(http.StatusUnauthorized, "token blacklisted").cleared(true)
	d.login("ann", "password of ann").refused(http.StatusUnauthorized, "invalid credentials")
	second, _ := d.signIn("ann", "her second one")

	// By cookie.
	d.changePassword(cookie(value), "her second one", "her third one").want(http.StatusOK)
	d.do("GET", "/api/pipelines", cookie(value)).want(http.StatusOK)
	d.do("GET", "/api/pipelines", bearer(second)).refused(http.StatusUnauthorized, "token blacklisted")
	d.restart()
	d.do("GET", "/api/pipelines", cookie(value)).want(http.StatusOK)
	d.do("GET", "/api/pipelines", bearer(second)).refused(http.StatusUnauthorized, "token blacklisted")
	d.login("ann", "her second one").refused(http.StatusUnauthorized, "invalid credentials")

	// Two at once from one password: one of them is taken.
	got := at(2, func(i int) answer {
		return d.changePassword(cookie(value), "her third one", []string{"her fourth one", "her fourth one, too"}[i])
	})
	if got[http.StatusOK] != 1 || got[http.StatusConflict]+got[http.StatusBadRequest] != 1 {
		t.Errorf("two changes at once: %v", got)
	}
	a, b := d.login("ann", "her fourth one"), d.login("ann", "her fourth one, too")
	if a.status+b.status != http.StatusOK+http.StatusUnauthorized {
		t.Errorf("after two changes at once the passwords get %d and %d", a.status, b.status)
	}
	// The others' sessions were never in it.
	d.do("GET", "/api/auth/me", bearer(root)).want(http.StatusOK)
}

func TestResetEndsAllSessions(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	d.keepsQuiet("chosen by root", "chosen by herself")
	id, token, value := d.newUser(root, "ann", "admin")
	_, secondValue := d.signIn("ann", "password of ann")
	d.resetPassword(bearer(root), id, "chosen by root", false).want(http.StatusOK).shape(`{"status":"password reset"}`)
	for _, how := range []ask{bearer(token), cookie(value), cookie(secondValue)} {
		d.do("GET", "/api/auth/me", how).refused(http.StatusUnauthorized, "token blacklisted")
	}
	d.login("ann", "password of ann").refused(http.StatusUnauthorized, "invalid credentials")
	a := d.login("ann", "chosen by root").want(http.StatusOK).shape(`{"token":"*","user":{"id":"*","username":"ann","role":"admin"}}`)
	// One's own is reset like another's, and that session ends too.
	d.resetPassword(bearer(a.str("token")), id, "chosen by herself", false).want(http.StatusOK)
	d.do("GET", "/api/auth/me", bearer(a.str("token"))).refused(http.StatusUnauthorized, "token blacklisted")

	for body, message := range map[string]string{
		`{}`:                                   "user_id: is required",
		`{"user_id":"` + id + `"}`:             "new_password: is required",
		`{"user_id":1,"new_password":"x"}`:     "user_id: must be a string",
		`{"user_id":"x","new_password":["x"]}`: "new_password: must be a string",
		`{"user_id":"` + id + `","new_password":"chosen by root","must_change":"yes"}`: "must_change: must be true or false",
		`{"user_id":"` + id + `","new_password":"chosen by root","must_change":null}`:  "must_change: must be true or false",
	} {
		d.do("POST", "/api/auth/admin-reset-password", bearer(root), jsonBody(body)).refused(http.StatusBadRequest, message)
	}
	d.login("ann", "chosen by herself").want(http.StatusOK)
}

func TestMustChangeLeavesOneWay(t *testing.T) {
	t.Parallel()
	const required = "password change required"
	d := newDoor(t)
	root := d.setUp()
	d.keepsQuiet("chosen by root", "chosen by herself")
	id, _, _ := d.newUser(root, "ann", "admin")
	d.resetPassword(bearer(root), id, "chosen by root", true).want(http.StatusOK)
	d.login("ann", "password of ann").refused(http.StatusUnauthorized, "invalid credentials")
	in := d.login("ann", "chosen by root").want(http.StatusOK).
		shape(`{"token":"*","user":{"id":"*","username":"ann","role":"admin"},"must_change":true}`)
	token, value := in.str("token"), in.sessionCookie()
	stuck := func() {
		t.Helper()
		for _, how := range []ask{bearer(token), cookie(value)} {
			for _, path := range []string{
				"GET /", "GET /api/pipelines", "POST /api/pipelines", "GET /api/auth/users", "POST /api/auth/users",
				"PATCH /api/auth/users/" + id, "DELETE /api/auth/users/" + id, "POST /api/auth/admin-reset-password",
			} {
				method, p, _ := strings.Cut(path, " ")
				d.do(method, p, how, jsonBody(`{"user_id":"`+id+`","new_password":"chosen by herself","disabled":false}`)).
					refused(http.StatusForbidden, required).cleared(false)
			}
			if got := d.do("GET", "/api/auth/me", how).want(http.StatusOK).field("must_change"); got != true {
				t.Errorf("me says must_change %v", got)
			}
		}
		d.do("GET", "/auth/validate", bearer(token)).refused(http.StatusForbidden, required)
	}
	stuck()
	d.restart()
	stuck()
	// Signing out is open, and no way around.
	again, _ := d.signIn("ann", "chosen by root")
	d.do("POST", "/api/auth/logout", bearer(again)).want(http.StatusOK)
	// Nor is a password that is refused.
	d.changePassword(bearer(token), wrongPassword, "chosen by herself").refused(http.StatusBadRequest, "current_password: is wrong")
	d.changePassword(bearer(token), "chosen by root", "short").want(http.StatusBadRequest)
	d.changePassword(bearer(token), "chosen by root", "chosen by root").
		refused(http.StatusBadRequest, "new_password: must not be the one that somebody else has chosen")
	stuck()

	d.changePassword(cookie(value), "chosen by root", "chosen by herself").want(http.StatusOK)
	for _, how := range []ask{bearer(token), cookie(value)} {
		d.do("GET", "/api/pipelines", how).want(http.StatusOK)
		d.do("GET", "/api/auth/users", how).want(http.StatusOK)
		if got := d.do("GET", "/api/auth/me", how).want(http.StatusOK); strings.Contains(got.body, "must_change") {
			t.Errorf("me says %s", got.body)
		}
	}
	d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
	d.login("ann", "chosen by herself").want(http.StatusOK).shape(`{"token":"*","user":{"id":"*","username":"ann","role":"admin"}}`)
	d.login("ann", "chosen by root").refused(http.StatusUnauthorized, "invalid credentials")
	// A reset without must_change takes it away again.
	d.resetPassword(bearer(root), id, "chosen by root", true).want(http.StatusOK)
	d.resetPassword(bearer(root), id, "chosen by root", false).want(http.StatusOK)
	free, _ := d.signIn("ann", "chosen by root")
	d.do("GET", "/api/pipelines", bearer(free)).want(http.StatusOK)
}

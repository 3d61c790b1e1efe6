package app

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"doorward"
)

// deviceCookie is the device cookie that the answer sets; empty for none.
func (a answer) deviceCookie() string {
	a.t.Helper()
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == "brokoli_session_device" {
			return c.Value
		}
	}
	return ""
}

// device shows a device cookie.
func device(value string) ask { return header("Cookie", "brokoli_session_device="+value) }

// known signs in and returns the cookie that a browser then holds.
func (d *door) known(username, password string, asks ...ask) string {
	d.t.Helper()
	value := d.login(username, password, asks...).want(http.StatusOK).deviceCookie()
	if value == "" {
		d.t.Errorf("%s signed in and got no device cookie", username)
	}
	return value
}

// TestLK11WhoGuessesFromElsewhereLocksNobodyOut: an attacker keeps the account locked for
// hours; the browser in which its owner has signed in before signs in all the same.
func TestLK11WhoGuessesFromElsewhereLocksNobodyOut(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "rate_limits.enabled=false")
		root := d.setUp()
		d.newUser(root, "ann", "viewer")
		mine := d.known("root", rootPassword)
		for range 4 {
			d.guess("root", 5)
			d.login("root", rootPassword).locked(freshLock, 15*time.Minute)
			d.login("root", rootPassword, device("AAAAAAAAAAAAAAAAAAAAAA")).locked(freshLock, 15*time.Minute)
			mine = d.known("root", rootPassword, device(mine))
			// It was no guess of the owner's, so the owner's success is nothing to the guesser.
			d.login("root", wrongPassword).locked(freshLock, 15*time.Minute)
			d.clock.advance(15 * time.Minute)
		}
		// A page is as good a door.
		page := d.signInByForm("root", rootPassword, device(mine)).want(http.StatusSeeOther)
		if page.deviceCookie() != mine {
			t.Errorf("the page set %q, the browser had %q", page.deviceCookie(), mine)
		}
		d.guess("root", 5)
		d.signInByForm("root", rootPassword).want(http.StatusTooManyRequests)
		d.signInByForm("root", rootPassword, device(mine)).want(http.StatusSeeOther)
		d.restart()
		d.known("root", rootPassword, device(mine))
		d.login("root", rootPassword).locked(time.Minute, 15*time.Minute)
	})
}

// signInByForm posts the sign-in page's form.
func (d *door) signInByForm(username, password string, asks ...ask) answer {
	body := strings.NewReplacer("%USER", username, "%PASS", strings.ReplaceAll(password, " ", "+")).Replace("username=%USER&password=%PASS")
	return d.do("POST", "/auth/login", append([]ask{formBody(body), header("Origin", d.URL)}, asks...)...)
}

func TestADeviceHasACounterOfItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		d.setUp()
		one, two := d.known("root", rootPassword), d.known("root", rootPassword)
		if one == two {
			t.Fatal("two browsers have one secret")
		}
		wrong := func(value string) answer { return d.login("root", wrongPassword, device(value)) }
		for range 5 {
			wrong(one).refused(http.StatusUnauthorized, "invalid credentials")
		}
		wrong(one).locked(freshLock, 15*time.Minute)
		d.login("root", rootPassword, device(one)).locked(freshLock, 15*time.Minute)
		// Neither the other browser nor a stranger has been counted.
		for range 4 {
			wrong(two).refused(http.StatusUnauthorized, "invalid credentials")
		}
		d.guess("root", 4)
		d.known("root", rootPassword, device(two))
		for range 4 { // the success was that device's
			wrong(two).refused(http.StatusUnauthorized, "invalid credentials")
		}
		d.guess("root", 1)
		d.login("root", rootPassword).locked(freshLock, 15*time.Minute)
		d.restart()
		d.login("root", rootPassword, device(one)).locked(time.Minute, 15*time.Minute)
		d.clock.advance(15 * time.Minute)
		d.known("root", rootPassword, device(one))
		// Simultaneous guesses are five at most on a device as well.
		got := at(40, func(int) answer { return wrong(one) })
		if got[http.StatusUnauthorized] != 5 || got[http.StatusTooManyRequests] != 35 {
			t.Errorf("%v", got)
		}
	})
}

func TestADeviceCookieIsGuarded(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "public_url=https://door.example", "names.cookie=ours")
	d.do("POST", "/api/auth/users", jsonBody(firstUserBody), header("X-Setup-Code", d.house.authority.SetupCode())).want(http.StatusCreated)
	a := d.login("root", rootPassword, header("Origin", "https://door.example")).want(http.StatusOK)
	var found []string
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		found = append(found, c.Name)
		if c.Name != "ours_device" {
			continue
		}
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge != 180*24*3600 || c.Domain != "" || len(c.Value) > 200 {
			t.Errorf("%v", c)
		}
	}
	if !slices.Equal(found, []string{"ours", "ours_device"}) {
		t.Errorf("cookies set: %q", found)
	}
	// The database holds nothing that would make one.
	secret := ""
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == "ours_device" {
			secret = c.Value
		}
	}
	if kept := d.column(`SELECT hex(sha256) || user_id FROM devices`); kept == "" || strings.Contains(kept, secret) {
		t.Errorf("kept is %q", kept)
	}
	d.login("root", wrongPassword, header("Cookie", "ours_device="+secret), header("Origin", "https://door.example")).want(http.StatusUnauthorized)
	d.keepsQuiet(secret)
}

// TestADeviceCookieLetsNobodyIn, and is no session: not in its own cookie, nor in the
// session's, nor as a token or key.
func TestADeviceCookieLetsNobodyIn(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "auth.enabled=true")
		d.setUp()
		mine := d.known("root", rootPassword)
		d.do("GET", "/api/auth/me", device(mine)).refused(http.StatusUnauthorized, "token required")
		d.do("GET", "/api/pipelines", device(mine)).refused(http.StatusUnauthorized, "token required")
		d.do("GET", "/api/auth/me", cookie(mine)).refused(http.StatusUnauthorized, "invalid token")
		d.do("GET", "/api/auth/me", bearer(mine)).refused(http.StatusUnauthorized, "invalid token")
		d.do("GET", "/api/auth/me", apiKey(mine)).refused(http.StatusUnauthorized, "invalid token")
		d.login("root", "", device(mine)).refused(http.StatusUnauthorized, "invalid credentials")
		// A session is no device either.
		_, session := d.signIn("root", rootPassword)
		d.guess("root", 5)
		d.login("root", rootPassword, device(session), cookie(session)).locked(freshLock, 15*time.Minute)
	})
}

// TestADeviceCookieOfOthersCountsForNothing: another user's, one made up, one cut short or
// planted, and none of them is an error.
func TestADeviceCookieOfOthersCountsForNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "rate_limits.enabled=false")
		root := d.setUp()
		d.newUser(root, "ann", "viewer")
		mine, anns := d.known("root", rootPassword), d.known("ann", "password of ann")
		others := ""
		for _, c := range "ABCDE" {
			others += string(c) + "AAAAAAAAAAAAAAAAAAAAA."
		}
		d.guess("root", 5)
		for _, bad := range []string{
			anns, "", ".", "..........", mine[1:], mine[:len(mine)-1], mine + "A", strings.ToLower(mine) + "_", " ", `"` + mine + `"`,
			others + mine, strings.Repeat("x", 3000), "' OR 1=1 --",
		} {
			d.login("root", rootPassword, device(bad)).locked(freshLock, 15*time.Minute)
		}
		// Among others it is found, in one cookie or in several.
		d.known("root", rootPassword, device(anns+"."+mine))
		d.known("root", rootPassword, device("AAAAAAAAAAAAAAAAAAAAAA"), device(mine))
		// A secret planted before the sign-in is not the one that the browser gets.
		planted := "BBBBBBBBBBBBBBBBBBBBBA"
		d.clock.advance(15 * time.Minute)
		if got := d.known("root", rootPassword, device(planted)); strings.HasPrefix(got, planted) {
			t.Errorf("a planted secret was taken: %s", got)
		}
		d.guess("root", 5)
		d.login("root", rootPassword, device(planted)).locked(freshLock, 15*time.Minute)
	})
}

func TestSeveralPeopleOnOneBrowser(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "rate_limits.enabled=false")
	root := d.setUp()
	jar := ""
	var names []string
	for i := range 7 {
		name := fmt.Sprintf("u%d", i)
		d.newUser(root, name, "viewer")
		names = append(names, name)
		jar = d.known(name, "password of "+name, device(jar))
		if n := len(strings.Split(jar, ".")); n != min(i+1, 5) {
			t.Fatalf("after %d people the cookie is %s", i+1, jar)
		}
	}
	for i, name := range names {
		d.guess(name, 5)
		a := d.login(name, "password of "+name, device(jar))
		if i < 2 { // whose sign-in is longest ago
			a.locked(freshLock, 15*time.Minute)
			continue
		}
		jar = a.want(http.StatusOK).deviceCookie()
	}
}

func TestANewPasswordMakesStrangersOfAllBrowsers(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "rate_limits.enabled=false")
		root := d.setUp()
		id, ann, annCookie := d.newUser(root, "ann", "viewer")
		one, two := d.known("ann", "password of ann"), d.known("ann", "password of ann")
		change := func(from, to string, asks ...ask) answer {
			return d.do("POST", "/api/auth/change-password", append(asks, jsonOf(map[string]string{"current_password": from, "new_password": to}))...)
		}
		// From a browser that is known, a wrong current password counts on it alone, and the
		// account's lock is nothing to it (LK3).
		d.guess("ann", 5)
		for range 4 {
			change(wrongPassword, "a new one of hers", cookie(annCookie), device(one)).refused(http.StatusBadRequest, "current_password: is wrong")
		}
		d.login("ann", wrongPassword, device(one)).refused(http.StatusUnauthorized, "invalid credentials")
		change("password of ann", "a new one of hers", cookie(annCookie), device(one)).locked(freshLock, 15*time.Minute)
		change("password of ann", "a new one of hers", bearer(ann)).locked(freshLock, 15*time.Minute)
		fresh := change("password of ann", "a new one of hers", cookie(annCookie), device(two)).want(http.StatusOK).deviceCookie()
		if fresh == "" || strings.HasPrefix(fresh, two) {
			t.Errorf("the browser that changed the password has the device cookie %q, before %q", fresh, two)
		}
		d.guess("ann", 5) // the change unlocked the account
		for _, old := range []string{one, two} {
			d.login("ann", "a new one of hers", device(old)).locked(freshLock, 15*time.Minute)
		}
		fresh = d.known("ann", "a new one of hers", device(fresh))
		d.do("POST", "/api/auth/admin-reset-password", bearer(root), jsonBody(`{"user_id":"`+id+`","new_password":"chosen by root"}`)).want(http.StatusOK)
		d.guess("ann", 5)
		d.login("ann", "chosen by root", device(fresh)).locked(freshLock, 15*time.Minute)
		d.clock.advance(15 * time.Minute)

		// Another role leaves the browsers known; who may not sign in gets none.
		d.known("ann", "chosen by root")
		mine := d.known("ann", "chosen by root")
		d.do("PATCH", "/api/auth/users/"+id, bearer(root), jsonBody(`{"role":"editor"}`)).want(http.StatusOK)
		d.guess("ann", 5)
		d.known("ann", "chosen by root", device(mine))
		d.do("PATCH", "/api/auth/users/"+id, bearer(root), jsonBody(`{"disabled":true}`)).want(http.StatusOK)
		a := d.login("ann", "chosen by root", device(mine)).refused(http.StatusUnauthorized, "invalid credentials")
		if len(a.header["Set-Cookie"]) > 0 {
			t.Errorf("a disabled user got %q", a.header["Set-Cookie"])
		}
		if got := change("x", "a new one of hers", bearer(root)).deviceCookie(); got != "" {
			t.Errorf("a browser that was none before got %s", got)
		}
	})
}

func TestADeviceIsForgottenInTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "rate_limits.enabled=false")
		d.setUp()
		mine := d.known("root", rootPassword)
		d.clock.advance(doorward.DeviceLife - time.Hour)
		d.known("root", rootPassword, device(mine)) // begins anew
		d.clock.advance(doorward.DeviceLife - time.Hour)
		d.guess("root", 5)
		d.known("root", rootPassword, device(mine))
		d.clock.advance(doorward.DeviceLife + time.Hour)
		d.guess("root", 5)
		d.login("root", rootPassword, device(mine)).locked(freshLock, 15*time.Minute)
		if err := d.house.authority.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := d.sqlNumber(`SELECT count(*) FROM devices`); n != 0 {
			t.Errorf("%d devices are kept", n)
		}
	})
}

// TestPX13TheDeviceCookieStaysHere: neither does the service get it, nor can it set one.
func TestPX13TheDeviceCookieStaysHere(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t)
	mine := "AAAAAAAAAAAAAAAAAAAAAA"
	got := d.do("GET", "/x", bearer(machineToken), header("Cookie", "theme=dark; brokoli_session_device="+mine+"; lang=en")).want(http.StatusOK)
	if strings.Contains(got.body, mine) || !strings.Contains(got.body, "theme=dark; lang=en") {
		t.Errorf("the service got %s", got.body)
	}
}

package app

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// fill writes into a field of the page, as somebody at a keyboard does.
func (w *window) fill(id, text string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.SetValue(chromedp.CSS("#"+id), text)); err != nil {
		w.t.Fatalf("filling in %s: %v, at %s", id, err, w.at())
	}
}

// press presses the button, or follows the link, that reads so, and waits for the page that comes.
func (w *window) press(text string) (status int) {
	w.t.Helper()
	return w.lands("pressing "+text, chromedp.Click(chromedp.Search(`//*[self::button or self::a][normalize-space(.)=`+quoted(text)+`]`)))
}

// reads waits until the page that is open reads so.
func (w *window) reads(texts ...string) {
	w.t.Helper()
	for until := time.Now().Add(windowPatience); ; {
		got, lacks := w.text(), ""
		for _, text := range texts {
			if !strings.Contains(got, text) {
				lacks = text
			}
		}
		if lacks == "" {
			return
		}
		if time.Now().After(until) {
			w.t.Fatalf("%s does not read %q but %q", w.at(), lacks, got)
		}
	}
}

// withoutScripts turns scripts off.
func (w *window) withoutScripts() {
	w.t.Helper()
	if _, err := chromedp.Call(w.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		w.t.Fatal(err)
	}
}

// TestJourneyFromNothingToAGuardedService: somebody opens the link of the console, fills in what
// they are asked, and has a guarded service, by a browser alone.
func TestJourneyFromNothingToAGuardedService(t *testing.T) {
	t.Parallel()
	service := newNeighbour(t, "the service")
	d := newDoor(t, "upstream="+service.URL)
	c := newChromium(t, strings.TrimPrefix(d.URL, "http://"))
	w := c.window(t)
	complaints := w.complaints()
	w.open(d.URL + "/") // the first visit
	w.isAt(d.URL + "/auth/setup")
	w.open(d.URL + "/auth/login")
	w.open(d.URL + "/auth/setup#code=" + d.house.authority.SetupCode())
	w.isAt(d.URL + "/auth/setup") // the code is out of the address, and so out of the history
	w.fill("username", "root")
	w.fill("password", rootPassword)
	w.fill("password_again", rootPassword)
	w.press("Make the first user")
	w.isAt(d.URL + "/auth/welcome")
	w.fill("name", "The Bakery")
	w.press("Go on")
	w.reads("What is behind the door", service.URL)
	w.press("Go on")
	w.reads("Ready", "curl -X POST", "Make a key")
	w.press("make one")
	w.fill("name", "build server")
	w.press("Make the key")
	w.reads("This is the only time")
	key := evaluate[string](w, `document.getElementById("key").textContent`)
	d.do("GET", "/", bearer(key)).want(http.StatusOK)
	w.shot("key-shown")
	w.open(d.URL + "/some/page?of=it")
	w.reads("the service: root GET /some/page?of=it")
	w.open(d.URL + "/auth/account")
	w.reads("The Bakery", "superadmin")
	w.press("Sign out")
	w.open(d.URL + "/some/page?of=it")
	w.isAt(d.URL + "/auth/login?next=%2Fsome%2Fpage%3Fof%3Dit")
	w.signIn("root", rootPassword)
	w.isAt(d.URL + "/some/page?of=it")
	if all := complaints(); len(all) > 0 {
		t.Errorf("the browser complains: %q", all)
	}
}

// TestJourneyWithoutScripts: setting up and signing in need none.
func TestJourneyWithoutScripts(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "open_mode=never")
	w := newChromium(t, strings.TrimPrefix(d.URL, "http://")).window(t)
	w.withoutScripts()
	w.open(d.URL + "/auth/setup")
	w.typeIn("code", d.house.authority.SetupCode())
	w.typeIn("username", "root")
	w.typeIn("password", rootPassword)
	w.typeIn("password_again", rootPassword)
	w.press("Make the first user")
	w.isAt(d.URL + "/auth/welcome")
	w.press("Leave it as it is")
	w.press("Go on")
	w.isAt(d.URL + "/auth/welcome/ready")
	w.open(d.URL + "/auth/account/sessions")
	w.press("Sign out")
	w.isAt(d.URL + "/auth/login")
	w.typeIn("username", "root")
	w.typeIn("password", rootPassword)
	w.press("Sign in")
	w.isAt(d.URL + "/")
}

// typeIn types into a field, key by key.
func (w *window) typeIn(id, text string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#"+id), text)); err != nil {
		w.t.Fatalf("typing %s: %v, at %s", id, err, w.at())
	}
}

// TestJourneyLockedOutAndRescued: who guesses too often is told so in words; an administrator's
// reset lets them in, and they choose a password of their own.
func TestJourneyLockedOutAndRescued(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	admin := d.setUp()
	id, _, _ := d.newUser(admin, "anna", "editor")
	c := newChromium(t, strings.TrimPrefix(d.URL, "http://"))
	w := c.window(t)
	w.open(d.URL + "/auth/login?next=%2Fapi%2Fpipelines")
	for range 5 {
		w.signIn("anna", "a wrong password")
		w.reads(wrongLogin)
	}
	if status := w.signIn("anna", "password of anna"); status != http.StatusTooManyRequests {
		t.Errorf("the right password meanwhile: %d", status)
	}
	w.reads(lockedLogin)
	w.shot("locked")
	d.do("POST", "/api/auth/admin-reset-password", bearer(admin), jsonBody(`{"user_id":"`+id+`","new_password":"chosen by another","must_change":true}`)).want(http.StatusOK)
	w.signIn("anna", "chosen by another")
	w.reads("Choose a new password", "Somebody else has set your password.")
	w.shot("must-change")
	w.fill("current_password", "chosen by another")
	w.fill("new_password", "one of her own")
	w.fill("new_password_again", "one of her own")
	w.press("Change password")
	w.isAt(d.URL + "/api/pipelines")

	// By pages alone: an administrator sees who is locked, and lets them in again.
	w.open(d.URL + "/auth/account")
	w.press("Sign out")
	for range 5 {
		d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("anna", "a wrong password"))).want(http.StatusUnauthorized)
	}
	rescuer := c.window(t)
	rescuer.open(d.URL + "/auth/login?next=%2Fauth%2Fadmin")
	rescuer.signIn("root", rootPassword)
	rescuer.reads("Locked accounts", "anna")
	rescuer.shot("locked-accounts")
	rescuer.press("Unlock anna")
	rescuer.press("Unlock the account")
	rescuer.reads("The account is unlocked.")
	d.signIn("anna", "one of her own")
}

// TestJourneyInTwoTabs: two tabs of one browser share a session; what one ends the other hears in words.
func TestJourneyInTwoTabs(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.newUser(d.setUp(), "anna", "editor")
	c := newChromium(t, strings.TrimPrefix(d.URL, "http://"))
	one := c.window(t)
	two := one.tab(t)
	one.open(d.URL + "/auth/login?next=%2Fauth%2Faccount")
	two.open(d.URL + "/auth/login?next=%2Fauth%2Faccount%2Fkeys")
	one.signIn("anna", "password of anna")
	two.signIn("anna", "password of anna") // the page was there before the other signed in
	two.isAt(d.URL + "/auth/account/keys")
	one.open(d.URL + "/auth/account/sessions")
	one.press("End all others") // which the browser's first session is now
	one.reads("All your other sessions have ended.")
	two.fill("name", "made in a tab that is old")
	two.press("Make the key")
	two.reads("This is the only time")
	one.press("Sign out")
	two.open(d.URL + "/auth/account/keys")
	two.isAt(d.URL + "/auth/login?next=%2Fauth%2Faccount%2Fkeys")
}

// tab is another tab of the same window, with the same cookies.
func (w *window) tab(t *testing.T) *window {
	t.Helper()
	ctx, closed := chromedp.NewContext(w.ctx)
	t.Cleanup(closed)
	other := &window{t, ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return other
}

// TestJourneyOfAnInvitedPerson: an administrator makes a user and hands a link over; who opens it
// chooses a password and is in. Nobody else ever knows it, and the link is good once.
func TestJourneyOfAnInvitedPerson(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.setUp()
	c := newChromium(t, strings.TrimPrefix(d.URL, "http://"))
	admin, anna := c.window(t), c.window(t)
	admin.open(d.URL + "/auth/login?next=%2Fauth%2Fadmin%2Fusers")
	admin.signIn("root", rootPassword)
	admin.press("Make a user")
	admin.fill("username", "anna")
	admin.press("Make the user")
	admin.reads("anna", "#code=")
	admin.shot("invite-shown")
	link := evaluate[string](admin, `document.querySelector(".secret").textContent`)
	anna.open(link)
	anna.isAt(d.URL + "/auth/invite") // the code is out of the address
	anna.shot("invite")
	anna.fill("password", "one of her own")
	anna.fill("password_again", "one of her own")
	anna.press("Choose the password and sign in")
	anna.open(d.URL + "/auth/account")
	anna.reads("anna", "viewer")
	stranger := c.window(t)
	stranger.open(link)
	stranger.fill("password", "one of somebody's own")
	stranger.fill("password_again", "one of somebody's own")
	if status := stranger.press("Choose the password and sign in"); status != http.StatusUnauthorized {
		t.Errorf("the link again: status %d, %s", status, stranger.text())
	}
	d.signIn("anna", "one of her own")
}

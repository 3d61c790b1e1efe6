package app

import (
	"net/http"
	"testing"
)

// TestSetupLeadsOn is the way of somebody who has never heard of us: from an empty database to a
// guarded service, by pages alone.
func TestSetupLeadsOn(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := newDoor(t, "upstream="+service)
	b := d.browser(t)
	form := b.follow(b.load("/")).says(http.StatusOK, "")
	in := b.press(form, "/auth/setup", setupFields(d.house.authority.SetupCode(), "root", "a password of one's own"))
	page := b.follow(in).says(http.StatusOK, "").shows("Step 1 of 3", "Name your organization")
	b.press(page, "/auth/welcome", fieldsOf("name", " ")).says(http.StatusBadRequest, "The name must have 1 to 128 visible characters.").shows("Step 1 of 3")
	named := b.press(page, "/auth/welcome", fieldsOf("name", "Bäckerei <Groß>"))
	b.follow(named).says(http.StatusOK, "").shows("Step 2 of 3", service)
	b.load("/auth/welcome/ready").says(http.StatusOK, "").shows("Step 3 of 3", d.URL+"/api/auth/login", "root")
	b.load("/auth/account").says(http.StatusOK, "").shows("Bäckerei <Groß>")
	if b.load("/").want(http.StatusOK).header.Get("Mirror") == "" {
		t.Error("the service is not reached")
	}
	// Later it is for admins alone, and the name for a superadmin.
	token := d.do("POST", "/api/auth/login", jsonBody(credentialsJSON("root", "a password of one's own"))).want(http.StatusOK).str("token")
	for role, status := range map[string]int{"viewer": http.StatusForbidden, "editor": http.StatusForbidden, "admin": http.StatusOK} {
		d.newUser(token, role, role)
		other := d.signedIn(t, role, "password of "+role)
		other.load("/auth/welcome").want(status)
		other.send("POST", "/auth/welcome", "same-origin", fieldsOf("name", "Mine")).says(http.StatusForbidden, "You may not do that.")
	}
	b.load("/auth/account").shows("Bäckerei <Groß>")
}

// TestTheSampleIsSaidToBeOne: with nothing behind, the page says how to put something there.
func TestTheSampleIsSaidToBeOne(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.setUp()
	b := d.signedIn(t, "root", rootPassword)
	b.load("/auth/welcome/service").says(http.StatusOK, "").shows("sample service", "doorward serve --upstream")
	b.load("/auth/welcome/ready").says(http.StatusOK, "").shows("doorward serve --upstream")
	// Where something is guarded already, nobody is told to begin.
	guarded, _ := gatewayDoor(t)
	asked := forwardDoor(t, "caddy")
	for says, d := range map[string]*door{"Whoever is let in reaches:": guarded, "what the proxy, ": asked} {
		d.setUp()
		b := d.signedIn(t, "root", rootPassword)
		b.load("/auth/welcome/service").says(http.StatusOK, "").shows(says).hides("sample service", "doorward serve")
		b.load("/auth/welcome/ready").says(http.StatusOK, "").hides("doorward serve")
	}
}

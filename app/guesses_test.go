package app

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// tooMany fails the test unless the answer says so, with a time of at most a minute.
func (a answer) tooMany() answer {
	a.t.Helper()
	a.refused(http.StatusTooManyRequests, "too many requests")
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > 60 {
		a.t.Errorf("%s: Retry-After %q", a.what, a.header.Get("Retry-After"))
	}
	return a
}

// unknownKey shows one that nobody has.
func (d *door) unknownKey(asks ...ask) answer {
	return d.do("GET", "/api/pipelines", append([]ask{apiKey("brk_0000")}, asks...)...)
}

// TestLK9WhoeverSaysWhatOfTheirAddress: headers of an untrusted peer are nothing, and from a
// trusted one all of a /64 is one guesser.
func TestLK9WhoeverSaysWhatOfTheirAddress(t *testing.T) {
	t.Parallel()
	t.Run("untrusted", func(t *testing.T) {
		t.Parallel()
		d := machineDoor(t)
		for i := range 60 {
			name := []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP"}[i%5]
			value := fmt.Sprintf("198.51.100.%d", i)
			if name == "Forwarded" {
				value = "for=" + value
			}
			d.unknownKey(header(name, value)).refused(http.StatusUnauthorized, "invalid token")
		}
		d.unknownKey(header("X-Forwarded-For", "203.0.113.9")).tooMany()
		d.login("nobody", wrongPassword, header("X-Real-IP", "203.0.113.9")).tooMany()
	})
	t.Run("behind a trusted proxy", func(t *testing.T) {
		t.Parallel()
		d := machineDoor(t, "trusted_proxies=127.0.0.1", "rate_limits.per_minute=10")
		from := func(a string) ask { return header("X-Forwarded-For", a) }
		for i := range 10 {
			d.unknownKey(from(fmt.Sprintf("2001:db8:1:2:%x::%x", i*4099, i))).refused(http.StatusUnauthorized, "invalid token")
		}
		d.unknownKey(from("2001:db8:1:2::1")).tooMany()
		d.unknownKey(from("[2001:db8:1:2::2]:443")).tooMany()
		d.unknownKey(from("10.9.9.9, 2001:db8:1:2:ffff::")).tooMany() // what the client wrote stands left
		for _, other := range []string{"2001:db8:1:3::1", "198.51.100.1", "198.51.100.2"} {
			d.unknownKey(from(other)).refused(http.StatusUnauthorized, "invalid token")
		}
		// An IPv4 address in its IPv6 clothes is the same.
		for i := range 9 {
			d.unknownKey(from([]string{"198.51.100.1", "::ffff:198.51.100.1"}[i%2])).refused(http.StatusUnauthorized, "invalid token")
		}
		d.unknownKey(from("::ffff:198.51.100.1")).tooMany()
	})
}

func TestGuessesOfAnAddressAreLimited(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "rate_limits.per_minute=6", "trusted_proxies=127.0.0.1", "lockout.attempts=1000")
		root := d.setUpWithKey(t)
		_, session := d.signIn("root", rootPassword)
		known := d.known("root", rootPassword)
		access, refresh := d.exchange(machineToken, "app")
		ended, _ := d.exchange(machineToken, "app")
		d.do("POST", "/auth/logout", bearer(ended)).want(http.StatusOK)
		d.clock.freeze(time.Now())

		// All kinds of guesses are counted together, and nothing else is.
		d.unknownKey().refused(http.StatusUnauthorized, "invalid token")
		d.do("GET", "/auth/validate", bearer("some-token")).refused(http.StatusUnauthorized, "invalid token")
		d.login("root", wrongPassword).refused(http.StatusUnauthorized, "invalid credentials")
		d.login("nobody at all", wrongPassword).refused(http.StatusUnauthorized, "invalid credentials")
		d.do("POST", "/api/auth/change-password", cookie(session), jsonBody(`{"current_password":"x","new_password":"a new one of hers"}`)).
			refused(http.StatusBadRequest, "current_password: is wrong")
		for range 10 {
			d.do("GET", "/api/pipelines", bearer(ended)).refused(http.StatusUnauthorized, "token blacklisted")
			d.do("GET", "/api/pipelines", bearer(flipped(access))).refused(http.StatusUnauthorized, "invalid token")
			d.do("GET", "/api/pipelines", bearer("eyJhbGciOiJub25lIn0.e30.")).refused(http.StatusUnauthorized, "invalid token")
			d.do("GET", "/api/pipelines", cookie("x")).refused(http.StatusUnauthorized, "invalid token")
			d.do("GET", "/api/pipelines").refused(http.StatusUnauthorized, "token required")
			d.refresh("x").refused(http.StatusUnauthorized, "invalid token")
		}
		d.login("root", rootPassword).want(http.StatusOK)
		d.unknownKey().refused(http.StatusUnauthorized, "invalid token")

		// From here on: unknown secrets and passwords, right ones too, are not looked at.
		for range 3 {
			d.unknownKey().tooMany()
			d.do("POST", "/auth/token", bearer("some-token"), formBody(`{"client_id":"app"}`)).tooMany()
			d.login("root", rootPassword).tooMany()
			d.login("root", wrongPassword).tooMany()
			d.do("POST", "/api/auth/change-password", cookie(session), jsonBody(`{"current_password":"`+rootPassword+`","new_password":"a new one of hers"}`)).tooMany()
			d.signInByForm("root", rootPassword).want(http.StatusTooManyRequests)
		}
		// Whoever has something good is let in.
		for _, how := range []ask{bearer(root), bearer(access), bearer(machineToken), bearer(machineKey), apiKey(machineKey), cookie(session)} {
			d.do("GET", "/api/pipelines", how).want(http.StatusOK)
		}
		known = d.known("root", rootPassword, device(known))
		d.login("root", wrongPassword, device(known)).refused(http.StatusUnauthorized, "invalid credentials")
		d.rotated(refresh)
		d.exchange(machineToken, "app")
		d.do("GET", "/api/pipelines", bearer(ended)).refused(http.StatusUnauthorized, "token blacklisted")
		// And whoever comes from elsewhere is another.
		d.unknownKey(header("X-Forwarded-For", "198.51.100.7")).refused(http.StatusUnauthorized, "invalid token")
		d.login("root", rootPassword, header("X-Forwarded-For", "198.51.100.7")).want(http.StatusOK)

		d.clock.advance(59 * time.Second)
		d.unknownKey().tooMany()
		d.clock.advance(time.Second)
		for range 6 {
			d.unknownKey().refused(http.StatusUnauthorized, "invalid token")
		}
		d.unknownKey().tooMany()
		d.clock.advance(time.Minute)
		d.login("root", rootPassword).want(http.StatusOK)
	})
}

// setUpWithKey makes root with the operator's key and signs in.
func (d *door) setUpWithKey(t *testing.T) (token string) {
	t.Helper()
	d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(http.StatusCreated)
	token, _ = d.signIn("root", rootPassword)
	return token
}

func TestTheWindowOfGuessesSlides(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "rate_limits.per_minute=3")
	d.clock.freeze(time.Now())
	for range 3 { // at 0, 20 and 40 seconds
		d.unknownKey().refused(http.StatusUnauthorized, "invalid token")
		d.clock.advance(20 * time.Second)
	}
	for range 3 {
		d.unknownKey().refused(http.StatusUnauthorized, "invalid token")
		if a := d.unknownKey().tooMany(); a.header.Get("Retry-After") != "20" {
			t.Errorf("Retry-After %s", a.header.Get("Retry-After"))
		}
		d.clock.advance(20 * time.Second)
	}
}

func TestWrongSetupCodesAreGuesses(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "auth.enabled=true", "rate_limits.per_minute=5")
	try := func(asks ...ask) answer {
		return d.do("POST", "/api/auth/users", append([]ask{jsonBody(firstUserBody)}, asks...)...)
	}
	for range 10 {
		try().refused(http.StatusUnauthorized, "token required")
	}
	for range 3 {
		try(header("X-Setup-Code", "guess")).refused(http.StatusUnauthorized, "invalid token")
	}
	for range 2 {
		try(bearer("guess")).refused(http.StatusUnauthorized, "invalid token")
	}
	try(header("X-Setup-Code", "guess")).tooMany()
	try(apiKey("guess")).tooMany()
	// Nobody guesses 128 bits: the right one passes, so that nobody can hold up a first run.
	try(header("X-Setup-Code", d.house.authority.SetupCode())).want(http.StatusCreated)
}

func TestGuessesMayBeUnlimited(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "rate_limits.enabled=false", "rate_limits.per_minute=2")
	for range 80 {
		d.unknownKey().refused(http.StatusUnauthorized, "invalid token")
	}
}

func TestWhatIsNoneOfOursIsNoGuessOnAPublicRoute(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t, "rate_limits.per_minute=2", "routes=/hooks/** public")
	for range 10 {
		d.do("POST", "/hooks/x", bearer("the-services-own")).want(http.StatusOK)
		d.do("POST", "/hooks/x", apiKey("the-services-own")).want(http.StatusOK)
	}
	for range 2 {
		d.do("GET", "/x", bearer("the-services-own")).refused(http.StatusUnauthorized, "invalid token")
	}
	d.do("GET", "/x", bearer("the-services-own")).tooMany()
	d.do("POST", "/hooks/x", bearer("the-services-own")).want(http.StatusOK)
}

// TestNoMoreGuessesAtOnceThanInAMinute: guesses under way are counted.
func TestNoMoreGuessesAtOnceThanInAMinute(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "rate_limits.per_minute=8")
	d.setUp()
	got := at(120, func(i int) answer { return d.login(fmt.Sprintf("nobody%d", i), wrongPassword) })
	if got[http.StatusUnauthorized] != 8 || got[http.StatusTooManyRequests] != 112 {
		t.Errorf("%v", got)
	}
	// Right ones are none, however many come together.
	d.clock.advance(time.Minute)
	got = at(40, func(int) answer { return d.login("root", rootPassword) })
	if got[http.StatusOK] == 0 || got[http.StatusOK]+got[http.StatusTooManyRequests] != 40 {
		t.Errorf("%v", got)
	}
}

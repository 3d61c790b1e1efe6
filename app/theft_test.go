package app

import (
	"net/http"
	"testing"
	"time"
)

// TestRF5TheThiefWhoUsesWhatItGotIsFound is what the chain promises: once a session has
// rotated, somebody else refreshes with the stolen token and uses the access token so
// got; then the client's next refresh ends the session, however late it comes.
func TestRF5TheThiefWhoUsesWhatItGotIsFound(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		_, refresh := d.chained(2)
		stolen := refresh[2]
		thiefAccess, thiefRefresh := d.rotated(stolen)
		d.do("GET", "/api/pipelines", bearer(thiefAccess)).want(http.StatusOK)
		d.clock.advance(time.Hour)
		d.refresh(stolen).refused(http.StatusUnauthorized, "token blacklisted")
		d.do("GET", "/api/pipelines", bearer(thiefAccess)).refused(http.StatusUnauthorized, "token blacklisted")
		d.refresh(thiefRefresh).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

// TestTheThiefWhoOnlyRefreshesStarvesNobody: until its access token is used, a lost answer
// is more likely than theft, and the client goes on.
func TestTheThiefWhoOnlyRefreshesStarvesNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		_, refresh := d.chained(2)
		stolen := refresh[2]
		thiefAccess, _ := d.rotated(stolen)
		d.clock.advance(time.Hour)
		access, next := d.rotated(stolen)
		d.do("GET", "/api/pipelines", bearer(access)).want(http.StatusOK)
		// Now the client has shown which branch lives; the thief's token betrays it.
		d.do("GET", "/api/pipelines", bearer(thiefAccess)).refused(http.StatusUnauthorized, "token blacklisted")
		d.refresh(next).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

// TestAConfirmedAnswerSurvivesARestart: what one use of an access token has written counts
// for a server that never saw it, and what passed once passes again.
func TestAConfirmedAnswerSurvivesARestart(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		access, refresh := d.chained(3)
		d.do("GET", "/auth/validate", bearer(access[3])).want(http.StatusOK)
		for range 2 {
			d.do("GET", "/auth/validate", bearer(access[3])).want(http.StatusOK)
			d.do("GET", "/auth/validate", bearer(access[2])).want(http.StatusOK) // a second thread's
			d.restart()
		}
		// The window counts from the minting, and confirming does not begin it anew.
		if again, _ := d.rotated(refresh[2]); again != access[3] {
			t.Error("a retry of a request whose answer has arrived is answered with another token")
		}
		d.clock.advance(11 * time.Second)
		d.refresh(refresh[2]).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

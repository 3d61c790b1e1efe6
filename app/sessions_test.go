package app

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward"
	"doorward/api"
	"doorward/gate"
)

const invalidated = `{"success":true,"message":"token invalidated"}` + "\n"

func TestRV1ATokenSignedOutIsDeadAtEveryDoor(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		root := d.setUp()
		access, refresh := d.exchange(machineToken, "app")
		second, refresh2 := d.rotated(refresh)
		for _, token := range []string{access, second} {
			d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
			d.do("GET", "/api/auth/me", bearer(token)).want(http.StatusOK)
			d.do("GET", "/api/pipelines", bearer(token)).want(http.StatusOK)
		}
		a := d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
		if a.body != invalidated || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("logout answers %s", a.body)
		}
		for _, token := range []string{access, second} {
			d.deadEverywhere(token, "token blacklisted")
		}
		d.refresh(refresh2).refused(http.StatusUnauthorized, "token blacklisted")
		d.do("GET", "/auth/validate", bearer(root)).want(http.StatusOK) // nobody else's

		// A person's token ends a person's session, the cookie of it too.
		token, cookieValue := d.signIn("root", rootPassword)
		d.do("POST", "/auth/logout", bearer(token)).want(http.StatusOK)
		d.deadEverywhere(token, "token blacklisted")
		d.do("GET", "/api/auth/me", cookie(cookieValue)).refused(http.StatusUnauthorized, "token blacklisted")
		d.do("GET", "/api/auth/me", bearer(root)).want(http.StatusOK)
	})
}

func TestRV3WhatLogoutDoesNotTake(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.setUp()
		token, sessionCookie := d.signIn("root", rootPassword)
		access, refresh := d.exchange(machineToken, "app")
		for _, bad := range []string{
			flipped(access), access + "=", access + "==", access + "A", access + ".", access[:len(access)-1], "." + access,
			refresh, sessionCookie, machineToken, machineKey, "", "x",
		} {
			d.do("POST", "/auth/logout", bearer(bad)).refused(http.StatusUnauthorized, "invalid token")
		}
		// Only the Bearer token is looked at.
		for _, asks := range [][]ask{
			nil, {cookie(sessionCookie)}, {apiKey(machineKey)}, {apiKey(access)}, {header("Authorization", "Basic x")},
			{formBody(`{"access_token":"` + access + `","token":"` + access + `"}`)},
		} {
			d.do("POST", "/auth/logout", asks...).refused(http.StatusUnauthorized, "token required")
		}
		d.do("POST", "/auth/logout?access_token="+access).refused(http.StatusUnauthorized, "token required")
		d.do("POST", "/auth/logout", bearer(access), bearer(access)).refused(http.StatusBadRequest, "Authorization: must not be given twice")
		d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
		d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
		d.do("GET", "/api/auth/me", cookie(sessionCookie)).want(http.StatusOK)
		d.rotated(refresh)

		for range 2 {
			if a := d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK); a.body != invalidated {
				t.Errorf("logout answers %s", a.body)
			}
		}
		d.restart()
		if a := d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK); a.body != invalidated {
			t.Errorf("logout answers %s", a.body)
		}
		session := claimsOf(t, access).Session
		if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'session.end' AND target = ?`, session); n != 1 {
			t.Errorf("one end of a session is audited %d times", n)
		}
	})
}

func TestASignOutOutlivesARestart(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		access, refresh := d.exchange(machineToken, "app")
		living, _ := d.exchange(machineToken, "app")
		d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
		for range 2 {
			d.restart()
			if n := d.house.authority.Revoked(); n != 1 {
				t.Errorf("%d ended sessions are known after the start, want 1", n)
			}
			d.deadEverywhere(access, "token blacklisted")
			d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
			d.do("GET", "/auth/validate", bearer(living)).want(http.StatusOK)
		}
	})
}

// TestRV7ASignOutOutlivesAKill: 200 means durable.
func TestRV7ASignOutOutlivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := []string{"DOORWARD_API_TOKENS=" + machineToken, "DOORWARD_JWT_SECRET=" + machineSecret}
	p := startProgram(t, dir, environ...)
	for range 3 {
		access, refresh := p.door.exchange(machineToken, "app")
		living, _ := p.door.exchange(machineToken, "app")
		p.door.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
		p.kill()
		p = startProgram(t, dir, environ...)
		p.door.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
		p.door.do("GET", "/api/pipelines", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
		p.door.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
		p.door.do("GET", "/auth/validate", bearer(living)).want(http.StatusOK)
	}
}

func TestRV11NoRevokedTokenRevivesWhenTheClockJumps(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		for _, maxAge := range []string{"30d", "1h"} { // with the session's row still there, and without it
			d := e.machineDoor(t, "jwt.expiry=1h", "session.lifetime=1h", "session.max_age="+maxAge)
			want := map[string]string{"30d": "token blacklisted", "1h": "invalid token"}[maxAge]
			sweep := func() {
				t.Helper()
				if err := d.house.authority.Sweep(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			signedOut, refresh := d.exchange(machineToken, "app")
			d.do("GET", "/auth/validate", bearer(signedOut)).want(http.StatusOK) // the node remembers that it lives
			d.do("POST", "/auth/logout", bearer(signedOut)).want(http.StatusOK)
			reused, r0 := d.exchange(machineToken, "app")
			_, r1 := d.rotated(r0)
			d.rotated(r1)
			d.refresh(r0).refused(http.StatusUnauthorized, "token blacklisted")

			d.clock.advance(3 * time.Hour)
			sweep()
			if n := d.house.authority.Revoked(); n != 0 {
				t.Fatalf("max_age %s: the sweep left %d ended sessions: the test shows nothing", maxAge, n)
			}
			d.do("GET", "/auth/validate", bearer(signedOut)).refused(http.StatusUnauthorized, "token expired")
			d.clock.advance(-3 * time.Hour)
			for _, token := range []string{signedOut, reused} {
				d.deadEverywhere(token, want)
			}
			d.refresh(refresh).refused(http.StatusUnauthorized, want)
			d.refresh(r1).refused(http.StatusUnauthorized, want)

			// The same over a restart in the future, where nothing of it is loaded.
			d.clock.advance(3 * time.Hour)
			d.restart()
			sweep()
			d.clock.advance(-3 * time.Hour)
			d.deadEverywhere(signedOut, want)
		}
	})
}

// TestASignOutIsRememberedAsLongAsAnyTokenOfTheSession: what may be forgotten when depends
// on the latest token, not on the first one, nor on what the settings say by then.
func TestASignOutIsRememberedAsLongAsAnyTokenOfTheSession(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		sweep := func(d *door) {
			t.Helper()
			if err := d.house.authority.Sweep(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		d := e.machineDoor(t, "jwt.expiry=1h", "session.lifetime=1h")
		// Near a full hour, where generations of what is remembered end.
		d.clock.freeze(time.Now().Truncate(time.Hour).Add(55 * time.Minute))
		_, refresh := d.exchange(machineToken, "app")
		d.clock.advance(50 * time.Minute)
		later, _ := d.rotated(refresh)
		d.do("GET", "/auth/validate", bearer(later)).want(http.StatusOK)
		d.do("POST", "/auth/logout", bearer(later)).want(http.StatusOK)
		for range 5 {
			d.clock.advance(11 * time.Minute)
			sweep(d)
			d.do("GET", "/auth/validate", bearer(later)).refused(http.StatusUnauthorized, "token blacklisted")
		}
		d.restart()
		if n := d.house.authority.Revoked(); n != 1 {
			t.Errorf("%d ended sessions are known after the start, want 1", n)
		}

		d = e.machineDoor(t, "jwt.expiry=24h", "session.lifetime=1h")
		long, refresh := d.exchange(machineToken, "app")
		d.restart("jwt.expiry=1h")
		short, _ := d.rotated(refresh)
		for _, token := range []string{long, short} {
			d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
		}
		d.do("POST", "/auth/logout", bearer(short)).want(http.StatusOK)
		for range 5 {
			d.clock.advance(4 * time.Hour)
			sweep(d)
			d.do("GET", "/auth/validate", bearer(long)).refused(http.StatusUnauthorized, "token blacklisted")
		}
		d.restart()
		d.do("GET", "/auth/validate", bearer(long)).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

// TestATokenOfAnUnknownSessionIsInvalid: whoever has the secret can sign what they like,
// but a session that the database does not know is none.
func TestATokenOfAnUnknownSessionIsInvalid(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		here, elsewhere := e.machineDoor(t), e.machineDoor(t) // the same secret, another database
		root := elsewhere.setUp()
		_, sessionCookie := elsewhere.signIn("root", rootPassword)
		access, refresh := elsewhere.exchange(machineToken, "app")
		for _, token := range []string{access, root} {
			elsewhere.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
			here.deadEverywhere(token, "invalid token")
			here.do("POST", "/auth/logout", bearer(token)).refused(http.StatusUnauthorized, "invalid token")
		}
		here.refresh(refresh).refused(http.StatusUnauthorized, "invalid token")
		here.do("GET", "/api/auth/me", cookie(sessionCookie)).refused(http.StatusUnauthorized, "invalid token")

		// The row of one of our own goes: found out at its first use, by a fresh start here.
		access, refresh = here.exchange(machineToken, "app")
		here.sqlExec(`DELETE FROM sessions WHERE id = ?`, claimsOf(t, access).Session)
		here.restart()
		here.deadEverywhere(access, "invalid token")
		here.do("POST", "/auth/logout", bearer(access)).refused(http.StatusUnauthorized, "invalid token")
		here.refresh(refresh).refused(http.StatusUnauthorized, "invalid token")
	})
}

// TestASignOutAmongRefreshesIsFinal: whichever comes first, afterwards nothing lives.
func TestASignOutAmongRefreshesIsFinal(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		for range 10 {
			access, refresh := d.exchange(machineToken, "app")
			var all sync.WaitGroup
			var mu sync.Mutex
			tokens := []string{access}
			for range 4 {
				all.Go(func() {
					a := d.refresh(refresh)
					if a.status == http.StatusOK {
						mu.Lock()
						defer mu.Unlock()
						tokens = append(tokens, a.str("access_token"))
						return
					}
					a.refused(http.StatusUnauthorized, "token blacklisted")
				})
			}
			all.Go(func() { d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK) })
			all.Wait()
			for _, token := range tokens {
				d.do("GET", "/auth/validate", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
			}
			d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
		}
	})
}

// TestRF19ACredentialHasSoManySessions has five for a limit, over the same rooms.
func TestRF19ACredentialHasSoManySessions(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "session.max_age=1h")
		ctx := context.Background()
		salt, err := d.house.store.Salt(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := doorward.NewKeyRing(salt, doorward.Secret(machineSecret))
		if err != nil {
			t.Fatal(err)
		}
		hasher, err := doorward.NewHasher(doorward.HasherConfig{Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		authority, err := doorward.New(ctx, doorward.Config{
			Store: d.house.store, Keys: keys, Salt: salt, Hasher: hasher, Credentials: configuredCredentials(d.house.settings),
			SessionMaxAge: time.Hour, SessionLimit: 5, Now: d.clock.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		limited, err := gate.New(gate.Config{
			Authority: authority, Rules: gate.Rules{Doors: api.Doors(api.Config{Authority: authority})},
			Carry: func(http.ResponseWriter, *http.Request, *gate.Pass) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(limited)
		t.Cleanup(server.Close)
		small := &door{t: t, URL: server.URL}

		var access, refresh string
		for range 5 {
			access, refresh = small.exchange(machineToken, "app")
		}
		tooMany := func() {
			t.Helper()
			a := small.do("POST", "/auth/token", bearer(machineToken), formBody(`{"client_id":"another"}`))
			a.refused(http.StatusTooManyRequests, "too many requests")
			if got := a.header.Get("Retry-After"); got != "3600" && !strings.HasPrefix(got, "35") { // until the first one ends
				t.Errorf("Retry-After: %s", got)
			}
		}
		tooMany()
		small.exchange(machineKey, "app") // another credential has its own
		_, refresh = small.rotated(refresh)
		small.rotated(refresh) // and refreshing makes none

		small.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
		small.exchange(machineToken, "app")
		tooMany()
		d.clock.advance(time.Hour + time.Second) // they end by themselves
		small.exchange(machineToken, "app")
	})
}

func TestWhoeverSignsOutTwiceAtOnceIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		access, _ := d.exchange(machineToken, "app")
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() { d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK) })
		}
		all.Wait()
		if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'session.end'`); n != 1 {
			t.Errorf("one end of a session is audited %d times", n)
		}
	})
}

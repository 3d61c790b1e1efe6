package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward/api"
	"doorward/gate"
)

// rotated presents a refresh token that must be accepted and returns the next tokens.
func (d *door) rotated(refresh string) (nextAccess, nextRefresh string) {
	d.t.Helper()
	a := d.refresh(refresh).want(http.StatusOK)
	return a.str("access_token"), a.str("refresh_token")
}

// chained exchanges an API token and rotates n times: all tokens, the oldest first.
func (d *door) chained(n int) (access, refresh []string) {
	d.t.Helper()
	a, r := d.exchange(machineToken, "app")
	access, refresh = append(access, a), append(refresh, r)
	for range n {
		a, r = d.rotated(r)
		access, refresh = append(access, a), append(refresh, r)
	}
	return access, refresh
}

// doorsThatRead is every door, ours and the service's, that reads a credential in a header.
func (d *door) doorsThatRead() (doors [][2]string) {
	doors = [][2]string{{"GET", "/"}, {"GET", "/api/pipelines"}, {"POST", "/run"}, {"DELETE", "/api/pipelines/x"}, {"OPTIONS", "/anything"}}
	d.t.Helper()
	needsSetup, err := d.house.authority.NeedsSetup(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, o := range api.Doors(api.Config{Authority: d.house.authority}) {
		// While there is no user, the door where the first one is made reads nothing.
		if (o.Reads == gate.ReadsHeaders || o.Reads == gate.ReadsAll) && (o.NoCredential == nil || !needsSetup) {
			doors = append(doors, [2]string{o.Method, strings.ReplaceAll(o.Pattern, "{id}", "usr_x")})
		}
	}
	return doors
}

// deadEverywhere fails unless every door that reads the token says this.
func (d *door) deadEverywhere(token, message string) {
	d.t.Helper()
	doors := d.doorsThatRead()
	if len(doors) < 10 {
		d.t.Fatalf("only %d doors read a credential", len(doors))
	}
	for _, o := range doors {
		d.do(o[0], o[1], bearer(token)).refused(http.StatusUnauthorized, message)
	}
}

// sqlExec changes a row behind the server's back: to bring about what otherwise takes an
// accident, or another node.
func (d *door) sqlExec(text string, args ...any) {
	d.t.Helper()
	db := d.sqlOpen()
	defer db.Close()
	result, err := db.Exec(sqlText(text), args...)
	if err != nil {
		d.t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		d.t.Fatalf("%s: %d rows, %v", text, n, err)
	}
}

func (d *door) sqlNumber(text string, args ...any) (n int64) {
	d.t.Helper()
	db := d.sqlOpen()
	defer db.Close()
	if err := db.QueryRow(sqlText(text), args...).Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// adopt moves a session on as the first use of the child's access token does: the answer
// has arrived, so the child is the head.
func (d *door) adopt(session string) {
	d.t.Helper()
	d.sqlExec(`UPDATE sessions SET prev = head, head = child, gen = gen + 1, child = '' WHERE id = ? AND child <> ''`, session)
}

// chainRow is the row of a session's refresh chain.
func (d *door) chainRow(session string) string {
	d.t.Helper()
	db := d.sqlOpen()
	defer db.Close()
	var prev, head, child string
	var gen, fork, minted, ended int64
	err := db.QueryRow(`SELECT prev, head, child, gen, fork, minted, ended FROM sessions WHERE id = $1`, session).Scan(&prev, &head, &child, &gen, &fork, &minted, &ended)
	if err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("prev=%s head=%s child=%s gen=%d fork=%d minted=%d ended=%d", prev, head, child, gen, fork, minted, ended)
}

func TestRF1RefreshesWithTheNewestEachTime(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "session.max_age=20d")
		_, refresh := d.exchange(machineToken, "app")
		first := claimsOf(t, refresh)
		end := d.sqlNumber(`SELECT ends FROM sessions WHERE id = ?`, first.Session) / 1000
		ids := map[string]bool{}
		for i := range int64(50) {
			d.clock.advance(9 * time.Hour)
			access, next := d.rotated(refresh)
			refresh = next
			a, r := claimsOf(t, access), claimsOf(t, refresh)
			if a.Subject != "app" || r.Subject != "app" || a.Role != "editor" || a.Session != first.Session || r.Session != first.Session {
				t.Fatalf("refresh %d changes who it is: %+v, %+v", i, a, r)
			}
			if a.Gen != i+1 || r.Gen != i+1 || a.RefreshID != r.ID {
				t.Fatalf("refresh %d: generations %d and %d, rjti %s for jti %s", i, a.Gen, r.Gen, a.RefreshID, r.ID)
			}
			if a.ExpiresAt > end || r.ExpiresAt > end {
				t.Fatalf("refresh %d: tokens expire at %d and %d, the session ends at %d", i, a.ExpiresAt, r.ExpiresAt, end)
			}
			ids[a.ID], ids[r.ID] = true, true
			d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
		}
		if len(ids) != 100 {
			t.Errorf("100 tokens have %d ids", len(ids))
		}
	})
}

// TestRF3ReuseEndsTheSessionAtEveryDoor is RF5 as well: whoever minted a token loses it.
func TestRF3ReuseEndsTheSessionAtEveryDoor(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		access, refresh := d.chained(2)
		other, otherRefresh := d.exchange(machineToken, "app")
		for _, token := range access {
			d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
		}
		d.refresh(refresh[0]).refused(http.StatusUnauthorized, "token blacklisted")
		for _, token := range access {
			d.deadEverywhere(token, "token blacklisted")
		}
		for _, token := range refresh {
			d.refresh(token).refused(http.StatusUnauthorized, "token blacklisted")
		}
		// Another session of the same credential and client is nobody's fault.
		d.do("GET", "/auth/validate", bearer(other)).want(http.StatusOK)
		d.rotated(otherRefresh)

		session := claimsOf(t, access[0]).Session
		if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'session.end' AND target = ? AND detail = 'refresh token reused'`, session); n != 1 {
			t.Errorf("the audit log has it %d times", n)
		}
		if !strings.Contains(d.log.String(), `msg="refresh token reused, session ended" session=`+session) {
			t.Error("the log does not say so")
		}
		d.restart()
		d.deadEverywhere(access[2], "token blacklisted")
		d.refresh(refresh[2]).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

func TestRF7AThousandRotationsInOneSecondThenAnOlderToken(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		d.clock.freeze(time.Now())
		_, refresh := d.chained(1000)
		if c := claimsOf(t, refresh[1000]); c.Gen != 1000 || c.IssuedAt != claimsOf(t, refresh[0]).IssuedAt {
			t.Fatalf("the last token says %+v", c)
		}
		// The one before the head, whose every time is the head's: only ids tell them apart.
		d.refresh(refresh[998]).refused(http.StatusUnauthorized, "token blacklisted")
		d.refresh(refresh[1000]).refused(http.StatusUnauthorized, "token blacklisted")

		for old := range 4 {
			_, refresh := d.chained(5)
			d.refresh(refresh[old]).refused(http.StatusUnauthorized, "token blacklisted")
			d.refresh(refresh[5]).refused(http.StatusUnauthorized, "token blacklisted")
		}
	})
}

func TestRF11ReuseIsSeenAfterARestart(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		access, refresh := d.chained(2)
		d.restart()
		d.refresh(refresh[0]).refused(http.StatusUnauthorized, "token blacklisted")
		d.refresh(refresh[2]).refused(http.StatusUnauthorized, "token blacklisted")
		d.do("GET", "/auth/validate", bearer(access[2])).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

// TestRF11ReuseIsSeenAfterAKill is the same with the real program, which has no time to
// say goodbye.
func TestRF11ReuseIsSeenAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := []string{"DOORWARD_API_TOKENS=" + machineToken, "DOORWARD_JWT_SECRET=" + machineSecret}
	p := startProgram(t, dir, environ...)
	_, refresh := p.door.chained(2)
	_, living := p.door.chained(2)
	p.kill()
	p = startProgram(t, dir, environ...)
	access, next := p.door.rotated(living[2])
	p.door.refresh(refresh[0]).refused(http.StatusUnauthorized, "token blacklisted")
	p.kill()
	p = startProgram(t, dir, environ...)
	p.door.refresh(refresh[2]).refused(http.StatusUnauthorized, "token blacklisted")
	p.door.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	p.door.rotated(next)
}

func TestRF13ACredentialThatGrantsSomethingElseEndsItsSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		file := filepath.Join(t.TempDir(), "doorward.yaml")
		settings := func(rows ...string) {
			t.Helper()
			text := "api_tokens:\n  - {token: " + machineToken + "}\n" // so that somebody is always set up
			for _, r := range rows {
				text += "  - {" + r + "}\n"
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		settings("token: changing-token")
		d := e.door(t, "config="+file, "api_key="+machineKey)
		keyAccess, keyRefresh := d.exchange(machineKey, "app")
		sameAccess, sameRefresh := d.exchange(machineToken, "app")

		for name, row := range map[string]string{
			"role":       "token: changing-token, role: viewer",
			"a higher":   "token: changing-token, role: admin",
			"workspace":  "token: changing-token, workspace: other",
			"client ids": "token: changing-token, client_ids: [app]",
			"removed":    "token: unrelated-token",
		} {
			settings("token: changing-token")
			d.restart()
			access, refresh := d.exchange("changing-token", "app")
			d.restart() // nothing has changed
			d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
			access2, refresh := d.rotated(refresh)
			settings(row)
			d.restart()
			for _, token := range []string{access, access2} {
				d.do("GET", "/auth/validate", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
				d.do("GET", "/api/pipelines", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
			}
			d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
			if name == "removed" {
				d.do("GET", "/api/pipelines", bearer("changing-token")).refused(http.StatusUnauthorized, "invalid token")
			}
			// Back to what it was brings nothing back.
			settings("token: changing-token")
			d.restart()
			d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
		}

		// What only has another name, or more beside it, grants what it did.
		access, refresh := d.exchange("changing-token", "app")
		settings("token: changing-token, name: renamed", "token: one-more-token")
		d.restart()
		d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
		d.rotated(refresh)
		d.do("GET", "/auth/validate", bearer(sameAccess)).want(http.StatusOK)
		d.rotated(sameRefresh)

		d.do("GET", "/auth/validate", bearer(keyAccess)).want(http.StatusOK)
		d.restart("api_key=" + machineKey[:len(machineKey)-8] + "00000000")
		d.do("GET", "/auth/validate", bearer(keyAccess)).refused(http.StatusUnauthorized, "token blacklisted")
		d.refresh(keyRefresh).refused(http.StatusUnauthorized, "token blacklisted")
	})
}

// TestRF13TheCredentialIsReadAnewAtEveryRefresh: a node may be running with other settings
// than the one that made the session. It refuses and changes nothing.
func TestRF13TheCredentialIsReadAnewAtEveryRefresh(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		_, refresh := d.exchange(machineToken, "app")
		session := claimsOf(t, refresh).Session
		terms := "role=editor org=default ws=default clients="
		for _, c := range [][2]string{
			{"terms", "role=admin org=default ws=default clients="},
			{"terms", ""},
			{"credential", "tok_0123456789abcdef0123"},
		} {
			var before string
			if c[0] == "terms" {
				before = terms
			} else {
				db := d.sqlOpen()
				if err := db.QueryRow(`SELECT credential FROM sessions WHERE id = $1`, session).Scan(&before); err != nil {
					t.Fatal(err)
				}
				db.Close()
			}
			d.sqlExec(`UPDATE sessions SET `+c[0]+` = ? WHERE id = ?`, c[1], session)
			row := d.chainRow(session)
			d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
			if after := d.chainRow(session); after != row {
				t.Errorf("%s: the row went from %s to %s", c[0], row, after)
			}
			d.sqlExec(`UPDATE sessions SET `+c[0]+` = ? WHERE id = ?`, before, session)
		}
		d.rotated(refresh)
	})
}

func TestRF15AnExpiredOldMemberEndsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "jwt.refresh_expiry=1h")
		_, r0 := d.exchange(machineToken, "app")
		_, r1 := d.rotated(r0)
		d.clock.advance(50 * time.Minute)
		access, r2 := d.rotated(r1)
		d.clock.advance(20 * time.Minute)
		row := d.chainRow(claimsOf(t, r0).Session)
		d.refresh(r0).refused(http.StatusUnauthorized, "token expired")
		d.refresh(r1).refused(http.StatusUnauthorized, "token expired")
		if after := d.chainRow(claimsOf(t, r0).Session); after != row {
			t.Errorf("the row went from %s to %s", row, after)
		}
		d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
		d.rotated(r2)
	})
}

func TestRF17OtherCredentialsAreIgnoredAtRefresh(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t)
		access, refresh := d.exchange(machineToken, "app")
		ended, endedRefresh := d.exchange(machineToken, "other")
		d.do("POST", "/auth/logout", bearer(ended)).want(http.StatusOK)
		for i, asks := range [][]ask{
			{bearer(access)}, {bearer(ended)}, {bearer("rubbish")}, {bearer("")}, {bearer(refresh)}, {bearer(machineToken)},
			{apiKey("rubbish")}, {apiKey("a"), apiKey("b")}, {bearer("a"), bearer("b")}, {header("Authorization", "Basic x")},
			{cookie("rubbish")}, {cookie("a"), cookie("b")}, {header("X-Workspace-ID", "other")},
			{header("Origin", "https://elsewhere.example"), header("Sec-Fetch-Site", "cross-site")},
		} {
			a := d.do("POST", "/auth/refresh", append(asks, formBody(`{"refresh_token":"`+refresh+`"}`))...).want(http.StatusOK)
			if c := claimsOf(t, a.str("access_token")); c.Subject != "app" || c.Gen != int64(i+1) {
				t.Errorf("the answer is for %+v", c)
			}
			if got := a.header.Get("Set-Cookie"); got != "" {
				t.Errorf("it sets a cookie: %s", got)
			}
			refresh = a.str("refresh_token")
		}
		// Nor does a good credential help a dead token, or stand in for it.
		d.do("POST", "/auth/refresh", bearer(access), formBody(`{"refresh_token":"`+endedRefresh+`"}`)).refused(http.StatusUnauthorized, "token blacklisted")
		d.do("POST", "/auth/refresh", bearer(access), formBody(`{"refresh_token":"`+access+`"}`)).refused(http.StatusUnauthorized, "invalid token")
		d.do("POST", "/auth/refresh", bearer(machineToken), formBody(`{"refresh_token":"`+machineToken+`"}`)).refused(http.StatusUnauthorized, "invalid token")
		d.do("POST", "/auth/refresh?refresh_token="+refresh, bearer(refresh), formBody(`{}`)).refused(http.StatusBadRequest, "refresh_token: is required")
	})
}

// The rows of the refresh table, one test each, with a clock that stands still.

// reused presents a token that must be taken for reuse, and looks for what follows.
func (d *door) reused(refresh string) {
	d.t.Helper()
	session := claimsOf(d.t, refresh).Session
	d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
	if n := d.sqlNumber(`SELECT count(*) FROM sessions WHERE id = ? AND ended > 0 AND end_reason = 'refresh token reused'`, session); n != 1 {
		d.t.Errorf("the session did not end: %s", d.chainRow(session))
	}
}

// unchanged runs do and fails if it changed the session's row.
func (d *door) unchanged(session string, do func()) {
	d.t.Helper()
	before := d.chainRow(session)
	do()
	if after := d.chainRow(session); after != before {
		d.t.Errorf("the row went from %s to %s", before, after)
	}
}

// refreshDoor is a server whose clock stands still, and the first tokens of a session.
func refreshDoor(t *testing.T, settings ...string) (d *door, refresh, session string) {
	t.Helper()
	d = machineDoor(t, settings...)
	d.clock.freeze(time.Now())
	_, refresh = d.exchange(machineToken, "app")
	return d, refresh, claimsOf(t, refresh).Session
}

func TestRefreshTableTheChild(t *testing.T) {
	t.Parallel()
	d, r0, session := refreshDoor(t)
	_, r1 := d.rotated(r0)
	d.clock.advance(time.Hour)
	_, r2 := d.rotated(r1)
	want := fmt.Sprintf("prev=%s head=%s child=%s gen=1 fork=0 minted=%d ended=0",
		claimsOf(t, r0).ID, claimsOf(t, r1).ID, claimsOf(t, r2).ID, d.clock.now().UnixMilli())
	if got := d.chainRow(session); got != want {
		t.Errorf("the row is %s, want %s", got, want)
	}
}

func TestRefreshTableTheHeadWithoutAChild(t *testing.T) {
	t.Parallel()
	for _, adopted := range []bool{false, true} {
		d, head, session := refreshDoor(t)
		if adopted {
			_, head = d.rotated(head)
			d.adopt(session)
		}
		d.clock.advance(time.Hour)
		access, child := d.rotated(head)
		h, c := claimsOf(t, head), claimsOf(t, child)
		if c.Gen != h.Gen+1 || c.IssuedAt != d.clock.now().Unix() || claimsOf(t, access).RefreshID != c.ID {
			t.Errorf("after %+v comes %+v", h, c)
		}
		d.rotated(child)
	}
}

func TestRefreshTableTheSameAnswerWithinTheRetryWindow(t *testing.T) {
	t.Parallel()
	d, refresh, session := refreshDoor(t)
	for range 3 { // at generation 0 and later alike
		first := d.refresh(refresh).want(http.StatusOK)
		for _, after := range []time.Duration{0, 3 * time.Second, 6*time.Second + 999*time.Millisecond} {
			d.clock.advance(after)
			d.unchanged(session, func() {
				again := d.refresh(refresh).want(http.StatusOK)
				for _, name := range []string{"access_token", "refresh_token"} {
					if again.str(name) != first.str(name) {
						t.Errorf("the %s of a retry is another", name)
					}
				}
				if left := claimsOf(t, again.str("access_token")).ExpiresAt - d.clock.now().Unix(); again.field("expires_in") != float64(left) {
					t.Errorf("expires_in is %v, the token lives %d s", again.field("expires_in"), left)
				}
			})
		}
		refresh = first.str("refresh_token")
	}
	d.rotated(refresh)
}

func TestRefreshTablePrevWhileTheHeadHasNoChild(t *testing.T) {
	t.Parallel()
	d, r0, session := refreshDoor(t)
	_, r1 := d.rotated(r0)
	answer := d.refresh(r1).want(http.StatusOK)
	d.adopt(session) // its access token was used; yet a retry of the request was still on its way
	d.clock.advance(9999 * time.Millisecond)
	d.unchanged(session, func() {
		again := d.refresh(r1).want(http.StatusOK)
		if again.str("access_token") != answer.str("access_token") || again.str("refresh_token") != answer.str("refresh_token") {
			t.Error("the retry's answer is another")
		}
	})
	d.refresh(answer.str("refresh_token")).want(http.StatusOK)

	d, r0, session = refreshDoor(t)
	_, r1 = d.rotated(r0)
	d.rotated(r1)
	d.adopt(session)
	d.clock.advance(10 * time.Second)
	d.reused(r1)
}

func TestRefreshTableTheHeadWithAChildLater(t *testing.T) {
	t.Parallel()
	for _, lost := range []int{0, 3} {
		d, head, session := refreshDoor(t)
		for range lost {
			_, head = d.rotated(head)
		}
		lostAccess, lostChild := d.rotated(head)
		d.clock.advance(10 * time.Second) // the first instant that is not within the window
		access, child := d.rotated(head)
		h, c := claimsOf(t, head), claimsOf(t, child)
		if child == lostChild || c.Gen != h.Gen+1 || c.IssuedAt != d.clock.now().Unix() || claimsOf(t, access).RefreshID != c.ID {
			t.Errorf("after %+v comes %+v", h, c)
		}
		if row := d.chainRow(session); !strings.Contains(row, fmt.Sprintf("head=%s child=%s gen=%d fork=%d ", h.ID, c.ID, h.Gen, h.Gen+1)) {
			t.Errorf("the row is %s", row)
		}
		// The window begins anew, and any number of lost answers ends nothing.
		_, again := d.rotated(head)
		if again != child {
			t.Error("a retry after the fork is answered with another token")
		}
		for range 5 {
			d.clock.advance(time.Hour)
			_, child = d.rotated(head)
		}
		if lost > 0 {
			// Its access token turned up: two hold tokens of one generation.
			d.do("GET", "/auth/validate", bearer(lostAccess)).refused(http.StatusUnauthorized, "token blacklisted")
			d.refresh(child).refused(http.StatusUnauthorized, "token blacklisted")
			continue
		}
		// Of the first rotation nothing is concluded: who never rotates must go on working.
		d.do("GET", "/auth/validate", bearer(lostAccess)).want(http.StatusOK)
		_, next := d.rotated(child)
		d.rotated(next)
		d.reused(lostChild) // it turned up after all: who has it?
		d.refresh(next).refused(http.StatusUnauthorized, "token blacklisted")
	}
	d, head, _ := refreshDoor(t)
	_, lostChild := d.rotated(head)
	d.clock.advance(time.Minute)
	_, child := d.rotated(head)
	d.reused(lostChild) // dead from the moment of the fork
	d.refresh(child).refused(http.StatusUnauthorized, "token blacklisted")
}

// TestRefreshTableTheDatabaseWentBackwards restores an older copy of the database under a
// client that has rotated since.
func TestRefreshTableTheDatabaseWentBackwards(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	_, r0 := d.exchange(machineToken, "app")
	session := claimsOf(t, r0).Session
	d.stop()
	file := filepath.Join(d.dir, "doorward.db")
	copied, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d.start()
	_, r1 := d.rotated(r0)
	_, r2 := d.rotated(r1)
	_, r3 := d.rotated(r2)
	d.stop()
	if left, err := filepath.Glob(file + "-*"); err != nil || len(left) > 0 {
		t.Fatalf("a server that was stopped leaves %v, %v", left, err)
	}
	if err := os.WriteFile(file, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	alarms := strings.Count(d.log.String(), "msg=ALARM")
	for i, newer := range []string{r3, r2, r1} { // of generations above gen + 1, and of gen + 1 without a child
		d.unchanged(session, func() {
			a := d.refresh(newer)
			a.refused(http.StatusServiceUnavailable, "temporarily unavailable")
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
		if n := strings.Count(d.log.String(), "msg=ALARM"); n != alarms+i+1 {
			t.Errorf("%d alarms after %d tokens from the future", n-alarms, i+1)
		}
	}
	_, child := d.rotated(r0) // who has not moved on can go on
	d.rotated(child)
}

func TestRefreshTableOfASessionEndedOrUnknown(t *testing.T) {
	t.Parallel()
	d, refresh, session := refreshDoor(t)
	access, next := d.rotated(refresh)
	d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
	d.unchanged(session, func() {
		d.refresh(next).refused(http.StatusUnauthorized, "token blacklisted")
		d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted") // not reuse any more
	})
	if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'session.end' AND target = ?`, session); n != 1 {
		t.Errorf("the session's end is audited %d times", n)
	}
	_, refresh = d.exchange(machineToken, "app")
	d.sqlExec(`DELETE FROM sessions WHERE id = ?`, claimsOf(t, refresh).Session)
	d.refresh(refresh).refused(http.StatusUnauthorized, "invalid token")
}

func TestRefreshTableAnythingElseIsReuse(t *testing.T) {
	t.Parallel()
	d, r0, _ := refreshDoor(t)
	_, r1 := d.rotated(r0)
	d.rotated(r1)
	d.reused(r0) // the head's parent, within the window, while the head has a child

	_, r0 = d.exchange(machineToken, "app")
	_, r1 = d.rotated(r0)
	_, r2 := d.rotated(r1)
	d.adopt(claimsOf(t, r0).Session)
	d.reused(r0) // the head's grandparent, within the window
	d.refresh(r2).refused(http.StatusUnauthorized, "token blacklisted")

	_, r0 = d.exchange(machineToken, "app")
	_, r1 = d.rotated(r0)
	_, r2 = d.rotated(r1)
	_, r3 := d.rotated(r2)
	d.clock.advance(time.Hour)
	d.reused(r1)
	d.refresh(r3).refused(http.StatusUnauthorized, "token blacklisted")
}

func TestRefreshTableStrict(t *testing.T) {
	t.Parallel()
	d, refresh, session := refreshDoor(t, "refresh.reuse=strict")
	for range 5 {
		_, refresh = d.rotated(refresh)
	}
	d.adopt(session)
	_, next := d.rotated(refresh) // the head without a child
	d.rotated(next)

	_, r0 := d.exchange(machineToken, "app")
	d.rotated(r0)
	d.reused(r0) // row 3: no second time, not even at once

	_, r0 = d.exchange(machineToken, "app")
	_, r1 := d.rotated(r0)
	d.adopt(claimsOf(t, r0).Session)
	d.reused(r0) // row 3: prev
	d.refresh(r1).refused(http.StatusUnauthorized, "token blacklisted")

	_, r0 = d.exchange(machineToken, "app")
	d.rotated(r0)
	d.clock.advance(time.Hour)
	d.reused(r0) // row 4
}

func TestRefreshWithoutARetryWindow(t *testing.T) {
	t.Parallel()
	d, head, _ := refreshDoor(t, "refresh.retry_window=0s")
	_, lost := d.rotated(head)
	_, child := d.rotated(head) // at once: row 4, not row 3
	if child == lost {
		t.Error("the same answer was given again")
	}
	d.rotated(child)
}

func TestSimultaneousRefreshesGetOneSuccessor(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "refresh.retry_window=10m") // however slow the machine
		_, refresh := d.exchange(machineToken, "app")
		for range 2 {
			answers := d.refreshAtOnce(refresh, 64)
			for _, a := range answers {
				a.want(http.StatusOK)
				if a.str("refresh_token") != answers[0].str("refresh_token") || a.str("access_token") != answers[0].str("access_token") {
					t.Fatal("two callers got different tokens")
				}
			}
			refresh = answers[0].str("refresh_token")
		}
		if c := claimsOf(t, refresh); c.Gen != 2 {
			t.Errorf("the last token says %+v", c)
		}
		d.rotated(refresh)
	})
}

func TestSimultaneousRefreshesWhenStrict(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "refresh.reuse=strict")
		_, refresh := d.exchange(machineToken, "app")
		won := 0
		for _, a := range d.refreshAtOnce(refresh, 32) {
			if a.status == http.StatusOK {
				won++
				continue
			}
			a.refused(http.StatusUnauthorized, "token blacklisted")
		}
		if won != 1 {
			t.Errorf("%d callers got tokens, want 1", won)
		}
	})
}

// refreshAtOnce presents one token n times at once.
func (d *door) refreshAtOnce(refresh string, n int) []answer {
	answers := make([]answer, n)
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range answers {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			answers[i] = d.refresh(refresh)
		})
	}
	done.Wait()
	return answers
}

func TestNoTokenOutlivesItsSession(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.machineDoor(t, "session.max_age=36h", "jwt.expiry=24h", "jwt.refresh_expiry=7d")
		start := time.Now().Truncate(time.Second)
		d.clock.freeze(start.Add(700 * time.Millisecond))
		access, refresh := d.exchange(machineToken, "app")
		end := start.Add(36 * time.Hour).Unix()
		if c := claimsOf(t, access); c.ExpiresAt != start.Unix()+24*3600 {
			t.Errorf("the first access token expires at %d", c.ExpiresAt)
		}
		if c := claimsOf(t, refresh); c.ExpiresAt != end {
			t.Errorf("the first refresh token expires at %d, the session ends at %d", c.ExpiresAt, end)
		}
		d.clock.advance(35 * time.Hour)
		a := d.refresh(refresh).want(http.StatusOK)
		if got := a.field("expires_in"); got != 3600.0 {
			t.Errorf("expires_in is %v an hour before the end", got)
		}
		access, refresh = a.str("access_token"), a.str("refresh_token")
		if x, r := claimsOf(t, access).ExpiresAt, claimsOf(t, refresh).ExpiresAt; x != end || r != end {
			t.Errorf("tokens expire at %d and %d, the session ends at %d", x, r, end)
		}
		d.clock.advance(time.Hour)
		d.refresh(refresh).refused(http.StatusUnauthorized, "token expired")
		d.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token expired")
		if err := d.house.authority.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		d.clock.advance(time.Second)
		if err := d.house.authority.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := d.sqlNumber(`SELECT count(*) FROM sessions`); n != 0 {
			t.Errorf("%d sessions are kept past their end", n)
		}
		d.refresh(refresh).refused(http.StatusUnauthorized, "token expired")

		// A longer life set later does not lengthen a session that is there.
		_, refresh = d.exchange(machineToken, "app")
		d.restart("session.max_age=30d")
		_, refresh = d.rotated(refresh)
		if c := claimsOf(t, refresh); c.ExpiresAt > d.clock.now().Add(36*time.Hour).Unix() {
			t.Errorf("the session of 36 h gave a token until %d", c.ExpiresAt)
		}
	})
}

// TestAChainGoesOnAfterTheSecretHasChanged: the given secret takes over from the file's,
// which still counts, and what is minted from then on is the new one's.
func TestAChainGoesOnAfterTheSecretHasChanged(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	access, refresh := d.exchange(machineToken, "app")
	d.restart("jwt.secret=" + machineSecret)
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	newAccess, newRefresh := d.rotated(refresh)
	if h, _, _ := strings.Cut(newAccess, "."); strings.HasPrefix(access, h) {
		t.Error("the new token has the old key's header")
	}
	if err := os.Remove(filepath.Join(d.dir, ".brokoli-jwt-secret")); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "invalid token") // TF7
	d.refresh(refresh).refused(http.StatusUnauthorized, "invalid token")
	d.do("GET", "/auth/validate", bearer(newAccess)).want(http.StatusOK)
	d.rotated(newRefresh)
}

package app

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorward/pgtest"
)

// twoNodes starts two servers on one PostgreSQL database.
func twoNodes(t *testing.T, settings ...string) (a, b *door) {
	t.Helper()
	settings = append(onPostgres.settings(t), settings...)
	return machineDoor(t, settings...), machineDoor(t, settings...)
}

// until asks again until ok, for at most as long as said.
func until(t *testing.T, atMost time.Duration, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > atMost {
			t.Fatalf("not within %v: %s", atMost, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestMN1ARevocationReachesTheOtherNode: at once where it was made, within a second on the
// other, which has passed the token before and so asks the database nothing about it.
func TestMN1ARevocationReachesTheOtherNode(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	for range 20 {
		access, refresh := a.exchange(machineToken, "app")
		for _, d := range []*door{a, b} {
			d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
		}
		a.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
		a.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
		until(t, time.Second, "the other node refuses a token signed out", func() bool {
			return b.do("GET", "/auth/validate", bearer(access)).status == http.StatusUnauthorized
		})
		b.do("GET", "/api/pipelines", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
		b.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
		b.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
	}
}

// TestRF3ReuseOnAnotherNode: a chain goes on wherever its tokens are presented, and reuse
// found on one node ends it on both.
func TestRF3ReuseOnAnotherNode(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	_, r0 := a.exchange(machineToken, "app")
	_, r1 := b.rotated(r0)
	access, r2 := a.rotated(r1)
	for _, d := range []*door{a, b} {
		d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	}
	b.refresh(r0).refused(http.StatusUnauthorized, "token blacklisted")
	b.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
	a.refresh(r2).refused(http.StatusUnauthorized, "token blacklisted")
	until(t, time.Second, "the other node refuses", func() bool {
		return a.do("GET", "/auth/validate", bearer(access)).status == http.StatusUnauthorized
	})
}

// TestMN7TheFirstUserOnTwoNodes: one wins, and the password that was changed on one node is
// the old one on the other at once.
func TestMN7TheFirstUserOnTwoNodes(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	made := make(chan answer, 8)
	for i := range 8 {
		d := []*door{a, b}[i%2]
		go func() {
			made <- d.do("POST", "/api/auth/users", header("X-API-Key", machineKey), jsonBody(`{"username":"u`+string(rune('a'+i))+`","password":"right-password","role":"superadmin"}`))
		}()
	}
	winner := ""
	for range 8 {
		switch got := <-made; got.status {
		case http.StatusCreated:
			if winner != "" {
				t.Error("two first users")
			}
			winner = got.str("username")
		case http.StatusUnauthorized:
		case http.StatusForbidden: // it came later: an admin's request for somebody above them
		default:
			t.Errorf("%s: %d %s", got.what, got.status, got.body)
		}
	}
	if winner == "" {
		t.Fatal("no first user")
	}
	token := a.do("POST", "/api/auth/login", jsonBody(`{"username":"`+winner+`","password":"right-password"}`)).want(http.StatusOK).str("token")
	a.do("POST", "/api/auth/change-password", bearer(token), jsonBody(`{"current_password":"right-password","new_password":"other-password"}`)).want(http.StatusOK)
	b.do("POST", "/api/auth/login", jsonBody(`{"username":"`+winner+`","password":"right-password"}`)).refused(http.StatusUnauthorized, "invalid credentials")
	b.do("POST", "/api/auth/login", jsonBody(`{"username":"`+winner+`","password":"other-password"}`)).want(http.StatusOK)
}

// TestMN3AnOutageIsBridgedForMaxStalenessAndNoLonger: what this node has let in passes
// while what it knows is fresh enough, then nothing does until the database is back; a
// server that hangs is no different from one that is gone.
func TestMN3AnOutageIsBridgedForMaxStalenessAndNoLonger(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for real outages")
	}
	for name, outage := range map[string]struct {
		begin, end func(*testing.T, *pgtest.Cluster)
	}{
		"killed": {func(t *testing.T, c *pgtest.Cluster) { c.Kill(t) }, func(t *testing.T, c *pgtest.Cluster) { c.Restart(t) }},
		"frozen": {func(t *testing.T, c *pgtest.Cluster) { c.Freeze(t) }, func(t *testing.T, c *pgtest.Cluster) { c.Thaw(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const staleness = 3 * time.Second
			cluster := pgtest.Start(t, pgtest.Config{})
			settings := []string{"database=" + cluster.Database(t), "max_staleness=3s"}
			a, b := machineDoor(t, settings...), machineDoor(t, settings...)
			seen, refresh := a.exchange(machineToken, "app")
			unseen, _ := b.exchange(machineToken, "app")
			ended, _ := a.exchange(machineToken, "app")
			a.do("POST", "/auth/logout", bearer(ended)).want(http.StatusOK)

			outage.begin(t, cluster)
			began := time.Now()
			passed, refused := 0, 0
			until(t, 3*staleness, "what is known is too old", func() bool {
				got := a.do("GET", "/auth/validate", bearer(seen))
				switch got.status {
				case http.StatusOK:
					passed++
					return false
				case http.StatusServiceUnavailable:
					refused++
					return true
				}
				t.Fatalf("during an outage: %d %s", got.status, got.body)
				return true
			})
			if lasted := time.Since(began); passed == 0 || lasted < staleness-time.Second {
				t.Errorf("an outage was bridged for %v only", lasted)
			}
			got := a.do("GET", "/api/pipelines", bearer(seen))
			got.refused(http.StatusServiceUnavailable, "temporarily unavailable")
			if got.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			a.do("GET", "/auth/validate", bearer(ended)).refused(http.StatusUnauthorized, "token blacklisted") // that much is known for good
			a.do("GET", "/auth/validate", bearer("x.y.z")).refused(http.StatusUnauthorized, "invalid token")
			a.do("GET", "/health").want(http.StatusServiceUnavailable)
			if name == "killed" { // else it takes as long as the patience with a server that hangs
				a.do("GET", "/api/pipelines", bearer(unseen)).refused(http.StatusServiceUnavailable, "temporarily unavailable")
				a.refresh(refresh).refused(http.StatusServiceUnavailable, "temporarily unavailable")
				a.do("POST", "/auth/logout", bearer(seen)).refused(http.StatusServiceUnavailable, "temporarily unavailable")
			}

			outage.end(t, cluster)
			until(t, 20*time.Second, "back after the outage", func() bool {
				return a.do("GET", "/auth/validate", bearer(seen)).status == http.StatusOK
			})
			a.do("GET", "/auth/validate", bearer(unseen)).want(http.StatusOK)
			a.do("GET", "/auth/validate", bearer(ended)).refused(http.StatusUnauthorized, "token blacklisted")
			a.rotated(refresh)
			if name != "killed" {
				return // the one reading under way got its answer in the end
			}
			for _, says := range []string{"cannot read what other nodes have changed", "up to date again"} {
				if n := strings.Count(a.log.String(), says); n != 1 {
					t.Errorf("the log says %d times %q", n, says)
				}
			}
		})
	}
}

// TestATokenFirstSeenInAnOutage passes while what is known is fresh enough, if it is a
// machine's: whether a person must change the password is not known.
func TestATokenFirstSeenInAnOutage(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t, pgtest.Config{})
	settings := []string{"database=" + cluster.Database(t), "max_staleness=30s"}
	a, b := machineDoor(t, settings...), machineDoor(t, settings...)
	a.do("POST", "/api/auth/users", header("X-API-Key", machineKey), jsonBody(`{"username":"anna","password":"right-password"}`)).want(http.StatusCreated)
	person := a.do("POST", "/api/auth/login", jsonBody(`{"username":"anna","password":"right-password"}`)).want(http.StatusOK).str("token")
	machine, _ := a.exchange(machineToken, "app")
	other, _ := a.exchange(machineToken, "app")
	b.do("GET", "/auth/validate", bearer(other)).want(http.StatusOK)

	cluster.Kill(t)
	until(t, 5*time.Second, "the outage is noticed", func() bool {
		return b.do("GET", "/auth/validate", bearer(machine)).status == http.StatusOK
	})
	b.do("GET", "/api/pipelines", bearer(machine)).want(http.StatusOK)
	b.do("GET", "/api/pipelines", bearer(person)).refused(http.StatusServiceUnavailable, "temporarily unavailable")

	cluster.Restart(t)
	// It was not remembered: what the database says counts.
	db := a.sqlOpen()
	defer db.Close()
	until(t, 10*time.Second, "back", func() bool {
		_, err := db.Exec(`DELETE FROM sessions WHERE id = $1`, claimsOf(t, machine).Session)
		return err == nil
	})
	until(t, 10*time.Second, "what passed in the outage is asked for again", func() bool {
		return b.do("GET", "/auth/validate", bearer(machine)).status == http.StatusUnauthorized
	})
}

// TestAWaitingNodeReadsWhatItMissed: also what the feed has forgotten meanwhile.
func TestAWaitingNodeReadsWhatItMissed(t *testing.T) {
	t.Parallel()
	settings := append(onPostgres.settings(t), "max_staleness=1h")
	a, b := machineDoor(t, settings...), machineDoor(t, settings...)
	access, _ := a.exchange(machineToken, "app")
	b.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	b.still() // it hears nothing for longer than the feed is kept
	a.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
	b.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	a.sqlExec(`UPDATE feed SET pruned = seq`)
	a.sqlExec(`DELETE FROM changes`)
	if err := b.house.authority.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "token blacklisted")
}

// TestRV13NothingThatStartsASecondAfterAnEndPasses, with a hundred requests in flight on
// the other node all the time.
func TestRV13NothingThatStartsASecondAfterAnEndPasses(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	access, _ := a.exchange(machineToken, "app")
	b.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	grace := func(int) (*door, time.Duration) { return b, time.Second }
	nothingPassesAfter(t, access, grace, func() {
		a.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
	})
}

// nothingPassesAfter shows a credential a hundred at a time, each at the door that grace
// names for it, has end end it meanwhile, and wants each refused: what begins its grace or
// later after the end, at once.
func nothingPassesAfter(t *testing.T, credential string, grace func(i int) (*door, time.Duration), end func()) {
	t.Helper()
	var ended atomic.Pointer[time.Time]
	var late, passed, stopped atomic.Int64
	var all sync.WaitGroup
	for i := range 100 {
		d, grace := grace(i)
		all.Go(func() {
			for {
				began := time.Now()
				status := d.do("GET", "/api/pipelines", bearer(credential)).status
				at := ended.Load()
				switch {
				case status == http.StatusOK && at != nil && began.Sub(*at) >= grace:
					late.Add(1)
					return
				case status == http.StatusOK:
					passed.Add(1)
				case status == http.StatusUnauthorized:
					stopped.Add(1)
					return
				default:
					t.Errorf("status %d", status)
					return
				}
			}
		})
	}
	until(t, 20*time.Second, "many pass before", func() bool { return passed.Load() > 200 })
	end()
	now := time.Now()
	ended.Store(&now)
	all.Wait()
	if late.Load() > 0 || stopped.Load() != 100 {
		t.Errorf("%d passed that began too late after the end, %d were refused in time", late.Load(), stopped.Load())
	}
}

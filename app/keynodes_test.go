package app

import (
	"net/http"
	"testing"
	"time"

	"doorward/pgtest"
)

// TestKeysOnTwoNodes: what is done on one holds there at once and on the other within a second.
func TestKeysOnTwoNodes(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	root := a.setUp()
	soon := func(what string, ok func() bool) {
		t.Helper()
		until(t, time.Second, what, ok)
	}
	for i, name := range []string{"anna", "berta", "carla"} {
		owner, token, _ := a.newUser(root, name, "editor")
		id, key := a.newKey(token, "editor", "")
		a.me(key).want(http.StatusOK)
		soon("a key made elsewhere is good", func() bool { return b.me(key).status == http.StatusOK })
		access, refresh := b.exchange(key, "app")
		a.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
		switch i {
		case 0: // as an owner is, so is the key
			a.do("PATCH", "/api/auth/users/"+owner, bearer(root), jsonBody(`{"role":"viewer"}`)).want(http.StatusOK)
			if got := a.me(key).str("role"); got != "viewer" {
				t.Errorf("its role is %s here", got)
			}
			soon("the other node knows the owner's role", func() bool { return b.me(key).str("role") == "viewer" })
			b.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(http.StatusNoContent)
			b.me(key).refused(http.StatusUnauthorized, "invalid token")
			soon("a key removed elsewhere is dead", func() bool { return a.me(key).status == http.StatusUnauthorized })
		case 1:
			b.do("PATCH", "/api/auth/users/"+owner, bearer(root), jsonBody(`{"disabled":true}`)).want(http.StatusOK)
			b.me(key).refused(http.StatusUnauthorized, "invalid token")
			soon("the key of who was disabled elsewhere is dead", func() bool { return a.me(key).status == http.StatusUnauthorized })
			a.do("PATCH", "/api/auth/users/"+owner, bearer(root), jsonBody(`{"disabled":false}`)).want(http.StatusOK)
			soon("and good again", func() bool { return b.me(key).status == http.StatusOK })
			_, next := a.rotateKey(root, id, `{"overlap":"0s"}`)
			soon("the key rotated elsewhere is dead", func() bool { return b.me(key).status == http.StatusUnauthorized })
			soon("and its successor is good", func() bool { return b.me(next).status == http.StatusOK })
		case 2:
			a.do("DELETE", "/api/auth/users/"+owner, bearer(root)).want(http.StatusNoContent)
			a.me(key).refused(http.StatusUnauthorized, "invalid token")
			soon("the key of who was deleted elsewhere is dead", func() bool { return b.me(key).status == http.StatusUnauthorized })
		}
		for _, d := range []*door{a, b} {
			soon("its session is dead", func() bool { return d.do("GET", "/auth/validate", bearer(access)).status == http.StatusUnauthorized })
			d.refresh(refresh).refused(http.StatusUnauthorized, "token blacklisted")
		}
	}
}

// TestAnOverlapEndsOnEveryNode, whichever notices first.
func TestAnOverlapEndsOnEveryNode(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t)
	root := a.setUp()
	id, key := a.newKey(root, "editor", "")
	until(t, time.Second, "it is known", func() bool { return b.me(key).status == http.StatusOK })
	access, refresh := b.exchange(key, "app")
	a.me(access).want(http.StatusOK)
	began := time.Now()
	a.rotateKey(root, id, `{"overlap":"1500ms"}`)
	b.me(key).want(http.StatusOK)
	until(t, 5*time.Second, "it is dead on one node", func() bool { return a.me(key).status == http.StatusUnauthorized })
	if lived := time.Since(began); lived < 1400*time.Millisecond {
		t.Errorf("it lived on for %v", lived)
	}
	until(t, time.Second, "it is dead on the other", func() bool { return b.me(key).status == http.StatusUnauthorized })
	for _, d := range []*door{a, b} {
		until(t, time.Second, "its session is dead", func() bool { return d.me(access).status == http.StatusUnauthorized })
		d.refresh(refresh).want(http.StatusUnauthorized)
	}
}

// TestRV13NothingPassesASecondAfterAKeyWasRevoked, with a hundred requests in flight on the
// other node all the time; on the node that revoked it nothing passes at all.
func TestRV13NothingPassesASecondAfterAKeyWasRevoked(t *testing.T) {
	t.Parallel()
	// Each refusal counts as a guess of this address, and so does each question before the key is known.
	a, b := twoNodes(t, "rate_limits.enabled=false")
	root := a.setUp()
	id, key := a.newKey(root, "viewer", "")
	until(t, time.Second, "it is known", func() bool { return b.me(key).status == http.StatusOK })
	grace := func(i int) (*door, time.Duration) {
		if i%2 == 0 {
			return a, 0
		}
		return b, time.Second
	}
	nothingPassesAfter(t, key, grace, func() {
		a.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(http.StatusNoContent)
	})
}

// TestMN3KeysInAnOutage: those made at run time pass for max_staleness, those of the
// settings for as long as it lasts; of one that is not known it is not said that there is none.
func TestMN3KeysInAnOutage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a real outage")
	}
	cluster := pgtest.Start(t, pgtest.Config{})
	d := machineDoor(t, "database="+cluster.Database(t), "max_staleness=3s")
	root := d.setUp()
	_, key := d.newKey(root, "editor", "")
	id, gone := d.newKey(root, "editor", "")
	d.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(http.StatusNoContent)
	d.me(key).want(http.StatusOK)

	cluster.Kill(t)
	began, passed := time.Now(), 0
	until(t, 10*time.Second, "what is known is too old", func() bool {
		a := d.do("GET", "/api/pipelines", bearer(key))
		if a.status == http.StatusOK {
			passed++
			return false
		}
		a.refused(http.StatusServiceUnavailable, "temporarily unavailable")
		return true
	})
	if lasted := time.Since(began); passed == 0 || lasted < 2*time.Second {
		t.Errorf("an outage was bridged for %v only", lasted)
	}
	d.do("GET", "/api/pipelines", bearer(gone)).refused(http.StatusServiceUnavailable, "temporarily unavailable") // it may have been made elsewhere
	d.do("GET", "/api/pipelines", bearer("no-such-key")).refused(http.StatusUnauthorized, "invalid token")        // none that was made here
	d.do("GET", "/api/pipelines", bearer(machineKey)).want(http.StatusOK)
	d.do("POST", "/api/auth/keys", bearer(machineKey), jsonBody(keyJSON("x", "viewer", `"service":true`))).refused(http.StatusServiceUnavailable, "temporarily unavailable")

	cluster.Restart(t)
	until(t, 20*time.Second, "back after the outage", func() bool { return d.me(key).status == http.StatusOK })
	d.me(gone).refused(http.StatusUnauthorized, "invalid token")
}

// TestANodeThatWasAwayReadsTheKeysAnew: what the feed has forgotten meanwhile counts.
func TestANodeThatWasAwayReadsTheKeysAnew(t *testing.T) {
	t.Parallel()
	settings := append(onPostgres.settings(t), "max_staleness=1h")
	a, b := machineDoor(t, settings...), machineDoor(t, settings...)
	root := a.setUp()
	owner, token, _ := a.newUser(root, "ed", "editor")
	_, edited := a.newKey(token, "editor", "")
	gone, goneKey := a.newKey(root, "editor", "")
	until(t, time.Second, "they are known", func() bool { return b.me(goneKey).status == http.StatusOK && b.me(edited).status == http.StatusOK })
	b.still()
	a.do("DELETE", "/api/auth/keys/"+gone, bearer(root)).want(http.StatusNoContent)
	a.do("PATCH", "/api/auth/users/"+owner, bearer(root), jsonBody(`{"role":"viewer"}`)).want(http.StatusOK)
	_, fresh := a.newKey(root, "editor", "")
	b.me(goneKey).want(http.StatusOK) // it has not heard
	a.sqlExec(`UPDATE feed SET pruned = seq`)
	a.sqlExec(`DELETE FROM changes`)
	a.sqlExec(`DELETE FROM api_keys WHERE id = ?`, gone)
	if err := b.house.authority.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.me(goneKey).refused(http.StatusUnauthorized, "invalid token")
	b.me(fresh).want(http.StatusOK)
	if got := b.me(edited).str("role"); got != "viewer" {
		t.Errorf("its role is %s", got)
	}
	// And goes on from there, the owners too.
	a.do("PATCH", "/api/auth/users/"+owner, bearer(root), jsonBody(`{"disabled":true}`)).want(http.StatusOK)
	if err := b.house.authority.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.me(edited).refused(http.StatusUnauthorized, "invalid token")
	// A row that is gone before anybody reads of its change.
	id, key := a.newKey(root, "editor", "")
	if err := b.house.authority.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.me(key).want(http.StatusOK)
	a.do("DELETE", "/api/auth/keys/"+id, bearer(root)).want(http.StatusNoContent)
	a.sqlExec(`DELETE FROM api_keys WHERE id = ?`, id)
	if err := b.house.authority.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.me(key).refused(http.StatusUnauthorized, "invalid token")
}

package app

import (
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"
)

const wrongPassword = "this is not the password"

// guess fails to sign in n times.
func (d *door) guess(username string, n int) {
	d.t.Helper()
	for range n {
		d.login(username, wrongPassword).refused(http.StatusUnauthorized, "invalid credentials")
	}
}

// locked fails the test unless the answer says that the account is locked, for a time
// between least and most.
func (a answer) locked(least, most time.Duration) answer {
	a.t.Helper()
	a.refused(http.StatusTooManyRequests, "account locked")
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if got := time.Duration(seconds) * time.Second; err != nil || got < least || got > most {
		a.t.Errorf("%s: Retry-After %q, want %v to %v", a.what, a.header.Get("Retry-After"), least, most)
	}
	return a
}

// usernameRule is what is said of a name that cannot be one.
func usernameRule(name string) string {
	if name == "" {
		return "username: is required"
	}
	return "username: must have 1 to 64 of ASCII letters, digits and ._@+-"
}

// Most of a lock of 15 minutes is left; a minute is for slow machines.
const freshLock = 14 * time.Minute

func TestLK1FiveWrongThenRight(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		d.keepsQuiet(wrongPassword)
		d.newUser(root, "ann", "viewer")

		// The same for a name that is nobody's: what is locked says nothing about who exists.
		answers := map[string]answer{}
		for _, name := range []string{"root", "nobody"} {
			d.guess(name, 5)
			for range 7 { // refusals, right or wrong, do not extend the lock
				d.login(name, wrongPassword).locked(freshLock, 15*time.Minute)
				answers[name] = d.login(name, rootPassword).locked(freshLock, 15*time.Minute)
			}
		}
		known, unknown := answers["root"], answers["nobody"]
		for _, a := range answers {
			a.header.Del("Date")
			a.header.Del("X-Request-Id")
			a.header.Del("Retry-After")
		}
		if known.body != unknown.body || !reflect.DeepEqual(known.header, unknown.header) {
			t.Errorf("the answers differ: %s %v, %s %v", known.body, known.header, unknown.body, unknown.header)
		}
		d.login("ann", "password of ann").want(http.StatusOK)

		d.clock.advance(freshLock)
		d.login("root", rootPassword).locked(time.Second, time.Minute)
		d.login("root", wrongPassword).locked(time.Second, time.Minute)
		d.clock.advance(time.Minute)
		d.login("root", rootPassword).want(http.StatusOK)
		// The lock took its failures with it.
		d.guess("nobody", 5)
		d.login("nobody", wrongPassword).locked(freshLock, 15*time.Minute)
	})
}

func TestLK3EveryWayToPresentAPasswordSharesTheCounter(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		d.keepsQuiet(wrongPassword, "a new one of hers")
		_, ann, annCookie := d.newUser(root, "ann", "viewer")
		change := func(current string, how ask) answer {
			return d.do("POST", "/api/auth/change-password", how, jsonOf(map[string]string{"current_password": current, "new_password": "a new one of hers"}))
		}
		const wrong = "current_password: is wrong"

		change(wrongPassword, bearer(ann)).refused(http.StatusBadRequest, wrong)
		d.guess("ann", 2)
		change(wrongPassword, cookie(annCookie)).refused(http.StatusBadRequest, wrong)
		change(wrongPassword, bearer(ann)).refused(http.StatusBadRequest, wrong)
		d.login("ann", "password of ann").locked(freshLock, 15*time.Minute)
		change("password of ann", bearer(ann)).locked(freshLock, 15*time.Minute)
		// LK11: who is in stays in.
		d.do("GET", "/api/auth/me", bearer(ann)).want(http.StatusOK)
		d.do("GET", "/api/pipelines", cookie(annCookie)).want(http.StatusOK)

		d.clock.advance(15*time.Minute + time.Second)
		d.guess("ann", 4)
		// What no comparison is needed to refuse is no guess.
		for _, body := range []string{`{"current_password":"` + wrongPassword + `","new_password":"short"}`, `{"current_password":"x"}`, `{"new_password":"a new one of hers"}`, `{}`} {
			d.do("POST", "/api/auth/change-password", bearer(ann), jsonBody(body)).want(http.StatusBadRequest)
		}
		change("password of ann", bearer(ann)).want(http.StatusOK)
		d.guess("ann", 4) // the success began a new count
		d.login("ann", "a new one of hers").want(http.StatusOK)
	})
}

func TestLK5OneCounterForAllSpellings(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		d.newUser(root, "Admin", "admin")
		create := func(name string) answer {
			return d.do("POST", "/api/auth/users", bearer(root), jsonOf(map[string]string{"username": name, "password": "password of it", "role": "viewer"}))
		}
		for _, twin := range []string{"Admin", "admin", "ADMIN", "aDMIN"} {
			create(twin).refused(http.StatusConflict, "username "+twin+" is taken")
		}
		lookalikes := []string{
			"admin ", " admin", "admin\t", "admin\n", "admin\x00", "ad min", "ａｄｍｉｎ", "аdmin", "admın", "adm\u0456n",
			"admin\u200b", "\ufeffadmin", "admin\u0301", "Ⓐdmin", "admi\u212a", "admin/", "admin:", "admin,x", "admin\"",
		}
		for _, name := range append(lookalikes, "", "a1234567890123456789012345678901234567890123456789012345678901234") {
			create(name).refused(http.StatusBadRequest, usernameRule(name))
		}
		for i, name := range []string{"Admin", "admin", "ADMIN", "aDmIn", "admiN"} {
			d.login(name, wrongPassword).refused(http.StatusUnauthorized, "invalid credentials")
			if i == 2 {
				for _, name := range lookalikes[:6] { // none of them counts
					d.login(name, wrongPassword).refused(http.StatusUnauthorized, "invalid credentials")
				}
			}
		}
		for _, name := range []string{"admin", "ADMIN", "Admin"} {
			d.login(name, "password of Admin").locked(freshLock, 15*time.Minute)
		}
		d.login("admin ", "password of Admin").refused(http.StatusUnauthorized, "invalid credentials")
	})
}

func TestLK7ARestartForgetsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		d.setUp()
		d.guess("root", 3)
		d.guess("nobody", 4)
		d.restart()
		d.guess("root", 2)
		d.login("root", rootPassword).locked(freshLock, 15*time.Minute)
		d.restart()
		d.login("root", rootPassword).locked(freshLock, 15*time.Minute)
		d.guess("nobody", 1)
		d.login("nobody", wrongPassword).locked(freshLock, 15*time.Minute)
		d.clock.advance(15 * time.Minute)
		d.restart()
		d.login("root", rootPassword).want(http.StatusOK)
	})
}

func TestLK11WhoIsInStaysIn(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "api_key="+ownerKey)
		d.setUp()
		token, value := d.signIn("root", rootPassword)
		d.guess("root", 5)
		d.login("root", rootPassword).locked(freshLock, 15*time.Minute)
		for _, how := range []ask{bearer(token), cookie(value), apiKey(ownerKey)} {
			d.do("GET", "/api/pipelines", how).want(http.StatusOK)
			d.do("GET", "/api/auth/users", how).want(http.StatusOK)
		}
		d.restart() // also with nothing in memory
		d.do("GET", "/api/pipelines", cookie(value)).want(http.StatusOK)
		d.do("POST", "/api/auth/logout", cookie(value)).want(http.StatusOK)
	})
}

func TestLK13ASuccessForgivesThatAccountAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		d.newUser(root, "ann", "viewer")
		d.guess("ann", 4)
		d.guess("root", 4)
		d.login("root", rootPassword).want(http.StatusOK)
		d.guess("root", 4)
		d.login("root", rootPassword).want(http.StatusOK)
		d.guess("ann", 1)
		d.login("ann", "password of ann").locked(freshLock, 15*time.Minute)
	})
}

func TestFailuresSlideOutOfTheWindow(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		d.setUp()
		for range 6 { // at 0, 4, ..., 20 minutes there are never five within fifteen
			d.guess("root", 1)
			d.clock.advance(4 * time.Minute)
		}
		// At 24 minutes those at 12, 16 and 20 count.
		d.guess("root", 1)
		d.clock.advance(time.Minute)
		d.guess("root", 1)
		d.login("root", rootPassword).locked(freshLock, 15*time.Minute)
	})
}

func TestLockoutObeysItsSettings(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "lockout.attempts=2", "lockout.window=1m", "lockout.duration=2h")
		root := d.setUp()
		d.guess("root", 1)
		d.clock.advance(61 * time.Second)
		d.guess("root", 2)
		d.login("root", rootPassword).locked(119*time.Minute, 2*time.Hour)
		d.clock.advance(119 * time.Minute)
		d.login("root", rootPassword).locked(time.Second, time.Minute)
		d.clock.advance(time.Minute)
		d.login("root", rootPassword).want(http.StatusOK)

		// A disabled user's right password is a failure like any other.
		id, _, _ := d.newUser(root, "ann", "viewer")
		d.do("PATCH", "/api/auth/users/"+id, bearer(root), jsonBody(`{"disabled":true}`)).want(http.StatusOK)
		for range 2 {
			d.login("ann", "password of ann").refused(http.StatusUnauthorized, "invalid credentials")
		}
		d.login("ann", "password of ann").locked(119*time.Minute, 2*time.Hour)
	})
}

// TestALockTakesItsFailuresWithIt: where the window is longer than the lock, who comes back
// after it begins anew.
func TestALockTakesItsFailuresWithIt(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "lockout.attempts=2", "lockout.window=1h", "lockout.duration=1m")
		d.setUpQuietly(t)
		d.guess("root", 2)
		d.login("root", rootPassword).locked(time.Second, time.Minute)
		d.clock.advance(time.Minute)
		d.guess("root", 1)
		d.login("root", rootPassword).want(http.StatusOK)
	})
}

func TestResetUnlocks(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		d.keepsQuiet("chosen by root")
		id, ann, _ := d.newUser(root, "ann", "viewer")
		d.guess("ann", 5)
		d.login("ann", "password of ann").locked(freshLock, 15*time.Minute)
		d.do("POST", "/api/auth/admin-reset-password", bearer(root), jsonBody(`{"user_id":"`+id+`","new_password":"chosen by root"}`)).
			want(http.StatusOK).shape(`{"status":"password reset"}`)
		d.do("GET", "/api/auth/me", bearer(ann)).refused(http.StatusUnauthorized, "token blacklisted")
		d.guess("ann", 4)
		d.login("ann", "password of ann").refused(http.StatusUnauthorized, "invalid credentials")
		d.login("ann", "chosen by root").locked(freshLock, 15*time.Minute)

		// A reset that is refused unlocks nothing.
		d.do("POST", "/api/auth/admin-reset-password", bearer(root), jsonBody(`{"user_id":"`+id+`","new_password":"short"}`)).want(http.StatusBadRequest)
		d.login("ann", "chosen by root").locked(freshLock, 15*time.Minute)
		d.do("POST", "/api/auth/admin-reset-password", bearer(root), jsonBody(`{"user_id":"`+id+`","new_password":"chosen by root"}`)).want(http.StatusOK)
		d.login("ann", "chosen by root").want(http.StatusOK)
	})
}

// at makes n requests as nearly at the same time as may be, and counts their statuses.
func at(n int, knock func(i int) answer) map[int]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	statuses, begin := map[int]int{}, make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			a := knock(i)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	close(begin)
	wg.Wait()
	return statuses
}

func TestSimultaneousGuesses(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		root := d.setUp()
		_, ann, _ := d.newUser(root, "ann", "viewer")
		t.Run("at most five are compared", func(t *testing.T) {
			for _, name := range []string{"root", "nobody"} {
				got := at(200, func(int) answer { return d.login(name, wrongPassword) })
				if got[http.StatusUnauthorized] != 5 || got[http.StatusTooManyRequests] != 195 {
					t.Errorf("%s: %v", name, got)
				}
				d.login(name, rootPassword).locked(freshLock, 15*time.Minute)
			}
		})
		t.Run("whatever the way", func(t *testing.T) {
			got := at(60, func(i int) answer {
				if i%2 == 0 {
					return d.login("ann", wrongPassword)
				}
				return d.do("POST", "/api/auth/change-password", bearer(ann), jsonBody(`{"current_password":"`+wrongPassword+`","new_password":"a new one of hers"}`))
			})
			if got[http.StatusUnauthorized]+got[http.StatusBadRequest] != 5 || got[http.StatusTooManyRequests] != 55 {
				t.Errorf("%v", got)
			}
		})
		t.Run("the right one among them", func(t *testing.T) {
			d.clock.advance(16 * time.Minute)
			var right answer
			got := at(60, func(i int) answer {
				if i == 30 {
					right = d.login("root", rootPassword)
					return answer{}
				}
				return d.login("root", wrongPassword)
			})
			// It is let in or comes too late; it is never said to be wrong. If it comes in
			// time, others have five more, as after any success.
			allowed := 5
			switch right.status {
			case http.StatusOK:
				allowed = 10
			default:
				right.locked(freshLock, 15*time.Minute)
			}
			if n := got[http.StatusUnauthorized]; n > allowed || n+got[http.StatusTooManyRequests] != 59 {
				t.Errorf("the right one got %d, the others %v", right.status, got)
			}
		})
		t.Run("right ones leave no lock", func(t *testing.T) {
			d.clock.advance(16 * time.Minute)
			got := at(12, func(int) answer { return d.login("root", rootPassword) })
			if got[http.StatusOK] == 0 || got[http.StatusOK]+got[http.StatusTooManyRequests] != 12 {
				t.Errorf("%v", got)
			}
			d.guess("root", 4)
			d.login("root", rootPassword).want(http.StatusOK)
		})
	})
}

// TestLockoutExactOnTwoNodes: of a thousand guesses at once, half of them on each of two
// servers on one database, five are compared.
func TestLockoutExactOnTwoNodes(t *testing.T) {
	t.Parallel()
	a, b := twoNodes(t, "rate_limits.enabled=false")
	a.setUpWithKey(t)
	mine := a.known("root", rootPassword)
	nodes := []*door{a, b}
	for _, name := range []string{"root", "nobody"} {
		got := at(1000, func(i int) answer { return nodes[i%2].login(name, wrongPassword) })
		if got[http.StatusUnauthorized] > 5 || got[http.StatusUnauthorized]+got[http.StatusTooManyRequests] != 1000 {
			t.Errorf("%s: %v", name, got)
		}
		for got[http.StatusUnauthorized] < 5 { // a full queue compares none
			got[http.StatusUnauthorized]++
			a.guess(name, 1)
		}
		for _, d := range nodes {
			d.login(name, rootPassword).locked(time.Minute, 15*time.Minute)
		}
	}
	// One device as well, and where the account is locked.
	got := at(200, func(i int) answer { return nodes[i%2].login("root", wrongPassword, device(mine)) })
	if got[http.StatusUnauthorized] > 5 || got[http.StatusUnauthorized]+got[http.StatusTooManyRequests] != 200 {
		t.Errorf("on a device: %v", got)
	}
	other := a.login("root", rootPassword, device(mine))
	for _, d := range nodes {
		d.login("root", rootPassword).locked(time.Minute, 15*time.Minute)
		d.login("root", rootPassword, device(mine)).locked(time.Minute, 15*time.Minute)
	}
	other.locked(time.Minute, 15*time.Minute)
	a.clock.advance(15 * time.Minute)
	b.known("root", rootPassword, device(mine)) // in the end it unlocks
	a.known("root", rootPassword)
}

// TestARightPasswordIsNoFailureWhateverComesAfter: what ends a sign-in after its password
// was found right counts for nothing.
func TestARightPasswordIsNoFailureWhateverComesAfter(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		d.setUp()
		mine := d.known("root", rootPassword)
		id := d.do("GET", "/api/auth/me", cookie(d.login("root", rootPassword).sessionCookie())).want(http.StatusOK).str("id")
		// The most sessions that one credential may have.
		d.sqlExec(`
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
			INSERT INTO sessions (id, kind, subject, credential, configured, terms, org, workspaces, created, ends, access_until, ended,
				end_reason, prev, head, child, gen, fork, minted, address, user_agent)
			SELECT 'full' || n.i, s.kind, s.subject, s.credential, 0, '', s.org, s.workspaces, s.created, s.ends, s.access_until, 0, '', '', '', '', 0, 0, 0, '', ''
			FROM n, (SELECT * FROM sessions WHERE credential = ? LIMIT 1) s`, id)
		for range 12 {
			d.login("root", rootPassword).refused(http.StatusTooManyRequests, "too many requests")
			d.login("root", rootPassword, device(mine)).refused(http.StatusTooManyRequests, "too many requests")
		}
		d.guess("root", 4)
		d.login("root", rootPassword).refused(http.StatusTooManyRequests, "too many requests")
		d.sqlExec(`DELETE FROM sessions WHERE id LIKE 'full%'`)
		d.guess("root", 4)
		token, _ := d.signIn("root", rootPassword)
		// A change that the policy's last word refuses, likewise: the account was changed meanwhile.
		for range 6 {
			d.do("POST", "/api/auth/change-password", bearer(token), jsonBody(`{"current_password":"`+rootPassword+`","new_password":"`+rootPassword+`"}`)).want(http.StatusOK)
		}
		d.guess("root", 4)
		d.login("root", rootPassword).want(http.StatusOK)
	})
}

// TestLK15TheCountersOfOtherNamesGo: 100,000 names that somebody has guessed at hold
// nobody up, while they are kept and while they go.
func TestLK15TheCountersOfOtherNamesGo(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t)
		d.setUp()
		d.clock.freeze(time.Now())
		d.guess("root", 5)
		d.guess("somebody", 1)
		d.sqlExec(`
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
			INSERT INTO lockouts (account, times, locked_until, last)
			SELECT 'name-' || n.i, l.times, l.locked_until, l.last FROM n, (SELECT * FROM lockouts WHERE account = 'somebody') l`)
		kept := func() int64 { return d.sqlNumber(`SELECT count(*) FROM lockouts`) }
		if n := kept(); n != 100_002 {
			t.Fatalf("%d counters", n)
		}
		begun := time.Now()
		d.login("root", rootPassword).locked(freshLock, 15*time.Minute)
		d.guess("another", 1)
		t.Logf("with 100,000 counters a guess and a refusal take %v", time.Since(begun))
		if err := d.house.authority.Sweep(t.Context()); err != nil || kept() != 100_003 {
			t.Fatalf("some went too early: %d, %v", kept(), err)
		}
		d.clock.advance(15 * time.Minute)
		swept := make(chan error, 1)
		begun = time.Now()
		go func() { swept <- d.house.authority.Sweep(t.Context()) }()
		d.login("root", rootPassword).want(http.StatusOK)
		t.Logf("a sign-in while they go takes %v", time.Since(begun))
		if err := <-swept; err != nil {
			t.Fatal(err)
		}
		t.Logf("they are gone after %v", time.Since(begun))
		if n := kept(); n != 0 {
			t.Errorf("%d counters are kept", n)
		}
	})
}

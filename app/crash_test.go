package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doorward/pgtest"
)

// This file kills the real program, and its database, at random moments while clients ask
// it things, starts it again and holds it to what it had acknowledged:
//
//   - An honest client that asks again is never signed out: its access token is good, and of
//     its refresh tokens the last that it got an answer with.
//   - What was said to have ended stays dead: 401 for the access token, the cookie and the refresh token.
//   - What was said to have been made or changed, has been: users, passwords, roles, locks.
//   - What was under way has happened as a whole or not at all.
//
// All rounds are on one database, so that state piles up, and each client does one thing
// at a time, so that it knows what it may expect.

// crashRounds is how often to kill: few times here, as often as the variable says elsewhere.
func crashRounds(t *testing.T, variable string, few int) int {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		if raceDetector() {
			return max(1, few/2) // it slows the program down tenfold as well
		}
		return few
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number of rounds", variable, v)
	}
	return n
}

// crashSeed is what random choices are drawn from, or what DOORWARD_TEST_CRASH_SEED says. The same
// seed makes the same choices, but no two runs meet the same moments.
func crashSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if v := os.Getenv("DOORWARD_TEST_CRASH_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("DOORWARD_TEST_CRASH_SEED=%q is no seed", v)
		}
	}
	t.Logf("DOORWARD_TEST_CRASH_SEED=%d", seed)
	return seed
}

func TestNothingAcknowledgedIsLostWhenTheProgramIsKilled(t *testing.T) {
	t.Parallel()
	c := newCrash(t, nil)
	for round := range c.rounds {
		c.start()
		c.verify(round)
		stop := c.load()
		c.pause(stop)
		c.kill()
		stop()
	}
	c.start()
	c.verify(c.rounds)
	c.finish()
}

// TestNothingAcknowledgedIsLostWhenPostgreSQLIsKilled, or the program, or both.
func TestNothingAcknowledgedIsLostWhenPostgreSQLIsKilled(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux are a server's processes known")
	}
	cluster := pgtest.Start(t, pgtest.Config{})
	c := newCrash(t, cluster)
	for round := range c.rounds {
		if c.program == nil {
			c.start()
		}
		c.verify(round)
		stop := c.load()
		c.pause(stop)
		// In the first four of CI's rounds each of these once.
		switch round % 4 {
		case 1: // the program finds its database again by itself
			c.outage.Store(true)
			cluster.Kill(t)
			stop()
			c.whileOut()
			cluster.Restart(t)
			c.recover()
		case 3:
			c.outage.Store(true)
			cluster.Kill(t)
			c.kill()
			stop()
			cluster.Restart(t)
		default:
			c.kill()
			stop()
		}
		c.outage.Store(false)
	}
	if c.program == nil {
		c.start()
	}
	c.verify(c.rounds)
	c.finish()
}

// crash is a program that is killed again and again, and who asks it.
type crash struct {
	t       *testing.T
	rounds  int
	random  *rand.Rand // of the test's own goroutine
	dir     string
	cluster *pgtest.Cluster // nil on SQLite
	url     string          // of its database
	program *served         // nil while none runs
	base    atomic.Value    // the program's URL
	begun   bool            // there is a first user
	outage  atomic.Bool     // the database is dead, or has just been

	clients []crashClient
	acked   sync.Map // what was done, to *atomic.Int64
	doubts  sync.Map // what was under way and has happened, or has not
}

// crashClient does one thing at a time.
type crashClient interface {
	// act does something at random and reports whether it got its answer.
	act() bool
	// verify holds the program to what it had acknowledged; all of it, or what is new and
	// a part of the rest.
	verify(all bool)
	// endure is verify while the database is dead.
	endure()
}

func newCrash(t *testing.T, cluster *pgtest.Cluster) *crash {
	t.Helper()
	seed := crashSeed(t)
	c := &crash{t: t, rounds: crashRounds(t, "DOORWARD_TEST_CRASH_ROUNDS", 8), dir: t.TempDir(), cluster: cluster}
	c.random = rand.New(rand.NewPCG(seed, 0))
	if cluster != nil {
		c.url = cluster.Database(t)
	}
	for i := range 16 {
		caller := &crashCaller{
			c: c, random: rand.New(rand.NewPCG(seed, uint64(i+1))),
			http: &http.Client{Timeout: time.Minute, Transport: judgingTransport{&http.Transport{DisableCompression: true}}},
		}
		t.Cleanup(caller.http.CloseIdleConnections)
		switch {
		case i < 11:
			c.clients = append(c.clients, &crashMachine{crashCaller: caller, name: fmt.Sprintf("app-%d", i)})
		case i < 15:
			c.clients = append(c.clients, &crashPeople{crashCaller: caller, name: fmt.Sprintf("user-%d", i)})
		default:
			c.clients = append(c.clients, &crashGuesser{crashCaller: caller})
		}
	}
	return c
}

// start starts the program, now and then only after it was killed while it started.
func (c *crash) start() {
	c.t.Helper()
	args := []string{"--data-dir", c.dir, "--jwt-secret", machineSecret, "--api-tokens", machineToken, "--api-key", machineKey, "--rate-limits-enabled=false"}
	if c.url != "" {
		args = append(args, "--database", c.url)
	}
	if c.random.IntN(5) == 0 {
		half := exec.Command("doorward", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
		half.Env = append(os.Environ(), "HOME="+c.dir)
		if err := half.Start(); err != nil {
			c.t.Fatal(err)
		}
		<-time.After(time.Duration(c.random.IntN(100)) * time.Millisecond)
		_ = half.Process.Kill()
		_ = half.Wait()
	}
	c.program = serveProgram(c.t, args...)
	if c.program.addr == "" {
		c.t.Fatalf("it does not start again:\n%s", c.program.stderr)
	}
	c.base.Store("http://" + c.program.addr)
	if c.begun {
		return
	}
	c.begun = true
	d := &door{t: c.t, URL: c.base.Load().(string)}
	d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(http.StatusCreated)
}

// kill kills the program, looks at how it ended and what it has said.
func (c *crash) kill() {
	c.t.Helper()
	_ = c.program.cmd.Process.Kill()
	var exit *exec.ExitError
	if err := <-c.program.ended; !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		c.t.Errorf("it ended before it was killed: %v\n%s", err, c.program.stderr)
	}
	c.listen()
	c.program = nil
}

// listen looks at what the program has said.
func (c *crash) listen() {
	c.t.Helper()
	for line := range strings.Lines(c.program.stderr.String()) {
		if strings.Contains(line, "ALARM") || strings.Contains(line, "panic") || strings.Contains(line, "goroutine ") ||
			strings.Contains(line, "level=ERROR") && c.cluster == nil {
			c.t.Errorf("it says: %s", line)
		}
	}
}

// load lets all clients act until they get no answer or are stopped. Stopping waits for them.
func (c *crash) load() (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	for _, client := range c.clients {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if !client.act() {
					return
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		close(done)
		all.Wait()
	})
}

// pause lets some time go by, 5 to 400 ms, but not if the test has failed meanwhile.
func (c *crash) pause(stop func()) {
	c.t.Helper()
	<-time.After(time.Duration(5+c.random.IntN(396)) * time.Millisecond)
	if c.t.Failed() {
		stop()
		c.t.Fatalf("failed before anything was killed; the program says:\n%s", c.program.stderr)
	}
}

// verify holds the program to what it acknowledged, before and in the rounds until now.
func (c *crash) verify(round int) {
	c.t.Helper()
	c.each(func(client crashClient) { client.verify(round == c.rounds) })
	if c.t.Failed() {
		c.t.Fatalf("in round %d; the program says:\n%s", round, c.program.stderr)
	}
}

// whileOut asks the program while its database is dead.
func (c *crash) whileOut() {
	c.t.Helper()
	c.each(func(client crashClient) { client.endure() })
}

func (c *crash) each(do func(crashClient)) {
	var all sync.WaitGroup
	for _, client := range c.clients {
		all.Go(func() { do(client) })
	}
	all.Wait()
}

// recover waits until the program has found its database again, and has read all that was
// kept in it: what somebody else changes now it hears of after everything before.
func (c *crash) recover() {
	c.t.Helper()
	d := &door{t: c.t, URL: c.base.Load().(string)}
	until(c.t, 30*time.Second, "the program finds its database again", func() bool {
		return d.do("GET", "/health/ready").status == http.StatusOK
	})
	access, _ := d.exchange(machineToken, "app")
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	revoke := exec.Command("doorward", "session", "revoke", "--data-dir", c.dir, "--database", c.url, "--", claimsOf(c.t, access).Session)
	if out, err := revoke.CombinedOutput(); err != nil {
		c.t.Fatalf("session revoke: %v\n%s", err, out)
	}
	until(c.t, 5*time.Second, "the program hears of what was revoked", func() bool {
		return d.do("GET", "/auth/validate", bearer(access)).status == http.StatusUnauthorized
	})
}

// finish looks at the database as a whole, and says what has happened.
func (c *crash) finish() {
	c.t.Helper()
	c.listen()
	d := &door{t: c.t, dir: c.dir, flags: map[string]string{"database": c.url}}
	for what, text := range map[string]string{
		"ended sessions that the feed does not tell of": `SELECT count(*) FROM sessions s WHERE s.ended > 0 AND NOT EXISTS (SELECT 1 FROM changes c WHERE c.what = 'session_ended' AND c.target = s.id)`,
		"changes of sessions that live":                 `SELECT count(*) FROM changes c WHERE c.what = 'session_ended' AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.id = c.target AND s.ended > 0)`,
		"changes without a number":                      `SELECT (SELECT seq FROM feed) - count(DISTINCT seq) FROM changes`,
		"sessions that were not audited":                `SELECT count(*) FROM sessions s WHERE NOT EXISTS (SELECT 1 FROM audit a WHERE a.action = 'session.create' AND a.target = s.id)`,
		"audited sessions that are none":                `SELECT count(*) FROM audit a WHERE a.action = 'session.create' AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.id = a.target)`,
		"users that were not audited":                   `SELECT count(*) FROM users u WHERE NOT EXISTS (SELECT 1 FROM audit a WHERE a.action = 'user.create' AND a.target = u.id)`,
		"users without a workspace":                     `SELECT count(*) FROM users u WHERE NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = u.id)`,
		"members that are no users":                     `SELECT count(*) FROM memberships m WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = m.user_id)`,
		"live sessions of users that are none":          `SELECT count(*) FROM sessions s WHERE s.kind = 'user' AND s.ended = 0 AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = s.credential AND u.disabled = 0)`,
	} {
		if n := d.sqlNumber(text); n != 0 {
			c.t.Errorf("%d %s", n, what)
		}
	}
	var lines []string
	for word, counts := range map[string]*sync.Map{"acknowledged": &c.acked, "in doubt": &c.doubts} {
		counts.Range(func(what, n any) bool {
			lines = append(lines, fmt.Sprintf("%-12s %6d %s", word, n.(*atomic.Int64).Load(), what))
			return true
		})
	}
	slices.Sort(lines)
	c.t.Logf("%d rounds:\n%s", c.rounds, strings.Join(lines, "\n"))
	must := []string{"exchange", "refresh", "logout"}
	if c.rounds >= 20 { // in a few rounds a rare thing may not come up
		must = append(must, "reuse")
	}
	for _, what := range must {
		if _, ok := c.acked.Load(what); !ok {
			c.t.Errorf("in no round was there an acknowledged %s: the test shows nothing", what)
		}
	}
}

func crashCount(m *sync.Map, what string) {
	n, _ := m.LoadOrStore(what, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

// crashCaller asks the program over connections that it keeps, as clients do.
type crashCaller struct {
	c      *crash
	random *rand.Rand
	http   *http.Client
}

// heard is an answer, or that there was none.
type heard struct {
	status int // 0 for no answer
	error  string
	body   map[string]any
	cookie string
}

// doubtful reports whether what was asked for may have happened or not.
func (h heard) doubtful() bool { return h.status == 0 || h.status == http.StatusServiceUnavailable }

func (h heard) ok() bool { return h.status/100 == 2 }

func (h heard) str(name string) string {
	s, _ := h.body[name].(string)
	return s
}

func (h heard) String() string { return fmt.Sprintf("%d %s", h.status, h.error) }

// ask sends one request, with a body that says it is JSON. What no client may ever be told fails the test.
func (c *crashCaller) ask(method, path, authorization, cookie, body string) (h heard) {
	r, err := http.NewRequest(method, c.c.base.Load().(string)+path, strings.NewReader(body))
	if err != nil {
		c.c.t.Error(err)
		return h
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		r.Header.Set("Authorization", "Bearer "+authorization)
	}
	if cookie != "" {
		r.Header.Set("Cookie", "brokoli_session="+cookie)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return h
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return h
	}
	h.status = resp.StatusCode
	if len(text) > 0 {
		if err := json.Unmarshal(text, &h.body); err != nil && resp.Header.Get("Content-Type") == "application/json" {
			c.c.t.Errorf("%s %s: %d with %q", method, path, h.status, text)
		}
	}
	if !h.ok() {
		h.error = h.str("error")
	}
	for _, k := range resp.Cookies() {
		if k.Name == "brokoli_session" {
			h.cookie = k.Value
		}
	}
	unavailable := h.status == http.StatusServiceUnavailable
	if h.status >= 500 && !unavailable || unavailable && (!c.c.outage.Load() || h.error != "temporarily unavailable") {
		c.c.t.Errorf("%s %s: %v", method, path, h)
	}
	return h
}

func (c *crashCaller) bearer(method, path, token string) heard {
	return c.ask(method, path, token, "", "")
}

func (c *crashCaller) refresh(token string) heard {
	return c.ask("POST", "/auth/refresh", "", "", `{"refresh_token":"`+token+`"}`)
}

// want fails the test unless h is as expected or, while answers may get lost, no answer.
func (c *crashCaller) want(h heard, status int, what string) {
	if h.status != status {
		c.c.t.Errorf("%s: %v, want %d", what, h, status)
	}
}

// dead fails the test unless h says that the session has ended.
func (c *crashCaller) dead(h heard, what string) {
	if h.status != http.StatusUnauthorized || h.error != "token blacklisted" {
		c.c.t.Errorf("%s: %v, want that it is blacklisted", what, h)
	}
}

// crashSession is what a client knows of a machine's session.
type crashSession struct {
	access, refresh string // the newest that it got
	before          string // the access token before that one
	replaced        string // a refresh token of two rotations ago
	last            string // of one rotation ago
	unconfirmed     bool   // a refresh got no answer
	doubt           string // what got no answer, and would have ended it
}

// crashMachine exchanges an API token and refreshes what it gets.
type crashMachine struct {
	*crashCaller
	name  string
	live  []*crashSession
	ended []*crashSession // the newest last
	fresh int             // so many of ended have not been looked at yet
}

func (m *crashMachine) act() bool {
	if len(m.live) == 0 || len(m.live) < 6 && m.random.IntN(8) == 0 {
		return m.exchange()
	}
	n := m.random.IntN(len(m.live))
	s := m.live[n]
	switch p := m.random.IntN(100); {
	case p < 45:
		return m.rotate(s)
	case p < 75:
		h := m.bearer("GET", []string{"/auth/validate", "/api/pipelines"}[p%2], s.access)
		if !h.doubtful() {
			m.want(h, http.StatusOK, "a live session's access token")
		}
		return !h.doubtful()
	case p < 87:
		return m.end(n, "logout", m.bearer("POST", "/auth/logout", s.access), heard.ok)
	case p < 92 && s.replaced != "":
		return m.end(n, "reuse", m.refresh(s.replaced), func(h heard) bool { return h.error == "token blacklisted" })
	case len(m.ended) > 0:
		h := m.bearer("GET", "/auth/validate", m.ended[m.random.IntN(len(m.ended))].access)
		if h.status != 0 {
			m.dead(h, "an ended session's access token, under load")
		}
		return h.status != 0
	}
	return true
}

func (m *crashMachine) exchange() bool {
	h := m.ask("POST", "/auth/token", machineToken, "", `{"client_id":"`+m.name+`"}`)
	if h.doubtful() {
		return false
	}
	m.want(h, http.StatusOK, "exchange")
	crashCount(&m.c.acked, "exchange")
	m.live = append(m.live, &crashSession{access: h.str("access_token"), refresh: h.str("refresh_token")})
	return true
}

// rotate refreshes as an honest client does: with the newest token that it has.
func (m *crashMachine) rotate(s *crashSession) bool {
	h := m.refresh(s.refresh)
	if h.doubtful() {
		s.unconfirmed = true
		return false
	}
	if m.want(h, http.StatusOK, "an honest client's refresh"); !h.ok() {
		return true
	}
	crashCount(&m.c.acked, "refresh")
	if s.unconfirmed {
		crashCount(&m.c.doubts, "refresh, asked again")
	}
	s.replaced, s.last = s.last, s.refresh
	s.before, s.access, s.refresh = s.access, h.str("access_token"), h.str("refresh_token")
	s.unconfirmed = false
	return true
}

// end takes the answer to what ends the session number n.
func (m *crashMachine) end(n int, how string, h heard, happened func(heard) bool) bool {
	s := m.live[n]
	switch {
	case h.doubtful():
		s.doubt = how
		return false
	case !happened(h):
		m.c.t.Errorf("%s: %v", how, h)
		return false
	}
	crashCount(&m.c.acked, how)
	m.bury(n)
	return true
}

func (m *crashMachine) bury(n int) {
	m.ended = append(m.ended, m.live[n])
	m.fresh++
	m.live = slices.Delete(m.live, n, n+1)
}

func (m *crashMachine) verify(all bool) {
	for n := len(m.live) - 1; n >= 0; n-- {
		s := m.live[n]
		h := m.bearer("GET", "/auth/validate", s.access)
		if s.doubt != "" && h.status == http.StatusUnauthorized {
			m.dead(h, "after a "+s.doubt+" that got no answer")
			m.dead(m.refresh(s.refresh), "the refresh token after a "+s.doubt+" that has happened")
			crashCount(&m.c.doubts, s.doubt+", happened")
			m.bury(n)
			continue
		}
		what := "a live session"
		if s.doubt != "" {
			what = "a session after a " + s.doubt + " that has not happened"
			crashCount(&m.c.doubts, s.doubt+", did not happen")
			s.doubt = ""
		}
		m.want(h, http.StatusOK, "the access token of "+what)
		if s.before != "" {
			m.want(m.bearer("GET", "/auth/validate", s.before), http.StatusOK, "the access token before that of "+what)
		}
		if m.rotate(s); m.c.t.Failed() {
			return
		}
		m.want(m.bearer("GET", "/auth/validate", s.access), http.StatusOK, "the new access token of "+what)
	}
	// What has ended stays so: the newest, and some of the rest.
	look := m.ended[len(m.ended)-m.fresh:]
	m.fresh = 0
	if all {
		look = m.ended
	} else {
		for range min(10, len(m.ended)) {
			look = append(look[:len(look):len(look)], m.ended[m.random.IntN(len(m.ended))])
		}
	}
	for _, s := range look {
		m.dead(m.bearer("GET", "/auth/validate", s.access), "an ended session's access token")
		m.dead(m.refresh(s.refresh), "an ended session's refresh token")
	}
}

func (m *crashMachine) endure() {
	for range min(5, len(m.ended)) {
		s := m.ended[m.random.IntN(len(m.ended))]
		m.dead(m.bearer("GET", "/auth/validate", s.access), "an ended session's access token while the database is dead")
		m.want(m.refresh(s.refresh), http.StatusServiceUnavailable, "an ended session's refresh token while the database is dead")
	}
	for _, s := range m.live {
		if h := m.bearer("GET", "/auth/validate", s.access); h.status != http.StatusServiceUnavailable && s.doubt == "" {
			m.want(h, http.StatusOK, "a live session's access token while the database is dead")
		}
	}
	m.want(m.ask("POST", "/auth/token", machineToken, "", `{"client_id":"x"}`), http.StatusServiceUnavailable, "exchange while the database is dead")
}

// crashUser is a person, and what is known of their account.
type crashUser struct {
	id, name, password, role string
	former                   string // a password that was changed
	disabled, gone           bool
	sessions                 []*crashSignIn
	doubt                    *crashChange
}

// crashSignIn is a person's session.
type crashSignIn struct {
	token, cookie string
	ended         bool
	doubt         bool // a sign-out got no answer
}

// crashChange is a change of a user that got no answer.
type crashChange struct {
	what     string
	password string       // after it, if it changes that
	role     string       // after it, if it changes that
	keep     *crashSignIn // lives on
}

// crashPeople are some people, and who administers them with the operator's key.
type crashPeople struct {
	*crashCaller
	name  string
	made  int
	users []*crashUser // not gone
	gone  []*crashUser
}

func (p *crashPeople) act() bool {
	if len(p.users) < 2 {
		return p.create()
	}
	u := p.users[p.random.IntN(len(p.users))]
	var live []*crashSignIn
	for _, s := range u.sessions {
		if !s.ended {
			live = append(live, s)
		}
	}
	// A password costs as much as a hundred other requests.
	switch n := p.random.IntN(60); {
	case n == 0 && len(p.users) < 4:
		return p.create()
	case n == 1:
		return p.change(u, crashChange{what: "disable", role: u.role}, "PATCH", "/api/auth/users/"+u.id, `{"disabled":true}`)
	case n == 2:
		role := map[string]string{"viewer": "editor", "editor": "viewer"}[u.role]
		return p.change(u, crashChange{what: "role", role: role}, "PATCH", "/api/auth/users/"+u.id, `{"role":"`+role+`"}`)
	case n == 3 && len(p.users) > 2:
		return p.change(u, crashChange{what: "delete"}, "DELETE", "/api/auth/users/"+u.id, "")
	case n == 4:
		next := p.password()
		return p.change(u, crashChange{what: "reset", password: next}, "POST", "/api/auth/admin-reset-password", `{"user_id":"`+u.id+`","new_password":"`+next+`"}`)
	case len(live) == 0 || len(live) < 3 && n < 8:
		return p.signIn(u)
	case n < 11:
		return p.changePassword(u, live[p.random.IntN(len(live))])
	case n < 16:
		return p.signOut(live[p.random.IntN(len(live))])
	}
	s := u.sessions[p.random.IntN(len(u.sessions))]
	h := p.present(s)
	switch {
	case s.ended && h.status != 0:
		p.dead(h, "an ended sign-in, under load")
	case !s.ended && !h.doubtful():
		p.want(h, http.StatusOK, "a live sign-in, under load")
	}
	return h.status != 0 && (s.ended || !h.doubtful())
}

// present shows a session's token or its cookie.
func (p *crashPeople) present(s *crashSignIn) heard {
	if p.random.IntN(2) == 0 {
		return p.ask("GET", "/api/auth/me", "", s.cookie, "")
	}
	return p.bearer("GET", "/auth/validate", s.token)
}

func (p *crashPeople) password() string {
	p.made++
	return fmt.Sprintf("password %d of %s", p.made, p.name)
}

func (p *crashPeople) create() bool {
	u := &crashUser{password: p.password(), role: "editor"}
	u.name = fmt.Sprintf("%s-%05d", p.name, p.made)
	h := p.ask("POST", "/api/auth/users", machineKey, "", `{"username":"`+u.name+`","password":"`+u.password+`","role":"editor"}`)
	if h.doubtful() {
		u.doubt = &crashChange{what: "create"}
		p.users = append(p.users, u)
		return false
	}
	p.want(h, http.StatusCreated, "create a user")
	crashCount(&p.c.acked, "create")
	u.id = h.str("id")
	p.users = append(p.users, u)
	return true
}

func (p *crashPeople) signIn(u *crashUser) bool {
	h := p.ask("POST", "/api/auth/login", "", "", credentialsJSON(u.name, u.password))
	if h.doubtful() {
		return false
	}
	if u.disabled {
		p.want(h, http.StatusUnauthorized, "a disabled user's sign-in")
		return true
	}
	if p.want(h, http.StatusOK, "a user's sign-in"); h.ok() {
		crashCount(&p.c.acked, "login")
		u.sessions = append(u.sessions, &crashSignIn{token: h.str("token"), cookie: h.cookie})
	}
	return true
}

func (p *crashPeople) signOut(s *crashSignIn) bool {
	var h heard
	if p.random.IntN(2) == 0 {
		h = p.ask("POST", "/api/auth/logout", "", s.cookie, "")
	} else {
		h = p.bearer("POST", "/api/auth/logout", s.token)
	}
	if h.doubtful() {
		s.doubt = true
		return false
	}
	p.want(h, http.StatusOK, "sign-out")
	crashCount(&p.c.acked, "logout of a person")
	s.ended = true
	return true
}

func (p *crashPeople) changePassword(u *crashUser, s *crashSignIn) bool {
	next := p.password()
	h := p.ask("POST", "/api/auth/change-password", s.token, "", `{"current_password":"`+u.password+`","new_password":"`+next+`"}`)
	return p.changed(u, crashChange{what: "change-password", password: next, keep: s}, h)
}

// change changes a user with the operator's key.
func (p *crashPeople) change(u *crashUser, c crashChange, method, path, body string) bool {
	return p.changed(u, c, p.ask(method, path, machineKey, "", body))
}

// changed takes the answer to a change.
func (p *crashPeople) changed(u *crashUser, c crashChange, h heard) bool {
	if h.doubtful() {
		u.doubt = &c
		return false
	}
	if !h.ok() {
		p.c.t.Errorf("%s of %s: %v", c.what, u.name, h)
		return false
	}
	crashCount(&p.c.acked, c.what)
	if c.what == "disable" {
		// Enabled again at once: what is disabled cannot sign in, which verify sees only in doubt.
		u.apply(c)
		return p.change(u, crashChange{what: "enable", role: u.role}, "PATCH", "/api/auth/users/"+u.id, `{"disabled":false}`)
	}
	if u.apply(c); u.gone {
		p.bury(u)
	}
	return true
}

// apply is what a change does.
func (u *crashUser) apply(c crashChange) {
	switch c.what {
	case "disable":
		u.disabled = true
	case "enable":
		u.disabled = false
	case "delete":
		u.gone = true
	case "role":
		u.role = c.role
	case "reset", "change-password":
		u.former, u.password = u.password, c.password
	}
	for _, s := range u.sessions {
		if s != c.keep {
			s.ended = true
		}
	}
}

func (p *crashPeople) bury(u *crashUser) {
	p.users = slices.DeleteFunc(p.users, func(o *crashUser) bool { return o == u })
	p.gone = append(p.gone, u)
}

// listed asks for a user as administrators see it.
func (p *crashPeople) listed(u *crashUser) (id, role string, disabled, found bool) {
	h := p.bearer("GET", "/api/auth/users?search="+u.name, machineKey)
	p.want(h, http.StatusOK, "list users")
	users, _ := h.body["users"].([]any)
	if len(users) == 0 {
		return "", "", false, false
	}
	if len(users) > 1 {
		p.c.t.Errorf("%d users are called %s", len(users), u.name)
	}
	one, _ := users[0].(map[string]any)
	id, _ = one["id"].(string)
	role, _ = one["role"].(string)
	disabled, _ = one["disabled"].(bool)
	return id, role, disabled, true
}

func (p *crashPeople) verify(all bool) {
	for _, u := range slices.Clone(p.users) {
		p.settle(u)
		p.hold(u)
		u.sessions = slices.DeleteFunc(u.sessions, func(s *crashSignIn) bool { return s.ended && !all && p.random.IntN(2) == 0 })
	}
	look := p.gone
	if !all {
		look = look[max(0, len(look)-3):]
	}
	for _, u := range look {
		p.hold(u)
	}
	if !all {
		p.act() // under load most of what takes a password gets no answer before the kill
		p.act()
	}
}

// settle finds out what became of a change that got no answer.
func (p *crashPeople) settle(u *crashUser) {
	c := u.doubt
	if c == nil {
		return
	}
	u.doubt = nil
	id, role, disabled, found := p.listed(u)
	happened := false
	switch c.what {
	case "create":
		happened = found
		if u.id = id; !found {
			p.want(p.ask("POST", "/api/auth/login", "", "", credentialsJSON(u.name, u.password)), http.StatusUnauthorized, "a user that was not made")
			u.gone = true
			p.bury(u)
		}
	case "disable", "enable":
		happened = disabled == (c.what == "disable")
	case "delete":
		happened = !found
	case "role":
		happened = role == c.role
	case "reset", "change-password":
		h := p.ask("POST", "/api/auth/login", "", "", credentialsJSON(u.name, c.password))
		if happened = h.ok(); !happened {
			p.want(h, http.StatusUnauthorized, "a password that may have been set")
		}
	}
	if !happened {
		crashCount(&p.c.doubts, c.what+", did not happen")
		return
	}
	crashCount(&p.c.doubts, c.what+", happened")
	if u.apply(*c); u.gone {
		p.bury(u)
	}
}

// hold holds the program to all that is known of a user.
func (p *crashPeople) hold(u *crashUser) {
	id, role, disabled, found := p.listed(u)
	if found == u.gone || found && (id != u.id || role != u.role || disabled != u.disabled) {
		p.c.t.Errorf("%s is listed as %s, %s, disabled %v, found %v; known as %s, %s, disabled %v, gone %v",
			u.name, id, role, disabled, found, u.id, u.role, u.disabled, u.gone)
	}
	for _, s := range u.sessions {
		byToken, byCookie := p.bearer("GET", "/auth/validate", s.token), p.ask("GET", "/api/auth/me", "", s.cookie, "")
		if s.doubt {
			s.doubt = false
			if s.ended = s.ended || !byToken.ok(); s.ended {
				crashCount(&p.c.doubts, "logout of a person, happened")
			} else {
				crashCount(&p.c.doubts, "logout of a person, did not happen")
			}
		}
		if s.ended {
			p.dead(byToken, "the token of an ended sign-in of "+u.name)
			p.dead(byCookie, "the cookie of an ended sign-in of "+u.name)
			continue
		}
		p.want(byToken, http.StatusOK, "the token of a sign-in of "+u.name)
		p.want(byCookie, http.StatusOK, "the cookie of a sign-in of "+u.name)
	}
	switch {
	case u.gone:
		if u.password != "" {
			p.want(p.ask("POST", "/api/auth/login", "", "", credentialsJSON(u.name, u.password)), http.StatusUnauthorized, "a deleted user's sign-in")
			u.password = "" // once is enough: guessing locks
		}
		return
	case u.disabled:
		p.want(p.ask("POST", "/api/auth/login", "", "", credentialsJSON(u.name, u.password)), http.StatusUnauthorized, "a disabled user's sign-in")
		if !p.change(u, crashChange{what: "enable", role: u.role}, "PATCH", "/api/auth/users/"+u.id, `{"disabled":false}`) {
			p.c.t.Errorf("%s cannot be enabled", u.name)
		}
	case u.former != "":
		p.want(p.ask("POST", "/api/auth/login", "", "", credentialsJSON(u.name, u.former)), http.StatusUnauthorized, "the former password of "+u.name)
		u.former = ""
	}
	p.signIn(u) // which also forgets the failures counted
}

func (p *crashPeople) endure() {
	for _, u := range append(slices.Clone(p.users), p.gone...) {
		for _, s := range u.sessions {
			h := p.present(s)
			if s.ended {
				p.dead(h, "an ended sign-in while the database is dead")
			} else if h.status != http.StatusServiceUnavailable && u.doubt == nil && !s.doubt {
				p.want(h, http.StatusOK, "a live sign-in while the database is dead")
			}
		}
	}
	p.want(p.bearer("GET", "/api/auth/users?search=x", machineKey), http.StatusServiceUnavailable, "list users while the database is dead")
	p.want(p.ask("POST", "/api/auth/login", "", "", credentialsJSON("somebody", "a password")), http.StatusServiceUnavailable, "sign-in while the database is dead")
}

// crashGuesser guesses at accounts until they are locked.
type crashGuesser struct {
	*crashCaller
	accounts []*crashAccount
}

type crashAccount struct {
	name     string
	compared int // guesses that were answered so
	unheard  int // guesses that got no answer
	locked   bool
}

func (g *crashGuesser) act() bool {
	if n := len(g.accounts); n == 0 || g.accounts[n-1].locked {
		g.accounts = append(g.accounts, &crashAccount{name: fmt.Sprintf("nobody-%d", n)})
	}
	return g.guess(g.accounts[len(g.accounts)-1])
}

func (g *crashGuesser) guess(a *crashAccount) bool {
	h := g.ask("POST", "/api/auth/login", "", "", credentialsJSON(a.name, "a wrong guess"))
	switch {
	case h.doubtful():
		a.unheard++
		return false
	case h.status == http.StatusUnauthorized && !a.locked:
		crashCount(&g.c.acked, "wrong guess")
		if a.compared++; a.compared > 5 {
			g.c.t.Errorf("%d guesses at one account were compared", a.compared)
		}
	case h.status == http.StatusTooManyRequests && h.error == "account locked":
		if a.compared+a.unheard < 5 {
			g.c.t.Errorf("locked after %d guesses and %d that got no answer", a.compared, a.unheard)
		}
		a.locked = true
	default:
		g.c.t.Errorf("a guess at an account (locked: %v): %v", a.locked, h)
	}
	return true
}

func (g *crashGuesser) verify(all bool) {
	look := g.accounts
	if !all {
		look = look[max(0, len(look)-5):]
	}
	for _, a := range look {
		if a.locked {
			g.guess(a)
		}
	}
}

func (g *crashGuesser) endure() {
	for _, a := range g.accounts {
		h := g.ask("POST", "/api/auth/login", "", "", credentialsJSON(a.name, "a wrong guess"))
		g.want(h, http.StatusServiceUnavailable, "a guess while the database is dead")
	}
}

// TestRV7ASignOutIsDurableBeforeItIsAnswered: the program is killed in the moment in which
// 200 arrives.
func TestRV7ASignOutIsDurableBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--data-dir", dir, "--jwt-secret", machineSecret, "--api-tokens", machineToken}
	var ended [][2]string
	s := serveProgram(t, args...)
	for range crashRounds(t, "DOORWARD_TEST_RV7_ROUNDS", 10) {
		if s.addr == "" {
			t.Fatalf("it does not start:\n%s", s.stderr)
		}
		d := &door{t: t, URL: "http://" + s.addr}
		for _, e := range ended[max(0, len(ended)-3):] {
			d.do("GET", "/auth/validate", bearer(e[0])).refused(http.StatusUnauthorized, "token blacklisted")
			d.refresh(e[1]).refused(http.StatusUnauthorized, "token blacklisted")
		}
		access, refresh := d.exchange(machineToken, "app")
		resp, err := oneShot.Do(logoutRequest(t, d.URL, access))
		_ = s.cmd.Process.Kill() // before anything is read of the answer
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("logout: %d", resp.StatusCode)
		}
		_ = resp.Body.Close()
		<-s.over
		ended = append(ended, [2]string{access, refresh})
		s = serveProgram(t, args...)
	}
	d := &door{t: t, URL: "http://" + s.addr}
	for _, e := range ended {
		d.do("GET", "/auth/validate", bearer(e[0])).refused(http.StatusUnauthorized, "token blacklisted")
		d.refresh(e[1]).refused(http.StatusUnauthorized, "token blacklisted")
	}
}

func logoutRequest(t *testing.T, url, access string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("POST", url+"/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	bearer(access)(r)
	return r
}

var saidSetupCode = regexp.MustCompile(`X-Setup-Code: ([A-Za-z0-9_-]+)"`)

// TestSU11SetUpIsWholeOrNotAtAll: the program is killed while the first user is being made,
// where the door stands open until then and where it is closed.
func TestSU11SetUpIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(crashSeed(t), 0))
	happened := 0
	rounds := crashRounds(t, "DOORWARD_TEST_SU11_ROUNDS", 8)
	for round := range rounds {
		args := []string{"--data-dir", t.TempDir(), "--jwt-secret", machineSecret}
		stands := "open"
		if round%2 == 1 {
			args, stands = append(args, "--auth-enabled"), "setup"
		}
		s, d, code := startForSetup(t, args)
		if got := d.stands(); got != stands {
			t.Fatalf("the door stands %s, want %s", got, stands)
		}
		answered := make(chan int, 1)
		go func() {
			status := 0
			if resp, err := oneShot.Do(firstUserRequest(d.URL, code)); err == nil {
				status = resp.StatusCode
				_ = resp.Body.Close()
			}
			answered <- status
		}()
		<-time.After(time.Duration(random.IntN(120)) * time.Millisecond)
		_ = s.cmd.Process.Kill()
		<-s.over
		acknowledged := <-answered == http.StatusCreated

		_, d, code = startForSetup(t, args)
		setUp := strings.Contains(d.do("GET", "/api/auth/setup").want(http.StatusOK).body, "false")
		if acknowledged && !setUp {
			t.Error("the first user was acknowledged and is not there")
		}
		login := jsonBody(credentialsJSON("root", rootPassword))
		if setUp {
			happened++
			if got := d.stands(); got != "closed" || code != "" {
				t.Errorf("with a user there the door stands %s, and the code is %q", got, code)
			}
		} else {
			if got := d.stands(); got != stands {
				t.Errorf("with no user there the door stands %s, want %s", got, stands)
			}
			d.do("POST", "/api/auth/login", login).refused(http.StatusUnauthorized, "invalid credentials")
			resp, err := oneShot.Do(firstUserRequest(d.URL, code))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				t.Errorf("the first user, asked for again: %d", resp.StatusCode)
			}
		}
		a := d.do("POST", "/api/auth/login", login).want(http.StatusOK)
		users, _ := d.do("GET", "/api/auth/users", bearer(a.str("token"))).field("users").([]any)
		if a.str("user.role") != "superadmin" || len(users) != 1 {
			t.Errorf("signed in as %s; the users are %v", a.body, users)
		}
		d.do("POST", "/api/auth/users", jsonBody(credentialsJSON("mallory", rootPassword)), header("X-Setup-Code", code+"x")).
			refused(http.StatusUnauthorized, "token required")
	}
	t.Logf("%d rounds; in %d of them there was a first user after the kill", rounds, happened)
}

// startForSetup starts the program and reads the setup code from its console, if it says one.
func startForSetup(t *testing.T, args []string) (*served, *door, string) {
	t.Helper()
	s := serveProgram(t, args...)
	if s.addr == "" {
		t.Fatalf("it does not start:\n%s", s.stderr)
	}
	d := &door{t: t, URL: "http://" + s.addr}
	code := ""
	read := func() bool {
		m := saidSetupCode.FindStringSubmatch(s.stderr.String())
		if m != nil {
			code = m[1]
		}
		return m != nil
	}
	if d.do("GET", "/x").status == http.StatusServiceUnavailable { // closed until set up
		until(t, 30*time.Second, "the console says the setup code", read)
	} else {
		read()
	}
	return s, d, code
}

func firstUserRequest(url, code string) *http.Request {
	r, err := http.NewRequest("POST", url+"/api/auth/users", nil)
	if err != nil {
		panic(err) // of our own URL
	}
	jsonBody(firstUserBody)(r)
	if code != "" {
		r.Header.Set("X-Setup-Code", code)
	}
	return r
}

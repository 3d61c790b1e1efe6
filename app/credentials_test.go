package app

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// echo is a service behind the door that answers with what it received.
type echo struct {
	URL  string
	mu   sync.Mutex
	hits int
}

// carriedRequest is what the service behind the door saw of a request.
type carriedRequest struct {
	Target string      `json:"target"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"`
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	e := &echo{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.hits++
		e.mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the service cannot read its request: %v", err)
		}
		if err := json.NewEncoder(w).Encode(carriedRequest{r.RequestURI, r.Header, string(body)}); err != nil {
			t.Errorf("the service cannot answer: %v", err)
		}
	}))
	t.Cleanup(s.Close)
	e.URL = s.URL
	return e
}

func (e *echo) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hits
}

// carried reads the echo service's answer.
func (a answer) carried() (r carriedRequest) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.want(http.StatusOK).body), &r); err != nil {
		a.t.Errorf("%s: %v in %s", a.what, err, a.body)
	}
	return r
}

// showing is a credential in one place of a request: what it asks, and what it comes to.
type showing struct {
	name    string
	asks    []ask
	subject string // whom it shows; empty for absent or bad
	bad     bool
}

// TestOneCredentialDecides is the whole table: in each of the three places nothing, a good
// and a bad credential. The first place where there is one decides, whatever is in the others.
func TestOneCredentialDecides(t *testing.T) {
	t.Parallel()
	service := newEcho(t)
	d := machineDoor(t, "upstream="+service.URL)
	d.setUp()
	_, sessionCookie := d.signIn("root", rootPassword)
	access, _ := d.exchange(machineToken, "app")
	rootID := d.do("GET", "/api/auth/me", cookie(sessionCookie)).str("id")
	keyID := d.do("GET", "/api/auth/me", apiKey(machineKey)).str("id")

	absent := showing{name: "nothing"}
	for _, b := range []showing{absent, {"good Bearer", []ask{bearer(access)}, "app", false}, {"bad Bearer", []ask{bearer(flipped(access))}, "", true}} {
		for _, k := range []showing{absent, {"good key", []ask{apiKey(machineKey)}, keyID, false}, {"bad key", []ask{apiKey(machineKey + "0")}, "", true}} {
			for _, c := range []showing{absent, {"good cookie", []ask{cookie(sessionCookie)}, rootID, false}, {"bad cookie", []ask{cookie(flipped(sessionCookie))}, "", true}} {
				asks := append(append(append([]ask{}, b.asks...), k.asks...), c.asks...)
				decides := absent
				for _, s := range []showing{c, k, b} {
					if s.asks != nil {
						decides = s
					}
				}
				before := service.count()
				me, carried := d.do("GET", "/api/auth/me", asks...), d.do("GET", "/x", asks...)
				name := b.name + ", " + k.name + ", " + c.name
				me.what, carried.what = name+": "+me.what, name+": "+carried.what
				cleared := 0
				switch {
				case decides.bad:
					me.refused(http.StatusUnauthorized, "invalid token")
					carried.refused(http.StatusUnauthorized, "invalid token")
					if decides.name == c.name {
						cleared = 1
					}
				case decides.subject == "":
					me.refused(http.StatusUnauthorized, "token required")
					carried.refused(http.StatusUnauthorized, "token required")
				default:
					if got := me.want(http.StatusOK).str("sub"); got != decides.subject {
						t.Errorf("%s: me is %s, want %s", name, got, decides.subject)
					}
					h := carried.carried().Header
					if got := h["X-Auth-Subject"]; len(got) != 1 || got[0] != decides.subject {
						t.Errorf("%s: the service sees %v, want %s", name, got, decides.subject)
					}
					for _, header := range []string{"Authorization", "X-Api-Key", "Cookie"} {
						if got, there := h[header]; there {
							t.Errorf("%s: the service gets %s: %v", name, header, got)
						}
					}
				}
				if hits := service.count() - before; (hits == 1) != (decides.subject != "") {
					t.Errorf("%s: the service was called %d times", name, hits)
				}
				for _, a := range []answer{me, carried} {
					set := a.header.Values("Set-Cookie")
					if len(set) != cleared {
						t.Errorf("%s: cookies set: %v", a.what, set)
					}
					for _, s := range set {
						if !strings.HasPrefix(s, "brokoli_session=; Path=/; Max-Age=0;") {
							t.Errorf("%s: the cookie is not cleared: %s", a.what, s)
						}
					}
				}
			}
		}
	}
}

// TestKindsNeverStandInForEachOther shows every kind of credential in every place.
func TestKindsNeverStandInForEachOther(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	root := d.setUp()
	_, sessionCookie := d.signIn("root", rootPassword)
	access, refresh := d.exchange(machineToken, "app")
	type verdicts struct{ bearer, key, cookie string } // the kind that it acts as; empty for refused
	for name, c := range map[string]struct {
		value            string
		me               verdicts
		validate, tokens bool // as Bearer
	}{
		"access token":   {access, verdicts{"client", "", ""}, true, false},
		"user's token":   {root, verdicts{"user", "", ""}, true, false},
		"refresh token":  {refresh, verdicts{"", "", ""}, false, false},
		"cookie token":   {sessionCookie, verdicts{"", "", "user"}, false, false},
		"API token":      {machineToken, verdicts{"client", "client", ""}, false, true},
		"operator's key": {machineKey, verdicts{"key", "key", ""}, false, true},
		"nothing at all": {"", verdicts{"", "", ""}, false, false},
		"rubbish":        {"eyJhbGciOiJub25lIn0.e30.", verdicts{"", "", ""}, false, false},
	} {
		for _, p := range []struct {
			ask  ask
			want string
		}{{bearer(c.value), c.me.bearer}, {apiKey(c.value), c.me.key}, {cookie(c.value), c.me.cookie}} {
			a, b := d.do("GET", "/api/auth/me", p.ask), d.do("GET", "/", p.ask)
			a.what, b.what = name+": "+a.what, name+": "+b.what
			if p.want == "" {
				a.refused(http.StatusUnauthorized, "invalid token")
				b.refused(http.StatusUnauthorized, "invalid token")
				continue
			}
			if got := a.want(http.StatusOK).str("kind"); got != p.want {
				t.Errorf("%s acts as %s, want %s", name, got, p.want)
			}
			if got := b.want(http.StatusOK).str("identity.X-Auth-Kind"); got != p.want {
				t.Errorf("to the service %s acts as %s, want %s", name, got, p.want)
			}
		}
		client := formBody(`{"client_id":"app"}`)
		for method := range map[string]bool{"GET": true, "POST": true} {
			a := d.do(method, "/auth/validate", bearer(c.value))
			if c.validate {
				a.want(http.StatusOK)
			} else {
				a.refused(http.StatusUnauthorized, "invalid token")
			}
			d.do(method, "/auth/validate", apiKey(c.value)).refused(http.StatusUnauthorized, "invalid token")
			d.do(method, "/auth/validate", cookie(c.value)).refused(http.StatusUnauthorized, "token required")
		}
		for _, ask := range []ask{bearer(c.value), apiKey(c.value)} {
			if a := d.do("POST", "/auth/token", ask, client); c.tokens {
				a.want(http.StatusOK)
			} else {
				a.refused(http.StatusUnauthorized, "invalid token")
			}
		}
		d.do("POST", "/auth/token", cookie(c.value), client).refused(http.StatusUnauthorized, "token required")
	}
}

func TestMeForMachines(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_key="+machineKey, "config="+write(t, "doorward.yaml", `
api_tokens:
  - {token: unnamed-token-1}
  - {token: named-token-2, name: ci, role: viewer, workspace: builds}
`))
	access, _ := d.exchange("named-token-2", "web")
	byKey, _ := d.exchange(machineKey, "deploy")
	for _, c := range []struct {
		ask                               ask
		id, kind, role, workspace, prefix string
	}{
		{bearer("named-token-2"), "ci", "client", "viewer", "builds", ""},
		{bearer("unnamed-token-1"), "", "client", "editor", "default", "tok_"},
		{bearer(machineKey), "", "key", "admin", "default", "key_"},
		{bearer(access), "web", "client", "viewer", "builds", ""},
		{bearer(byKey), "deploy", "client", "admin", "default", ""},
	} {
		a := d.do("GET", "/api/auth/me", c.ask).want(http.StatusOK)
		id := a.str("id")
		if c.id != "" && id != c.id || c.id == "" && !strings.HasPrefix(id, c.prefix) {
			t.Errorf("the id is %s", id)
		}
		want := `{"id":"` + id + `","sub":"` + id + `","username":"","role":"` + c.role + `","kind":"` + c.kind +
			`","org_id":"default","organization":{"id":"default","name":"default"},"workspaces":["` + c.workspace + `"]}`
		if got := strings.TrimSpace(a.body); got != want {
			t.Errorf("me answers %s, want %s", got, want)
		}
		d.restart()
		if again := d.do("GET", "/api/auth/me", c.ask).want(http.StatusOK).str("id"); again != id {
			t.Errorf("after a restart %s is %s", id, again)
		}
	}
}

func TestAK1BothHeadersGiveOnePrincipal(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	for _, secret := range []string{machineKey, machineToken} {
		asBearer, asKey := d.do("GET", "/api/auth/me", bearer(secret)).want(http.StatusOK), d.do("GET", "/api/auth/me", apiKey(secret)).want(http.StatusOK)
		if asBearer.body != asKey.body {
			t.Errorf("as Bearer %s, as X-API-Key %s", asBearer.body, asKey.body)
		}
		d.do("POST", "/run", bearer(secret), formBody(`{"prompt":"x"}`)).want(http.StatusOK)
		d.do("POST", "/run", apiKey(secret), formBody(`{"prompt":"x"}`)).want(http.StatusOK)
		d.do("POST", "/auth/token", apiKey(secret), formBody(`{"client_id":"app"}`)).want(http.StatusOK)
	}
}

func TestAK5EveryTruncationAndExtensionOfAKey(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "rate_limits.enabled=false")
	var near []string
	for i := range len(machineKey) {
		near = append(near, machineKey[:i])
	}
	for i := 1; i < len(machineKey); i += 5 {
		near = append(near, machineKey[i:])
	}
	for c := byte('!'); c <= '~'; c++ {
		near = append(near, machineKey+string(c))
	}
	near = append(near, "0"+machineKey, machineKey+machineKey, strings.ToUpper(machineKey), strings.Replace(machineKey, "brk_", "BRK_", 1), machineKey+"\xff")
	for _, key := range near {
		d.do("GET", "/api/auth/me", apiKey(key)).refused(http.StatusUnauthorized, "invalid token")
		d.do("GET", "/", bearer(key)).refused(http.StatusUnauthorized, "invalid token")
	}
	d.do("GET", "/", bearer(machineKey)).want(http.StatusOK)
}

// TestTF15CredentialsElsewhereAreIgnored is AK7 as well: a token or key in the query or in
// a form is nobody's, and beside a good credential it changes nothing.
func TestTF15CredentialsElsewhereAreIgnored(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		service := newEcho(t)
		d := e.machineDoor(t, "upstream="+service.URL)
		access, refresh := d.exchange(machineToken, "app")
		for _, secret := range []string{access, machineKey, machineToken, refresh} {
			for _, name := range []string{"access_token", "token", "api_key", "apikey", "key", "X-API-Key", "x-api-key", "Authorization", "authorization", "bearer", "brokoli_session"} {
				query := "?" + name + "=" + secret
				d.do("GET", "/x"+query).refused(http.StatusUnauthorized, "token required")
				d.do("GET", "/api/auth/me"+query).refused(http.StatusUnauthorized, "token required")
				d.do("POST", "/x", formBody(name+"="+secret)).refused(http.StatusUnauthorized, "token required")
			}
			for _, method := range []string{"GET", "POST"} {
				d.do(method, "/auth/validate?access_token="+secret, formBody(`{"access_token":"`+secret+`"}`)).refused(http.StatusUnauthorized, "token required")
			}
			d.do("POST", "/auth/token?token="+secret, formBody(`{"client_id":"app","token":"`+secret+`","api_key":"`+secret+`"}`)).refused(http.StatusUnauthorized, "token required")
			d.do("GET", "/x", bearer("x"), formBody("token="+secret)).refused(http.StatusUnauthorized, "invalid token")
			// Other headers, and other schemes.
			for _, ask := range []ask{
				header("Proxy-Authorization", "Bearer "+secret), header("X-Auth-Token", secret), header("X-Access-Token", secret),
				header("Api-Key", secret), header("X_API_Key", secret), header("Authorization", "Token "+secret), header("Authorization", secret),
				header("Authorization", "BearerX "+secret), header("Cookie", "access_token="+secret), header("Cookie", "Brokoli_Session="+secret),
			} {
				d.do("GET", "/api/auth/me", ask).refused(http.StatusUnauthorized, "token required")
			}
		}
		before := service.count()
		got := d.do("GET", "/x?access_token="+refresh+"&a=%2f;b&&", bearer(access)).carried()
		if got.Target != "/x?access_token="+refresh+"&a=%2f;b&&" { // what is not ours to read arrives as it was sent
			t.Errorf("the service is asked for %s", got.Target)
		}
		if subject := got.Header.Get("X-Auth-Subject"); subject != "app" {
			t.Errorf("the service sees %s", subject)
		}
		if hits := service.count() - before; hits != 1 || before != 0 {
			t.Errorf("the service was called %d times, and %d before", hits, before)
		}
	})
}

func TestTheSchemesNameIsCaseInsensitive(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	access, _ := d.exchange(machineToken, "app")
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    "} {
		d.do("GET", "/auth/validate", header("Authorization", scheme+access)).want(http.StatusOK)
		d.do("GET", "/", header("Authorization", scheme+access)).want(http.StatusOK)
		d.do("GET", "/", header("Authorization", scheme+machineToken)).want(http.StatusOK)
		d.do("POST", "/auth/token", header("Authorization", scheme+machineToken), formBody(`{"client_id":"app"}`)).want(http.StatusOK)
		d.do("POST", "/auth/logout", header("Authorization", scheme+"x")).refused(http.StatusUnauthorized, "invalid token")
	}
	for _, value := range []string{"Bearer", "bearer", "Bearer x y", "Bearer " + access + " ,", "Bearer " + access + ", Bearer " + access, `Bearer "` + access + `"`} {
		d.do("GET", "/", header("Authorization", value)).refused(http.StatusUnauthorized, "invalid token")
	}
}

func TestCredentialsGivenTwice(t *testing.T) {
	t.Parallel()
	service := newEcho(t)
	d := machineDoor(t, "upstream="+service.URL)
	d.setUp()
	_, first := d.signIn("root", rootPassword)
	_, second := d.signIn("root", rootPassword)
	access, _ := d.exchange(machineToken, "app")
	client := formBody(`{"client_id":"app"}`)

	for _, pair := range [][]ask{
		{bearer(access), bearer(access)},
		{bearer(access), bearer("x")},
		{bearer("x"), bearer(access)},
		{header("Authorization", "Basic x"), bearer(access)},
		{bearer(access), header("Authorization", "Basic x")},
		{header("Authorization", "Basic x"), header("Authorization", "Basic y")},
		{header("Authorization", ""), bearer(access)},
	} {
		for _, o := range d.doorsThatRead() {
			d.do(o[0], o[1], pair...).refused(http.StatusBadRequest, "Authorization: must not be given twice")
		}
		for _, path := range []string{"/auth/logout", "/api/auth/logout"} {
			d.do("POST", path, pair...).refused(http.StatusBadRequest, "Authorization: must not be given twice")
		}
	}
	for _, pair := range [][]ask{{apiKey(machineKey), apiKey(machineKey)}, {apiKey(machineKey), apiKey("x")}, {apiKey("x"), apiKey(machineKey)}} {
		d.do("GET", "/x", pair...).refused(http.StatusBadRequest, "X-API-Key: must not be given twice")
		d.do("POST", "/auth/token", append(pair, client)...).refused(http.StatusBadRequest, "X-API-Key: must not be given twice")
	}

	// CK3: never the first, never the last, in one line or in two.
	const refusal = "Cookie: brokoli_session is given twice with different values"
	for _, two := range [][2]string{
		{first, second}, {second, first}, {first, "x"}, {"x", first}, {first, ""}, {"", first}, {first, `"x`}, {`a\b`, first}, {first, "a\u00e9"}, {first, "a,b c"},
	} {
		for _, asks := range [][]ask{
			{cookie(two[0]), cookie(two[1])},
			{cookie(two[0] + "; brokoli_session=" + two[1])},
			{cookie(two[0] + "; other=1; brokoli_session=" + two[1] + "; more=2")},
			{cookie(two[0] + ";brokoli_session =" + two[1])},
		} {
			d.do("GET", "/api/auth/me", asks...).refused(http.StatusBadRequest, refusal)
			d.do("GET", "/x", asks...).refused(http.StatusBadRequest, refusal)
			d.do("POST", "/api/auth/logout", asks...).refused(http.StatusBadRequest, refusal)
		}
	}
	if n := service.count(); n != 0 {
		t.Errorf("the service was called %d times", n)
	}
	d.do("GET", "/api/auth/me", cookie(first), cookie(first)).want(http.StatusOK)
	d.do("GET", "/x", cookie(first+"; a=b; brokoli_session="+first)).want(http.StatusOK)
	d.do("GET", "/x", cookie(first+"; brokoli_session2="+second)).want(http.StatusOK)
	// What stands after the place that decides is not looked at.
	d.do("GET", "/x", bearer(access), apiKey("a"), apiKey("b"), cookie(first), cookie(second)).want(http.StatusOK)
	d.do("GET", "/x", apiKey(machineKey), cookie(first), cookie(second)).want(http.StatusOK)
}

// TestABadCookieIsRefusedHoweverItIsSpelled: one that cannot be a cookie of ours is still
// there, so it is refused and cleared, and not taken for none.
func TestABadCookieIsRefusedHoweverItIsSpelled(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	for _, value := range []string{"x", "", `a\b`, `"`, `"x`, "a b", "a\u00e9", "a,b", "=", strings.Repeat("x", 9000)} {
		for _, path := range []string{"/api/auth/me", "/"} {
			a := d.do("GET", path, cookie(value))
			a.refused(http.StatusUnauthorized, "invalid token")
			if got := a.header.Get("Set-Cookie"); !strings.HasPrefix(got, "brokoli_session=; Path=/; Max-Age=0;") {
				t.Errorf("%.20q: Set-Cookie: %s", value, got)
			}
		}
	}
	// IN9: among so many, libraries behind the door would read none.
	d.do("GET", "/api/auth/me", header("Cookie", strings.Repeat("a=b;", 3000)+"brokoli_session=x")).refused(http.StatusBadRequest, "Cookie: must not hold more than 1000")
	d.do("GET", "/api/auth/me", header("Cookie", "brokoli_session")).refused(http.StatusUnauthorized, "invalid token")
}

// TestBasicIsNoCredentialOfOurs: it lets nobody in, keeps nobody out, and arrives.
func TestBasicIsNoCredentialOfOurs(t *testing.T) {
	t.Parallel()
	const basic = "Basic dXNlcjpwYXNz"
	service := newEcho(t)
	d := machineDoor(t, "upstream="+service.URL)
	d.setUp()
	_, sessionCookie := d.signIn("root", rootPassword)
	access, _ := d.exchange(machineToken, "app")

	for _, value := range []string{basic, "basic x", "Digest username=x", "Negotiate YII", "AWS4-HMAC-SHA256 Credential=x", "x"} {
		d.do("GET", "/x", header("Authorization", value)).refused(http.StatusUnauthorized, "token required")
		for _, ask := range []ask{apiKey(machineKey), cookie(sessionCookie)} {
			if got := d.do("GET", "/x", header("Authorization", value), ask).carried().Header["Authorization"]; len(got) != 1 || got[0] != value {
				t.Errorf("of Authorization: %s the service gets %v", value, got)
			}
		}
		d.do("GET", "/api/auth/me", header("Authorization", value), apiKey(machineKey)).want(http.StatusOK)
		d.do("GET", "/x", header("Authorization", value), apiKey("x")).refused(http.StatusUnauthorized, "invalid token")
	}

	// Where the service stands open nothing is read, and nothing of ours is forwarded.
	for _, setting := range []string{"open_mode=always", "auth.enabled=false"} {
		open := newDoor(t, "upstream="+service.URL, setting)
		if got := open.do("GET", "/x", header("Authorization", basic)).carried(); got.Header.Get("Authorization") != basic || got.Header.Get("X-Auth-Kind") != "anonymous" {
			t.Errorf("%s: the service gets %v", setting, got.Header)
		}
		for _, asks := range [][]ask{
			{bearer(access)}, {bearer("x")}, {apiKey(machineKey)}, {apiKey("x"), apiKey("y")}, {cookie(sessionCookie)}, {cookie("x"), cookie("y")},
			{bearer("x"), bearer(access)}, {header("Authorization", basic), bearer(access)}, {bearer(access), header("Authorization", basic)},
		} {
			h := open.do("GET", "/x", asks...).carried().Header
			if h.Get("X-Auth-Kind") != "anonymous" || h.Get("X-Auth-Subject") != "" {
				t.Errorf("%s: the service sees %v", setting, h)
			}
			for name, values := range h {
				if all := strings.Join(values, " "); strings.Contains(all, access) || strings.Contains(all, machineKey) || strings.Contains(all, sessionCookie) {
					t.Errorf("%s: the service gets %s: %s", setting, name, all)
				}
			}
		}
	}
}

// TestDoorsThatReadNoCredential: a stale cookie or token never locks anyone out of them.
func TestDoorsThatReadNoCredential(t *testing.T) {
	t.Parallel()
	d := machineDoor(t, "jwt.expiry=1h")
	d.setUp()
	token, sessionCookie := d.signIn("root", rootPassword)
	d.do("POST", "/auth/logout", bearer(token)).want(http.StatusOK)
	expired, _ := d.exchange(machineToken, "app")
	d.clock.advance(2 * time.Hour)
	_, refresh := d.exchange(machineToken, "app")
	stale := map[string][]ask{
		"nothing":         nil,
		"ended token":     {bearer(token)},
		"expired token":   {bearer(expired)},
		"rubbish":         {bearer("x")},
		"empty":           {bearer("")},
		"two tokens":      {bearer("x"), bearer("y")},
		"Basic":           {header("Authorization", "Basic x")},
		"unknown key":     {apiKey("x")},
		"two keys":        {apiKey("x"), apiKey("y")},
		"ended cookie":    {cookie(sessionCookie)},
		"rubbish cookie":  {cookie(`x\`)},
		"two cookies":     {cookie("x"), cookie("y")},
		"all of them":     {bearer(expired), apiKey("x"), cookie(sessionCookie)},
		"another's place": {header("X-Workspace-ID", "other"), header("X-Organization-ID", "other")},
	}
	for name, asks := range stale {
		for _, c := range []struct {
			method, path, body string
		}{
			{"GET", "/api/auth/setup", ""},
			{"GET", "/health", ""},
			{"GET", "/health/live", ""},
			{"GET", "/health/ready", ""},
			{"GET", "/metrics", ""},
			{"POST", "/auth/refresh", `{"refresh_token":"` + refresh + `"}`}, // answered the same within the window
		} {
			a := d.do(c.method, c.path, append(asks, formBody(c.body))...)
			a.what = name + ": " + a.what
			if set := a.want(http.StatusOK).header.Get("Set-Cookie"); set != "" {
				t.Errorf("%s sets a cookie: %s", a.what, set)
			}
		}
	}
	for _, name := range []string{"ended token", "rubbish", "two tokens", "two keys", "two cookies", "ended cookie", "all of them"} {
		a := d.do("POST", "/api/auth/login", append(stale[name], jsonBody(credentialsJSON("root", rootPassword)))...)
		a.what = name + ": " + a.what
		a.want(http.StatusOK)
	}

	// While there is no user, the door where the first one is made.
	empty := newDoor(t, "auth.enabled=true")
	asks := append(stale["all of them"], jsonBody(`{"username":"root","password":"`+rootPassword+`"}`))
	empty.do("POST", "/api/auth/users", asks...).refused(http.StatusUnauthorized, "invalid token") // it gives neither code nor key
	empty.do("POST", "/api/auth/users", append(asks, header("X-Setup-Code", empty.house.authority.SetupCode()))...).want(http.StatusCreated)
}

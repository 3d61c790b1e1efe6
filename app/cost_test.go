package app

import (
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"doorward/api"
	frontdoor "doorward/door"
)

// countingDoor is a door whose calls of the store are kept.
func countingDoor(t *testing.T, settings ...string) (*door, *faultyStore) {
	t.Helper()
	d := &door{t: t, dir: t.TempDir(), clock: &clock{}, log: &logBuffer{}, flags: map[string]string{}}
	d.flags["data_dir"] = d.dir
	d.set(settings...)
	l := load(sources{flags: d.flags})
	if err := l.err(); err != nil {
		t.Fatal(err)
	}
	counting := &faultyStore{hangUp: func() {}, slow: func() {}}
	h := counting.house(t, l.Settings, slog.New(slog.NewTextHandler(d.log, nil)), d.clock.now)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.house, d.judge = h, judged(h)
	d.http, d.URL = newServer(d.judge, h.settings.Limits, h.log), "http://"+listener.Addr().String()
	d.still = h.runBeside(t.Context())
	server := d.http
	go func() { _ = server.Serve(h.guarded(listener)) }()
	t.Cleanup(d.stop)
	return d, counting
}

// house opens a house on the store that the settings name, of which f keeps the calls.
func (f *faultyStore) house(t testing.TB, s Settings, log *slog.Logger, now func() time.Time) *house {
	t.Helper()
	h, err := openWith(t.Context(), s, log, now, func(c *frontdoor.Config) {
		c.Now = now
		kept, unlock, err := frontdoor.OpenStore(t.Context(), *c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = kept.Close()
			if unlock != nil {
				_ = unlock()
			}
		})
		f.Store, c.Store, c.SQLite, c.PostgreSQL = kept, f, "", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// writes are the calls since the n-th that change something.
func (f *faultyStore) writes(n int) (writes []string, calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, method := range f.calls[n:] {
		if slices.Contains(kindsOf(method, false), lost) || method == "Prune" {
			writes = append(writes, method)
		}
	}
	return writes, len(f.calls)
}

// TestRE11WhatAStrangerCosts: no request without a good credential writes more than once to the
// database, and none but a sign-in and the making of the first user hashes a password. It is not
// parallel: that a password is hashed is seen by the 19 MiB that it takes.
func TestRE11WhatAStrangerCosts(t *testing.T) { //nolint:paralleltest // see above
	const hash = 15 << 20 // bytes; no other request comes near
	d, store := countingDoor(t, "jwt.secret="+machineSecret, "api_tokens="+machineToken, "rate_limits.enabled=false", "lockout.attempts=1000", "open_mode=never")
	d.do("GET", "/api/auth/me").want(http.StatusUnauthorized) // the first answer is what the OpenAPI document is read for
	cost := func(method, path string, asks ...ask) (a answer, writes []string, hashed bool) {
		_, before := store.writes(0)
		var m, n runtime.MemStats
		runtime.ReadMemStats(&m)
		a = d.do(method, path, asks...)
		runtime.ReadMemStats(&n)
		writes, after := store.writes(before)
		hashed = n.TotalAlloc-m.TotalAlloc > hash
		t.Logf("%d %-7s%-32s %2d calls, writes %v, %4d KiB", a.status, method, path, after-before, writes, (n.TotalAlloc-m.TotalAlloc)>>10)
		return a, writes, hashed
	}
	doors := api.Doors(api.Config{Health: &api.Health{}, HealthPath: "/health", Metrics: http.NotFoundHandler(), MetricsPath: "/metrics"})
	bodies := []string{"", `{"username":"root","password":"wrong password"}`, `{"username":"nobody","password":"wrong password","role":"superadmin"}`,
		`{"refresh_token":"x"}`, `{"client_id":"a","user_id":"usr_1","new_password":"some password","current_password":"wrong password"}`}
	strangers := map[string][]ask{
		"nobody": nil, "a forged token": {bearer("eyJhbGciOiJIUzI1NiJ9.e30.x")}, "an unknown key": {apiKey("brk_0000")}, "a forged cookie": {cookie("x.y.z")},
		"a wrong code": {header("X-Setup-Code", "0000-0000")},
	}
	all := func(hashes func(method, path string) bool) {
		for _, door := range doors {
			path := strings.ReplaceAll(door.Pattern, "{id}", "usr_x")
			for who, asks := range strangers {
				for _, body := range bodies {
					asks := asks
					if body != "" {
						asks = append(slices.Clone(asks), jsonBody(body))
					}
					_, writes, hashed := cost(door.Method, path, asks...)
					if len(writes) > 1 {
						t.Errorf("%s %s by %s: writes %v", door.Method, path, who, writes)
					}
					if hashed && !hashes(door.Method, path) {
						t.Errorf("%s %s by %s with %q: hashes", door.Method, path, who, body)
					}
				}
			}
		}
		for _, path := range []string{"/", "/x", "/auth/nothing"} {
			for who, asks := range strangers {
				if _, writes, hashed := cost("POST", path, asks...); len(writes) > 0 || hashed {
					t.Errorf("POST %s by %s: writes %v, hashes: %t", path, who, writes, hashed)
				}
			}
		}
	}
	// Before anybody is there, strangers make no first user.
	all(func(_, path string) bool { return path == "/api/auth/login" })
	if _, _, hashed := cost("POST", "/api/auth/users", jsonBody(`{"username":"root","password":"`+rootPassword+`"}`), header("X-Setup-Code", d.house.authority.SetupCode())); !hashed {
		t.Error("the first user's password is not hashed, or that is not seen")
	}
	// And afterwards.
	all(func(method, path string) bool { return method == "POST" && path == "/api/auth/login" })
	if _, _, hashed := cost("POST", "/api/auth/login", jsonBody(credentialsJSON("root", "wrong password"))); !hashed {
		t.Error("a sign-in does not hash, or that is not seen")
	}
	if _, _, hashed := cost("POST", "/api/auth/users", jsonBody(`{"username":"root","password":"`+rootPassword+`"}`), header("X-Setup-Code", "0000")); hashed {
		t.Error("a first user too many is hashed")
	}
}

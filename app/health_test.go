package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"doorward/api"
	frontdoor "doorward/door"
	"doorward/gate"
)

// healthy is what /health answers, to the letter; the rest is what follows the components.
func healthy(rest string) string {
	return fmt.Sprintf(`{"name":"doorward","status":"ok","version":%q,"components":[{"name":"database","status":"ok","error":""}]%s}`+"\n", frontdoor.Version(), rest)
}

const down = `{"name":"doorward","status":"error","version":%q,"components":[{"name":"database","status":"error","error":"cannot be read"}]}` + "\n"

func TestHealthToTheLetter(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	is := func(path string, status int, body string, asks ...ask) {
		t.Helper()
		a := d.do("GET", path, asks...).want(status)
		if a.body != body {
			t.Errorf("%s: %s, want %s", a.what, a.body, body)
		}
		if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: header %v", a.what, a.header)
		}
	}
	const ok, away = `{"status":"ok"}` + "\n", `{"error":"temporarily unavailable","status":"error"}` + "\n"
	// A stale, forged or doubled credential locks nobody out of it.
	for _, asks := range [][]ask{
		nil, {bearer("nonsense")}, {cookie("nonsense")}, {apiKey(""), apiKey("x")}, {bearer("x"), bearer("y")}, {cookie("a"), cookie("b")},
		{header("X-Workspace-ID", "nowhere")}, {header("Sec-Fetch-Site", "cross-site"), header("Origin", "https://evil.example")},
	} {
		is("/health", http.StatusOK, healthy(""), asks...)
		is("/health/live", http.StatusOK, ok, asks...)
		is("/health/ready", http.StatusOK, ok, asks...)
	}
	if err := d.house.store.Close(); err != nil {
		t.Fatal(err)
	}
	is("/health", http.StatusServiceUnavailable, fmt.Sprintf(down, frontdoor.Version()))
	is("/health/live", http.StatusOK, ok)
	is("/health/ready", http.StatusServiceUnavailable, away)
	d.do("HEAD", "/health").want(http.StatusServiceUnavailable)
	if a := d.do("GET", "/health"); strings.Contains(a.body, "closed") {
		t.Errorf("strangers are told why: %s", a.body)
	}
}

// TestHealthBeforeAnybodyIsSetUp: orchestrators ask from the first second on.
func TestHealthBeforeAnybodyIsSetUp(t *testing.T) {
	t.Parallel()
	closed := newDoor(t, "auth.enabled=true")
	closed.do("GET", "/health", header("Host", "door.example"), header("X-Forwarded-For", "198.51.100.1")).want(http.StatusOK)
	closed.do("GET", "/").refused(http.StatusServiceUnavailable, "setup required")
	if err := closed.house.store.Close(); err != nil {
		t.Fatal(err)
	}
	closed.do("GET", "/health").want(http.StatusServiceUnavailable)
	closed.do("GET", "/health/live").want(http.StatusOK)
}

func TestHealthWarnsWhereAuthIsOff(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "auth.enabled=false")
	if got, want := d.do("GET", "/health").want(http.StatusOK).body, healthy(`,"warnings":["auth.enabled=false: the service is open to all"]`); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestHealthNeverHangs: a component that does not answer is down after two seconds, and one that is
// not needed for the work does not take the rest with it.
func TestHealthNeverHangs(t *testing.T) {
	t.Parallel()
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name       string
		components []api.Component
		path       string
		status     int
		body       string
		took       time.Duration
	}{
		{
			"a component hangs", []api.Component{{Name: "database", Check: hangs, Message: "does not answer"}}, "/health",
			http.StatusServiceUnavailable, `{"name":"doorward","status":"error","version":"v","components":[{"name":"database","status":"error","error":"does not answer"}]}`, 2 * time.Second,
		},
		{
			"an optional one fails", []api.Component{
				{Name: "mail", Check: func(context.Context) error { return errors.New("smtp://user:password@host") }, Message: "cannot be reached", Optional: true},
				{Name: "database", Check: func(context.Context) error { return nil }},
			}, "/health",
			http.StatusOK, `{"name":"doorward","status":"ok","version":"v","components":[{"name":"mail","status":"error","error":"cannot be reached"},{"name":"database","status":"ok","error":""}]}`, 0,
		},
		{"nothing to look at", nil, "/health", http.StatusOK, `{"name":"doorward","status":"ok","version":"v","components":[]}`, 0},
		{"ready hangs", []api.Component{{Name: "database", Check: hangs}}, "/health/ready", http.StatusServiceUnavailable, "", 2 * time.Second},
		{"ready does not ask what is optional", []api.Component{{Name: "mail", Check: hangs, Optional: true}}, "/health/ready", http.StatusOK, `{"status":"ok"}`, 0},
		{"live asks nothing", []api.Component{{Name: "database", Check: hangs}}, "/health/live", http.StatusOK, `{"status":"ok"}`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				doors := api.Doors(api.Config{Health: &api.Health{Version: "v", Components: c.components}, HealthPath: "/health"})
				i := slices.IndexFunc(doors, func(d gate.Door) bool { return d.Pattern == c.path })
				began, w := time.Now(), httptest.NewRecorder()
				err := doors[i].Handle(w, httptest.NewRequest("GET", c.path, nil), nil)
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				if c.body == "" {
					if err == nil {
						t.Error("no refusal")
					}
					return
				}
				if err != nil || w.Code != c.status || strings.TrimSpace(w.Body.String()) != c.body {
					t.Errorf("%v, %d %s; want %d %s", err, w.Code, w.Body, c.status, c.body)
				}
			})
		})
	}
}

// series reads the metrics as Prometheus would: the value of each series, by its name and
// labels; of a histogram its count.
func (d *door) series() map[string]float64 {
	d.t.Helper()
	a := d.do("GET", "/metrics").want(http.StatusOK)
	if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
		d.t.Errorf("%s: Content-Type %s", a.what, ct)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.body))
	if err != nil {
		d.t.Fatalf("%s: %v in\n%s", a.what, err, a.body)
	}
	all := map[string]float64{}
	for name, family := range families {
		if strings.HasPrefix(name, "doorward_") && family.GetHelp() == "" {
			d.t.Errorf("%s has no help", name)
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			all[name+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// is fails the test unless a series has this value.
func is(t *testing.T, all map[string]float64, name string, want float64) {
	t.Helper()
	if got, there := all[name]; !there || got != want {
		t.Errorf("%s is %v (there: %t), want %v", name, got, there, want)
	}
}

func TestMetricsCountWhatHappens(t *testing.T) {
	t.Parallel()
	service, asked := silent(t)
	d := machineDoor(t, "upstream="+service, "upstream_timeout=300ms")
	access, _ := d.exchange(machineToken, "app")
	for range 3 {
		d.do("GET", "/x").want(http.StatusUnauthorized)
	}
	d.do("GET", "/x", bearer("nonsense")).want(http.StatusUnauthorized)
	d.do("GET", "/auth/nothing").want(http.StatusNotFound)
	d.do("GET", "/a%2fb").want(http.StatusBadRequest)
	d.do("GET", "/slow", apiKey(machineKey)).want(http.StatusGatewayTimeout)
	<-asked
	d.do("POST", "/auth/logout", bearer(access)).want(http.StatusOK)
	all := d.series()
	is(t, all, `doorward_refusals_total{code="401",error="token required"}`, 3)
	is(t, all, `doorward_refusals_total{code="401",error="invalid token"}`, 1)
	is(t, all, `doorward_refusals_total{code="404",error="page not found"}`, 1)
	is(t, all, `doorward_refusals_total{code="400",error=""}`, 1)
	is(t, all, `doorward_http_requests_total{code="200"}`, 2)
	is(t, all, `doorward_http_requests_total{code="401"}`, 4)
	is(t, all, `doorward_http_requests_total{code="504"}`, 1)
	is(t, all, `doorward_http_request_duration_seconds{}`, 9)
	is(t, all, `doorward_http_requests_in_flight{}`, 1) // this one
	is(t, all, `doorward_revoked_sessions{}`, 1)
	for _, runtime := range []string{"go_goroutines{}", "process_open_fds{}"} {
		if all[runtime] <= 0 {
			t.Errorf("%s is %v", runtime, all[runtime])
		}
	}
}

// TestMetricsAreBoundedWhateverClientsSend: no label takes a value that a client chooses.
func TestMetricsAreBoundedWhateverClientsSend(t *testing.T) {
	t.Parallel()
	d, _ := gatewayDoor(t)
	d.setUpQuietly(t)
	send := func(i int) {
		s := fmt.Sprint("client-", i)
		d.do("GET", "/"+s)
		d.do("X-"+strings.ToUpper(s), "/"+s, apiKey(machineKey))
		d.do("GET", "/auth/"+s)
		d.do("GET", "/"+s+"%2f"+s)
		d.do("GET", "/x", bearer(s), header("Host", s+".example"), header("User-Agent", s))
		d.do("GET", "/x", bearer(machineToken), header("X-Workspace-ID", s))
		d.do("POST", "/auth/token", bearer(machineToken), formBody(`{"client_id":"`+s+`"}`))
		d.do("POST", "/auth/token", bearer(machineToken), formBody(`{"client_id":"usr_`+s+`"}`))
		d.do("POST", "/auth/token", bearer(machineToken), formBody(`{"`+s+`"`))
		d.do("DELETE", "/api/auth/users/usr_"+s, apiKey(machineKey))
		d.do("POST", "/api/auth/login", jsonBody(`{"username":"`+s+`!"}`))
		d.do("POST", "/api/auth/login", header("Content-Type", "application/"+s))
		d.do("PUT", "/health", header("Origin", "https://"+s+".example"))
	}
	send(0)
	before := slices.Sorted(maps.Keys(d.series()))
	for i := 1; i <= 10; i++ {
		send(i)
	}
	all := d.series()
	// Only the runtime's own may come and go.
	ours := func(name string) bool { return !strings.HasPrefix(name, "doorward_") }
	after := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), ours)
	if before = slices.DeleteFunc(before, ours); !slices.Equal(before, after) {
		t.Errorf("the series were\n%s\nand are\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	for _, name := range after {
		if strings.Contains(name, "client-") {
			t.Errorf("a client's text is in %s", name)
		}
	}
	if n := all[`doorward_refusals_total{code="401",error="token required"}`]; n != 11 {
		t.Errorf("%v refusals are counted, want 11: the test did not ask what it means to", n)
	}
}

// TestWhatIsCountedOfAnAnswer: the first final status counts; a connection that was cut before any is
// not counted as answered.
func TestWhatIsCountedOfAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		handle http.HandlerFunc
		want   string
	}{
		{"nothing written", func(http.ResponseWriter, *http.Request) {}, "200"},
		{"a body alone", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }, "200"},
		{"a status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "404"},
		{"hints first", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(201) }, "201"},
		{"a second status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); w.WriteHeader(500) }, "202"},
		{"another protocol", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(101) }, "101"},
		{"cut before any", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "0"},
		{"cut after one", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }, "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := &door{t: t, log: &logBuffer{}}
			m := newMetrics(nil)
			handler := m.count(c.handle, slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
			func() {
				defer func() {
					if p := recover(); p != nil && p != http.ErrAbortHandler {
						t.Errorf("panicked with %v", p)
					}
				}()
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/path?secret=in_the_query", nil))
			}()
			server := httptest.NewServer(m.page(""))
			t.Cleanup(server.Close)
			d.URL = server.URL
			all := d.series()
			is(t, all, `doorward_http_requests_total{code="`+c.want+`"}`, 1)
			is(t, all, `doorward_http_requests_in_flight{}`, 0)
			if log := d.log.String(); !strings.Contains(log, "status="+c.want+" method=GET path=/path ") || strings.Contains(log, "in_the_query") {
				t.Errorf("the log says %s", log)
			}
		})
	}
}

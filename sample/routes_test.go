package sample_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"doorward/sample"
)

// serve answers a request without a server between, for targets that clients do not send.
func serve(t *testing.T, h http.Handler, method, target, body string) reply {
	t.Helper()
	return record(h, httptest.NewRequest(method, target, strings.NewReader(body)))
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	p := h.create(t, `{"name": "x"}`)
	for target, what := range map[string]string{
		"/nothing":                            "path",
		"/run/":                               "path",
		"/run/x":                              "path",
		"//run":                               "path",
		"/x/../run":                           "path",
		"/./run":                              "path",
		"/api/pipelines/":                     "path",
		"/api/pipelines//run":                 "path",
		"/api/pipelines/" + p.ID + "/":        "path",
		"/api/pipelines/nobody":               "pipeline",
		"/api/pipelines/a%2fb":                "pipeline",
		"/api/pipelines/nobody/runs":          "pipeline",
		"/api/pipelines/nobody/runs/x":        "pipeline",
		"/api/pipelines/nobody/runs/x/events": "pipeline",
		"/api/pipelines/" + p.ID + "/runs/x":  "run",
		"/api/pipelines/" + p.ID + "/runs/x/events": "run",
	} {
		t.Log(target)
		serve(t, h.Service, "GET", target, "").wantRefusal(t, 404, what+" not found")
	}
	for _, request := range []string{"PUT ", "PATCH ", "DELETE ", "POST /run"} {
		method, rest, _ := strings.Cut(request, " ")
		h.do(t, method, "/api/pipelines/nobody"+rest, `{"name": "x"}`).wantRefusal(t, 404, "pipeline not found")
	}
}

func TestWrongMethods(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	for path, allow := range map[string]string{
		"/":                              "GET, HEAD",
		"/run":                           "POST",
		"/api/pipelines":                 "GET, HEAD, POST",
		"/api/pipelines/x":               "DELETE, GET, HEAD, PATCH, PUT",
		"/api/pipelines/x/run":           "POST",
		"/api/pipelines/x/runs":          "GET, HEAD",
		"/api/pipelines/x/runs/y":        "GET, HEAD",
		"/api/pipelines/x/runs/y/events": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
			got := h.do(t, method, path, "")
			allowed := strings.Contains(", "+allow+",", ", "+method+",")
			if allowed == (got.status == 405) {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
			if !allowed && got.header.Get("Allow") != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, path, got.header.Get("Allow"), allow)
			}
			if got.status == 405 && method != "HEAD" {
				got.wantRefusal(t, 405, "method not allowed")
			}
		}
	}
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	p := h.create(t, `{"name": "x", "steps": ["Hello"]}`)
	r := h.await(t, h.begin(t, p.ID))
	for _, path := range []string{"/", "/api/pipelines", "/api/pipelines/" + p.ID, "/api/pipelines/" + p.ID + "/runs", "/api/pipelines/" + p.ID + "/runs/" + r.ID, r.Events, "/nothing"} {
		get, head := h.do(t, "GET", path, ""), h.do(t, "HEAD", path, "")
		if head.status != get.status || head.header.Get("Content-Type") != get.header.Get("Content-Type") || head.body != "" {
			t.Errorf("HEAD %s: %d %q %q, GET: %d %q", path, head.status, head.header.Get("Content-Type"), head.body, get.status, get.header.Get("Content-Type"))
		}
	}
}

// newRequest asks for / with a Host that a client library would not send.
func newRequest(t *testing.T, host string) *http.Request {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = host
	return r
}

func record(h http.Handler, r *http.Request) reply {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return reply{rec.Code, rec.Header(), rec.Body.String()}
}

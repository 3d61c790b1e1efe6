package sample_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"doorward/sample"
)

const browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestWhoamiShowsWhatTheDoorSaid(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	headers := []string{
		"X-Forwarded-User: alice", "X-Auth-Subject: usr_1", "X-Auth-Kind: user", "X-Auth-Role: editor",
		"X-Auth-Organization: default", "X-Auth-Workspace: lab", "X-Request-ID: req-1",
	}
	var got struct {
		Service  string
		Identity map[string]string
		Examples []string
	}
	h.do(t, "GET", "/", "", headers...).want(t, 200, &got)
	page := h.do(t, "GET", "/", "", append(headers, browser)...)
	if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %q", page.status, page.header.Get("Content-Type"))
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if got.Identity[name] != value {
			t.Errorf("%s is %q, want %q", name, got.Identity[name], value)
		}
		if !strings.Contains(page.body, `<th scope="row">`+name+`</th><td>`+value+`</td>`) {
			t.Errorf("the page lacks %s", header)
		}
	}
	if len(got.Identity) != len(headers) || len(got.Examples) == 0 {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(page.body, "curl -X POST "+h.URL+"/run") {
		t.Error("the page lacks an example")
	}
}

func TestWhoamiLeadsToTheDoorsPages(t *testing.T) {
	t.Parallel()
	const setup, account = `<a href="/d/auth/setup">`, `<a href="/d/auth/account">`
	for kind, want := range map[string]string{"anonymous": setup, "user": account, "key": "", "": ""} {
		for _, pages := range []string{"/d/auth", ""} {
			page := open(t, sample.Config{Pages: pages}).do(t, "GET", "/", "", browser, "X-Auth-Kind: "+kind)
			for _, link := range []string{setup, account} {
				if got := strings.Contains(page.body, link); got != (link == want && pages != "") {
					t.Errorf("%q below %q: %s is there: %v", kind, pages, link, got)
				}
			}
		}
	}
}

func TestWhoamiOfNobodyListsEveryHeader(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	var got struct{ Identity map[string]string }
	h.do(t, "GET", "/", "").want(t, 200, &got)
	if kind, there := got.Identity["X-Auth-Kind"]; len(got.Identity) != 7 || !there || kind != "" {
		t.Errorf("got %v", got.Identity)
	}
}

func TestWhoamiNeverShowsCredentials(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	for _, accept := range []string{"Accept: */*", browser} {
		got := h.do(t, "GET", "/?token=very-secret", "", accept, "Authorization: Bearer very-secret", "Cookie: brokoli_session=very-secret", "X-API-Key: very-secret", "X-Other: very-secret")
		if strings.Contains(got.body, "very-secret") {
			t.Errorf("shown: %s", got.body)
		}
	}
}

func TestWhoamiEscapes(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	page := h.do(t, "GET", "/", "", browser, `X-Forwarded-User: <script>alert("1")</script>`, "X-Auth-Role: '\"><img src=x onerror=alert(1)>", "X-Request-ID: a\xffb")
	for _, raw := range []string{"<script", "<img", "\xff"} {
		if strings.Contains(page.body, raw) {
			t.Errorf("the page has %q: %s", raw, page.body)
		}
	}
	if !strings.Contains(page.body, "&lt;script&gt;") {
		t.Error("the name is not shown")
	}
}

func TestWhoamiPageAllowsOnlyItsOwnStyle(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	page := h.do(t, "GET", "/", "", browser)
	_, style, _ := strings.Cut(page.body, "<style>")
	style, _, found := strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := page.header.Get("Content-Security-Policy")
	if !found || !strings.Contains(policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("policy %q does not fit style %q", policy, style)
	}
	if strings.Contains(page.body, "src=") || strings.Contains(page.body, "href=") {
		t.Error("the page refers to others")
	}
}

func TestWhoamiExamplesAreSafeToPaste(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	for host, base := range map[string]string{
		"door.example:8443": "https://door.example:8443/run",
		"[::1]:8080":        "https://[::1]:8080/run",
		"a;reboot":          "https://localhost:8080/run",
		"$(reboot)":         "https://localhost:8080/run",
		"a'b":               "https://localhost:8080/run",
	} {
		req := newRequest(t, host)
		req.Header.Set("X-Forwarded-Proto", "https")
		got := record(h.Service, req)
		if !strings.Contains(got.body, "curl -X POST "+base) {
			t.Errorf("host %q: %s", host, got.body)
		}
	}
}

func TestWhoamiChoosesByAccept(t *testing.T) {
	t.Parallel()
	h := open(t, sample.Config{})
	for accept, html := range map[string]bool{
		"text/html": true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
		"text/*": true,
		"application/json;q=0.5, text/html;q=0.6": true,
		"*/*, text/html;q=0.9":                    false,
		"*/*":                                     false,
		"":                                        false,
		"application/json":                        false,
		"text/html, application/json":             false,
		"text/html;q=0":                           false,
		"text/html;q=0.1, */*;q=0.2":              false,
		"text/html;q=x":                           false,
		";;;,/,text":                              false,
	} {
		got := h.do(t, "GET", "/", "", "Accept: "+accept)
		if is := strings.HasPrefix(got.header.Get("Content-Type"), "text/html"); is != html || got.status != 200 {
			t.Errorf("Accept %q: %d %s", accept, got.status, got.header.Get("Content-Type"))
		}
		if got.header.Get("Vary") != "Accept" {
			t.Error("Vary is missing")
		}
	}
}

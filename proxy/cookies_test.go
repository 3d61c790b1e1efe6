package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"doorward/proxy"

	"pgregory.net/rapid"
)

func TestPX13OurCookiesStayAndTheAppsArriveAsSent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sent []string
		want []string
	}{
		{[]string{"a=1"}, []string{"a=1"}},
		{[]string{session + "=x"}, nil},
		{[]string{session + "=x; " + device + "=y"}, nil},
		{[]string{session + "=x;"}, nil},
		{[]string{"; " + session + "=x ; ;"}, nil},
		{[]string{session}, nil},
		{[]string{session + "=x; a=1"}, []string{"a=1"}},
		{[]string{"a=1; " + session + "=x"}, []string{"a=1"}},
		{[]string{"a=1; " + session + "=x; b=2"}, []string{"a=1; b=2"}},
		{[]string{"a=1;" + session + "=x;b=2"}, []string{"a=1;b=2"}},
		{[]string{"a=1;  " + session + " = \"x\" ;\tb=2"}, []string{"a=1;\tb=2"}},
		{[]string{session + "=x; a=1; " + session + "=y"}, []string{"a=1"}},
		{[]string{session + "=x=y==; a=b=c=="}, []string{"a=b=c=="}},
		{[]string{`a="quoted, with comma"; ` + session + `=x; b="\""`}, []string{`a="quoted, with comma"; b="\""`}},
		{[]string{"a=1", session + "=x", "b=2"}, []string{"a=1", "b=2"}},
		{[]string{session + "2=1; x" + session + "=2; BROKOLI_SESSION=3"}, []string{session + "2=1; x" + session + "=2; BROKOLI_SESSION=3"}},
		{[]string{"a=" + session + "=x"}, []string{"a=" + session + "=x"}},
		{[]string{";a=1;;" + session + "=x; ;b"}, []string{";a=1;; ;b"}},
		{[]string{"=nameless; {json:\"1\"}; " + session + "=x; \x80\xff=\xfe; a b=%20+%zz"}, []string{"=nameless; {json:\"1\"}; \x80\xff=\xfe; a b=%20+%zz"}},
		// A sandwich: a service that reads quotes over semicolons would find ours in param1.
		{[]string{`$Version=1; param1="start; ` + session + `=secret; param2=end"`}, []string{`$Version=1; param1="start; param2=end"`}},
	} {
		request := "GET / HTTP/1.1\r\nHost: h\r\n"
		for _, line := range c.sent {
			request += "Cookie: " + line + "\r\n"
		}
		service, seen := witness(t)
		send(t, gateway(t, proxy.Config{Upstream: parse(t, service), Names: ours}, passage), request+"\r\n")
		var got []string
		for line := range strings.SplitSeq(<-seen, "\r\n") {
			if value, ok := strings.CutPrefix(line, "Cookie: "); ok {
				got = append(got, value)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q arrived as %q, want %q", c.sent, got, c.want)
		}
	}
}

func TestPX13CookiesOfTheAppSurviveWhereverOursStand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pair := rapid.Custom(func(t *rapid.T) string {
			return rapid.StringMatching(`[a-z_]{1,8}`).Draw(t, "name") + rapid.StringMatching(`(=["-:<-~]{0,12})?`).Draw(t, "value")
		}).Filter(func(s string) bool { return !strings.HasPrefix(s, session) && !strings.HasPrefix(s, device) })
		theirs := rapid.SliceOfN(pair, 1, 6).Draw(t, "theirs")
		mixed := slices.Clone(theirs)
		for range rapid.IntRange(0, 3).Draw(t, "ours") {
			at := rapid.IntRange(0, len(mixed)).Draw(t, "at")
			mixed = slices.Insert(mixed, at, rapid.SampledFrom([]string{session, device}).Draw(t, "which")+rapid.StringMatching(`(=[a-z"=]{0,9})?`).Draw(t, "secret"))
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", strings.Join(mixed, "; "))
		got := proxy.Dress(r, proxy.Passage{}, ours, "").Header["Cookie"]
		if want := strings.Join(theirs, "; "); !slices.Equal(got, []string{want}) {
			t.Errorf("%q became %q, want %q", strings.Join(mixed, "; "), got, want)
		}
	})
}

func TestPX13Credentials(t *testing.T) {
	t.Parallel()
	const request = "GET / HTTP/1.1\r\nHost: h\r\nCookie: " + session + "=secret; app=1\r\nX-API-Key: secret\r\nx_api_key: alias\r\n"
	for name, place := range placements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range []struct {
				name, authorization, forward string
				drop, keep                   bool
				want                         http.Header
			}{
				{"the bearer decided", "Bearer secret", "", true, false, http.Header{"Cookie": {"app=1"}}},
				{"basic is the app's", "Basic app", "", false, false, http.Header{"Cookie": {"app=1"}, "Authorization": {"Basic app"}}},
				{"a key of the app's", "Bearer app", "", false, true, http.Header{"Cookie": {"app=1"}, "Authorization": {"Bearer app"}, "X-Api-Key": {"secret"}}},
				{"as sent", "Bearer secret", proxy.AsSent, true, false,
					http.Header{"Cookie": {session + "=secret; app=1"}, "Authorization": {"Bearer secret"}, "X-Api-Key": {"secret"}}},
			} {
				addr := place(t, c.forward, func(r *http.Request) proxy.Passage {
					p := passage(r)
					p.DropAuthorization, p.KeepAPIKey = c.drop, c.keep
					return p
				})
				got := asks(t, addr, request+"Authorization: "+c.authorization+"\r\n\r\n").Header
				for _, name := range []string{"Cookie", "Authorization", "X-Api-Key", "X_api_key"} {
					if !slices.Equal(got[name], c.want[name]) {
						t.Errorf("%s: %s = %q, want %q", c.name, name, got[name], c.want[name])
					}
				}
			}
		})
	}
}

func TestPX13AServiceCannotSetOurCookies(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Set-Cookie"] = []string{
			session + "=fixed; Path=/", " " + session + " =fixed", "=" + session + "=fixed", session, device + "=; Max-Age=0",
			"app=" + session + "=1; HttpOnly", "b=2",
		}
	}))
	t.Cleanup(service.Close)
	p, err := proxy.New(proxy.Config{Upstream: parse(t, service.URL), Names: ours})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.CloseIdle)
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", session+"=; Max-Age=0") // the door clears a dead one
		p.Carry(w, r, passage(r))
	})
	res, _, _ := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got, want := res.Header["Set-Cookie"], []string{session + "=; Max-Age=0", "app=" + session + "=1; HttpOnly", "b=2"}; !slices.Equal(got, want) {
		t.Errorf("the client received %q, want %q", got, want)
	}
}

func TestTheDoorsWordsInAnAnswerAreTheDoors(t *testing.T) {
	t.Parallel()
	service := rawService(t, answers("HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\nAlt-Svc: h3=\":1\"\r\nX-App: 1\r\nContent-Length: 0\r\n\r\n"))
	p, err := proxy.New(proxy.Config{Upstream: parse(t, service)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.CloseIdle)
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-ID", "ours")
		p.Carry(w, r, passage(r))
	})
	res, _, _ := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if h := res.Header; !slices.Equal(h["X-Request-Id"], []string{"ours"}) || h["Alt-Svc"] != nil || h.Get("X-App") != "1" {
		t.Errorf("the client received %v", h)
	}
}

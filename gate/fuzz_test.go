package gate

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"doorward"
	"doorward/proxy"
)

// The seeds are run as ordinary tests; go test -fuzz FuzzCookie ./gate goes on from them.

var bearerForm = regexp.MustCompile(`^(?i:bearer)(?: +([^ ](?s:.*))?)?$`)

// FuzzBearer: the token is what stands after the scheme, to the byte, or the header is no
// credential of ours; and nothing else in the request has a say in it.
func FuzzBearer(f *testing.F) {
	for _, v := range []string{
		"", "Bearer", "Bearer ", "Bearer x", "bearer x", "BEARER  x ", "Bearer\tx", "Bearer,x", "Bearerx", " Bearer x",
		"Basic dXNlcjpwYXNz", "Bearer a b", "Bearer x\x00", "bea\u0280er x", "Bearer a.b.c", "Token x", "Bearer Bearer x", "Bearer   ",
	} {
		f.Add(v, "brokoli_session=other")
	}
	f.Fuzz(func(t *testing.T, value, other string) {
		r := &http.Request{Header: http.Header{"Authorization": {value}}}
		token, present, err := Bearer(r)
		if err != nil {
			t.Fatalf("one header: %v", err)
		}
		want := bearerForm.FindStringSubmatch(value)
		if present != (want != nil) || present && token != want[1] || !present && token != "" {
			t.Errorf("%q: token %q, present %v; want %q", value, token, present, want)
		}
		if !strings.HasSuffix(value, token) {
			t.Errorf("%q: the token %q is none of it", value, token)
		}
		r.Header["Cookie"], r.Header["X-Api-Key"], r.Header["Proxy-Authorization"] = []string{other}, []string{other}, []string{other}
		if again, still, err := Bearer(r); again != token || still != present || err != nil {
			t.Errorf("%q: beside %q it is %q, %v, %v", value, other, again, still, err)
		}
		for _, two := range [][]string{{value, other}, {other, value}, {value, value}} {
			if token, present, err := Bearer(&http.Request{Header: http.Header{"Authorization": two}}); err == nil || present || token != "" {
				t.Errorf("%q: %q, %v, %v; want a refusal", two, token, present, err)
			}
		}
	})
}

// FuzzPresented: the first credential that is present decides, in the contract's order, and
// what stands in the places after it changes nothing.
func FuzzPresented(f *testing.F) {
	for _, authorization := range []string{"", "Bearer x", "Basic x", "Bearer", "bearer  y"} {
		for _, key := range []string{"", "brk_1"} {
			for _, cookie := range []string{"", "brokoli_session=c", "brokoli_session=c; brokoli_session=d", "theirs=1; brokoli_session=", "Brokoli_session=c"} {
				f.Add(authorization, key, cookie, uint8(7))
				f.Add(authorization, key, cookie, uint8(4))
				f.Add(authorization, key, cookie, uint8(5))
			}
		}
	}
	g := &Gate{Config: Config{CookieName: "brokoli_session"}}
	f.Fuzz(func(t *testing.T, authorization, key, cookie string, given uint8) {
		h := http.Header{}
		for i, name := range []string{"Authorization", "X-Api-Key", "Cookie"} {
			if given>>i&1 == 1 {
				h[name] = []string{[]string{authorization, key, cookie}[i]}
			}
		}
		for _, reads := range []Reads{ReadsNothing, ReadsItself, ReadsBearerItself, ReadsHeaders, ReadsAll} {
			p, present, err := g.presented(&http.Request{Header: h}, reads)
			if err != nil && p.Value != "" {
				t.Fatalf("%v, %v: %+v, and %v", h, reads, p, err)
			}
			if reads != ReadsHeaders && reads != ReadsAll {
				if p != (doorward.Presented{}) || present || err != nil {
					t.Errorf("%v is read by a door that reads %v: %+v, %v", h, reads, p, err)
				}
				continue
			}
			// What is expected, from the last place to the first.
			var want doorward.Presented
			var is, bad bool
			if v, found, err := Cookie(&http.Request{Header: h}, g.CookieName); reads == ReadsAll {
				want, is, bad = doorward.Presented{Via: doorward.FromCookie, Value: v}, found, err != nil
			}
			if h["X-Api-Key"] != nil {
				want, is, bad = doorward.Presented{Via: doorward.FromKeyHeader, Value: key}, true, false
			}
			if m := bearerForm.FindStringSubmatch(authorization); m != nil && h["Authorization"] != nil {
				want, is, bad = doorward.Presented{Via: doorward.FromBearer, Value: m[1]}, true, false
			}
			if present != is || (err != nil) != bad || is && p != want {
				t.Errorf("%v, %v: %+v, present %v, error %v; want %+v, %v, %v", h, reads, p, present, err, want, is, bad)
			}
		}
	})
}

// FuzzCookie: what two cookies of our name disagree about is refused; where net/http reads one
// of our name, it reads the same; cookies of other names change nothing; and what we read is
// what is stripped on the way to the service.
func FuzzCookie(f *testing.F) {
	for _, line := range []string{
		"", "sid=a", "sid=a; sid=a", "sid=a; sid=b", "other=1; sid=a", "sid", "sid=", "sid;sid=", "=sid", " sid = a ", "\tsid=a", "sid=a=b",
		`sid="a"`, `sid="a;b"`, `sid="a`, "sid=a,sid=b", "SID=a", "sid=a\x00", "xsid=a", "sidx=a", ";;;sid=a;", "sid=a; theirs=\"; sid=b\"",
		"$Version=1; sid=a", "sid\u00a0=a", "__Host-sid=a", "sid=\u00e9", "sid=a b", "theirs=1;sid=a", "\x0bsid=a",
	} {
		f.Add(line, "")
		f.Add(line, "sid=a")
		f.Add("other=1", line)
	}
	const name = "sid"
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		if second == "" {
			lines = lines[:1]
		}
		r := &http.Request{Header: http.Header{"Cookie": lines}}
		value, present, err := Cookie(r, name)
		switch {
		case err != nil && value != "", !present && value != "":
			t.Fatalf("%q: %q, present %v, error %v", lines, value, present, err)
		case err != nil && doorward.Refusal(err).Code != doorward.CodeInvalid:
			t.Errorf("%q: %v", lines, err)
		case present && !strings.Contains(first, value) && !strings.Contains(second, value):
			t.Errorf("%q: %q stands nowhere", lines, value)
		}

		theirs := map[string]bool{}
		for _, c := range r.Cookies() {
			// What no request over HTTP can hold net/http trims differently.
			if c.Name != name || strings.ContainsAny(first+second, "\r\n") {
				continue
			}
			v := c.Value
			if c.Quoted {
				v = `"` + v + `"`
			}
			theirs[strings.Trim(v, " \t")] = true
		}
		if len(theirs) > 1 && err == nil {
			t.Errorf("%q: net/http reads %d different ones, we %q", lines, len(theirs), value)
		}
		if err == nil && len(theirs) == 1 && !(present && theirs[value]) {
			t.Errorf("%q: net/http reads %v, we %q, present %v", lines, theirs, value, present)
		}

		among := &http.Request{Header: http.Header{"Cookie": append(append([]string{"theirs=1"}, lines...), "sid2=x; s=sid")}}
		if v, is, e := Cookie(among, name); v != value || is != present || (e == nil) != (err == nil) {
			t.Errorf("%q: among others it is %q, %v, %v", lines, v, is, e)
		}
		mirrored := slices.Clone(lines)
		slices.Reverse(mirrored)
		if v, is, e := Cookie(&http.Request{Header: http.Header{"Cookie": mirrored}}, name); v != value || is != present || (e == nil) != (err == nil) {
			t.Errorf("%q: the other way round it is %q, %v, %v", lines, v, is, e)
		}

		behind := proxy.Dress(&http.Request{Method: "GET", Header: r.Header, Host: "x", URL: &url.URL{Path: "/"}}, proxy.Passage{Path: "/", Host: "x"}, proxy.Names{Cookies: []string{name}}, "")
		if v, is, e := Cookie(behind, name); is || e != nil {
			t.Errorf("%q: %q arrives at the service as %q, %v", lines, v, behind.Header["Cookie"], e)
		}
		if !present && err == nil && !slices.Equal(behind.Header["Cookie"], r.Header["Cookie"]) {
			t.Errorf("%q: with none of ours in it, %q arrives", lines, behind.Header["Cookie"])
		}
	})
}

// FuzzForwardedFor: from an untrusted peer no header says where a request comes from. From a
// trusted one the client is the peer or an address that the header names, with none but our proxies to the right of it, and
// what stands to the left of it has no say.
func FuzzForwardedFor(f *testing.F) {
	for _, v := range []string{
		"", "198.51.100.7", "198.51.100.7, 10.0.0.2", "10.0.0.3,10.0.0.2", "nobody, 10.0.0.2", "198.51.100.7:4711", "[2001:db8::1]:80", "2001:db8::1%eth0",
		"::ffff:10.0.0.9", "::ffff:198.51.100.7", "unknown", "_hidden", "198.51.100.7,", ",,", " 198.51.100.7\t", "\"198.51.100.7\"", "for=198.51.100.7",
		"10.0.0.2, 198.51.100.7, fd00::1", "0x7f.1", "010.0.0.1", "1.2.3", "256.1.1.1", "198.51.100.7 10.0.0.2", "10.0.0.1;198.51.100.7",
	} {
		f.Add(v, "", "192.0.2.66")
		f.Add(v, "10.0.0.8", "10.0.0.7, 203.0.113.9")
		f.Add("203.0.113.1", v, "x")
	}
	g := behind("10.0.0.0/8", "fd00::/8", "127.0.0.1/32")
	f.Fuzz(func(t *testing.T, first, second, left string) {
		lines := []string{first, second}
		plain := g.judgeOrigin(from("203.0.113.5:99"))
		claimed := from("203.0.113.5:99", lines...)
		claimed.Header["X-Real-Ip"], claimed.Header["Forwarded"] = []string{left}, []string{"for=" + left}
		claimed.Header["X-Forwarded-Host"], claimed.Header["X-Forwarded-Proto"] = []string{left}, []string{"https"}
		if got := g.judgeOrigin(claimed); !same(got, plain) {
			t.Errorf("%q from an untrusted peer: %+v, want %+v", lines, got, plain)
		}

		o := g.judgeOrigin(from("10.0.0.1:99", lines...))
		if !o.client.IsValid() || o.client.Zone() != "" || o.client.Is4In6() || o.peer != netip.MustParseAddr("10.0.0.1") {
			t.Errorf("%q: %+v", lines, o)
		}
		entries := strings.Split(first+","+second, ",")
		if n := len(o.forwarded); n > 0 {
			named := entries[len(entries)-n:]
			for i, entry := range named {
				a := hostAddr(strings.TrimSpace(entry))
				if a.String() != o.forwarded[i] || i > 0 && !g.trusted(a) {
					t.Errorf("%q: %q is believed to be %q", lines, entry, o.forwarded[i])
				}
			}
			if o.forwarded[0] != o.client.String() {
				t.Errorf("%q: the client is %s, and forwarded %q", lines, o.client, o.forwarded)
			}
		} else if o.client != o.peer {
			t.Errorf("%q: the client %s comes from nowhere", lines, o.client)
		}

		// Whoever is found and is none of ours, or before whom stands what is no address, is found whatever stands further left.
		stopped := !g.trusted(o.client) || len(o.forwarded) < len(entries)
		if got := g.judgeOrigin(from("10.0.0.1:99", left+","+first, second)); stopped && !same(got, o) {
			t.Errorf("%q after %q: %+v, want %+v", lines, left, got, o)
		}
		if got := g.judgeOrigin(from("10.0.0.1:99", left, first, second)); stopped && !same(got, o) {
			t.Errorf("%q after the line %q: %+v, want %+v", lines, left, got, o)
		}
	})
}

func same(a, b origin) bool {
	return a.client == b.client && a.peer == b.peer && a.secure == b.secure && a.host == b.host && slices.Equal(a.forwarded, b.forwarded)
}

package gate

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// behind is a door behind the proxies that these prefixes name.
func behind(prefixes ...string) *Gate {
	g := new(Gate)
	for _, p := range prefixes {
		g.TrustedProxies = append(g.TrustedProxies, netip.MustParsePrefix(p))
	}
	return g
}

// from is a request from peer with these X-Forwarded-For lines.
func from(peer string, lines ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Host: "door.example", Header: http.Header{}, URL: &url.URL{Path: "/"}}
	if lines != nil {
		r.Header["X-Forwarded-For"] = lines
	}
	return r
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies := []string{"10.0.0.0/8", "fd00::/8", "127.0.0.1/32"}
	for _, c := range []struct {
		name      string
		peer      string
		lines     []string
		client    string // "" for the peer itself
		forwarded string // what is believed of the header
	}{
		{"nothing said", "203.0.113.9:1000", nil, "203.0.113.9", ""},
		{"a stranger claims", "203.0.113.9:1000", []string{"198.51.100.1"}, "203.0.113.9", ""},
		{"a stranger claims to be a proxy", "203.0.113.9:1000", []string{"198.51.100.1, 10.0.0.1"}, "203.0.113.9", ""},
		{"a stranger next to a proxy", "11.0.0.1:1000", []string{"198.51.100.1"}, "11.0.0.1", ""},

		{"a proxy says nothing", "10.0.0.1:1000", nil, "10.0.0.1", ""},
		{"a proxy says who", "10.0.0.1:1000", []string{"198.51.100.1"}, "198.51.100.1", "198.51.100.1"},
		{"from the right: the left is the client's invention", "10.0.0.1:1000", []string{"1.1.1.1, 127.0.0.1, 198.51.100.1"}, "198.51.100.1", "198.51.100.1"},
		{"two proxies", "10.0.0.1:1000", []string{"1.1.1.1, 198.51.100.1, 10.0.0.2"}, "198.51.100.1", "198.51.100.1 10.0.0.2"},
		{"proxies all the way", "10.0.0.1:1000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", "10.0.0.3 10.0.0.2"},
		{"several lines are one list", "10.0.0.1:1000", []string{"1.1.1.1", "198.51.100.1", "10.0.0.3, 10.0.0.2"}, "198.51.100.1", "198.51.100.1 10.0.0.3 10.0.0.2"},
		{"without spaces, with many", "10.0.0.1:1000", []string{"1.1.1.1,198.51.100.1 ,\t 10.0.0.2  "}, "198.51.100.1", "198.51.100.1 10.0.0.2"},

		{"an entry that is no address ends the search", "10.0.0.1:1000", []string{"198.51.100.1, unknown"}, "10.0.0.1", ""},
		{"further left too", "10.0.0.1:1000", []string{"198.51.100.1, _hidden, 10.0.0.2"}, "10.0.0.2", "10.0.0.2"},
		{"an empty line", "10.0.0.1:1000", []string{""}, "10.0.0.1", ""},
		{"an empty entry", "10.0.0.1:1000", []string{"198.51.100.1, , 10.0.0.2"}, "10.0.0.2", "10.0.0.2"},
		{"more than an address", "10.0.0.1:1000", []string{"198.51.100.1 10.0.0.2"}, "10.0.0.1", ""},
		{"leading zeros are no address", "10.0.0.1:1000", []string{"198.51.100.001"}, "10.0.0.1", ""},
		{"a number is no address", "10.0.0.1:1000", []string{"3325256705"}, "10.0.0.1", ""},
		{"a name is no address", "10.0.0.1:1000", []string{"localhost"}, "10.0.0.1", ""},
		{"a network is no address", "10.0.0.1:1000", []string{"198.51.100.0/24"}, "10.0.0.1", ""},

		{"with a port", "10.0.0.1:1000", []string{"198.51.100.1:4711"}, "198.51.100.1", "198.51.100.1"},
		{"IPv6 with a port", "10.0.0.1:1000", []string{"[2001:db8::1]:4711"}, "2001:db8::1", "2001:db8::1"},
		{"IPv6", "[fd00::1]:1000", []string{"2001:DB8:0::1"}, "2001:db8::1", "2001:db8::1"},
		{"a zone says nothing about who", "[fd00::1%eth0]:1000", []string{"fe80::1%eth0"}, "fe80::1", "fe80::1"},
		{"IPv4 written as IPv6 is trusted as IPv4", "[::ffff:10.0.0.1]:1000", []string{"::ffff:198.51.100.1"}, "198.51.100.1", "198.51.100.1"},
		{"IPv4 written as IPv6 does not hide a proxy", "10.0.0.1:1000", []string{"198.51.100.1, ::ffff:10.0.0.2"}, "198.51.100.1", "198.51.100.1 10.0.0.2"},
		{"a stranger as IPv6", "[::ffff:203.0.113.9]:1000", []string{"198.51.100.1"}, "203.0.113.9", ""},

		{"a peer without an address", "@", []string{"198.51.100.1"}, "invalid IP", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := behind(proxies...).judgeOrigin(from(c.peer, c.lines...))
			if o.client.String() != c.client {
				t.Errorf("client %s, want %s", o.client, c.client)
			}
			if got := strings.Join(o.forwarded, " "); got != c.forwarded {
				t.Errorf("believed %q, want %q", got, c.forwarded)
			}
			if peer := hostAddr(c.peer); o.peer != peer {
				t.Errorf("peer %s, want %s", o.peer, peer)
			}
		})
	}
}

// TestOnlyXForwardedForIsRead: the other headers by which proxies name clients are believed from nobody.
func TestOnlyXForwardedForIsRead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "Forwarded", "X-Forwarded", "Forwarded-For",
		"X_Forwarded_For", "X-Forwarded-For.", "X-Forwarded-Client", "X-Cluster-Client-Ip",
	} {
		for _, peer := range []string{"10.0.0.1:1000", "203.0.113.9:1000"} {
			r := from(peer)
			r.Header[name] = []string{"198.51.100.1"}
			if o := behind("10.0.0.0/8").judgeOrigin(r); o.client != hostAddr(peer) {
				t.Errorf("%s from %s: client %s", name, peer, o.client)
			}
		}
	}
}

func TestHTTPSAndHostAreBelievedOfProxiesAlone(t *testing.T) {
	t.Parallel()
	const proxy, stranger = "10.0.0.1:1000", "203.0.113.9:1000"
	for _, c := range []struct {
		name   string
		peer   string
		header http.Header
		secure bool
		host   string
	}{
		{"nothing said", proxy, nil, false, "door.example"},
		{"a proxy says https", proxy, http.Header{"X-Forwarded-Proto": {"https"}}, true, "door.example"},
		{"in capitals", proxy, http.Header{"X-Forwarded-Proto": {" HTTPS "}}, true, "door.example"},
		{"a proxy says http", proxy, http.Header{"X-Forwarded-Proto": {"http"}}, false, "door.example"},
		{"two proxies in one line", proxy, http.Header{"X-Forwarded-Proto": {"https, http"}}, false, "door.example"},
		{"said twice", proxy, http.Header{"X-Forwarded-Proto": {"https", "https"}}, false, "door.example"},
		{"a stranger says https", stranger, http.Header{"X-Forwarded-Proto": {"https"}}, false, "door.example"},
		{"a proxy says the host", proxy, http.Header{"X-Forwarded-Host": {"app.example:8443"}}, false, "app.example:8443"},
		{"two hosts in one line", proxy, http.Header{"X-Forwarded-Host": {"evil.example, app.example"}}, false, "door.example"},
		{"two lines", proxy, http.Header{"X-Forwarded-Host": {"evil.example", "app.example"}}, false, "door.example"},
		{"an empty host", proxy, http.Header{"X-Forwarded-Host": {""}}, false, "door.example"},
		{"a stranger says the host", stranger, http.Header{"X-Forwarded-Host": {"evil.example"}}, false, "door.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := from(c.peer)
			if c.header != nil {
				r.Header = c.header
			}
			o := behind("10.0.0.0/8").judgeOrigin(r)
			if o.secure != c.secure || o.host != c.host {
				t.Errorf("secure %t, host %q; want %t, %q", o.secure, o.host, c.secure, c.host)
			}
		})
	}
	t.Run("our own TLS", func(t *testing.T) {
		t.Parallel()
		r := from(stranger)
		r.TLS = new(tls.ConnectionState)
		if o := behind().judgeOrigin(r); !o.secure {
			t.Error("not secure")
		}
	})
	t.Run("the operator's word is not undone by a header", func(t *testing.T) {
		t.Parallel()
		g := behind("10.0.0.0/8")
		g.secure = true
		r := from(proxy)
		r.Header["X-Forwarded-Proto"] = []string{"http"}
		if o := g.judgeOrigin(r); !o.secure {
			t.Error("not secure")
		}
	})
}

// TestHeadersNeverChangeWhereAStrangerComesFrom is one of the four properties: whatever a peer that is
// no proxy of ours writes, it is the client; and what stands left of the first address that is no
// proxy's changes nothing.
func TestHeadersNeverChangeWhereAStrangerComesFrom(t *testing.T) {
	t.Parallel()
	entry := rapid.SampledFrom([]string{
		"10.0.0.1", "10.255.255.255", "127.0.0.1", "::1", "198.51.100.1", "2001:db8::1", "::ffff:10.0.0.1", "fe80::1%eth0",
		"unknown", "", " ", "10.0.0.1:80", "[::1]:80", "[::1]", "1.2.3", "10.0.0.1/8", "\"10.0.0.1\"", "for=10.0.0.1", "256.1.1.1", "\x00", "é",
	})
	list := rapid.Custom(func(t *rapid.T) []string {
		var lines []string
		for _, l := range rapid.SliceOfN(rapid.SliceOfN(entry, 0, 5), 0, 4).Draw(t, "lines") {
			lines = append(lines, strings.Join(l, ", "))
		}
		return lines
	})
	g := behind("10.0.0.0/8", "127.0.0.0/8")
	rapid.Check(t, func(t *rapid.T) {
		left := list.Draw(t, "left")
		stranger := from("203.0.113.9:1000", left...)
		stranger.Header["X-Forwarded-Proto"] = []string{"https"}
		stranger.Header["X-Forwarded-Host"] = []string{"evil.example"}
		o := g.judgeOrigin(stranger)
		if o.client.String() != "203.0.113.9" || o.forwarded != nil || o.secure || o.host != "door.example" {
			t.Fatalf("believed of a stranger: %+v", o)
		}

		o = g.judgeOrigin(from("10.0.0.1:1000", append(slices.Clone(left), "203.0.113.9, 10.0.0.2")...))
		if o.client.String() != "203.0.113.9" || !slices.Equal(o.forwarded, []string{"203.0.113.9", "10.0.0.2"}) {
			t.Fatalf("a client behind two proxies, with %q before it: %+v", left, o)
		}

		o = g.judgeOrigin(from("10.0.0.1:1000", left...))
		if !o.client.IsValid() || o.client.Zone() != "" || o.client.Is4In6() {
			t.Fatalf("%q: client %s", left, o.client)
		}
		if len(o.forwarded) > 0 && o.forwarded[0] != o.client.String() {
			t.Fatalf("%q: %q does not begin with the client %s", left, o.forwarded, o.client)
		}
	})
}

func TestHostAddr(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "2001:db8::1": "2001:db8::1",
		"::ffff:192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "fe80::1%eth0": "fe80::1", "[fe80::1%eth0]:80": "fe80::1",
		"": "invalid IP", "host": "invalid IP", "host:80": "invalid IP", "192.0.2.1:": "invalid IP", "192.0.2.1:http": "invalid IP",
		"192.0.2": "invalid IP", "192.0.2.1.5": "invalid IP", " 192.0.2.1": "invalid IP", "[192.0.2.1]": "invalid IP",
	} {
		if got := hostAddr(s).String(); got != want {
			t.Errorf("hostAddr(%q) = %s, want %s", s, got, want)
		}
	}
}

package gate_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"doorward/gate"
)

// TestPlainHTTPIsLedToHTTPS: where a browser is led, and what is refused; from raw bytes, over a real connection.
func TestPlainHTTPIsLedToHTTPS(t *testing.T) {
	t.Parallel()
	address := func(h *gate.ToHTTPS) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h.Timeout = time.Minute
		server := &http.Server{Handler: h, DisableGeneralOptionsHandler: true}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
		return l.Addr().String()
	}
	public, err := url.Parse("https://door.example:8443")
	if err != nil {
		t.Fatal(err)
	}
	covers := func(host string) bool { return host == "door.example" || host == "app.door.example" || host == "::1" }
	var (
		any443  = address(&gate.ToHTTPS{Covers: covers})
		any8443 = address(&gate.ToHTTPS{Port: "8443"})
		known   = address(&gate.ToHTTPS{Port: "8443", Covers: covers, Otherwise: public})
	)
	const host = "Host: door.example\r\n"
	get := func(target string, lines ...string) string {
		return "GET " + target + " HTTP/1.1\r\n" + strings.Join(lines, "") + "Connection: close\r\n\r\n"
	}
	for name, c := range map[string]struct {
		at, raw string
		want    string // a status, or where it leads
	}{
		"a page":                      {any443, get("/x?y=1&z", host), "https://door.example/x?y=1&z"},
		"the root":                    {any443, get("/", host), "https://door.example/"},
		"HEAD":                        {any443, strings.Replace(get("/x", host), "GET", "HEAD", 1), "https://door.example/x"},
		"the port that was asked for": {any443, get("/x", "Host: door.example:8080\r\n"), "https://door.example/x"},
		"another port":                {any8443, get("/x", "Host: door.example:8080\r\n"), "https://door.example:8443/x"},
		"the port of its own":         {any8443, get("/x", host), "https://door.example:8443/x"},
		"IPv6":                        {any8443, get("/x", "Host: [::1]:80\r\n"), "https://[::1]:8443/x"},
		"IPv4":                        {any8443, get("/x", "Host: 192.0.2.1\r\n"), "https://192.0.2.1:8443/x"},
		"upper case, final dot":       {any8443, get("/x", "Host: DOOR.example.\r\n"), "https://DOOR.example.:8443/x"},
		"absolute form":               {any443, get("http://door.example/x?y", "Host: other.example\r\n"), "https://door.example/x?y"},
		"HTTP/1.0":                    {any443, "GET /x HTTP/1.0\r\n" + host + "\r\n", "https://door.example/x"},

		"known by the certificate":      {known, get("/x", "Host: app.door.example\r\n"), "https://app.door.example:8443/x"},
		"known in another spelling":     {known, get("/x", "Host: APP.door.example.\r\n"), "https://APP.door.example.:8443/x"},
		"known, IPv6":                   {known, get("/x", "Host: [::1]\r\n"), "https://[::1]:8443/x"},
		"not known":                     {known, get("/x?y", "Host: evil.example\r\n"), "https://door.example:8443/x?y"},
		"no host where one is known":    {known, "GET /x HTTP/1.0\r\n\r\n", "https://door.example:8443/x"},
		"an empty host where one known": {known, get("/x", "Host:\r\n"), "https://door.example:8443/x"},
		"malformed where one is known":  {known, get("/x", "Host: a,b\r\n"), "400"},
		"no host":                       {any443, "GET /x HTTP/1.0\r\n\r\n", "400"},
		"an empty host":                 {any443, get("/x", "Host:\r\n"), "400"},

		// Paths go on as they are, and stay on this host.
		"two slashes":        {any443, get("//evil.example/x", host), "https://door.example//evil.example/x"},
		"a backslash":        {any443, get(`/\evil.example`, host), "https://door.example/%5Cevil.example"},
		"dot segments":       {any443, get("/a/../b/%2e%2e/c", host), "https://door.example/a/../b/%2e%2e/c"},
		"escapes":            {any443, get("/a%2Fb%0d%0aX:%20y?c=%0d%0aX", host), "https://door.example/a%2Fb%0d%0aX:%20y?c=%0d%0aX"},
		"a user in the path": {any443, get("/@evil.example", host), "https://door.example/@evil.example"},
		"bytes past ASCII":   {any443, get("/\xe9?\xe9", host), "https://door.example/%E9?%e9"},
		"quotes":             {any443, get(`/"><script>?"><script>`, host), `https://door.example/%22%3E%3Cscript%3E?"><script>`},
		"an empty query":     {any443, get("/x?", host), "https://door.example/x?"},
		"a semicolon":        {any443, get("/x;y?a;b", host), "https://door.example/x;y?a;b"},
		"a challenge":        {any443, get("/.well-known/acme-challenge/a_b-c", host), "https://door.example/.well-known/acme-challenge/a_b-c"},

		// Hosts that are none.
		"two hosts in one": {any443, get("/x", "Host: door.example, evil.example\r\n"), "400"},
		"two hosts":        {any443, get("/x", host+"Host: evil.example\r\n"), "400"},
		"a host and path":  {any443, get("/x", "Host: door.example/evil\r\n"), "400"},
		"a host and user":  {any443, get("/x", "Host: a@evil.example\r\n"), "400"},
		"a bad port":       {any443, get("/x", "Host: door.example:x\r\n"), "400"},
		"a port too large": {any443, get("/x", "Host: door.example:65536\r\n"), "400"},
		"a bare colon":     {any443, get("/x", "Host: door.example:\r\n"), "400"},
		"unclosed":         {any443, get("/x", "Host: [::1\r\n"), "400"},
		"a zone":           {any443, get("/x", "Host: [::1%25eth0]\r\n"), "400"},
		"an escape":        {any443, get("/x", "Host: door%2eexample\r\n"), "400"},
		"a quote":          {any443, get("/x", "Host: door.example\"\r\n"), "400"},
		"a user, absolute": {any443, get("http://a@door.example/x", host), "400"},
		"no path":          {any443, get("*", host), "400"},
		"no path at all":   {any443, get("http://door.example", host), "https://door.example/"},

		// What was sent in clear must not work.
		"POST":               {any443, "POST /auth/token HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello", "400"},
		"POST, no body sent": {any443, "POST /auth/token HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\n", "400"},
		"PUT, without end":   {any443, "PUT /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "400"},
		"DELETE":             {any443, "DELETE /x HTTP/1.1\r\n" + host + "\r\n", "400"},
		"OPTIONS":            {any443, "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", "400"},
		"CONNECT":            {any443, "CONNECT door.example:443 HTTP/1.1\r\n" + host + "\r\n", "400"},
		"a bearer token":     {any443, get("/x", host, "Authorization: Bearer x\r\n"), "400"},
		"a password":         {any443, get("/x", host, "Authorization: Basic eDp5\r\n"), "400"},
		"a key":              {any443, get("/x", host, "X-API-Key: x\r\n"), "400"},
		"a cookie":           {any443, get("/x", host, "Cookie: brokoli_session=x\r\n"), "https://door.example/x"},
		"claiming HTTPS":     {any443, get("/x", host, "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n"), "https://door.example/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", c.at)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(conn, c.raw); err != nil {
				t.Fatal(err)
			}
			method, _, _ := strings.Cut(c.raw, " ")
			br := bufio.NewReader(conn)
			res, err := http.ReadResponse(br, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Error(err)
			}
			if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
				t.Errorf("the connection goes on: %q, %v", rest, err)
			}
			if c.want == "400" {
				if res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" {
					t.Errorf("%s %v %s", res.Status, res.Header, body)
				}
				return
			}
			if res.StatusCode != http.StatusMovedPermanently || res.Header.Get("Location") != c.want || len(res.Header["Location"]) != 1 || len(body) > 0 {
				t.Errorf("%s to %q, want %q; body %q", res.Status, res.Header["Location"], c.want, body)
			}
			if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Strict-Transport-Security") != "" || len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("header %v", res.Header)
			}
			if u, err := url.Parse(c.want); err != nil || u.Scheme != "https" {
				t.Errorf("that is no address: %v", err)
			}
		})
	}
	res, err := http.Post("http://"+any443+"/auth/token", "", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != `{"error":"scheme: must be https; replace a password, key or token that was sent here, since it came in clear","status":"error"}`+"\n" {
		t.Errorf("%s, %v", body, err)
	}
}

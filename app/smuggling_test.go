package app

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// witness is a service behind the door that keeps the bytes of each request as they
// arrive, one connection each, and answers 200.
type witness struct {
	URL      string
	listener net.Listener
	all      sync.WaitGroup
	mu       sync.Mutex
	got      []*bytes.Buffer
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{URL: "http://" + l.Addr().String(), listener: l}
	w.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.all.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() { w.seen() })
	return w
}

func (w *witness) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	kept := new(bytes.Buffer)
	br := bufio.NewReader(io.TeeReader(conn, kept))
	r, err := http.ReadRequest(br)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	if err == nil {
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, br) // whatever else comes
	}
	if kept.Len() > 0 { // else a connection that was dialled and not needed
		w.mu.Lock()
		w.got = append(w.got, kept)
		w.mu.Unlock()
	}
}

// seen returns what has arrived, once all is over: the door must have been stopped.
func (w *witness) seen() [][]byte {
	_ = w.listener.Close()
	w.all.Wait()
	var all [][]byte
	for _, b := range w.got {
		all = append(all, b.Bytes())
	}
	return all
}

// framing are the lines of a head that say how long the body is, in any spelling.
var framing = regexp.MustCompile(`(?im)^[^:\n]*(content[^a-z:\n]*length|transfer[^a-z:\n]*encoding)[^\n]*$`)

// framedByUs fails the test unless raw is exactly one request, with this body, whose framing is of our making.
func framedByUs(t *testing.T, raw []byte, body string) {
	t.Helper()
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	lines := framing.FindAllString(string(head), -1)
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	good := [][]string{{fmt.Sprintf("Content-Length: %d", len(body))}, {"Transfer-Encoding: chunked"}}
	if body == "" {
		good = append(good, nil)
	}
	if !slices.ContainsFunc(good, func(g []string) bool { return slices.Equal(g, lines) }) {
		t.Errorf("framed as %q", lines)
	}
	if n := bytes.Count(head, []byte("\n")); n != bytes.Count(head, []byte("\r\n")) || n != bytes.Count(head, []byte("\r")) {
		t.Errorf("line ends: %q", head)
	}
	if n := bytes.Count(bytes.ToLower(head), []byte("\nhost:")); n != 1 {
		t.Errorf("%d hosts: %q", n, head)
	}
	if bytes.Contains(bytes.ToLower(head), []byte("superadmin")) {
		t.Errorf("the client has its say: %q", head)
	}
	br := bufio.NewReader(bytes.NewReader(raw))
	r, err := http.ReadRequest(br)
	if err != nil {
		t.Errorf("%v in %q", err, raw)
		return
	}
	got, err := io.ReadAll(r.Body)
	if err != nil || string(got) != body || len(r.Trailer) != 0 {
		t.Errorf("body %q, trailer %v, %v; want %q", got, r.Trailer, err, body)
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		t.Errorf("more than one request: %q", rest)
	}
	// A chunk of ours has its size and nothing else; not what the client wrote behind it.
	if bytes.Contains(raw, []byte("extension")) {
		t.Errorf("a chunk extension gets through: %q", raw)
	}
}

// smuggled is a request that must never be run: it stands where another reader of the bytes before
// it would see a request.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n" + machineKeyLine + "\r\n\r\n"

// shape is one way to write a request in which two readers may see different requests.
type shape struct {
	name string
	raw  string // {key} is a credential
	// body is what the service gets as the body of the only request; refused where the door answers
	// 4xx or 5xx itself and closes; cut where it may also just close.
	body string
}

const (
	refused = "\x00refused"
	cut     = "\x00cut"
)

// rawPost is a POST with these header lines and this body.
func rawPost(lines, body string) string {
	return "POST /x HTTP/1.1\r\nHost: door.example\r\n{key}\r\nConnection: close\r\n" + lines + "\r\n\r\n" + body
}

const (
	hello    = "5\r\nhello\r\n0\r\n\r\n"
	chunked  = "Transfer-Encoding: chunked"
	fiveLong = "Content-Length: 5"
)

// shapes are those of HS1 and HS3 and their relatives.
func shapes() []shape {
	all := []shape{
		// Two lengths.
		{"CL then TE", rawPost("Content-Length: 4\r\n"+chunked, hello), "hello"},
		{"TE then CL", rawPost(chunked+"\r\nContent-Length: 4", hello), "hello"},
		{"TE and CL 0", rawPost(chunked+"\r\nContent-Length: 0", hello), "hello"},
		{"TE and CL with a request inside", rawPost("Content-Length: 3\r\n"+chunked, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)), smuggled},
		{"CL twice, the same", rawPost(fiveLong+"\r\n"+fiveLong, "hello"), "hello"},
		{"CL twice, differing", rawPost(fiveLong+"\r\nContent-Length: 6", "hello"), refused},
		{"CL in two spellings of its name", rawPost(fiveLong+"\r\ncontent-length: 4", "hello"), refused},
		{"TE twice", rawPost(chunked+"\r\n"+chunked, hello), refused},
		{"TE chunked and identity", rawPost(chunked+"\r\nTransfer-Encoding: identity", hello), refused},
		{"TE, CL with an alias", rawPost(fiveLong+"\r\nTransfer_Encoding: chunked", "hello"), "hello"},
		{"CL and an alias of it", rawPost(fiveLong+"\r\nContent_Length: 100", "hello"), "hello"},
		{"CL and an alias of it, dotted", rawPost(fiveLong+"\r\nContent.Length: 100\r\nTransfer.Encoding: chunked", "hello"), "hello"},
		{"TE and an alias of CL", rawPost(chunked+"\r\nContent_Length: 3", hello), "hello"},
		{"an alias of TE alone", rawPost("Transfer_Encoding: chunked", smuggled), ""},
		{"an alias of CL alone", rawPost("Content_Length: 5", smuggled), ""},

		// Spellings of names and line ends.
		{"obs-fold of TE", rawPost("Transfer-Encoding:\r\n chunked", hello), "hello"},
		{"obs-fold with TE inside", rawPost(fiveLong+"\r\nX: y\r\n Transfer-Encoding: chunked", "hello"), "hello"},
		{"obs-fold first", "POST /x HTTP/1.1\r\n Host: door.example\r\n{key}\r\n" + fiveLong + "\r\n\r\nhello", refused},
		{"TE, space before the colon", rawPost("Transfer-Encoding : chunked", hello), refused},
		{"TE, tab before the colon", rawPost("Transfer-Encoding\t: chunked", hello), refused},
		{"CL, space before the colon", rawPost("Content-Length : 5", "hello"), refused},
		{"name with a space", rawPost(fiveLong+"\r\nX Y: z", "hello"), refused},
		{"name with a tab", rawPost(fiveLong+"\r\nX\tY: z", "hello"), refused},
		{"name with NUL", rawPost(fiveLong+"\r\nX\x00Y: z", "hello"), refused},
		{"name with vertical tab", rawPost(fiveLong+"\r\n\x0bTransfer-Encoding: chunked", "hello"), refused},
		{"name with a byte past ASCII", rawPost(fiveLong+"\r\nX\xe9: z", "hello"), refused},
		{"name empty", rawPost(fiveLong+"\r\n: z", "hello"), refused},
		{"no colon", rawPost(fiveLong+"\r\nX", "hello"), refused},
		{"bare LF ends everywhere", strings.ReplaceAll(rawPost(fiveLong, "hello"), "\r\n", "\n"), "hello"},
		{"bare LF ends one line", rawPost(fiveLong+"\nX: y", "hello"), "hello"},
		{"bare LF before TE", rawPost("X: y\n"+chunked, hello), "hello"},
		{"bare CR before TE", rawPost(fiveLong+"\r\nX: y\r"+chunked, "hello"), refused},
		{"bare CR in the name", rawPost(fiveLong+"\r\nX\rY: z", "hello"), refused},
		{"bare CR at the end of a value", rawPost(fiveLong+"\r\nX: y\r\r\nZ: z", "hello"), refused},
		{"bare CR ends everywhere", strings.ReplaceAll(rawPost(fiveLong, ""), "\r\n", "\r"), cut},
		{"NUL in a value", rawPost(fiveLong+"\r\nX: y\x00z", "hello"), refused},
		{"NUL in CL", rawPost("Content-Length: 5\x00", "hello"), refused},
		{"LF CR", rawPost(fiveLong+"\n\rX: y", "hello"), refused},

		// Request lines.
		{"blank line first", "\r\n" + rawPost(fiveLong, "hello"), refused},
		{"blank lines first", "\r\n\r\n\n" + rawPost(fiveLong, "hello"), refused},
		{"space first", " " + rawPost(fiveLong, "hello"), refused},
		{"HTTP/0.9", "GET /x\r\n", cut},
		{"HTTP/0.9 with a head", "GET /x\r\nHost: x\r\n{key}\r\n\r\n", refused},
		{"HTTP/3.7", strings.Replace(rawPost(fiveLong, "hello"), "HTTP/1.1", "HTTP/3.7", 1), refused},
		{"HTTP/2.0", strings.Replace(rawPost(fiveLong, "hello"), "HTTP/1.1", "HTTP/2.0", 1), refused},
		{"HTTP/1.10", strings.Replace(rawPost(fiveLong, "hello"), "HTTP/1.1", "HTTP/1.10", 1), refused},
		{"http/1.1", strings.Replace(rawPost(fiveLong, "hello"), "HTTP/1.1", "http/1.1", 1), refused},
		{"two spaces", strings.Replace(rawPost(fiveLong, "hello"), " HTTP/1.1", "  HTTP/1.1", 1), refused},
		{"a tab for a space", strings.Replace(rawPost(fiveLong, "hello"), " HTTP/1.1", "\tHTTP/1.1", 1), refused},
		{"space after the version", strings.Replace(rawPost(fiveLong, "hello"), "HTTP/1.1", "HTTP/1.1 ", 1), refused},
		{"method with a colon", "GE:T" + strings.TrimPrefix(rawPost(fiveLong, "hello"), "POST"), refused},
		{"a preface that is none", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", refused},
		{"absolute form and another Host", strings.Replace(rawPost(fiveLong, "hello"), "/x", "http://other.example/x", 1), "hello"},
		{"absolute form with a user", strings.Replace(rawPost(fiveLong, "hello"), "/x", "http://root@other.example/x", 1), refused},
		{"absolute form with a bad port", strings.Replace(rawPost(fiveLong, "hello"), "/x", "http://other.example:99999/x", 1), refused},
		{"two hosts", rawPost(fiveLong+"\r\nHost: other.example", "hello"), refused},
		{"two hosts, the same", rawPost(fiveLong+"\r\nHost: door.example", "hello"), refused},
		{"no host", "POST /x HTTP/1.1\r\n{key}\r\n" + fiveLong + "\r\n\r\nhello", refused},
		{"an alias of Host", rawPost(fiveLong+"\r\nHo_st: a\r\nHost_: other.example", "hello"), "hello"},

		// HTTP/1.0 knows no chunks: what comes behind is neither a body nor a request.
		{"HTTP/1.0 with TE", "POST /x HTTP/1.0\r\nHost: x\r\n{key}\r\n" + chunked + "\r\n\r\n" + smuggled, ""},
		{"HTTP/1.0 with TE, kept alive", "POST /x HTTP/1.0\r\nHost: x\r\n{key}\r\nConnection: keep-alive\r\n" + chunked + "\r\n\r\n" + smuggled, ""},
		{"HTTP/1.0 with TE and CL", "POST /x HTTP/1.0\r\nHost: x\r\n{key}\r\nConnection: keep-alive\r\n" + fiveLong + "\r\n" + chunked + "\r\n\r\nhello" + smuggled, "hello"},
	}
	for _, te := range []string{
		"xchunked", "chunkedx", "chunked, identity", "identity, chunked", "chunked, chunked", "gzip, chunked", "identity", "", ",chunked", "chunked,", "chunked;q=1",
		`"chunked"`, "'chunked'", "\x0bchunked", "\x0cchunked", "chunked\x0b", "chunked\x00", "\x00chunked", "\xa0chunked", "chun ked", "cow", "trailers",
	} {
		all = append(all, shape{fmt.Sprintf("TE %q", te), rawPost("Transfer-Encoding: "+te, hello), refused},
			shape{fmt.Sprintf("TE %q and CL", te), rawPost("Transfer-Encoding: "+te+"\r\n"+fiveLong, "hello"), refused})
	}
	for _, te := range []string{"CHUNKED", "Chunked", "  chunked \t", "\tchunked"} {
		all = append(all, shape{fmt.Sprintf("TE %q", te), rawPost("Transfer-Encoding:"+te, hello), "hello"})
	}
	for _, cl := range []string{
		"+5", "-5", "-1", "0x5", "5, 5", "5,5", "5 5", "5;", "5.0", "5e0", "0b101", "0o5", "1_0", "\x0b5", "5\x0c", "٥", "five", "99999999999999999999", "18446744073709551621", "9223372036854775808",
	} {
		all = append(all, shape{fmt.Sprintf("CL %q", cl), rawPost("Content-Length: "+cl, "hello"), refused})
	}
	for _, cl := range []string{"5", " 5 ", "\t5", "05", "0000000000005"} {
		all = append(all, shape{fmt.Sprintf("CL %q", cl), rawPost("Content-Length:"+cl, "hello"), "hello"})
	}
	long := strings.Repeat("extension", 1000)
	for name, c := range map[string]shape{
		"size in upper case":             {raw: "A\r\nhellohello\r\n0\r\n\r\n", body: "hellohello"},
		"size with zeros":                {raw: "0005\r\nhello\r\n000\r\n\r\n", body: "hello"},
		"size with a space behind":       {raw: "5 \r\nhello\r\n0\r\n\r\n", body: "hello"},
		"extension":                      {raw: "5;extension=x\r\nhello\r\n0;extension\r\n\r\n", body: "hello"},
		"extension that is junk":         {raw: "5;;\x01\x7f\xff extension = \"\r\nhello\r\n0\r\n\r\n", body: "hello"},
		"extension with a request":       {raw: "5;GET /smuggled HTTP/1.1 extension\r\nhello\r\n0\r\n\r\n", body: "hello"},
		"extension over-long":            {raw: "5;" + long + "\r\nhello\r\n0\r\n\r\n", body: refused},
		"extension with a bare CR":       {raw: "5;extension\rx\r\nhello\r\n0\r\n\r\n", body: refused},
		"extension with a bare LF":       {raw: "5;extension\nhello\r\n0\r\n\r\n", body: refused},
		"extensions on many chunks":      {raw: strings.Repeat("1;"+strings.Repeat("e", 1000)+"\r\nx\r\n", 1000) + "0\r\n\r\n", body: refused},
		"LF behind the size":             {raw: "5\nhello\r\n0\r\n\r\n", body: refused},
		"LF behind the data":             {raw: "5\r\nhello\n0\r\n\r\n", body: refused},
		"LF behind the last size":        {raw: "5\r\nhello\r\n0\n\r\n", body: refused},
		"CR behind the size":             {raw: "5\rhello\r\n0\r\n\r\n", body: refused},
		"size over-long":                 {raw: strings.Repeat("0", 5000) + "5\r\nhello\r\n0\r\n\r\n", body: refused},
		"size that overflows":            {raw: "10000000000000005\r\nhello\r\n0\r\n\r\n", body: refused},
		"size negative":                  {raw: "-5\r\nhello\r\n0\r\n\r\n", body: refused},
		"size with a plus":               {raw: "+5\r\nhello\r\n0\r\n\r\n", body: refused},
		"size with 0x":                   {raw: "0x5\r\nhello\r\n0\r\n\r\n", body: refused},
		"size empty":                     {raw: "\r\nhello\r\n0\r\n\r\n", body: refused},
		"size that is none":              {raw: "g\r\nhello\r\n0\r\n\r\n", body: refused},
		"size with a space before":       {raw: " 5\r\nhello\r\n0\r\n\r\n", body: refused},
		"data longer than its size":      {raw: "4\r\nhello\r\n0\r\n\r\n", body: refused},
		"data shorter than its size":     {raw: "6\r\nhello\r\n0\r\n\r\n", body: refused},
		"a trailer that frames":          {raw: "5\r\nhello\r\n0\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n", body: "hello"},
		"a trailer that says who":        {raw: "5\r\nhello\r\n0\r\nX-Auth-Role: superadmin\r\nX-API-Key: x\r\nHost: y\r\n\r\n", body: "hello"},
		"a trailer that is none":         {raw: "5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n", body: refused},
		"a trailer over-long":            {raw: "5\r\nhello\r\n0\r\nX: " + strings.Repeat("y", 1<<16) + "\r\n\r\n", body: refused},
		"a trailer with a space in name": {raw: "5\r\nhello\r\n0\r\nX Y: z\r\n\r\n", body: "hello"},
	} {
		all = append(all, shape{"chunks: " + name, rawPost(chunked, c.raw), c.body})
	}
	return all
}

// toTheEnd sends raw and reads until the door closes.
func (d *door) toTheEnd(t *testing.T, raw string) []byte {
	t.Helper()
	conn := d.dialDoor(t)
	go func() { _, _ = io.WriteString(conn, raw) }() // a part of it may meet a closed connection
	all, err := io.ReadAll(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection stays open after %.300q, answered %.300q", raw, all)
	}
	return all
}

var statusLine = regexp.MustCompile(`HTTP/1\.[01] (\d\d\d) `)

// TestHS1TwoReadersSeeOneRequest sends each shape with another request behind it. Either the door
// refuses and closes, or exactly one request reaches the service, framed anew.
func TestHS1TwoReadersSeeOneRequest(t *testing.T) {
	t.Parallel()
	clearAndTLS(t, func(t *testing.T, settings []string, trust func(*door) *door) {
		w := newWitness(t)
		d := trust(machineDoor(t, append(settings, "upstream="+w.URL, "limits.header_timeout=3s")...))
		all := shapes()
		answers := make([][]byte, len(all))
		var sent sync.WaitGroup
		for i, c := range all {
			sent.Go(func() {
				raw := strings.ReplaceAll(strings.ReplaceAll(c.raw, "{key}", machineKeyLine), "/x", fmt.Sprintf("/x/%d", i))
				answers[i] = d.toTheEnd(t, raw+strings.ReplaceAll(smuggled, "/smuggled", fmt.Sprintf("/smuggled/%d", i)))
			})
		}
		sent.Wait()
		d.stop()
		got := w.seen()
		if len(all) < 150 || len(got) < 20 {
			t.Fatalf("only %d shapes, %d requests", len(all), len(got))
		}
		for i, c := range all {
			t.Run(c.name, func(t *testing.T) {
				c.judge(t, answers[i], got, i)
			})
		}
	})
}

// judge looks at the answer to the i-th shape and at what the service got of it.
func (c shape) judge(t *testing.T, answer []byte, got [][]byte, i int) {
	t.Helper()
	var mine [][]byte
	for _, raw := range got {
		line, _, _ := bytes.Cut(raw, []byte("\r\n"))
		if bytes.Contains(line, fmt.Appendf(nil, "/smuggled/%d ", i)) {
			t.Errorf("the request behind is run: %q", raw)
		}
		if bytes.Contains(line, fmt.Appendf(nil, "/x/%d ", i)) {
			mine = append(mine, raw)
		}
	}
	statuses := statusLine.FindAllSubmatch(answer, -1)
	if len(statuses) > 1 || len(statuses) == 0 && c.body != cut {
		t.Errorf("answered %.500q", answer)
		return
	}
	if c.body == refused || c.body == cut {
		if len(statuses) == 1 && !slices.Contains([]string{"400", "408", "413", "431", "501", "505"}, string(statuses[0][1])) {
			t.Errorf("answered %.500q", answer)
		}
		for _, raw := range mine { // a request whose body went wrong on the way has no end
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			if err == nil {
				t.Errorf("the service got %.500q", raw)
			}
		}
		return
	}
	if string(statuses[0][1]) != "200" || len(mine) != 1 {
		t.Errorf("answered %.500q; the service got %q", answer, mine)
		return
	}
	framedByUs(t, mine[0], c.body)
}

// TestHS5WhatIsBehindARefusalIsNotRun: a refusal with a body unread is the last of its connection,
// unless the body's end was there; never is what follows run, nor the body itself.
func TestHS5WhatIsBehindARefusalIsNotRun(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	d := machineDoor(t, "upstream="+w.URL, "limits.body_bytes=64KiB")
	big := strings.Repeat(smuggled, 2000)
	var all sync.WaitGroup
	for name, c := range map[string]struct{ raw, status string }{
		"401, chunks that end wrong":      {"POST /x HTTP/1.1\r\nHost: x\r\n" + chunked + "\r\n\r\n5\r\nhello" + smuggled, "401"},
		"401, a length not all there":     {"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + smuggled, "401"},
		"401, a length far too large":     {"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n" + big, "401"},
		"401 at our door":                 {"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + smuggled, "401"},
		"413 at our door, by its length":  {"POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n" + smuggled, "413"},
		"413 at our door, in chunks":      {"POST /auth/refresh HTTP/1.1\r\nHost: x\r\n" + chunked + "\r\n\r\n" + fmt.Sprintf("%x\r\n%s", len(big)+1, big), "413"},
		"413 at our door, expecting 100":  {"POST /auth/refresh HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n" + smuggled, "413"},
		"413 at the service's, by length": {"POST /x HTTP/1.1\r\nHost: x\r\n" + machineKeyLine + "\r\nContent-Length: 65537\r\n\r\n" + smuggled, "413"},
		"413 at the service's, in chunks": {"POST /x HTTP/1.1\r\nHost: x\r\n" + machineKeyLine + "\r\n" + chunked + "\r\n\r\n" + fmt.Sprintf("%x\r\n%s", len(big)+1, big), "413"},
		"400, a body that is no JSON":     {"POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx" + smuggled, "400"},
		"400, chunks that are none":       {"POST /auth/refresh HTTP/1.1\r\nHost: x\r\n" + chunked + "\r\n\r\nx\r\n" + smuggled, "400"},
		"400, the path":                   {"POST /a%2fb HTTP/1.1\r\nHost: x\r\n" + machineKeyLine + "\r\nContent-Length: 1000\r\n\r\n" + smuggled, "400"},
		"405":                             {"TRACE /x HTTP/1.1\r\nHost: x\r\n" + machineKeyLine + "\r\nContent-Length: 1000\r\n\r\n" + smuggled, "405"},
	} {
		all.Go(func() {
			got := d.toTheEnd(t, c.raw)
			if s := statusLine.FindAllSubmatch(got, -1); len(s) != 1 || string(s[0][1]) != c.status {
				t.Errorf("%s: %.300q", name, got)
			}
		})
	}
	all.Wait()
	d.stop()
	for _, raw := range w.seen() {
		if !bytes.HasPrefix(raw, []byte("POST /x ")) { // the one that was found too large on its way
			t.Errorf("the service got %.300q", raw)
		}
		if r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw))); err == nil {
			if _, err = io.Copy(io.Discard, r.Body); err == nil {
				t.Errorf("the service got a whole %.300q", raw)
			}
		}
	}
}

// TestHS7AnUpgradeIsNoWayPast: neither h2c by Upgrade nor its preface on a connection of HTTP/1.1 is
// taken, and a WebSocket that the service does not want is an ordinary request.
func TestHS7AnUpgradeIsNoWayPast(t *testing.T) {
	t.Parallel()
	w := newWitness(t)
	d := machineDoor(t, "upstream="+w.URL)
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for name, c := range map[string]struct {
		raw      string
		statuses []string
	}{
		"h2c, then its preface": {"GET /x HTTP/1.1\r\nHost: x\r\n" + machineKeyLine + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + preface, []string{"200", "400"}},
		"h2c, nobody":           {"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + preface, []string{"401", "400"}},
		"the preface later":     {"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + preface, []string{"200", "400"}},
		"websocket, nobody":     {"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85GET /smuggled HTTP/1.1\r\n\r\n", []string{"401", "400"}},
		"websocket, ours":       {"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []string{"200", "401"}},
		"websocket, not wanted": {"GET /x HTTP/1.1\r\nHost: x\r\n" + machineKeyLine + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []string{"200", "401"}},
	} {
		got := d.toTheEnd(t, c.raw)
		var statuses []string
		for _, s := range statusLine.FindAllSubmatch(got, -1) {
			statuses = append(statuses, string(s[1]))
		}
		if !slices.Equal(statuses, c.statuses) {
			t.Errorf("%s: %v, want %v: %.600q", name, statuses, c.statuses, got)
		}
	}
	d.stop()
	for _, raw := range w.seen() {
		if low := bytes.ToLower(raw); !bytes.HasPrefix(raw, []byte("GET /x ")) || bytes.Contains(low, []byte("h2c")) || bytes.Contains(low, []byte("http2-settings")) {
			t.Errorf("the service got %.300q", raw)
		}
	}
}

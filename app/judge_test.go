package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"doorward/web"
)

// judge stands in front of a server under test and holds every answer that it gives at the
// JSON doors, whoever asks, against the OpenAPI document that the server itself serves. What
// it finds wrong fails the test when the server stops.
type judge struct {
	h     *house
	law   func() *law
	exact map[string]bool // paths that are ours, wherever they stand
	pages []lawOfDoor     // of those the ones for people, of which the document says nothing
	mu    sync.Mutex
	wrong []string
}

// judged puts a judge in front of a house.
func judged(h *house) *judge {
	j := &judge{h: h, exact: map[string]bool{}}
	for _, d := range doorsOf(h.settings) {
		j.exact[d.Pattern] = true
	}
	for _, d := range web.Doors(web.Config{Prefix: h.settings.PathPrefix}) {
		j.pages = append(j.pages, lawOfDoor{segments: strings.Split(d.Pattern, "/")})
	}
	j.law = sync.OnceValue(func() *law { return lawOf(record.servedBy(h, slices.Sorted(maps.Keys(j.exact)))) })
	return j
}

// report fails the test for what was found wrong.
func (j *judge) report(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, w := range j.wrong {
		if i == 5 {
			t.Errorf("and %d more", len(j.wrong)-i)
			break
		}
		t.Error(w)
	}
	j.wrong = nil
}

// ServeHTTP lets the house answer, and looks on.
func (j *judge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := path.Clean(r.URL.Path)
	if last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; p != "/" && (last == "" || last == "." || last == "..") {
		p += "/" // a last segment that is none, or is taken out (RFC 3986, section 5.2.4)
	}
	prefix := j.h.settings.PathPrefix
	ours := strings.HasPrefix(p, prefix+"/auth/") || strings.HasPrefix(p, prefix+"/api/auth/") || j.exact[p]
	// What follows the path at which proxies ask is theirs, dots and all.
	forward := j.h.settings.ForwardAuthProxy != "" && strings.HasPrefix(r.RequestURI, prefix+"/auth/forward")
	// Of a path with an encoded slash no part is ours by what it would be with a plain one.
	encoded := strings.Contains(strings.ToLower(r.URL.RawPath), "%2f")
	page := slices.ContainsFunc(j.pages, func(o lawOfDoor) bool { return o.leadsTo(p) })
	if !ours || page || forward || encoded {
		j.h.handler.ServeHTTP(w, r)
		return
	}
	seen := dialogue{method: r.Method, path: p, query: r.URL.Query(), sent: new(copied)}
	on := &onlooker{ResponseWriter: w}
	if r.ContentLength != 0 {
		// A copy: net/http knows by the body that it made itself how much of it may be left.
		r2 := new(http.Request)
		*r2 = *r
		r2.Body = &overheard{ReadCloser: r.Body, to: seen.sent}
		r = r2
	}
	j.h.handler.ServeHTTP(on, r) // what panics cuts the connection, and is no answer
	seen.status, seen.header, seen.body, seen.cut = on.status, w.Header(), on.body.Bytes(), on.cut
	if seen.status == 0 {
		seen.status = http.StatusOK
	}
	if err := j.law().judge(seen); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.wrong = append(j.wrong, seen.accusation(err))
	}
}

// judgingTransport holds the answers of programs that tests have started against the document
// in docs/, which is what they serve. What servers in this process say is judged there.
type judgingTransport struct{ *http.Transport }

// RoundTrip asks, and judges once the answer has been read.
func (j judgingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	seen := dialogue{method: r.Method, path: r.URL.Path, query: r.URL.Query(), sent: new(copied)}
	if !record.isProgram(r.URL.Host) || !committedLaw().has(seen.path) {
		return j.Transport.RoundTrip(r)
	}
	if r.Body != nil && r.Body != http.NoBody {
		r2 := *r
		r2.Body = &overheard{ReadCloser: r.Body, to: seen.sent}
		r = &r2
	}
	res, err := j.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body := new(copied)
	res.Body = &overheard{ReadCloser: res.Body, to: body, over: func() {
		seen.status, seen.header, seen.body = res.StatusCode, res.Header, body.all()
		if err := committedLaw().judge(seen); err != nil {
			record.accuse(seen.accusation(err))
		}
	}}
	return res, nil
}

// committedLaw is the document in docs/. A test holds it to be what is served by default.
var committedLaw = sync.OnceValue(func() *law {
	text, err := os.ReadFile(filepath.Join("..", "docs", "openapi.json"))
	if err != nil {
		panic(err)
	}
	return lawOf(string(text))
})

// mostSeen is the most bytes of a body that are looked at.
const mostSeen = 1 << 20

// onlooker remembers an answer. What else a writer can do is found through Unwrap.
type onlooker struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	cut    bool // body is not all of it
}

func (o *onlooker) WriteHeader(status int) {
	if o.status == 0 && status >= 200 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *onlooker) Write(b []byte) (int, error) {
	if o.cut = o.cut || o.body.Len()+len(b) > mostSeen; !o.cut {
		o.body.Write(b)
	}
	return o.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (o *onlooker) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// overheard is a body of which a copy is kept.
type overheard struct {
	io.ReadCloser
	to   *copied
	over func() // told once, when it has been read to its end; may be nil
}

// copied is what has been read of a body so far. An answer may be there, and judged, while its
// request is still being sent.
type copied struct {
	mu    sync.Mutex
	bytes []byte
}

func copyOf(s string) *copied { return &copied{bytes: []byte(s)} }

func (c *copied) add(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.bytes)+len(p) <= mostSeen {
		c.bytes = append(c.bytes, p...)
	}
}

func (c *copied) all() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	o.to.add(p[:n])
	if err == io.EOF && o.over != nil {
		o.over()
		o.over = nil
	}
	return n, err
}

// dialogue is a request and its answer.
type dialogue struct {
	method, path string
	query        url.Values
	sent         *copied
	status       int
	header       http.Header
	body         []byte
	cut          bool
}

func (x *dialogue) accusation(err error) string {
	return fmt.Sprintf("%s %s?%s: %d is not as the OpenAPI document says: %v\nsent: %.500s\nanswer: %.500s",
		x.method, x.path, x.query.Encode(), x.status, err, x.sent.all(), x.body)
}

// law is an OpenAPI document, compiled. It is safe for concurrent use.
type law struct {
	operations []lawOfDoor
	refusals   map[int]lawOfAnswer // of what is no door
}

type lawOfDoor struct {
	method, path string
	segments     []string
	takes        *jsonschema.Schema // nil: no body is read
	query        map[string]*jsonschema.Schema
	answers      map[int]lawOfAnswer
}

type lawOfAnswer struct {
	content map[string]*jsonschema.Schema // by media type
	headers map[string]lawOfHeader
}

type lawOfHeader struct {
	required bool
	is       *jsonschema.Schema
}

// record is what was judged in this run of all tests.
var record = records{documents: map[string]string{}, laws: map[string]*law{}, seen: map[sight]int{}, programs: map[string]bool{}}

type records struct {
	mu        sync.Mutex
	documents map[string]string // by the names that a server has
	laws      map[string]*law   // by document
	seen      map[sight]int
	programs  map[string]bool // addresses of programs that tests have started
	wrong     []string        // what they answered
}

// servedBy is the document that a house with these doors serves. It is asked for once of all
// houses of the same names.
func (r *records) servedBy(h *house, doors []string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := fmt.Sprintf("%q %q", h.settings.CookieName, doors)
	if _, known := r.documents[names]; !known {
		w := httptest.NewRecorder()
		// Of the gate, so that no counter of requests sees it.
		h.door.Carrying(nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost"+h.settings.PathPrefix+"/auth/openapi.json", nil))
		r.documents[names] = w.Body.String()
	}
	return r.documents[names]
}

// sight is an answer of one status at one door.
type sight struct {
	door   string
	status int
}

func (r *records) saw(door string, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[sight{door, status}]++
}

func (r *records) isProgram(addr string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.programs[addr]
}

func (r *records) program(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.programs[addr] = true
}

// ended is told that a program is no more: its address may be another's from now on.
func (r *records) ended(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.programs, addr)
}

func (r *records) accuse(wrong string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, wrong)
}

// verdict says what was judged, and fails a run of all tests in which some answer that the
// document promises for a request that is well was given by no door.
func (r *records) verdict(all bool) (summary string, failures []string) {
	law := committedLaw()
	r.mu.Lock()
	defer r.mu.Unlock()
	answers, doors := 0, map[string]bool{}
	for s, n := range r.seen {
		answers += n
		doors[s.door] = true
	}
	failures = slices.Clone(r.wrong)
	summary = fmt.Sprintf("%d answers of %d doors, of %d kinds, were held against the OpenAPI document", answers, len(doors), len(r.seen))
	if !all {
		return summary, failures
	}
	for _, o := range law.operations {
		for status := range o.answers {
			door := o.method + " " + o.path
			if status < 300 && r.seen[sight{door, status}] == 0 {
				failures = append(failures, fmt.Sprintf("no test was answered %d by %s, which the OpenAPI document promises", status, door))
			}
		}
	}
	return summary, failures
}

func lawOf(document string) *law {
	record.mu.Lock()
	defer record.mu.Unlock()
	l, ok := record.laws[document]
	if !ok {
		l = compileLaw(document)
		record.laws[document] = l
	}
	return l
}

// openAPIDocument is what compileLaw reads of a document.
type openAPIDocument struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Ref, Name, In string
		}
		RequestBody *struct{}
		Responses   map[string]openAPIResponse
	}
	Components struct {
		Responses map[string]openAPIResponse
		Headers   map[string]struct{ Required bool }
	}
}

type openAPIResponse struct {
	Ref     string `json:"$ref"`
	Headers map[string]struct {
		Ref string `json:"$ref"`
	}
	Content map[string]any
}

// compileLaw panics on a document that is none: there is no test then that could go on.
func compileLaw(document string) *law {
	var d openAPIDocument
	tree, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
	if err == nil {
		err = json.Unmarshal([]byte(document), &d)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	const at = "https://door.example/openapi.json"
	if err == nil {
		err = c.AddResource(at, tree)
	}
	if err != nil {
		panic(fmt.Errorf("the OpenAPI document: %w in %.500s", err, document))
	}
	compiled, escaped := map[string]*jsonschema.Schema{}, strings.NewReplacer("~", "~0", "/", "~1")
	compile := func(pointer ...string) *jsonschema.Schema {
		where := at + "#"
		for _, p := range pointer {
			where += "/" + url.PathEscape(escaped.Replace(p))
		}
		if compiled[where] == nil {
			compiled[where] = c.MustCompile(where)
		}
		return compiled[where]
	}
	answer := func(r openAPIResponse, pointer ...string) lawOfAnswer {
		if r.Ref != "" {
			name := path.Base(r.Ref)
			r, pointer = d.Components.Responses[name], []string{"components", "responses", name}
		}
		a := lawOfAnswer{content: map[string]*jsonschema.Schema{}, headers: map[string]lawOfHeader{}}
		for kind := range r.Content {
			a.content[kind] = compile(append(slices.Clone(pointer), "content", kind, "schema")...)
		}
		for name, h := range r.Headers {
			component := path.Base(h.Ref)
			a.headers[name] = lawOfHeader{d.Components.Headers[component].Required, compile("components", "headers", component, "schema")}
		}
		return a
	}
	l := &law{refusals: map[int]lawOfAnswer{}}
	for status, name := range map[int]string{400: "BadRequest", 404: "NotFound", 405: "MethodNotAllowed", 431: "RequestHeaderFieldsTooLarge"} {
		l.refusals[status] = answer(openAPIResponse{Ref: name})
	}
	for p, methods := range d.Paths {
		for method, o := range methods {
			door := lawOfDoor{
				method: strings.ToUpper(method), path: p, segments: strings.Split(p, "/"),
				query: map[string]*jsonschema.Schema{}, answers: map[int]lawOfAnswer{},
			}
			if o.RequestBody != nil {
				door.takes = compile("paths", p, method, "requestBody", "content", "application/json", "schema")
			}
			for i, q := range o.Parameters {
				if q.In == "query" {
					door.query[q.Name] = compile("paths", p, method, "parameters", strconv.Itoa(i), "schema")
				}
			}
			for status, r := range o.Responses {
				n, err := strconv.Atoi(status)
				if err != nil {
					panic(err)
				}
				door.answers[n] = answer(r, "paths", p, method, "responses", status)
			}
			l.operations = append(l.operations, door)
		}
	}
	return l
}

// leadsTo reports whether path is one of the door's.
func (o lawOfDoor) leadsTo(path string) bool {
	return slices.EqualFunc(o.segments, strings.Split(path, "/"), func(a, b string) bool {
		return a == b || strings.HasPrefix(a, "{") && b != ""
	})
}

// has reports whether path is one of the document's.
func (l *law) has(path string) bool {
	return slices.ContainsFunc(l.operations, func(o lawOfDoor) bool { return o.leadsTo(path) })
}

// judge says what is not as the document says.
func (l *law) judge(x dialogue) error {
	method := x.method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	i := slices.IndexFunc(l.operations, func(o lawOfDoor) bool { return o.method == method && o.leadsTo(x.path) })
	if i < 0 {
		is, ok := l.refusals[x.status]
		if !ok {
			return fmt.Errorf("there is no such door, and that is no answer to one that there is not")
		}
		record.saw("no door", x.status)
		return is.judge(x)
	}
	door := l.operations[i]
	is, ok := door.answers[x.status]
	if !ok {
		return fmt.Errorf("%s %s has no such status", door.method, door.path)
	}
	record.saw(door.method+" "+door.path, x.status)
	if err := is.judge(x); err != nil || x.status >= 300 {
		return err
	}
	if door.takes != nil {
		sent, err := jsonschema.UnmarshalJSON(bytes.NewReader(x.sent.all()))
		if err == nil {
			err = door.takes.Validate(sent)
		}
		if err != nil {
			return fmt.Errorf("the body should have been refused: %w", err)
		}
	}
	for name, values := range x.query {
		is, known := door.query[name]
		for _, v := range values {
			truth := (v == "true" || v == "false") && known && is.Validate(v == "true") == nil
			if known && v != "" && !truth && is.Validate(v) != nil && is.Validate(json.Number(v)) != nil {
				return fmt.Errorf("the parameter %s should have been refused: %w", name, is.Validate(v))
			}
		}
	}
	return nil
}

func (a lawOfAnswer) judge(x dialogue) error {
	for name, h := range a.headers {
		values := x.header.Values(name)
		if len(values) == 0 && h.required {
			return fmt.Errorf("the header %s is missing", name)
		}
		fits := func(v string) bool { return h.is.Validate(v) == nil || h.is.Validate(json.Number(v)) == nil }
		if len(values) > 0 && !slices.ContainsFunc(values, fits) { // of several cookies one is meant
			return fmt.Errorf("the header %s is %q", name, values)
		}
	}
	if len(a.content) == 0 {
		if len(x.body) > 0 || x.header.Get("Content-Type") != "" {
			return fmt.Errorf("it should have no body, and has %s", x.header.Get("Content-Type"))
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(x.header.Get("Content-Type"))
	is, ok := a.content[kind]
	if err != nil || !ok {
		return fmt.Errorf("its Content-Type is %q, not one of %v", x.header.Get("Content-Type"), slices.Sorted(maps.Keys(a.content)))
	}
	if kind != "application/json" || x.cut {
		return nil
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(x.body))
	if err != nil {
		return err
	}
	return is.Validate(body)
}

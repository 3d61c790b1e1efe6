package sample

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// identityHeaders are what the door tells about the caller, in the order shown. Nothing
// else of a request is ever shown: the rest may hold credentials.
var identityHeaders = [...]string{
	"X-Forwarded-User", "X-Auth-Subject", "X-Auth-Kind", "X-Auth-Role",
	"X-Auth-Organization", "X-Auth-Workspace", "X-Request-ID",
}

const whoamiStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}` +
	`th{text-align:left;padding-right:2rem;font-weight:600}td,pre{font-family:ui-monospace,monospace;overflow-wrap:anywhere}` +
	`pre{padding:.5rem .75rem;border:1px solid;white-space:pre-wrap}`

var (
	//go:embed whoami.html
	whoamiSource string
	whoamiPage   = template.Must(template.New("whoami").Parse(strings.Replace(whoamiSource, "STYLE", whoamiStyle, 1)))
	whoamiPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-" + styleHash() + "'"
)

func styleHash() string {
	sum := sha256.Sum256([]byte(whoamiStyle))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// whoami shows who the caller is by the headers that the door has set: a page for
// browsers, JSON for the rest.
func (s *Service) whoami(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Vary", "Accept")
	examples := exampleRequests(r)
	if !prefersHTML(r.Header.Values("Accept")) {
		identity := map[string]string{}
		for _, name := range identityHeaders {
			identity[name] = received(r, name)
		}
		s.write(w, http.StatusOK, struct {
			Service  string            `json:"service"`
			Identity map[string]string `json:"identity"`
			Examples []string          `json:"examples"`
		}{"Doorward's sample service", identity, examples})
		return nil
	}

	type header struct{ Name, Value string }
	var page struct {
		Identity       []header
		Examples       []string
		Setup, Account string // where the door's pages are; empty for no link
	}
	page.Examples = examples
	if s.pages != "" {
		switch received(r, "X-Auth-Kind") {
		case "anonymous":
			page.Setup = s.pages + "/setup"
		case "user":
			page.Account = s.pages + "/account"
		}
	}
	for _, name := range identityHeaders {
		page.Identity = append(page.Identity, header{name, received(r, name)})
	}
	var body bytes.Buffer
	if err := whoamiPage.Execute(&body, page); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", whoamiPolicy)
	_, _ = w.Write(body.Bytes())
	return nil
}

// received is a header as it came; more than one is shown, since the door sends one.
func received(r *http.Request, name string) string {
	return strings.ToValidUTF8(strings.Join(r.Header.Values(name), ", "), "\uFFFD")
}

// exampleRequests are what to try next, for a shell.
func exampleRequests(r *http.Request) []string {
	base := "http://"
	if r.Header.Get("X-Forwarded-Proto") == "https" {
		base = "https://"
	}
	if host := r.Host; host != "" && strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-:[]") == "" {
		base += host
	} else {
		base += "localhost:8080" // a host is pasted into a shell only if it means nothing to it
	}
	const auth = ` -H "Authorization: Bearer $TOKEN"`
	return []string{
		`curl -X POST ` + base + `/run` + auth + ` -d '{"prompt": "Hello"}'`,
		`curl ` + base + `/api/pipelines` + auth,
		`curl -X POST ` + base + `/api/pipelines` + auth + ` -d '{"name": "greetings", "steps": ["Hello", "Goodbye"]}'`,
		`curl -X POST ` + base + `/api/pipelines/$PIPELINE/run` + auth,
		`curl -N ` + base + `/api/pipelines/$PIPELINE/runs/$RUN/events` + auth,
	}
}

// prefersHTML reports whether a client would rather have text/html than JSON, by the
// weights in its Accept (RFC 9110, 12.5.1). One that does not mind gets JSON.
func prefersHTML(accept []string) bool {
	all := strings.Join(accept, ",")
	return weight(all, "text/html") > weight(all, "application/json")
}

// weight is what the most specific range in accept that covers a media type gives it.
func weight(accept, mediaType string) float64 {
	major, _, _ := strings.Cut(mediaType, "/")
	q, precision := 0.0, 0
	for element := range strings.SplitSeq(accept, ",") {
		rng, params, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		p := 0
		switch rng {
		case mediaType:
			p = 3
		case major + "/*":
			p = 2
		case "*/*":
			p = 1
		}
		if p <= precision {
			continue
		}
		precision, q = p, 1
		if v, given := params["q"]; given {
			q, _ = strconv.ParseFloat(v, 64)
		}
	}
	return q
}

package gate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"doorward"
)

// The proxies that can ask about a request which they carry themselves. What each asks
// with is in forwardForms.
const (
	ProxyNginx   = "nginx"
	ProxyCaddy   = "caddy"
	ProxyTraefik = "traefik"
	ProxyEnvoy   = "envoy"
)

// ForwardAuth lets a proxy ask whether a request may pass that it then carries itself. It
// asks at Prefix + /auth/forward, by any method, and is told 200, with the headers that the
// request must carry, or the refusal for the client. Its zero value is off.
type ForwardAuth struct {
	// Proxy is one of the constants above: who asks, and so which headers say what is asked
	// about. They are believed from Config.TrustedProxies alone, and no others are.
	Proxy string
	// Headers are those that an admitted request must carry in place of the client's, all of
	// them always; an empty one must not arrive. Required.
	Headers func(r *http.Request, p *Pass) http.Header
	// Forged names a header that no copying of Headers takes out of a request and that a
	// service may take for one of ours, or for another target than the judged; "" for none.
	// A request with one is refused. Required.
	Forged func(h http.Header) string
}

func (f *ForwardAuth) check(c *Config) error {
	switch {
	case f.Proxy == "":
		return nil
	case forwardForms[f.Proxy] == nil:
		return fmt.Errorf("gate: ForwardAuth.Proxy: %q is not one of nginx, caddy, traefik, envoy", f.Proxy)
	case f.Headers == nil || f.Forged == nil:
		return errors.New("gate: ForwardAuth.Headers and ForwardAuth.Forged are required")
	case len(c.TrustedProxies) == 0:
		return errors.New("gate: ForwardAuth needs TrustedProxies: nobody else is believed")
	}
	return nil
}

// original is what a proxy says of the request that it asks about.
type original struct{ method, host, uri string }

// forwardForms are how each proxy words its question. tail is what stands behind
// /auth/forward in the target of the question, as sent.
var forwardForms = map[string]func(r *http.Request, tail string) (original, error){
	// By our sample configuration: nginx itself says nothing. Its Host is the client's.
	ProxyNginx: func(r *http.Request, _ string) (o original, err error) {
		o.host = r.Host
		err = cmp.Or(said(r, "X-Original-Method", &o.method), said(r, "X-Original-URI", &o.uri))
		return o, err
	},
	ProxyCaddy:   forwardedForm,
	ProxyTraefik: forwardedForm,
	// Envoy asks with the method and the Host of the request, and with its path behind ours.
	ProxyEnvoy: func(r *http.Request, tail string) (original, error) {
		return original{r.Method, r.Host, tail}, nil
	},
}

func forwardedForm(r *http.Request, _ string) (o original, err error) {
	err = cmp.Or(said(r, "X-Forwarded-Method", &o.method), said(r, "X-Forwarded-Host", &o.host), said(r, "X-Forwarded-Uri", &o.uri))
	return o, err
}

// said reads a header that a proxy writes, once: where it stands twice the proxy has added to
// what a client wrote.
func said(r *http.Request, name string, to *string) error {
	switch values := r.Header[http.CanonicalHeaderKey(name)]; len(values) {
	case 0:
		return doorward.Invalid(name, "must be given by the proxy")
	case 1:
		*to = values[0]
		return nil
	}
	return doorward.Invalid(name, "must not be given twice")
}

// asksForward reports whether a request is a proxy's question, and what stands in its
// target behind /auth/forward. The target is read as sent: no proxy writes it in another way,
// and what follows is for the client's path to be judged as it is.
func (g *Gate) asksForward(r *http.Request) (tail string, asks bool) {
	if g.Forward.Proxy == "" {
		return "", false
	}
	tail, asks = strings.CutPrefix(r.RequestURI, g.forwardPath)
	return tail, asks && (tail == "" || tail[0] == '/' || tail[0] == '?')
}

// The rules that decide about a proxy's question, as the log calls them.
const (
	ruleAsker   = "forward auth is for trusted_proxies"
	ruleAsked   = "what a proxy must say to forward auth"
	ruleForged  = "headers that only the door may send on"
	ruleOneForm = "a proxy forwards a path as it came, so it must come in its one form"
)

// forward answers a proxy's question: the same judgement as openService's, on the request
// that the proxy has, whose body stays there.
func (g *Gate) forward(w http.ResponseWriter, r *http.Request, p *Pass, tail string) {
	if g.Forward.Proxy == ProxyNginx {
		a := &nginxAnswer{ResponseWriter: w}
		defer a.end()
		w = a
	}
	limitUnread(w, r)
	asked, err := g.original(r, p, tail)
	if err == nil {
		err = g.judgeForward(&asked, p)
	}
	switch {
	case errors.Is(err, errNotOneForm) && navigates(asked) && (asked.Method == http.MethodGet || asked.Method == http.MethodHead):
		g.sendToOneForm(w, asked, p)
	case err != nil:
		g.clearDead(w, p, err)
		g.refuse(w, asked, p, err)
	default:
		limitAnswer(w, g.BodyTimeout)
		h := w.Header()
		maps.Copy(h, g.Forward.Headers(asked, p))
		h.Set("Cache-Control", "no-store") // it is about this request alone
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
	}
}

// original makes the request that the proxy asks about. With an error it returns r, for the log.
func (g *Gate) original(r *http.Request, p *Pass, tail string) (*http.Request, error) {
	p.rule = ruleAsker
	if !g.trusted(p.Peer) {
		return r, doorward.ErrForbidden
	}
	p.rule = ruleForm
	if err := g.checkForm(r); err != nil {
		return r, err
	}
	p.rule = ruleAsked
	o, err := forwardForms[g.Forward.Proxy](r, tail)
	if err != nil {
		return r, err
	}
	if !isToken(o.method) {
		return r, doorward.Invalid("method", "must be a word")
	}
	// What a proxy may say in absolute form names a host of its own, and there is one too many then.
	if !strings.HasPrefix(o.uri, "/") || strings.ContainsFunc(o.uri, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return r, badPath("must begin with / and hold neither white space nor control characters")
	}
	u, err := url.ParseRequestURI(o.uri) // as net/http reads a target
	if err != nil {
		return r, badPath("is malformed")
	}
	if o.host == "" {
		return r, doorward.Invalid("Host", "must be given")
	}
	asked := new(http.Request)
	*asked = *r
	asked.Method, asked.Host, asked.URL, asked.RequestURI = o.method, o.host, u, o.uri
	asked.Proto, asked.ProtoMajor, asked.ProtoMinor = "HTTP/1.1", 1, 1 // of the client nothing is known
	asked.Body, asked.ContentLength, asked.TransferEncoding, asked.Trailer = http.NoBody, 0, nil, nil
	asked.Header = maps.Clone(r.Header)
	for _, name := range [...]string{"X-Original-Method", "X-Original-Uri", "X-Forwarded-Method", "X-Forwarded-Uri"} {
		delete(asked.Header, name)
	}
	// Upgrade is for one connection, and some proxies leave it out of their question. These
	// are not, and no browser opens a WebSocket without them (RFC 6455, section 4.1).
	if len(asked.Header["Sec-Websocket-Key"]) > 0 || len(asked.Header["Sec-Websocket-Version"]) > 0 {
		asked.Header["Upgrade"] = []string{"websocket"}
	}
	p.Host, p.Path = o.host, u.Path
	return asked, nil
}

var errNotOneForm = badPath("must be in its one form: without dot segments, double slashes, and escapes of what needs none or in lower case")

// judgeForward decides about the request that a proxy asks about. It changes what it is
// given to the canonical form of it.
func (g *Gate) judgeForward(asked **http.Request, p *Pass) error {
	p.rule = ruleForged
	if name := g.Forward.Forged((*asked).Header); name != "" {
		return doorward.Invalid(name, "must not be sent by clients; the proxy should take it out before it asks")
	}
	p.rule = ruleForm
	sent, _, _ := strings.Cut((*asked).RequestURI, "?")
	r, err := g.scope(*asked, p)
	if err != nil {
		return err
	}
	*asked = r
	p.rule = "our own paths"
	if _, _, ours, err := g.policy.find(r, p.form); err != nil {
		return err
	} else if ours {
		return doorward.NotFound("page") // it is answered here and never reaches a service
	}
	if err := g.admit(r, p); err != nil {
		return err
	}
	if p.rule == ruleOpen {
		return doorward.ErrCrossOrigin // what comes by a proxy was not made on this machine
	}
	if sent != p.form.escaped {
		p.rule = ruleOneForm
		return errNotOneForm
	}
	return g.lend(r, p)
}

// sendToOneForm sends a browser whose request may pass to the same page under the target that was judged.
func (g *Gate) sendToOneForm(w http.ResponseWriter, r *http.Request, p *Pass) {
	limitAnswer(w, g.BodyTimeout)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	// A canonical path has one slash at its beginning, so this is a target on the same site.
	h.Set("Location", (&url.URL{Path: p.Path, RawPath: p.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}).String())
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// nginxAnswer says in nginx's words what the door has decided: its auth_request knows 2xx,
// 401 and 403, and makes a 500 of anything else. The status and the body that are meant are headers, of
// which our sample configuration makes the answer for the client. It writes nothing before end.
type nginxAnswer struct {
	http.ResponseWriter
	status int
	body   []byte
}

// carriesJSON reports whether what is written to w goes on in a header, as JSON: no page can.
func carriesJSON(w http.ResponseWriter) bool {
	_, nginx := w.(*nginxAnswer)
	return nginx
}

func (a *nginxAnswer) WriteHeader(status int) { a.status = status }

func (a *nginxAnswer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}

// Unwrap is for http.ResponseController.
func (a *nginxAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *nginxAnswer) end() {
	status := a.status
	switch {
	case status == http.StatusOK, status == http.StatusUnauthorized:
	case status == http.StatusSeeOther, status == http.StatusTemporaryRedirect:
		status = http.StatusUnauthorized
	default: // 0, should a handler have panicked
		status = http.StatusForbidden
	}
	h := a.Header()
	// Its variable for a header of the answer holds one line of it. A refusal takes a cookie away
	// under two names of the host at most.
	if lines := h["Set-Cookie"]; len(lines) == 2 {
		h["X-Doorward-Set-Cookie"], h["Set-Cookie"] = lines[:1], lines[1:]
	}
	h.Set("X-Doorward-Status", strconv.Itoa(a.status))
	if body := strings.TrimSpace(string(a.body)); body != "" {
		h.Set("X-Doorward-Body", body) // JSON, in which every control character is escaped
	}
	a.ResponseWriter.WriteHeader(status)
	_, _ = a.ResponseWriter.Write(a.body)
}

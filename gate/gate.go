package gate

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"doorward"
)

// Config is what a Gate is made of. Authority and Carry are required.
type Config struct {
	Authority *doorward.Authority
	Doors     []Door
	Prefix    string // before /auth/ and /api/auth/; empty for none
	// Carry takes an admitted request on to the service behind.
	Carry func(w http.ResponseWriter, r *http.Request, p *Pass)

	CookieName     string   // brokoli_session when empty
	PublicURL      *url.URL // nil when not given
	TrustedOrigins []string // scheme://host[:port]; may act on a cookie
	TrustedProxies []netip.Prefix
	// Disabled opens the service behind to all as anonymous; our own doors still ask.
	Disabled bool

	MaxHeaders  int           // header lines of a request; 0 is 200
	BodyTimeout time.Duration // for a body that a door reads to arrive, and for its answer to be taken; 0 is 20 seconds
	MaxUpload   int64         // bytes of a body that goes to the service; 0 is no limit

	Log     *slog.Logger
	Refused func(status int, message string) // told of every refusal, for the metrics
}

// Gate is the door. Make one with New; it is an http.Handler and safe for concurrent use.
type Gate struct {
	Config
	doors      *doorTable
	origins    *http.CrossOriginProtection
	secure     bool   // PublicURL says https
	publicHost string // of PublicURL
}

// New checks c and makes the gate.
func New(c Config) (*Gate, error) {
	if c.Authority == nil {
		return nil, fmt.Errorf("gate: Config.Authority is required")
	}
	if c.Carry == nil {
		return nil, errNoService
	}
	if c.CookieName == "" {
		c.CookieName = "brokoli_session"
	}
	c.MaxHeaders, c.BodyTimeout = cmp.Or(c.MaxHeaders, 200), cmp.Or(c.BodyTimeout, 20*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Refused == nil {
		c.Refused = func(int, string) {}
	}
	doors, err := newDoorTable(c.Doors, c.Prefix)
	if err != nil {
		return nil, err
	}
	g := &Gate{Config: c, doors: doors, origins: http.NewCrossOriginProtection()}
	if c.PublicURL != nil {
		g.secure, g.publicHost = c.PublicURL.Scheme == "https", c.PublicURL.Host
		// Our own origin as browsers know it, whatever Host the proxy in between puts.
		g.TrustedOrigins = append(slices.Clone(c.TrustedOrigins), c.PublicURL.Scheme+"://"+c.PublicURL.Host)
	}
	for _, o := range g.TrustedOrigins {
		if err := g.origins.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("trusted_origins: %w", err)
		}
	}
	return g, nil
}

// Pass is what the gate has found out about one request and decided. Handlers read it;
// nobody changes it after the decision.
type Pass struct {
	Identity  doorward.Identity
	RequestID string
	Client    netip.Addr // judged behind trusted proxies
	Peer      netip.Addr // the other end of the connection
	Forwarded []string   // what is believed of X-Forwarded-For: from Client on; nil when Client is Peer
	Secure    bool       // the client speaks HTTPS
	Host      string     // the name that the client asked for
	Path      string     // canonical, decoded: what was judged
	RawPath   string     // canonical, escaped: what is forwarded; empty when url.URL writes Path so by itself
	// StripAuthorization says that the Authorization header was ours to read and must not reach the service.
	StripAuthorization bool

	rule  string // which rule decided, for the log
	shown doorward.Source
}

// Proto is how the client speaks: http or https.
func (p *Pass) Proto() string {
	if p.Secure {
		return "https"
	}
	return "http"
}

// Caller is who asks, for the verbs.
func (p *Pass) Caller(r *http.Request) doorward.Caller {
	agent := r.UserAgent()
	if len(agent) > 256 {
		agent = agent[:256]
	}
	return doorward.Caller{
		Identity: p.Identity, Address: p.Client, RequestID: p.RequestID,
		UserAgent: strings.ToValidUTF8(agent, "?"),
	}
}

type passKey struct{}

// PassOf returns what the gate found out about the request of ctx, inside Carry and its like.
func PassOf(ctx context.Context) (*Pass, bool) {
	p, ok := ctx.Value(passKey{}).(*Pass)
	return p, ok
}

// ServeHTTP is the path of a request.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o := g.judgeOrigin(r)
	p := &Pass{RequestID: newRequestID(), Client: o.client, Peer: o.peer, Forwarded: o.forwarded, Secure: o.secure, Host: o.host, Path: r.URL.Path}
	w.Header().Set("X-Request-Id", p.RequestID)
	closeOld(w, r)
	p.rule = "the form of a request"
	r, err := g.scope(r, p)
	if err != nil {
		g.refuse(w, r, p, err)
		return
	}
	p.rule = "our own paths"
	d, allow, ours, err := g.doors.find(r, p.Path)
	if err != nil {
		if allow != "" {
			w.Header().Set("Allow", allow)
		}
		g.refuse(w, r, p, err)
		return
	}
	if ours {
		w.Header().Set("Cache-Control", "no-store")
		r = g.limitBody(w, r)
		err = g.openDoor(w, r, p, d)
	} else {
		err = g.openService(w, r, p)
	}
	if err != nil {
		if p.shown == doorward.FromCookie && doorward.IsDead(err) {
			SetCookie(w, p, g.CookieName, "", -1)
		}
		g.refuse(w, r, p, err)
	}
}

// maxCookies is far above what a browser keeps for a site (180), and below what makes
// libraries behind the door read none at all.
const maxCookies = 1000

// scope brings the request into the form in which everything behind sees it.
func (g *Gate) scope(r *http.Request, p *Pass) (*http.Request, error) {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		return r, errMethod
	}
	if err := g.checkForm(r); err != nil {
		return r, err
	}
	for _, line := range r.Header["Cookie"] {
		if strings.Count(line, ";") >= maxCookies {
			return r, doorward.Invalid("Cookie", "must not hold more than %d", maxCookies)
		}
	}
	escaped, decoded, err := canonicalPath(r)
	if err != nil {
		return r, err
	}
	p.Path = decoded
	if (&url.URL{Path: decoded}).EscapedPath() != escaped {
		p.RawPath = escaped // url.URL alone would write it in another way
	}
	if r.URL.Path == decoded && r.URL.RawPath == "" && p.RawPath == "" {
		return r, nil
	}
	r2 := new(http.Request)
	*r2 = *r
	r2.URL = new(url.URL)
	*r2.URL = *r.URL
	r2.URL.Path, r2.URL.RawPath = decoded, p.RawPath
	return r2, nil
}

// openDoor judges a request to one of our own doors and lets it be answered.
func (g *Gate) openDoor(w http.ResponseWriter, r *http.Request, p *Pass, d *Door) error {
	p.rule = "door " + d.Method + " " + d.Pattern
	if err := checkQuery(r); err != nil {
		return err
	}
	reads, need, sameOrigin := d.Reads, d.Need, d.SameOrigin
	// Asked before the mode: if a first user is made in between, the mode is the newer
	// fact, and nobody is told to set up what has just been set up.
	if d.NoCredential != nil {
		free, err := d.NoCredential(r)
		if err != nil {
			return err
		}
		if free {
			reads, need, sameOrigin = ReadsNothing, doorward.NeedNothing, true
		}
	}
	mode, err := g.Authority.Mode(r.Context())
	if err != nil && (need != doorward.NeedNothing || d.NoCredential != nil) {
		return err
	}
	if mode == doorward.ModeOpen {
		if err := g.openRequest(r); err != nil {
			return err
		}
	}
	if reads == ReadsItself {
		_, machine, err := g.presented(r, ReadsHeaders)
		if err != nil {
			return err
		}
		sameOrigin = sameOrigin && !machine
	}
	if sameOrigin {
		if err := g.sameOrigin(r); err != nil {
			return err
		}
	}
	if mode == doorward.ModeSetup && need != doorward.NeedNothing {
		return doorward.ErrSetupRequired
	}
	if err := g.identify(r, p, reads); err != nil {
		return err
	}
	if err := need.Admit(p.Identity); err != nil {
		return err
	}
	if p.Identity.MustChange && !d.MustChange {
		return doorward.ErrPasswordChangeRequired
	}
	return d.Handle(w, r, p)
}

// openService judges a request to the service behind and carries it there.
func (g *Gate) openService(w http.ResponseWriter, r *http.Request, p *Pass) error {
	if err := g.admit(r, p); err != nil {
		return err
	}
	return g.carry(w, r, p)
}

// admit is the decision about the service behind, the same in every placement.
func (g *Gate) admit(r *http.Request, p *Pass) error {
	for _, a := range r.Header["Authorization"] {
		if _, ours := bearer(a); ours {
			p.StripAuthorization = true
		}
	}
	if g.Disabled {
		p.Identity, p.rule = doorward.Anonymous, "auth.enabled=false"
		return nil
	}
	need := defaultNeed(r.Method)
	p.rule = "default: " + r.Method + " needs " + need.String()
	mode, err := g.Authority.Mode(r.Context())
	switch {
	case err != nil:
		return err
	case mode == doorward.ModeOpen:
		p.Identity, p.rule = doorward.Anonymous, "open mode"
		return g.openRequest(r)
	case mode == doorward.ModeSetup:
		p.rule = "closed until set up"
		return doorward.ErrSetupRequired
	}
	if err := g.identify(r, p, ReadsAll); err != nil {
		return err
	}
	if err := need.Admit(p.Identity); err != nil {
		return err
	}
	if p.Identity.MustChange {
		return doorward.ErrPasswordChangeRequired
	}
	return nil
}

// identify finds out who the request comes from. Nobody is a zero identity and no error;
// a credential that is present and bad is an error, whatever else is there.
func (g *Gate) identify(r *http.Request, p *Pass, reads Reads) error {
	shown, present, err := g.presented(r, reads)
	if err != nil || !present {
		return err
	}
	p.shown = shown.Via
	id, err := g.Authority.Authenticate(r.Context(), shown)
	if err != nil {
		return err
	}
	if shown.Via == doorward.FromCookie {
		if err := g.socketOrigin(r); err != nil {
			return err
		}
		if err := g.sameOrigin(r); err != nil {
			return err
		}
	}
	asked, err := single(r, "X-Workspace-Id")
	if err != nil {
		return err
	}
	if id.Workspace, err = id.PickWorkspace(asked); err != nil {
		p.Identity, p.rule = id, "X-Workspace-ID needs membership" // for the log
		return err
	}
	p.Identity = id
	return nil
}

// single reads a header that a client chooses with and that must not be given twice.
func single(r *http.Request, name string) (string, error) {
	values := r.Header[name]
	if len(values) > 1 {
		return "", doorward.Invalid(name, "must not be given twice")
	}
	if len(values) == 0 {
		return "", nil
	}
	return values[0], nil
}

// newRequestID makes the id by which an answer and its log lines find each other. It is
// ours alone: one that a client sends is never used, so no client can write into the log.
func newRequestID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

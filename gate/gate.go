package gate

import (
	"cmp"
	"errors"
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

// The documented defaults.
const (
	DefaultCookieName  = "brokoli_session"
	DefaultMaxHeaders  = 200
	DefaultHSTS        = "max-age=31536000" // a year; for who makes a Config, since an empty one says nothing
	DefaultBodyTimeout = 20 * time.Second
)

// Config is what a Gate is made of. Authority is required.
type Config struct {
	Authority *doorward.Authority
	Rules
	// Carry takes an admitted request on to the service behind. Where it is nil there is none,
	// but for what Carrying is given.
	Carry func(w http.ResponseWriter, r *http.Request, p *Pass)
	// ForwardBearer puts into Pass.Bearer an access token that stands for the caller.
	ForwardBearer bool
	// SignInPage is where a browser is sent that must sign in; empty for nowhere.
	SignInPage string
	// PasswordPage is where one is sent whose user must choose a password first; empty for nowhere.
	PasswordPage string
	// Forbidden answers a browser whose user may not see a page of the service; nil for JSON, as for programs.
	Forbidden func(http.ResponseWriter, *http.Request, *Pass, *doorward.Error)
	// SetupPage is where a browser is sent while nobody is set up and the service is closed;
	// empty for nowhere.
	SetupPage string

	CookieName string // DefaultCookieName when empty
	// CookieDomain makes one sign-in, at PublicURL, count for all hosts beneath it; empty for
	// cookies of one host. RedirectAllow are hosts there, as RedirectHost has them, to which a browser may be sent back, besides
	// those that Routes and Upstreams name.
	CookieDomain  string
	RedirectAllow []string

	PublicURL      *url.URL // nil when not given
	TrustedOrigins []string // scheme://host[:port]; may act on a cookie
	TrustedProxies []netip.Prefix

	MaxHeaders  int           // header lines of a request; 0 is DefaultMaxHeaders
	BodyTimeout time.Duration // for a body that a door reads to arrive, and for its answer to be taken; 0 is DefaultBodyTimeout
	MaxUpload   int64         // bytes of a body that goes to the service; 0 is no limit

	// HSTS is the Strict-Transport-Security of answers to who came by HTTPS, such as
	// max-age=31536000; empty for none.
	HSTS string

	// Forward answers proxies that carry requests themselves.
	Forward ForwardAuth

	Log     *slog.Logger
	Refused func(status int, message string) // told of every refusal, for the metrics

	Running *Running // is told how the door stands, and its Refusals what it refuses; nil for one of the gate's own
}

// Gate is the door. Make one with New; it is an http.Handler and safe for concurrent use.
type Gate struct {
	Config
	policy     *Policy
	ids        requestIDs
	streams    streams
	hosts      *Hosts  // nil where each host has its own sign-in
	toUs       trusted // see trusts
	toOthers   trusted
	secure     bool     // PublicURL says https
	publicHost string   // of PublicURL
	self       string   // its origin
	strict     []string // HSTS, if any

	forwardPath string // where proxies ask
}

// New checks c and makes the gate.
func New(c Config) (*Gate, error) {
	if c.Authority == nil {
		return nil, fmt.Errorf("gate: Config.Authority is required")
	}
	c.CookieName = cmp.Or(c.CookieName, DefaultCookieName)
	c.MaxHeaders, c.BodyTimeout = cmp.Or(c.MaxHeaders, DefaultMaxHeaders), cmp.Or(c.BodyTimeout, DefaultBodyTimeout)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Refused == nil {
		c.Refused = func(int, string) {}
	}
	policy, err := NewPolicy(c.Rules)
	if err != nil {
		return nil, err
	}
	if err := c.Forward.check(&c); err != nil {
		return nil, err
	}
	g := &Gate{Config: c, policy: policy, forwardPath: c.Prefix + "/auth/forward"}
	if c.HSTS != "" {
		g.strict = []string{c.HSTS}
	}
	if g.hosts, err = NewHosts(HostsConfig{c.PublicURL, c.CookieDomain, c.RedirectAllow, c.Rules.Hosts()}); err != nil {
		return nil, err
	}
	if g.toOthers, err = trust(c.TrustedOrigins); err != nil {
		return nil, err
	}
	g.toUs = g.toOthers
	if c.PublicURL != nil {
		g.secure, g.publicHost = c.PublicURL.Scheme == "https", c.PublicURL.Host
		g.self = c.PublicURL.Scheme + "://" + c.PublicURL.Host
		g.toUs, err = trust(append(slices.Clone(c.TrustedOrigins), g.self))
	}
	if err != nil {
		return nil, err
	}
	if c.Running == nil {
		g.Running = new(Running)
	}
	g.Running.stand(policy, c.Authority)
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
	// KeepAPIKey says that X-API-Key is none of ours, on a route that is public: it goes on.
	KeepAPIKey bool
	// Upstream is the index in Rules.Upstreams of the one that the request goes to; 0 without any.
	Upstream int
	// Bearer is the access token to say to the service who asks; empty for nobody, and
	// where Config.ForwardBearer is off.
	Bearer string
	// Shown is the credential that decided; zero when none did.
	Shown doorward.Presented

	form  form
	carry func(http.ResponseWriter, *http.Request, *Pass)
	door  *Door  // nil for the service behind
	self  string // public_url's origin; empty when it was not given
	ruled ruling // what a route asks, where rule does not say it
	rule  string // which rule decided, for the log
	idAs  [1]string
	hosts *Hosts // the gate's
	stood *Running

	stream stream // while it is carried
}

// decided says which rule decided, for the log and for explain.
func (p *Pass) decided(method string) string {
	if p.rule != "" || p.ruled.need.IsZero() {
		return p.rule
	}
	return p.ruled.text(method)
}

// Proto is how the client speaks: http or https.
func (p *Pass) Proto() string {
	if p.Secure {
		return "https"
	}
	return "http"
}

// Origin is the scheme and host that links to this server begin with: what the operator has
// said (public_url), else how the client reached it. Of our own doors only.
func (p *Pass) Origin() string {
	if p.self != "" {
		return p.self
	}
	return p.Proto() + "://" + p.Host
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

// Running is the door that the request came to, as it stands in this process.
func (p *Pass) Running() *Running { return p.stood }

// ServeHTTP is the path of a request. What is admitted to the service behind goes to Config.Carry.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.serve(w, r, g.Carry) }

// Carrying is the same gate before another service: what is admitted goes to carry. There may
// be any number of them; EndStreams ends the requests of all.
func (g *Gate) Carrying(carry func(w http.ResponseWriter, r *http.Request, p *Pass)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, carry) })
}

func (g *Gate) serve(w http.ResponseWriter, r *http.Request, carry func(http.ResponseWriter, *http.Request, *Pass)) {
	o := g.judgeOrigin(r)
	p := &Pass{
		carry: carry, RequestID: g.ids.next(), Client: o.client, Peer: o.peer, Forwarded: o.forwarded, Secure: o.secure, Host: o.host, Path: r.URL.Path,
		hosts: g.hosts, stood: g.Running,
	}
	p.idAs[0] = p.RequestID
	w.Header()["X-Request-Id"] = p.idAs[:]
	closeOld(w, r)
	r, answered := watchClosing(w, r)
	defer answered()
	if tail, asks := g.asksForward(r); asks {
		g.forward(w, r, p, tail)
		return
	}
	g.strictTransport(w, p)
	p.rule = ruleForm
	r, err := g.scope(r, p)
	if err != nil {
		if err == errMethod {
			w.Header().Set("Allow", g.policy.allows(r))
		}
		g.refuse(w, r, p, err)
		return
	}
	p.rule = "our own paths"
	d, allow, ours, err := g.policy.find(r, p.form)
	if err != nil {
		if allow != "" {
			w.Header().Set("Allow", allow)
		}
		g.refuse(w, r, p, err)
		return
	}
	if ours {
		w.Header().Set("Cache-Control", "no-store")
		w, r = g.limitBody(w, r)
		err = g.openDoor(w, r, p, d)
	} else {
		err = g.openService(w, r, p)
	}
	if err != nil {
		g.clearDead(w, p, err)
		g.refuse(w, r, p, err)
	}
}

// clearDead takes a cookie away that is good for nothing any more. Two that differ are, where
// we can tell whose they are: one is this host's, from before the sign-in was shared, and
// without this they would be refused for as long as they last.
func (g *Gate) clearDead(w http.ResponseWriter, p *Pass, err error) {
	if p.Shown.Via == doorward.FromCookie && doorward.IsDead(err) ||
		p.hosts.cookieDomain(p.Host) != "" && errors.As(err, new(twoCookies)) {
		SetCookie(w, p, g.CookieName, "", -1)
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
	f, err := canonicalPath(r)
	if err != nil {
		return r, err
	}
	p.form, p.Path = f, f.decoded
	if !f.unreserved && (&url.URL{Path: f.decoded}).EscapedPath() != f.escaped {
		p.RawPath = f.escaped // url.URL alone would write it in another way
	}
	if r.URL.Path == f.decoded && r.URL.RawPath == "" && p.RawPath == "" {
		return r, nil
	}
	r2 := new(http.Request)
	*r2 = *r
	r2.URL = new(url.URL)
	*r2.URL = *r.URL
	r2.URL.Path, r2.URL.RawPath = f.decoded, p.RawPath
	return r2, nil
}

// openDoor judges a request to one of our own doors and lets it be answered.
func (g *Gate) openDoor(w http.ResponseWriter, r *http.Request, p *Pass, d *Door) error {
	p.rule, p.door, p.self = d.name, d, g.self
	if err := checkBody(r); err != nil {
		return err
	}
	if err := checkQuery(r, d); err != nil {
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
	if reads == ReadsItself || reads == ReadsBearerItself {
		_, machine, err := g.presented(r, ReadsHeaders)
		if err != nil {
			return err
		}
		sameOrigin = sameOrigin && !machine
	}
	if sameOrigin {
		if err := g.sameOrigin(r, p.Host); err != nil {
			return err
		}
	}
	if d.Form {
		if err := g.fromOurPage(r, p.Host); err != nil {
			return err
		}
	}
	if mode == doorward.ModeSetup && need != doorward.NeedNothing {
		return doorward.ErrSetupRequired
	}
	if err := g.identified(r, p, reads); err != nil {
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
	var err error
	if p.Upstream, err = g.policy.upstream(r.Method, canonicalHost(p.Host), p.form); err != nil {
		return err
	}
	if p.carry == nil {
		return errNoService
	}
	if err := g.lend(r, p); err != nil {
		return err
	}
	if r.TLS == nil {
		delete(w.Header(), strictTransport)
	}
	return g.carry(w, r, p)
}

// lend finds the access token that stands for the caller before the service, where it is to get one.
func (g *Gate) lend(r *http.Request, p *Pass) (err error) {
	if g.ForwardBearer && p.Shown.Via != 0 {
		p.Bearer, err = g.Authority.Forward(r.Context(), p.Caller(r), p.Shown)
	}
	return err
}

// The rules that are no route's, as the log and explain call them.
const (
	ruleForm      = "the form of a request"
	ruleDisabled  = "auth.enabled=false"
	ruleOpen      = "open mode"
	ruleSetup     = "closed until set up"
	rulePreflight = "a preflight that its route lets through"
)

// admit is the decision about the service behind, the same in every placement.
func (g *Gate) admit(r *http.Request, p *Pass) error {
	for _, a := range r.Header["Authorization"] {
		if _, ours := bearer(a); ours {
			p.StripAuthorization = true
		}
	}
	var err error
	p.rule = ""
	if p.ruled, err = g.policy.judgeHosts(r.Method, canonicalHost(p.Host), canonicalHost(r.Host), p.form); err != nil {
		p.rule = ruleForm
		return err
	}
	if r.Host == "" {
		p.rule = ruleForm
		return errNoHost
	}
	if g.Disabled {
		p.Identity, p.rule = doorward.Anonymous, ruleDisabled
		return nil
	}
	mode, err := g.Authority.Mode(r.Context())
	switch {
	case err != nil:
		return err
	case mode == doorward.ModeOpen:
		p.Identity, p.rule = doorward.Anonymous, ruleOpen
		return g.openRequest(r)
	case mode == doorward.ModeSetup:
		p.rule = ruleSetup
		return doorward.ErrSetupRequired
	case p.ruled.public():
		return g.welcome(r, p)
	case isPreflight(r) && g.policy.preflight(r, canonicalHost(p.Host), p.form):
		p.Identity, p.rule, p.StripAuthorization = doorward.Anonymous, rulePreflight, true
		return nil
	}
	if err := g.identified(r, p, ReadsAll); err != nil {
		return err
	}
	if err := p.ruled.need.Admit(p.Identity); err != nil {
		return err
	}
	if p.Identity.MustChange {
		return doorward.ErrPasswordChangeRequired
	}
	return nil
}

// welcome lets a request to a public route in. A good credential of ours tells who it is
// and stays here; whatever is none of ours goes on as it is, the caller being nobody. So is
// who may not act where the request asks to.
//
// What we have signed and that is not good any more stays here too, in whatever place it
// stands, nor does anything go on of which it cannot be read whether it is good: a service that knows the secret
// would take it for good.
func (g *Gate) welcome(r *http.Request, p *Pass) error {
	p.Identity = doorward.Anonymous
	p.StripAuthorization = slices.ContainsFunc(r.Header["Authorization"], func(v string) bool { return g.holdsOurs(r, v) })
	keys := r.Header["X-Api-Key"]
	p.KeepAPIKey = len(keys) > 0 && !slices.ContainsFunc(keys, func(v string) bool { return g.holdsOurs(r, v) })
	somebody := Pass{Host: p.Host, Secure: p.Secure}
	if err := g.identify(r, &somebody, ReadsAll); err != nil || somebody.Identity.IsZero() || somebody.Identity.MustChange {
		return nil
	}
	p.Identity, p.Shown = somebody.Identity, somebody.Shown
	return nil
}

// holdsOurs reports whether a header's value holds what is, or may be, a credential of ours,
// read as loosely as any service would: the words of it, whatever the scheme.
func (g *Gate) holdsOurs(r *http.Request, value string) bool {
	words := 0
	for word := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ' ' || c == '\t' || c == ',' || c == ';' || c == '"' }) {
		if words++; words > maxWords {
			return true // nobody's credential is so long a list
		}
		if g.Authority.Recognizes(word) {
			return true
		}
		_, err := g.Authority.Authenticate(r.Context(), doorward.Presented{Via: doorward.FromKeyHeader, Value: word})
		if err == nil || !errors.Is(err, doorward.ErrInvalidToken) {
			return true
		}
	}
	return false
}

// maxWords is how many words of a header's value are looked at for a credential of ours.
const maxWords = 16

// identified is identify where an unknown secret is somebody's guess at one: everywhere
// but on public routes, where what is none of ours may be the service's.
func (g *Gate) identified(r *http.Request, p *Pass, reads Reads) error {
	err := g.identify(r, p, reads)
	if err == nil {
		return nil
	}
	return g.Authority.CountGuess(p.Client, p.Shown, err)
}

// identify finds out who the request comes from. Nobody is a zero identity and no error;
// a credential that is present and bad is an error, whatever else is there.
func (g *Gate) identify(r *http.Request, p *Pass, reads Reads) error {
	shown, present, err := g.presented(r, reads)
	if err != nil || !present {
		return err
	}
	p.Shown = shown
	id, err := g.Authority.Authenticate(r.Context(), shown)
	if err != nil {
		return err
	}
	if shown.Via == doorward.FromCookie {
		if err := g.socketOrigin(r, p.Host); err != nil {
			return err
		}
		if err := g.sameOrigin(r, p.Host); err != nil {
			return err
		}
	}
	var asked doorward.Asked
	if asked.Org, err = single(r, "X-Organization-Id"); err != nil {
		return err
	}
	if asked.Workspace, err = single(r, "X-Workspace-Id"); err != nil {
		return err
	}
	return p.enter(id, asked, g.Authority.Places())
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

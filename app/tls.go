package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// TLS is how this server speaks HTTPS itself, and what browsers are told about HTTPS.
type TLS struct {
	Cert, Key      string // paths of PEM files; both empty where it does not
	MinVersion     uint16 // tls.VersionTLS12 or tls.VersionTLS13
	HSTS           string // a value of Strict-Transport-Security (RFC 6797); empty for none
	RedirectListen string // host:port of plain HTTP that leads to HTTPS; empty for none
}

// on reports whether this server speaks HTTPS itself.
func (t *TLS) on() bool { return t.Cert != "" && t.Key != "" }

func (t *TLS) rows() []setting {
	return []setting{
		{key: "tls.cert", unset: "plain HTTP", metavar: "FILE",
			help: "PEM file of the certificate to serve HTTPS with, its own first, then its issuers'; taken anew when it changes",
			set:  text(&t.Cert, pemFile)},
		{key: "tls.key", unset: "none", metavar: "FILE",
			help: "PEM file of the certificate's private key; taken anew when it changes",
			set:  text(&t.Key, pemFile)},
		{key: "tls.min_version", fallback: "1.2", metavar: "1.2|1.3",
			help: "oldest version of TLS that is spoken",
			set:  text(&t.MinVersion, tlsVersion)},
		{key: "tls.redirect_listen", unset: "none", metavar: "HOST:PORT",
			help: "address of plain HTTP that leads browsers to HTTPS and does nothing else",
			set:  text(&t.RedirectListen, hostPortOrNothing)},
		{key: "tls.hsts", fallback: "365d", metavar: "DURATION|off",
			help: "how long browsers that came by HTTPS use nothing else (Strict-Transport-Security); 0 takes it back, off says nothing",
			set:  text(&t.HSTS, strictTransport)},
	}
}

// pemFile reads the name of a PEM file. It never repeats what it was given: a mistaken
// value may be the private key itself.
func pemFile(s string) (string, error) {
	switch {
	case s == "":
		return "", nil
	case strings.Contains(s, "-----BEGIN"):
		return "", errors.New("is PEM; write that to a file and give the file's name")
	case strings.ContainsAny(s, "\x00\n\r"):
		return "", errors.New("is not the name of a file")
	}
	return filepath.Clean(s), nil
}

func tlsVersion(s string) (uint16, error) {
	word, err := oneOf("1.2", "1.3")(s)
	return map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[word], err
}

// strictTransport makes the header's value of a duration (RFC 6797, section 6.1). Of what
// lies below our own host nothing is said: that is not ours to decide.
func strictTransport(s string) (string, error) {
	if s == "off" {
		return "", nil
	}
	d, err := duration(s)
	if err != nil {
		return "", fmt.Errorf("%w; or off", err)
	}
	if d > 0 && d < time.Second {
		return "", fmt.Errorf("%s is less than a second; 0 takes it back, off says nothing", shown(s))
	}
	return fmt.Sprintf("max-age=%d", d/time.Second), nil
}

// scheme is how clients speak to what this server listens on.
func (s *Settings) scheme() string {
	if s.TLS.on() {
		return "https"
	}
	return "http"
}

// checkTLS refuses settings of TLS that mean nothing without others, or take their place.
func (l *loaded) checkTLS() {
	switch {
	case l.refused["tls.cert"] || l.refused["tls.key"]:
		return
	case l.TLS.Cert != "" && l.TLS.Key == "":
		l.conflict("tls.cert", "needs tls.key, the file of its private key")
	case l.TLS.Cert == "" && l.TLS.Key != "":
		l.conflict("tls.key", "needs tls.cert, the file of its certificate")
	}
	if l.TLS.RedirectListen == "" || l.refused["tls.redirect_listen"] {
		return
	}
	switch {
	case l.TLS.Cert == "" && l.TLS.Key == "":
		l.conflict("tls.redirect_listen", "leads to HTTPS, which needs tls.cert and tls.key; where a proxy speaks it, let the proxy redirect")
	case overlap(l.Listen, l.TLS.RedirectListen):
		l.conflict("tls.redirect_listen", "%s is taken by %s", l.TLS.RedirectListen, l.where("listen"))
	case l.MetricsListen != "" && overlap(l.MetricsListen, l.TLS.RedirectListen):
		l.conflict("tls.redirect_listen", "%s is taken by %s", l.TLS.RedirectListen, l.where("metrics.listen"))
	}
}

// inClear reports whether people sign in over plain HTTP from other machines, as far as
// the settings tell: nothing says that a proxy of ours, or this server, speaks HTTPS.
func (s *Settings) inClear() bool {
	switch {
	case s.TLS.on(), s.PublicURL != nil && s.PublicURL.Scheme == "https":
		return false
	case s.publicInClear():
		return true
	}
	return !onLoopback(s.Listen) && len(s.TrustedProxies) == 0
}

// publicInClear reports whether browsers on other machines are said to come by plain HTTP.
func (s *Settings) publicInClear() bool {
	return s.PublicURL != nil && s.PublicURL.Scheme == "http" && !local(s.PublicURL.Hostname())
}

// front is a server and what it listens on.
type front struct {
	*http.Server
	listener net.Listener
	secure   bool // over TLS
}

// serve serves until the server is shut down or the listener breaks.
func (f front) serve() error {
	if f.secure {
		return f.ServeTLS(f.listener, "", "") // the certificate is in its TLSConfig
	}
	return f.Serve(f.listener)
}

// entrance is where clients come in: over TLS where there is a certificate, else in clear. Their
// connections are counted before anything of TLS is spoken, and a handshake must be over in
// the time that a head may take.
func (h *house) entrance(l net.Listener) front {
	server := newServer(h.handler, h.settings.Limits, h.log)
	if h.certificate == nil {
		return front{server, h.guarded(l), false}
	}
	// Which protocol it is says the handshake (ALPN, RFC 7301); without that it is HTTP/1.1.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	server.Protocols = protocols
	server.TLSConfig = &tls.Config{
		MinVersion:     h.settings.TLS.MinVersion, // said, so that no GODEBUG lowers it
		GetCertificate: h.certificate.get,
	}
	return front{server, h.guarded(l), true}
}

// openCertificate reads the certificate to serve with, if there is one.
func (h *house) openCertificate() error {
	t := h.settings.TLS
	if !t.on() {
		return nil
	}
	var err error
	if h.certificate, err = openCertificate(t.Cert, t.Key, h.now, h.log); err != nil {
		return err
	}
	h.warnings = append(h.warnings, certificateWarnings(h.settings, h.now())...)
	return nil
}

// cannotSpeakTLS says why the certificate of the settings cannot be served with; nil where
// there is none.
func cannotSpeakTLS(s Settings) error {
	if !s.TLS.on() {
		return nil
	}
	_, err := readPair(s.TLS.Cert, s.TLS.Key).parse()
	return err
}

// certificateWarnings are what is allowed about the certificate of the settings and may not
// be meant; none where it cannot be served with at all.
func certificateWarnings(s Settings, now time.Time) []string {
	if !s.TLS.on() {
		return nil
	}
	p, err := readPair(s.TLS.Cert, s.TLS.Key).parse()
	if err != nil {
		return nil
	}
	warnings := p.notes
	if w := p.ends(now); w != "" {
		warnings = append(warnings, w)
	}
	if s.PublicURL != nil && p.Leaf.VerifyHostname(s.PublicURL.Hostname()) != nil {
		warnings = append(warnings, fmt.Sprintf("tls.cert: is for %s, and public_url is %s: browsers refuse it there", p.names(), s.PublicURL.Hostname()))
	}
	return warnings
}

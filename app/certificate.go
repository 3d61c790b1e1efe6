package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// certificate is what TLS is served with, kept as its two files are. It is never without
// one: files that cannot be used leave the one from before. look and follow are for one
// goroutine, everything else is safe for concurrent use.
type certificate struct {
	cert, key string // paths
	now       func() time.Time
	log       *slog.Logger
	current   atomic.Pointer[pair]
	stuck     atomic.Bool // the files have changed and cannot be used

	seen   pairFiles // at the last look
	judged pairFiles // the last that were judged, whether or not they were taken
	said   string    // what was last said of the certificate's end
}

// lookEvery is how often the files are read. They are read, not asked for their time: two
// versions of one length may be written within one tick of a file system's clock, and the
// files that a link leads to be changed for older ones.
const lookEvery = 500 * time.Millisecond

// openCertificate reads the files for the first time.
func openCertificate(cert, key string, now func() time.Time, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, now: now, log: log}
	c.seen = readPair(cert, key)
	c.judged = c.seen
	p, err := c.seen.parse()
	if err != nil {
		return nil, err
	}
	c.current.Store(p)
	c.said = p.ends(now())
	return c, nil
}

// get is for tls.Config: each handshake takes what is there at that moment.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &c.pair().Certificate, nil
}

func (c *certificate) pair() *pair { return c.current.Load() }

// follow looks at the files until ctx ends; of no certificate there is nothing to see.
func (c *certificate) follow(ctx context.Context) {
	if c == nil {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.look()
		}
	}
}

// look takes what the files hold if that is new, good, and what they held at the look
// before. Who replaces two files, or writes one from its beginning to its end, is between
// two states for a moment, in which a chain may be short of its end and look whole.
func (c *certificate) look() {
	found := readPair(c.cert, c.key)
	settled := found == c.seen
	c.seen = found
	if settled && found != c.judged {
		c.judged = found
		c.take(found)
	}
	if ends := c.pair().ends(c.now()); ends != c.said {
		if c.said = ends; ends != "" {
			c.log.Warn(ends)
		}
	}
}

func (c *certificate) take(found pairFiles) {
	p, err := found.parse()
	c.stuck.Store(err != nil)
	if err != nil {
		c.log.Warn("the certificate's files have changed and cannot be used, so the one from before goes on until they can", "err", err)
		return
	}
	c.current.Store(p)
	c.log.Info("new connections get the certificate that its files hold now", p.attrs()...)
	for _, note := range p.notes {
		c.log.Warn(note)
	}
}

// pairFiles are the contents of the two files, or why they cannot be read. They are
// comparable.
type pairFiles struct {
	cert, key       string
	certErr, keyErr string
	open            bool // everybody on the machine may read the key
}

const maxPEM = 1 << 20

func readPair(cert, key string) (f pairFiles) {
	f.cert, f.certErr, _ = readPEM("tls.cert", cert)
	f.key, f.keyErr, f.open = readPEM("tls.key", key)
	return f
}

func readPEM(setting, path string) (content, problem string, open bool) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return "", fmt.Sprintf("%s: %s is not a regular file; name the PEM file itself", setting, path), false
	}
	var b []byte
	if err == nil {
		b, err = readFile(path, maxPEM)
	}
	if err != nil {
		return "", fmt.Sprintf("%s: cannot read %s: %v; name a PEM file that this user may read", setting, path, reason(err)), false
	}
	return string(b), "", openToAll(info)
}

// pair is a certificate, its issuers, and its private key.
type pair struct {
	tls.Certificate
	notes []string // what is allowed about it and may not be meant
}

// parse makes a pair of what the files hold. Its errors hold none of it.
func (f pairFiles) parse() (*pair, error) {
	if f.certErr != "" {
		return nil, errors.New(f.certErr)
	}
	if f.keyErr != "" {
		return nil, errors.New(f.keyErr)
	}
	chain, err := pemBlocks("tls.cert", f.cert, func(b *pem.Block) bool { return b.Type == "CERTIFICATE" })
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, errors.New("tls.cert: holds no certificate in PEM, which begins -----BEGIN CERTIFICATE-----")
	}
	keys, err := pemBlocks("tls.key", f.key, func(b *pem.Block) bool { return strings.HasSuffix(b.Type, "PRIVATE KEY") })
	switch {
	case err != nil:
		return nil, err
	case len(keys) != 1:
		return nil, fmt.Errorf("tls.key: must hold one private key in PEM, which begins -----BEGIN PRIVATE KEY-----; it holds %d", len(keys))
	case keys[0].Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(keys[0].Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errors.New("tls.key: is encrypted, and nobody is there to type its passphrase at a start; write it decrypted, for this user alone, with: openssl pkey -in FILE -out NEWFILE")
	}
	return newPair(chain, keys[0], f.open)
}

func newPair(chain []*pem.Block, key *pem.Block, open bool) (*pair, error) {
	p, keyPEM := new(pair), pem.EncodeToMemory(key)
	for i, block := range chain {
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("tls.cert: certificate %d is damaged", i+1)
		}
	}
	var err error
	if p.Certificate, err = tls.X509KeyPair(encode(chain), keyPEM); err != nil {
		for i := range chain {
			if _, err := tls.X509KeyPair(pem.EncodeToMemory(chain[i]), keyPEM); err == nil {
				return nil, fmt.Errorf("tls.cert: the certificate of tls.key is number %d in it; it must be the first, and each one after it the issuer of the one before", i+1)
			}
		}
		why := strings.TrimPrefix(err.Error(), "tls: ")
		if strings.Contains(why, "match") {
			return nil, fmt.Errorf("tls.cert and tls.key do not belong together (%s); give the key that the certificate was made for", why)
		}
		return nil, fmt.Errorf("tls.key: cannot be used (%s); keys are RSA, ECDSA or Ed25519, made with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", why)
	}
	leaf := p.Leaf
	switch public := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < 2048 {
			return nil, fmt.Errorf("tls.key: is RSA of %d bits, which clients refuse; make one of 2048 or more, or with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", public.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P224() {
			return nil, errors.New("tls.key: is on the curve P-224, which clients refuse; make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256")
		}
	case ed25519.PublicKey:
		p.notes = append(p.notes, "tls.key: is Ed25519, which browsers refuse in certificates; ECDSA P-256 is spoken by all")
	}
	if open {
		p.notes = append(p.notes, "tls.key: "+isOpenToAll)
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		p.notes = append(p.notes, "tls.cert: names no host (subject alternative names), so clients refuse it for every one")
	}
	if n := p.outOfOrder(); n > 0 {
		p.notes = append(p.notes, fmt.Sprintf("tls.cert: certificate %d is not the issuer of the one before it, so some clients may not find the way to a root that they trust", n+1))
	}
	return p, nil
}

// outOfOrder returns the index of the first certificate that did not issue the one before
// it (RFC 5246, section 7.4.2); 0 where each did.
func (p *pair) outOfOrder() int {
	below := p.Leaf
	for i, der := range p.Certificate.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil || !bytes.Equal(below.RawIssuer, issuer.RawSubject) {
			return i + 1
		}
		below = issuer
	}
	return 0
}

// pemBlocks returns the blocks that are wanted, others being left out. A block that cannot be read is an
// error: encoding/pem alone would skip it, and a chain that was cut would be a shorter one.
func pemBlocks(setting, text string, wanted func(*pem.Block) bool) (all []*pem.Block, err error) {
	n := 0
	for rest := []byte(text); ; n++ {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if wanted(b) {
			all = append(all, b)
		}
	}
	if n != strings.Count(text, "-----BEGIN ") {
		return nil, fmt.Errorf("%s: a part of it is cut or damaged; write it again, whole", setting)
	}
	return all, nil
}

func encode(blocks []*pem.Block) (text []byte) {
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(b)...)
	}
	return text
}

// soon is how long before its end a certificate is warned of: two weeks, or the last fifth
// of its life if that is less. Those who renew by themselves have long done so.
func (p *pair) soon() time.Duration {
	return min(14*24*time.Hour, p.Leaf.NotAfter.Sub(p.Leaf.NotBefore)/5)
}

// ends says that the certificate is not good, or will soon not be; empty while it is.
func (p *pair) ends(now time.Time) string {
	from, until := p.Leaf.NotBefore, p.Leaf.NotAfter
	switch {
	case now.Before(from):
		return "tls.cert: the certificate is not good before " + from.UTC().Format(time.RFC3339) + ", and clients refuse it until then"
	case now.After(until):
		return "tls.cert: the certificate has expired at " + until.UTC().Format(time.RFC3339) + ", and clients refuse it; renew it, which needs no restart"
	case until.Sub(now) < p.soon():
		return "tls.cert: the certificate expires at " + until.UTC().Format(time.RFC3339) + "; renew it, which needs no restart"
	}
	return ""
}

// names are the hosts that the certificate is for, for people.
func (p *pair) names() string {
	all := slices.Clone(p.Leaf.DNSNames)
	for _, ip := range p.Leaf.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no host"
	}
	return strings.Join(all, ", ")
}

// name is a host that the certificate is for; empty where it names none by itself.
func (p *pair) name() string {
	for _, n := range p.Leaf.DNSNames {
		if !strings.HasPrefix(n, "*") {
			return n
		}
	}
	return ""
}

func (p *pair) attrs() []any {
	return []any{"names", p.names(), "serial", fmt.Sprintf("%x", p.Leaf.SerialNumber), "until", p.Leaf.NotAfter.UTC().Format(time.RFC3339)}
}

// covers reports whether the certificate is for host.
func (c *certificate) covers(host string) bool { return c.pair().Leaf.VerifyHostname(host) == nil }

// warnings are for the health answer, which anybody may read; of no certificate there are none.
func (c *certificate) warnings() (all []string) {
	if c == nil {
		return nil
	}
	if w := c.pair().ends(c.now()); w != "" {
		all = append(all, w)
	}
	if c.stuck.Load() {
		all = append(all, "tls.cert: its files have changed and cannot be used, so the certificate from before goes on; the log says why")
	}
	return all
}

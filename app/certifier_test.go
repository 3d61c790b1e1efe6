package app

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// certifier is who issues certificates in tests, through one between it and them.
type certifier struct {
	roots       *x509.CertPool
	between     *x509.Certificate
	betweenKey  crypto.Signer
	betweenText string // PEM
	serial      atomic.Int64
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate; with no issuer, one that is signed by itself.
func sign(t testing.TB, template, issuer *x509.Certificate, key crypto.Signer, by crypto.Signer) *x509.Certificate {
	t.Helper()
	if issuer == nil {
		issuer, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func certPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newCertifier(t testing.TB) *certifier {
	t.Helper()
	rootKey, a := newKey(t), &certifier{roots: x509.NewCertPool(), betweenKey: newKey(t)}
	template := func(n int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * 24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	root := sign(t, template(1, "root"), nil, rootKey, nil)
	a.between = sign(t, template(2, "between"), root, a.betweenKey, rootKey)
	a.betweenText = certPEM(a.between)
	a.roots.AddCert(root)
	a.serial.Store(100)
	return a
}

// issued is a certificate with its key, as PEM.
type issued struct {
	serial     *big.Int
	cert       *x509.Certificate
	chain, key string
}

// issue makes a certificate for loopback and door.example; change may be nil.
func (a *certifier) issue(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) issued {
	t.Helper()
	if key == nil {
		key = newKey(t)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial.Add(1)), Subject: pkix.Name{CommonName: "door"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		DNSNames: []string{"door.example", "*.door.example", "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	cert := sign(t, template, a.between, key, a.betweenKey)
	return issued{cert.SerialNumber, cert, certPEM(cert) + a.betweenText, keyPEM(t, key)}
}

// in writes the pair to a new directory and returns its two paths.
func (i issued) in(t testing.TB) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put(t, cert, i.chain)
	put(t, key, i.key)
	return cert, key
}

// put writes a file in place, as editors and cp do.
func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// overTLS are settings with which a door speaks HTTPS.
func (a *certifier) overTLS(t testing.TB) []string {
	t.Helper()
	cert, key := a.issue(t, nil, nil).in(t)
	return []string{"tls.cert=" + cert, "tls.key=" + key}
}

// trusts lets the clients of a door that speaks HTTPS trust whom a has certified.
func (a *certifier) trusts(d *door) *door {
	d.roots = a.roots
	return d
}

// trusting is how a client of the door speaks TLS; protocols are offered by ALPN.
func (d *door) trusting(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: d.roots, ServerName: "door.example", NextProtos: protocols}
}

// secureDoor is gatewayDoor over TLS.
func secureDoor(t *testing.T, settings ...string) (*door, *echoService) {
	t.Helper()
	a := newCertifier(t)
	d, e := gatewayDoor(t, append(a.overTLS(t), settings...)...)
	return a.trusts(d), e
}

// clearAndTLS runs a test in clear and over TLS; the settings make the difference, and trust is for the door made with them.
func clearAndTLS(t *testing.T, test func(t *testing.T, settings []string, trust func(*door) *door)) {
	t.Helper()
	t.Run("in clear", func(t *testing.T) { test(t, nil, func(d *door) *door { return d }) })
	t.Run("over TLS", func(t *testing.T) {
		a := newCertifier(t)
		test(t, a.overTLS(t), a.trusts)
	})
}

package app

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// presents makes a new connection to the door, and returns the serial number of the
// certificate that it gets, which must be one that its clients accept.
func (d *door) presents() (*big.Int, error) {
	_, address, _ := strings.Cut(d.URL, "://")
	conn, err := tls.Dial("tcp", address, d.trusting())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber, nil
}

// waitFor waits until a new connection gets the certificate.
func (d *door) waitFor(t *testing.T, want issued) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		got, err := d.presents()
		if err != nil {
			t.Fatal(err)
		}
		if got.Cmp(want.serial) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still %v, want %v\n%s", got, want.serial, d.log)
		}
	}
}

// TestACertificateIsReplacedUnderLoad in each way in which certificates are replaced, while 64 clients make
// connection after connection: none fails, none gets the old one after somebody got the new one, and a
// connection from before goes on.
func TestACertificateIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	move := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, to, name string) {
		t.Helper()
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	version := func(t *testing.T, dir, name string, i issued) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name, "cert.pem"), i.chain)
		put(t, filepath.Join(dir, name, "key.pem"), i.key)
	}
	for name, way := range map[string]struct {
		begin   func(t *testing.T, dir string, first issued)
		replace func(t *testing.T, dir string, next issued)
	}{
		"by rename": {
			func(t *testing.T, dir string, first issued) {
				put(t, filepath.Join(dir, "cert.pem"), first.chain)
				put(t, filepath.Join(dir, "key.pem"), first.key)
			},
			func(t *testing.T, dir string, next issued) {
				put(t, filepath.Join(dir, "new"), next.chain)
				move(t, filepath.Join(dir, "new"), filepath.Join(dir, "cert.pem"))
				put(t, filepath.Join(dir, "new"), next.key)
				move(t, filepath.Join(dir, "new"), filepath.Join(dir, "key.pem"))
			},
		},
		"in place": {
			func(t *testing.T, dir string, first issued) {
				put(t, filepath.Join(dir, "cert.pem"), first.chain)
				put(t, filepath.Join(dir, "key.pem"), first.key)
			},
			func(t *testing.T, dir string, next issued) {
				put(t, filepath.Join(dir, "key.pem"), next.key)
				put(t, filepath.Join(dir, "cert.pem"), next.chain[:100])
				put(t, filepath.Join(dir, "cert.pem"), next.chain)
			},
		},
		"by a link, as Kubernetes does": {
			func(t *testing.T, dir string, first issued) {
				version(t, dir, "..1", first)
				link(t, "..1", filepath.Join(dir, "..data"))
				link(t, "..data/cert.pem", filepath.Join(dir, "cert.pem"))
				link(t, "..data/key.pem", filepath.Join(dir, "key.pem"))
			},
			func(t *testing.T, dir string, next issued) {
				version(t, dir, "..2", next)
				link(t, "..2", filepath.Join(dir, "..data_tmp"))
				move(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
				if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
					t.Fatal(err)
				}
			},
		},
		"by links to files, as certbot does": {
			func(t *testing.T, dir string, first issued) {
				version(t, dir, "1", first)
				link(t, "1/cert.pem", filepath.Join(dir, "cert.pem"))
				link(t, "1/key.pem", filepath.Join(dir, "key.pem"))
			},
			func(t *testing.T, dir string, next issued) {
				version(t, dir, "2", next)
				for _, file := range []string{"cert.pem", "key.pem"} {
					if err := os.Remove(filepath.Join(dir, file)); err != nil {
						t.Fatal(err)
					}
					link(t, "2/"+file, filepath.Join(dir, file))
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, dir := newCertifier(t), t.TempDir()
			before := a.issue(t, nil, nil)
			way.begin(t, dir, before)
			d := a.trusts(machineDoor(t, "tls.cert="+filepath.Join(dir, "cert.pem"), "tls.key="+filepath.Join(dir, "key.pem")))

			kept := &http.Client{Transport: &http.Transport{TLSClientConfig: d.trusting()}}
			t.Cleanup(kept.CloseIdleConnections)
			serialOf := func() *big.Int {
				res, err := kept.Get(d.URL + "/health/live")
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				_, _ = io.Copy(io.Discard, res.Body)
				if res.StatusCode != http.StatusOK {
					t.Errorf("%s", res.Status)
				}
				return res.TLS.PeerCertificates[0].SerialNumber
			}
			serialOf()

			var clients sync.WaitGroup
			seen, over := make(chan struct{}), make(chan struct{})
			next := a.issue(t, nil, nil)
			for range 64 {
				clients.Go(func() {
					for {
						late := false
						select {
						case <-seen:
							late = true // from here on the old one is too old
						default:
						}
						got, err := d.presents()
						if err != nil {
							t.Errorf("a client is turned away: %v", err)
							return
						}
						if late && got.Cmp(next.serial) != 0 {
							t.Errorf("a new connection gets %v after another got %v", got, next.serial)
						}
						if late {
							return
						}
						select {
						case <-over:
							return
						default:
						}
					}
				})
			}
			way.replace(t, dir, next)
			func() {
				defer close(over) // whatever happens
				d.waitFor(t, next)
				close(seen)
				clients.Wait()
			}()
			if got := serialOf(); got.Cmp(before.serial) != 0 {
				t.Errorf("the connection from before is another: it has %v", got)
			}
		})
	}
}

// watched is a certificate in a directory of its own, looked at when the test says so.
type watched struct {
	*certificate
	log *logBuffer
	at  time.Time
}

func newWatched(t *testing.T, first issued) *watched {
	t.Helper()
	w := &watched{log: &logBuffer{}, at: time.Now()}
	cert, key := first.in(t)
	var err error
	if w.certificate, err = openCertificate(cert, key, func() time.Time { return w.at }, slog.New(slog.NewTextHandler(w.log, nil))); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watched) put(t *testing.T, chain, key string) {
	t.Helper()
	put(t, w.cert, chain)
	put(t, w.key, key)
}

// TestBadFilesKeepTheCertificateFromBefore: each is warned of once, however often it is looked at, and what is good
// again is taken.
func TestBadFilesKeepTheCertificateFromBefore(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	good, other := a.issue(t, nil, nil), a.issue(t, nil, nil)
	leaf := certPEM(good.cert)
	for name, c := range map[string]struct {
		spoil func(w *watched)
		want  string
	}{
		"the new certificate and the old key":    {func(w *watched) { put(t, w.cert, other.chain) }, "do not belong together"},
		"the new key and the old certificate":    {func(w *watched) { put(t, w.key, other.key) }, "do not belong together"},
		"the chain cut in its second":            {func(w *watched) { put(t, w.cert, good.chain[:len(good.chain)-50]) }, "tls.cert: a part of it is cut or damaged"},
		"the certificate cut":                    {func(w *watched) { put(t, w.cert, leaf[:len(leaf)/2]) }, "cut or damaged"},
		"the certificate damaged, one good":      {func(w *watched) { put(t, w.cert, strings.Replace(leaf, "MII", "!!!", 1)+a.betweenText) }, "cut or damaged"},
		"the key cut":                            {func(w *watched) { put(t, w.key, good.key[:len(good.key)/2]) }, "tls.key: a part of it is cut or damaged"},
		"the certificate empty":                  {func(w *watched) { put(t, w.cert, "") }, "holds no certificate"},
		"the key empty":                          {func(w *watched) { put(t, w.key, "") }, "must hold one private key"},
		"the certificate gone":                   {func(w *watched) { _ = os.Remove(w.cert) }, "no such file"},
		"the key gone":                           {func(w *watched) { _ = os.Remove(w.key) }, "no such file"},
		"a directory in its place":               {func(w *watched) { _ = os.Remove(w.key); _ = os.Mkdir(w.key, 0o700) }, "is not a regular file"},
		"something else in its place":            {func(w *watched) { put(t, w.cert, "<html>") }, "holds no certificate"},
		"far too much":                           {func(w *watched) { put(t, w.cert, strings.Repeat("x", maxPEM+1)) }, "has more than 1024 KiB"},
		"a link that leads nowhere in its place": {func(w *watched) { _ = os.Remove(w.cert); _ = os.Symlink("nowhere", w.cert) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t, good)
			c.spoil(w)
			for range 5 {
				w.look()
			}
			if got := w.pair().Leaf.SerialNumber; got.Cmp(good.serial) != 0 {
				t.Errorf("%v is served", got)
			}
			if log := w.log.String(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, "\n") != 1 || !strings.Contains(log, c.want) {
				t.Errorf("the log says %q, want one warning with %q", log, c.want)
			}
			if got := strings.Join(w.warnings(), "|"); !strings.HasPrefix(got, "tls.cert: its files have changed and cannot be used") || strings.Contains(got, w.cert) {
				t.Errorf("/health warns %q", got)
			}
			_ = os.Remove(w.cert)
			_ = os.Remove(w.key)
			next := a.issue(t, nil, nil)
			w.put(t, next.chain, next.key)
			w.look()
			w.look()
			if got := w.pair().Leaf.SerialNumber; got.Cmp(next.serial) != 0 {
				t.Errorf("what is good again is not taken: %v is served\n%s", got, w.log)
			}
			if got := w.warnings(); len(got) > 0 {
				t.Errorf("/health warns still: %q", got)
			}
			for line := range strings.Lines(good.key + other.key + next.key) {
				if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-") && strings.Contains(w.log.String(), line) {
					t.Errorf("the log holds the key: %s", w.log)
				}
			}
		})
	}
}

// TestWhatIsBeingWrittenIsNotTaken: what the files hold counts when they hold it twice.
func TestWhatIsBeingWrittenIsNotTaken(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	first, next := a.issue(t, nil, nil), a.issue(t, nil, nil)
	w := newWatched(t, first)
	old, err := os.Stat(w.cert)
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, certPEM(next.cert), next.key) // whole as it stands, but its issuer is yet to come
	w.look()
	put(t, w.cert, next.chain)
	w.look()
	if got := w.pair().Leaf.SerialNumber; got.Cmp(first.serial) != 0 {
		t.Errorf("%v is served", got)
	}
	w.look()
	if got := w.pair(); got.Leaf.SerialNumber.Cmp(next.serial) != 0 || len(got.Certificate.Certificate) != 2 {
		t.Errorf("%v is served, with %d certificates", got.Leaf.SerialNumber, len(got.Certificate.Certificate))
	}
	if log := w.log.String(); strings.Contains(log, "level=WARN") || strings.Count(log, "new connections get the certificate") != 1 || !strings.Contains(log, `names="door.example, *.door.example, localhost, 127.0.0.1, ::1"`) {
		t.Errorf("the log says %s", log)
	}

	// The same length and the same time as before: times are not what is looked at.
	again := a.issue(t, nil, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x7fff) })
	w.put(t, again.chain, again.key)
	for _, file := range []string{w.cert, w.key} {
		if err := os.Chtimes(file, old.ModTime(), old.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	w.look()
	w.look()
	if got := w.pair().Leaf.SerialNumber; got.Cmp(again.serial) != 0 {
		t.Errorf("%v is served", got)
	}
}

// TestACertificatesEndIsWarnedOf, once, and in /health as long as it is so.
func TestACertificatesEndIsWarnedOf(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	const day = 24 * time.Hour
	w := newWatched(t, a.issue(t, nil, nil)) // of 90 days
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, ""}, {75 * day, ""}, {77 * day, "tls.cert: the certificate expires at "}, {80 * day, "tls.cert: the certificate expires at "}, {91 * day, "tls.cert: the certificate has expired at "}, {92 * day, "tls.cert: the certificate has expired at "},
		{-day, "tls.cert: the certificate is not good before "},
	} {
		w.at = time.Now().Add(c.after)
		w.look()
		if got := strings.Join(w.warnings(), "|"); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("after %v: %q, want %q", c.after, got, c.want)
		}
	}
	if n := strings.Count(w.log.String(), "level=WARN"); n != 3 {
		t.Errorf("%d warnings:\n%s", n, w.log)
	}
	short := newWatched(t, a.issue(t, nil, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(5 * time.Hour) }))
	if got := short.warnings(); len(got) > 0 {
		t.Errorf("one that lives for hours, and has most of them to come: %q", got)
	}
	short.at = short.at.Add(200 * time.Minute)
	if got := short.warnings(); len(got) != 1 {
		t.Errorf("one that lives for hours, and has one: %q", got)
	}
}

// TestWhichCertificatesAreServed, and why others are not.
func TestWhichCertificatesAreServed(t *testing.T) {
	t.Parallel()
	a := newCertifier(t)
	fresh := func(key crypto.Signer, err error) crypto.Signer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	curve := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		return fresh(key, err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	fresh(rsa2048, err)
	rsa1024, err := rsa.GenerateKey(rand.Reader, 1024)
	fresh(rsa1024, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	fresh(edwards, err)
	p256 := curve(elliptic.P256())
	sec1, err := x509.MarshalECPrivateKey(p256.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	good := a.issue(t, p256, nil)
	of := func(key crypto.Signer) issued { return a.issue(t, key, nil) }
	with := func(chain, key string) issued { return issued{chain: chain, key: key} }
	self := sign(t, good.cert, nil, p256, nil)
	for name, c := range map[string]struct {
		issued
		wrong string // why it is refused; empty where it is not
		note  string // what is said of it
	}{
		"ECDSA P-256":                 {good, "", ""},
		"ECDSA P-384":                 {of(curve(elliptic.P384())), "", ""},
		"RSA":                         {of(rsa2048), "", ""},
		"RSA, in PKCS #1":             {with(of(rsa2048).chain, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048))), "", ""},
		"ECDSA in SEC 1, parameters":  {with(good.chain, block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})+block("EC PRIVATE KEY", sec1)), "", ""},
		"both in each file":           {with(good.key+good.chain, good.chain+good.key), "", ""},
		"signed by itself":            {with(certPEM(self), good.key), "", ""},
		"text around, CRLF":           {with("Bag Attributes\r\n"+strings.ReplaceAll(good.chain, "\n", "\r\n")+"the end\r\n", "# a key\r\n"+strings.ReplaceAll(good.key, "\n", "\r\n")), "", ""},
		"no issuer":                   {with(certPEM(good.cert), good.key), "", ""},
		"Ed25519":                     {of(edwards), "", "Ed25519, which browsers refuse"},
		"no names":                    {a.issue(t, p256, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }), "", "names no host"},
		"an issuer of somebody else":  {with(certPEM(good.cert)+certPEM(self), good.key), "", "certificate 2 is not the issuer of the one before it"},
		"expired":                     {a.issue(t, p256, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "", ""},
		"ECDSA P-224":                 {of(curve(elliptic.P224())), "curve P-224, which clients refuse", ""},
		"RSA of 1024 bits":            {of(rsa1024), "RSA of 1024 bits, which clients refuse", ""},
		"the issuer first":            {with(a.betweenText+certPEM(good.cert), good.key), "is number 2 in it; it must be the first", ""},
		"another key":                 {with(good.chain, of(nil).key), "do not belong together", ""},
		"another kind of key":         {with(good.chain, keyPEM(t, rsa2048)), "do not belong together", ""},
		"a public key":                {with(good.chain, block("PUBLIC KEY", []byte{1})), "must hold one private key in PEM, which begins -----BEGIN PRIVATE KEY-----; it holds 0", ""},
		"two keys":                    {with(good.chain, good.key+good.key), "it holds 2", ""},
		"an encrypted key":            {with(good.chain, block("ENCRYPTED PRIVATE KEY", []byte{1})), "is encrypted, and nobody is there to type its passphrase", ""},
		"an encrypted key, old style": {with(good.chain, "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n"), "is encrypted", ""},
		"a key that is none":          {with(good.chain, block("PRIVATE KEY", []byte("nonsense"))), "tls.key: cannot be used", ""},
		"a certificate that is none":  {with(block("CERTIFICATE", []byte("nonsense")), good.key), "tls.cert: certificate 1 is damaged", ""},
		"a request for one":           {with(block("CERTIFICATE REQUEST", []byte("nonsense")), good.key), "holds no certificate in PEM", ""},
		"DER":                         {with(string(good.cert.Raw), good.key), "holds no certificate in PEM", ""},
		"the two exchanged":           {with(good.key, good.chain), "holds no certificate in PEM", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := readPair(c.in(t)).parse()
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.notes, "|"); !strings.Contains(got, c.note) || (got == "") != (c.note == "") {
				t.Errorf("said of it: %q, want %q", got, c.note)
			}
		})
	}
	cert, key := good.in(t)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err := readPair(cert, key).parse(); err != nil || len(p.notes) != 1 || !strings.Contains(p.notes[0], "tls.key: can be read by everybody on this machine") {
		t.Errorf("a key for all to read: %+v, %v", p, err)
	}
}

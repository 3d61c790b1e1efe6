package safe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"doorward"
)

// Place is where the key pairs of one use come from: a setting, else a file in data_dir.
type Place struct {
	Setting   string
	given     doorward.Secret // PEM; nil when not given
	Path      string          // of the file
	What      string          // the file, for people
	chooses   string          // the setting that chooses the algorithm
	algorithm doorward.Algorithm
	assertion bool // it signs assertions, not access tokens
}

// assertionKeyKept is how long a key of assertions is published after it has signed for the
// last time: far longer than those live, for clocks and caches that are behind.
const assertionKeyKept = time.Hour

func accessKeys(c Config) Place {
	p := Place{
		Setting: "jwt.signing_keys", given: c.JWTSigningKeys, Path: filepath.Join(c.DataDir, ".doorward-jwt-keys.pem"),
		What: "the file of signing keys", chooses: "jwt.algorithm",
	}
	if c.JWTAlgorithm != doorward.HS256 {
		p.algorithm = c.JWTAlgorithm
	}
	return p
}

func assertionKeys(c Config) Place {
	return Place{
		Setting: "assertion_keys", given: c.AssertionKeys, Path: filepath.Join(c.DataDir, ".doorward-assertion-keys.pem"),
		What: "the file of assertion keys", chooses: "assertion", algorithm: c.Assertion, assertion: true,
	}
}

// PublishesKeys reports whether there may be public keys for others to fetch.
func (c Config) PublishesKeys() bool {
	return accessKeys(c).algorithm != "" || assertionKeys(c).algorithm != "" || c.JWTSigningKeys != nil || c.AssertionKeys != nil
}

// Places are where the key pairs come from: of access tokens, and of assertions.
func (c Config) Places() []Place { return []Place{accessKeys(c), assertionKeys(c)} }

// Missing says that keys must be given, where others share the database.
func (p Place) Missing(shared bool) error {
	if p.algorithm == "" || p.given != nil || !shared {
		return nil
	}
	return fmt.Errorf("%s: must be given with a PostgreSQL database where %s is %s, the same on every node; make it with: openssl genpkey -algorithm %s", p.Setting, p.chooses, p.algorithm, opensslName(p.algorithm))
}

// Check says why the keys that are given cannot be used, or nil.
func (p Place) Check() error {
	if p.given == nil {
		return nil
	}
	_, err := p.parseGiven()
	return err
}

func (p Place) parseGiven() (doorward.SigningKeys, error) {
	keys, err := doorward.ParseSigningKeys(p.Setting, p.given)
	if err != nil {
		return doorward.SigningKeys{}, err
	}
	if has := keys.Current.Public().Algorithm; p.algorithm != "" && has != p.algorithm {
		return doorward.SigningKeys{}, fmt.Errorf("%s: holds a private key for %s, and %s is %s", p.Setting, has, p.chooses, p.algorithm)
	}
	return keys, nil
}

// read reads the file. fs.ErrNotExist is the only error after which one may be made.
func (p Place) read() (doorward.SigningKeys, error) {
	b, err := readPrivate(p.What, p.Path)
	if err != nil {
		return doorward.SigningKeys{}, err
	}
	keys, err := doorward.ParseSigningKeys(p.What+" "+p.Path, b)
	if err != nil {
		return doorward.SigningKeys{}, fmt.Errorf("%w; or restore it, or remove it to have a new one made (what it signed is then refused)", err)
	}
	return keys, nil
}

// pairs are the key pair that signs, nil where none is to, and the public keys beside it.
// A pair that is given wins; else the file's; else one is generated from random and
// written there, unless random is nil. Where one is given and the file is there too, the
// file's verifies still.
func (p Place) pairs(random io.Reader) (signs *doorward.KeyPair, others []doorward.PublicKey, warnings []string, err error) {
	keys, err := p.read()
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case p.given != nil:
		given, gerr := p.parseGiven()
		switch {
		case gerr != nil:
			return nil, nil, nil, gerr
		case missing:
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("%s is given, so %s is not needed, and it cannot be used for what was signed earlier: %v", p.Setting, p.What, err))
		case keys.Current.Public().KeyID != given.Current.Public().KeyID:
			given.Others = append(append(given.Others, keys.Current.Public()), keys.Others...)
			warnings = append(warnings, fmt.Sprintf("%s is given and counts from now on; the key in %s still verifies (remove the file when what it signed has expired)", p.Setting, p.Path))
		}
		keys = given
	case missing && p.algorithm == "":
		return nil, nil, nil, nil
	case missing && random == nil:
		return nil, nil, nil, fmt.Errorf("%s %s is not there any more", p.What, p.Path)
	case missing:
		if keys, err = p.generate(random); err != nil {
			return nil, nil, nil, err
		}
	case err != nil:
		return nil, nil, nil, err
	}
	if p.algorithm == "" {
		return nil, append([]doorward.PublicKey{keys.Current.Public()}, keys.Others...), warnings, nil
	}
	if has := keys.Current.Public().Algorithm; has != p.algorithm {
		return nil, nil, nil, fmt.Errorf("%s %s holds a private key for %s, and %s is %s", p.What, p.Path, has, p.chooses, p.algorithm)
	}
	return keys.Current, keys.Others, warnings, nil
}

func (p Place) generate(random io.Reader) (doorward.SigningKeys, error) {
	fresh, err := doorward.GenerateKeyPair(p.algorithm, random)
	if err != nil {
		return doorward.SigningKeys{}, err
	}
	text, err := doorward.FormatSigningKeys(doorward.SigningKeys{Current: fresh})
	if err != nil {
		return doorward.SigningKeys{}, err
	}
	if err := writeNew(p.Path, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return doorward.SigningKeys{}, fmt.Errorf("cannot write %s %s: %w; make its directory writable or set %s", p.What, p.Path, err, p.Setting)
	}
	keys, err := p.read()
	if errors.Is(err, fs.ErrNotExist) { // there is a name, and nothing behind it
		return doorward.SigningKeys{}, fmt.Errorf("%s %s is a link to a file that is not there; restore that, or remove the link to have a new one made", p.What, p.Path)
	}
	return keys, err
}

// settle brings the file into the state in which the server may sign with it: where another
// algorithm is chosen than the file's key has, a new one takes its place, and the old one
// verifies until the time until; where a rotation was cut short before the database heard of it, the
// key signing, with which the server went on until it stopped, verifies for as long again.
// It reports whether it has written.
func (p Place) settle(signing string, until time.Time, random io.Reader, now time.Time) (bool, error) {
	if p.given != nil || p.algorithm == "" {
		return false, nil
	}
	keys, err := p.read()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if keys.Current.Public().Algorithm != p.algorithm {
		_, err := p.replace(keys, p.algorithm, until, random, now)
		return true, err
	}
	i := slices.IndexFunc(keys.Others, func(k doorward.PublicKey) bool {
		return k.KeyID == signing && k.Until.Before(until) && !k.Until.IsZero()
	})
	if i < 0 {
		return false, nil
	}
	keys.Others[i].Until = until
	return true, p.write(keys)
}

// replace writes a new key pair in place of keys' own, which verifies until the time until;
// the zero time drops it, and all that were before.
func (p Place) replace(keys doorward.SigningKeys, alg doorward.Algorithm, until time.Time, random io.Reader, now time.Time) (doorward.SigningKeys, error) {
	fresh, err := doorward.GenerateKeyPair(alg, random)
	if err != nil {
		return doorward.SigningKeys{}, err
	}
	next := doorward.SigningKeys{Current: fresh}
	if !until.IsZero() {
		for _, k := range keys.Others {
			if k.Until.IsZero() || now.Before(k.Until) {
				next.Others = append(next.Others, k)
			}
		}
		old := keys.Current.Public()
		old.Until = until
		next.Others = append(next.Others, old)
	}
	return next, p.write(next)
}

func (p Place) write(keys doorward.SigningKeys) error {
	text, err := doorward.FormatSigningKeys(keys)
	if err != nil {
		return err
	}
	owner, err := os.Stat(p.Path)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", p.What, err)
	}
	path, err := filepath.EvalSymlinks(p.Path) // a link goes on pointing to it
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", p.What, err)
	}
	if err := replaceFile(path, text, owner); err != nil {
		return fmt.Errorf("cannot replace %s %s: %w", p.What, p.Path, err)
	}
	return nil
}

// keptUntil is until when a key verifies that signs for the last time now; access is that
// for access tokens, as acceptedUntil has it.
func (p Place) keptUntil(access, now time.Time) time.Time {
	if p.assertion {
		return now.Add(assertionKeyKept).UTC().Truncate(time.Second)
	}
	return access
}

// withKeyPairs is keys with the pairs that the settings name.
func withKeyPairs(keys *doorward.KeyRing, c Config, hs256Until time.Time, random io.Reader) (*doorward.KeyRing, []string, error) {
	p := doorward.KeyPairs{HS256Until: hs256Until}
	var warnings, more []string
	var err error
	if p.Access, p.AccessOthers, warnings, err = accessKeys(c).pairs(random); err != nil {
		return nil, nil, err
	}
	if p.Assertion, p.AssertionOthers, more, err = assertionKeys(c).pairs(random); err != nil {
		return nil, nil, err
	}
	if p.Access == nil && p.Assertion == nil && p.AccessOthers == nil && p.AssertionOthers == nil {
		return keys, nil, nil
	}
	return keys.WithKeyPairs(p), append(warnings, more...), nil
}

// pairRing gives the ring that the server starts with its key pairs. signing is what the database
// remembers of who signed last.
func (s *Safe) pairRing(ctx context.Context, keys *doorward.KeyRing, signing doorward.Signers) (*doorward.KeyRing, error) {
	now := s.now()
	access, assertion := accessKeys(s.Config), assertionKeys(s.Config)
	var until time.Time
	var err error
	if access.algorithm != "" || assertion.algorithm != "" {
		if until, err = AcceptedUntil(ctx, s.Config, s.store, now); err != nil {
			return nil, err
		}
	}
	for _, place := range []struct {
		Place
		kid string
	}{{access, signing.Access}, {assertion, signing.Assertion}} {
		if _, err := place.settle(place.kid, place.keptUntil(until, now), s.random, now); err != nil {
			return nil, err
		}
	}
	// Tokens that the secret signed before a key pair did are good until they end; for ever
	// they must not be, since whoever shares the secret can make them.
	hs256Until := signing.HS256Until
	if access.algorithm != "" && signing.Secret != "" && signing.Access == "" {
		hs256Until = until
	}
	with, warnings, err := withKeyPairs(keys, s.Config, hs256Until, s.random)
	if err != nil {
		return nil, err
	}
	s.warnings = append(s.warnings, warnings...)
	if access.algorithm != "" && now.Before(hs256Until) {
		s.log.InfoContext(ctx, "access tokens that the secret has signed are accepted for some time still", "until", hs256Until.UTC().Format(time.RFC3339))
	}
	return with, nil
}

// lacking says what a node lacks that could not check what others sign.
func lacking(l doorward.Signers) error {
	switch {
	case l.Secret != "":
		return fmt.Errorf("jwt.previous_secrets: lacks the secret that signs on this database (kid %s), so this node could not check the others' tokens; add it there, or give it as jwt.secret", l.Secret)
	case l.Access != "":
		return fmt.Errorf("jwt.signing_keys: lacks the key that signs access tokens on this database (kid %s), so this node could not check the others' tokens; add its public key there", l.Access)
	case l.Assertion != "":
		return fmt.Errorf("assertion_keys: lacks the key that signs assertions on this database (kid %s), so who verifies them would not find it here; add its public key there", l.Assertion)
	}
	return nil
}

// keyRotation is the part of a rotation that replaces one key pair.
type keyRotation struct {
	place Place
	keys  doorward.SigningKeys // as they were
	until time.Time            // of the old one; zero to drop it
	fresh doorward.SigningKeys
}

// planKeys decides which key files a rotation replaces: those whose key signs.
func (r *Rotation) planKeys(ctx context.Context, c Config) error {
	for _, use := range []struct {
		place Place
		kid   string
	}{{accessKeys(c), r.signing.Access}, {assertionKeys(c), r.signing.Assertion}} {
		if use.kid == "" {
			continue
		}
		keys, err := use.place.read()
		if errors.Is(err, fs.ErrNotExist) {
			r.warnings = append(r.warnings, fmt.Sprintf("the key pair that signs (kid %s) is given as %s, so it stays: rotate that (docs/keys-and-algorithms.md)", use.kid, use.place.Setting))
			continue
		}
		if err != nil {
			return err
		}
		known := keys.Current.Public().KeyID == use.kid || slices.ContainsFunc(keys.Others, func(k doorward.PublicKey) bool { return k.KeyID == use.kid })
		if !known {
			r.warnings = append(r.warnings, fmt.Sprintf("the key in %s does not sign (the one that does has kid %s), so it stays: if %s is given, rotate that", use.place.Path, use.kid, use.place.Setting))
			continue
		}
		k := keyRotation{place: use.place, keys: keys}
		if !r.atOnce {
			access, err := AcceptedUntil(ctx, c, r.store, r.now)
			if err != nil {
				return err
			}
			k.until = use.place.keptUntil(access, r.now)
			for i := range keys.Others {
				if o := &keys.Others[i]; o.KeyID == use.kid && o.Until.Before(k.until) {
					o.Until = k.until // a server has gone on signing with it
				}
			}
		}
		r.keys = append(r.keys, k)
	}
	return nil
}

// replaceKeys writes the new key pairs, each with what verifies beside it, whole or not at all.
func (r *Rotation) replaceKeys(context.Context) error {
	for i := range r.keys {
		k := &r.keys[i]
		var err error
		if k.fresh, err = k.place.replace(k.keys, k.keys.Current.Public().Algorithm, k.until, r.random, r.now); err != nil {
			return fmt.Errorf("%w; run it again", err)
		}
		if kid := k.fresh.Current.Public().KeyID; k.place.assertion {
			r.signing.Assertion = kid
		} else {
			r.signing.Access = kid
		}
	}
	return nil
}

// HasKeyFiles reports whether there is a file of key pairs.
func (c Config) HasKeyFiles() bool {
	for _, p := range c.Places() {
		if _, err := os.Lstat(p.Path); err == nil {
			return true
		}
	}
	return false
}

// opensslName is what openssl genpkey calls the algorithm.
func opensslName(a doorward.Algorithm) string {
	if a == doorward.ES256 {
		return "EC -pkeyopt ec_paramgen_curve:P-256"
	}
	return "ed25519"
}

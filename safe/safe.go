package safe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"doorward"
)

// Config says where the secrets are. All fields but those of secrets, and Assertion, are required.
type Config struct {
	DataDir    string // of the files
	SecretFile string // a file name within DataDir

	JWTSecret          doorward.Secret // nil when not given: the secret file decides
	JWTPreviousSecrets []doorward.Secret
	JWTAlgorithm       doorward.Algorithm // of access tokens
	JWTSigningKeys     doorward.Secret    // PEM; nil when not given: the file decides
	Assertion          doorward.Algorithm // of assertions; empty for none
	AssertionKeys      doorward.Secret    // as JWTSigningKeys

	// How long what is signed lives.
	JWTExpiry, JWTRefreshExpiry, SessionLifetime, SessionMaxAge time.Duration

	// Shared says that others sign on the same database. The secrets are given then, no file
	// is rotated, and whoever lacks what another signs with does not start.
	Shared bool
}

// IsFileName reports whether s can be the name of a file in a data directory, and leads nowhere else.
func IsFileName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 200 && !strings.ContainsAny(s, "/\\\x00")
}

// Check returns what is wrong with the secrets as they are given, each in one line. No file
// is read.
func (c Config) Check() []error {
	var wrong []error
	if c.JWTSecret != nil {
		wrong = append(wrong, doorward.CheckSecret("jwt.secret", c.JWTSecret))
	}
	wrong = append(wrong, c.MissingSecret())
	for _, p := range c.Places() {
		wrong = append(wrong, p.Check(), p.Missing(c.Shared))
	}
	return slices.DeleteFunc(wrong, func(err error) bool { return err == nil })
}

// MissingSecret says that the secret must be given, where others share the database.
func (c Config) MissingSecret() error {
	if c.Shared && c.JWTSecret == nil {
		return errors.New("jwt.secret: must be given with a PostgreSQL database, the same on every node; make one with: openssl rand -base64 32")
	}
	return nil
}

// Safe is the secrets of one server. Make one with Open; it is used by one goroutine, but for
// the function that Reload returns.
type Safe struct {
	Config
	log      *slog.Logger
	now      func() time.Time
	random   io.Reader
	unlock   func()
	store    doorward.Store
	current  doorward.Secret
	previous []doorward.SigningKey
	warnings []string
}

// Open reads the secrets, and makes what is neither given nor there. Until Close, and so until
// the server follows the feed, nobody rotates one behind its back.
func Open(ctx context.Context, c Config, log *slog.Logger, now func() time.Time, random io.Reader) (*Safe, error) {
	s := &Safe{Config: c, log: log, now: now, random: random, unlock: func() {}}
	if !c.Shared {
		unlock, err := Lock(ctx, c.DataDir)
		if err != nil {
			return nil, err
		}
		s.unlock = unlock
	}
	var err error
	if s.current, s.previous, s.warnings, err = signingSecrets(c, random); err != nil {
		s.unlock()
		return nil, err
	}
	return s, nil
}

// Close lets others rotate.
func (s *Safe) Close() { s.unlock() }

// Warnings are what the operator should know.
func (s *Safe) Warnings() []string { return s.warnings }

// Ring makes the ring that the server starts with, and refuses one that could not check
// what the others on the same database sign. kept is that database, salt is kept's.
func (s *Safe) Ring(ctx context.Context, kept doorward.Store, salt []byte) (*doorward.KeyRing, error) {
	s.store = kept
	if !s.Shared {
		again, err := finishRotation(ctx, s.Config, kept, s.current, s.now())
		if err != nil {
			return nil, err
		}
		if again {
			if s.current, s.previous, _, err = signingSecrets(s.Config, nil); err != nil {
				return nil, err
			}
		}
	}
	keys, err := doorward.NewKeyRing(salt, s.current, s.previous...)
	if err != nil {
		return nil, err
	}
	signing, err := kept.KeyID(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the database: %w", err)
	}
	if keys, err = s.pairRing(ctx, keys, doorward.ParseSigners(signing)); err != nil {
		return nil, err
	}
	_, err = s.knownKeyID(ctx, keys)
	return keys, err
}

// knownKeyID reads the kid of the secret that signs. Where nodes share a database, one
// that lacks the others' secret does not start: it would refuse their tokens.
func (s *Safe) knownKeyID(ctx context.Context, keys *doorward.KeyRing) (string, error) {
	kid, err := s.store.KeyID(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot read the database: %w", err)
	}
	if kid != "" && s.Shared {
		return kid, lacking(keys.Lacks(doorward.ParseSigners(kid)))
	}
	return kid, nil
}

// Remember lets the database remember which secret signs, where that is another than
// before. It comes after the place in the feed from which this server follows, so
// that a node which does the same in the meantime is heard of.
func (s *Safe) Remember(ctx context.Context, keys *doorward.KeyRing) error {
	before, err := s.knownKeyID(ctx, keys)
	if err != nil || before == keys.KeyID() {
		return err
	}
	a := doorward.Caller{}.Audit("secret.rotate", keys.KeyID(), "server start")
	if err := s.store.SetKeyID(ctx, keys.KeyID(), a); err != nil {
		return fmt.Errorf("cannot write to the database: %w", err)
	}
	switch {
	case before == "":
	case keys.Has(before) && doorward.ParseSigners(before).Secret == keys.Signers().Secret:
		s.log.InfoContext(ctx, "other key pairs sign than before; what was signed before is still accepted", "kid", keys.KeyID(), "before", before)
	case keys.Has(before):
		s.log.InfoContext(ctx, "the signing secret is another than before; what the one before has signed is still accepted", "kid", keys.KeyID(), "before", before)
	case keys.Lacks(doorward.ParseSigners(before)).Secret == "":
		s.warnings = append(s.warnings, fmt.Sprintf("another key pair signs than before (%s, not %s), and the public key of the one before is not there: what it has signed is not accepted any more", keys.KeyID(), before))
	default:
		s.warnings = append(s.warnings, fmt.Sprintf("the signing secret is another than before (kid %s, not %s), and the one before is not in jwt.previous_secrets: tokens made before are not accepted any more", keys.KeyID(), before))
	}
	return nil
}

// Reload returns what makes the ring anew when the command line has rotated the
// secret; nil where secrets come from settings alone, which change with a restart.
func (s *Safe) Reload(salt []byte) func(kid string) (*doorward.KeyRing, error) {
	if s.Shared {
		return nil
	}
	return func(kid string) (*doorward.KeyRing, error) {
		current, previous, _, err := signingSecrets(s.Config, nil)
		if err != nil {
			return nil, err
		}
		keys, err := doorward.NewKeyRing(salt, current, previous...)
		if err != nil {
			return nil, err
		}
		keys, _, err = withKeyPairs(keys, s.Config, doorward.ParseSigners(kid).HS256Until, nil)
		return keys, err
	}
}

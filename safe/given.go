package safe

import (
	"context"
	"errors"
	"io"
	"time"

	"doorward"
)

// howTo is what to do about a secret that is given by a setting.
const howTo = "give the new one as jwt.secret and the old one in jwt.previous_secrets, and restart (with several nodes: first the new one in jwt.previous_secrets on every node; docs/rotation.md)"

// CannotRotate is why there is nothing to rotate and what to do instead; empty where there may
// be. where is the name of what gives the secret.
func (c Config) CannotRotate(where string) string {
	switch {
	case c.Shared:
		return "with PostgreSQL the secret is given by a setting, so there is no file to rotate: " + howTo
	case c.JWTSecret != nil && !c.HasKeyFiles():
		return given(where)
	}
	return ""
}

func given(where string) string {
	return where + " is given, so the secret file does not sign: " + howTo
}

// RotateOrSay is Rotate for those who are to be told why nothing, or not all, was rotated.
func RotateOrSay(ctx context.Context, c Config, kept doorward.Store, entry doorward.AuditEntry, atOnce bool, random io.Reader, now time.Time, where string) (doorward.Rotated, error) {
	done, err := Rotate(ctx, c, kept, entry, atOnce, random, now)
	if err != nil || done.KeyID != "" {
		return done, err
	}
	if len(done.KeyPairs) == 0 {
		return done, doorward.Conflict("%s", given(where))
	}
	done.Warnings = append([]string{given(where)}, done.Warnings...)
	return done, nil
}

// Rotation is the rotation by a server's own pages and doors, for doorward.Config; nil where there
// is nothing to rotate, with why.
func (s *Safe) Rotation(kept doorward.Store) (rotate func(context.Context, doorward.AuditEntry, bool) (doorward.Rotated, error), why string) {
	const where = "jwt.secret"
	if why := s.CannotRotate(where); why != "" {
		return nil, why
	}
	c, log, now, random := s.Config, s.log, s.now, s.random
	return func(ctx context.Context, entry doorward.AuditEntry, atOnce bool) (doorward.Rotated, error) {
		done, err := RotateOrSay(ctx, c, kept, entry, atOnce, random, now(), where)
		if told := new(doorward.Error); err != nil && !errors.As(err, &told) {
			log.ErrorContext(ctx, "cannot rotate what signs", "err", err, "request_id", entry.RequestID)
			return done, doorward.Conflict("what signs could not be rotated; the log of the server says why")
		}
		if err != nil {
			return done, err
		}
		for _, w := range done.Warnings {
			log.WarnContext(ctx, w)
		}
		return done, nil
	}, ""
}

package app

import (
	"context"
	"crypto/rand"
	"fmt"

	"doorward"
)

// keyRing makes the ring that the server starts with, and refuses one that could not check
// what the other nodes sign.
func (h *house) keyRing(ctx context.Context, salt []byte, current doorward.Secret, previous []doorward.SigningKey) (*doorward.KeyRing, error) {
	if h.settings.Database.URL == nil {
		again, err := finishRotation(ctx, h.settings, h.store, current, h.now())
		if err != nil {
			return nil, err
		}
		if again {
			if current, previous, _, err = signingSecrets(h.settings, nil); err != nil {
				return nil, err
			}
		}
	}
	keys, err := doorward.NewKeyRing(salt, current, previous...)
	if err != nil {
		return nil, err
	}
	signing, err := h.store.KeyID(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the database: %w", err)
	}
	if keys, err = h.pairRing(ctx, keys, doorward.ParseSigners(signing), rand.Reader); err != nil {
		return nil, err
	}
	_, err = h.knownKeyID(ctx, keys)
	return keys, err
}

// knownKeyID reads the kid of the secret that signs. Where nodes share a database, one
// that lacks the others' secret does not start: it would refuse their tokens.
func (h *house) knownKeyID(ctx context.Context, keys *doorward.KeyRing) (string, error) {
	kid, err := h.store.KeyID(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot read the database: %w", err)
	}
	if kid != "" && h.settings.Database.URL != nil {
		return kid, lacking(keys.Lacks(doorward.ParseSigners(kid)))
	}
	return kid, nil
}

// keepKeyID lets the database remember which secret signs, where that is another than
// before. It comes after the place in the feed from which this server follows, so
// that a node which does the same in the meantime is heard of.
func (h *house) keepKeyID(ctx context.Context, keys *doorward.KeyRing) error {
	before, err := h.knownKeyID(ctx, keys)
	if err != nil || before == keys.KeyID() {
		return err
	}
	a := doorward.Caller{}.Audit("secret.rotate", keys.KeyID(), "server start")
	if err := h.store.SetKeyID(ctx, keys.KeyID(), a); err != nil {
		return fmt.Errorf("cannot write to the database: %w", err)
	}
	switch {
	case before == "":
	case keys.Has(before) && doorward.ParseSigners(before).Secret == keys.Signers().Secret:
		h.log.InfoContext(ctx, "other key pairs sign than before; what was signed before is still accepted", "kid", keys.KeyID(), "before", before)
	case keys.Has(before):
		h.log.InfoContext(ctx, "the signing secret is another than before; what the one before has signed is still accepted", "kid", keys.KeyID(), "before", before)
	case keys.Lacks(doorward.ParseSigners(before)).Secret == "":
		h.warnings = append(h.warnings, fmt.Sprintf("another key pair signs than before (%s, not %s), and the public key of the one before is not there: what it has signed is not accepted any more", keys.KeyID(), before))
	default:
		h.warnings = append(h.warnings, fmt.Sprintf("the signing secret is another than before (kid %s, not %s), and the one before is not in jwt.previous_secrets: tokens made before are not accepted any more", keys.KeyID(), before))
	}
	return nil
}

// reloadKeys returns what makes the ring anew when the command line has rotated the
// secret; nil where secrets come from settings alone, which change with a restart.
func (h *house) reloadKeys(salt []byte) func(kid string) (*doorward.KeyRing, error) {
	if h.settings.Database.URL != nil {
		return nil
	}
	return func(kid string) (*doorward.KeyRing, error) {
		current, previous, _, err := signingSecrets(h.settings, nil)
		if err != nil {
			return nil, err
		}
		keys, err := doorward.NewKeyRing(salt, current, previous...)
		if err != nil {
			return nil, err
		}
		keys, _, err = withKeyPairs(keys, h.settings, doorward.ParseSigners(kid).HS256Until, nil)
		return keys, err
	}
}

package doorward

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// ActionRotate is a change of what signs.
const ActionRotate = "secret.rotate"

// Rotated is what a rotation came to. It holds no secret.
type Rotated struct {
	KeyID    string        // of the secret, which signs from now on; empty where it stays
	KeyPairs []string      // the kids of those that sign from now on
	Previous []AcceptedKey // what these have signed is still accepted
	Warnings []string
}

// AcceptedKey is a key that verifies and does not sign any more.
type AcceptedKey struct {
	KeyID string
	Until time.Time
}

// String says it in one line.
func (r Rotated) String() string {
	var words []string
	for _, p := range r.Previous {
		words = append(words, fmt.Sprintf("what kid %s has signed is accepted until %s", p.KeyID, p.Until.Format(time.RFC3339)))
	}
	if words == nil {
		words = []string{"what was signed before is refused"}
	}
	what, kids := "the signing secret was rotated: kid %s signs from now on; %s", strings.Join(append([]string{r.KeyID}, r.KeyPairs...), ", kid ")
	switch {
	case r.KeyID == "":
		what, kids = "the key pairs were rotated: kid %s signs from now on; %s", strings.Join(r.KeyPairs, ", kid ")
	case len(r.KeyPairs) > 0:
		what = "the signing secret and the key pairs were rotated: kid %s sign from now on; %s"
	}
	return fmt.Sprintf(what, kids, strings.Join(words, "; "))
}

// ListedKey is a key of the ring as it is listed. It holds no secret.
type ListedKey struct {
	KeyID     string
	Algorithm Algorithm
	Use       string    // what it signs, in words
	Signs     bool      // else it only verifies
	Since     time.Time // when it began to sign; zero where the audit log does not say
	Until     time.Time // when it ceases to verify; zero for no end
}

// The uses of keys, in words.
const (
	usedForAll        = "access, refresh and cookie tokens"
	usedForOwn        = "refresh and cookie tokens"
	usedForAccess     = "access tokens"
	usedForAssertions = "assertions to the service behind"
)

// listed are the keys of the ring that do anything at the time now, those that sign first.
func (k *KeyRing) listed(now time.Time) []ListedKey {
	use := usedForAll
	if k.access != nil {
		use = usedForOwn
	}
	var signs, verifies []ListedKey
	seen := map[string]bool{}
	add := func(l ListedKey) {
		switch {
		case seen[l.KeyID] || !l.Until.IsZero() && !now.Before(l.Until):
			return
		case l.Signs:
			signs = append(signs, l)
		default:
			verifies = append(verifies, l)
		}
		seen[l.KeyID] = true
	}
	for i := range k.keys {
		add(ListedKey{KeyID: k.keys[i].id, Algorithm: HS256, Use: use, Signs: i == 0, Until: k.keys[i].until})
	}
	for _, p := range []struct {
		signer *pairSigner
		use    string
	}{{k.access, usedForAccess}, {k.assertion, usedForAssertions}} {
		if p.signer != nil {
			add(ListedKey{KeyID: p.signer.pair.public.KeyID, Algorithm: p.signer.pair.public.Algorithm, Use: p.use, Signs: true})
		}
	}
	for _, v := range k.verifiers {
		add(ListedKey{KeyID: v.key.KeyID, Algorithm: v.key.Algorithm, Use: usedForAccess, Until: v.key.Until})
	}
	for _, p := range k.published {
		add(ListedKey{KeyID: p.KeyID, Algorithm: p.Algorithm, Use: usedForAssertions, Until: p.Until})
	}
	return append(signs, verifies...)
}

// ListedKeys is what signs and verifies here.
type ListedKeys struct {
	Keys       []ListedKey
	NoRotation string // why RotateKeys cannot rotate them, and what to do instead; empty where it can
}

// SigningKeys lists the keys of this node's ring, for a superadmin: they are the whole installation's.
func (a *Authority) SigningKeys(ctx context.Context, by Caller) (ListedKeys, error) {
	if by.Role != Superadmin {
		return ListedKeys{}, ErrForbidden
	}
	s := ListedKeys{Keys: a.keys.Load().listed(a.cfg.Now()), NoRotation: a.noRotation()}
	rotations, err := a.cfg.Store.Audit(ctx, AuditQuery{Orgs: []string{""}, Action: ActionRotate, Limit: 1000})
	if err != nil {
		return ListedKeys{}, Unavailable(err)
	}
	since := map[string]time.Time{} // the oldest entry in which it signs
	for _, r := range rotations {
		signing := ParseSigners(r.Target)
		for _, kid := range []string{signing.Secret, signing.Access, signing.Assertion} {
			since[kid] = r.Time
		}
	}
	for i := range s.Keys {
		s.Keys[i].Since = since[s.Keys[i].KeyID]
	}
	return s, nil
}

// RotateKeys makes new keys sign from now on, here before it returns; with atOnce what was
// signed before is refused and everybody signs in again. Superadmins only.
func (a *Authority) RotateKeys(ctx context.Context, by Caller, atOnce bool) (Rotated, error) {
	if by.Role != Superadmin {
		return Rotated{}, ErrForbidden
	}
	if why := a.noRotation(); why != "" {
		return Rotated{}, Conflict("%s", why)
	}
	entry := by.Audit(ActionRotate, "", "").at("")
	if atOnce {
		entry.Detail = "what was signed before is refused"
	}
	done, err := a.cfg.RotateKeys(context.WithoutCancel(ctx), entry, atOnce)
	if err != nil {
		return Rotated{}, Refusal(err)
	}
	// Followers hear of it within a moment; who has asked for it is not to wait for that. What
	// cannot be read now is read then.
	_ = a.CatchUp(context.WithoutCancel(ctx))
	return done, nil
}

// noRotation is why keys cannot be rotated here; empty where they can.
func (a *Authority) noRotation() string {
	if a.cfg.RotateKeys == nil {
		return cmp.Or(a.cfg.NoRotation, "the keys of this server are given to it")
	}
	return ""
}

package doorward

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// assertionLife is how long an assertion is good for.
const assertionLife = 60 * time.Second

// Assertion returns what a service behind the door may verify by itself to know who asks:
// a JWT of 60 s, typ doorward-assertion+jwt, for the service called audience, signed by the
// ring's key pair for assertions; empty for nobody, and where there is none. Whoever is
// anonymous has one as well, which says so and has no sub, so that a service can ask for
// one always.
//
// It is made once and given again for half of its life, so that no request waits for a
// signature; a session, or a key shown as itself, has one for each workspace and audience.
func (a *Authority) Assertion(id Identity, audience string) string {
	if id.IsZero() {
		return ""
	}
	keys := a.keys.Load()
	if keys.assertion == nil {
		return ""
	}
	now := a.cfg.Now()
	about := asserted{
		kind: id.Kind, subject: id.Subject, username: id.Username, role: id.Role, org: id.Org,
		workspace: id.Workspace, session: id.Session, audience: audience,
	}
	if about.kind != KindUser {
		about.username = ""
	}
	slot := a.assertions.slot(&about)
	if s := slot.Load(); s != nil && s.about == about && s.by == keys.assertion && s.fresh(now) {
		return s.text
	}
	// Two that come together make two, which say the same: nobody waits for the other.
	s := &assertion{about: about, by: keys.assertion, made: now.UnixMilli()}
	expires := now.Add(assertionLife)
	if !id.Expires.IsZero() {
		expires = earlier(expires, id.Expires) // it does not outlive what was shown for it
	}
	s.renew = s.made + max(0, expires.Sub(now).Milliseconds()/2)
	s.text = keys.assert(&about, a.cfg.AssertionIssuer, now.Unix(), expires.Unix())
	slot.Store(s)
	return s.text
}

// asserted is all that an assertion says but when. Two that are equal get the same one.
type asserted struct {
	kind              Kind
	subject, username string
	role              Role
	org, workspace    string
	session           string
	audience          string
}

type assertion struct {
	about       asserted
	by          *pairSigner
	made, renew int64 // Unix milliseconds
	text        string
}

// fresh is false when half of its life is over, and for a clock that was set back.
func (s *assertion) fresh(now time.Time) bool {
	n := now.UnixMilli()
	return s.made <= n && n < s.renew
}

// assertionSlots bounds how many assertions are kept: at about 1 KiB each 16 MiB. Sessions
// that fall on one slot sign in turns, and wait for nothing else.
const assertionSlots = 1 << 14

// assertions keeps what was made, at most assertionSlots of them.
type assertions struct {
	seed  maphash.Seed
	slots []atomic.Pointer[assertion]
}

func newAssertions() assertions {
	return assertions{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[assertion], assertionSlots)}
}

// slot is where the assertion about a lies, if it is kept.
func (c *assertions) slot(about *asserted) *atomic.Pointer[assertion] {
	h := maphash.String(c.seed, about.session)
	h = h*31 + maphash.String(c.seed, about.subject)
	h = h*31 + maphash.String(c.seed, about.workspace)
	h = h*31 + maphash.String(c.seed, about.audience)
	return &c.slots[(h^h>>32)%assertionSlots]
}

// sweep forgets those that would not be given again.
func (c *assertions) sweep(now time.Time) {
	for i := range c.slots {
		if s := c.slots[i].Load(); s != nil && !s.fresh(now) {
			c.slots[i].CompareAndSwap(s, nil)
		}
	}
}

// assert signs an assertion; "" for what cannot be said in plain JSON.
func (k *KeyRing) assert(about *asserted, issuer string, issued, expires int64) string {
	w := claimsWriter{ok: true}
	w.str(`{"iss":"`, issuer, true)
	w.str(`,"aud":"`, about.audience, true)
	w.num(`,"iat":`, issued)
	w.num(`,"exp":`, expires)
	w.str(`,"sub":"`, about.subject, false)
	w.str(`,"kind":"`, string(about.kind), true)
	w.str(`,"role":"`, string(about.role), true)
	w.str(`,"org":"`, about.org, true)
	w.str(`,"ws":"`, about.workspace, true)
	w.str(`,"username":"`, about.username, false)
	w.str(`,"sid":"`, about.session, false)
	w.buf = append(w.buf, '}')
	if !w.ok {
		return ""
	}
	return k.assertion.token(&pairScratch{claims: w.buf})
}

// PublicKeys are the keys by which others verify what is signed here, and what was signed
// and is still good.
func (a *Authority) PublicKeys() []PublicKey { return a.keys.Load().PublicKeys(a.cfg.Now()) }

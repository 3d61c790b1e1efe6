package doorward

import (
	"context"
	"strings"
	"time"
)

// Presented is one credential as a request shows it.
type Presented struct {
	Via   Source
	Value string
}

// Source is where in a request a credential was.
type Source uint8

// The sources, in the order in which the door looks.
const (
	FromBearer    Source = iota + 1 // Authorization: Bearer
	FromKeyHeader                   // X-API-Key
	FromCookie                      // the session cookie
)

// Authenticate decides who shows p: an identity, or ErrInvalidToken, ErrTokenExpired,
// ErrTokenBlacklisted, or an unavailable error when what must be known could not be read.
func (a *Authority) Authenticate(ctx context.Context, p Presented) (Identity, error) {
	switch {
	case p.Via == FromCookie:
		return a.authenticateToken(ctx, CookieToken, p.Value)
	case p.Via == FromBearer && a.keys.Load().Recognizes(p.Value):
		return a.authenticateToken(ctx, AccessToken, p.Value)
	}
	h := HashSecret(p.Value)
	if c, ok := a.credentials.byHash[h]; ok {
		return c.identity(), nil
	}
	return a.authenticateKey(&h, p.Value)
}

// Recognizes reports whether token claims to be one that is signed here, good or not.
func (a *Authority) Recognizes(token string) bool { return a.keys.Load().Recognizes(token) }

func (a *Authority) authenticateToken(ctx context.Context, use Use, token string) (Identity, error) {
	now := a.cfg.Now()
	c, err := a.keys.Load().Verify(use, token, now)
	if err != nil {
		return Identity{}, err
	}
	mustChange, err := a.alive(ctx, c, now)
	if err != nil {
		return Identity{}, err
	}
	via := ViaAccessToken
	if use == CookieToken {
		via = ViaCookie
	}
	id := Identity{
		Kind: c.Kind, Subject: c.Subject, Username: c.Username, Role: c.Role,
		Org: c.Org, Workspaces: c.Workspaces, Session: c.Session,
		Expires: time.Unix(c.ExpiresAt, 0), Via: via, MustChange: mustChange,
	}
	if c.Kind == KindUser {
		id.Credential = c.Subject
	}
	return id, nil
}

// alive decides whether the session of a well-signed token lives: from memory once this
// node has passed the token, else from the store. A session whose person must change the
// password is asked after each time, so that the restriction ends everywhere at once with
// the change.
func (a *Authority) alive(ctx context.Context, c Claims, now time.Time) (mustChange bool, err error) {
	// Before seen: were a sweep to come between, it would have forgotten the end of a
	// session that was still found among the seen.
	if a.revoked.has(c.Session) {
		return false, ErrTokenBlacklisted
	}
	if a.stale(now) {
		return false, Unavailable(errStale)
	}
	was, known := a.seen.get(c.Session)
	if known && was.has(c) {
		return false, nil
	}
	if mustChange, err = a.meet(ctx, c, was); err != nil {
		return false, err
	}
	// Again, so that an end acknowledged while the store was read is seen.
	if a.revoked.has(c.Session) {
		return false, ErrTokenBlacklisted
	}
	return mustChange, nil
}

// passed remembers which tokens of a session have passed here. Those of generations 0
// and 1 always pass once the session is known; of the later ones the two last are
// remembered, by generation and refresh id, since two branches may share a generation.
type passed [2]passedToken

type passedToken struct {
	gen       int64
	refreshID string
}

func (p passed) has(c Claims) bool {
	if c.Gen <= 1 {
		return true
	}
	t := passedToken{c.Gen, c.RefreshID}
	return p[0] == t || p[1] == t
}

// with is p and the token of c, in the place of the older one.
func (p passed) with(c Claims) passed {
	if p.has(c) {
		return p
	}
	// Cloned, since the claims share their memory with the whole token.
	t := passedToken{c.Gen, strings.Clone(c.RefreshID)}
	if p[0].gen <= p[1].gen {
		p[0] = t
	} else {
		p[1] = t
	}
	return p
}

// meet reads the session of a token that this node has not passed yet.
func (a *Authority) meet(ctx context.Context, c Claims, was passed) (mustChange bool, err error) {
	s, found, err := a.cfg.Store.Session(ctx, c.Session)
	switch {
	case err != nil && c.Kind != KindUser && a.outage.Load():
		// The database cannot be reached, as the feed found out as well: what was known a
		// moment ago decides, for no longer than MaxStaleness, and this is not remembered. One
		// question that fails alone lets nobody in; nor does a person pass, of whom it is
		// not known whether the password must be changed.
		if a.stale(a.cfg.Now()) { // finding out may have taken long
			return false, Unavailable(err)
		}
		return false, nil
	case err != nil:
		return false, Unavailable(err)
	case !found:
		return false, ErrInvalidToken
	case !s.Ended.IsZero():
		a.revoke(EndedSession{ID: s.ID, Until: s.AccessUntil})
		return false, ErrTokenBlacklisted
	}
	remember := true
	if s.Kind == KindUser {
		u, found, err := a.cfg.Store.User(ctx, s.Credential)
		switch {
		case err != nil:
			return false, Unavailable(err)
		case !found, u.Disabled:
			return false, ErrTokenBlacklisted
		}
		mustChange, remember = u.MustChange, !u.MustChange
	} else if remember, err = a.confirm(ctx, s, c); err != nil {
		return false, err
	}
	if remember {
		a.seen.add(c.Session, was.with(c), time.Unix(c.ExpiresAt, 0))
	}
	return mustChange, nil
}

// confirm applies Chain.Confirm to the first use of a machine's access token here:
// nearly always it passes and nothing is written. It reports whether the pass may be
// remembered.
func (a *Authority) confirm(ctx context.Context, s Session, c Claims) (remember bool, err error) {
	_, outcome := s.Chain.Confirm(c.RefreshID, c.Gen, c.IssuedAt)
	if outcome == Confirms || outcome == AccessReused {
		// Judged again where no other transaction on the session can come between.
		if outcome, err = a.writeConfirmation(ctx, c); err != nil {
			return false, err
		}
	}
	switch outcome {
	case Passes, Confirms:
		return true, nil
	case Ahead:
		a.cfg.Log.ErrorContext(ctx, "ALARM", "err", "an access token is newer than its session: the database went backwards", "session", s.ID, "generation", c.Gen)
		return false, nil
	case Stale:
		return false, ErrInvalidToken
	}
	return false, ErrTokenBlacklisted
}

func (a *Authority) writeConfirmation(ctx context.Context, c Claims) (outcome Confirmation, err error) {
	var until EndedSession
	decide := func(at RefreshState) RefreshDecision {
		s := at.Session
		until = EndedSession{ID: s.ID, Until: s.AccessUntil}
		if !s.Ended.IsZero() {
			outcome = AccessReused
			return RefreshDecision{}
		}
		var next Chain
		next, outcome = s.Chain.Confirm(c.RefreshID, c.Gen, c.IssuedAt)
		switch outcome {
		case Confirms:
			return RefreshDecision{Outcome: Advanced, Chain: next}
		case AccessReused:
			return RefreshDecision{Outcome: Reused}
		}
		return RefreshDecision{}
	}
	by := Caller{Identity: Identity{Kind: c.Kind, Subject: c.Subject, Org: c.Org}}
	// A client that hangs up does not stop what others must then know of.
	found, err := a.cfg.Store.AdvanceRefresh(context.WithoutCancel(ctx), c.Session, decide, by.Audit("session.end", c.Session, EndReuse))
	switch {
	case err != nil:
		return 0, Refusal(err)
	case !found:
		return 0, ErrInvalidToken
	}
	if outcome == AccessReused {
		a.revoke(until)
		a.cfg.Log.WarnContext(ctx, "access token of an abandoned branch used, session ended", "session", c.Session, "generation", c.Gen)
	}
	return outcome, nil
}

// AccessClaims returns the claims of a good access token, for whoever asks about it.
func (a *Authority) AccessClaims(ctx context.Context, token string) (Claims, error) {
	now := a.cfg.Now()
	c, err := a.keys.Load().Verify(AccessToken, token, now)
	if err != nil {
		return Claims{}, err
	}
	if _, err := a.alive(ctx, c, now); err != nil {
		return Claims{}, err
	}
	return c, nil
}

package doorward

import (
	"context"
	"fmt"
)

// Refresh exchanges a refresh token for the next tokens of its session (RFC 6749, section
// 6; rotation and reuse detection after RFC 9700, section 4.14.2). What is owed to whom
// is Chain.Present's to say; here the rest is judged: signature, kind and expiry, the
// session's end, and whether the credential behind it still grants what it did.
func (a *Authority) Refresh(ctx context.Context, by Caller, token string) (Grant, error) {
	claims, err := a.keys.Load().Verify(RefreshToken, token, a.cfg.Now())
	if err != nil {
		return Grant{}, err
	}
	by.Identity = Identity{Kind: KindClient, Subject: claims.Subject} // who has the token, as it seems
	var grant Grant
	var refusal error
	var reused bool
	var until EndedSession
	decide := func(at RefreshState) RefreshDecision {
		grant, refusal, reused = Grant{}, nil, false
		s := at.Session
		until = EndedSession{ID: s.ID, Until: s.AccessUntil}
		cred := a.credentialOf(at)
		switch {
		case !s.Ended.IsZero():
			refusal = ErrTokenBlacklisted
		case !at.Now.Before(s.Ends):
			refusal = ErrTokenExpired
		case cred == nil, cred.Terms() != s.Terms, !cred.mayNameClient(s.Subject):
			refusal = ErrTokenBlacklisted
		}
		if refusal != nil {
			return RefreshDecision{}
		}
		chain, outcome := s.Chain.Present(claims.ID, claims.Gen, claims.IssuedAt, at.Now, a.cfg.RefreshRules, a.newID)
		d := RefreshDecision{Outcome: outcome, Chain: chain}
		switch outcome {
		case Advanced, Repeated:
			s.Chain = chain
			d.AccessUntil = a.accessExpiry(chain.Minted, s.Ends)
			grant = a.grant(s, cred, at.Now)
		case Reused:
			refusal, reused = ErrTokenBlacklisted, true
		case Backwards:
			refusal = Unavailable(fmt.Errorf("a refresh token of generation %d, issued at %d, is newer than its session %s at generation %d: the database went backwards", claims.Gen, claims.IssuedAt, s.ID, s.Chain.Gen))
		}
		return d
	}
	// A client that hangs up does not stop what others must then know of.
	found, err := a.cfg.Store.AdvanceRefresh(context.WithoutCancel(ctx), claims.Session, decide, by.Audit("session.end", claims.Session, EndReuse))
	switch {
	case err != nil:
		return Grant{}, Refusal(err)
	case !found:
		return Grant{}, ErrInvalidToken
	}
	if reused {
		a.revoke(until)
		a.cfg.Log.WarnContext(ctx, "refresh token reused, session ended", "session", claims.Session, "generation", claims.Gen, "request_id", by.RequestID)
	}
	if e := Refusal(refusal); e != nil && e.Code == CodeUnavailable {
		a.cfg.Log.ErrorContext(ctx, "ALARM", "err", e, "request_id", by.RequestID)
	}
	if refusal == nil && !grant.signed() {
		refusal = Unavailable(errUnsignable)
	}
	if refusal != nil {
		return Grant{}, refusal
	}
	return grant, nil
}

// credentialOf is what at's session was made with, as it is now; nil when it is no good any more.
func (a *Authority) credentialOf(at RefreshState) *Credential {
	if at.Session.Configured {
		return a.credentials.byID[at.Session.Credential]
	}
	if at.Key == nil || at.Key.Good(at.Now) != nil {
		return nil
	}
	cred := at.Key.credential()
	return &cred
}

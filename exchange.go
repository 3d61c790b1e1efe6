package doorward

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// Grant is what a machine gets for its credential or its refresh token (RFC 6749, section 5.1).
type Grant struct {
	AccessToken  string
	RefreshToken string
	ExpiresIn    int64 // seconds until the access token expires
}

// Exchange makes a session for the key or API token that by has shown, under the client
// id that the caller chose, and returns its first tokens. The client id names the client
// and grants nothing that the credential has not.
func (a *Authority) Exchange(ctx context.Context, by Caller, clientID string) (Grant, error) {
	if err := CheckClientID("client_id", clientID); err != nil {
		return Grant{}, err
	}
	if by.Via != ViaSecret {
		return Grant{}, ErrInvalidToken
	}
	cred, ok := a.credentials.byID[by.Credential]
	if !ok {
		return a.exchangeKey(ctx, by, clientID)
	}
	if !cred.mayNameClient(clientID) {
		return Grant{}, ErrForbidden
	}
	now := a.cfg.Now().Truncate(time.Millisecond)
	s := Session{
		ID: a.newID(), Kind: KindClient, Subject: clientID, Credential: cred.ID, Configured: true, Terms: cred.Terms(),
		Org: cred.Org, Workspaces: cred.Workspaces, Created: now, Ends: now.Add(a.cfg.SessionMaxAge),
		Chain:   Chain{Head: a.newID(), Minted: now},
		Address: by.addressText(), UserAgent: by.UserAgent,
	}
	s.AccessUntil = a.accessExpiry(now, s.Ends)
	if err := a.cfg.Store.CreateSession(ctx, s, a.cfg.SessionLimit, by.Audit(ActionSession, s.ID, "client "+clientID)); err != nil {
		return Grant{}, err
	}
	a.seen.add(s.ID, passed{}, s.AccessUntil)
	g := a.grant(s, cred, now)
	if !g.signed() {
		return Grant{}, Unavailable(errUnsignable)
	}
	return g, nil
}

// exchangeKey is Exchange for a key made at run time, which is judged where no other
// transaction can come between: as it is and as its owner is when the session is kept.
func (a *Authority) exchangeKey(ctx context.Context, by Caller, clientID string) (Grant, error) {
	now := a.cfg.Now().Truncate(time.Millisecond)
	s := Session{
		ID: a.newID(), Kind: KindClient, Subject: clientID, Created: now,
		Chain:   Chain{Head: a.newID(), Minted: now},
		Address: by.addressText(), UserAgent: by.UserAgent,
	}
	var cred Credential
	begin := func(k KeyState, _ time.Time) (Session, error) {
		if err := k.Good(now); err != nil {
			return Session{}, err
		}
		if cred = k.credential(); !cred.mayNameClient(clientID) {
			return Session{}, ErrForbidden
		}
		s.of(cred, k.Stops(), now.Add(a.cfg.SessionMaxAge))
		s.AccessUntil = a.accessExpiry(now, s.Ends)
		return s, nil
	}
	found, err := a.cfg.Store.CreateKeySession(ctx, by.Credential, a.cfg.SessionLimit, begin, by.Audit(ActionSession, s.ID, "client "+clientID))
	switch {
	case err != nil:
		return Grant{}, err
	case !found:
		return Grant{}, ErrInvalidToken
	}
	a.seen.add(s.ID, passed{}, s.AccessUntil)
	g := a.grant(s, &cred, now)
	if !g.signed() {
		return Grant{}, Unavailable(errUnsignable)
	}
	return g, nil
}

// of makes s a session of cred, which stops at the time stops (zero for never): no session
// outlives its key.
func (s *Session) of(cred Credential, stops, ends time.Time) {
	s.Credential, s.Terms, s.Org, s.Workspaces = cred.ID, cred.Terms(), cred.Org, cred.Workspaces
	if s.Ends = ends; !stops.IsZero() {
		s.Ends = earlier(ends, stops)
	}
}

func (g Grant) signed() bool { return g.AccessToken != "" && g.RefreshToken != "" }

// accessExpiry is when an access token minted at the time minted expires, in a session that ends
// at ends: tokens carry whole seconds, so both are cut to them.
func (a *Authority) accessExpiry(minted, ends time.Time) time.Time {
	return earlier(minted.Truncate(time.Second).Add(a.cfg.AccessLife), ends).Truncate(time.Second)
}

func earlier(x, y time.Time) time.Time {
	if x.Before(y) {
		return x
	}
	return y
}

// grant signs the newest tokens of s's chain. It depends on nothing but its arguments
// and the settings, so an answer that was lost can be given again to the letter.
func (a *Authority) grant(s Session, cred *Credential, now time.Time) Grant {
	jti, gen := s.Chain.Newest()
	minted := s.Chain.Minted
	access := Claims{
		Subject: s.Subject, IssuedAt: minted.Unix(), ExpiresAt: a.accessExpiry(minted, s.Ends).Unix(),
		ID: accessID(jti), Session: s.ID, Gen: gen, RefreshID: jti,
		Kind: s.Kind, Role: cred.Role, Org: cred.Org, Workspaces: cred.Workspaces,
	}
	refresh := Claims{
		Subject: s.Subject, IssuedAt: minted.Unix(),
		ExpiresAt: earlier(minted.Truncate(time.Second).Add(a.cfg.RefreshLife), s.Ends).Unix(),
		ID:        jti, Session: s.ID, Gen: gen,
	}
	return Grant{
		AccessToken:  a.keys.Load().Sign(AccessToken, access),
		RefreshToken: a.keys.Load().Sign(RefreshToken, refresh),
		ExpiresIn:    max(0, access.ExpiresAt-now.Unix()),
	}
}

// accessID derives the access token's jti from that of the refresh token it came with.
func accessID(refreshID string) string {
	sum := sha256.Sum256([]byte("doorward access token of " + refreshID))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (c Caller) addressText() string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}

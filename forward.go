package doorward

import (
	"context"
	"sync"
	"time"
)

// Forward returns the access token that goes on to a service which verifies tokens
// itself, for whoever showed a credential that Authenticate has found to be id's: the
// token itself where an access token was shown; for a cookie one of the same session; for
// a key or API token, which has no session, one of a session made for it and kept for
// half an access token's life, so that it costs a write once in that time and on each node.
// The session ends when what grants it does. Nothing for an identity that nobody showed anything for.
//
// The token may expire while the service still works on the request, as any may.
func (a *Authority) Forward(ctx context.Context, by Caller, shown Presented) (string, error) {
	id := by.Identity
	switch id.Via {
	case ViaAccessToken:
		return shown.Value, nil
	case ViaCookie:
		now := a.cfg.Now()
		token := a.keys.Load().Sign(AccessToken, Claims{
			Subject: id.Subject, IssuedAt: now.Unix(), ExpiresAt: a.accessExpiry(now, id.Expires).Unix(), ID: a.newID(), Session: id.Session,
			Kind: id.Kind, Role: id.Role, Org: id.Org, Workspaces: id.Workspaces, Username: id.Username,
		})
		if token == "" {
			return "", Unavailable(errUnsignable)
		}
		return token, nil
	case ViaSecret:
		return a.forwards.token(ctx, a, by)
	}
	return "", nil
}

// forwards keeps, by credential, the token that stands for it behind the door. The zero
// value is ready; safe for concurrent use.
type forwards struct {
	mu   sync.Mutex
	byID map[string]*forwardedToken
}

type forwardedToken struct {
	making  sync.Mutex // held by the one who makes it, so that callers who come together make one
	mu      sync.Mutex
	token   string
	session string
	kid     string // of the key that signed it
	renew   time.Time
}

func (f *forwards) of(id string) *forwardedToken {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.byID[id]
	if t == nil {
		if f.byID == nil {
			f.byID = map[string]*forwardedToken{}
		}
		t = new(forwardedToken)
		f.byID[id] = t
	}
	return t
}

func (f *forwards) token(ctx context.Context, a *Authority, by Caller) (string, error) {
	t := f.of(by.Credential)
	if token, ok := t.get(a); ok {
		return token, nil
	}
	t.making.Lock()
	defer t.making.Unlock()
	if token, ok := t.get(a); ok {
		return token, nil
	}
	// Who hangs up must not leave those behind without.
	ctx = context.WithoutCancel(ctx)
	now := a.cfg.Now().Truncate(time.Millisecond)
	s := Session{ID: a.newID(), Created: now, Chain: Chain{Head: a.newID(), Minted: now}}
	entry := by.Audit(ActionSession, s.ID, "for the service behind")
	keys := a.keys.Load()
	token := ""
	begin := func(cred Credential, stops time.Time) (Session, error) {
		s.Kind, s.Subject = cred.Kind, cred.identity().Subject
		s.of(cred, stops, now.Add(a.cfg.SessionMaxAge))
		s.Ends = a.accessExpiry(now, s.Ends)
		s.AccessUntil = s.Ends
		token = keys.Sign(AccessToken, Claims{
			Subject: s.Subject, IssuedAt: now.Unix(), ExpiresAt: s.AccessUntil.Unix(), ID: a.newID(), Session: s.ID,
			Kind: s.Kind, Role: cred.Role, Org: cred.Org, Workspaces: cred.Workspaces,
		})
		if token == "" {
			return Session{}, Unavailable(errUnsignable)
		}
		return s, nil
	}
	if err := a.beginFor(ctx, by.Credential, &s, begin, entry); err != nil {
		return "", err
	}
	a.seen.add(s.ID, passed{}, s.AccessUntil)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token, t.session, t.kid, t.renew = token, s.ID, keys.KeyID(), now.Add(s.AccessUntil.Sub(now)/2)
	return token, nil
}

// beginFor keeps the session that begin makes of s for the key or API token credential, as it is now.
func (a *Authority) beginFor(ctx context.Context, credential string, s *Session, begin func(cred Credential, stops time.Time) (Session, error), entry AuditEntry) error {
	if cred, ok := a.credentials.byID[credential]; ok {
		s.Configured = true
		made, err := begin(*cred, time.Time{})
		if err != nil {
			return err
		}
		return a.cfg.Store.CreateSession(ctx, made, a.cfg.SessionLimit, entry)
	}
	found, err := a.cfg.Store.CreateKeySession(ctx, credential, a.cfg.SessionLimit, func(k KeyState, _ time.Time) (Session, error) {
		if err := k.Good(s.Created); err != nil {
			return Session{}, err
		}
		return begin(k.credential(), k.Stops())
	}, entry)
	if err == nil && !found {
		err = ErrInvalidToken
	}
	return err
}

// sweep forgets tokens that are not handed out any more.
func (f *forwards) sweep(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, t := range f.byID {
		if t.making.TryLock() { // who makes one now goes on with it
			t.mu.Lock()
			if !now.Before(t.renew) {
				delete(f.byID, id)
			}
			t.mu.Unlock()
			t.making.Unlock()
		}
	}
}

// get is the token while it is good for some time and its session lives.
func (t *forwardedToken) get(a *Authority) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == "" || !a.cfg.Now().Before(t.renew) || a.revoked.has(t.session) || t.kid != a.keys.Load().KeyID() {
		return "", false
	}
	return t.token, true
}

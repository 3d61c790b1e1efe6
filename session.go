package doorward

import "time"

// Session is what every token belongs to: one row, made when somebody signs in or
// exchanges a credential. When it ends, all its tokens are dead.
type Session struct {
	ID          string
	Kind        Kind       // KindUser for people, KindClient for machines
	Subject     string     // the user's id, or the client id
	Credential  string     // the user, key or API token it was made with
	Configured  bool       // the credential comes from the settings and has no row of its own
	Terms       string     // what a configured credential granted when the session was made
	Org         string     //
	Workspaces  Workspaces //
	Created     time.Time
	Ends        time.Time // absolute; no token outlives it
	AccessUntil time.Time // latest expiry of an access token (or cookie) minted in it
	Ended       time.Time // zero while it lives
	EndReason   string
	Chain       Chain // machines only
	Address     string
	UserAgent   string
}

// EndedSession is what must be remembered of a session that has ended: its id, until the
// last access token minted in it has expired.
type EndedSession struct {
	ID    string
	Until time.Time
}

// Reasons for which a session ends, as they are kept and audited.
const (
	EndSignedOut      = "signed out"
	EndReuse          = "refresh token reused"
	EndUserChanged    = "user changed"
	EndUserDeleted    = "user deleted"
	EndPassword       = "password changed"
	EndPasswordReset  = "password reset"
	EndCredentialGone = "credential no longer configured as it was"
	EndRevoked        = "revoked"
	EndKeyRevoked     = "key revoked"
	EndKeyRotated     = "key rotated, and its overlap over"
)

// Chain is the refresh chain of a machine's session: the two or three refresh tokens
// that still mean something, by their jti. Ids are never reused, so equality of ids is
// equality of tokens.
type Chain struct {
	Prev   string    // head's parent; empty at generation 0
	Head   string    // the token last presented, or the first
	Child  string    // minted from head; empty when head has none yet
	Gen    int64     // head's generation; 0 at first
	Fork   int64     // last generation of which two tokens were minted, else 0
	Minted time.Time // when the newest token was minted, to the millisecond
}

// Presentation is what presenting a refresh token came to.
type Presentation int

// The outcomes of Chain.Present.
const (
	Advanced  Presentation = iota + 1 // the chain changed and must be written; the newest token is the answer
	Repeated                          // nothing changed; the answer given before is given again
	Backwards                         // the token is newer than the row: the database went backwards
	Reused                            // a token that was already replaced: the session must end
)

// Newest is the refresh token that an answer hands out: the child, or, where the head
// has none yet, the head; with its generation.
func (c Chain) Newest() (jti string, gen int64) {
	if c.Child != "" {
		return c.Child, c.Gen + 1
	}
	return c.Head, c.Gen
}

// RefreshRules are the settings that the chain obeys.
type RefreshRules struct {
	RetryWindow time.Duration // how long the same answer is given again
	Strict      bool          // presenting a replaced token is reuse at once (RFC 9700, section 4.14.2, without tolerance)
}

// Present judges the presentation of the refresh token jti of generation gen, which says
// that it was issued at iat (Unix seconds; signed, so nobody chooses it), at the time now
// (the database's). It returns the chain as it is to be afterwards. newID makes the id of
// a new token; it is called at most once, and only for Advanced.
//
// The table is the promise: lost answers, however many, and retries within the window
// never sign an honest client out; presenting any other replaced token ends the session.
func (c Chain) Present(jti string, gen, iat int64, now time.Time, rules RefreshRules, newID func() string) (Chain, Presentation) {
	now = now.Truncate(time.Millisecond)
	hasChild := c.Child != ""
	switch {
	case hasChild && jti == c.Child && gen == c.Gen+1:
		return Chain{Prev: c.Head, Head: c.Child, Child: newID(), Gen: c.Gen + 1, Fork: c.Fork, Minted: now}, Advanced

	case jti == c.Head && gen == c.Gen && !hasChild:
		c.Child, c.Minted = newID(), now
		return c, Advanced

	case jti == c.Head && gen == c.Gen && rules.Strict:
		return c, Reused

	case jti == c.Head && gen == c.Gen:
		if now.Sub(c.Minted) < rules.RetryWindow {
			return c, Repeated
		}
		// The answer of long ago was lost: another child, and the older one is dead.
		c.Child, c.Minted, c.Fork = newID(), now, c.Gen+1
		return c, Advanced

	case c.Prev != "" && jti == c.Prev && gen == c.Gen-1 && !hasChild && !rules.Strict && now.Sub(c.Minted) < rules.RetryWindow:
		return c, Repeated

	case c.isBehind(gen, iat):
		return c, Backwards
	}
	return c, Reused
}

// isBehind reports whether a token that the row does not know, of generation gen and issued
// at iat, is newer than the row. Then the database went backwards: an older backup was
// restored, or a standby that had not caught up took over.
//
// A generation that the row does not have yet shows it. Of one that it has, two tokens
// were minted, at least a retry window apart; when the unknown one is the later, the row is
// from between the two. A token says when it was minted in whole seconds, so two of one
// second (with a window shorter than that) cannot be told apart, and it stays reuse.
//
// Of a generation below the head's no token is ever newer than the row. There iat is not
// asked, so that no clock that was set back turns a replaced token of the line into an
// alarm: of all reuse, only that of a branch given up could be taken for one, until the
// next rotation.
func (c Chain) isBehind(gen, iat int64) bool {
	if gen > c.Gen+1 || gen == c.Gen+1 && c.Child == "" {
		return true
	}
	return gen >= c.Gen && iat > c.Minted.Unix()
}

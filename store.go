package doorward

import (
	"context"
	"errors"
	"time"
)

// Store is all that Doorward keeps. Every implementation passes storetest.
//
// Common to all methods: they are safe for concurrent use by any number of callers; a
// method that changes something is one transaction, durable when it returns nil, without
// effect when it returns an error (unless the error is the context's, or the connection was
// lost while it was committed, when either may be the case); "not found" is a bool, not an error; a refusal that a client may read is an
// *Error; anything else is a foreign error and means that the fact is not known. Times
// are kept to the millisecond and judged by the store's own clock, which several nodes
// share. Only hashes come down here, never a secret.
//
// Functions given to a method (decide, change, check) run inside its transaction, may be
// called again when that is tried again, and must not call the store.
type Store interface {
	MetaStore
	UserStore
	SessionStore
	LockoutStore
	FeedStore
	DeviceStore

	// Ping reports whether the store can be read now.
	Ping(ctx context.Context) error
	// Prune deletes what means nothing any more: sessions whose tokens have all expired,
	// counters of failures older than keepFailures, devices not signed in with for DeviceLife, changes that every node has had an hour
	// to read. It deletes in small steps, so that no other writer waits long for it.
	Prune(ctx context.Context, keepFailures time.Duration) error
	Close() error
}

// ErrChanged says that what a decision was based on is no longer so. The caller reads
// again and decides again; it is never shown to a client.
var ErrChanged = errors.New("changed meanwhile")

// State is what the store knows about the first run.
type State struct {
	Initialised bool // some user, key or token existed or was configured once: open mode is over for good
	HasUsers    bool
}

// MetaStore keeps what belongs to the installation as a whole.
type MetaStore interface {
	// Salt returns the installation's 32 random bytes, keeping fresh if there are none
	// yet. Of simultaneous first calls all return the same.
	Salt(ctx context.Context, fresh []byte) ([]byte, error)
	// State reads the first-run facts.
	State(ctx context.Context) (State, error)
	// MarkInitialised sets the durable mark; again is nothing.
	MarkInitialised(ctx context.Context) error
	// KeyID reads the kid of the secret that signs; empty when none was kept yet.
	KeyID(ctx context.Context) (string, error)
	// SetKeyID keeps kid as that of the secret that signs. When it was another, a is
	// written and the feed says KeysChanged.
	SetKeyID(ctx context.Context, kid string, a AuditEntry) error
}

// UserQuery asks for a page of users, ordered by canonical username.
type UserQuery struct {
	Org    string
	Search string // canonical part of a username; empty for all
	After  string // canonical username after which the page begins
	Limit  int    // 1 to 1000
}

// UserStore keeps people.
type UserStore interface {
	// CreateFirstUser creates u if no user exists, and sets the mark, in one step; of
	// any number of simultaneous calls, on any number of nodes, one returns true.
	CreateFirstUser(ctx context.Context, u User, hash PasswordHash, a AuditEntry) (created bool, err error)
	// CreateUser creates u; a CodeConflict *Error when its canonical username is taken.
	CreateUser(ctx context.Context, u User, hash PasswordHash, a AuditEntry) error
	User(ctx context.Context, id string) (User, bool, error)
	// UserByName finds by canonical username.
	UserByName(ctx context.Context, canonical string) (User, PasswordHash, bool, error)
	Users(ctx context.Context, q UserQuery) ([]User, error)
	// ChangeUser lets change say what user id becomes, given it and the census of the
	// enabled users beside it; change's error is returned and nothing is changed. Role,
	// workspaces, disabled and must-change are kept. When any but must-change differs,
	// Version grows and all its sessions end, those of its keys too. What changes nothing
	// is not audited. Not found: false.
	ChangeUser(ctx context.Context, id string, change func(u User, others Census) (User, error), a AuditEntry) (User, []EndedSession, bool, error)
	// DeleteUser deletes user id and ends its sessions, unless check refuses.
	DeleteUser(ctx context.Context, id string, check func(u User, others Census) error, a AuditEntry) ([]EndedSession, bool, error)
	// SetPassword replaces the password unless check refuses, sets must-change, raises
	// Version, ends all the user's sessions but keep (empty for none) with reason, clears
	// the failures counted for the account and forgets the user's devices.
	SetPassword(ctx context.Context, p NewPassword, check func(u User) error, a AuditEntry) ([]EndedSession, bool, error)
	// UpgradePassword replaces the hash by a better one of the same password, if the
	// user is still at version; nothing else changes.
	UpgradePassword(ctx context.Context, id string, version int64, hash PasswordHash) error
}

// NewPassword is what SetPassword is given.
type NewPassword struct {
	UserID     string
	Hash       PasswordHash
	MustChange bool
	Keep       string // a session that lives on
	Reason     string // for which the others end
}

// RefreshState is what a refresh is decided on, read in the same transaction.
type RefreshState struct {
	Session Session
	Now     time.Time
}

// RefreshDecision is what becomes of the session: with Outcome Advanced the chain and
// AccessUntil (never lowered) are kept; with Reused the session ends; else nothing.
type RefreshDecision struct {
	Outcome     Presentation
	Chain       Chain
	AccessUntil time.Time
}

// SessionStore keeps sessions. A session made by a user is tied to that user's Version.
type SessionStore interface {
	// SignIn keeps a person's session and clears the failures of account, if user
	// s.Credential is still enabled and at version; else ErrChanged. limit bounds the live sessions
	// of one credential: past it a CodeThrottled *Error.
	SignIn(ctx context.Context, s Session, version int64, account string, limit int, a AuditEntry) error
	// CreateSession keeps a machine's session, within limit as SignIn.
	CreateSession(ctx context.Context, s Session, limit int, a AuditEntry) error
	Session(ctx context.Context, id string) (Session, bool, error)
	// AdvanceRefresh lets decide judge the presentation of a refresh token: the session is read,
	// decide called and its decision kept in one transaction that no other on the same
	// session overlaps. a is written when the session ends by it. Not found: false, and decide is not called.
	// Advancing a session that has ended is an error.
	AdvanceRefresh(ctx context.Context, id string, decide func(RefreshState) RefreshDecision, a AuditEntry) (found bool, err error)
	// EndSession ends one session; one that has ended already is found and left as it is.
	EndSession(ctx context.Context, id, reason string, a AuditEntry) (EndedSession, bool, error)
	// EndUnconfigured ends the live sessions of configured credentials that are not in
	// keep, a map from credential to its terms, with reason EndCredentialGone. For each such
	// credential a is written once, with it as the target.
	EndUnconfigured(ctx context.Context, keep map[string]string, a AuditEntry) ([]EndedSession, error)
	// EndSessions ends the sessions that q picks, with reason. All of them (the zero q) end
	// in small steps, so that no other writer waits long: each step writes a, and when one
	// fails those before it stay ended and are returned beside the error. A part of them ends
	// in one transaction, which writes a once. Where none ends, nothing is written.
	EndSessions(ctx context.Context, q SessionQuery, reason string, a AuditEntry) ([]EndedSession, error)
	// EndedSessions calls yield for every ended session that a token not yet expired
	// may belong to; an error of yield stops it and is returned.
	EndedSessions(ctx context.Context, yield func(EndedSession) error) error
	// Sessions calls yield for each session that lives and that q picks, in no order. It
	// reads page by page and holds nothing up while yield takes its time, so a session that
	// begins or ends meanwhile is among them or not. An error of yield stops it and is returned.
	Sessions(ctx context.Context, q SessionQuery, yield func(ListedSession) error) error
	// LastSessionEnd returns the latest end of any session, ended early or not: past it no
	// token that exists now is good. Zero when there is no session.
	LastSessionEnd(ctx context.Context) (time.Time, error)
}

// SessionQuery picks sessions: those of one user, in person or through a key, or those
// begun with one credential; all when both are empty.
type SessionQuery struct {
	User       string
	Credential string
}

// ListedSession is a session with what a list of sessions shows beside it.
type ListedSession struct {
	Session
	Username string // of the person whose it is; empty for a machine's
}

// Change is something that every node must know of. The store numbers changes in the order
// in which they are committed: once a number has been read, no smaller one appears.
type Change struct {
	Number int64
	What   ChangeKind
	Target string    // the session, for SessionEnded; the kid, for KeysChanged
	Until  time.Time // for SessionEnded: the latest expiry of a token minted in it
}

// ChangeKind says what has changed. Kinds that a node does not know are of a newer version
// of this program, and are passed over.
type ChangeKind string

// The kinds of change.
const (
	SessionEnded ChangeKind = "session_ended"
	KeysChanged  ChangeKind = "keys_changed"
)

// ErrFeedGap says that changes after the number asked for are no longer kept, or that the
// database went backwards behind it. The caller reads everything anew.
var ErrFeedGap = errors.New("the changes since then are not kept any more")

// FeedStore lets nodes, and the command line, hear of each other's changes. Whatever ends
// a session writes its change last in the same transaction.
type FeedStore interface {
	// LastChange returns the number of the newest change, 0 if there was none yet.
	LastChange(ctx context.Context) (int64, error)
	// Changes calls yield for each change after the number after, in order, and returns the
	// number of the last one committed when it looked: where to go on from. ErrFeedGap when some are not
	// kept any more. An error of yield stops it and is returned.
	Changes(ctx context.Context, after int64, yield func(Change) error) (last int64, err error)
	// AwaitChange returns when something may have changed since the last call, after atMost
	// at the latest. It is a hint and promises nothing; one caller at a time.
	AwaitChange(ctx context.Context, atMost time.Duration)
}

// LockoutStore counts failed attempts at accounts, whether or not they exist.
type LockoutStore interface {
	// CountFailure reserves one comparison for account as policy.Count says, atomically:
	// of any number of simultaneous calls no more than policy.Attempts get 0. Otherwise it returns
	// the time until the lock ends.
	CountFailure(ctx context.Context, account string, policy LockoutPolicy) (left time.Duration, err error)
	// LockedFor returns the time until account's lock ends, 0 when it is not locked.
	LockedFor(ctx context.Context, account string) (time.Duration, error)
	// ClearFailures forgets what was counted for account, and for each of its devices: under its
	// name, a space and more.
	ClearFailures(ctx context.Context, account string, a AuditEntry) error
}

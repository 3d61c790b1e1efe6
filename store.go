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
	TenancyStore
	SessionStore
	LockoutStore
	FeedStore
	KeyStore
	AuditStore
	HeldSessionStore
	DeviceStore
	InviteStore
	StandingStore

	// Ping reports whether the store can be read now.
	Ping(ctx context.Context) error
	// Prune deletes what means nothing any more: sessions whose tokens have all expired,
	// counters of failures older than keepFailures, devices not signed in with for DeviceLife,
	// invitations that are over, keys revoked a day ago, changes that every node has had an hour to read. It deletes in small steps, so that no other writer waits long for it.
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
	HasKeys     bool // made at run time and not revoked
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

// UserQuery asks for a page of users, ordered by canonical username. A search lists those
// whose name begins with the text first, and then those who hold it elsewhere.
type UserQuery struct {
	Org    string
	Search string // canonical part of a username; empty for all
	After  string // where the page begins, as a page before it said; empty for the first
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
	// Users returns a page and where the next one begins, empty at the end. A page of a
	// search looks at a bounded number of names, so it may be short though there is a next.
	Users(ctx context.Context, q UserQuery) (page []User, next string, err error)
	// CreateUsers creates all of them, each with its audit entry, or none: a CodeConflict *Error
	// names those whose canonical username is taken.
	CreateUsers(ctx context.Context, all []NewAccount) error
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

// NewAccount is a user to be created, as CreateUser is given it.
type NewAccount struct {
	User  User
	Hash  PasswordHash
	Audit AuditEntry
}

// PlaceQuery asks for a page of organizations, or of the workspaces of one, ordered by id.
type PlaceQuery struct {
	Org    string // for workspaces
	Search string // part of an id or a name, without regard to case; empty for all
	After  string // id after which the page begins
	Limit  int    // 1 to 1000
}

// MemberQuery asks for a page of the people in a workspace, ordered by id.
type MemberQuery struct {
	Org, Workspace string
	After          string // id of the user after whom the page begins
	Limit          int    // 1 to 101
}

// TenancyStore keeps organizations and workspaces. What changes which of them there are, or
// an organization's name, says PlacesChanged in the feed.
type TenancyStore interface {
	// Places calls yield for each organization, or for org alone when it is not empty, with
	// the ids of its workspaces; an error of yield stops it and is returned.
	Places(ctx context.Context, org string, yield func(Organization, []string) error) error
	// Organizations returns a page and where the next one begins, empty at the end. A page of
	// a search looks at a bounded number, so it may be short though there is a next.
	Organizations(ctx context.Context, q PlaceQuery) (page []Organization, next string, err error)
	// CreateOrganization creates o and its workspace Default; a CodeConflict *Error when the id is taken.
	CreateOrganization(ctx context.Context, o Organization, a AuditEntry) error
	RenameOrganization(ctx context.Context, id, name string, a AuditEntry) (Organization, bool, error)
	// DeleteOrganization deletes an organization and its workspaces, unless check refuses what is in it.
	DeleteOrganization(ctx context.Context, id string, check func(Occupants) error, a AuditEntry) (found bool, err error)

	// Workspaces is as Organizations, of one of them.
	Workspaces(ctx context.Context, q PlaceQuery) (page []Workspace, next string, err error)
	Workspace(ctx context.Context, org, id string) (Workspace, bool, error)
	// CreateWorkspace creates w; a CodeConflict *Error when the id is taken, CodeNotFound when
	// there is no such organization. Unless empty, member becomes one, if check allows it: that raises their Version
	// and ends their sessions.
	CreateWorkspace(ctx context.Context, w Workspace, member string, check func(User) error, a AuditEntry) ([]EndedSession, error)
	RenameWorkspace(ctx context.Context, org, id, name string, a AuditEntry) (Workspace, bool, error)
	// DeleteWorkspace deletes a workspace, unless check refuses what is in it. A member leaving who is in
	// another one as well is not counted, and leaves as by ChangeUser.
	DeleteWorkspace(ctx context.Context, org, id, leaving string, check func(Occupants) error, a AuditEntry) ([]EndedSession, bool, error)
	// Members returns a page of the people in a workspace.
	Members(ctx context.Context, q MemberQuery) ([]User, error)
}

// RefreshState is what a refresh is decided on, read in the same transaction.
type RefreshState struct {
	Session Session
	Now     time.Time
	Key     *KeyState // with which a machine's session was made; nil when it was not made with a key kept here, or that is gone
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
	Keep       string // but not this one; only EndSessions reads it, and only beside one of the others
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
	Target string    // the session, for SessionEnded; the kid, for KeysChanged; else the key, the user, the organization
	Until  time.Time // for SessionEnded: the latest expiry of a token minted in it
}

// ChangeKind says what has changed. Kinds that a node does not know are of a newer version
// of this program, and are passed over.
type ChangeKind string

// The kinds of change.
const (
	SessionEnded  ChangeKind = "session_ended"
	KeysChanged   ChangeKind = "keys_changed"
	KeyChanged    ChangeKind = "api_key_changed"   // an API key was made, revoked or rotated
	OwnerChanged  ChangeKind = "key_owner_changed" // a user who has API keys is not what they were
	PlacesChanged ChangeKind = "places_changed"    // an organization, its name or which workspaces it has
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

// KeyStore keeps the API keys made at run time. Whatever makes a key good or no good writes
// a change of KeyChanged or OwnerChanged.
type KeyStore interface {
	// CreateKey keeps k under the hash of its secret and sets the mark, unless check refuses
	// the owner as they are in the same transaction, or they have limit keys already (a
	// CodeConflict *Error). check is not called for a service key. A CodeInvalid *Error for a
	// workspace that there is not, or an owner.
	CreateKey(ctx context.Context, k Key, hash SecretHash, limit int, check func(owner User) error, a AuditEntry) (KeyState, error)
	// Key reads a key, a revoked one too.
	Key(ctx context.Context, id string) (KeyState, bool, error)
	Keys(ctx context.Context, q KeyQuery) ([]KeyState, error)
	// RevokeKey revokes key id, unless check refuses, and ends the sessions made with it. One
	// that is revoked already is not found.
	RevokeKey(ctx context.Context, id string, check func(k KeyState) error, a AuditEntry) (KeyState, []EndedSession, bool, error)
	// RotateKey keeps what rotate makes of key id at the time now: a new key with its terms,
	// and until when the old one lives on; no session of the old one outlives that. When that is over
	// at once the old key is revoked as by RevokeKey.
	RotateKey(ctx context.Context, id string, rotate func(old KeyState, now time.Time) (KeyRotation, error), a AuditEntry) (old, next KeyState, ended []EndedSession, found bool, err error)
	// CreateKeySession keeps the session that begin makes, given key id and its owner as no
	// other transaction can change them before this one ends; within limit as SignIn.
	// begin's error is returned. A revoked key is not found.
	CreateKeySession(ctx context.Context, id string, limit int, begin func(k KeyState, now time.Time) (Session, error), a AuditEntry) (found bool, err error)
	// EndStoppedKeys revokes the keys whose overlap after rotation is over, ends their
	// sessions, and returns when the next overlap ends (zero for none). For each such key a is written, with it as the target.
	EndStoppedKeys(ctx context.Context, a AuditEntry) (ended []EndedSession, next time.Time, err error)
	// NoteKeyUses keeps that these keys are used now, of each at most once a minute.
	NoteKeyUses(ctx context.Context, ids []string) error
	// LoadKeys yields the keys of these ids, revoked ones too; all that are not revoked when
	// ids is nil. An id may be given twice.
	LoadKeys(ctx context.Context, ids []string, yield func(KeyRecord) error) error
	// LoadHolders yields the users of these ids; those who have keys when ids is nil.
	LoadHolders(ctx context.Context, ids []string, yield func(User) error) error
}

// LockoutStore counts failed attempts at accounts, whether or not they exist.
type LockoutStore interface {
	// CountFailure reserves one comparison for account as policy.Count says, atomically:
	// of any number of simultaneous calls no more than policy.Attempts get 0. Otherwise it returns
	// the time until the lock ends.
	//
	// With the failure a is written, as failed, and when it locks the account an ActionLock
	// beside it. Where a has no Target or no Org, they are those of the account's user,
	// whose name account is up to the first space, if it holds one: no username does. What ends well
	// (SignIn, SetPassword) takes back what its request has written so. An a without an Action is not written.
	CountFailure(ctx context.Context, account string, policy LockoutPolicy, a AuditEntry) (left time.Duration, err error)
	// LockedFor returns the time until account's lock ends, 0 when it is not locked.
	LockedFor(ctx context.Context, account string) (time.Duration, error)
	// LockedAccounts returns at most limit users of org whose accounts are locked now, those that
	// stay so longest first. A lock of one browser of theirs alone is none.
	LockedAccounts(ctx context.Context, org string, limit int) ([]LockedAccount, error)
	// ClearFailures forgets what was counted for account, and for each of its devices: under its
	// name, a space and more.
	ClearFailures(ctx context.Context, account string, a AuditEntry) error
}

// AuditStore keeps the audit log. What changes something writes its entry by itself.
type AuditStore interface {
	// WriteAudit writes an entry that nothing else is written with.
	WriteAudit(ctx context.Context, a AuditEntry) error
	// Audit returns the entries that q asks for, newest first.
	Audit(ctx context.Context, q AuditQuery) ([]AuditRecord, error)
	// CountByHour counts the entries of these organizations in each hour since the one of since,
	// oldest first; hours in which there was nothing are left out.
	CountByHour(ctx context.Context, orgs []string, since time.Time) ([]HourCount, error)
	// PruneAudit deletes what is older than keep, in small steps as Prune does.
	PruneAudit(ctx context.Context, keep time.Duration) error
}

// HeldSessionStore reads sessions for those whose they are.
type HeldSessionStore interface {
	// HeldSession reads a session, ended or not, with whose it is.
	HeldSession(ctx context.Context, id string) (HeldSession, bool, error)
	// SessionPage returns at most limit of the sessions that live and that q, which names a user or
	// a credential, picks: those that end last first, from after on (zero for the first page).
	SessionPage(ctx context.Context, q SessionQuery, after SessionMark, limit int) ([]ListedSession, error)
	// OrgSessions returns a page of the sessions of an organization that live and that may lets
	// through, by whose they are, and where the next one begins, zero at the end. A page
	// looks at a bounded number, so it may be short though there is a next. may is asked about each on the way,
	// and must not call the store.
	OrgSessions(ctx context.Context, q OrgSessionQuery, may func(HeldSession) bool) (page []HeldSession, next SessionPlace, err error)
}

// OrgSessionQuery asks for a page of the sessions of an organization, in the order of what they are
// listed by: the name of the person whose it is, or, of a machine's, that of its key's owner if
// it has one, the client id, and the name of its key. A search lists those of which that
// begins with the text first, and then those in which it stands elsewhere.
type OrgSessionQuery struct {
	Org    string
	Search string       // without regard to case; empty for all
	After  SessionPlace // where the page begins, as a page before it said; zero for the first
	Limit  int          // 1 to 1000
}

// SessionPlace is a place in the list of an organization's sessions.
type SessionPlace struct {
	Within bool   // in the second part of a search
	Listed string // what the session before it is listed by, in lower case
	ID     string
}

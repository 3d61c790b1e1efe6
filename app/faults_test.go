package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"doorward"
	frontdoor "doorward/door"
	"doorward/gate"
	"doorward/proxy"
	"doorward/store"
)

// This file asks of every call of the store what happens when it fails, in a set of
// stories that a server, its clients and a second node go through. Each story is told
// once without a fault and then again and again, each time with one fault at one call of
// the store, from the first to the last, the start of the server included.
//
// The rule. A request that was answered "temporarily unavailable" was not acknowledged: it may
// have had its effect or not. So whatever a server says with a fault must be what it
// could say without any, had each unacknowledged request either been made or not been made
// at all. For a run with a fault let U be the requests answered so. There must be a part S of U
// such that the same story without a fault and without the requests in S
//
//   - lets in at least every request that the faulty run let in, each as the same identity,
//     with the same role and in the same workspace (what the service behind saw, what the
//     tokens handed out say), and
//   - ends with at least the users that the faulty run ended with, each with the same role,
//     workspaces, and state.
//
// So a sign-out that failed and was said to have failed may leave its session alive; one
// that was acknowledged may not, whatever failed and whenever. An error never opens a
// door, makes a user or raises a role, since no run without a fault would.
//
// Beside the rule: no answer is a 500, a panic or an error other than those promised; after
// the next reading of the feed no token of a session that the store has ended is let in, on
// this node or on one started anew; and of who asks again after such an answer nobody is
// signed out, if the request can be repeated at all.

// faultKind is how a call of the store goes wrong.
type faultKind string

const (
	noFault   faultKind = ""
	fails     faultKind = "fails"               // an error, no effect
	lost      faultKind = "loses its answer"    // the effect, and an error
	breaksOff faultKind = "breaks off"          // a list, after its first entry
	slow      faultKind = "is slow"             // past max_staleness, by the clock; no error
	hangsUp   faultKind = "outlasts the client" // whose context ends as the call begins
	lasts     faultKind = "fails with the nine after it"
	stays     faultKind = "fails with all after it"
)

// kindsOf is what can go wrong with a call.
func kindsOf(method string, underRequest bool) []faultKind {
	kinds := []faultKind{fails, slow}
	switch method {
	case "Changes", "EndedSessions", "Sessions", "LoadKeys", "LoadHolders", "Places":
		kinds = append(kinds, breaksOff)
	case "State", "KeyID", "User", "UserByName", "Users", "Session", "LastSessionEnd", "LastChange", "LockedFor", "Ping",
		"Key", "Keys", "Organizations", "Workspaces", "Workspace", "Members", "Device", "Invited", "Standings", "Holdings",
		"HeldSession", "OrgSessions":
	default: // what changes something; to lose what was read is to have failed
		kinds = append(kinds, lost)
	}
	if underRequest {
		kinds = append(kinds, hangsUp)
	}
	return append(kinds, lasts, stays)
}

var errFault = errors.New("a fault put in by a test")

// faultyStore is the store below with a fault at one of its calls. A test sees to it that no
// method goes past it to the store embedded.
type faultyStore struct {
	doorward.Store
	slow   func() // time passes
	hangUp func() // the client of the request under way goes

	mu    sync.Mutex
	at    int // the call that goes wrong, from 1; 0 for none
	kind  faultKind
	calls []string // the methods called, in order
	asked []bool   // whether a request was under way
	under bool     // whether one is
}

// next counts a call and says how it goes.
func (f *faultyStore) next(method string) faultKind {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.asked = append(f.calls, method), append(f.asked, f.under)
	n := len(f.calls)
	switch {
	case f.at == 0 || n < f.at:
		return noFault
	case f.kind == stays, f.kind == lasts && n < f.at+10:
		return fails
	case n == f.at:
		return f.kind
	}
	return noFault
}

// past reports whether the fault lies behind.
func (f *faultyStore) past() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at > 0 && len(f.calls) >= f.at
}

// request says that one begins, or ends.
func (f *faultyStore) request(under bool, hangUp func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.under, f.hangUp = under, hangUp
}

// fault is the error of a call that had no effect: of every second one, that it took too long.
func (f *faultyStore) fault(method string) error {
	if f.kind == breaksOff || f.at%2 == 0 {
		return fmt.Errorf("cannot %s: %w", method, context.DeadlineExceeded)
	}
	return errFault
}

// do makes one call. What call has set stays set when its answer is lost, so that
// whoever does not look at the error is found out.
func (f *faultyStore) do(method string, call func() error) error {
	switch f.next(method) {
	case fails:
		return f.fault(method)
	case lost:
		_ = call()
		return errFault
	case slow:
		f.slow()
	case hangsUp:
		f.hangUp()
	}
	return call()
}

// faultyEach makes one call of a method that yields; timing out it breaks off after one entry.
func faultyEach[T any](f *faultyStore, method string, yield func(T) error, call func(yield func(T) error) error) error {
	kind := f.next(method)
	switch kind {
	case fails:
		return f.fault(method)
	case breaksOff:
		n := 0
		_ = call(func(v T) error {
			if n++; n > 1 {
				return errFault
			}
			return yield(v)
		})
		return f.fault(method)
	case lost:
		_ = call(yield)
		return errFault
	case slow:
		f.slow()
	case hangsUp:
		f.hangUp()
	}
	return call(yield)
}

func (f *faultyStore) Salt(ctx context.Context, fresh []byte) (salt []byte, err error) {
	err = f.do("Salt", func() error { salt, err = f.Store.Salt(ctx, fresh); return err })
	return salt, err
}

func (f *faultyStore) State(ctx context.Context) (s doorward.State, err error) {
	err = f.do("State", func() error { s, err = f.Store.State(ctx); return err })
	return s, err
}

func (f *faultyStore) MarkInitialised(ctx context.Context) error {
	return f.do("MarkInitialised", func() error { return f.Store.MarkInitialised(ctx) })
}

func (f *faultyStore) KeyID(ctx context.Context) (kid string, err error) {
	err = f.do("KeyID", func() error { kid, err = f.Store.KeyID(ctx); return err })
	return kid, err
}

func (f *faultyStore) SetKeyID(ctx context.Context, kid string, a doorward.AuditEntry) error {
	return f.do("SetKeyID", func() error { return f.Store.SetKeyID(ctx, kid, a) })
}

func (f *faultyStore) CreateFirstUser(ctx context.Context, u doorward.User, hash doorward.PasswordHash, a doorward.AuditEntry) (created bool, err error) {
	err = f.do("CreateFirstUser", func() error { created, err = f.Store.CreateFirstUser(ctx, u, hash, a); return err })
	return created, err
}

func (f *faultyStore) CreateUser(ctx context.Context, u doorward.User, hash doorward.PasswordHash, a doorward.AuditEntry) error {
	return f.do("CreateUser", func() error { return f.Store.CreateUser(ctx, u, hash, a) })
}

func (f *faultyStore) User(ctx context.Context, id string) (u doorward.User, found bool, err error) {
	err = f.do("User", func() error { u, found, err = f.Store.User(ctx, id); return err })
	return u, found, err
}

func (f *faultyStore) UserByName(ctx context.Context, canonical string) (u doorward.User, h doorward.PasswordHash, found bool, err error) {
	err = f.do("UserByName", func() error { u, h, found, err = f.Store.UserByName(ctx, canonical); return err })
	return u, h, found, err
}

func (f *faultyStore) Users(ctx context.Context, q doorward.UserQuery) (users []doorward.User, next string, err error) {
	err = f.do("Users", func() error { users, next, err = f.Store.Users(ctx, q); return err })
	return users, next, err
}

func (f *faultyStore) CreateUsers(ctx context.Context, all []doorward.NewAccount) error {
	return f.do("CreateUsers", func() error { return f.Store.CreateUsers(ctx, all) })
}

func (f *faultyStore) CreateInvited(ctx context.Context, u doorward.User, code doorward.SecretHash, life time.Duration, made, invited doorward.AuditEntry) (expires time.Time, err error) {
	err = f.do("CreateInvited", func() error { expires, err = f.Store.CreateInvited(ctx, u, code, life, made, invited); return err })
	return expires, err
}

func (f *faultyStore) Invite(ctx context.Context, id string, code doorward.SecretHash, life time.Duration, check func(doorward.User) error, a doorward.AuditEntry) (expires time.Time, found bool, err error) {
	err = f.do("Invite", func() error { expires, found, err = f.Store.Invite(ctx, id, code, life, check, a); return err })
	return expires, found, err
}

func (f *faultyStore) Invited(ctx context.Context, code doorward.SecretHash) (u doorward.User, found bool, err error) {
	err = f.do("Invited", func() error { u, found, err = f.Store.Invited(ctx, code); return err })
	return u, found, err
}

func (f *faultyStore) AcceptInvite(ctx context.Context, code doorward.SecretHash, p doorward.NewPassword, a doorward.AuditEntry) (u doorward.User, ended []doorward.EndedSession, found bool, err error) {
	err = f.do("AcceptInvite", func() error { u, ended, found, err = f.Store.AcceptInvite(ctx, code, p, a); return err })
	return u, ended, found, err
}

func (f *faultyStore) Standings(ctx context.Context, ids []string) (all map[string]doorward.Standing, err error) {
	err = f.do("Standings", func() error { all, err = f.Store.Standings(ctx, ids); return err })
	return all, err
}

func (f *faultyStore) Holdings(ctx context.Context, id string) (h doorward.Holdings, err error) {
	err = f.do("Holdings", func() error { h, err = f.Store.Holdings(ctx, id); return err })
	return h, err
}

func (f *faultyStore) Places(ctx context.Context, org string, yield func(doorward.Organization, []string) error) error {
	type place struct {
		org        doorward.Organization
		workspaces []string
	}
	return faultyEach(f, "Places", func(p place) error { return yield(p.org, p.workspaces) }, func(yield func(place) error) error {
		return f.Store.Places(ctx, org, func(o doorward.Organization, workspaces []string) error { return yield(place{o, workspaces}) })
	})
}

func (f *faultyStore) Organizations(ctx context.Context, q doorward.PlaceQuery) (all []doorward.Organization, next string, err error) {
	err = f.do("Organizations", func() error { all, next, err = f.Store.Organizations(ctx, q); return err })
	return all, next, err
}

func (f *faultyStore) CreateOrganization(ctx context.Context, o doorward.Organization, a doorward.AuditEntry) error {
	return f.do("CreateOrganization", func() error { return f.Store.CreateOrganization(ctx, o, a) })
}

func (f *faultyStore) RenameOrganization(ctx context.Context, id, name string, a doorward.AuditEntry) (o doorward.Organization, found bool, err error) {
	err = f.do("RenameOrganization", func() error { o, found, err = f.Store.RenameOrganization(ctx, id, name, a); return err })
	return o, found, err
}

func (f *faultyStore) DeleteOrganization(ctx context.Context, id string, check func(doorward.Occupants) error, a doorward.AuditEntry) (found bool, err error) {
	err = f.do("DeleteOrganization", func() error { found, err = f.Store.DeleteOrganization(ctx, id, check, a); return err })
	return found, err
}

func (f *faultyStore) Workspaces(ctx context.Context, q doorward.PlaceQuery) (all []doorward.Workspace, next string, err error) {
	err = f.do("Workspaces", func() error { all, next, err = f.Store.Workspaces(ctx, q); return err })
	return all, next, err
}

func (f *faultyStore) Workspace(ctx context.Context, org, id string) (w doorward.Workspace, found bool, err error) {
	err = f.do("Workspace", func() error { w, found, err = f.Store.Workspace(ctx, org, id); return err })
	return w, found, err
}

func (f *faultyStore) CreateWorkspace(ctx context.Context, w doorward.Workspace, member string, check func(doorward.User) error, a doorward.AuditEntry) (ended []doorward.EndedSession, err error) {
	err = f.do("CreateWorkspace", func() error { ended, err = f.Store.CreateWorkspace(ctx, w, member, check, a); return err })
	return ended, err
}

func (f *faultyStore) RenameWorkspace(ctx context.Context, org, id, name string, a doorward.AuditEntry) (w doorward.Workspace, found bool, err error) {
	err = f.do("RenameWorkspace", func() error { w, found, err = f.Store.RenameWorkspace(ctx, org, id, name, a); return err })
	return w, found, err
}

func (f *faultyStore) DeleteWorkspace(ctx context.Context, org, id, leaving string, check func(doorward.Occupants) error, a doorward.AuditEntry) (ended []doorward.EndedSession, found bool, err error) {
	err = f.do("DeleteWorkspace", func() error { ended, found, err = f.Store.DeleteWorkspace(ctx, org, id, leaving, check, a); return err })
	return ended, found, err
}

func (f *faultyStore) Members(ctx context.Context, q doorward.MemberQuery) (users []doorward.User, err error) {
	err = f.do("Members", func() error { users, err = f.Store.Members(ctx, q); return err })
	return users, err
}

func (f *faultyStore) ChangeUser(ctx context.Context, id string, change func(doorward.User, doorward.Census) (doorward.User, error), a doorward.AuditEntry) (u doorward.User, ended []doorward.EndedSession, found bool, err error) {
	err = f.do("ChangeUser", func() error { u, ended, found, err = f.Store.ChangeUser(ctx, id, change, a); return err })
	return u, ended, found, err
}

func (f *faultyStore) DeleteUser(ctx context.Context, id string, check func(doorward.User, doorward.Census) error, a doorward.AuditEntry) (ended []doorward.EndedSession, found bool, err error) {
	err = f.do("DeleteUser", func() error { ended, found, err = f.Store.DeleteUser(ctx, id, check, a); return err })
	return ended, found, err
}

func (f *faultyStore) SetPassword(ctx context.Context, p doorward.NewPassword, check func(doorward.User) error, a doorward.AuditEntry) (ended []doorward.EndedSession, found bool, err error) {
	err = f.do("SetPassword", func() error { ended, found, err = f.Store.SetPassword(ctx, p, check, a); return err })
	return ended, found, err
}

func (f *faultyStore) UpgradePassword(ctx context.Context, id string, version int64, hash doorward.PasswordHash) error {
	return f.do("UpgradePassword", func() error { return f.Store.UpgradePassword(ctx, id, version, hash) })
}

func (f *faultyStore) SignIn(ctx context.Context, s doorward.Session, version int64, account string, limit int, a doorward.AuditEntry) error {
	return f.do("SignIn", func() error { return f.Store.SignIn(ctx, s, version, account, limit, a) })
}

func (f *faultyStore) CreateSession(ctx context.Context, s doorward.Session, limit int, a doorward.AuditEntry) error {
	return f.do("CreateSession", func() error { return f.Store.CreateSession(ctx, s, limit, a) })
}

func (f *faultyStore) Session(ctx context.Context, id string) (s doorward.Session, found bool, err error) {
	err = f.do("Session", func() error { s, found, err = f.Store.Session(ctx, id); return err })
	return s, found, err
}

func (f *faultyStore) AdvanceRefresh(ctx context.Context, id string, decide func(doorward.RefreshState) doorward.RefreshDecision, a doorward.AuditEntry) (found bool, err error) {
	err = f.do("AdvanceRefresh", func() error { found, err = f.Store.AdvanceRefresh(ctx, id, decide, a); return err })
	return found, err
}

func (f *faultyStore) EndSession(ctx context.Context, id, reason string, a doorward.AuditEntry) (e doorward.EndedSession, found bool, err error) {
	err = f.do("EndSession", func() error { e, found, err = f.Store.EndSession(ctx, id, reason, a); return err })
	return e, found, err
}

func (f *faultyStore) EndUnconfigured(ctx context.Context, keep map[string]string, a doorward.AuditEntry) (ended []doorward.EndedSession, err error) {
	err = f.do("EndUnconfigured", func() error { ended, err = f.Store.EndUnconfigured(ctx, keep, a); return err })
	return ended, err
}

func (f *faultyStore) EndSessions(ctx context.Context, q doorward.SessionQuery, reason string, a doorward.AuditEntry) (ended []doorward.EndedSession, err error) {
	err = f.do("EndSessions", func() error { ended, err = f.Store.EndSessions(ctx, q, reason, a); return err })
	return ended, err
}

func (f *faultyStore) Sessions(ctx context.Context, q doorward.SessionQuery, yield func(doorward.ListedSession) error) error {
	return faultyEach(f, "Sessions", yield, func(yield func(doorward.ListedSession) error) error { return f.Store.Sessions(ctx, q, yield) })
}

func (f *faultyStore) LastSessionEnd(ctx context.Context) (end time.Time, err error) {
	err = f.do("LastSessionEnd", func() error { end, err = f.Store.LastSessionEnd(ctx); return err })
	return end, err
}

func (f *faultyStore) EndedSessions(ctx context.Context, yield func(doorward.EndedSession) error) error {
	return faultyEach(f, "EndedSessions", yield, func(yield func(doorward.EndedSession) error) error { return f.Store.EndedSessions(ctx, yield) })
}

func (f *faultyStore) LastChange(ctx context.Context) (n int64, err error) {
	err = f.do("LastChange", func() error { n, err = f.Store.LastChange(ctx); return err })
	return n, err
}

func (f *faultyStore) Changes(ctx context.Context, after int64, yield func(doorward.Change) error) (last int64, err error) {
	err = faultyEach(f, "Changes", yield, func(yield func(doorward.Change) error) error {
		last, err = f.Store.Changes(ctx, after, yield)
		return err
	})
	return last, err
}

func (f *faultyStore) CreateKey(ctx context.Context, k doorward.Key, hash doorward.SecretHash, limit int, check func(doorward.User) error, a doorward.AuditEntry) (made doorward.KeyState, err error) {
	err = f.do("CreateKey", func() error { made, err = f.Store.CreateKey(ctx, k, hash, limit, check, a); return err })
	return made, err
}

func (f *faultyStore) Key(ctx context.Context, id string) (k doorward.KeyState, found bool, err error) {
	err = f.do("Key", func() error { k, found, err = f.Store.Key(ctx, id); return err })
	return k, found, err
}

func (f *faultyStore) Keys(ctx context.Context, q doorward.KeyQuery) (keys []doorward.KeyState, err error) {
	err = f.do("Keys", func() error { keys, err = f.Store.Keys(ctx, q); return err })
	return keys, err
}

func (f *faultyStore) RevokeKey(ctx context.Context, id string, check func(doorward.KeyState) error, a doorward.AuditEntry) (k doorward.KeyState, ended []doorward.EndedSession, found bool, err error) {
	err = f.do("RevokeKey", func() error { k, ended, found, err = f.Store.RevokeKey(ctx, id, check, a); return err })
	return k, ended, found, err
}

func (f *faultyStore) RotateKey(ctx context.Context, id string, rotate func(doorward.KeyState, time.Time) (doorward.KeyRotation, error), a doorward.AuditEntry) (old, next doorward.KeyState, ended []doorward.EndedSession, found bool, err error) {
	err = f.do("RotateKey", func() error { old, next, ended, found, err = f.Store.RotateKey(ctx, id, rotate, a); return err })
	return old, next, ended, found, err
}

func (f *faultyStore) CreateKeySession(ctx context.Context, id string, limit int, begin func(doorward.KeyState, time.Time) (doorward.Session, error), a doorward.AuditEntry) (found bool, err error) {
	err = f.do("CreateKeySession", func() error { found, err = f.Store.CreateKeySession(ctx, id, limit, begin, a); return err })
	return found, err
}

func (f *faultyStore) EndStoppedKeys(ctx context.Context, a doorward.AuditEntry) (ended []doorward.EndedSession, next time.Time, err error) {
	err = f.do("EndStoppedKeys", func() error { ended, next, err = f.Store.EndStoppedKeys(ctx, a); return err })
	return ended, next, err
}

func (f *faultyStore) NoteKeyUses(ctx context.Context, ids []string) error {
	return f.do("NoteKeyUses", func() error { return f.Store.NoteKeyUses(ctx, ids) })
}

func (f *faultyStore) LoadKeys(ctx context.Context, ids []string, yield func(doorward.KeyRecord) error) error {
	return faultyEach(f, "LoadKeys", yield, func(yield func(doorward.KeyRecord) error) error { return f.Store.LoadKeys(ctx, ids, yield) })
}

func (f *faultyStore) LoadHolders(ctx context.Context, ids []string, yield func(doorward.User) error) error {
	return faultyEach(f, "LoadHolders", yield, func(yield func(doorward.User) error) error { return f.Store.LoadHolders(ctx, ids, yield) })
}

func (f *faultyStore) CountFailure(ctx context.Context, account string, policy doorward.LockoutPolicy, a doorward.AuditEntry) (left time.Duration, err error) {
	err = f.do("CountFailure", func() error { left, err = f.Store.CountFailure(ctx, account, policy, a); return err })
	return left, err
}

func (f *faultyStore) LockedFor(ctx context.Context, account string) (left time.Duration, err error) {
	err = f.do("LockedFor", func() error { left, err = f.Store.LockedFor(ctx, account); return err })
	return left, err
}

func (f *faultyStore) LockedAccounts(ctx context.Context, org string, limit int) (all []doorward.LockedAccount, err error) {
	err = f.do("LockedAccounts", func() error { all, err = f.Store.LockedAccounts(ctx, org, limit); return err })
	return all, err
}

func (f *faultyStore) ClearFailures(ctx context.Context, account string, a doorward.AuditEntry) error {
	return f.do("ClearFailures", func() error { return f.Store.ClearFailures(ctx, account, a) })
}

func (f *faultyStore) HeldSession(ctx context.Context, id string) (s doorward.HeldSession, found bool, err error) {
	err = f.do("HeldSession", func() error { s, found, err = f.Store.HeldSession(ctx, id); return err })
	return s, found, err
}

func (f *faultyStore) SessionPage(ctx context.Context, q doorward.SessionQuery, after doorward.SessionMark, limit int) (page []doorward.ListedSession, err error) {
	err = f.do("SessionPage", func() error { page, err = f.Store.SessionPage(ctx, q, after, limit); return err })
	return page, err
}

func (f *faultyStore) OrgSessions(ctx context.Context, q doorward.OrgSessionQuery, may func(doorward.HeldSession) bool) (page []doorward.HeldSession, next doorward.SessionPlace, err error) {
	err = f.do("OrgSessions", func() error { page, next, err = f.Store.OrgSessions(ctx, q, may); return err })
	return page, next, err
}

func (f *faultyStore) WriteAudit(ctx context.Context, a doorward.AuditEntry) error {
	return f.do("WriteAudit", func() error { return f.Store.WriteAudit(ctx, a) })
}

func (f *faultyStore) Audit(ctx context.Context, q doorward.AuditQuery) (page []doorward.AuditRecord, err error) {
	err = f.do("Audit", func() error { page, err = f.Store.Audit(ctx, q); return err })
	return page, err
}

func (f *faultyStore) CountByHour(ctx context.Context, orgs []string, since time.Time) (all []doorward.HourCount, err error) {
	err = f.do("CountByHour", func() error { all, err = f.Store.CountByHour(ctx, orgs, since); return err })
	return all, err
}

func (f *faultyStore) PruneAudit(ctx context.Context, keep time.Duration) error {
	return f.do("PruneAudit", func() error { return f.Store.PruneAudit(ctx, keep) })
}

func (f *faultyStore) Device(ctx context.Context, account string, shown []doorward.DeviceHash) (h doorward.DeviceHash, found bool, err error) {
	err = f.do("Device", func() error { h, found, err = f.Store.Device(ctx, account, shown); return err })
	return h, found, err
}

func (f *faultyStore) KeepDevice(ctx context.Context, d doorward.Device) (kept bool, err error) {
	err = f.do("KeepDevice", func() error { kept, err = f.Store.KeepDevice(ctx, d); return err })
	return kept, err
}

func (f *faultyStore) ForgetFailures(ctx context.Context, account, requestID string) error {
	return f.do("ForgetFailures", func() error { return f.Store.ForgetFailures(ctx, account, requestID) })
}

func (f *faultyStore) Ping(ctx context.Context) error {
	return f.do("Ping", func() error { return f.Store.Ping(ctx) })
}

func (f *faultyStore) Prune(ctx context.Context, keepFailures time.Duration) error {
	return f.do("Prune", func() error { return f.Store.Prune(ctx, keepFailures) })
}

// TestTheFaultyStoreGoesWrongWhereItIsTold, in each of its methods.
func TestTheFaultyStoreGoesWrongWhereItIsTold(t *testing.T) {
	t.Parallel()
	all := reflect.TypeFor[doorward.Store]()
	for i := range all.NumMethod() {
		m := all.Method(i)
		if m.Name == "AwaitChange" || m.Name == "Close" {
			continue // a hint that says nothing, and the end
		}
		f := &faultyStore{at: 3, kind: fails, calls: []string{"one", "two"}} // with nothing below
		var args []reflect.Value
		for j := range m.Type.NumIn() {
			args = append(args, reflect.Zero(m.Type.In(j)))
		}
		args[0] = reflect.ValueOf(t.Context())
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%s goes past it: %v; write it here as the others are", m.Name, p)
				}
			}()
			out := reflect.ValueOf(f).MethodByName(m.Name).Call(args)
			if err, _ := out[len(out)-1].Interface().(error); !errors.Is(err, errFault) || f.calls[2] != m.Name {
				t.Errorf("%s: %v, and the calls are %q", m.Name, err, f.calls)
			}
		}()
	}
}

// step is one thing that happens in a story: a request, or what happens beside them.
type step struct {
	name string
	send string // "POST /auth/logout"; empty when nothing is sent
	at   string // the node that is asked; empty for the one with the faults
	// What the request carries. {name} stands for what an earlier answer gave; a request
	// that lacks it cannot be made.
	bearer, key, cookie, device, code, body string
	keep                                    string // what the answer gives is kept under this name
	// once is for a request that cannot be repeated: doing it twice is something else.
	once bool
	// stale is for a request that only the store can refuse: while it cannot be asked, what
	// was known a moment ago may decide, for max_staleness.
	stale bool

	clock   time.Duration // passes
	restart []string      // the server is started again, with these settings changed; not nil
	sweep   bool
	beside  func(r *faultRun) // what others do to the store
}

func wait(d time.Duration) step { return step{name: "wait " + d.String(), clock: d} }

func restarted(settings ...string) step {
	return step{name: "restart", restart: append([]string{}, settings...)}
}

// said is how a step was answered, in words that do not change with the ids drawn at random.
type said struct {
	sent   bool
	status int
	text   string // the error, or who was let in as what
}

func (s said) admitted() bool { return s.sent && s.status/100 == 2 }

// unavailable reports whether the step was not acknowledged.
func (s said) unavailable() bool {
	return s.sent && s.status == http.StatusServiceUnavailable && s.text == "temporarily unavailable"
}

func (s said) String() string {
	if !s.sent {
		return "not sent"
	}
	return fmt.Sprintf("%d %s", s.status, s.text)
}

// told is a story as it went.
type told struct {
	answers []said
	first   []said   // where a request was repeated, what was said the first time
	users   []string // there are in the end
	calls   []string // of the store
	began   int      // so many of them were before the first step
	asked   []bool   // for each of them, whether a request was under way
	wrong   []string // what must never be, fault or not
}

// story is a fixed course of things.
type story struct {
	name     string
	settings []string
	given    []step // what has happened before, without a fault; the server was started since
	steps    []step
}

// fault is what goes wrong in a run.
type fault struct {
	at    int
	kind  faultKind
	again bool // what was answered "temporarily unavailable" is asked again, once
}

// outage reports whether several calls fail, none of which has an effect.
func (f fault) outage() bool { return f.kind == lasts || f.kind == stays }

// faultRun is one telling of a story, by a real server without its sockets: the handler
// and all behind it, over real SQLite. Passwords cost little.
type faultRun struct {
	t       *testing.T
	fault   fault
	clock   *clock
	log     *logBuffer
	flags   map[string]string
	store   *faultyStore
	nodes   map[string]*house // "" is the one with the faults; nil while it does not start
	starts  int               // of nodes
	memory  map[string]string
	names   map[string]string // of users, by id
	seen    string            // who the service behind saw
	changed bool              // something may have, since the feed was last read
	told    told
}

const faultsBegin = 1_790_000_000 // Unix seconds

// beginning is where a story begins: a database, and what its people remember.
type beginning struct {
	database []byte
	memory   map[string]string
	names    map[string]string
	past     time.Duration // by the clock
	starts   int
}

// inMemory is a directory for files of which thousands are made, and none is to outlive
// anything: where there is one, on a file system that has no disk to wait for.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "doorward")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// emptyBeginning is a database with nothing in it but the schema.
func emptyBeginning(t *testing.T) beginning {
	path := filepath.Join(t.TempDir(), "doorward.db")
	s, err := store.OpenSQLite(t.Context(), path, time.Now)
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return beginningIn(t, path)
}

func beginningIn(t *testing.T, path string) beginning {
	database, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return beginning{database: database}
}

// tell tells a story, without the steps of skip, in a file of that name.
func (s story) tell(t *testing.T, path string, begin beginning, skip map[int]bool, f fault) (told told) {
	told, _ = s.tellOn(t, path, begin, skip, f)
	return told
}

// tellOn is tell, and returns what the story leaves.
func (s story) tellOn(t *testing.T, path string, begin beginning, skip map[int]bool, f fault) (_ told, end beginning) {
	t.Helper()
	if err := os.WriteFile(path, begin.database, 0o600); err != nil {
		t.Fatal(err)
	}
	r := &faultRun{
		t: t, fault: f, clock: &clock{}, log: &logBuffer{}, nodes: map[string]*house{}, starts: begin.starts,
		flags: map[string]string{"jwt.secret": machineSecret, "data_dir": filepath.Dir(path)}, memory: map[string]string{}, names: map[string]string{},
	}
	maps.Copy(r.memory, begin.memory)
	maps.Copy(r.names, begin.names)
	r.clock.freeze(time.Unix(faultsBegin, 0).Add(begin.past))
	below, err := store.OpenSQLite(context.Background(), path, r.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	r.store = &faultyStore{Store: below, at: f.at, kind: f.kind, hangUp: func() {}, slow: func() { r.clock.advance(6 * time.Second) }}
	r.play(s, skip)
	if err := below.Close(); err != nil {
		t.Error(err)
	}
	end = beginningIn(t, path)
	end.memory, end.names, end.starts, end.past = r.memory, r.names, r.starts, r.clock.now().Sub(time.Unix(faultsBegin, 0))
	for _, ending := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(path + ending)
	}
	return r.told, end
}

// play plays a story to its end.
func (r *faultRun) play(s story, skip map[int]bool) {
	defer func() {
		if p := recover(); p != nil {
			r.wrong("panic: %v\n%s", p, debug.Stack())
		}
	}()
	r.start("", s.settings...)
	if r.nodes[""] == nil { // who starts it tries again
		r.start("")
	}
	r.told.answers, r.told.first = make([]said, len(s.steps)), make([]said, len(s.steps))
	r.told.began = len(r.store.calls)
	for i, step := range s.steps {
		if !skip[i] {
			r.told.answers[i], r.told.first[i] = r.take(step)
		}
	}
	r.told.calls, r.told.asked = r.store.calls, r.store.asked
	r.settle()
}

func (r *faultRun) wrong(format string, args ...any) {
	r.told.wrong = append(r.told.wrong, fmt.Sprintf(format, args...))
}

// start starts a node, as openOn does but for the cost of passwords and the service behind.
// One that cannot start is none.
func (r *faultRun) start(at string, settings ...string) {
	r.nodes[at] = nil
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		if r.flags[key] = value; value == "" {
			delete(r.flags, key)
		}
	}
	l := load(sources{flags: r.flags})
	if err := l.err(); err != nil {
		r.t.Fatal(err)
	}
	h := &house{settings: l.Settings, log: slog.New(slog.NewTextHandler(r.log, nil)), now: r.clock.now, store: r.store}
	if at != "" {
		h.store = r.store.Store
	}
	err := r.open(h)
	if err == nil {
		r.nodes[at] = h
		r.memory["code"+at] = h.authority.SetupCode()
		if h.authority.SetupCode() == "" {
			r.memory["code"+at] = "no-such-code"
		}
	}
	if at != "" && err != nil {
		r.t.Fatal(err)
	}
	if err != nil && !strings.Contains(err.Error(), errFault.Error()) && !errors.Is(err, context.DeadlineExceeded) {
		r.wrong("it does not start: %v", err)
	}
}

func (r *faultRun) open(h *house) (err error) {
	c := h.settings.doorConfig()
	c.Store, c.SQLite, c.RateLimitMinute, c.Log, c.Now = knownSalt{h.store}, "", -1, h.log, h.now
	// Dearer at each start, so that hashes are upgraded at the sign-ins after it.
	r.starts++
	c.Hashing = doorward.HasherConfig{Memory: 8, Time: uint32(r.starts), Slots: 1}
	if h.door, err = frontdoor.New(context.Background(), c); err != nil {
		return err
	}
	h.authority = h.door.Authority()
	h.handler = h.door.Carrying(func(w http.ResponseWriter, q *http.Request, pass *gate.Pass) {
		behind := proxy.Dress(q, h.door.Passage(pass, "sample"), proxy.Names{Cookies: []string{c.CookieName}}, "")
		r.seen = r.serviceSees(behind.Header)
		gate.WriteRaw(w, http.StatusOK, "{}")
	})
	return nil
}

// knownSalt is a store whose salt is the same in every run, and so are the ids of what is
// configured.
type knownSalt struct{ doorward.Store }

func (k knownSalt) Salt(ctx context.Context, _ []byte) ([]byte, error) {
	return k.Store.Salt(ctx, []byte(strings.Repeat("s", doorward.SaltLen)))
}

// serviceSees is who a request comes from, as the service behind is told.
func (r *faultRun) serviceSees(h http.Header) string {
	who := h.Get("X-Auth-Subject")
	if h.Get("X-Auth-Kind") == string(doorward.KindUser) {
		who = h.Get("X-Forwarded-User")
		if r.names[h.Get("X-Auth-Subject")] != who {
			r.wrong("the service sees %s as %s", h.Get("X-Auth-Subject"), who)
		}
	}
	if name, ok := r.names[who]; ok && h.Get("X-Auth-Kind") == string(doorward.KindKey) {
		who = name
	}
	return strings.Join([]string{"service sees", h.Get("X-Auth-Kind"), who, h.Get("X-Auth-Role"), h.Get("X-Auth-Organization"), h.Get("X-Auth-Workspace")}, " ")
}

// take does one step and returns how it was answered, and how the first time.
func (r *faultRun) take(s step) (last, first said) {
	if r.changed || r.store.past() {
		r.catchUp()
	}
	r.changed = !strings.HasPrefix(s.send, "GET ")
	switch {
	case s.clock > 0:
		r.clock.advance(s.clock)
		return said{}, said{}
	case s.restart != nil:
		r.start(s.at, s.restart...)
		if r.nodes[s.at] == nil {
			r.start(s.at)
		}
		return said{}, said{}
	case s.sweep:
		_ = r.nodes[s.at].authority.Sweep(context.Background())
		return said{}, said{}
	case s.beside != nil:
		s.beside(r)
		return said{}, said{}
	}
	first = r.ask(s)
	if !first.unavailable() || !r.fault.again {
		return first, first
	}
	r.catchUp()
	return r.ask(s), first
}

// catchUp lets the nodes read the feed, as they do all the time. What fails is tried again
// the next time.
func (r *faultRun) catchUp() {
	for name, h := range r.nodes {
		if h == nil {
			continue
		}
		if err := h.authority.CatchUp(context.Background()); err != nil && name != "" {
			r.t.Errorf("the other node: %v", err)
		}
	}
}

var placeholder = regexp.MustCompile(`\{[a-zA-Z0-9]+(\.[a-z]+)?\}`)

// ask sends a step's request, if what it needs is there.
func (r *faultRun) ask(s step) said {
	h := r.nodes[s.at]
	if h == nil {
		return said{} // nobody listens
	}
	missing := false
	fill := func(text string) string {
		return placeholder.ReplaceAllStringFunc(text, func(name string) string {
			v, ok := r.memory[strings.Trim(name, "{}")]
			missing = missing || !ok
			return v
		})
	}
	method, path, _ := strings.Cut(fill(s.send), " ")
	q := httptest.NewRequest(method, path, strings.NewReader(fill(s.body)))
	q.Host = "localhost:8080"
	if s.body == "" {
		q.Body = http.NoBody
	} else {
		q.Header.Set("Content-Type", "application/json")
	}
	for name, value := range map[string]string{"Authorization": s.bearer, "X-Api-Key": s.key, "Cookie": s.cookie, "Device": s.device, "X-Setup-Code": s.code} {
		if value == "" {
			continue
		}
		switch name {
		case "Authorization":
			value = "Bearer " + value
		case "Cookie":
			value = "brokoli_session=" + value
		case "Device":
			name, value = "Cookie", "brokoli_session_device="+value
		}
		q.Header.Set(name, fill(value))
	}
	if missing {
		return said{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.store.request(s.at == "", cancel)
	defer r.store.request(false, func() {})
	r.seen = ""
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, q.WithContext(ctx))
	x := dialogue{method: q.Method, path: q.URL.Path, query: q.URL.Query(), sent: copyOf(fill(s.body)), status: w.Code, header: w.Header(), body: w.Body.Bytes()}
	if law := committedLaw(); law.has(x.path) {
		if err := law.judge(x); err != nil {
			r.wrong("%s", x.accusation(err))
		}
	}
	return r.read(s, w)
}

// read puts an answer into words, and keeps what it gives.
func (r *faultRun) read(s step, w *httptest.ResponseRecorder) said {
	body := w.Body.String()
	answered := said{sent: true, status: w.Code}
	if !answered.admitted() {
		var e struct{ Error, Status string }
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error == "" || e.Status != "error" {
			if s.send == "GET /health" {
				e.Error = "unhealthy"
			} else {
				r.wrong("%s: %d with %s", s.name, w.Code, body)
			}
		}
		answered.text = e.Error
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable || r.seen != "" {
			r.wrong("%s: %d with %s, %s", s.name, w.Code, body, r.seen)
		}
		return answered
	}
	var given map[string]any
	if len(body) > 0 {
		if err := json.Unmarshal([]byte(body), &given); err != nil {
			r.wrong("%s: %d with %s", s.name, w.Code, body)
		}
	}
	str := func(name string) string { v, _ := given[name].(string); return v }
	keep := func(what, value string) {
		if value != "" && s.keep != "" {
			r.memory[s.keep+"."+what] = value
		}
	}
	switch {
	case r.seen != "":
		answered.text = r.seen
	case str("access_token") != "":
		answered.text = r.claims(str("access_token"))
	case str("token") != "":
		user, _ := given["user"].(map[string]any)
		id, _ := user["id"].(string)
		r.names[id], _ = user["username"].(string)
		answered.text = fmt.Sprintf("%s, must change: %v", r.claims(str("token")), given["must_change"] == true)
	case str("key") != "":
		r.names[str("id")] = str("name")
		answered.text = fmt.Sprint("a key ", str("name"), str("role"), str("org_id"), str("workspace"), given["service"], given["client_ids"])
	case given["keys"] != nil:
		for _, k := range given["keys"].([]any) {
			k := k.(map[string]any)
			line := fmt.Sprintln(k["name"], k["role"], k["workspace"], k["service"])
			if !strings.Contains(answered.text, line) { // who asks again for a key may have made two
				answered.text += line
			}
		}
	case str("username") != "":
		r.names[str("id")] = str("username")
		answered.text = fmt.Sprint(str("username"), str("role"), given["workspaces"], given["disabled"], given["kind"])
	case given["users"] != nil:
		for _, u := range given["users"].([]any) {
			u := u.(map[string]any)
			answered.text += fmt.Sprintln(u["username"], u["role"], u["workspaces"], u["disabled"])
		}
	case given["valid"] != nil, given["needs_setup"] != nil:
		answered.text = fmt.Sprint(given["valid"], given["needs_setup"])
	}
	keep("access", str("access_token"))
	keep("refresh", str("refresh_token"))
	keep("token", str("token"))
	keep("id", str("id"))
	keep("key", str("key"))
	link := str("link")
	if invite, ok := given["invite"].(map[string]any); ok {
		link, _ = invite["link"].(string)
	}
	if _, code, ok := strings.Cut(link, "#code="); ok {
		keep("code", code)
	}
	for _, c := range (&http.Response{Header: w.Header()}).Cookies() {
		switch c.Name {
		case "brokoli_session":
			keep("cookie", c.Value)
		case "brokoli_session_device":
			keep("device", c.Value)
		}
	}
	return answered
}

// claims is what a token says of who holds it.
func (r *faultRun) claims(token string) string {
	var c struct{ Kind, Sub, Username, Role, Org, WS string }
	if parts := strings.Split(token, "."); len(parts) == 3 {
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil {
			err = json.Unmarshal(raw, &c)
		}
		if err != nil {
			r.t.Error(err)
		}
	}
	if c.Kind == string(doorward.KindUser) {
		c.Sub = c.Username
	}
	return strings.Join([]string{"a token for", c.Kind, c.Sub, c.Role, c.Org, c.WS}, " ")
}

// settle looks, with no fault any more, at what is left: the users there are, and whether a
// session that the store has ended is dead on this node and on one started anew.
func (r *faultRun) settle() {
	ctx := context.Background()
	r.store.mu.Lock()
	r.store.at = 0
	r.store.mu.Unlock()
	users, _, err := r.store.Store.Users(ctx, doorward.UserQuery{Org: doorward.Default, Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, u := range users {
		r.told.users = append(r.told.users, fmt.Sprintln(u.Username, u.Role, u.Workspaces, u.Disabled, u.MustChange))
	}
	if r.nodes[""] != nil {
		if err := r.nodes[""].authority.CatchUp(ctx); err != nil {
			r.wrong("it does not catch up: %v", err)
		}
		r.endedIsDead("this node")
	}
	if r.fault.at == 0 { // what the store holds is not the fault's
		r.start("")
		r.endedIsDead("a node started anew")
	}
}

func (r *faultRun) endedIsDead(node string) {
	for _, name := range slices.Sorted(maps.Keys(r.memory)) {
		s := step{name: node + " asked with " + name, send: "GET /whoami"}
		switch _, what, _ := strings.Cut(name, "."); what {
		case "access", "token":
			s.bearer = "{" + name + "}"
		case "cookie":
			s.cookie = "{" + name + "}"
		default:
			continue
		}
		session, found, err := r.store.Store.Session(context.Background(), claimsOf(r.t, r.memory[name]).Session)
		if err != nil {
			r.t.Fatal(err)
		}
		if found && session.Ended.IsZero() {
			continue // asking might end it, by reuse
		}
		if got := r.ask(s); got.status != http.StatusUnauthorized && got.text != "setup required" {
			r.wrong("%s, of a session that has ended: %v", s.name, got)
		}
	}
}

// admits says what a faulty run lets in that the run ref, without a fault and without the requests in skip, does not.
func (got told) admitsBeyond(steps []step, ref told, skip map[int]bool, f fault) []string {
	var beyond []string
	for i, got := range got.answers {
		want := ref.answers[i]
		if skip[i] || !got.admitted() || steps[i].stale && f.outage() {
			continue
		}
		if !want.admitted() || want.text != got.text {
			beyond = append(beyond, fmt.Sprintf("%s: %v; without a fault: %v", steps[i].name, got, want))
		}
	}
	for _, u := range got.users {
		if !slices.Contains(ref.users, u) {
			beyond = append(beyond, fmt.Sprintf("there is the user %q; without a fault: %q", u, ref.users))
		}
	}
	return beyond
}

// parts are the parts of u, the empty one first; if whole, u alone.
func parts(u []int, whole bool) iter.Seq[map[int]bool] {
	return func(yield func(map[int]bool) bool) {
		for bits := range 1 << len(u) {
			part := map[int]bool{}
			for i, n := range u {
				if whole || bits>>i&1 == 1 {
					part[n] = true
				}
			}
			if !yield(part) || whole {
				return
			}
		}
	}
}

func TestFaultsOnlyNarrow(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	met := map[string]bool{} // methods of the store in which there was a fault
	t.Run("stories", func(t *testing.T) {
		for _, s := range stories() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				calls := s.withEveryFault(t)
				mu.Lock()
				defer mu.Unlock()
				for _, c := range calls {
					met[c] = true
				}
			})
		}
	})
	all := reflect.TypeFor[doorward.Store]()
	for i := range all.NumMethod() {
		switch name := all.Method(i).Name; name {
		case "AwaitChange", "Close": // which cannot go wrong
		case "ClearFailures", "Sessions", "LastSessionEnd", "Key", "CreateUsers": // of the command line, and nobody else's
		case "ForgetFailures": // called where another call has failed
		case "NoteKeyUses": // beside the requests
		case "Holdings": // of a page, which no story reads
		default:
			if !met[name] && !t.Failed() {
				t.Errorf("no story calls %s", name)
			}
		}
	}
}

// withEveryFault tells the story with each fault at each call of the store, holds each
// telling against the rule, and returns the calls.
func (s story) withEveryFault(t *testing.T) []string {
	path := filepath.Join(inMemory(t), "doorward.db")
	begin := emptyBeginning(t)
	if s.given != nil {
		before := story{settings: s.settings, steps: s.given}
		told, end := before.tellOn(t, path, begin, nil, fault{})
		for i, a := range told.answers {
			if a.sent && !a.admitted() {
				t.Fatalf("given that %s: %v", s.given[i].name, a)
			}
		}
		begin = end
	}
	references := map[string]told{}
	without := func(skip map[int]bool) told {
		key := fmt.Sprint(slices.Sorted(maps.Keys(skip)))
		if _, ok := references[key]; !ok {
			references[key] = s.tell(t, path, begin, skip, fault{})
		}
		return references[key]
	}
	plain := without(nil)
	for i, step := range s.steps {
		if step.send != "" && !plain.answers[i].sent {
			t.Errorf("%s is never sent", step.name)
		}
	}
	if len(plain.wrong) > 0 || t.Failed() {
		t.Fatalf("without a fault: %q", plain.wrong)
	}
	runs, from := 1, 1
	if s.given != nil {
		from = plain.began + 1 // other stories have the start
	}
	// One call in so many has its turn, others each time; DOORWARD_TEST_FAULTS says in how many.
	// With 1 it is each, which takes a minute.
	every, turn := 20, rand.IntN(60)
	if n, err := strconv.Atoi(os.Getenv("DOORWARD_TEST_FAULTS")); err == nil && n > 0 {
		every = n
	}
	if raceDetector() { // with which each takes ten times as long
		every = 60
	}
	for n := from; n <= len(plain.calls); n++ {
		for i, kind := range kindsOf(plain.calls[n-1], plain.asked[n-1]) {
			if (n+i+turn)%every != 0 || (kind == lasts || kind == stays) && n%3 != 0 {
				continue // an outage that begins a call later is much the same
			}
			for _, again := range []bool{false, true} {
				f := fault{at: n, kind: kind, again: again}
				got := s.tell(t, path, begin, nil, f)
				runs++
				u := s.hold(t, f, got, plain, without)
				if len(u) == 0 || f.outage() {
					break // there is nothing to ask again
				}
			}
		}
	}
	t.Logf("%d calls of the store, %d runs, %d without a fault", len(plain.calls)-from+1, runs, len(references))
	return plain.calls
}

// hold holds one telling against the rule and returns the requests that were not acknowledged.
func (s story) hold(t *testing.T, f fault, got, plain told, without func(map[int]bool) told) (u []int) {
	for i, a := range got.answers {
		if a.unavailable() {
			u = append(u, i)
		}
		if f.again && got.first[i].unavailable() && !s.steps[i].once && a != plain.answers[i] {
			got.wrong = append(got.wrong, fmt.Sprintf("%s: %v when asked again; without a fault: %v", s.steps[i].name, a, plain.answers[i]))
		}
	}
	var beyond []string
	for skip := range parts(u, f.outage()) {
		for i, a := range got.answers {
			if s.steps[i].send != "" && !a.sent {
				skip[i] = true // what the faulty run could not ask
			}
		}
		if beyond = got.admitsBeyond(s.steps, without(skip), skip, f); len(beyond) == 0 {
			break
		}
	}
	if len(beyond)+len(got.wrong) == 0 {
		return u
	}
	what := "start"
	if f.at <= len(got.calls) {
		what = got.calls[f.at-1]
	}
	var story strings.Builder
	for i, step := range s.steps {
		fmt.Fprintf(&story, "  %-40s %v\n", step.name, got.answers[i])
	}
	t.Errorf("call %d, %s, %s (asked again: %v)\nwrong: %q\nlet in beyond: %q\n%s", f.at, what, f.kind, f.again, got.wrong, beyond, &story)
	return u
}

// raceDetector reports whether the race detector watches this test.
func raceDetector() bool {
	build, _ := debug.ReadBuildInfo()
	return build != nil && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// The people and machines of the stories.
const (
	faultsToken = "ci-1c7f0a2b9d"
	faultsKey   = "brk_6b2f0a1193d5c8e7449a0f6e2d81b7c35e90fa4467d2138bc9ee05716a4f83d2aabbccdd"
)

func passwordOf(name string) string { return "password of " + name }

func account(name, role string) string {
	if role != "" {
		role = `,"role":"` + role + `"`
	}
	return `{"username":"` + name + `","password":"` + passwordOf(name) + `"` + role + `}`
}

func create(by, name, role string) step {
	return step{name: by + " creates " + name, send: "POST /api/auth/users", bearer: "{" + by + ".token}", body: account(name, role), keep: name, once: true}
}

func keyCreates(name, role string) step {
	return step{name: "the key creates " + name, send: "POST /api/auth/users", key: faultsKey, body: account(name, role), keep: name, once: true}
}

// login signs in; the session is kept under the name as.
func login(name, as, password string) step {
	return step{name: name + " signs in as " + as, send: "POST /api/auth/login", body: credentialsJSON(name, password), keep: as}
}

// accepts chooses a password by the link of name; the session is kept under the name as.
func accepts(name, as, password string) step {
	return step{name: name + " chooses " + password, send: "POST /api/auth/invite", body: `{"code":"{` + name + `.code}","password":"` + password + `"}`, keep: as, once: true}
}

// once marks a step that cannot be repeated.
func once(s step) step {
	s.once = true
	return s
}

// stale marks a step that only the store can refuse.
func stale(s step) step {
	s.stale = true
	return s
}

func wrong(name string) step {
	return step{name: name + " guessed", send: "POST /api/auth/login", body: credentialsJSON(name, "a wrong guess"), once: true}
}

func get(as string) step {
	return step{name: as + " reads", send: "GET /x", bearer: "{" + as + "}"}
}

func post(as string) step {
	return step{name: as + " writes", send: "POST /x", bearer: "{" + as + "}", body: "{}"}
}

func getCookie(as string) step {
	return step{name: as + " reads by cookie", send: "GET /x", cookie: "{" + as + ".cookie}"}
}

func exchange(as string) step {
	return step{name: as + " exchanges", send: "POST /auth/token", bearer: faultsToken, body: `{"client_id":"app"}`, keep: as}
}

func refresh(of, as string) step {
	return step{name: of + " refreshes to " + as, send: "POST /auth/refresh", body: `{"refresh_token":"{` + of + `.refresh}"}`, keep: as}
}

func validate(as string) step {
	return step{name: as + " validates", send: "GET /auth/validate", bearer: "{" + as + "}"}
}

func logout(as string) step {
	return step{name: as + " signs out", send: "POST /auth/logout", bearer: "{" + as + "}"}
}

func patch(by, name, body string) step {
	return step{name: by + " makes " + name + " " + body, send: "PATCH /api/auth/users/{" + name + ".id}", bearer: "{" + by + ".token}", body: body}
}

func makeKey(by, name, role, more string) step {
	return step{name: by + " makes the key " + name, send: "POST /api/auth/keys", bearer: "{" + by + ".token}", body: `{"name":"` + name + `","role":"` + role + `"` + more + `}`, keep: name, once: true}
}

func rotateKey(by, name, as, overlap string) step {
	return step{name: by + " rotates " + name + " to " + as, send: "POST /api/auth/keys/{" + name + ".id}/rotate", bearer: "{" + by + ".token}", body: `{"overlap":"` + overlap + `"}`, keep: as, once: true}
}

func removeKey(by, name string) step {
	return step{name: by + " removes " + name, send: "DELETE /api/auth/keys/{" + name + ".id}", bearer: "{" + by + ".token}", once: true}
}

func keyReads(name string) step {
	return step{name: "the key " + name + " reads", send: "GET /x", key: "{" + name + ".key}"}
}

func keyWrites(name string) step {
	return step{name: "the key " + name + " writes", send: "POST /x", key: "{" + name + ".key}", body: "{}"}
}

func keyExchanges(name, as string) step {
	return step{name: "the key " + name + " exchanges", send: "POST /auth/token", bearer: "{" + name + ".key}", body: `{"client_id":"app"}`, keep: as}
}

func nobody(name, send string) step { return step{name: name, send: send} }

func stories() []story {
	root := passwordOf("root")
	withRoot := []step{keyCreates("root", ""), login("root", "root", root)}
	given := func(steps ...step) []step { return append(slices.Clone(withRoot), steps...) }
	hear := wait(time.Second) // time to read the feed, twice, since once it may fail
	key, token := "api_key="+faultsKey, "api_tokens="+faultsToken
	return []story{
		{name: "open until somebody is set up", steps: []step{
			nobody("nobody reads", "GET /x"),
			{name: "nobody writes", send: "POST /x", body: "{}"},
			nobody("is it set up", "GET /api/auth/setup"),
			nobody("nobody lists users", "GET /api/auth/users"),
			{name: "a viewer first", send: "POST /api/auth/users", body: account("viewer", "viewer")},
			{name: "the first user", send: "POST /api/auth/users", body: account("root", ""), keep: "root", once: true},
			{name: "another first user", send: "POST /api/auth/users", body: account("mallory", ""), keep: "mallory", once: true},
			nobody("nobody reads", "GET /x"),
			nobody("is it set up", "GET /api/auth/setup"),
			login("mallory", "mallory", passwordOf("mallory")),
			login("root", "root", root),
			get("root.token"),
			{name: "root reads the audit log", send: "GET /api/auth/audit", bearer: "{root.token}"},
			{name: "root looks how it goes", send: "GET /api/auth/overview", bearer: "{root.token}"},
			{name: "root asks about root", send: "GET /api/auth/explain?as=root&path=/x", bearer: "{root.token}"},
			{name: "root lists what signs", send: "GET /api/auth/signing-keys", bearer: "{root.token}"},
			{name: "root lists their sessions", send: "GET /api/auth/sessions", bearer: "{root.token}"},
			{name: "root lists everybody's sessions", send: "GET /api/auth/sessions?all=true", bearer: "{root.token}"},
			{name: "root ends a session that is none", send: "DELETE /api/auth/sessions/none", bearer: "{root.token}"},
			{name: "root ends all other sessions", send: "DELETE /api/auth/sessions", bearer: "{root.token}"},
			restarted(),
			nobody("nobody reads", "GET /x"),
			{name: "another first user", send: "POST /api/auth/users", body: account("trudy", ""), keep: "trudy", once: true},
			get("root.token"),
			login("root", "root", root),
			{name: "health", send: "GET /health"},
		}},
		{name: "closed until set up", settings: []string{"auth.enabled=true"}, steps: []step{
			nobody("nobody reads", "GET /x"),
			{name: "without a code", send: "POST /api/auth/users", body: account("mallory", "")},
			{name: "with a wrong code", send: "POST /api/auth/users", code: "guess", body: account("mallory", "")},
			{name: "an editor first", send: "POST /api/auth/users", code: "{code}", body: account("editor", "editor")},
			nobody("is it set up", "GET /api/auth/setup"),
			{name: "the first user", send: "POST /api/auth/users", code: "{code}", body: account("boss", "admin"), keep: "boss", once: true},
			{name: "the code again", send: "POST /api/auth/users", code: "{code}", body: account("mallory", ""), once: true},
			nobody("nobody reads", "GET /x"),
			nobody("is it set up", "GET /api/auth/setup"),
			login("boss", "boss", passwordOf("boss")),
			get("boss.token"),
			restarted(),
			{name: "the code again", send: "POST /api/auth/users", code: "{code}", body: account("trudy", ""), once: true},
			get("boss.token"),
			create("boss", "rival", "superadmin"),
			restarted("auth.enabled="),
			nobody("nobody reads", "GET /x"),
		}},
		{name: "a key was configured once", settings: []string{key}, steps: []step{
			{name: "the key reads", send: "GET /x", key: faultsKey},
			restarted("api_key="),
			nobody("nobody reads", "GET /x"),
			nobody("is it set up", "GET /api/auth/setup"),
			{name: "without a code", send: "POST /api/auth/users", body: account("mallory", "")},
		}},
		{name: "the first user is made elsewhere", settings: []string{"auth.enabled=true"}, steps: []step{
			{name: "the other starts", at: "B", restart: []string{}},
			nobody("nobody reads", "GET /x"),
			{name: "the first user there", at: "B", send: "POST /api/auth/users", code: "{codeB}", body: account("root", ""), once: true},
			{name: "the first user", send: "POST /api/auth/users", code: "{code}", body: account("mallory", ""), once: true},
			nobody("nobody reads", "GET /x"),
			login("root", "root", root),
			get("root.token"),
			login("mallory", "mallory", passwordOf("mallory")),
		}},
		{name: "all users gone", settings: []string{key}, given: withRoot, steps: []step{
			restarted("api_key="),
			get("root.token"),
			{name: "somebody deletes them all", beside: func(r *faultRun) {
				anyone := func(doorward.User, doorward.Census) error { return nil }
				if _, _, err := r.store.Store.DeleteUser(context.Background(), r.memory["root.id"], anyone, doorward.Caller{}.Audit("user.delete", "", "")); err != nil {
					r.t.Error(err)
				}
			}},
			restarted(),
			nobody("nobody reads", "GET /x"),
			get("root.token"),
			{name: "without a code", send: "POST /api/auth/users", body: account("mallory", "")},
			{name: "with the code", send: "POST /api/auth/users", code: "{code}", body: account("heir", ""), keep: "heir", once: true},
			login("heir", "heir", passwordOf("heir")),
			get("heir.token"),
			nobody("nobody reads", "GET /x"),
		}},
		{name: "machines", settings: []string{token}, steps: []step{
			exchange("a"),
			validate("a.access"),
			get("a.access"),
			post("a.access"),
			refresh("a", "b"),
			refresh("a", "b"), // a retry
			validate("b.access"),
			refresh("b", "c"),
			wait(11 * time.Second),
			refresh("b", "d"), // c's answer was lost
			get("d.access"),
			refresh("d", "e"),
			post("e.access"),
			restarted(),
			get("e.access"),
			get("a.access"),
			stale(get("c.access")), // of a branch given up: somebody else has it
			stale(get("e.access")),
			refresh("e", "f"),
		}},
		{name: "reuse", settings: []string{token}, steps: []step{
			exchange("a"),
			exchange("other"),
			refresh("a", "b"),
			refresh("b", "c"),
			get("c.access"),
			{name: "a thief refreshes", send: "POST /auth/refresh", body: `{"refresh_token":"{a.refresh}"}`, keep: "t"},
			get("c.access"),
			get("a.access"),
			refresh("c", "d"),
			validate("b.access"),
			get("other.access"),
			restarted(),
			get("c.access"),
			refresh("c", "d"),
			refresh("other", "other2"),
		}},
		{name: "machines sign out", settings: []string{token}, steps: []step{
			exchange("a"),
			exchange("b"),
			refresh("a", "a2"),
			get("a.access"),
			logout("a.access"),
			logout("a2.access"),
			get("a.access"),
			validate("a2.access"),
			refresh("a2", "a3"),
			logout("a.access"),
			validate("b.access"),
			restarted(),
			get("a2.access"),
			logout("a.access"),
			refresh("b", "b2"),
		}},
		{name: "people sign out", settings: []string{key}, given: given(login("root", "root2", root)), steps: []step{
			getCookie("root"),
			{name: "root signs out by cookie", send: "POST /api/auth/logout", cookie: "{root.cookie}"},
			getCookie("root"),
			get("root.token"),
			{name: "root signs out again", send: "POST /api/auth/logout", cookie: "{root.cookie}"},
			get("root2.token"),
			restarted(),
			get("root.token"),
			getCookie("root"),
			getCookie("root2"),
			login("root", "root3", root),
			getCookie("root3"),
		}},
		{name: "keys made at run time", settings: []string{key}, given: given(create("root", "ed", "editor"), login("ed", "ed", passwordOf("ed"))), steps: []step{
			makeKey("ed", "k", "editor", ""),
			makeKey("ed", "k2", "admin", ""),
			keyReads("k"),
			keyWrites("k"),
			keyExchanges("k", "s"),
			refresh("s", "s2"),
			get("s2.access"),
			patch("root", "ed", `{"role":"viewer"}`),
			keyReads("k"),
			keyWrites("k"),
			get("s2.access"),
			refresh("s2", "s3"),
			login("ed", "ed", passwordOf("ed")),
			makeKey("ed", "k3", "editor", ""),
			{name: "root lists keys", send: "GET /api/auth/keys", bearer: "{root.token}"},
			patch("root", "ed", `{"disabled":true}`),
			keyReads("k"),
			patch("root", "ed", `{"disabled":false}`),
			keyReads("k"),
			restarted(),
			keyReads("k"),
			keyWrites("k"),
			{name: "root deletes ed", send: "DELETE /api/auth/users/{ed.id}", bearer: "{root.token}", once: true},
			keyReads("k"),
			restarted(),
			keyReads("k"),
		}},
		{name: "keys go", settings: []string{key}, given: given(makeKey("root", "k", "editor", `,"service":true`), makeKey("root", "other", "viewer", "")), steps: []step{
			keyExchanges("k", "s"),
			rotateKey("root", "k", "n", "1h"),
			rotateKey("root", "k", "again", "1h"),
			keyWrites("k"),
			keyWrites("n"),
			wait(61 * time.Minute),
			keyReads("k"),
			get("s.access"),
			refresh("s", "s2"),
			keyExchanges("n", "t"),
			get("t.access"),
			removeKey("root", "n"),
			keyReads("n"),
			get("t.access"),
			removeKey("root", "other"),
			restarted("api_key="),
			keyReads("k"),
			keyReads("n"),
			keyReads("other"),
			get("t.access"),
			nobody("nobody reads", "GET /x"),
		}},
		{name: "a credential goes", settings: []string{token, key}, steps: []step{
			exchange("a"),
			refresh("a", "b"),
			get("b.access"),
			{name: "the key exchanges", send: "POST /auth/token", key: faultsKey, body: `{"client_id":"ops"}`, keep: "k"},
			post("k.access"),
			restarted("api_tokens=another-token-1"),
			get("b.access"),
			refresh("b", "c"),
			post("k.access"),
			exchange("d"),
			restarted(token),
			get("b.access"),
			refresh("b", "c"),
			exchange("d"),
			get("d.access"),
			restarted("api_tokens=", "api_key="),
			get("d.access"),
			post("k.access"),
			nobody("nobody reads", "GET /x"),
		}},
		{name: "lockout", settings: []string{key}, given: withRoot, steps: []step{
			wrong("root"), wrong("ROOT"), wrong("root"), wrong("root"), wrong("root"),
			login("root", "root2", root),
			{name: "root signs in where known", send: "POST /api/auth/login", device: "{root.device}", body: credentialsJSON("root", root), keep: "root3"},
			get("root3.token"),
			get("root.token"),
			restarted(),
			login("root", "root2", root),
			wait(15*time.Minute + time.Second),
			wrong("root"),
			login("root", "root2", root),
			get("root2.token"),
		}},
		{name: "lockout of nobody", settings: []string{key}, given: withRoot, steps: []step{
			wrong("nobody"), wrong("nobody"), wrong("nobody"), wrong("nobody"), wrong("nobody"), wrong("nobody"),
			{name: "no name at all", send: "POST /api/auth/login", body: credentialsJSON("no name", "a wrong guess")},
			create("root", "nobody", "viewer"),
			login("nobody", "nobody", passwordOf("nobody")),
		}},
		{name: "one counter for every way to guess", settings: []string{key}, given: withRoot, steps: []step{
			wrong("root"), wrong("root"),
			{name: "root guesses at the change", send: "POST /api/auth/change-password", bearer: "{root.token}", body: `{"current_password":"a wrong guess","new_password":"something else"}`, once: true},
			wrong("root"),
			// Once: a comparison cut short counts as a guess, and asking again is one too many.
			once(login("root", "root2", root)),
			wrong("root"),
			login("root", "root2", root),
			get("root2.token"),
		}},
		{name: "nobody rises above their rank", settings: []string{key}, given: given(
			create("root", "vera", "viewer"), create("root", "eddie", "editor"), create("root", "ada", "admin"),
			login("vera", "vera", passwordOf("vera")), login("eddie", "eddie", passwordOf("eddie")), login("ada", "ada", passwordOf("ada")),
		), steps: []step{
			get("vera.token"), post("vera.token"), post("eddie.token"),
			create("vera", "mallory", "viewer"),
			create("eddie", "mallory", "viewer"),
			create("ada", "mallory", "superadmin"),
			keyCreates("mallory", "superadmin"),
			patch("ada", "root", `{"role":"viewer"}`),
			patch("root", "root", `{"role":"viewer"}`),
			patch("ada", "ada", `{"role":"superadmin"}`),
			{name: "ada resets root's password", send: "POST /api/auth/admin-reset-password", bearer: "{ada.token}", body: `{"user_id":"{root.id}","new_password":"chosen by ada"}`},
			{name: "ada deletes root", send: "DELETE /api/auth/users/{root.id}", bearer: "{ada.token}"},
			login("root", "root2", "chosen by ada"),
			create("ada", "ed", "editor"),
			{name: "ada lists users", send: "GET /api/auth/users", bearer: "{ada.token}"},
			login("ed", "ed", passwordOf("ed")),
			post("ed.token"),
		}},
		{name: "roles change", settings: []string{key}, given: given(
			create("root", "vera", "viewer"), create("root", "eddie", "editor"),
			login("vera", "vera", passwordOf("vera")), login("eddie", "eddie", passwordOf("eddie")),
		), steps: []step{
			post("eddie.token"),
			patch("root", "eddie", `{"role":"viewer"}`),
			post("eddie.token"), getCookie("eddie"),
			login("eddie", "eddie2", passwordOf("eddie")),
			post("eddie2.token"), get("eddie2.token"),
			patch("root", "vera", `{"role":"admin"}`),
			get("vera.token"),
			login("vera", "vera2", passwordOf("vera")),
			create("vera2", "anna", "admin"),
			once(patch("vera2", "vera", `{"role":"editor"}`)),
			create("vera2", "mallory", "viewer"),
			restarted(),
			post("eddie.token"), post("eddie2.token"), get("vera2.token"),
		}},
		{name: "workspaces", settings: []string{key}, given: given(
			create("root", "ada", "admin"), create("root", "eddie", "editor"),
			login("ada", "ada", passwordOf("ada")), login("eddie", "eddie", passwordOf("eddie")),
		), steps: []step{
			once(step{name: "ada makes a lab", send: "POST /api/auth/workspaces", bearer: "{ada.token}", body: `{"id":"lab"}`}),
			get("ada.token"),
			login("ada", "ada2", passwordOf("ada")),
			{name: "eddie joins", send: "POST /api/auth/workspaces/lab/members", bearer: "{ada2.token}", body: `{"user_id":"{eddie.id}"}`},
			post("eddie.token"), getCookie("eddie"),
			login("eddie", "eddie2", passwordOf("eddie")),
			post("eddie2.token"),
			{name: "who is in it", send: "GET /api/auth/workspaces/lab/members", bearer: "{ada2.token}"},
			{name: "which there are", send: "GET /api/auth/workspaces", bearer: "{ada2.token}"},
			{name: "another name", send: "PATCH /api/auth/workspaces/lab", bearer: "{ada2.token}", body: `{"name":"Our lab"}`},
			once(step{name: "eddie leaves", send: "DELETE /api/auth/workspaces/lab/members/{eddie.id}", bearer: "{ada2.token}"}),
			post("eddie2.token"),
			once(step{name: "the lab goes", send: "DELETE /api/auth/workspaces/lab", bearer: "{ada2.token}"}),
			get("ada2.token"),
			once(step{name: "root makes a tenant", send: "POST /api/auth/organizations", bearer: "{root.token}", body: `{"id":"acme"}`}),
			{name: "another name", send: "PATCH /api/auth/organizations/acme", bearer: "{root.token}", body: `{"name":"Acme"}`},
			{name: "all tenants", send: "GET /api/auth/organizations", bearer: "{root.token}"},
			once(step{name: "the tenant goes", send: "DELETE /api/auth/organizations/acme", bearer: "{root.token}"}),
			restarted(),
			post("eddie.token"), post("eddie2.token"), get("ada2.token"), get("root.token"),
		}},
		{name: "disabled and deleted", settings: []string{key}, given: given(
			create("root", "ada", "admin"), create("root", "eddie", "editor"),
			login("ada", "ada", passwordOf("ada")), login("eddie", "eddie", passwordOf("eddie")),
		), steps: []step{
			get("ada.token"),
			patch("root", "ada", `{"disabled":true}`),
			get("ada.token"),
			create("ada", "mallory", "viewer"),
			login("ada", "ada2", passwordOf("ada")),
			patch("root", "ada", `{"disabled":false}`),
			get("ada.token"),
			login("ada", "ada3", passwordOf("ada")),
			{name: "root deletes eddie", send: "DELETE /api/auth/users/{eddie.id}", bearer: "{root.token}", once: true},
			post("eddie.token"),
			login("eddie", "eddie2", passwordOf("eddie")),
			create("root", "eddie", "viewer"),
			login("eddie", "eddie3", passwordOf("eddie")),
			post("eddie3.token"), post("eddie.token"),
			restarted(),
			get("ada.token"), post("ada3.token"), get("eddie.token"),
		}},
		{name: "a password is changed", settings: []string{key}, given: given(
			create("root", "eve", "editor"), login("eve", "eve", passwordOf("eve")), login("eve", "stolen", passwordOf("eve")),
		), steps: []step{
			get("stolen.token"),
			{name: "eve changes her password", send: "POST /api/auth/change-password", bearer: "{eve.token}", body: `{"current_password":"` + passwordOf("eve") + `","new_password":"quite another"}`, once: true},
			get("stolen.token"), getCookie("stolen"),
			get("eve.token"),
			login("eve", "eve2", passwordOf("eve")),
			login("eve", "eve3", "quite another"),
			post("eve3.token"),
			restarted(),
			get("stolen.token"),
			get("eve.token"),
		}},
		{name: "a password is reset", settings: []string{key}, given: given(
			create("root", "eve", "editor"), login("eve", "eve", passwordOf("eve")),
		), steps: []step{
			wrong("eve"), wrong("eve"),
			{name: "root resets it", send: "POST /api/auth/admin-reset-password", bearer: "{root.token}", body: `{"user_id":"{eve.id}","new_password":"chosen by root","must_change":true}`},
			get("eve.token"),
			login("eve", "eve2", passwordOf("eve")),
			login("eve", "eve3", "chosen by root"),
			get("eve3.token"), getCookie("eve3"),
			{name: "who is eve", send: "GET /api/auth/me", bearer: "{eve3.token}"},
			{name: "eve keeps it", send: "POST /api/auth/change-password", bearer: "{eve3.token}", body: `{"current_password":"chosen by root","new_password":"chosen by root"}`, once: true},
			{name: "eve changes it", send: "POST /api/auth/change-password", bearer: "{eve3.token}", body: `{"current_password":"chosen by root","new_password":"chosen by eve"}`, once: true},
			get("eve3.token"),
			login("eve", "eve4", "chosen by root"),
			login("eve", "eve5", "chosen by eve"),
			get("eve5.token"),
		}},
		{name: "invitations", settings: []string{key}, given: given(
			create("root", "eve", "editor"), login("eve", "eve", passwordOf("eve")),
		), steps: []step{
			{name: "root invites bob", send: "POST /api/auth/users", bearer: "{root.token}", body: `{"username":"bob","role":"viewer","invite":true}`, keep: "bob", once: true},
			{name: "who is bob", send: "GET /api/auth/users/{bob.id}", bearer: "{root.token}"},
			accepts("bob", "bob", "chosen by bob"),
			accepts("bob", "thief", "chosen by a thief"),
			get("bob.token"), post("bob.token"), login("bob", "thief", "chosen by a thief"),
			login("bob", "bob2", "chosen by bob"),
			{name: "root makes eve a link", send: "POST /api/auth/users/{eve.id}/invite", bearer: "{root.token}", keep: "eve"},
			get("eve.token"),
			accepts("eve", "eve2", "chosen by eve"),
			get("eve.token"), get("eve2.token"),
			login("eve", "eve3", passwordOf("eve")),
			restarted(),
			get("eve.token"), get("eve2.token"),
			{name: "root makes eve another link", send: "POST /api/auth/users/{eve.id}/invite", bearer: "{root.token}", keep: "eve"},
			patch("root", "eve", `{"role":"admin"}`),
			accepts("eve", "eve4", "chosen by a thief"),
			login("eve", "eve5", "chosen by a thief"),
		}},
		{name: "time passes", settings: []string{token, key, "jwt.expiry=1h", "jwt.refresh_expiry=3h", "session.lifetime=2h", "session.max_age=4h"}, given: given(
			exchange("a"), exchange("b"),
		), steps: []step{
			get("a.access"),
			logout("a.access"),
			wait(30 * time.Minute),
			{name: "sweep", sweep: true},
			get("a.access"), get("b.access"),
			wait(31 * time.Minute),
			get("b.access"), get("root.token"),
			refresh("b", "c"),
			get("c.access"),
			getCookie("root"),
			wait(time.Hour),
			{name: "sweep", sweep: true},
			getCookie("root"),
			refresh("a", "d"),
			refresh("c", "d"),
			wait(3 * time.Hour),
			{name: "sweep", sweep: true},
			refresh("d", "e"), get("d.access"),
			login("root", "root2", root),
			get("root2.token"),
		}},
		{name: "another node", settings: []string{token, key}, given: given(
			exchange("a"), exchange("b"), exchange("c"), refresh("b", "b2"), refresh("b2", "b3"),
		), steps: []step{
			{name: "the other starts", at: "B", restart: []string{}},
			get("a.access"), get("b3.access"), getCookie("root"), get("c.access"),
			{name: "a signs out there", at: "B", send: "POST /auth/logout", bearer: "{a.access}"},
			hear, hear,
			stale(get("a.access")),
			{name: "a thief there", at: "B", send: "POST /auth/refresh", body: `{"refresh_token":"{b.refresh}"}`},
			hear, hear,
			stale(get("b3.access")), refresh("b3", "b4"),
			{name: "root signs out there, and it is long ago", beside: func(r *faultRun) {
				r.ask(step{at: "B", send: "POST /auth/logout", bearer: "{root.token}"})
				r.clock.advance(2 * time.Hour)
				if err := r.store.Store.Prune(context.Background(), time.Hour); err != nil {
					r.t.Error(err)
				}
			}},
			hear, hear,
			getCookie("root"), get("root.token"), get("c.access"),
			get("a.access"), get("b3.access"),
		}},
	}
}

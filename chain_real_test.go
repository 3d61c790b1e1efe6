package doorward_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorward"
	"doorward/store"
)

// The real thing: two Authorities over one SQLite file are asked at random what clients,
// thieves and operators ask, and must answer what the two tables below say. The tables are the
// rules of the refresh chain a second time, on whole tokens instead of ids and with the
// knowledge of all that ever happened, which a row has not. On top of that, what may never
// be is checked on the trace alone, without the tables.

const (
	realAccessLife  = 3 * time.Minute
	realRefreshLife = 15 * time.Minute
	realMaxAge      = time.Hour
	realStaleness   = 5 * time.Second

	realSecret = "0123456789abcdefghijklmnopqrstuv"
	realAPIKey = "an-api-token-of-thirty-characters"
)

// realPlace is what a token is to the row of its session.
type realPlace string

const (
	theChild  realPlace = "the child"
	theHead   realPlace = "the head"
	thePrev   realPlace = "prev"
	newer     realPlace = "newer than the row" // one that a restored backup never knew
	early     realPlace = "of generation 0 or 1"
	sameAges  realPlace = "of the head's, the child's or prev's generation"
	aboveFork realPlace = "older than prev, above the fork"
	belowFork realPlace = "older than prev, not above the fork"
	anything  realPlace = "anything"
)

// either is a condition: met, not met, or of no interest.
type either string

const (
	whatever either = ""
	yes      either = "yes"
	no       either = "no"
)

func (e either) is(b bool) bool { return e == whatever || (e == yes) == b }

// realPresented says what the presentation of a refresh token comes to. The first row that
// fits counts. child: the head has one; soon: within the retry window of the newest token.
var realPresented = []struct {
	place               realPlace
	child, soon, strict either
	then                string
}{
	{theChild, whatever, whatever, whatever, "the head moves on"},
	{theHead, no, whatever, whatever, "a child"},
	{theHead, yes, yes, no, "the same answer"},
	{thePrev, no, yes, no, "the same answer"},
	{theHead, yes, no, no, "another child"},
	{newer, whatever, whatever, whatever, "503"},
	{anything, whatever, whatever, whatever, "reuse"},
}

// realUsed says what the use of an access token comes to, by the refresh token that it came
// with. The first row that fits counts.
var realUsed = []struct {
	place realPlace
	then  string
}{
	{early, "pass"},
	{theHead, "pass"},
	{thePrev, "pass"},
	{theChild, "the answer has arrived"},
	{newer, "pass with an alarm"},
	{sameAges, "reuse"},
	{aboveFork, "pass"},
	{belowFork, "401"},
}

// realToken is an answer: a refresh token and its access token.
type realToken struct {
	session *realSession
	id      string
	gen     int64
	minted  time.Time
	grant   doorward.Grant
	lost    bool    // minted after the backup that has been restored since
	passed  [2]bool // at the node, which may remember it
}

func (t *realToken) String() string {
	return fmt.Sprintf("%s of generation %d, minted %s", t.id[:4], t.gen, t.minted.Format("15:04:05.000"))
}

// expires returns when the two tokens are no longer good, in Unix seconds.
func (t *realToken) expires() (access, refresh int64) {
	minted, ends := t.minted.Truncate(time.Second), t.session.ends
	return min(minted.Add(realAccessLife).Unix(), ends.Unix()), min(minted.Add(realRefreshLife).Unix(), ends.Unix())
}

// realRow is what the row of a session is to be.
type realRow struct {
	prev, head, child *realToken
	fork              int64
	minted            time.Time
	accessUntil       int64  // Unix seconds
	ended             string // why; empty while it lives
}

// isAt reports whether t stands at place to the row.
func (row *realRow) isAt(place realPlace, t *realToken) bool {
	switch place {
	case theChild:
		return t == row.child
	case theHead:
		return t == row.head
	case thePrev:
		return t == row.prev
	case newer:
		unknown := t.gen > row.head.gen+1 || t.gen == row.head.gen+1 && row.child == nil
		return t.lost && (unknown || t.minted.Unix() > row.minted.Unix())
	case early:
		return t.gen <= 1
	case sameAges:
		return t.gen >= row.head.gen-1
	case aboveFork:
		return t.gen < row.head.gen-1 && t.gen > row.fork
	case belowFork:
		return t.gen < row.head.gen-1 && t.gen <= row.fork
	}
	return place == anything
}

type realSession struct {
	id     string
	ends   time.Time
	row    realRow
	tokens []*realToken
	gone   bool    // the restored database has never known it
	met    [2]bool // by the node, which may remember it
	dead   [2]bool // the node has said, or was told, that it has ended
	heirs  map[string]string

	// Of a session whose only user is an honest client, one request at a time.
	honest   bool
	current  *realToken // its refresh token
	newest   *realToken // its access token
	adopts   bool
	restored bool
}

// realBackup is a copy of the file, and what was so when it was made.
type realBackup struct {
	file  string
	rows  map[*realSession]realRow
	heirs map[*realSession]map[string]string
	known int // tokens
}

type realWorld struct {
	ctx      context.Context
	dir      string
	file     string
	files    int
	now      atomic.Int64 // Unix milliseconds
	store    *store.Store
	nodes    [2]*doorward.Authority
	view     [2]time.Time // when the node last heard of the others
	keys     *doorward.KeyRing
	hasher   *doorward.Hasher
	client   doorward.Caller
	alarms   atomic.Int64
	rules    doorward.RefreshRules
	sessions []*realSession
	tokens   []*realToken
	backup   *realBackup
	seen     map[string]int // what came of it, for people
}

func (w *realWorld) time() time.Time { return time.UnixMilli(w.now.Load()).UTC() }

// Enabled, Handle, WithAttrs and WithGroup make w a log that counts alarms.
func (w *realWorld) Enabled(context.Context, slog.Level) bool { return true }

func (w *realWorld) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "ALARM" && r.Level == slog.LevelError {
		w.alarms.Add(1)
	}
	return nil
}

func (w *realWorld) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w *realWorld) WithGroup(string) slog.Handler      { return w }

// newWorld makes an empty database, to be copied, and what reads and makes its credentials.
func newWorld(t *testing.T) (fresh string, salt []byte, keys *doorward.KeyRing, hasher *doorward.Hasher) {
	t.Helper()
	fresh = filepath.Join(t.TempDir(), "fresh.db")
	s, err := store.OpenSQLite(t.Context(), fresh, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	salt, err = s.Salt(t.Context(), slices.Repeat([]byte{7}, doorward.SaltLen))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	keys, err = doorward.NewKeyRing(salt, doorward.Secret(realSecret))
	if err != nil {
		t.Fatal(err)
	}
	hasher, err = doorward.NewHasher(doorward.HasherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return fresh, salt, keys, hasher
}

// TestChainReal runs everything.
func TestChainReal(t *testing.T) {
	t.Parallel()
	// Making the tables anew for every draw would cost more than all that follows.
	fresh, _, keys, hasher := newWorld(t)
	seen := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		w := &realWorld{ctx: t.Context(), keys: keys, hasher: hasher, seen: seen}
		var err error
		if w.dir, err = os.MkdirTemp(filepath.Dir(fresh), "draw"); err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(w.dir)
		w.now.Store(1_800_000_000_000 + rapid.Int64Range(0, 999).Draw(r, "ms"))
		w.rules.RetryWindow = rapid.SampledFrom([]time.Duration{10 * time.Second, 10 * time.Second, 1500 * time.Millisecond, 300 * time.Millisecond, 0}).Draw(r, "window")
		w.rules.Strict = rapid.IntRange(0, 4).Draw(r, "strict") == 4
		w.open(r, fresh)
		defer func() { w.close(r) }()
		w.exchange(r, 0, true)
		w.goAhead(r, w.exchange(r, 1, false).current)
		r.Repeat(map[string]func(*rapid.T){
			"exchange": func(r *rapid.T) {
				if rapid.IntRange(0, 2).Draw(r, "really") > 0 {
					r.Skip("seldom")
				}
				w.goAhead(r, w.exchange(r, w.node(r), false).current)
			},
			"refresh":             func(r *rapid.T) { w.refresh(r, w.node(r), w.token(r)) },
			"refresh once more":   func(r *rapid.T) { w.refresh(r, w.node(r), w.token(r)) },
			"use":                 func(r *rapid.T) { w.use(r, w.node(r), w.token(r)) },
			"use once more":       func(r *rapid.T) { w.use(r, w.node(r), w.token(r)) },
			"refresh and use":     func(r *rapid.T) { w.goAhead(r, w.token(r)) },
			"fork":                w.fork,
			"the client goes on":  func(r *rapid.T) { w.honestRefresh(r, w.honest(r), false) },
			"an answer is lost":   func(r *rapid.T) { w.honestRefresh(r, w.honest(r), true) },
			"the client asks":     func(r *rapid.T) { w.honestUse(r, w.honest(r)) },
			"time passes":         w.pass,
			"a node hears":        func(r *rapid.T) { w.catchUp(r, w.node(r)) },
			"sign out":            w.signOut,
			"a node restarts":     func(r *rapid.T) { w.start(r, w.node(r)) },
			"a node tidies up":    w.sweep,
			"a backup":            w.takeBackup,
			"the backup restored": w.restore,
		})
	})
	t.Log(seen)
}

// open opens a copy of file, and both nodes on it.
func (w *realWorld) open(r *rapid.T, file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		r.Fatal(err)
	}
	w.files++
	w.file = filepath.Join(w.dir, fmt.Sprintf("doorward%d.db", w.files))
	if err := os.WriteFile(w.file, content, 0o600); err != nil {
		r.Fatal(err)
	}
	if w.store, err = store.OpenSQLite(w.ctx, w.file, w.time); err != nil {
		r.Fatal(err)
	}
	for node := range w.nodes {
		w.start(r, node)
	}
	identity, err := w.nodes[0].Authenticate(w.ctx, doorward.Presented{Via: doorward.FromBearer, Value: realAPIKey})
	if err != nil {
		r.Fatal(err)
	}
	w.client = doorward.Caller{Identity: identity}
}

func (w *realWorld) close(r *rapid.T) {
	if err := w.store.Close(); err != nil {
		r.Fatal(err)
	}
	if err := os.Remove(w.file); err != nil {
		r.Fatal(err)
	}
}

// start starts a node, which remembers nothing but what the store tells it.
func (w *realWorld) start(r *rapid.T, node int) {
	a, err := doorward.New(w.ctx, doorward.Config{
		Store: w.store, Keys: w.keys, Salt: slices.Repeat([]byte{7}, doorward.SaltLen), Hasher: w.hasher,
		Credentials: []doorward.ConfiguredCredential{{Secret: doorward.Secret(realAPIKey), Kind: doorward.KindClient, Role: doorward.Editor}},
		AccessLife:  realAccessLife, RefreshLife: realRefreshLife, SessionMaxAge: realMaxAge, MaxStaleness: realStaleness,
		RefreshRules: w.rules, Now: w.time, Log: slog.New(w),
	})
	if err != nil {
		r.Fatal(err)
	}
	w.nodes[node] = a
	for _, s := range w.sessions {
		s.met[node] = false
		for _, t := range s.tokens {
			t.passed[node] = false
		}
	}
	w.heard(node)
}

// heard is that node knows all that has been committed.
func (w *realWorld) heard(node int) {
	w.view[node] = w.time()
	for _, s := range w.sessions {
		s.dead[node] = !s.gone && s.row.ended != ""
	}
}

func (w *realWorld) node(r *rapid.T) int { return rapid.IntRange(0, len(w.nodes)-1).Draw(r, "node") }

// token draws any token that was ever minted, mostly one of the last of a session that
// lives. No session of an honest client has thieves.
func (w *realWorld) token(r *rapid.T) *realToken {
	var living, all []*realSession
	for _, s := range w.sessions {
		if !s.honest {
			all = append(all, s)
		}
		if !s.honest && s.row.ended == "" && !s.gone {
			living = append(living, s)
		}
	}
	if len(living) > 0 && rapid.IntRange(0, 5).Draw(r, "any session") > 0 {
		all = living
	}
	s := all[len(all)-1-rapid.IntRange(0, len(all)-1).Draw(r, "session")]
	back := rapid.OneOf(rapid.IntRange(0, min(2, len(s.tokens)-1)), rapid.IntRange(0, len(s.tokens)-1)).Draw(r, "back")
	return s.tokens[len(s.tokens)-1-back]
}

// honest draws an honest client.
func (w *realWorld) honest(r *rapid.T) *realSession {
	var some []*realSession
	for _, s := range w.sessions {
		if s.honest {
			some = append(some, s)
		}
	}
	return some[rapid.IntRange(0, len(some)-1).Draw(r, "client")]
}

// saw counts what has come of something.
func (w *realWorld) saw(what, then string) { w.seen[what+": "+then]++ }

// exchange makes a session at node.
func (w *realWorld) exchange(r *rapid.T, node int, honest bool) *realSession {
	grant, err := w.nodes[node].Exchange(w.ctx, w.client, "my-app")
	if err != nil {
		r.Fatalf("exchange: %v", err)
	}
	now := w.time()
	s := &realSession{ends: now.Add(realMaxAge), honest: honest, adopts: w.rules.Strict || rapid.IntRange(0, 3).Draw(r, "adopts") > 0, heirs: map[string]string{}}
	t := w.minted(r, s, grant, 0, now)
	s.row.head, s.row.minted = t, now
	s.row.accessUntil, _ = t.expires()
	s.current, s.newest, s.met[node] = t, t, true
	w.sessions = append(w.sessions, s)
	w.compare(r, s)
	return s
}

// minted reads an answer of tokens never seen before and checks all that they say.
func (w *realWorld) minted(r *rapid.T, s *realSession, grant doorward.Grant, gen int64, at time.Time) *realToken {
	refresh, err := w.keys.Verify(doorward.RefreshToken, grant.RefreshToken, at)
	if err != nil {
		r.Fatalf("the refresh token of an answer: %v", err)
	}
	access, err := w.keys.Verify(doorward.AccessToken, grant.AccessToken, at)
	if err != nil {
		r.Fatalf("the access token of an answer: %v", err)
	}
	if s.id == "" {
		s.id = refresh.Session
	}
	t := &realToken{session: s, id: refresh.ID, gen: gen, minted: at, grant: grant}
	accessUntil, refreshUntil := t.expires()
	wantRefresh := doorward.Claims{Subject: "my-app", IssuedAt: at.Unix(), ExpiresAt: refreshUntil, ID: t.id, Session: s.id, Gen: gen}
	wantAccess := wantRefresh
	wantAccess.ExpiresAt, wantAccess.ID, wantAccess.RefreshID = accessUntil, access.ID, t.id
	wantAccess.Kind, wantAccess.Role, wantAccess.Org, wantAccess.Workspaces = doorward.KindClient, doorward.Editor, doorward.Default, doorward.Default
	if refresh != wantRefresh || access != wantAccess || access.ID == refresh.ID || grant.ExpiresIn != accessUntil-at.Unix() {
		r.Fatalf("answered %+v, %+v for %d s; want %+v, %+v", refresh, access, grant.ExpiresIn, wantRefresh, wantAccess)
	}
	for _, old := range w.tokens {
		if old.id == t.id {
			r.Fatalf("%v is minted again", old)
		}
	}
	s.tokens = append(s.tokens, t)
	w.tokens = append(w.tokens, t)
	return t
}

// refresh presents a refresh token to a node. Where the answer goes is the caller's.
func (w *realWorld) refresh(r *rapid.T, node int, t *realToken) (answer *realToken) {
	s, now := t.session, w.time()
	before, alarms := w.kept(r, s), w.alarms.Load()
	grant, err := w.nodes[node].Refresh(w.ctx, doorward.Caller{}, t.grant.RefreshToken)

	_, until := t.expires()
	row := &s.row
	newest := row.head // an answer given before
	if row.child != nil {
		newest = row.child
	}
	then, want := "", error(nil)
	switch {
	case now.Unix() >= until:
		then, want = "expired", doorward.ErrTokenExpired
	case s.gone:
		then, want = "unknown", doorward.ErrInvalidToken
	case row.ended != "":
		then, want = "ended", doorward.ErrTokenBlacklisted
	default:
		then = row.presented(t, now, w.rules)
	}
	w.saw("refresh", then)
	if then == "503" && (t.gen <= row.head.gen || t.gen == row.head.gen+1 && row.child != nil) {
		w.saw("refresh", "503 by the time of issue")
	}
	switch then {
	case "503":
		want = doorward.ErrUnavailable
	case "reuse":
		want = doorward.ErrTokenBlacklisted
		row.ended, s.dead[node] = doorward.EndReuse, true
	}
	if !errors.Is(err, want) {
		r.Fatalf("presenting %v: %v, want %s", t, err, then)
	}
	switch then {
	case "the head moves on":
		row.prev, row.head, row.child, row.minted = row.head, t, w.minted(r, s, grant, t.gen+1, now), now
		answer = row.child
	case "a child", "another child":
		row.child, row.minted = w.minted(r, s, grant, t.gen+1, now), now
		if then == "another child" {
			row.fork = t.gen + 1
		}
		answer = row.child
	case "the same answer":
		answer = newest
		accessUntil, _ := answer.expires()
		want := answer.grant
		want.ExpiresIn = max(0, accessUntil-now.Unix())
		if grant != want {
			r.Fatalf("presenting %v again is answered with another token than %v", t, answer)
		}
	}
	if answer != nil {
		accessUntil, _ := answer.expires()
		row.accessUntil = max(row.accessUntil, accessUntil)
	}
	if n := w.alarms.Load() - alarms; (n == 1) != (then == "503") || n > 1 {
		r.Fatalf("presenting %v: %d alarms for %s", t, n, then)
	}
	after := w.compare(r, s)
	w.refreshNever(r, t, before, after, err, now)
	return answer
}

// presented looks t up in the table.
func (row *realRow) presented(t *realToken, now time.Time, rules doorward.RefreshRules) string {
	for _, x := range realPresented {
		if row.isAt(x.place, t) && x.child.is(row.child != nil) && x.soon.is(now.Sub(row.minted) < rules.RetryWindow) && x.strict.is(rules.Strict) {
			return x.then
		}
	}
	return ""
}

// refreshNever checks what may never come of a refresh, on what was seen alone.
func (w *realWorld) refreshNever(r *rapid.T, t *realToken, before, after doorward.Session, err error, now time.Time) {
	if w.refreshes(t, now) && !t.session.gone {
		was := before.Chain
		newer := t.lost && (t.gen > was.Gen+1 || t.gen == was.Gen+1 && was.Child == "" || t.minted.Unix() > was.Minted.Unix())
		soon := now.Sub(was.Minted) < w.rules.RetryWindow && !w.rules.Strict
		good := t.id == was.Child || t.id == was.Head && (was.Child == "" || !w.rules.Strict) || t.id == was.Prev && was.Child == "" && soon
		switch {
		case !before.Ended.IsZero() && !errors.Is(err, doorward.ErrTokenBlacklisted):
			r.Fatalf("RevokedStaysDead: presenting %v of a session that has ended: %v", t, err)
		case before.Ended.IsZero() && newer && (!errors.Is(err, doorward.ErrUnavailable) || after != before):
			r.Fatalf("EpochMonotone: presenting %v, which is newer than %+v: %v, then %+v", t, before, err, after)
		case before.Ended.IsZero() && !newer && !good && (!errors.Is(err, doorward.ErrTokenBlacklisted) || after.EndReason != doorward.EndReuse):
			r.Fatalf("ReuseKills: presenting %v to %+v: %v, then %+v", t, was, err, after)
		case before.Ended.IsZero() && good && err != nil:
			r.Fatalf("presenting %v to %+v: %v", t, was, err)
		}
	}
	w.never(r, t.session, before, after)
}

func (w *realWorld) refreshes(t *realToken, now time.Time) bool {
	_, until := t.expires()
	return now.Unix() < until
}

// never checks what may never become of a session.
func (w *realWorld) never(r *rapid.T, s *realSession, before, after doorward.Session) {
	was, is := before.Chain, after.Chain
	switch heir, ok := s.heirs[was.Head]; {
	case was.Head == is.Head:
		if was.Prev != is.Prev || was.Gen != is.Gen {
			r.Fatalf("LineageLinear: %+v became %+v", was, is)
		}
	case is.Head != was.Child || is.Prev != was.Head || is.Gen != was.Gen+1 || ok && heir != is.Head:
		r.Fatalf("LineageLinear: %+v became %+v, and the heir of %s was %s", was, is, was.Head, heir)
	default:
		s.heirs[was.Head] = is.Head
	}
	// A client that lost an answer is told from one of the same second by nothing.
	sameSecond := s.restored && w.rules.RetryWindow < time.Second
	if s.honest && after.EndReason == doorward.EndReuse && !sameSecond {
		r.Fatalf("HonestAlive: an honest client is signed out: %+v", after)
	}
	if !before.Ended.IsZero() && (after.Ended != before.Ended || after.EndReason != before.EndReason || is != was) {
		r.Fatalf("RevokedStaysDead: %+v became %+v", before, after)
	}
}

// use shows an access token to a node and says whether it passed.
func (w *realWorld) use(r *rapid.T, node int, t *realToken) bool {
	s, now := t.session, w.time()
	before, alarms := w.kept(r, s), w.alarms.Load()
	deadHere := s.dead[node]
	var err error
	if rapid.Bool().Draw(r, "at the door") {
		var id doorward.Identity
		id, err = w.nodes[node].Authenticate(w.ctx, doorward.Presented{Via: doorward.FromBearer, Value: t.grant.AccessToken})
		if err == nil && (id.Session != s.id || id.Subject != "my-app" || id.Role != doorward.Editor || id.Kind != doorward.KindClient) {
			r.Fatalf("%v is taken for %+v", t, id)
		}
	} else {
		var c doorward.Claims
		c, err = w.nodes[node].AccessClaims(w.ctx, t.grant.AccessToken)
		if err == nil && (c.Session != s.id || c.RefreshID != t.id || c.Gen != t.gen) {
			r.Fatalf("%v says %+v", t, c)
		}
	}

	until, _ := t.expires()
	row := &s.row
	remembered := t.passed[node] || t.gen <= 1 && s.met[node] // perhaps
	then, want := "", error(nil)
	switch {
	case now.Unix() >= until:
		then, want = "expired", doorward.ErrTokenExpired
	case s.dead[node]:
		then, want = "ended", doorward.ErrTokenBlacklisted
	case now.Sub(w.view[node]) > realStaleness:
		then, want = "stale node", doorward.ErrUnavailable
	case remembered && err == nil:
		then = "pass, remembered"
	case s.gone:
		then, want = "unknown", doorward.ErrInvalidToken
	case row.ended != "":
		then, want = "ended", doorward.ErrTokenBlacklisted
		s.dead[node] = true
	default:
		then = row.used(t)
	}
	if remembered && !s.gone && row.ended == "" {
		if v := row.used(t); v != "pass" && v != "401" {
			r.Fatalf("%v has passed at node %d and is now to %s", t, node, v)
		}
	}
	w.saw("use", then)
	if then == "pass with an alarm" && (t.gen <= row.head.gen || t.gen == row.head.gen+1 && row.child != nil) {
		w.saw("use", "pass with an alarm by the time of issue")
	}
	switch then {
	case "reuse":
		want = doorward.ErrTokenBlacklisted
		row.ended, s.dead[node] = doorward.EndReuse, true
	case "401":
		want = doorward.ErrInvalidToken
	case "the answer has arrived":
		row.prev, row.head, row.child = row.head, row.child, nil
	}
	if !errors.Is(err, want) {
		r.Fatalf("using %v at node %d: %v, want %s", t, node, err, then)
	}
	if then == "pass" || then == "the answer has arrived" {
		t.passed[node], s.met[node] = true, true
	}
	if n := w.alarms.Load() - alarms; (n == 1) != (then == "pass with an alarm") || n > 1 {
		r.Fatalf("using %v: %d alarms for %s", t, n, then)
	}
	if err == nil && deadHere {
		r.Fatalf("RevokedStaysDead: %v passes at node %d, which knew that its session has ended", t, node)
	}
	w.never(r, s, before, w.compare(r, s))
	return err == nil
}

// used looks t up in the table.
func (row *realRow) used(t *realToken) string {
	for _, x := range realUsed {
		if row.isAt(x.place, t) {
			return x.then
		}
	}
	return ""
}

// goAhead is a client, or a thief, that refreshes and uses what it got.
func (w *realWorld) goAhead(r *rapid.T, t *realToken) {
	node := w.node(r)
	for range rapid.IntRange(0, 4).Draw(r, "times") {
		if t = w.refresh(r, node, t); t == nil {
			return
		}
		if rapid.Bool().Draw(r, "uses it") {
			w.use(r, w.node(r), t)
		}
	}
}

// fork asks again when the window is over, and goes on with either answer, or with none.
// Perhaps a backup is made between the two and restored; perhaps one of them turns up late.
func (w *realWorld) fork(r *rapid.T) {
	s := w.token(r).session
	if s.row.ended != "" || s.gone {
		s = w.exchange(r, w.node(r), false)
	}
	t := s.row.head
	if s.row.child != nil && rapid.Bool().Draw(r, "the child") {
		t = s.row.child
	}
	one := w.refresh(r, w.node(r), t)
	if one == nil {
		return
	}
	restored := rapid.IntRange(0, 2).Draw(r, "restored") == 2
	if restored {
		w.takeBackup(r)
	}
	w.advance(r, w.rules.RetryWindow+time.Duration(rapid.IntRange(0, 1500).Draw(r, "ms"))*time.Millisecond)
	other := w.refresh(r, w.node(r), t)
	if other == nil {
		return
	}
	late, goes := one, other
	if rapid.Bool().Draw(r, "with the first") {
		late, goes = other, one
	}
	if rapid.Bool().Draw(r, "uses it") {
		w.use(r, w.node(r), goes)
	}
	w.goAhead(r, goes)
	if restored {
		w.restore(r)
	}
	switch rapid.SampledFrom([]string{"refreshes", "uses", "nothing"}).Draw(r, "late") {
	case "refreshes":
		w.refresh(r, w.node(r), late)
	case "uses":
		w.use(r, w.node(r), late)
	}
}

// honestRefresh is the refresh of an honest client. When it is told that its token is no
// good, or newer than the database, it exchanges its API token anew.
func (w *realWorld) honestRefresh(r *rapid.T, s *realSession, lost bool) {
	if lost && w.rules.Strict {
		r.Skip("one-time tokens and lost answers do not go together")
	}
	t := s.current
	answer := w.refresh(r, w.node(r), t)
	switch {
	case answer == nil:
		if !s.restored && s.row.ended == "" && w.refreshes(t, w.time()) {
			r.Fatalf("HonestAlive: %v is refused", t)
		}
		s.honest = false
		w.exchange(r, w.node(r), true)
	case lost:
	case s.adopts:
		s.current, s.newest = answer, answer
	default:
		s.newest = answer
	}
}

// honestUse uses the newest access token of an honest client.
func (w *realWorld) honestUse(r *rapid.T, s *realSession) {
	node, now := w.node(r), w.time()
	until, _ := s.newest.expires()
	passed := w.use(r, node, s.newest)
	if !passed && now.Unix() < until && s.row.ended == "" && !s.gone && now.Sub(w.view[node]) <= realStaleness {
		r.Fatalf("HonestAlive: the newest access token, %v, is refused", s.newest)
	}
}

// pass lets time pass, often to the edge of a retry window. Mostly the nodes hear of each
// other meanwhile.
func (w *realWorld) pass(r *rapid.T) {
	minted := w.sessions[rapid.IntRange(0, len(w.sessions)-1).Draw(r, "session")].row.minted
	var d time.Duration
	switch rapid.SampledFrom([]string{"edge", "edge", "edge", "ms", "seconds", "seconds", "minutes", "minutes", "long"}).Draw(r, "how long") {
	case "edge":
		d = minted.Add(w.rules.RetryWindow).Sub(w.time()) - time.Duration(rapid.IntRange(0, 1).Draw(r, "before"))*time.Millisecond
	case "ms":
		d = time.Duration(rapid.IntRange(1, 999).Draw(r, "ms")) * time.Millisecond
	case "seconds":
		d = time.Duration(rapid.IntRange(1_000, 20_000).Draw(r, "ms")) * time.Millisecond
	case "minutes":
		d = time.Duration(rapid.IntRange(1, 2).Draw(r, "minutes")) * time.Minute
	case "long":
		d = time.Duration(rapid.IntRange(5, 25).Draw(r, "minutes")) * time.Minute
	}
	if d <= 0 {
		d = time.Millisecond
	}
	w.advance(r, d)
}

func (w *realWorld) advance(r *rapid.T, d time.Duration) {
	w.now.Add(d.Milliseconds())
	for node := range w.nodes {
		if rapid.IntRange(0, 7).Draw(r, "hears") > 0 {
			w.catchUp(r, node)
		}
	}
}

func (w *realWorld) catchUp(r *rapid.T, node int) {
	if err := w.nodes[node].CatchUp(w.ctx); err != nil {
		r.Fatal(err)
	}
	w.heard(node)
}

// signOut ends the session of any access token.
func (w *realWorld) signOut(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "really") > 0 {
		r.Skip("seldom")
	}
	node, t := w.node(r), w.token(r)
	s, before := t.session, w.kept(r, t.session)
	err := w.nodes[node].SignOut(w.ctx, doorward.Caller{}, doorward.Presented{Via: doorward.FromBearer, Value: t.grant.AccessToken})
	until, _ := t.expires()
	want := error(nil)
	switch {
	case w.time().Unix() >= until:
		want = doorward.ErrTokenExpired
	case s.gone:
		want = doorward.ErrInvalidToken
	case s.row.ended == "":
		s.row.ended = doorward.EndSignedOut
	}
	if !errors.Is(err, want) {
		r.Fatalf("signing out with %v: %v, want %v", t, err, want)
	}
	w.saw("sign out", fmt.Sprint(want))
	if want == nil {
		s.dead[node] = true
	}
	w.never(r, s, before, w.compare(r, s))
}

func (w *realWorld) sweep(r *rapid.T) {
	if err := w.nodes[w.node(r)].Sweep(w.ctx); err != nil {
		r.Fatal(err)
	}
	// What is over is not compared any more: of a session whose tokens have all expired, the
	// row may be gone, and it does not matter.
	for _, s := range w.sessions {
		if !w.time().Before(s.ends) {
			s.gone = true
		}
	}
}

// takeBackup copies the file as it is, under the nodes.
func (w *realWorld) takeBackup(r *rapid.T) {
	w.files++
	b := &realBackup{
		file: filepath.Join(w.dir, fmt.Sprintf("backup%d.db", w.files)), known: len(w.tokens),
		rows: map[*realSession]realRow{}, heirs: map[*realSession]map[string]string{},
	}
	db, err := sql.Open("sqlite", w.file)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := db.ExecContext(w.ctx, `VACUUM INTO ?`, b.file); err != nil {
		r.Fatal(err)
	}
	if err := db.Close(); err != nil {
		r.Fatal(err)
	}
	for _, s := range w.sessions {
		if !s.gone {
			b.rows[s], b.heirs[s] = s.row, maps.Clone(s.heirs)
		}
	}
	w.backup = b
}

// restore puts the backup in the place of the file and starts everything anew.
func (w *realWorld) restore(r *rapid.T) {
	if w.backup == nil {
		r.Skip("there is none")
	}
	w.close(r)
	for _, s := range w.sessions {
		row, known := w.backup.rows[s]
		s.row, s.heirs, s.gone, s.restored = row, maps.Clone(w.backup.heirs[s]), s.gone || !known, true
	}
	for _, t := range w.tokens[w.backup.known:] {
		t.lost = true
	}
	w.open(r, w.backup.file)
	for _, s := range w.sessions {
		if !s.gone {
			w.compare(r, s)
		}
	}
}

// kept reads the row of s.
func (w *realWorld) kept(r *rapid.T, s *realSession) doorward.Session {
	kept, found, err := w.store.Session(w.ctx, s.id)
	if err != nil || found == s.gone && w.time().Before(s.ends) {
		r.Fatalf("session %s: found %v, error %v", s.id, found, err)
	}
	return kept
}

// compare wants the row of s to be what it is to be, and returns it.
func (w *realWorld) compare(r *rapid.T, s *realSession) doorward.Session {
	got := w.kept(r, s)
	if s.gone {
		return got
	}
	want := doorward.Chain{Head: s.row.head.id, Gen: s.row.head.gen, Fork: s.row.fork, Minted: s.row.minted}
	if s.row.prev != nil {
		want.Prev = s.row.prev.id
	}
	if s.row.child != nil {
		want.Child = s.row.child.id
	}
	if got.Chain != want || got.EndReason != s.row.ended || got.Ended.IsZero() != (s.row.ended == "") || got.AccessUntil.Unix() != s.row.accessUntil || !got.Ends.Equal(s.ends) {
		r.Fatalf("kept is %+v, want %+v, ended %q, access until %d", got, want, s.row.ended, s.row.accessUntil)
	}
	return got
}

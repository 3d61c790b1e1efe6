//go:build unix

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"doorward"
	"doorward/pgtest"
)

// soon is how long what must not hang may take on a machine that is busy with other things.
const soon = 30 * time.Second

// A server of its own, which each part leaves as it found it: making one takes long.
func TestPostgresOutages(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t, pgtest.Config{Password: "hush-hush"})
	for _, part := range []struct {
		name string
		test func(t *testing.T, cluster *pgtest.Cluster)
	}{
		{"a wrong password", wrongPassword},
		{"frozen", frozen},
		{"killed", killed},
		{"a replica", replica},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, cluster) })
	}
}

func wrongPassword(t *testing.T, cluster *pgtest.Cluster) {
	u, err := url.Parse(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), "psst-psst")
	_, err = OpenPostgres(t.Context(), u.String())
	want := fmt.Sprintf("cannot open store postgres://%s@%s%s: password authentication failed for user %q; check the user, the password and the server's pg_hba.conf",
		u.User.Username(), u.Host, u.Path, u.User.Username())
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// everyCall is one call of each kind.
func everyCall(ctx context.Context, s *Store, c *clock, id string) map[string]func() error {
	return map[string]func() error{
		"ping":    func() error { return s.Ping(ctx) },
		"state":   func() error { _, err := s.State(ctx); return err },
		"session": func() error { _, _, err := s.Session(ctx, "ses_1"); return err },
		"list":    func() error { return s.EndedSessions(ctx, func(doorward.EndedSession) error { return nil }) },
		"locked":  func() error { _, err := s.LockedFor(ctx, "anna"); return err },
		"count":   func() error { _, err := s.CountFailure(ctx, "anna", lockSoon, noted); return err },
		"create":  func() error { return s.CreateSession(ctx, session(id, "tok_1", c), 1<<30, noted) },
		"advance": func() error {
			_, err := s.AdvanceRefresh(ctx, "ses_1", func(at doorward.RefreshState) doorward.RefreshDecision {
				return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: at.Session.Chain}
			}, noted)
			return err
		},
		"end":   func() error { _, _, err := s.EndSession(ctx, "ses_x", "x", noted); return err },
		"prune": func() error { return s.Prune(ctx, time.Hour) },
	}
}

func frozen(t *testing.T, cluster *pgtest.Cluster) {
	text := cluster.Database(t)
	s, c := openURL(t, text, short)
	if err := s.CreateSession(t.Context(), session("ses_1", "tok_1", c), 10, noted); err != nil {
		t.Fatal(err)
	}
	fails := func(name string, call func() error) {
		began := time.Now()
		err := call()
		if took := time.Since(began); took > soon {
			t.Errorf("%s: it took %v", name, took)
		}
		var refusal *doorward.Error
		switch {
		case err == nil:
			t.Errorf("%s: no error", name)
		case errors.As(err, &refusal) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errSilent):
			t.Errorf("%s: %v, which is no error of the store's", name, err)
		case strings.Contains(err.Error(), "hush"):
			t.Errorf("%s: %q shows the password", name, err)
		}
	}
	cluster.Freeze(t)
	var all sync.WaitGroup
	for name, call := range everyCall(t.Context(), s, c, "ses_frozen") {
		for range 8 { // more than there are connections
			all.Go(func() { fails(name, call) })
		}
	}
	all.Go(func() {
		_, err := OpenPostgres(t.Context(), with(t, text, "connect_timeout", "1"))
		if err == nil || !strings.HasSuffix(err.Error(), ": it did not answer in time; is the address right?") {
			t.Errorf("open: %v", err)
		}
	})
	all.Wait()
	// Who has less patience than we have is not kept waiting.
	hurried, leave := context.WithTimeout(t.Context(), time.Millisecond)
	defer leave()
	if err := s.Ping(hurried); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("in a hurry: %v", err)
	}
	cluster.Thaw(t)

	for range 2 {
		for name, call := range everyCall(t.Context(), s, c, fmt.Sprintf("ses_%d", time.Now().UnixNano())) {
			if err := call(); err != nil {
				t.Errorf("%s, thawed: %v", name, err)
			}
		}
	}
	// In the middle of a transaction, when one half of it is done.
	_, err := s.AdvanceRefresh(t.Context(), "ses_1", func(at doorward.RefreshState) doorward.RefreshDecision {
		cluster.Freeze(t)
		at.Session.Chain.Gen = 99
		return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: at.Session.Chain}
	}, noted)
	if !errors.Is(err, errSilent) || errors.Is(err, errInDoubt) {
		t.Errorf("error %v, want silence", err)
	}
	cluster.Thaw(t)
	if got, found, err := s.Session(t.Context(), "ses_1"); err != nil || !found || got.Chain.Gen == 99 {
		t.Errorf("half of it was kept: %+v, found %v, error %v", got, found, err)
	}
}

func killed(t *testing.T, cluster *pgtest.Cluster) {
	text := cluster.Database(t)
	s, c := openURL(t, text, postgresDefaults)
	var mu sync.Mutex
	acknowledged := map[string][]string{}
	for round := range 3 {
		count, enough := 0, make(chan struct{})
		tell := func(what, id string) {
			mu.Lock()
			defer mu.Unlock()
			acknowledged[what] = append(acknowledged[what], id)
			if count++; count == 200+50*round {
				close(enough)
			}
		}
		var workers sync.WaitGroup
		for worker := range 16 {
			workers.Go(func() {
				for i := 0; ; i++ {
					n := session(fmt.Sprintf("ses_%d_%d_%d", round, worker, i), "tok_1", c)
					if err := s.CreateSession(t.Context(), n, 1<<30, noted); err != nil {
						if strings.Contains(err.Error(), "hush") {
							t.Errorf("%q shows the password", err)
						}
						return
					}
					tell("made", n.ID)
					_, err := s.AdvanceRefresh(t.Context(), n.ID, func(doorward.RefreshState) doorward.RefreshDecision {
						return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: doorward.Chain{Prev: "j0", Head: "j1", Gen: 1}}
					}, noted)
					if err != nil {
						return
					}
					tell("advanced", n.ID)
					if _, _, err := s.EndSession(t.Context(), n.ID, doorward.EndSignedOut, noted); err != nil {
						return
					}
					tell("ended", n.ID)
				}
			})
		}
		<-enough
		cluster.Kill(t)
		workers.Wait() // each until its first error
		cluster.Restart(t)

		// The same store, every connection of which is dead: a change is run again on a new one.
		for i := range postgresDefaults.writers {
			n := session(fmt.Sprintf("ses_after_%d_%d", round, i), "tok_1", c)
			if err := s.CreateSession(t.Context(), n, 1<<30, noted); err != nil {
				t.Errorf("after the restart: %v", err)
			}
		}
		fresh, _ := openURL(t, text, postgresDefaults)
		for what, ids := range acknowledged {
			for _, id := range ids {
				got, found, err := fresh.Session(t.Context(), id)
				if err != nil || !found || what == "advanced" && got.Chain.Gen != 1 || what == "ended" && got.Ended.IsZero() {
					t.Errorf("%s %s was acknowledged; found %v, %+v, error %v", what, id, found, got, err)
				}
			}
		}
	}
}

func replica(t *testing.T, cluster *pgtest.Cluster) {
	text := cluster.Database(t)
	s, c := openURL(t, text, postgresDefaults)
	n := session("ses_1", "tok_1", c)
	if err := s.CreateSession(t.Context(), n, 10, noted); err != nil {
		t.Fatal(err)
	}
	cluster.Demote(t)
	_, err := OpenPostgres(t.Context(), text)
	if err == nil || !strings.HasSuffix(err.Error(), ": it is a read replica; give the address of the primary") {
		t.Errorf("opening a replica: %v", err)
	}
	if _, _, err := s.EndSession(t.Context(), n.ID, doorward.EndSignedOut, noted); !errors.Is(err, errReplica) {
		t.Errorf("writing to a replica: %v", err)
	}
	// What a replica says may be old, so it is not asked. The first to notice may be told
	// that the connection was lost.
	for range postgresDefaults.readers {
		_, _, err = s.Session(t.Context(), n.ID)
		if err == nil {
			t.Error("a replica was believed")
		}
	}
	if !errors.Is(err, errReplica) {
		t.Errorf("reading from a replica: %v", err)
	}
	// With another primary in the URL that one is found.
	primary, err := url.Parse(postgres.Cluster(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	old, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	both := with(t, primary.String(), "host", old.Hostname()+","+primary.Hostname(), "port", old.Port()+","+primary.Port(), "password", "hush-hush")
	found, _ := openURL(t, both, postgresDefaults)
	if err := found.MarkInitialised(t.Context()); err != nil {
		t.Errorf("with a primary beside the replica: %v", err)
	}

	cluster.Promote(t)
	if _, found, err := s.EndSession(t.Context(), n.ID, doorward.EndSignedOut, noted); err != nil || !found {
		t.Errorf("after the promotion: found %v, error %v", found, err)
	}
}

// newAuthority makes an Authority on s, and who may exchange its token.
func newAuthority(t *testing.T, s *Store, now func() time.Time) (*doorward.Authority, doorward.Caller) {
	t.Helper()
	salt, err := s.Salt(t.Context(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := doorward.NewKeyRing(salt, doorward.Secret("0123456789abcdefghijklmnopqrstuv"))
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := doorward.NewHasher(doorward.HasherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const token = "a-token-of-thirty-two-characters"
	a, err := doorward.New(t.Context(), doorward.Config{
		Store: s, Salt: salt, Keys: keys, Hasher: hasher, Now: now, RefreshRules: doorward.RefreshRules{RetryWindow: time.Hour},
		Credentials: []doorward.ConfiguredCredential{{Secret: doorward.Secret(token), Kind: doorward.KindClient, Role: doorward.Editor}},
	})
	if err != nil {
		t.Fatal(err)
	}
	identity, err := a.Authenticate(t.Context(), doorward.Presented{Via: doorward.FromBearer, Value: token})
	if err != nil {
		t.Fatal(err)
	}
	return a, doorward.Caller{Identity: identity}
}

// The connection is cut before each message of a rotation, in both directions: whatever
// of it was kept, the client that asks again with the same token is answered, and so is
// its next refresh.
func TestRF21ARefreshCutAnywhereCanBeAskedForAgain(t *testing.T) {
	t.Parallel()
	proxy := pgtest.NewProxy(t, postgres.Database(t))
	s, _ := openURL(t, proxy.URL(), postgresOptions{readers: 1, writers: 1, patience: time.Minute})
	a, client := newAuthority(t, s, time.Now)
	for _, stay := range []bool{false, true} {
		lost, doubtful := 0, 0
		for n := 0; ; n++ {
			first, err := a.Exchange(t.Context(), client, "my-app") // on a new connection, where the last was cut
			if err != nil {
				t.Fatal(err)
			}
			proxy.CutAt(n, stay)
			cut, err := a.Refresh(t.Context(), client, first.RefreshToken)
			spared := proxy.Waiting()
			proxy.Heal()
			switch {
			case errors.Is(err, errInDoubt):
				doubtful++
				fallthrough
			case err != nil:
				lost++
				if doorward.Refusal(err).Code != doorward.CodeUnavailable {
					t.Errorf("cut before message %d: %v", n, err)
				}
			}
			again, err := a.Refresh(t.Context(), client, first.RefreshToken)
			if err != nil {
				t.Fatalf("cut before message %d: asked again, the client gets %v", n, err)
			}
			if cut.RefreshToken != "" && cut.RefreshToken != again.RefreshToken {
				t.Errorf("cut before message %d: it was answered, and again, with another token", n)
			}
			if _, err := a.Refresh(t.Context(), client, again.RefreshToken); err != nil {
				t.Errorf("cut before message %d: the next refresh: %v", n, err)
			}
			if spared {
				break
			}
		}
		// A connection lost before the COMMIT is replaced, so only then is it told.
		if doubtful == 0 || !stay && lost != doubtful || stay && lost <= doubtful {
			t.Errorf("cut for good %v: %d answers were lost, %d of them in doubt", stay, lost, doubtful)
		}
	}
}

// Whatever message of a refusal is lost, it never becomes a yes.
func TestNoCutTurnsARefusalIntoAYes(t *testing.T) {
	t.Parallel()
	proxy := pgtest.NewProxy(t, postgres.Database(t))
	s, c := openURL(t, proxy.URL(), postgresOptions{readers: 1, writers: 1, patience: time.Minute})
	ctx := t.Context()
	if _, err := s.CreateFirstUser(ctx, person("usr_a", "anna"), hash, noted); err != nil {
		t.Fatal(err)
	}
	over := session("ses_over", "tok_1", c)
	for _, n := range []doorward.Session{over, session("ses_live", "tok_2", c)} {
		if err := s.CreateSession(ctx, n, 10, noted); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.EndSession(ctx, over.ID, doorward.EndSignedOut, noted); err != nil {
		t.Fatal(err)
	}
	for range lockSoon.Attempts + 1 {
		if _, err := s.CountFailure(ctx, "anna", lockSoon, noted); err != nil {
			t.Fatal(err)
		}
	}
	for name, yes := range map[string]func() (bool, error){
		"a second first user": func() (bool, error) {
			return s.CreateFirstUser(ctx, person("usr_b", "berta"), hash, noted)
		},
		"a name taken": func() (bool, error) {
			err := s.CreateUser(ctx, person("usr_c", "Anna"), hash, noted)
			return err == nil, err
		},
		"a locked account": func() (bool, error) {
			left, err := s.CountFailure(ctx, "anna", lockSoon, noted)
			return left == 0 && err == nil, err
		},
		"a lock that is read": func() (bool, error) {
			left, err := s.LockedFor(ctx, "anna")
			return left == 0 && err == nil, err
		},
		"an old password": func() (bool, error) {
			err := s.SignIn(ctx, session("ses_old", "usr_a", c), 7, "nobody", 10, noted)
			return err == nil, err
		},
		"past the limit": func() (bool, error) {
			err := s.CreateSession(ctx, session("ses_more", "tok_2", c), 1, noted)
			return err == nil, err
		},
		"a session ended": func() (bool, error) {
			n, found, err := s.Session(ctx, over.ID)
			return err == nil && (!found || n.Ended.IsZero()), err
		},
		"an ended session's refresh": func() (bool, error) {
			_, err := s.AdvanceRefresh(ctx, over.ID, func(at doorward.RefreshState) doorward.RefreshDecision {
				if at.Session.Ended.IsZero() {
					t.Error("it was shown as alive")
				}
				return doorward.RefreshDecision{Outcome: doorward.Advanced, Chain: at.Session.Chain}
			}, noted)
			return err == nil, err
		},
		"somebody is set up": func() (bool, error) {
			st, err := s.State(ctx)
			return err == nil && !(st.HasUsers && st.Initialised), err
		},
		"the ended are listed": func() (bool, error) {
			listed := 0
			err := s.EndedSessions(ctx, func(doorward.EndedSession) error { listed++; return nil })
			return err == nil && listed != 1, err
		},
	} {
		for n := 0; ; n++ {
			proxy.CutAt(n, n%2 == 0)
			ok, err := yes()
			spared := proxy.Waiting()
			proxy.Heal()
			if ok {
				t.Fatalf("%s: cut before message %d it is a yes", name, n)
			}
			if strings.Contains(fmt.Sprint(err), "panic") {
				t.Errorf("%s: %v", name, err)
			}
			if again, _ := yes(); again {
				t.Fatalf("%s: after a cut before message %d it is a yes", name, n)
			}
			if spared {
				break
			}
		}
	}
}

func TestALostCommitIsToldAsInDoubt(t *testing.T) {
	t.Parallel()
	proxy := pgtest.NewProxy(t, postgres.Database(t))
	s, c := openURL(t, proxy.URL(), postgresOptions{readers: 1, writers: 1, patience: time.Minute})
	kept := map[bool]int{}
	for n := 0; n < 1000; n++ {
		one := session(fmt.Sprintf("ses_%d", n), "tok_1", c)
		if err := s.CreateSession(t.Context(), session("ses_before_"+one.ID, "tok_1", c), 1<<30, noted); err != nil {
			t.Fatal(err)
		}
		proxy.CutAt(n, true)
		err := s.CreateSession(t.Context(), one, 1<<30, noted)
		spared := proxy.Waiting()
		proxy.Heal()
		if spared {
			break
		}
		_, found, readErr := s.Session(t.Context(), one.ID)
		if readErr != nil { // its connection was cut as well
			if _, found, readErr = s.Session(t.Context(), one.ID); readErr != nil {
				t.Fatal(readErr)
			}
		}
		var said *pgconn.PgError
		switch {
		case errors.Is(err, errInDoubt):
			kept[found]++
			if !strings.HasPrefix(err.Error(), "cannot create a session: ") {
				t.Errorf("error %q", err)
			}
		case (err == nil) != found || errors.As(err, &said):
			t.Errorf("cut before message %d: answered %v, found %v", n, err, found)
		}
	}
	if kept[true] == 0 || kept[false] == 0 {
		t.Errorf("in doubt: %d kept and %d not, want both", kept[true], kept[false])
	}
}

// TestMN5ASlowCommitIsNotPassedOver: whoever has taken a number makes everybody who takes
// the next one wait, so a reader never goes on from a number above one that commits later.
func TestMN5ASlowCommitIsNotPassedOver(t *testing.T) {
	t.Parallel()
	text := postgres.Database(t)
	s, c := openURL(t, text, postgresDefaults)
	reader, _ := openURL(t, text, postgresDefaults)
	if err := s.CreateSession(t.Context(), session("ses_late", "tok_1", c), 10, noted); err != nil {
		t.Fatal(err)
	}
	slow, err := behind(t, text).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback()
	for _, text := range []string{
		`UPDATE feed SET seq = seq + 1 WHERE id = 1`,
		`INSERT INTO changes SELECT seq, 0, 0, 'session_ended', 'ses_slow', 1 FROM feed`,
	} {
		if _, err := slow.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, _, err := s.EndSession(t.Context(), "ses_late", "x", noted)
		ended <- err
	}()
	// The second waits for the first, and is seen waiting by the server itself.
	db := behind(t, text)
	for waiting := 0; waiting == 0; {
		if err := db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	read := func(after int64) (last int64, targets []string) {
		last, err := reader.Changes(t.Context(), after, func(c doorward.Change) error {
			targets = append(targets, c.Target)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return last, targets
	}
	last, targets := read(0)
	if last != 0 || len(targets) > 0 {
		t.Fatalf("read up to %d, %v, before anything is kept", last, targets)
	}
	if err := slow.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if last, targets = read(last); last != 2 || !slices.Equal(targets, []string{"ses_slow", "ses_late"}) {
		t.Fatalf("read up to %d, %v, want both in order", last, targets)
	}
}

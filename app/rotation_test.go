package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorward"
	"doorward/safe"
	"doorward/store"
)

// settings are those of the door's next start.
func (d *door) settings() Settings {
	d.t.Helper()
	l := load(sources{flags: d.flags})
	if err := l.err(); err != nil {
		d.t.Fatal(err)
	}
	return l.Settings
}

// beside opens the door's SQLite file as a command does, by the door's clock.
func (d *door) beside(s Settings) *store.Store {
	d.t.Helper()
	kept, err := openBeside(d.t.Context(), s, d.clock.now)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = kept.Close() })
	return kept
}

// rotatedJSON is what a rotation came to, as it is printed.
type rotatedJSON struct {
	KeyID    string   `json:"kid"`
	KeyPairs []string `json:"key_pairs"`
	Previous []struct {
		KeyID string `json:"kid"`
		Until time.Time
	}
}

// rotate does what the command secret rotate does, by the door's clock.
func (d *door) rotate(atOnce bool) doorward.Rotated {
	d.t.Helper()
	s := d.settings()
	done, err := safe.Rotate(d.t.Context(), s.doorConfig().Safe(), d.beside(s), safe.RotatedByHand(), atOnce, rand.Reader, d.clock.now())
	if err != nil {
		d.t.Fatal(err)
	}
	return done
}

// signsWith waits until the server signs with the secret of kid.
func (d *door) signsWith(kid string) {
	d.t.Helper()
	until(d.t, 10*time.Second, "the server signs with "+kid, func() bool {
		access, _ := d.exchange(machineToken, "app")
		return kidOf(d.t, access) == kid
	})
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(first)
	var header struct {
		KeyID string `json:"kid"`
	}
	if err == nil {
		err = json.Unmarshal(b, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	return header.KeyID
}

// outfit is one token of each kind, of a machine's and of a person's session.
type outfit struct{ access, refresh, person, cookie string }

func (d *door) outfit() *outfit {
	d.t.Helper()
	var o outfit
	o.access, o.refresh = d.exchange(machineToken, "app")
	o.person, o.cookie = d.signIn("root", rootPassword)
	return &o
}

// signedBy fails the test unless all of the tokens were signed with the secret of kid.
func (o *outfit) signedBy(t *testing.T, kid string) {
	t.Helper()
	for _, token := range []string{o.access, o.refresh, o.person, o.cookie} {
		if got := kidOf(t, token); got != kid {
			t.Errorf("a token is signed with %s, want %s", got, kid)
		}
	}
}

// accepts fails the test unless all tokens of o are good; the refresh token becomes the next.
func (d *door) accepts(o *outfit) {
	d.t.Helper()
	for _, token := range []string{o.access, o.person} {
		d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
	}
	d.do("GET", "/api/auth/me", cookie(o.cookie)).want(http.StatusOK)
	a := d.refresh(o.refresh).want(http.StatusOK)
	o.access, o.refresh = a.str("access_token"), a.str("refresh_token")
}

// refuses fails the test unless all tokens of o are those of nobody.
func (d *door) refuses(o *outfit) {
	d.t.Helper()
	for _, token := range []string{o.access, o.person} {
		d.do("GET", "/auth/validate", bearer(token)).refused(http.StatusUnauthorized, "invalid token")
	}
	d.do("GET", "/api/auth/me", cookie(o.cookie)).refused(http.StatusUnauthorized, "invalid token")
	d.refresh(o.refresh).refused(http.StatusUnauthorized, "invalid token")
}

func (d *door) secretFile() string { return filepath.Join(d.dir, ".brokoli-jwt-secret") }

// TestKM5ARotationSignsNobodyOut: every token made before goes on working, through a
// second rotation and a restart; new ones are signed with the new secret.
func TestKM5ARotationSignsNobodyOut(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	d.setUp()
	first := d.outfit()
	kids := []string{kidOf(t, first.access)}
	all := []*outfit{first}
	for range 2 {
		done := d.rotate(false)
		d.signsWith(done.KeyID)
		var previous []string
		for _, p := range done.Previous {
			previous = append(previous, p.KeyID)
		}
		if !slices.Equal(previous, kids) {
			t.Errorf("accepted still: %v, want %v", previous, kids)
		}
		for _, o := range all {
			d.accepts(o)
		}
		next := d.outfit()
		next.signedBy(t, done.KeyID)
		all, kids = append(all, next), append(kids, done.KeyID)
	}
	d.restart()
	for _, o := range all {
		d.accepts(o)
	}
	d.outfit().signedBy(t, kids[2])
	if strings.Contains(d.log.String(), "ALARM") || strings.Contains(d.log.String(), "not accepted any more") {
		t.Errorf("the log says\n%s", d.log)
	}
	if n := d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'secret.rotate' AND detail = 'command line' AND actor = '' AND target IN (?, ?)`, kids[1], kids[2]); n != 2 {
		t.Errorf("%d audit entries, want 2", n)
	}
}

// TestKM5TheOldSecretEndsWhenItsTokensDo: to the instant, on a server that is running; and
// what is past its end is dropped when the file is next written.
func TestKM5TheOldSecretEndsWhenItsTokensDo(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken, "jwt.expiry=1h", "jwt.refresh_expiry=1h", "session.lifetime=1h", "session.max_age=2h")
	access, _ := d.exchange(machineToken, "app")
	end := time.Unix(d.sqlNumber(`SELECT ends FROM sessions WHERE id = ?`, claimsOf(t, access).Session)/1000, 0)
	old, err := safe.ReadSecretFile(d.secretFile())
	if err != nil {
		t.Fatal(err)
	}
	done := d.rotate(false)
	d.signsWith(done.KeyID)
	until := done.Previous[0].Until
	if until.Before(end) || until.Sub(end) > 2*time.Second {
		t.Errorf("accepted until %v, want the end of the last session, %v", until, end)
	}

	d.clock.advance(90 * time.Minute) // the tokens of this session outlive the secret
	access, _ = d.exchange(machineToken, "app")
	byOld := signedAnew(t, d, access, old)
	d.clock.freeze(until.Add(-time.Millisecond))
	d.do("GET", "/auth/validate", bearer(byOld)).want(http.StatusOK)
	d.clock.freeze(until)
	d.do("GET", "/auth/validate", bearer(byOld)).refused(http.StatusUnauthorized, "invalid token")
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)

	next := d.rotate(false)
	if len(next.Previous) != 1 || next.Previous[0].KeyID != done.KeyID {
		t.Errorf("accepted still: %v, want %s alone", next.Previous, done.KeyID)
	}
	if b, err := os.ReadFile(safe.PreviousPath(d.secretFile())); err != nil || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString(old))) {
		t.Errorf("what is past its end is kept; %v", err)
	}
	d.restart()
	d.do("GET", "/auth/validate", bearer(byOld)).refused(http.StatusUnauthorized, "invalid token")
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
}

// signedAnew is the access token token signed with another secret.
func signedAnew(t *testing.T, d *door, token string, secret doorward.Secret) string {
	t.Helper()
	now, err := safe.ReadSecretFile(d.secretFile())
	if err != nil {
		t.Fatal(err)
	}
	salt := make([]byte, doorward.SaltLen) // which access tokens have nothing to do with
	from, err := doorward.NewKeyRing(salt, now)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := from.Verify(doorward.AccessToken, token, d.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	to, err := doorward.NewKeyRing(salt, secret)
	if err != nil {
		t.Fatal(err)
	}
	return to.Sign(doorward.AccessToken, claims)
}

// TestUntilWhenAnOldSecretIsAccepted: as long as the settings say that a token lives, and
// as long as any session does, since the settings may have been others when it was made.
func TestUntilWhenAnOldSecretIsAccepted(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	defaults := safe.Config{JWTExpiry: day, JWTRefreshExpiry: 7 * day, SessionLifetime: day, SessionMaxAge: 30 * day}
	for name, c := range map[string]struct {
		change func(*safe.Config)
		last   time.Duration // until the last session ends; 0 for none
		want   time.Duration
	}{
		"the defaults: a refresh token":           {func(*safe.Config) {}, 0, 7 * day},
		"a refresh token ends with its session":   {func(s *safe.Config) { s.SessionMaxAge = 3 * day }, 0, 3 * day},
		"a long access token":                     {func(s *safe.Config) { s.JWTExpiry = 9 * day }, 0, 9 * day},
		"a long access token ends with a session": {func(s *safe.Config) { s.JWTExpiry = 90 * day }, 0, 30 * day},
		"a cookie":                        {func(s *safe.Config) { s.SessionLifetime = 10 * day }, 0, 10 * day},
		"a session that was to be longer": {func(s *safe.Config) { s.SessionMaxAge = day }, 29 * day, 29 * day},
		"sessions that end before":        {func(*safe.Config) {}, 6 * day, 7 * day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2030, 1, 2, 3, 4, 5, 678, time.UTC)
			kept, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "doorward.db"), func() time.Time { return now })
			if err != nil {
				t.Fatal(err)
			}
			defer kept.Close() //nolint:errcheck // nothing hangs on it
			if c.last > 0 {
				s := doorward.Session{ID: "s", Kind: doorward.KindClient, Subject: "app", Credential: "tok_x", Created: now, Ends: now.Add(c.last), AccessUntil: now}
				if err := kept.CreateSession(t.Context(), s, 1, doorward.AuditEntry{Action: "test"}); err != nil {
					t.Fatal(err)
				}
			}
			s := defaults
			c.change(&s)
			got, err := safe.AcceptedUntil(t.Context(), s, kept, now)
			if left := got.Sub(now); err != nil || left < c.want || left > c.want+2*time.Minute {
				t.Errorf("accepted for %v, want %v or a little more; %v", left, c.want, err)
			}
		})
	}
}

// doorward runs the real program and returns what it prints.
func doorwardPrints(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "doorward", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("doorward %s: %v\n%s", strings.Join(args, " "), err, &errs)
	}
	return out.String()
}

// promptly fails the test unless half of what was measured took no longer than the 250 ms
// in which a server notices the command line; the others may have met a busy machine.
func promptly(t *testing.T, what string, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	if median := took[len(took)/2]; median > 250*time.Millisecond {
		t.Errorf("%s after %v", what, took)
	}
}

// TestARunningServerPicksTheSecretUp, the real program for both, without having been told
// anything; what a client holds goes on.
func TestARunningServerPicksTheSecretUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveProgram(t, "--data-dir", dir, "--api-tokens", machineToken)
	d := &door{t: t, URL: "http://" + s.addr}
	access, refresh := d.exchange(machineToken, "app")
	var took []time.Duration
	for range 5 {
		var done rotatedJSON
		if err := json.Unmarshal([]byte(doorwardPrints(t, "secret", "rotate", "--data-dir", dir, "--json")), &done); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		d.signsWith(done.KeyID)
		took = append(took, time.Since(began))
		d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
		a := d.refresh(refresh).want(http.StatusOK)
		if refresh = a.str("refresh_token"); kidOf(t, refresh) != done.KeyID {
			t.Errorf("a refresh signs with %s, want %s", kidOf(t, refresh), done.KeyID)
		}
	}
	promptly(t, "a new secret signs", took)
	s.signal(t, syscall.SIGKILL)
	<-s.over
	s = serveProgram(t, "--data-dir", dir, "--api-tokens", machineToken)
	d.URL = "http://" + s.addr
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	d.refresh(refresh).want(http.StatusOK)
}

// TestKM5AnEmergencyRotationKillsAtOnce what any secret has signed before, on the running
// server, and for good.
func TestKM5AnEmergencyRotationKillsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--data-dir", dir, "--api-tokens", machineToken, "--api-key", machineKey}
	s := serveProgram(t, args...)
	d := &door{t: t, URL: "http://" + s.addr}
	d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusCreated)
	var dead []*outfit
	var took []time.Duration
	for range 5 {
		older := d.outfit()
		doorwardPrints(t, "secret", "rotate", "--data-dir", dir)
		newer := d.outfit()
		doorwardPrints(t, "secret", "rotate", "--now", "--data-dir", dir)
		began := time.Now()
		until(t, 10*time.Second, "what was signed before is refused", func() bool {
			return d.do("GET", "/auth/validate", bearer(newer.access)).status == http.StatusUnauthorized
		})
		took = append(took, time.Since(began))
		d.refuses(older)
		d.refuses(newer)
		dead = append(dead, older, newer)
		if _, err := os.Stat(filepath.Join(dir, ".brokoli-jwt-secret.previous")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("previous secrets are kept: %v", err)
		}
		alive := d.outfit()
		d.accepts(alive)
	}
	promptly(t, "what was signed is refused", took)
	s.signal(t, syscall.SIGKILL)
	<-s.over
	s = serveProgram(t, args...)
	d.URL = "http://" + s.addr
	for _, o := range dead {
		d.refuses(o)
	}
	d.accepts(d.outfit())
}

// TestRotationsAtTheSameTimeLoseNoSecret: each waits for the one before.
func TestRotationsAtTheSameTimeLoseNoSecret(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	access, refresh := d.exchange(machineToken, "app")
	kids := map[string]bool{kidOf(t, access): true}
	var mu sync.Mutex
	var all sync.WaitGroup
	s := d.settings()
	for range 8 {
		kept := d.beside(s)
		all.Go(func() {
			done, err := safe.Rotate(t.Context(), s.doorConfig().Safe(), kept, safe.RotatedByHand(), false, rand.Reader, d.clock.now())
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			kids[done.KeyID] = true
		})
	}
	all.Wait()
	current, err := safe.ReadSecretFile(d.secretFile())
	if err != nil {
		t.Fatal(err)
	}
	previous, err := safe.ReadPrevious(safe.PreviousPath(d.secretFile()))
	if err != nil {
		t.Fatal(err)
	}
	if len(kids) != 9 || len(previous) != 8 {
		t.Errorf("%d secrets were made and %d are previous, want 9 and 8", len(kids), len(previous))
	}
	for _, p := range append(previous, doorward.SigningKey{Secret: current}) {
		if !kids[doorward.KeyID(p.Secret)] {
			t.Errorf("%s is nobody's", doorward.KeyID(p.Secret))
		}
		delete(kids, doorward.KeyID(p.Secret))
	}
	d.signsWith(doorward.KeyID(current))
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
	d.rotated(refresh)
}

// TestARotationCutShortSignsNobodyOut: after any of its writes, whether the server goes on
// for longer than the old secret was to be accepted or starts anew at once.
func TestARotationCutShortSignsNobodyOut(t *testing.T) {
	t.Parallel()
	for cut := range 3 {
		for _, longer := range []bool{false, true} {
			t.Run(fmt.Sprintf("after %d writes, server goes on %v", cut, longer), func(t *testing.T) {
				t.Parallel()
				d := newDoor(t, "api_tokens="+machineToken, "refresh.retry_window=0s")
				d.setUp()
				before := d.outfit()
				s := d.settings()
				r, err := safe.Plan(t.Context(), s.doorConfig().Safe(), d.beside(s), false, rand.Reader, d.clock.now())
				if err != nil {
					t.Fatal(err)
				}
				for _, step := range r.Steps()[:cut] {
					if err := step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				// What a write that was itself cut short leaves.
				for _, name := range []string{d.secretFile(), safe.PreviousPath(d.secretFile())} {
					if err := os.WriteFile(name+".new", []byte("half of som"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				d.accepts(before) // by the server that was never told
				if longer {
					d.clock.advance(35 * 24 * time.Hour)
					before = d.outfit() // signed with the secret that was to be rotated out
				}
				d.restart()
				d.accepts(before)
				d.restart()
				d.accepts(before)
				after := d.outfit()
				done := d.rotate(false) // again, to its end
				d.signsWith(done.KeyID)
				d.accepts(before)
				d.accepts(after)
				if left, err := filepath.Glob(d.secretFile() + "*.new"); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
				if strings.Contains(d.log.String(), "not accepted any more") {
					t.Errorf("the log says\n%s", d.log)
				}
			})
		}
	}
}

// TestARotationThatTheDatabaseNeverHeardOfIsTakenUp by the next one, though the server
// has signed with the old secret past the end that this was given.
func TestARotationThatTheDatabaseNeverHeardOfIsTakenUp(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	d.setUp()
	s := d.settings()
	r, err := safe.Plan(t.Context(), s.doorConfig().Safe(), d.beside(s), false, rand.Reader, d.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range r.Steps()[:2] {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.clock.advance(35 * 24 * time.Hour)
	before := d.outfit()
	done := d.rotate(false)
	d.signsWith(done.KeyID)
	d.accepts(before)
	d.restart()
	d.accepts(before)
}

// TestAnEmergencyRotationCutShort leaves something to start with, and nothing that was to
// be refused is accepted once it is done again.
func TestAnEmergencyRotationCutShort(t *testing.T) {
	t.Parallel()
	for cut := range 3 {
		t.Run(fmt.Sprintf("after %d writes", cut), func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, "api_tokens="+machineToken)
			d.setUp()
			older := d.outfit()
			d.signsWith(d.rotate(false).KeyID)
			newer := d.outfit()
			s := d.settings()
			r, err := safe.Plan(t.Context(), s.doorConfig().Safe(), d.beside(s), true, rand.Reader, d.clock.now())
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range r.Steps()[:cut] {
				if err := step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if cut == 2 { // a server that starts now has no more to wait for
				d.restart()
				d.refuses(older)
				d.refuses(newer)
				if !strings.Contains(d.log.String(), "not accepted any more") && len(d.house.warnings) == 0 {
					t.Error("a secret that is gone is not mentioned")
				}
			}
			d.signsWith(d.rotate(true).KeyID)
			d.refuses(older)
			d.refuses(newer)
			d.restart()
			d.refuses(older)
			d.refuses(newer)
			d.accepts(d.outfit())
		})
	}
}

// TestARotationIsKilledAnywhere: the real command, killed at some moment of its run. The
// server beside it goes on, one that starts afterwards too, and nobody is signed out.
func TestARotationIsKilledAnywhere(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	args := []string{"secret", "rotate", "--data-dir", d.dir}
	began := time.Now()
	doorwardPrints(t, args...)
	whole := time.Since(began)
	var tokens []string
	const rounds = 16
	for i := range rounds {
		access, _ := d.exchange(machineToken, "app")
		tokens = append(tokens, access)
		cmd := exec.CommandContext(t.Context(), "doorward", args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Most of a run is starting up; its writes come at its end.
		kill := time.AfterFunc(whole/2+whole*time.Duration(i)/rounds, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if i%4 == 3 {
			d.restart()
		}
		for _, token := range tokens {
			d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
		}
	}
	doorwardPrints(t, args...)
	d.restart()
	for _, token := range tokens {
		d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
	}
}

// TestKM3AnUnusableFileOfPreviousSecretsIsRefused by the server and by the command, and
// stays as it is: what is in it was not to be lost.
func TestKM3AnUnusableFileOfPreviousSecretsIsRefused(t *testing.T) {
	t.Parallel()
	type previousSecret struct {
		KeyID  string    `json:"kid"`
		Until  time.Time `json:"until"`
		Secret []byte    `json:"secret"`
	}
	type previousFile struct {
		Previous []previousSecret `json:"previous"`
	}
	made := func(edit func(*previousFile)) string {
		secret := []byte("0123456789abcdef0123456789ABCDEF")
		file := previousFile{Previous: []previousSecret{{KeyID: doorward.KeyID(secret), Until: time.Now().Add(time.Hour).UTC(), Secret: secret}}}
		edit(&file)
		b, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := made(func(*previousFile) {})
	plain := func(content string, mode fs.FileMode) func(path string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode))
		}
	}
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"empty":                {plain("", 0o600), "is damaged: it is not as it was written; restore it, or remove it"},
		"cut":                  {plain(whole[:len(whole)-2], 0o600), "is damaged"},
		"null":                 {plain("null", 0o600), "is damaged"},
		"nothing in it":        {plain("{}", 0o600), "is damaged"},
		"more after it":        {plain(whole+whole, 0o600), "is damaged"},
		"an unknown field":     {plain(strings.Replace(whole, `"kid"`, `"kit"`, 1), 0o600), "is damaged"},
		"not base64":           {plain(strings.Replace(whole, "MDEy", "MD*y", 1), 0o600), "is damaged"},
		"another secret":       {plain(strings.Replace(whole, "MDEy", "MDEz", 1), 0o600), "is damaged: number 1 is not as it was written"},
		"no time":              {plain(made(func(f *previousFile) { f.Previous[0].Until = time.Time{} }), 0o600), "is damaged"},
		"a short secret":       {plain(made(func(f *previousFile) { f.Previous[0].Secret = []byte("short") }), 0o600), "number 1: has 5 bytes"},
		"huge":                 {plain(strings.Repeat(" ", 1<<20)+whole, 0o600), "is damaged: it is too large"},
		"readable by others":   {plain(whole, 0o640), "can be read by others (mode 0640); run: chmod 600"},
		"a directory":          {func(path string) error { return os.Mkdir(path, 0o700) }, "is not a regular file"},
		"a link to itself":     {func(path string) error { return os.Symlink(path, path) }, "cannot read the file of previous secrets"},
		"a link to nothing":    {func(path string) error { return os.Symlink("/nowhere/at/all", path) }, "is a link to a file that is not there"},
		"not a JSON at all":    {plain("0123456789abcdef0123456789ABCDEF", 0o600), "is damaged"},
		"a list where one was": {plain("[]", 0o600), "is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t)
			d.stop()
			path := safe.PreviousPath(d.secretFile())
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			secret, err := os.ReadFile(d.secretFile())
			if err != nil {
				t.Fatal(err)
			}
			for _, given := range []string{"", machineSecret} {
				s := d.settings()
				if given != "" {
					s.JWTSecret = doorward.Secret(given)
				}
				h, err := open(t.Context(), s, slog.New(slog.DiscardHandler), time.Now)
				if err == nil {
					t.Error("a server starts", h.Close())
				} else if said := err.Error(); !strings.Contains(said, c.want) || !strings.Contains(said, path) && !strings.Contains(said, "cannot read") || strings.Contains(said, "MDEy") || strings.Contains(said, "\n") {
					t.Errorf("the server says %q, want %q", said, c.want)
				}
			}
			for _, atOnce := range []bool{false, true} {
				s := d.settings()
				if _, err := safe.Rotate(t.Context(), s.doorConfig().Safe(), d.beside(s), safe.RotatedByHand(), atOnce, rand.Reader, time.Now()); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("rotate says %v, want %q", err, c.want)
				}
			}
			after, err := os.Lstat(path)
			if err != nil || after.Mode() != before.Mode() || after.Size() != before.Size() || after.ModTime() != before.ModTime() {
				t.Errorf("it was %v and is %v, %v", before, after, err)
			}
			if b, err := os.ReadFile(d.secretFile()); err != nil || !bytes.Equal(b, secret) {
				t.Errorf("the secret was replaced; %v", err)
			}
			if c.want == "chmod 600" {
				return
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			d.start() // as the error says
		})
	}
}

// TestARotationByRootLeavesTheFilesToTheServersUser.
func TestARotationByRootLeavesTheFilesToTheServersUser(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	want := os.Geteuid()
	if want == 0 { // who else may not give files away, and has none to give
		want = 65534
		if err := os.Chown(d.secretFile(), want, want); err != nil {
			t.Fatal(err)
		}
	}
	d.rotate(false)
	for _, path := range []string{d.secretFile(), safe.PreviousPath(d.secretFile())} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; int(got) != want || info.Mode() != 0o600 {
			t.Errorf("%s belongs to %d with mode %v, want %d", path, got, info.Mode(), want)
		}
	}
}

// TestALinkedSecretFileIsReplacedWhereItIs, and the link stays.
func TestALinkedSecretFileIsReplacedWhereItIs(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.stop()
	real := filepath.Join(t.TempDir(), "real")
	b, err := os.ReadFile(d.secretFile())
	if err == nil {
		err = errors.Join(os.WriteFile(real, b, 0o600), os.Remove(d.secretFile()), os.Symlink(real, d.secretFile()))
	}
	if err != nil {
		t.Fatal(err)
	}
	done := d.rotate(false)
	if to, err := os.Readlink(d.secretFile()); err != nil || to != real {
		t.Errorf("the link leads to %s, %v", to, err)
	}
	if now, err := safe.ReadSecretFile(real); err != nil || doorward.KeyID(now) != done.KeyID {
		t.Errorf("behind it is another secret; %v", err)
	}
	d.start()
}

// TestASecretThatCannotBeReadIsTriedAgain: one that was dropped must not live on because
// a file could not be read at one moment. The log says it once.
func TestASecretThatCannotBeReadIsTriedAgain(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	d.setUp()
	d.still() // it follows when we say
	dead := d.outfit()
	done := d.rotate(true)
	if err := os.Chmod(d.secretFile(), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := d.house.authority.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const alarm = "tokens are signed with a secret that this server cannot check"
	if n := strings.Count(d.log.String(), alarm); n != 1 || !strings.Contains(d.log.String(), "run: chmod 600") {
		t.Errorf("%d alarms, want one that says what to do:\n%s", n, d.log)
	}
	if err := os.Chmod(d.secretFile(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.house.authority.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.refuses(dead)
	d.outfit().signedBy(t, done.KeyID)
}

// TestARotationThatTheFeedHasForgotten is found by who was away for so long.
func TestARotationThatTheFeedHasForgotten(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken, "max_staleness=1h")
	d.setUp()
	d.still()
	dead := d.outfit()
	done := d.rotate(true)
	d.sqlExec(`UPDATE feed SET pruned = seq`)
	d.sqlExec(`DELETE FROM changes`)
	if err := d.house.authority.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.refuses(dead)
	d.outfit().signedBy(t, done.KeyID)
}

// TestAServerStartsBeforeOrAfterARotation, and never in the middle of one: it would follow
// the feed from behind what it has read of the files.
func TestAServerStartsBeforeOrAfterARotation(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.stop()
	unlock, err := safe.Lock(t.Context(), d.dir) // as a rotation does
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if h, err := open(ctx, d.settings(), slog.New(slog.DiscardHandler), time.Now); err == nil || !strings.Contains(err.Error(), "cannot lock the secrets in "+d.dir) {
		t.Errorf("a server starts meanwhile: %v, %v", h, err)
	}
	unlock()
	d.start()
	unlock, err = safe.Lock(t.Context(), d.dir) // a server that runs holds nothing up
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestRotationOfAFileThatDoesNotSign is refused where the server was given another secret,
// though the command was not; at once, it is done and said.
func TestRotationOfAFileThatDoesNotSign(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	d.restart("jwt.secret=" + machineSecret)
	access, _ := d.exchange(machineToken, "app")
	s := d.settings()
	s.JWTSecret = nil
	before, err := os.ReadFile(d.secretFile())
	if err != nil {
		t.Fatal(err)
	}
	_, err = safe.Rotate(t.Context(), s.doorConfig().Safe(), d.beside(s), safe.RotatedByHand(), false, rand.Reader, d.clock.now())
	if err == nil || !strings.Contains(err.Error(), "signs with another secret (kid "+kidOf(t, access)+")") || !strings.Contains(err.Error(), "if jwt.secret is given to it, rotate that") {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(d.secretFile()); err != nil || !bytes.Equal(b, before) {
		t.Errorf("the file was replaced; %v", err)
	}
	done, err := safe.Rotate(t.Context(), s.doorConfig().Safe(), d.beside(s), safe.RotatedByHand(), true, rand.Reader, d.clock.now())
	if err != nil || len(done.Warnings) != 1 || !strings.Contains(done.Warnings[0], "what that has signed is still accepted") {
		t.Errorf("%v, %v", done.Warnings, err)
	}
	d.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)
}

// TestNoRotationShowsASecret: not in what it prints, not in the log, not in the database.
func TestNoRotationShowsASecret(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	var secrets []doorward.Secret
	keep := func() {
		secret, err := safe.ReadSecretFile(d.secretFile())
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	said := ""
	for _, flags := range [][]string{nil, {"--json"}, {"--now"}, {"--now", "--json"}} {
		keep()
		said += doorwardPrints(t, append([]string{"secret", "rotate", "--data-dir", d.dir}, flags...)...)
	}
	keep()
	d.signsWith(doorward.KeyID(secrets[4]))
	d.restart()
	d.restart("jwt.secret=" + machineSecret)
	d.stop()
	said += d.log.String()
	for _, name := range []string{"doorward.db", "doorward.db-wal"} {
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		said += string(b)
	}
	if !strings.Contains(said, doorward.KeyID(secrets[4])) || !strings.Contains(said, "secret.rotate") {
		t.Fatal("nothing was said, which proves nothing")
	}
	for i, secret := range append(secrets, doorward.Secret(machineSecret)) {
		for _, form := range []string{
			string(secret), base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret), hex.EncodeToString(secret),
			fmt.Sprint([]byte(secret)),
		} {
			if strings.Contains(said, form) {
				t.Errorf("secret number %d is shown", i+1)
			}
		}
	}
}

// TestTheDatabaseRemembersWhichSecretSigns: another one takes over on SQLite, with a
// warning when the one before is not known any more; the same one changes nothing.
func TestTheDatabaseRemembersWhichSecretSigns(t *testing.T) {
	t.Parallel()
	const one, two, three = "the first secret of 32 bytes or more", "the second secret of 32 bytes or more", "the third secret of 32 bytes or more"
	d := newDoor(t, "api_tokens="+machineToken, "jwt.secret="+one)
	entries := func() int64 { return d.sqlNumber(`SELECT count(*) FROM audit WHERE action = 'secret.rotate'`) }
	remembered := func(secret string, wrote int64, warns bool) {
		t.Helper()
		if got := d.column(`SELECT kid FROM meta`); got != doorward.KeyID([]byte(secret)) {
			t.Errorf("the database remembers %s, want %s", got, doorward.KeyID([]byte(secret)))
		}
		if got := entries(); got != wrote {
			t.Errorf("%d audit entries, want %d", got, wrote)
		}
		warned := slices.ContainsFunc(d.house.warnings, func(w string) bool {
			return strings.Contains(w, "tokens made before are not accepted any more")
		})
		if warned != warns {
			t.Errorf("warnings %q", d.house.warnings)
		}
	}
	remembered(one, 1, false)
	d.restart()
	remembered(one, 1, false)
	first, refresh := d.exchange(machineToken, "app")

	d.restart("jwt.secret="+two, "jwt.previous_secrets="+one)
	remembered(two, 2, false)
	d.do("GET", "/auth/validate", bearer(first)).want(http.StatusOK)
	_, refresh = d.rotated(refresh)
	second, _ := d.exchange(machineToken, "app")
	if kidOf(t, second) != doorward.KeyID([]byte(two)) || kidOf(t, refresh) != doorward.KeyID([]byte(two)) {
		t.Error("the secret before signs")
	}
	before, err := d.house.store.LastChange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.restart()
	remembered(two, 2, false)
	if last, err := d.house.store.LastChange(t.Context()); err != nil || last != before {
		t.Errorf("a start with the same secret is a change: %d after %d, %v", last, before, err)
	}

	delete(d.flags, "jwt.previous_secrets")
	d.restart("jwt.secret=" + three)
	remembered(three, 3, true)
	for _, token := range []string{first, second} {
		d.do("GET", "/auth/validate", bearer(token)).refused(http.StatusUnauthorized, "invalid token")
	}
	d.restart()
	remembered(three, 3, false)
}

// TestKM1WithoutAGoodSecretNothingStarts on PostgreSQL, and says how to make one.
func TestKM1WithoutAGoodSecretNothingStarts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ secret, want string }{
		{"", "jwt.secret: must be given with a PostgreSQL database, the same on every node"},
		{"short", "has 5 bytes, must have at least 32"},
		{"your-32-byte-secret-key", "has 23 bytes, must have at least 32"},
		{"changeme-changeme-changeme-changeme", "is a placeholder from documentation"},
		{strings.Repeat("a", 40), "is one byte repeated"},
	} {
		args := []string{"serve", "--listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--database", "postgres://door@127.0.0.1:1/door"}
		if c.secret != "" {
			args = append(args, "--jwt-secret", c.secret)
		}
		status, stdout, stderr := runProgram(t, nil, args...)
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) || !strings.HasSuffix(stderr, "make one with: openssl rand -base64 32\n") {
			t.Errorf("%q: status %d, %s%s", c.secret, status, stdout, stderr)
		}
	}
}

// TestKM7SettingsThatCannotBeMeantAreRefused before anything is made.
func TestKM7SettingsThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ yaml, want string }{
		{"jwt: {secert: x}", "unknown setting jwt.secert ("},
		{"jwt: {expiry: 5 minutes}", "is not a duration"},
		{"jwt: {expiry: -1h}", "jwt.expiry ("},
		{"open_mode: always\nauth: {enabled: true}", "always contradicts auth.enabled"},
		{"open_mode: sometimes", "open_mode ("},
	} {
		dir := t.TempDir()
		for _, command := range []string{"serve", "check"} {
			status, _, stderr := runProgram(t, nil, command, "--data-dir", dir, "--config", write(t, "doorward.yaml", c.yaml))
			if status != 1 || !strings.Contains(stderr, c.want) {
				t.Errorf("%s with %q: status %d, %s", command, c.yaml, status, stderr)
			}
		}
		if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
			t.Errorf("%q made %v, %v", c.yaml, made, err)
		}
	}
}

// The secrets of the nodes below.
const (
	oldSecret = "the old secret of 32 bytes or more"
	newSecret = "the new secret of 32 bytes or more"
)

// starts tries to start a server with the door's settings, and stops it again.
func (d *door) starts() error {
	h, err := open(d.t.Context(), d.settings(), slog.New(slog.DiscardHandler), d.clock.now)
	if err == nil {
		err = h.Close()
	}
	return err
}

// TestANodeThatLacksTheSecretThatSignsDoesNotStart: it would refuse what the others sign.
func TestANodeThatLacksTheSecretThatSignsDoesNotStart(t *testing.T) {
	t.Parallel()
	settings := append(onPostgres.settings(t), "jwt.secret="+oldSecret)
	a := machineDoor(t, settings...)
	access, _ := a.exchange(machineToken, "app")
	b := &door{t: t, dir: t.TempDir(), clock: &clock{}, log: &logBuffer{}, flags: map[string]string{}}
	for key, value := range a.flags {
		b.flags[key] = value
	}
	b.set("data_dir="+b.dir, "jwt.secret="+newSecret)
	delete(b.flags, "api_tokens") // a node that did start would end their sessions
	entries := a.sqlNumber(`SELECT count(*) FROM audit`)
	err := b.starts()
	if err == nil || !strings.Contains(err.Error(), "jwt.previous_secrets: lacks the secret that signs on this database (kid "+kidOf(t, access)+")") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if n := a.sqlNumber(`SELECT count(*) FROM audit`); n != entries {
		t.Errorf("a node that did not start wrote %d audit entries", n-entries)
	}
	a.do("GET", "/auth/validate", bearer(access)).want(http.StatusOK)

	b.set("jwt.previous_secrets="+oldSecret, "api_tokens="+machineToken)
	if err := b.starts(); err != nil {
		t.Errorf("with the secret in jwt.previous_secrets: %v", err)
	}
	// Which is a rotation: now the node with nothing but the old one is the one that lacks.
	a.stop()
	if err := a.starts(); err == nil || !strings.Contains(err.Error(), "(kid "+doorward.KeyID([]byte(newSecret))+")") {
		t.Errorf("got %v", err)
	}
}

// TestTwoNodesRotateInTwoSteps as docs/rotation.md says: nobody is signed out at any time,
// whichever node is asked, and no node sounds an alarm.
func TestTwoNodesRotateInTwoSteps(t *testing.T) {
	t.Parallel()
	settings := append(onPostgres.settings(t), "jwt.secret="+oldSecret)
	var nodes []*door
	for range 2 {
		d := newDoor(t, append([]string{"api_tokens=" + machineToken, "api_key=" + machineKey}, settings...)...)
		nodes = append(nodes, d)
	}
	a := nodes[0]
	a.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(credentialsJSON("root", rootPassword))).want(http.StatusCreated)
	all := []*outfit{a.outfit()}
	check := func() {
		t.Helper()
		all = append(all, nodes[len(all)%2].outfit())
		for _, d := range nodes {
			for _, o := range all {
				d.accepts(o)
			}
		}
	}
	check()
	for _, step := range [][]string{
		{"jwt.secret=" + oldSecret, "jwt.previous_secrets=" + newSecret},
		{"jwt.secret=" + newSecret, "jwt.previous_secrets=" + oldSecret},
	} {
		for _, d := range nodes {
			d.restart(step...)
			check()
		}
	}
	nodes[1].outfit().signedBy(t, doorward.KeyID([]byte(newSecret)))
	for _, d := range nodes {
		if strings.Contains(d.log.String(), "ALARM") || strings.Contains(d.log.String(), "was rotated") {
			t.Errorf("a node that knew the secret says\n%s", d.log)
		}
	}
	// And once the old one's tokens have expired, it goes.
	for _, d := range nodes {
		delete(d.flags, "jwt.previous_secrets")
		d.restart()
	}
	for _, d := range nodes {
		d.accepts(all[len(all)-1])
		d.do("GET", "/auth/validate", bearer(all[0].person)).refused(http.StatusUnauthorized, "invalid token")
	}
}

// TestANodeThatMissesARotationSoundsAnAlarm, once, and says what to do.
func TestANodeThatMissesARotationSoundsAnAlarm(t *testing.T) {
	t.Parallel()
	settings := append(onPostgres.settings(t), "jwt.secret="+oldSecret, "api_tokens="+machineToken)
	a, b := newDoor(t, settings...), newDoor(t, settings...)
	a.restart("jwt.secret="+newSecret, "jwt.previous_secrets="+oldSecret)
	const alarm = "tokens are signed with a secret that this server cannot check, so it refuses them: it is not among the secrets given here; add it to jwt.previous_secrets and restart"
	until(t, 10*time.Second, "the alarm", func() bool { return strings.Contains(b.log.String(), alarm) })
	if !strings.Contains(b.log.String(), "kid="+doorward.KeyID([]byte(newSecret))) {
		t.Errorf("the alarm does not say which:\n%s", b.log)
	}
	access, _ := a.exchange(machineToken, "app")
	b.do("GET", "/auth/validate", bearer(access)).refused(http.StatusUnauthorized, "invalid token")
	for range 3 {
		if err := b.house.authority.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(b.log.String(), alarm); n != 1 {
		t.Errorf("%d alarms", n)
	}
}

// TestAGivenSecretFollowsAFirstRunWithoutOne: the pages tell people to start first and to
// export a secret later; nobody is signed out by it, nor by going on to another.
func TestAGivenSecretFollowsAFirstRunWithoutOne(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "api_tokens="+machineToken)
	before, refresh := d.exchange(machineToken, "app")
	const given, other = "a given secret of more than 32 bytes", "another given secret of more than 32 bytes"
	d.restart("jwt.secret=" + given)
	d.do("GET", "/auth/validate", bearer(before)).want(http.StatusOK)
	_, refresh = d.rotated(refresh)
	during, _ := d.exchange(machineToken, "app")
	d.restart("jwt.secret="+other, "jwt.previous_secrets="+given)
	for _, token := range []string{before, during} {
		d.do("GET", "/auth/validate", bearer(token)).want(http.StatusOK)
	}
	d.rotated(refresh)
	// TF7: once the old one is dropped, what it signed is dead.
	delete(d.flags, "jwt.previous_secrets")
	d.restart()
	d.do("GET", "/auth/validate", bearer(during)).refused(http.StatusUnauthorized, "invalid token")
}

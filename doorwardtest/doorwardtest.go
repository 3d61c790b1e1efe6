// Package doorwardtest is for the tests of programs that embed Doorward: a real door, on a
// SQLite file of its own, around the handler under test, and clients that have signed in.
//
//	s := doorwardtest.New(t, handler)
//	viewer := s.SignedIn(t, doorward.Viewer)
//	res, err := viewer.Post(s.URL+"/books", "application/json", body) // 403
//
// Nothing is a stand-in but the cost of a password. Tests may run with t.Parallel.
package doorwardtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"doorward"
	"doorward/door"
)

// Server is a program with a door, listening on loopback until the test ends. It is safe for
// concurrent use.
type Server struct {
	URL  string     // http://127.0.0.1:PORT
	Door *door.Door // its Authority has all the verbs

	setUp sync.Mutex
	made  int // users and keys
}

// password is everybody's. Nobody reaches the server but the test.
const password = "a password for tests"

// New starts a server with a door around h. Each change, if any, alters what the door is made
// of: a temporary DataDir, passwords that cost next to nothing, a log and a console that
// nobody reads. Until a client of it is asked for there is no user, and the door is closed
// until it is set up, as at a first run.
func New(t testing.TB, h http.Handler, change ...func(*door.Config)) *Server {
	t.Helper()
	c := door.Config{
		DataDir: t.TempDir(), Hashing: doorward.HasherConfig{Memory: 64, Time: 1},
		Log: slog.New(slog.DiscardHandler), Console: io.Discard,
	}
	for _, f := range change {
		f(&c)
	}
	d, err := door.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(d.Wrap(h))
	t.Cleanup(func() {
		listener.CloseClientConnections() // streams last as long as somebody listens
		listener.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Server{URL: listener.URL, Door: d}
}

// Nobody returns a client that has no credential. Like each client here it keeps cookies, has
// connections of its own, and does not follow a redirect.
func (s *Server) Nobody(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// SignedIn returns a client with the session cookie of a new user of this role, a member of
// the workspace default.
func (s *Server) SignedIn(t testing.TB, role doorward.Role) *http.Client {
	t.Helper()
	client := s.Nobody(t)
	_ = s.login(t, client, s.user(t, role))
	return client
}

// Token returns the access token of a new user of this role, for "Authorization: Bearer".
func (s *Server) Token(t testing.TB, role doorward.Role) string {
	t.Helper()
	return s.login(t, s.Nobody(t), s.user(t, role))
}

// Key returns a new API key of this role that belongs to the workspace default, for
// "Authorization: Bearer" or "X-API-Key": a machine's credential. A key ranks at most as an admin.
func (s *Server) Key(t testing.TB, role doorward.Role) string {
	t.Helper()
	s.ready(t)
	_, key, err := s.Door.Authority().CreateKey(context.Background(), above, doorward.NewKey{Name: s.name("key", role), Role: string(role), Service: true})
	if err != nil {
		t.Fatal(err)
	}
	return string(key)
}

// SignOut ends the session of a client of SignedIn, as the button of a page would.
func (s *Server) SignOut(t testing.TB, client *http.Client) {
	t.Helper()
	s.post(t, client, "/api/auth/logout", "{}", http.StatusOK)
}

// above is who makes users and keys.
var above = doorward.Caller{Identity: doorward.Identity{
	Kind: doorward.KindUser, Username: "doorwardtest", Role: doorward.Superadmin, Org: doorward.Default, Workspace: doorward.Default,
}}

// ready makes the first user, unless there is one, so that the door opens for others.
func (s *Server) ready(t testing.TB) {
	t.Helper()
	s.setUp.Lock()
	defer s.setUp.Unlock()
	needs, err := s.Door.Authority().NeedsSetup(context.Background())
	if err == nil && needs {
		_, err = s.Door.Authority().CreateFirstUser(context.Background(), doorward.Caller{}, s.Door.SetupCode(), nil, doorward.NewUser{Username: "doorwardtest", Password: password})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// user makes a user and returns their name.
func (s *Server) user(t testing.TB, role doorward.Role) string {
	t.Helper()
	s.ready(t)
	name := s.name("test", role)
	_, err := s.Door.Authority().CreateUser(context.Background(), above, doorward.NewUser{Username: name, Password: password, Role: string(role)})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func (s *Server) name(what string, role doorward.Role) string {
	s.setUp.Lock()
	defer s.setUp.Unlock()
	s.made++
	return fmt.Sprintf("%s-%s-%d", what, role, s.made)
}

func (s *Server) login(t testing.TB, client *http.Client, name string) (token string) {
	t.Helper()
	answer := s.post(t, client, "/api/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, name, password), http.StatusOK)
	var body struct{ Token string }
	if err := json.Unmarshal(answer, &body); err != nil {
		t.Fatal(err)
	}
	return body.Token
}

func (s *Server) post(t testing.TB, client *http.Client, path, body string, want int) []byte {
	t.Helper()
	res, err := client.Post(s.URL+s.Door.Prefix()+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != want {
		t.Fatalf("POST %s: %d %s, %v; want %d", path, res.StatusCode, answer, err, want)
	}
	return answer
}

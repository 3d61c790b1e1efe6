package door_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"doorward"
	"doorward/api"
	"doorward/door"
	"doorward/gate"
	"doorward/proxy"
	"doorward/store"
	"doorward/web"
)

// temporary is a directory for an example, and what removes it.
func temporary() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "doorward")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// ask sends a request with these header lines and prints how it is answered.
func ask(method, url string, lines ...string) {
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.TrimSpace(fmt.Sprint(method, " ", r.URL.Path, " ", res.StatusCode, " ", string(body))))
}

// The first rung: three lines. Until somebody is set up the door is closed; the console says
// how to make the first user.
func ExampleOpen() {
	ctx := context.Background()
	dir, remove := temporary()
	defer remove()
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })

	d, err := door.Open(ctx, door.Config{DataDir: dir, Console: io.Discard, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()                             //nolint:errcheck // the example ends here
	server := httptest.NewServer(d.Wrap(hello)) // or http.ListenAndServe("127.0.0.1:8080", d.Wrap(hello))
	defer server.Close()

	ask("GET", server.URL+"/")
	ask("GET", server.URL+"/api/auth/setup")
	// Output:
	// GET / 503 {"error":"setup required","status":"error"}
	// GET /api/auth/setup 200 {"needs_setup": true}
}

// The second rung: what else is not as by default.
func ExampleConfig() {
	dir, remove := temporary()
	defer remove()
	d, err := door.Open(context.Background(), door.Config{
		DataDir: dir, Console: io.Discard, Log: slog.New(slog.DiscardHandler),
		Credentials: []doorward.ConfiguredCredential{
			{Secret: doorward.Secret("an-api-token-of-the-settings"), Kind: doorward.KindClient, Name: "ci", Role: doorward.Viewer},
		},
		Routes:     []gate.Route{{Name: "hooks", Path: "/hooks/**", Public: true}},
		JWTExpiry:  15 * time.Minute,
		CookieName: "books_session",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // the example ends here
	server := httptest.NewServer(d.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %q", r.Header.Get("X-Auth-Subject"))
	})))
	defer server.Close()

	ask("POST", server.URL+"/hooks/x")
	ask("GET", server.URL+"/books", "Authorization: Bearer an-api-token-of-the-settings")
	ask("POST", server.URL+"/books", "Authorization: Bearer an-api-token-of-the-settings")
	ask("GET", server.URL+"/books", "X-Auth-Subject: ci") // nobody is believed who says it themselves
	// Output:
	// POST /hooks/x 200 hello, ""
	// GET /books 200 hello, "ci"
	// POST /books 403 {"error":"insufficient permissions","status":"error"}
	// GET /books 401 {"error":"token required","status":"error"}
}

// The third rung: who asks, in a handler, and what one handler asks more than its route.
func ExampleRequire() {
	dir, remove := temporary()
	defer remove()
	d, err := door.Open(context.Background(), door.Config{
		DataDir: dir, Console: io.Discard, Log: slog.New(slog.DiscardHandler),
		Credentials: []doorward.ConfiguredCredential{
			{Secret: doorward.Secret("the-token-of-an-editor"), Kind: doorward.KindClient, Name: "ed", Role: doorward.Editor},
			{Secret: doorward.Secret("the-token-of-an-admin"), Kind: doorward.KindClient, Name: "ada", Role: doorward.Admin},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // the example ends here
	mux := http.NewServeMux()
	mux.HandleFunc("POST /books", func(w http.ResponseWriter, r *http.Request) {
		id, _ := door.From(r.Context())
		fmt.Fprintf(w, "added by %s, %s in %s", id.Subject, id.Role, id.Workspace)
	})
	mux.Handle("DELETE /books", door.Require(doorward.Admin)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "gone")
	})))
	server := httptest.NewServer(d.Wrap(mux))
	defer server.Close()

	ask("POST", server.URL+"/books", "Authorization: Bearer the-token-of-an-editor")
	ask("DELETE", server.URL+"/books", "Authorization: Bearer the-token-of-an-editor")
	ask("DELETE", server.URL+"/books", "Authorization: Bearer the-token-of-an-admin")
	// Output:
	// POST /books 200 added by ed, editor in default
	// DELETE /books 403 {"error":"insufficient permissions","status":"error"}
	// DELETE /books 200 gone
}

// The last rung: every part by hand, as Open and Wrap put them together.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, remove := temporary()
	defer remove()

	// What is kept, and what signs.
	kept, err := store.OpenSQLite(ctx, filepath.Join(dir, "doorward.db"), time.Now)
	if err != nil {
		log.Fatal(err)
	}
	defer kept.Close() //nolint:errcheck // the example ends here
	fresh := make([]byte, doorward.SaltLen)
	_, _ = rand.Read(fresh) // which never fails
	salt, err := kept.Salt(ctx, fresh)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := doorward.NewKeyRing(salt, doorward.Secret("a secret of 32 bytes or more, from where secrets are kept"))
	if err != nil {
		log.Fatal(err)
	}
	hasher, err := doorward.NewHasher(doorward.HasherConfig{Rand: rand.Reader})
	if err != nil {
		log.Fatal(err)
	}

	// The rules.
	authority, err := doorward.New(ctx, doorward.Config{
		Store: kept, Keys: keys, Salt: salt, Hasher: hasher, Rand: rand.Reader, Now: time.Now,
		RefreshRules: doorward.RefreshRules{RetryWindow: 10 * time.Second},
		Guesses:      doorward.GuessPolicy{PerMinute: 60},
	})
	if err != nil {
		log.Fatal(err)
	}

	// The handler behind. What says who asks is written by proxy.Dress; proxy.Serve ends it with the session.
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s (%s)", r.Header.Get("X-Forwarded-User"), r.Header.Get("X-Auth-Role"))
	})
	names := proxy.Names{Cookies: []string{gate.DefaultCookieName, gate.DeviceCookieName(gate.DefaultCookieName)}}
	carry := func(w http.ResponseWriter, r *http.Request, p *gate.Pass) {
		passage := proxy.Passage{
			Identity: p.Identity, RequestID: p.RequestID, Client: p.Client, Forwarded: p.Forwarded,
			Proto: p.Proto(), Host: p.Host, Path: p.Path, RawPath: p.RawPath,
			DropAuthorization: p.StripAuthorization, KeepAPIKey: p.KeepAPIKey,
		}
		proxy.Serve(w, proxy.Dress(r, passage, names, ""), p, hello)
	}

	// The door.
	doors := append(
		api.Doors(api.Config{Authority: authority, CookieName: gate.DefaultCookieName}),
		web.Doors(web.Config{Authority: authority, CookieName: gate.DefaultCookieName})...)
	g, err := gate.New(gate.Config{
		Authority: authority, Carry: carry, SignInPage: web.SignInPage(""), SetupPage: web.SetupPage(""),
		Rules: gate.Rules{Doors: doors},
	})
	if err != nil {
		log.Fatal(err)
	}

	// What runs beside it.
	go authority.Follow(ctx)
	go authority.RecordKeyUse(ctx)
	go g.EndStreams(ctx)
	go func() {
		for tick := time.Tick(time.Minute); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick:
				_ = authority.Sweep(ctx)
			}
		}
	}()
	server := httptest.NewServer(g)
	defer server.Close()

	_, err = authority.CreateFirstUser(ctx, doorward.Caller{}, authority.SetupCode(), nil, doorward.NewUser{Username: "ada", Password: "correct horse battery"})
	if err != nil {
		log.Fatal(err)
	}
	signedIn, err := authority.SignIn(ctx, doorward.Caller{}, "ada", "correct horse battery")
	if err != nil {
		log.Fatal(err)
	}
	ask("GET", server.URL+"/")
	ask("GET", server.URL+"/", "Authorization: Bearer "+signedIn.AccessToken)
	for _, page := range []string{"/api/auth/overview", "/api/auth/refusals", "/api/auth/routes", "/api/auth/explain?path=/x", "/auth/admin"} { // what administrators look at
		ask("HEAD", server.URL+page, "Authorization: Bearer "+signedIn.AccessToken)
	}
	ask("POST", server.URL+"/auth/logout", "Authorization: Bearer "+signedIn.AccessToken)
	ask("GET", server.URL+"/", "Authorization: Bearer "+signedIn.AccessToken)
	// Output:
	// GET / 401 {"error":"token required","status":"error"}
	// GET / 200 hello, ada (superadmin)
	// HEAD /api/auth/overview 200
	// HEAD /api/auth/refusals 200
	// HEAD /api/auth/routes 200
	// HEAD /api/auth/explain 200
	// HEAD /auth/admin 200
	// POST /auth/logout 200 {"success":true,"message":"token invalidated"}
	// GET / 401 {"error":"token blacklisted","status":"error"}
}

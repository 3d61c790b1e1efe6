package doorward_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"doorward"
	"doorward/store"
)

// asserting is an Authority that signs assertions, by a clock that stands at tokenNow.
func asserting(t testing.TB) *doorward.Authority {
	t.Helper()
	now := func() time.Time { return tokenNow }
	kept, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "doorward.db"), now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	hasher, err := doorward.NewHasher(doorward.HasherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := doorward.New(t.Context(), doorward.Config{
		Store: kept, Salt: []byte(tokenSalt), Hasher: hasher, Now: now, AssertionIssuer: "https://door.example",
		Keys: tokenRing(t).WithKeyPairs(doorward.KeyPairs{Assertion: testPair(t, doorward.EdDSA)}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func asserted(t testing.TB, token string) (claims map[string]any) {
	t.Helper()
	_, payload, _ := segments(t, token)
	if err := json.Unmarshal([]byte(decoded(t, payload)), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestMN15AnAssertionIsOfOneIdentity: whatever differs in who asks, where and whom, differs in it.
func TestMN15AnAssertionIsOfOneIdentity(t *testing.T) {
	t.Parallel()
	a := asserting(t)
	base := doorward.Identity{
		Kind: doorward.KindUser, Subject: "usr_1", Username: "ada", Role: doorward.Editor, Org: "default",
		Workspaces: "a,b", Workspace: "a", Session: "s1", Expires: tokenNow.Add(time.Hour),
	}
	first := a.Assertion(base, "one")
	const want = `map[aud:one exp:1.80000006e+09 iat:1.8e+09 iss:https://door.example kind:user org:default role:editor sid:s1 sub:usr_1 username:ada ws:a]`
	if got := fmt.Sprint(asserted(t, first)); got != want {
		t.Errorf("it says %s", got)
	}
	seen := map[string]string{first: "the first"}
	for name, change := range map[string]func(*doorward.Identity){
		"workspace": func(id *doorward.Identity) { id.Workspace = "b" },
		"role":      func(id *doorward.Identity) { id.Role = doorward.Admin },
		"org":       func(id *doorward.Identity) { id.Org = "acme" },
		"subject":   func(id *doorward.Identity) { id.Subject = "usr_2" },
		"username":  func(id *doorward.Identity) { id.Username = "bob" },
		"session":   func(id *doorward.Identity) { id.Session = "s2" },
		"kind":      func(id *doorward.Identity) { id.Kind, id.Username = doorward.KindClient, "" },
		"nobody":    func(id *doorward.Identity) { *id = doorward.Anonymous },
	} {
		id := base
		change(&id)
		token := a.Assertion(id, "one")
		if was := seen[token]; was != "" || token == "" {
			t.Errorf("%s: the same as %s", name, was)
		}
		seen[token] = name
	}
	if token := a.Assertion(base, "two"); seen[token] != "" {
		t.Error("one for two services")
	}
	if a.Assertion(base, "one") != first {
		t.Error("it is not given again")
	}
	if got := a.Assertion(doorward.Identity{}, "one"); got != "" {
		t.Errorf("of no identity: %s", got)
	}
	if got := a.Assertion(base, `quo"te`); got != "" {
		t.Errorf("of what cannot be said plainly: %s", got)
	}
}

// TestAssertionsOfMoreThanAreKept: each is whose it is, however many ask at once.
func TestAssertionsOfMoreThanAreKept(t *testing.T) {
	t.Parallel()
	a := asserting(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 20_000 {
				id := doorward.Identity{Kind: doorward.KindClient, Subject: fmt.Sprint("app-", i), Role: doorward.Viewer, Org: "default", Session: fmt.Sprint("s", i)}
				if token := a.Assertion(id, "one"); i%50 == 0 {
					if c := asserted(t, token); c["sub"] != id.Subject || c["sid"] != id.Session {
						t.Errorf("%s got that of %v", id.Subject, c)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if err := a.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

package doorwardtest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"doorward"
	"doorward/door"
	"doorward/doorwardtest"
)

// whoami answers with who asks, as the handler sees them.
var whoami = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	id, ok := door.From(r.Context())
	fmt.Fprintf(w, "%v %s %s", ok, id.Kind, id.Role)
})

func get(t *testing.T, client *http.Client, method, url string, lines ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(b))
}

func TestEveryRoleAndKindOfCaller(t *testing.T) {
	t.Parallel()
	s := doorwardtest.New(t, whoami)
	nobody := s.Nobody(t)
	if status, body := get(t, nobody, "GET", s.URL+"/x"); status != http.StatusServiceUnavailable || !strings.Contains(body, "setup required") {
		t.Errorf("at first: %d %s", status, body)
	}
	for _, role := range doorward.Roles {
		client := s.SignedIn(t, role)
		if status, body := get(t, client, "GET", s.URL+"/x"); status != http.StatusOK || body != "true user "+string(role) {
			t.Errorf("%s: %d %s", role, status, body)
		}
		want := http.StatusOK
		if role == doorward.Viewer {
			want = http.StatusForbidden
		}
		if status, body := get(t, client, "POST", s.URL+"/x", "Sec-Fetch-Site: same-origin"); status != want {
			t.Errorf("%s: POST %d %s", role, status, body)
		}
		if status, body := get(t, nobody, "GET", s.URL+"/x", "Authorization: Bearer "+s.Token(t, role)); status != http.StatusOK || body != "true user "+string(role) {
			t.Errorf("token of %s: %d %s", role, status, body)
		}
		s.SignOut(t, client)
		if status, body := get(t, client, "GET", s.URL+"/x"); status != http.StatusUnauthorized {
			t.Errorf("%s, signed out: %d %s", role, status, body)
		}
	}
	for _, role := range []doorward.Role{doorward.Viewer, doorward.Editor, doorward.Admin} {
		if status, body := get(t, nobody, "GET", s.URL+"/x", "X-API-Key: "+s.Key(t, role)); status != http.StatusOK || body != "true key "+string(role) {
			t.Errorf("key of %s: %d %s", role, status, body)
		}
	}
	if status, body := get(t, nobody, "GET", s.URL+"/x"); status != http.StatusUnauthorized || !strings.Contains(body, "token required") {
		t.Errorf("nobody: %d %s", status, body)
	}
}

// TestClientsAtOnce: many ask for clients of one server that nobody has set up yet, and servers are apart.
func TestClientsAtOnce(t *testing.T) {
	t.Parallel()
	s, other := doorwardtest.New(t, whoami), doorwardtest.New(t, whoami, func(c *door.Config) { c.Prefix = "/door" })
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			client := s.SignedIn(t, doorward.Editor)
			if status, body := get(t, client, "GET", s.URL+"/x"); status != http.StatusOK {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	all.Wait()
	token := s.Token(t, doorward.Editor)
	if status, _ := get(t, other.SignedIn(t, doorward.Viewer), "GET", other.URL+"/x"); status != http.StatusOK {
		t.Errorf("below a prefix: %d", status)
	}
	if status, body := get(t, other.Nobody(t), "GET", other.URL+"/x", "Authorization: Bearer "+token); status != http.StatusUnauthorized {
		t.Errorf("another server's token: %d %s", status, body)
	}
}

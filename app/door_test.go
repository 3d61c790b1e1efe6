package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorward/api"
	"doorward/gate"
	"doorward/web"
)

// everyDoor is the defaults with all JSON doors that there can be.
func everyDoor() api.Config {
	return api.Config{
		CookieName: "brokoli_session", Health: &api.Health{}, HealthPath: "/health",
		Metrics: http.NotFoundHandler(), MetricsPath: "/metrics", JWKSPath: "/.well-known/jwks.json",
	}
}

// documentedDoors is the table of all doors that there can be.
func documentedDoors() []gate.Door {
	return append(api.Doors(everyDoor()), web.Doors(web.Config{CookieName: "brokoli_session"})...)
}

// TestDoorsAreDocumented compares docs/doors.md with the table of doors: a difference is
// a change of what outsiders may rely on. DOORWARD_TEST_UPDATE=1 writes the file anew, as
// part of TestRT1TheTruthTable, which knows who gets how far.
func TestDoorsAreDocumented(t *testing.T) {
	t.Parallel()
	if os.Getenv("DOORWARD_TEST_UPDATE") != "" {
		return
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "doors.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(page), doorsPage()+truthIntro) {
		t.Errorf("docs/doors.md is not what the code says; run DOORWARD_TEST_UPDATE=1 go test ./app -run 'Doors|TruthTable' and look at the difference\n%s", doorsPage())
	}
}

// doorsPage is the part of docs/doors.md that says what each door reads and needs.
func doorsPage() string {
	var b strings.Builder
	b.WriteString(doorsIntro)
	for _, d := range documentedDoors() {
		notes := []string{}
		if d.Pattern == "/.well-known/jwks.json" {
			notes = append(notes, "where there are public keys: `jwt.algorithm` or `assertion`")
		}
		if d.Pattern == "/auth/logo" {
			notes = append(notes, "where there is one: `pages.logo`")
		}
		if d.NoCredential != nil {
			notes = append(notes, "while no user exists: `X-Setup-Code` or the operator's key")
		}
		if d.SameOrigin {
			notes = append(notes, "same origin")
		}
		if d.Form {
			notes = append(notes, "a form: a browser too old to say its origin must send a `Referer` of ours")
		}
		if d.Refused != nil {
			notes = append(notes, "a page, its refusals too")
		}
		if d.MustChange {
			notes = append(notes, "open to who must change the password first")
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", d.Method, d.Pattern, d.Reads, d.Need, strings.Join(notes, "; "))
	}
	return b.String()
}

const doorsIntro = `# The doors

Every request that Doorward answers itself; ` + "`go test`" + ` compares this table with the code. Everything else goes to the service
behind the door, where ` + "`GET`, `HEAD` and `OPTIONS`" + ` need ` + "`viewer`" + ` and all other methods ` + "`editor`" + `. Anything else under
` + "`/auth/` and `/api/auth/`" + ` is 404, another method 405. ` + "`GET`" + ` stands for ` + "`HEAD`" + ` as well.

With ` + "`forward_auth.proxy`" + ` one more is answered: by any method, ` + "`/auth/forward`" + ` and what is below, where a proxy asks about requests
that it carries itself ([proxies](proxies/README.md)).

| method | path | reads | needs | |
|---|---|---|---|---|
`

// compareGolden fails unless file holds want, or writes it when asked to.
func compareGolden(t *testing.T, file, want string) {
	t.Helper()
	if os.Getenv("DOORWARD_TEST_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says; run DOORWARD_TEST_UPDATE=1 go test ./app and look at the difference\n%s", file, want)
	}
}

// TestADoorWithoutANeedDoesNotStart holds the rule that no door stands open by forgetting.
func TestADoorWithoutANeedDoesNotStart(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	for _, door := range []gate.Door{
		{Method: "GET", Pattern: "/auth/x", Reads: gate.ReadsNothing},
		{Method: "GET", Pattern: "/auth/x"},
	} {
		_, err := gate.New(gate.Config{
			Authority: d.house.authority, Rules: gate.Rules{Doors: []gate.Door{door}},
			Carry: func(http.ResponseWriter, *http.Request, *gate.Pass) {},
		})
		if err == nil {
			t.Errorf("a gate was made with %+v", door)
		}
	}
}

// TestFirstRunToGuardedService is the main job in one go.
func TestFirstRunToGuardedService(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.do("GET", "/api/pipelines").want(http.StatusOK) // open mode
	if got := d.do("GET", "/api/auth/setup").want(http.StatusOK).body; strings.TrimSpace(got) != `{"needs_setup": true}` {
		t.Errorf("setup answers %s", got)
	}
	root := d.setUp()
	d.do("GET", "/api/pipelines").refused(http.StatusUnauthorized, "token required")
	d.do("GET", "/api/pipelines", bearer(root)).want(http.StatusOK)
	if got := d.do("GET", "/api/auth/setup").want(http.StatusOK).body; strings.TrimSpace(got) != `{"needs_setup": false}` {
		t.Errorf("setup answers %s", got)
	}
	d.restart()
	d.do("GET", "/api/pipelines").refused(http.StatusUnauthorized, "token required")
	d.do("GET", "/api/pipelines", bearer(root)).want(http.StatusOK)
}

// TestAStaleTokenDoesNotSpoilTheOperatorsKey: the door of the first user reads no credential, so what
// stands in one header does not decide about the other.
func TestAStaleTokenDoesNotSpoilTheOperatorsKey(t *testing.T) {
	t.Parallel()
	const key = "brk_an operator's key of our own making"
	d := newDoor(t, "api_key="+strings.ReplaceAll(key, " ", "_"))
	first := jsonBody(`{"username":"root","password":"` + rootPassword + `"}`)
	d.do("POST", "/api/auth/users", first, bearer("stale"), apiKey("wrong")).refused(http.StatusUnauthorized, "invalid token")
	d.do("POST", "/api/auth/users", first, bearer("stale"), apiKey(strings.ReplaceAll(key, " ", "_"))).want(http.StatusCreated)
}

// TestTheFirstUserOfAWorkspaceThatIsNotThere is told so, and the place stays free.
func TestTheFirstUserOfAWorkspaceThatIsNotThere(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	body := `{"username":"root","password":"` + rootPassword + `","workspaces":["nowhere"]}`
	d.do("POST", "/api/auth/users", jsonBody(body)).refused(http.StatusBadRequest, "workspaces: there is no workspace of that name")
	d.setUp()
}

// TestAWorkspaceNamedTwiceIsOne in the answer as in the store.
func TestAWorkspaceNamedTwiceIsOne(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	a := d.do("POST", "/api/auth/users", jsonBody(`{"username":"root","password":"`+rootPassword+`","workspaces":["default","default"]}`)).want(http.StatusCreated)
	if !strings.Contains(a.body, `"workspaces":["default"]`) {
		t.Error(a.body)
	}
}

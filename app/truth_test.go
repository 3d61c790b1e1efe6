package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorward"
)

// kindsOfCallers are the columns of the truth table, with what the page says of each. What
// they knock at belongs to workspace shop of organization default.
var kindsOfCallers = []struct{ name, who string }{
	{"nobody", "no credential"},
	{"viewer", "a person, member of `default` and `shop`"},
	{"editor", "likewise"},
	{"admin", "likewise"},
	{"superadmin", "likewise"},
	{"admin of another workspace", "a member of `annex` alone"},
	{"admin of another organization", "an admin of all workspaces of `acme`"},
	{"superadmin of another organization", "a superadmin of `acme` who does not say which organization is meant"},
	{"disabled", "an admin who was disabled, with a token from before"},
	{"must change", "an admin who must change the password first"},
	{"operator key", "`api_key`: role admin, workspace `default`"},
	{"token viewer", "an API token of workspace `shop`, as itself"},
	{"token editor", "likewise"},
	{"token admin", "likewise"},
	{"token superadmin", "likewise"},
	{"client viewer", "the access token that such an API token was exchanged for"},
	{"client editor", "likewise"},
	{"client admin", "likewise"},
	{"client superadmin", "likewise"},
	{"open mode", "anybody, where nobody was ever set up and the service stands open"},
	{"before set-up", "anybody, where nobody is set up and the service does not stand open"},
}

// truthAsks says for every door what is asked of it: {user}, {id} and the body name things that
// exist, in organization default and its workspace shop, so that whose they are is what
// decides. A door that is not here fails the test.
var truthAsks = map[string]struct{ path, body string }{
	"POST /auth/token":    {body: `{"client_id":"app"}`},
	"POST /auth/refresh":  {},
	"POST /auth/validate": {},
	"GET /auth/validate":  {},
	"POST /auth/logout":   {},

	"POST /api/auth/login":                {},
	"POST /api/auth/logout":               {},
	"GET /api/auth/me":                    {},
	"GET /api/auth/setup":                 {},
	"POST /api/auth/change-password":      {},
	"POST /api/auth/users":                {body: `{"username":"root","password":"password of x","role":"viewer"}`},
	"GET /api/auth/users":                 {},
	"GET /api/auth/users/{id}":            {path: "/api/auth/users/USER"},
	"POST /api/auth/users/{id}/invite":    {path: "/api/auth/users/USER/invite"},
	"POST /api/auth/users/{id}/unlock":    {path: "/api/auth/users/USER/unlock"},
	"POST /api/auth/invite":               {},
	"PATCH /api/auth/users/{id}":          {"/api/auth/users/USER", `{"role":"viewer"}`},
	"DELETE /api/auth/users/{id}":         {path: "/api/auth/users/USER"},
	"POST /api/auth/admin-reset-password": {body: `{"user_id":"USER","new_password":"chosen by another"}`},

	"GET /api/auth/organizations":                     {},
	"POST /api/auth/organizations":                    {body: `{"id":"default"}`},
	"PATCH /api/auth/organizations/{id}":              {"/api/auth/organizations/default", `{"name":"Ours"}`},
	"DELETE /api/auth/organizations/{id}":             {path: "/api/auth/organizations/default"},
	"GET /api/auth/workspaces":                        {},
	"POST /api/auth/workspaces":                       {body: `{"id":"default"}`},
	"PATCH /api/auth/workspaces/{id}":                 {"/api/auth/workspaces/shop", `{"name":"Shop"}`},
	"DELETE /api/auth/workspaces/{id}":                {path: "/api/auth/workspaces/shop"},
	"GET /api/auth/workspaces/{id}/members":           {path: "/api/auth/workspaces/shop/members"},
	"POST /api/auth/workspaces/{id}/members":          {"/api/auth/workspaces/shop/members", `{"user_id":"USER"}`},
	"DELETE /api/auth/workspaces/{id}/members/{user}": {path: "/api/auth/workspaces/shop/members/USER"},

	"GET /api/auth/keys":              {},
	"POST /api/auth/keys":             {body: `{"name":"a key","role":"viewer","workspace":"shop"}`},
	"DELETE /api/auth/keys/{id}":      {path: "/api/auth/keys/KEY"},
	"POST /api/auth/keys/{id}/rotate": {path: "/api/auth/keys/KEY/rotate"},

	"GET /api/auth/sessions":         {path: "/api/auth/sessions?user=USER"},
	"DELETE /api/auth/sessions":      {path: "/api/auth/sessions?user=USER"},
	"DELETE /api/auth/sessions/{id}": {path: "/api/auth/sessions/SESSION"},
	"GET /api/auth/audit":            {},
	"GET /api/auth/activity":         {},

	"GET /api/auth/overview":             {},
	"GET /api/auth/refusals":             {},
	"GET /api/auth/routes":               {},
	"GET /api/auth/explain":              {path: "/api/auth/explain?path=/x"},
	"GET /api/auth/signing-keys":         {},
	"POST /api/auth/signing-keys/rotate": {},
	"GET /auth/openapi.json":             {},

	"GET /health":       {},
	"GET /health/live":  {},
	"GET /health/ready": {},
	"GET /metrics":      {},

	"GET /auth/login":            {},
	"POST /auth/login":           {},
	"GET /auth/setup":            {},
	"POST /auth/setup":           {},
	"GET /auth/page.js":          {},
	"GET /auth/password":         {},
	"POST /auth/password":        {},
	"GET /.well-known/jwks.json": {},
	"GET /auth/style.css":        {},
	"GET /auth/logo":             {},

	"GET /auth/welcome":         {},
	"POST /auth/welcome":        {},
	"GET /auth/welcome/service": {},
	"GET /auth/welcome/ready":   {},

	"GET /auth/account":                      {},
	"POST /auth/account/sign-out":            {},
	"GET /auth/account/sessions":             {},
	"POST /auth/account/sessions/end-others": {},
	"POST /auth/account/sessions/{id}/end":   {path: "/auth/account/sessions/SESSION/end"},
	"GET /auth/account/keys":                 {},
	"POST /auth/account/keys":                {},
	"GET /auth/account/keys/{id}/revoke":     {path: "/auth/account/keys/KEY/revoke"},
	"POST /auth/account/keys/{id}/revoke":    {path: "/auth/account/keys/KEY/revoke"},
	"POST /auth/account/keys/{id}/rotate":    {path: "/auth/account/keys/KEY/rotate"},
	"GET /auth/account/activity":             {},

	"GET /auth/invite":                                                {},
	"POST /auth/invite":                                               {},
	"GET /auth/admin/users":                                           {},
	"GET /auth/admin/in/{org}/users":                                  {path: "/auth/admin/in/default/users"},
	"POST /auth/admin/in/{org}/users":                                 {path: "/auth/admin/in/default/users", body: "username=root&role=viewer&how=invite&in-shop=on"},
	"GET /auth/admin/in/{org}/users/new":                              {path: "/auth/admin/in/default/users/new"},
	"GET /auth/admin/in/{org}/users/{id}":                             {path: "/auth/admin/in/default/users/USER"},
	"POST /auth/admin/in/{org}/users/{id}":                            {path: "/auth/admin/in/default/users/USER", body: "version=0&role=editor&in-shop=on"},
	"POST /auth/admin/in/{org}/users/{id}/invite":                     {path: "/auth/admin/in/default/users/USER/invite"},
	"POST /auth/admin/in/{org}/users/{id}/unlock":                     {path: "/auth/admin/in/default/users/USER/unlock"},
	"POST /auth/admin/in/{org}/users/{id}/enable":                     {path: "/auth/admin/in/default/users/USER/enable"},
	"GET /auth/admin/in/{org}/users/{id}/disable":                     {path: "/auth/admin/in/default/users/USER/disable"},
	"POST /auth/admin/in/{org}/users/{id}/disable":                    {path: "/auth/admin/in/default/users/USER/disable"},
	"GET /auth/admin/in/{org}/users/{id}/delete":                      {path: "/auth/admin/in/default/users/USER/delete"},
	"POST /auth/admin/in/{org}/users/{id}/delete":                     {path: "/auth/admin/in/default/users/USER/delete"},
	"GET /auth/admin/in/{org}/users/{id}/end-sessions":                {path: "/auth/admin/in/default/users/USER/end-sessions"},
	"POST /auth/admin/in/{org}/users/{id}/end-sessions":               {path: "/auth/admin/in/default/users/USER/end-sessions"},
	"POST /auth/admin/in/{org}/users/{id}/sessions/{session}/end":     {path: "/auth/admin/in/default/users/usr_x/sessions/SESSION/end"},
	"GET /auth/admin/in/{org}/keys":                                   {path: "/auth/admin/in/default/keys"},
	"POST /auth/admin/in/{org}/keys":                                  {path: "/auth/admin/in/default/keys", body: "name=a+key&role=viewer&workspace=shop&life="},
	"POST /auth/admin/in/{org}/keys/{id}/rotate":                      {path: "/auth/admin/in/default/keys/KEY/rotate"},
	"GET /auth/admin/in/{org}/keys/{id}/revoke":                       {path: "/auth/admin/in/default/keys/KEY/revoke"},
	"POST /auth/admin/in/{org}/keys/{id}/revoke":                      {path: "/auth/admin/in/default/keys/KEY/revoke"},
	"GET /auth/admin/in/{org}/overview":                               {path: "/auth/admin/in/default/overview"},
	"GET /auth/admin/in/{org}/audit":                                  {path: "/auth/admin/in/default/audit"},
	"GET /auth/admin/in/{org}/audit.csv":                              {path: "/auth/admin/in/default/audit.csv"},
	"GET /auth/admin/in/{org}/sessions":                               {path: "/auth/admin/in/default/sessions"},
	"GET /auth/admin/in/{org}/sessions/{id}/end":                      {path: "/auth/admin/in/default/sessions/SESSION/end"},
	"POST /auth/admin/in/{org}/sessions/{id}/end":                     {path: "/auth/admin/in/default/sessions/SESSION/end"},
	"GET /auth/admin/in/{org}/workspaces":                             {path: "/auth/admin/in/default/workspaces"},
	"POST /auth/admin/in/{org}/workspaces":                            {path: "/auth/admin/in/default/workspaces", body: "id=default&name="},
	"GET /auth/admin/in/{org}/workspaces/{id}":                        {path: "/auth/admin/in/default/workspaces/shop"},
	"POST /auth/admin/in/{org}/workspaces/{id}":                       {path: "/auth/admin/in/default/workspaces/shop", body: "name=Shop"},
	"GET /auth/admin/in/{org}/workspaces/{id}/delete":                 {path: "/auth/admin/in/default/workspaces/shop/delete"},
	"POST /auth/admin/in/{org}/workspaces/{id}/delete":                {path: "/auth/admin/in/default/workspaces/shop/delete"},
	"POST /auth/admin/in/{org}/workspaces/{id}/members":               {path: "/auth/admin/in/default/workspaces/shop/members", body: "username=nobody"},
	"GET /auth/admin/in/{org}/workspaces/{id}/members/{user}/remove":  {path: "/auth/admin/in/default/workspaces/shop/members/USER/remove"},
	"POST /auth/admin/in/{org}/workspaces/{id}/members/{user}/remove": {path: "/auth/admin/in/default/workspaces/shop/members/USER/remove"},
	"GET /auth/admin/organizations":                                   {},
	"POST /auth/admin/organizations":                                  {body: "id=default&name="},
	"GET /auth/admin/organizations/{id}":                              {path: "/auth/admin/organizations/default"},
	"POST /auth/admin/organizations/{id}":                             {path: "/auth/admin/organizations/default", body: "name=Ours"},
	"GET /auth/admin/organizations/{id}/delete":                       {path: "/auth/admin/organizations/default/delete"},
	"POST /auth/admin/organizations/{id}/delete":                      {path: "/auth/admin/organizations/default/delete"},
	"GET /auth/admin":                                                 {},
	"GET /auth/admin/routes":                                          {},
	"GET /auth/admin/refusals":                                        {},
	"GET /auth/admin/audit":                                           {},
	"GET /auth/admin/signing":                                         {},
	"GET /auth/admin/signing/rotate":                                  {},
	"POST /auth/admin/signing/rotate":                                 {},
	"GET /auth/admin/signing/rotate-now":                              {},
	"POST /auth/admin/signing/rotate-now":                             {},
}

// serviceAsks are the rows of the service behind.
var serviceAsks = []string{"GET /api/pipelines", "POST /api/pipelines"}

// truthDoor is a server with one caller of every kind.
type truthDoor struct {
	*door
	tokens  map[string]string
	open    *door
	unset   *door
	victims int
}

func newTruth(t *testing.T, e engine) *truthDoor {
	t.Helper()
	file := filepath.Join(t.TempDir(), "doorward.yaml")
	yaml := "api_tokens:\n"
	secrets := map[string]string{}
	for _, r := range doorward.Roles {
		secrets[string(r)] = "token-of-a-" + string(r) + "-0123456789"
		yaml += "  - {token: " + secrets[string(r)] + ", name: the-" + string(r) + ", role: " + string(r) + ", workspace: shop}\n"
	}
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := &truthDoor{
		door: e.door(t, "config="+file, "api_key="+ownerKey, "lockout.attempts=1000", "jwt.secret="+machineSecret), tokens: map[string]string{},
		open: e.door(t), unset: e.door(t, "open_mode=never"),
	}
	root := bearer(tr.setUp())
	tr.orgs(root, map[string][]string{doorward.Default: {"shop", "annex"}, "acme": nil})
	own := []string{doorward.Default, "shop"}
	for name, u := range map[string]struct {
		role, org  string
		workspaces []string
	}{
		"viewer": {"viewer", doorward.Default, own}, "editor": {"editor", doorward.Default, own},
		"admin": {"admin", doorward.Default, own}, "superadmin": {"superadmin", doorward.Default, own},
		"admin of another workspace":         {"admin", doorward.Default, []string{"annex"}},
		"admin of another organization":      {"admin", "acme", []string{doorward.Default}},
		"superadmin of another organization": {"superadmin", "acme", []string{doorward.Default}},
		"disabled":                           {"admin", doorward.Default, own},
		"must change":                        {"admin", doorward.Default, own},
	} {
		id, token := tr.newMember(root, strings.ReplaceAll(name, " ", "-"), u.role, u.org, u.workspaces...)
		switch name {
		case "disabled":
			tr.change(root, id, `{"disabled":true}`).want(http.StatusOK)
		case "must change":
			tr.do("POST", "/api/auth/admin-reset-password", root, jsonOf(map[string]any{"user_id": id, "new_password": "chosen by another", "must_change": true})).want(http.StatusOK)
			token, _ = tr.signIn("must-change", "chosen by another")
		}
		tr.tokens[name] = token
	}
	tr.tokens["operator key"] = ownerKey
	for role, secret := range secrets {
		tr.tokens["token "+role] = secret
		tr.tokens["client "+role], _ = tr.exchange(secret, "app")
	}
	return tr
}

// victim makes a viewer of workspace shop, who never signs in.
func (tr *truthDoor) victim() string {
	tr.victims++
	hash, err := doorward.ParsePasswordHash(aHash)
	if err != nil {
		tr.t.Fatal(err)
	}
	u := doorward.User{ID: fmt.Sprintf("usr_victim%d", tr.victims), Username: fmt.Sprintf("victim%d", tr.victims), Role: doorward.Viewer, Org: doorward.Default, Workspaces: []string{"shop"}, Created: time.Now()}
	if err := tr.house.store.CreateUser(context.Background(), u, hash, doorward.AuditEntry{Action: "user.create", Target: u.ID}); err != nil {
		tr.t.Fatal(err)
	}
	return u.ID
}

// victimsSession begins a session of another victim.
func (tr *truthDoor) victimsSession() string {
	user := tr.victim()
	now := time.Now()
	s := doorward.Session{
		ID: "ses_of_" + user, Kind: doorward.KindUser, Subject: user, Credential: user, Org: doorward.Default, Workspaces: "shop",
		Created: now, Ends: now.Add(time.Hour), AccessUntil: now.Add(time.Hour),
	}
	if err := tr.house.store.SignIn(context.Background(), s, 0, "nobody", 10, doorward.AuditEntry{Action: "session.create", Target: s.ID}); err != nil {
		tr.t.Fatal(err)
	}
	return s.ID
}

// knock asks what the row says as this kind of caller and returns the status.
func (tr *truthDoor) knock(method, path, body, caller string) int {
	d, asks := tr.door, []ask{header("Sec-Fetch-Site", "same-origin")}
	switch caller {
	case "open mode":
		d = tr.open
	case "before set-up":
		d = tr.unset
	case "nobody":
	default:
		asks = append(asks, bearer(tr.tokens[caller]))
	}
	if strings.Contains(path+body, "USER") {
		id := "usr_none"
		if d == tr.door {
			id = tr.victim()
		}
		path, body = strings.ReplaceAll(path, "USER", id), strings.ReplaceAll(body, "USER", id)
	}
	if strings.Contains(path, "SESSION") {
		id := "none"
		if d == tr.door {
			id = tr.victimsSession()
		}
		path = strings.ReplaceAll(path, "SESSION", id)
	}
	if strings.Contains(path, "KEY") {
		id := "key_none"
		if d == tr.door {
			id = d.do("POST", "/api/auth/keys", bearer(tr.tokens["superadmin"]), jsonBody(`{"name":"a key","role":"viewer","workspace":"shop","service":true}`)).want(http.StatusCreated).str("id")
		}
		path = strings.ReplaceAll(path, "KEY", id)
	}
	if body == "" {
		body = "{}"
	}
	switch {
	case method == http.MethodGet:
	case strings.HasPrefix(path, "/auth/admin/"): // a form of a page, perhaps an empty one
		asks = append(asks, formBody(strings.TrimSuffix(body, "{}")))
	default:
		asks = append(asks, jsonBody(body))
	}
	return d.do(method, path, asks...).status
}

// table knocks at every door as every kind of caller.
func (tr *truthDoor) table() string {
	var rows []string
	for _, d := range documentedDoors() {
		rows = append(rows, d.Method+" "+d.Pattern)
	}
	// Last those after which there is nothing more to show.
	order := slices.Clone(rows)
	last := func(row string) int { return 2*strings.Count(row, "logout") + strings.Count(row, "sign-out") }
	slices.SortStableFunc(order, func(a, b string) int { return last(a) - last(b) })
	got := map[string]string{}
	for _, row := range append(slices.Clone(serviceAsks), order...) {
		method, path, _ := strings.Cut(row, " ")
		asks, known := truthAsks[row]
		if !known && !slices.Contains(serviceAsks, row) {
			tr.t.Errorf("nobody has said what to ask of the door %s; add a line to truthAsks", row)
			continue
		}
		if asks.path != "" {
			path = asks.path
		}
		line := "| `" + row + "` |"
		for _, caller := range kindsOfCallers {
			line += " " + strconv.Itoa(tr.knock(method, path, asks.body, caller.name)) + " |"
		}
		got[row] = line + "\n"
	}
	var b strings.Builder
	b.WriteString(truthIntro)
	for i, c := range kindsOfCallers {
		fmt.Fprintf(&b, "%d. **%s**: %s\n", i+1, c.name, c.who)
	}
	b.WriteString("\n| |")
	for i := range kindsOfCallers {
		fmt.Fprintf(&b, " %d |", i+1)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(kindsOfCallers)) + "\n")
	for _, row := range append(rows, serviceAsks...) {
		b.WriteString(got[row])
	}
	return b.String()
}

const truthIntro = `
## Who gets how far

A test knocks at every door as every kind of caller, on both engines, and compares the statuses with this table. What is asked for exists and
belongs to workspace ` + "`shop` of organization `default`" + `, so that it is decided by who asks. A status from 200 on means that the caller came
through, 400 that the body was then found wanting, 409 that what is kept does not allow it. 401 is for who is not known, 403 for who may not, and 404 for what a
caller's organization does not have. The last two rows are the service behind.

`

// TestRT1TheTruthTable is docs/doors.md: every door, every kind of caller, on both engines.
func TestRT1TheTruthTable(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		table := newTruth(t, e).table()
		if e.name == onSQLite.name {
			compareGolden(t, filepath.Join("..", "docs", "doors.md"), doorsPage()+table)
			return
		}
		page, err := os.ReadFile(filepath.Join("..", "docs", "doors.md"))
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("DOORWARD_TEST_UPDATE") == "" && !strings.HasSuffix(string(page), table) {
			t.Errorf("another table than the page has:\n%s", table)
		}
	})
}

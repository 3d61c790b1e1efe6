package app

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doorward"
	"doorward/api"
)

// file opens the database beside the server, as an operator with a tool of theirs would.
func (d *door) file() *sql.DB {
	d.t.Helper()
	dsn := url.URL{Scheme: "file", Path: filepath.Join(d.dir, "doorward.db"), RawQuery: "_pragma=busy_timeout(5000)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		d.t.Fatal(err)
	}
	return db
}

// exec changes the database behind the server's back.
func (d *door) exec(statement string, args ...any) {
	d.t.Helper()
	db := d.file()
	defer db.Close()
	if _, err := db.ExecContext(d.t.Context(), statement, args...); err != nil {
		d.t.Fatalf("%s: %v", statement, err)
	}
}

// column reads one text from the database.
func (d *door) column(query string) string {
	d.t.Helper()
	db := d.file()
	defer db.Close()
	var s string
	if err := db.QueryRowContext(d.t.Context(), query).Scan(&s); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	return s
}

// create asks for a user whose password is "password of NAME".
func (d *door) create(by ask, username, role string) answer {
	return d.do("POST", "/api/auth/users", by, jsonOf(map[string]string{"username": username, "password": "password of " + username, "role": role}))
}

// change asks for a change of user id.
func (d *door) change(by ask, id, body string) answer {
	return d.do("PATCH", "/api/auth/users/"+id, by, jsonBody(body))
}

func (d *door) remove(by ask, id string) answer {
	return d.do("DELETE", "/api/auth/users/"+id, by)
}

const forbidden = "insufficient permissions"

func TestUsersAreMadeListedChangedAndDeleted(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := bearer(d.setUp())
	d.keepsQuiet()
	shape := func(name, role, disabled string) string {
		return `{"id":"*","username":"` + name + `","role":"` + role + `","workspaces":["default"],"disabled":` + disabled + `}`
	}
	a := d.create(root, "Ann.Lee+x@example.com", "viewer").want(http.StatusCreated).shape(shape("Ann.Lee+x@example.com", "viewer", "false"))
	id := a.str("id")
	if !strings.HasPrefix(id, "usr_") {
		t.Errorf("id %s", id)
	}
	list := d.do("GET", "/api/auth/users", root).want(http.StatusOK).
		shape(`{"users":[` + shape("Ann.Lee+x@example.com", "viewer", "false") + `,` + shape("root", "superadmin", "false") + `],"next":""}`)
	if !strings.Contains(list.body, id) {
		t.Errorf("%s is not in %s", id, list.body)
	}
	d.change(root, id, `{"role":"editor"}`).want(http.StatusOK).shape(shape("Ann.Lee+x@example.com", "editor", "false"))
	d.change(root, id, `{"disabled":true}`).want(http.StatusOK).shape(shape("Ann.Lee+x@example.com", "editor", "true"))
	d.change(root, id, `{}`).want(http.StatusOK).shape(shape("Ann.Lee+x@example.com", "editor", "true"))
	// What cannot be changed here is not.
	d.change(root, id, `{"disabled":false,"role":"viewer","workspaces":["default"],"username":"eve","password":"x","id":"usr_x","ROLE":"admin"}`).
		want(http.StatusOK).shape(shape("Ann.Lee+x@example.com", "viewer", "false"))
	d.login("ann.lee+X@Example.com", "password of Ann.Lee+x@example.com").want(http.StatusOK)
	if got := d.remove(root, id).want(http.StatusNoContent).body; got != "" {
		t.Errorf("DELETE answers %s", got)
	}
	d.login("ann.lee+x@example.com", "password of Ann.Lee+x@example.com").refused(http.StatusUnauthorized, "invalid credentials")

	t.Run("not found", func(t *testing.T) {
		for _, gone := range []string{id, "usr_none", "root", "1", "%27", "a%20b", strings.Repeat("x", 2000)} {
			d.change(root, gone, `{"role":"viewer"}`).refused(http.StatusNotFound, "user not found")
			d.remove(root, gone).refused(http.StatusNotFound, "user not found")
			d.do("POST", "/api/auth/admin-reset-password", root, jsonOf(map[string]string{"user_id": gone, "new_password": "a password for nobody"})).
				refused(http.StatusNotFound, "user not found")
		}
	})
	t.Run("a name belongs to one, in any case", func(t *testing.T) {
		for _, twin := range []string{"root", "Root", "ROOT"} {
			d.create(root, twin, "viewer").refused(http.StatusConflict, "username "+twin+" is taken")
		}
		d.create(root, "Ann.Lee+x@example.com", "viewer").want(http.StatusCreated) // free again
	})
	t.Run("refused bodies", func(t *testing.T) {
		for body, message := range map[string]string{
			`{"password":"password of x","role":"viewer"}`:                                       "username: is required",
			`{"username":"","password":"password of x","role":"viewer"}`:                         "username: is required",
			`{"username":"x","role":"viewer"}`:                                                   "password: is required",
			`{"username":"x","password":"password of x"}`:                                        "role: is required: one of superadmin, admin, editor, viewer",
			`{"username":"x","password":"password of x","role":"viewer","workspaces":["other"]}`: "workspaces: there is no workspace of that name",
			`{"username":"x","password":"password of x","role":"viewer","workspaces":"default"}`: "workspaces: must be a list of strings",
			`{"username":"x","password":"password of x","role":"viewer","workspaces":[null]}`:    "workspaces: must be a list of strings",
			`{"username":"x,y","password":"password of x","role":"viewer"}`:                      usernameRule("x,y"),
			`{"username":"x\",\"role\":\"superadmin","password":"password","role":"viewer"}`:     usernameRule("x"), // TF19
			`{"username":"x\r\nX-Auth-Role: admin","password":"password of x","role":"viewer"}`:  usernameRule("x"), // PX15
		} {
			d.do("POST", "/api/auth/users", root, jsonBody(body)).refused(http.StatusBadRequest, message)
		}
		other := d.create(root, "other", "viewer").want(http.StatusCreated).str("id")
		for body, message := range map[string]string{
			`{"disabled":"true"}`:      "disabled: must be true or false",
			`{"disabled":null}`:        "disabled: must be true or false",
			`{"disabled":1}`:           "disabled: must be true or false",
			`{"workspaces":[]}`:        "workspaces: must name at least one",
			`{"workspaces":["other"]}`: "workspaces: there is no workspace of that name",
			`{"workspaces":{}}`:        "workspaces: must be a list of strings",
		} {
			d.change(root, other, body).refused(http.StatusBadRequest, message)
		}
	})
}

func TestRT3RoleStrings(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := bearer(d.setUp())
	id := d.create(root, "ann", "viewer").want(http.StatusCreated).str("id")
	const oneOf, text, twice = "role: must be one of superadmin, admin, editor, viewer", "role: must be a string", "body: gives a field twice"
	for _, c := range []struct{ field, message string }{
		{`"role":"SuperAdmin"`, oneOf},
		{`"role":"Admin"`, oneOf},
		{`"role":"admin "`, oneOf},
		{`"role":"admin\u0000"`, oneOf},
		{`"role":"\u0430dmin"`, oneOf},
		{`"role":"admin,superadmin"`, oneOf},
		{`"role":"root"`, oneOf},
		{`"role":""`, oneOf},
		{`"role":null`, text},
		{`"role":["admin"]`, text},
		{`"role":{"admin":true}`, text},
		{`"role":4`, text},
		{`"role":true`, text},
		{`"role":"viewer","role":"superadmin"`, twice},
		{`"role":"superadmin","\u0072ole":"viewer"`, twice},
	} {
		d.change(root, id, `{`+c.field+`}`).refused(http.StatusBadRequest, c.message)
		d.do("POST", "/api/auth/users", root, jsonBody(`{"username":"eve","password":"password of eve",`+c.field+`}`)).refused(http.StatusBadRequest, c.message)
	}
	// Other spellings of the name are other fields, which are ignored.
	for _, field := range []string{`"ROLE":"superadmin"`, `"Role":"superadmin"`, `"roſe":"superadmin"`, `"role ":"superadmin"`, `"rank":"superadmin"`} {
		if got := d.change(root, id, `{`+field+`}`).want(http.StatusOK).str("role"); got != "viewer" {
			t.Errorf("%s made the role %s", field, got)
		}
		body := `{"username":"eve","password":"password of eve","role":"viewer",` + field + `}`
		made := d.do("POST", "/api/auth/users", root, jsonBody(body)).want(http.StatusCreated)
		if made.str("role") != "viewer" {
			t.Errorf("%s made a %s", body, made.str("role"))
		}
		d.remove(root, made.str("id")).want(http.StatusNoContent)
	}
}

// crew is a server with one user of each role and the other kinds of callers.
type crew struct {
	*door
	ids    map[string]string
	tokens map[string]string
}

// callers are the columns of the matrix, in this order.
var callers = []string{"nobody", "viewer", "editor", "admin", "superadmin", "operator key", "API token", "disabled"}

func newCrew(t *testing.T) crew {
	d := newDoor(t, "api_key="+ownerKey, "api_tokens="+teamToken)
	d.setUpQuietly(t)
	c := crew{d, map[string]string{}, map[string]string{"operator key": ownerKey, "API token": teamToken}}
	c.tokens["superadmin"], _ = d.signIn("root", rootPassword)
	for _, role := range []string{"viewer", "editor", "admin", "disabled"} {
		as := role
		if role == "disabled" {
			as = "admin"
		}
		c.ids[role], c.tokens[role], _ = d.newUser(c.tokens["superadmin"], role, as)
	}
	d.change(c.as("superadmin"), c.ids["disabled"], `{"disabled":true}`).want(http.StatusOK)
	c.ids["superadmin"] = d.do("GET", "/api/auth/me", c.as("superadmin")).want(http.StatusOK).str("id")
	return c
}

// as shows what caller has to show.
func (c crew) as(caller string) ask {
	token, ok := c.tokens[caller]
	if !ok {
		return func(*http.Request) {}
	}
	return bearer(token)
}

// matrix says for every door who comes how far, with a body that asks for nothing: 400
// and 404 are said by the verbs behind the door. The column order is that of callers.
var matrix = map[string][8]int{
	"POST /auth/token":                    {401, 401, 401, 401, 401, 400, 400, 401},
	"POST /auth/refresh":                  {400, 400, 400, 400, 400, 400, 400, 400},
	"POST /auth/validate":                 {401, 200, 200, 200, 200, 401, 401, 401},
	"GET /auth/validate":                  {401, 200, 200, 200, 200, 401, 401, 401},
	"POST /auth/logout":                   {401, 200, 200, 200, 200, 401, 401, 200},
	"POST /api/auth/login":                {400, 400, 400, 400, 400, 400, 400, 400},
	"POST /api/auth/logout":               {401, 200, 200, 200, 200, 401, 401, 200},
	"GET /api/auth/me":                    {401, 200, 200, 200, 200, 200, 200, 401},
	"GET /api/auth/setup":                 {200, 200, 200, 200, 200, 200, 200, 200},
	"POST /api/auth/change-password":      {401, 400, 400, 400, 400, 403, 403, 401},
	"POST /api/auth/users":                {401, 403, 403, 400, 400, 400, 403, 401},
	"GET /api/auth/users":                 {401, 403, 403, 200, 200, 200, 403, 401},
	"GET /api/auth/users/{id}":            {401, 403, 403, 404, 404, 404, 403, 401},
	"POST /api/auth/users/{id}/invite":    {401, 403, 403, 404, 404, 404, 403, 401},
	"POST /api/auth/users/{id}/unlock":    {401, 403, 403, 404, 404, 404, 403, 401},
	"POST /api/auth/invite":               {400, 400, 400, 400, 400, 400, 400, 400},
	"PATCH /api/auth/users/{id}":          {401, 403, 403, 404, 404, 404, 403, 401},
	"DELETE /api/auth/users/{id}":         {401, 403, 403, 404, 404, 404, 403, 401},
	"POST /api/auth/admin-reset-password": {401, 403, 403, 400, 400, 400, 403, 401},
	"GET /api/auth/keys":                  {401, 200, 200, 200, 200, 200, 403, 401},
	"POST /api/auth/keys":                 {401, 400, 400, 400, 400, 400, 400, 401},
	"DELETE /api/auth/keys/{id}":          {401, 404, 404, 404, 404, 404, 404, 401},
	"POST /api/auth/keys/{id}/rotate":     {401, 404, 404, 404, 404, 404, 404, 401},
	"GET /api/auth/sessions":              {401, 200, 200, 200, 200, 200, 200, 401},
	"DELETE /api/auth/sessions":           {401, 204, 204, 204, 204, 204, 204, 401},
	"DELETE /api/auth/sessions/{id}":      {401, 404, 404, 404, 404, 404, 404, 401},
	"GET /api/auth/activity":              {401, 200, 200, 200, 200, 403, 403, 401},
	"GET /api/auth/audit":                 {401, 403, 403, 200, 200, 200, 403, 401},
	"GET /api/auth/overview":              {401, 403, 403, 200, 200, 200, 403, 401},
	"GET /api/auth/refusals":              {401, 403, 403, 200, 200, 200, 403, 401},
	"GET /api/auth/routes":                {401, 403, 403, 200, 200, 200, 403, 401},
	"GET /api/auth/explain":               {401, 403, 403, 400, 400, 400, 403, 401},
	"GET /api/auth/signing-keys":          {401, 403, 403, 403, 200, 403, 403, 401},
	"POST /api/auth/signing-keys/rotate":  {401, 403, 403, 403, 400, 403, 403, 401},
	"GET /api/auth/organizations":         {401, 403, 403, 403, 200, 403, 403, 401},
	"POST /api/auth/organizations":        {401, 403, 403, 403, 400, 403, 403, 401},
	"PATCH /api/auth/organizations/{id}":  {401, 403, 403, 403, 400, 403, 403, 401},
	"DELETE /api/auth/organizations/{id}": {401, 403, 403, 403, 404, 403, 403, 401},

	"GET /api/auth/workspaces":                        {401, 403, 403, 200, 200, 200, 403, 401},
	"POST /api/auth/workspaces":                       {401, 403, 403, 400, 400, 400, 403, 401},
	"PATCH /api/auth/workspaces/{id}":                 {401, 403, 403, 400, 400, 400, 403, 401},
	"DELETE /api/auth/workspaces/{id}":                {401, 403, 403, 404, 404, 404, 403, 401},
	"GET /api/auth/workspaces/{id}/members":           {401, 403, 403, 404, 404, 404, 403, 401},
	"POST /api/auth/workspaces/{id}/members":          {401, 403, 403, 400, 400, 400, 403, 401},
	"DELETE /api/auth/workspaces/{id}/members/{user}": {401, 403, 403, 404, 404, 404, 403, 401},

	"GET /auth/openapi.json": {200, 200, 200, 200, 200, 200, 200, 200},

	"GET /health":       {200, 200, 200, 200, 200, 200, 200, 200},
	"GET /health/live":  {200, 200, 200, 200, 200, 200, 200, 200},
	"GET /health/ready": {200, 200, 200, 200, 200, 200, 200, 200},
	"GET /metrics":      {200, 200, 200, 200, 200, 200, 200, 200},
}

// service says the same of the service behind, where every method but three writes.
var service = map[string][8]int{
	"GET /api/pipelines":         {401, 200, 200, 200, 200, 200, 200, 401},
	"HEAD /api/pipelines":        {401, 200, 200, 200, 200, 200, 200, 401},
	"OPTIONS /api/pipelines":     {401, 405, 405, 405, 405, 405, 405, 401},
	"GET /":                      {401, 200, 200, 200, 200, 200, 200, 401},
	"POST /api/pipelines":        {401, 403, 400, 400, 400, 400, 400, 401},
	"PUT /api/pipelines/none":    {401, 403, 404, 404, 404, 404, 404, 401},
	"DELETE /api/pipelines/none": {401, 403, 404, 404, 404, 404, 404, 401},
	"POST /run":                  {401, 403, 400, 400, 400, 400, 400, 401},
	"GET /nothing/there":         {401, 404, 404, 404, 404, 404, 404, 401},
	"PROPFIND /nothing/there":    {401, 403, 404, 404, 404, 404, 404, 401},
}

func TestRT1WhoMayWhat(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	methods := map[string][]string{} // by pattern
	var order []string
	for _, row := range api.Doors(api.Config{Health: &api.Health{}, HealthPath: "/health", Metrics: http.NotFoundHandler(), MetricsPath: "/metrics"}) {
		name := row.Method + " " + row.Pattern
		if _, known := matrix[name]; !known {
			t.Errorf("nobody has written down who may %s", name)
			continue
		}
		methods[row.Pattern] = append(methods[row.Pattern], row.Method)
		order = append(order, name)
	}
	if len(order) != len(matrix) {
		t.Errorf("the matrix has %d rows, there are %d doors: %q", len(matrix), len(order), order)
	}
	// Last those after which there is nothing more to show.
	slices.SortStableFunc(order, func(a, b string) int { return strings.Count(a, "logout") - strings.Count(b, "logout") })
	knock := func(rule, caller string, want int) {
		t.Helper()
		method, pattern, _ := strings.Cut(rule, " ")
		a := c.do(method, strings.NewReplacer("{id}", "usr_none", "{user}", "usr_none").Replace(pattern), c.as(caller), jsonBody(`{}`))
		a.what += " as " + caller
		a.want(want)
		switch {
		case method == "HEAD":
		case a.status == http.StatusForbidden:
			a.refused(http.StatusForbidden, forbidden)
		case a.status == http.StatusUnauthorized && caller == "nobody":
			a.refused(http.StatusUnauthorized, "token required")
		case a.status == http.StatusUnauthorized && caller == "disabled":
			a.refused(http.StatusUnauthorized, "token blacklisted")
		case a.status == http.StatusUnauthorized:
			a.refused(http.StatusUnauthorized, "invalid token")
		}
	}
	for rule, row := range service {
		for i, caller := range callers {
			knock(rule, caller, row[i])
		}
	}
	for _, caller := range callers { // nothing that is ours is ever anybody else's, or another method
		for _, unknown := range []string{"GET /auth/", "GET /auth/none", "POST /api/auth/none", "GET /api/auth/", "GET /api/auth/users/x/y", "GET /api/auth/users/", "POST /auth/token/x"} {
			knock(unknown, caller, http.StatusNotFound)
		}
		for pattern, allowed := range methods {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
				if slices.Contains(allowed, method) || method == "HEAD" && slices.Contains(allowed, "GET") {
					continue
				}
				a := c.do(method, strings.NewReplacer("{id}", "usr_none", "{user}", "usr_none").Replace(pattern), c.as(caller)).want(http.StatusMethodNotAllowed)
				for _, m := range allowed {
					if !strings.Contains(a.header.Get("Allow"), m) {
						t.Errorf("%s %s: Allow %q", method, pattern, a.header.Get("Allow"))
					}
				}
			}
		}
	}
	for _, rule := range order {
		for i, caller := range callers {
			knock(rule, caller, matrix[rule][i])
		}
	}
}

func TestViewerIsReadOnly(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	id := c.do("POST", "/api/pipelines", c.as("editor"), jsonBody(`{"name":"p"}`)).want(http.StatusCreated).str("id")
	_, value := c.signIn("viewer", "password of viewer")
	for _, how := range []ask{c.as("viewer"), cookie(value)} {
		c.do("GET", "/api/pipelines/"+id, how).want(http.StatusOK)
		for _, write := range []string{"POST /api/pipelines", "PUT /api/pipelines/" + id, "DELETE /api/pipelines/" + id, "POST /api/pipelines/" + id + "/run", "POST /run"} {
			method, path, _ := strings.Cut(write, " ")
			for _, trick := range []ask{func(*http.Request) {}, header("X-HTTP-Method-Override", "GET"), header("X-Auth-Role", "admin")} {
				c.do(method, path, how, trick, jsonBody(`{"name":"q","prompt":"p"}`)).refused(http.StatusForbidden, forbidden)
			}
		}
		// And the other way round: a method in a header does not write.
		c.do("GET", "/api/pipelines/"+id, how, header("X-HTTP-Method-Override", "DELETE")).want(http.StatusOK)
	}
	if got := c.do("GET", "/api/pipelines/"+id, c.as("viewer")).want(http.StatusOK).str("name"); got != "p" {
		t.Errorf("the viewer made it %s", got)
	}
}

func TestNobodyReachesAboveTheirRank(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	reset := func(by, id string) answer {
		return c.do("POST", "/api/auth/admin-reset-password", c.as(by), jsonBody(`{"user_id":"`+id+`","new_password":"chosen by another"}`))
	}
	for _, by := range []string{"admin", "operator key"} {
		n := strings.ReplaceAll(by, " ", "-")
		// Granting.
		c.create(c.as(by), "up-by-"+n, "superadmin").refused(http.StatusForbidden, forbidden)
		c.change(c.as(by), c.ids["viewer"], `{"role":"superadmin"}`).refused(http.StatusForbidden, forbidden)
		c.change(c.as(by), c.ids["admin"], `{"role":"superadmin"}`).refused(http.StatusForbidden, forbidden)
		// Touching.
		root := c.ids["superadmin"]
		for _, body := range []string{`{"role":"viewer"}`, `{"role":"superadmin"}`, `{"disabled":true}`, `{"workspaces":["default"]}`, `{}`} {
			c.change(c.as(by), root, body).refused(http.StatusForbidden, forbidden)
		}
		c.remove(c.as(by), root).refused(http.StatusForbidden, forbidden)
		reset(by, root).refused(http.StatusForbidden, forbidden)
		// Their own rank and below.
		peer := c.create(c.as(by), "peer-of-"+n, "admin").want(http.StatusCreated).str("id")
		c.change(c.as(by), peer, `{"role":"editor"}`).want(http.StatusOK)
		c.change(c.as(by), peer, `{"role":"admin"}`).want(http.StatusOK)
		reset(by, peer).want(http.StatusOK)
		c.remove(c.as(by), peer).want(http.StatusNoContent)
	}
	// Everybody who is no admin is no administrator, of themselves neither (RT7, EN7).
	for _, by := range []string{"viewer", "editor", "API token"} {
		c.do("GET", "/api/auth/users", c.as(by)).refused(http.StatusForbidden, forbidden)
		for _, name := range []string{"root", "Root", "new"} { // never 409, and never a judgment on the body
			c.create(c.as(by), name, "viewer").refused(http.StatusForbidden, forbidden)
		}
		c.do("POST", "/api/auth/users", c.as(by), formBody("{")).refused(http.StatusForbidden, forbidden)
		for _, id := range []string{c.ids["viewer"], c.ids["editor"], c.ids["superadmin"], "usr_none"} {
			c.change(c.as(by), id, `{"role":"admin"}`).refused(http.StatusForbidden, forbidden)
			c.remove(c.as(by), id).refused(http.StatusForbidden, forbidden)
			reset(by, id).refused(http.StatusForbidden, forbidden)
		}
	}
	// Nothing of all that has touched anybody.
	if got := c.do("GET", "/api/auth/me", c.as("superadmin")).want(http.StatusOK).str("role"); got != "superadmin" {
		t.Errorf("root is %s", got)
	}
	for _, role := range []string{"viewer", "editor", "admin"} {
		if got := c.column(`SELECT role FROM users WHERE canonical = '` + role + `'`); got != role {
			t.Errorf("%s is %s", role, got)
		}
	}
}

func TestTheLastOfTheHighestRankStays(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	me := d.do("GET", "/api/auth/me", bearer(root)).str("id")
	conflict := func(role string, by ask, id string) {
		t.Helper()
		message := "the last enabled " + role + " cannot be removed, disabled or demoted"
		for _, body := range []string{`{"disabled":true}`, `{"role":"viewer"}`, `{"role":"editor","disabled":true}`} {
			d.change(by, id, body).refused(http.StatusConflict, message)
		}
		d.remove(by, id).refused(http.StatusConflict, message)
	}
	d.newUser(root, "ann", "admin")
	conflict("superadmin", bearer(root), me)
	// What leaves them what they are is none of that.
	d.change(bearer(root), me, `{"disabled":false,"role":"superadmin"}`).want(http.StatusOK)
	d.do("GET", "/api/auth/me", bearer(root)).want(http.StatusOK)

	// A second one who is disabled does not count; enabled, does.
	second, _, _ := d.newUser(root, "second", "superadmin")
	d.change(bearer(root), second, `{"disabled":true}`).want(http.StatusOK)
	conflict("superadmin", bearer(root), me)
	d.change(bearer(root), second, `{"disabled":false}`).want(http.StatusOK)
	two, _ := d.signIn("second", "password of second")

	// Both at once: one of them stays.
	got := at(2, func(i int) answer {
		if i == 0 {
			return d.change(bearer(two), me, `{"role":"viewer"}`)
		}
		return d.change(bearer(root), second, `{"disabled":true}`)
	})
	if got[http.StatusOK] != 1 || got[http.StatusConflict]+got[http.StatusUnauthorized]+got[http.StatusForbidden] != 1 {
		t.Errorf("two who push each other out: %v", got)
	}
	if n := d.column(`SELECT count(*) || '' FROM users WHERE role = 'superadmin' AND disabled = 0`); n != "1" {
		t.Errorf("%s superadmins are left", n)
	}

	// Where the highest rank is admin, it is the last admin that stays.
	d = newDoor(t, "api_key="+ownerKey)
	ann := d.do("POST", "/api/auth/users", apiKey(ownerKey), jsonBody(`{"username":"ann","password":"password of ann","role":"admin"}`)).want(http.StatusCreated).str("id")
	token, _ := d.signIn("ann", "password of ann")
	d.newUser(token, "bob", "editor")
	for _, by := range []ask{bearer(token), apiKey(ownerKey)} {
		conflict("admin", by, ann)
	}
	d.newUser(token, "cleo", "admin")
	d.remove(bearer(token), ann).want(http.StatusNoContent)
	d.do("GET", "/api/auth/me", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
}

// TestRV5ChangesEndSessions: what a token says of a person is never older than the person.
func TestRV5ChangesEndSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		d := e.door(t, "lockout.attempts=100")
		rootToken := d.setUp()
		root := bearer(rootToken)
		for name, c := range map[string]struct {
			change func(id string)
			again  string // the role after signing in again, "" for not at all
		}{
			"promoted": {func(id string) { d.change(root, id, `{"role":"admin"}`).want(http.StatusOK) }, "admin"},
			"demoted":  {func(id string) { d.change(root, id, `{"role":"viewer"}`).want(http.StatusOK) }, "viewer"},
			"disabled": {func(id string) { d.change(root, id, `{"disabled":true}`).want(http.StatusOK) }, ""},
			"deleted":  {func(id string) { d.remove(root, id).want(http.StatusNoContent) }, ""},
		} {
			t.Run(name, func(t *testing.T) {
				id, first, firstCookie := d.newUser(rootToken, name, "editor")
				second, secondCookie := d.signIn(name, "password of "+name)
				all := []ask{bearer(first), cookie(firstCookie), bearer(second), cookie(secondCookie)}
				for _, how := range all[:3] { // one of them is never used before it ends
					d.do("GET", "/api/pipelines", how).want(http.StatusOK)
				}
				c.change(id)
				for _, how := range all {
					for _, path := range []string{"/api/pipelines", "/api/auth/me"} {
						d.do("GET", path, how).refused(http.StatusUnauthorized, "token blacklisted")
					}
				}
				d.do("GET", "/auth/validate", bearer(first)).refused(http.StatusUnauthorized, "token blacklisted")
				a := d.login(name, "password of "+name)
				if c.again == "" {
					a.refused(http.StatusUnauthorized, "invalid credentials")
					return
				}
				if got := a.want(http.StatusOK).str("user.role"); got != c.again {
					t.Errorf("signs in as %s, want %s", got, c.again)
				}
				want := http.StatusForbidden
				if c.again == "admin" {
					want = http.StatusOK
				}
				d.do("GET", "/api/auth/users", bearer(a.str("token"))).want(want)
			})
		}
		t.Run("what changes nothing ends nothing", func(t *testing.T) {
			id, token, value := d.newUser(rootToken, "same", "editor")
			d.change(root, id, `{"role":"editor","disabled":false,"workspaces":["default"]}`).want(http.StatusOK)
			d.do("GET", "/api/pipelines", bearer(token)).want(http.StatusOK)
			d.do("GET", "/api/pipelines", cookie(value)).want(http.StatusOK)
		})
		t.Run("enabled again, the old sessions stay dead", func(t *testing.T) {
			id, token, _ := d.newUser(rootToken, "back", "editor")
			d.change(root, id, `{"disabled":true}`).want(http.StatusOK)
			d.change(root, id, `{"disabled":false}`).want(http.StatusOK)
			d.do("GET", "/api/pipelines", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
			d.login("back", "password of back").want(http.StatusOK)
		})
		t.Run("a name that comes back is somebody else", func(t *testing.T) {
			id, token, value := d.newUser(rootToken, "heir", "editor")
			d.remove(root, id).want(http.StatusNoContent)
			d.newUser(rootToken, "heir", "viewer")
			d.restart()
			d.do("GET", "/api/auth/me", bearer(token)).refused(http.StatusUnauthorized, "token blacklisted")
			d.do("GET", "/api/auth/me", cookie(value)).refused(http.StatusUnauthorized, "token blacklisted")
		})
	})
}

// TestRT11OnlyOnesOwn: a field that names somebody else is not read.
func TestRT11OnlyOnesOwn(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	body := fmt.Sprintf(`{"current_password":"password of viewer","new_password":"the viewer's new one","user_id":%q,"id":%q,"username":"root"}`, c.ids["superadmin"], c.ids["superadmin"])
	c.do("POST", "/api/auth/change-password?user_id="+c.ids["superadmin"], c.as("viewer"), jsonBody(body)).want(http.StatusOK)
	c.login("root", rootPassword).want(http.StatusOK)
	c.login("viewer", "the viewer's new one").want(http.StatusOK)
}

// aHash is of a password that nobody knows: these users never sign in.
const aHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func TestUsersAreListedInPages(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := bearer(d.setUp())
	hash, err := doorward.ParsePasswordHash(aHash)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"root"}
	for i := range 250 {
		name := fmt.Sprintf("User-%03d@example.com", (i*77)%250) // not in order
		if i%50 == 0 {
			name = fmt.Sprintf("b_%d", i/50)
		}
		names = append(names, strings.ToLower(name))
		u := doorward.User{ID: fmt.Sprintf("usr_%d", i), Username: name, Role: doorward.Viewer, Org: doorward.Default, Workspaces: []string{doorward.Default}, Created: time.Now()}
		if err := d.house.store.CreateUser(context.Background(), u, hash, doorward.AuditEntry{Action: "user.create", Target: u.ID}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	page := func(query url.Values) (got []string, next string) {
		t.Helper()
		a := d.do("GET", "/api/auth/users?"+query.Encode(), root).want(http.StatusOK)
		users, ok := a.field("users").([]any)
		if !ok {
			t.Fatalf("%v: users is no list in %s", query, a.body)
		}
		for _, u := range users {
			got = append(got, strings.ToLower(u.(map[string]any)["username"].(string)))
		}
		return got, a.str("next")
	}
	all := func(query url.Values, pages int) (got []string) {
		t.Helper()
		for range pages {
			some, next := page(query)
			got = append(got, some...)
			if next == "" {
				return got
			}
			query.Set("after", next)
		}
		t.Errorf("%v: more than %d pages", query, pages)
		return got
	}
	same := func(what string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d users %q, want %d", what, len(got), got, len(want))
		}
	}
	first, next := page(url.Values{})
	same("the first page", first, names[:100])
	if next == "" {
		t.Error("there is no next page after 100 of 251")
	}
	same("all", all(url.Values{}, 3), names)
	same("all by 7", all(url.Values{"limit": {"7"}}, 36), names)
	same("251 by 251 pages of one", all(url.Values{"limit": {"1"}}, 251), names)
	last, next := page(url.Values{"after": {names[249]}})
	same("the last", last, names[250:])
	if next != "" {
		t.Errorf("after the last comes %q", next)
	}

	contain := func(part string) (want []string) {
		for _, n := range names {
			if strings.Contains(n, part) {
				want = append(want, n)
			}
		}
		return want
	}
	for _, search := range []string{"user-12", "USER-12", "@example.com", "b_", "_", "-00", "root", "none-of-that"} {
		same("search "+search, all(url.Values{"search": {search}, "limit": {"50"}}, 6), contain(strings.ToLower(search)))
	}
	for _, nothing := range []string{"%", "*", "user%", "' OR 1=1 --", "\x00", "ü", strings.Repeat("x", 70)} {
		if got, next := page(url.Values{"search": {nothing}}); len(got) > 0 || next != "" {
			t.Errorf("search %q finds %q", nothing, got)
		}
	}
	for _, bad := range []string{"0", "-1", "101", "x", "1e2", "99999999999999999999"} {
		d.do("GET", "/api/auth/users?limit="+bad, root).refused(http.StatusBadRequest, "limit: must be a number from 1 to 100")
	}
	d.do("GET", "/api/auth/users?after=%00", root).refused(http.StatusBadRequest, "after: is not where a page begins")
}

// TestAQueryThatCannotBeReadDoesNothing: what is left out of one may be what was to be done.
func TestAQueryThatCannotBeReadDoesNothing(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	root := d.setUp()
	other, _ := d.signIn("root", rootPassword)
	id, ada, _ := d.newUser(root, "ada", "viewer")
	for _, query := range []string{"user=" + id + "%zz", "user=%", "user=" + id + ";x", "user=", "user=" + id + "&user=" + id} {
		a := d.do("DELETE", "/api/auth/sessions?"+query, bearer(root)).want(http.StatusBadRequest)
		if !strings.HasPrefix(a.str("error"), "query: ") && !strings.HasPrefix(a.str("error"), "user: ") {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	for _, path := range []string{"audit?action=%", "audit?action=user.lock;target=x", "users?limit=1&limit=2", "users?search=%", "keys?limit=1&limit=2", "workspaces?search=%zz"} {
		d.do("GET", "/api/auth/"+path, bearer(root)).want(http.StatusBadRequest)
	}
	for _, token := range []string{root, other, ada} {
		d.do("GET", "/api/auth/me", bearer(token)).want(http.StatusOK)
	}
	d.do("GET", "/health?%zz&x&x").want(http.StatusOK)
}

// TestAnImportReadsFieldsExactly, as the doors do: ROLE is not role, and the last of two does not win.
func TestAnImportReadsFieldsExactly(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.setUp()
	for _, fields := range []string{`"role":"viewer","ROLE":"superadmin"`, `"role":"viewer","role":"superadmin"`, `"Role":"superadmin"`} {
		file := write(t, "users", `[{"username":"ia","password":"password of ia",`+fields+`}]`)
		if status, stdout, stderr := d.command("user", "import", file); status != 1 || stdout != "" || !strings.Contains(stderr, ":1: must be an object with") {
			t.Errorf("%s: %d %s %s", fields, status, stdout, stderr)
		}
	}
	if status, _, stderr := d.command("backup", ""); status != 1 || stderr != "doorward: FILE names no file\n" {
		t.Errorf("backup: %d %s", status, stderr)
	}
}

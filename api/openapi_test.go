package api

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// everything is a configuration with all the doors that there can be.
func everything() Config {
	return Config{
		CookieName: "brokoli_session", Health: &Health{}, HealthPath: "/health",
		Metrics: http.NotFoundHandler(), MetricsPath: "/metrics", JWKSPath: "/.well-known/jwks.json",
	}
}

// TestEveryDoorIsDescribed holds the table of doors and what the document says of them
// together: neither has a row that the other has not, and no two operations have one name.
func TestEveryDoorIsDescribed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{"everything": everything(), "the least": {Prefix: "/x", CookieName: "c"}} {
		rows := map[string]bool{}
		for _, d := range Doors(c) {
			rows[d.Method+" "+d.Pattern] = true
		}
		ids := map[string]bool{}
		for _, o := range operations(c) {
			if name := o.method + " " + o.pattern; !rows[name] {
				t.Errorf("%s is described, but there is no such door, or it is described twice", name)
			} else {
				delete(rows, name)
			}
			if ids[o.id] || o.id == "" || o.tag == "" || o.about == "" || len(o.gives) == 0 {
				t.Errorf("the operation %q is not said in full, or there are two of that name", o.id)
			}
			ids[o.id] = true
		}
		if len(rows) > 0 {
			t.Errorf("%s: nobody has said in operations.go what %v takes and gives", name, slices.Sorted(maps.Keys(rows)))
		}
	}
}

// TestEveryFieldThatIsReadIsDescribed holds the names of fields that handlers read from bodies
// against those that the document has.
func TestEveryFieldThatIsReadIsDescribed(t *testing.T) {
	t.Parallel()
	described := map[string]bool{}
	for _, o := range operations(everything()) {
		for _, f := range o.takes {
			described[f.name] = false
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	look := func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		reader, ok := call.Fun.(*ast.SelectorExpr)
		name, isText := call.Args[0].(*ast.BasicLit)
		if !ok || !isText || !slices.Contains([]string{"text", "given", "required", "flag", "list", "duration"}, reader.Sel.Name) {
			return true
		}
		field, err := strconv.Unquote(name.Value)
		if err != nil {
			t.Error(err)
		}
		if _, ok := described[field]; !ok {
			t.Errorf("the field %s of a body is read, but operations.go does not have it", field)
		}
		described[field] = true
		return true
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, look)
	}
	for field, read := range described {
		if !read {
			t.Errorf("operations.go has the field %s of a body, which nobody reads", field)
		}
	}
}

// TestTheDocumentFollowsTheSettings: it names the paths and the cookie that this server has,
// and is the same for the same ones.
func TestTheDocumentFollowsTheSettings(t *testing.T) {
	t.Parallel()
	c := everything()
	c.Prefix, c.CookieName, c.HealthPath, c.MetricsPath, c.JWKSPath = "/door", "my.session", "/up", "", ""
	text := string(OpenAPI(c))
	if text != string(OpenAPI(c)) {
		t.Error("it is another document each time")
	}
	var d struct {
		Paths      map[string]any
		Components struct {
			SecuritySchemes map[string]struct{ Name string }
			Headers         map[string]struct{ Schema struct{ Pattern string } }
		}
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	for path := range d.Paths {
		if !strings.HasPrefix(path, "/door/auth/") && !strings.HasPrefix(path, "/door/api/auth/") && !strings.HasPrefix(path, "/up") {
			t.Errorf("it has the path %s", path)
		}
	}
	if d.Paths["/up/ready"] == nil || d.Paths["/door/auth/openapi.json"] == nil {
		t.Errorf("it has the paths %v", slices.Sorted(maps.Keys(d.Paths)))
	}
	if got := d.Components.SecuritySchemes["cookie"].Name; got != "my.session" {
		t.Errorf("the cookie is %q", got)
	}
	if got := d.Components.Headers["SessionCookie"].Schema.Pattern; !strings.HasPrefix(got, `^my\.session=`) {
		t.Errorf("the cookie's header is %s", got)
	}
}

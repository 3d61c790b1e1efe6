package app

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"doorward/api"
)

// documentedAPI is the OpenAPI document of all doors that there can be.
func documentedAPI() string { return string(api.OpenAPI(everyDoor())) }

// TestTheOpenAPIDocumentIsCommitted compares docs/openapi.json with the table of doors and the
// types that are marshalled. DOORWARD_TEST_UPDATE=1 go test ./app -run OpenAPI writes it anew.
func TestTheOpenAPIDocumentIsCommitted(t *testing.T) {
	t.Parallel()
	compareGolden(t, filepath.Join("..", "docs", "openapi.json"), documentedAPI())
}

// TestTheOpenAPIDocumentIsServed at its door, to everybody, as other public things are; with
// the defaults it is the one in docs/.
func TestTheOpenAPIDocumentIsServed(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "jwt.algorithm=EdDSA")
	const path = "/auth/openapi.json"
	a := d.do("GET", path, bearer("stale"), cookie("stale")).want(http.StatusOK)
	if a.body != documentedAPI() {
		t.Errorf("with the defaults it serves another document than is in docs/: %.300s", a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("its type is %s", got)
	}
	if got := a.header.Get("Cache-Control"); got != "public, max-age=300" {
		t.Errorf("it may be kept: %s", got)
	}
	head := d.do("HEAD", path).want(http.StatusOK)
	if head.body != "" || head.header.Get("Etag") != a.header.Get("Etag") {
		t.Errorf("HEAD: %v, %q", head.header, head.body)
	}
	if got := d.do("GET", path, header("If-None-Match", a.header.Get("Etag"))).want(http.StatusNotModified).body; got != "" {
		t.Errorf("304 with %q", got)
	}
	if got := d.do("POST", path).refused(http.StatusMethodNotAllowed, "method not allowed").header.Get("Allow"); got != "GET, HEAD" {
		t.Errorf("allowed is %s", got)
	}
	d.restart("paths.prefix=/door", "names.cookie=other_session")
	d.do("GET", "/door/auth/openapi.json").want(http.StatusOK)
	for _, secret := range []string{d.dir, "127.0.0.1", "data_dir"} {
		if strings.Contains(a.body, secret) {
			t.Errorf("it tells %s", secret)
		}
	}
}

// TestTheOpenAPIDocumentIsOne: it is what the specification's own schema asks for, each schema
// in it is one of JSON Schema 2020-12, and what a schema cannot say holds as well.
func TestTheOpenAPIDocumentIsOne(t *testing.T) {
	t.Parallel()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	text, err := os.ReadFile(filepath.Join("testdata", "openapi", "schema-2022-10-07.json"))
	if err != nil {
		t.Fatal(err)
	}
	// The schema of the specification leaves open what a schema is; here it is JSON Schema's own.
	const root = `{"$id": "https://door.example/root", "$schema": "https://json-schema.org/draft/2020-12/schema",
		"$ref": "https://spec.openapis.org/oas/3.1/schema/2022-10-07",
		"$defs": {"schema": {"$dynamicAnchor": "meta", "$ref": "https://json-schema.org/draft/2020-12/schema"}}}`
	for at, schema := range map[string]string{"https://spec.openapis.org/oas/3.1/schema/2022-10-07": string(text), "https://door.example/root": root} {
		tree, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(at, tree); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("https://door.example/root")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(document string) error {
		tree, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(tree)
	}
	document := documentedAPI()
	if err := validate(document); err != nil {
		t.Error(err)
	}
	for good, bad := range map[string]string{
		`"openapi": "3.1.1"`: `"openapi": "3.0.1"`, `"in": "query"`: `"in": "body"`, `"type": "integer"`: `"type": "number of"`, `"operationId"`: `"operationID"`,
	} {
		if validate(strings.Replace(document, good, bad, 1)) == nil {
			t.Errorf("with %s it would pass as well", bad)
		}
	}
	refersAndNames(t, document)
}

// refersAndNames holds that each reference leads to something, that each component is
// referred to, and that each path declares the names in it.
func refersAndNames(t *testing.T, document string) {
	t.Helper()
	var d struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
			Security   []map[string][]string
		}
		Components map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		t.Fatal(err)
	}
	unused := map[string]bool{}
	for kind, all := range d.Components {
		for name := range all {
			unused["#/components/"+kind+"/"+name] = true
		}
	}
	there := maps.Clone(unused)
	delete(unused, "#/components/responses/MethodNotAllowed") // of no door
	for _, m := range regexp.MustCompile(`"\$ref": "([^"]+)"`).FindAllStringSubmatch(document, -1) {
		if !there[m[1]] {
			t.Errorf("%s leads nowhere", m[1])
		}
		delete(unused, m[1])
	}
	for path, methods := range d.Paths {
		for method, o := range methods {
			for _, alternative := range o.Security {
				for scheme := range alternative {
					if !there["#/components/securitySchemes/"+scheme] {
						t.Errorf("%s %s: there is no security scheme %s", method, path, scheme)
					}
					delete(unused, "#/components/securitySchemes/"+scheme)
				}
			}
			var named, declared []string
			for _, m := range regexp.MustCompile(`{([^}]+)}`).FindAllStringSubmatch(path, -1) {
				named = append(named, m[1])
			}
			for _, p := range o.Parameters {
				if p.In == "path" {
					declared = append(declared, p.Name)
				}
			}
			if !slices.Equal(named, declared) {
				t.Errorf("%s %s declares %v", method, path, declared)
			}
		}
	}
	if len(unused) > 0 {
		t.Errorf("nothing refers to %v", slices.Sorted(maps.Keys(unused)))
	}
}

// TestTheJudgeFindsWhatIsWrong: answers that differ in one thing from a good one.
func TestTheJudgeFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	law := lawOf(documentedAPI())
	good := func() dialogue {
		x := dialogue{method: "POST", path: "/auth/token", sent: copyOf(`{"client_id":"app","more":1}`), status: http.StatusOK, header: http.Header{}}
		x.header.Set("Content-Type", "application/json")
		x.header.Set("Cache-Control", "no-store")
		x.header.Set("X-Request-Id", "0123456789abcdef0123")
		x.body = []byte(`{"access_token":"a.b.c","refresh_token":"a.b.c","token_type":"Bearer","expires_in":60}`)
		return x
	}
	refused := func(status int, message string) dialogue {
		x := good()
		x.status, x.body = status, []byte(`{"error":"`+message+`","status":"error"}`)
		x.header.Set("Www-Authenticate", "Bearer")
		x.header.Set("Retry-After", "7")
		return x
	}
	for name, x := range map[string]dialogue{
		"good": good(), "401": refused(401, "token expired"), "429": refused(429, "too many requests"), "400": refused(400, "client_id: is required"),
	} {
		if err := law.judge(x); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, wrong := range map[string]func(x *dialogue){
		"status":             func(x *dialogue) { x.status = http.StatusCreated },
		"type":               func(x *dialogue) { x.header.Set("Content-Type", "text/plain") },
		"no request id":      func(x *dialogue) { x.header.Del("X-Request-Id") },
		"may be kept":        func(x *dialogue) { x.header.Set("Cache-Control", "public") },
		"a field more":       func(x *dialogue) { x.body = []byte(strings.Replace(string(x.body), "{", `{"more":1,`, 1)) },
		"a field less":       func(x *dialogue) { x.body = []byte(strings.Replace(string(x.body), "expires_in", "expires", 1)) },
		"another type":       func(x *dialogue) { x.body = []byte(strings.Replace(string(x.body), "60", `"60"`, 1)) },
		"no JSON":            func(x *dialogue) { x.body = x.body[1:] },
		"a request refused":  func(x *dialogue) { x.sent = copyOf(`{"client_id":"usr_1"}`) },
		"no such door":       func(x *dialogue) { x.path = "/auth/tokens" },
		"another sentence":   func(x *dialogue) { *x = refused(401, "token is expired") },
		"no challenge":       func(x *dialogue) { *x = refused(401, "token expired"); x.header.Del("Www-Authenticate") },
		"no time":            func(x *dialogue) { *x = refused(429, "too many requests"); x.header.Del("Retry-After") },
		"a time in words":    func(x *dialogue) { *x = refused(429, "too many requests"); x.header.Set("Retry-After", "soon") },
		"no field is named":  func(x *dialogue) { *x = refused(400, "that is wrong") },
		"an error of a door": func(x *dialogue) { *x = refused(500, "oops") },
	} {
		x := good()
		if wrong(&x); law.judge(x) == nil {
			t.Errorf("%s: nothing was found wrong", name)
		}
	}
}

// TestBodiesAreReadAsTheOpenAPIDocumentSays: a field of another type than it has there, or a
// required one that is missing, is refused by its name.
func TestBodiesAreReadAsTheOpenAPIDocumentSays(t *testing.T) {
	t.Parallel()
	d := machineDoor(t)
	d.do("POST", "/api/auth/users", apiKey(machineKey), jsonBody(firstUserBody)).want(http.StatusCreated)
	root, _ := d.signIn("root", rootPassword)
	type property struct {
		Ref  string `json:"$ref"`
		Type string
	}
	var document struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Properties map[string]property
						Required   []string
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(d.do("GET", "/auth/openapi.json").want(http.StatusOK).body), &document); err != nil {
		t.Fatal(err)
	}
	fields := 0
	for path, methods := range document.Paths {
		for method, o := range methods {
			body := o.RequestBody.Content["application/json"].Schema
			ask := func(field string, value any) {
				t.Helper()
				sent := map[string]any{}
				for _, name := range body.Required {
					sent[name] = "x"
				}
				if sent[field] = value; value == nil {
					delete(sent, field)
				}
				who := bearer(root)
				if path == "/auth/token" {
					who = bearer(machineToken)
				}
				a := d.do(strings.ToUpper(method), strings.NewReplacer("{id}", "usr_none").Replace(path), who, jsonOf(sent)).want(http.StatusBadRequest)
				if !strings.HasPrefix(a.str("error"), field+": ") {
					t.Errorf("%s %s with %v: %s", method, path, sent, a.body)
				}
			}
			for name, p := range body.Properties {
				fields++
				switch {
				case p.Ref != "" && p.Type == "": // a string, as all of them are
					ask(name, 1)
				case p.Type == "boolean", p.Type == "array":
					ask(name, "x")
				default:
					t.Errorf("%s %s: nobody has said how to test %s, of type %s", method, path, name, p.Type)
				}
			}
			for _, name := range body.Required {
				ask(name, nil)
			}
		}
	}
	if fields < 30 {
		t.Errorf("only %d fields were tried", fields)
	}
}

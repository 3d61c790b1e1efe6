package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"doorward"
	"doorward/gate"
)

// contractVersion is the version of both contracts. It changes when something is taken away
// that a client may rely on, and has nothing to do with the program's own.
const contractVersion = "1.0"

// document is OpenAPI 3.1 of the doors; https://spec.openapis.org/oas/v3.1.1.html says what
// each part means.
type document struct {
	OpenAPI    string          `json:"openapi"`
	Info       node            `json:"info"`
	Tags       []node          `json:"tags"`
	Paths      map[string]node `json:"paths"`
	Components node            `json:"components"`
}

// OpenAPI is the document of the doors that c has: JSON, the same for the same names and
// paths. Nobody need stand behind the doors.
func OpenAPI(c Config) []byte { return describe(c, Doors(c)) }

func describe(c Config, doors []gate.Door) []byte {
	s := newSchemas()
	d := document{
		OpenAPI: "3.1.1",
		Info: node{
			"title": "Doorward", "version": contractVersion, "description": documentIntro,
			"license": node{"name": "Apache 2.0", "identifier": "Apache-2.0"},
		},
		Tags: []node{
			{"name": "machines", "description": "Tokens for programs."},
			{"name": "people", "description": "Sign-in, and what is the caller's own."},
			{"name": "administration", "description": "Users and the audit log."},
			{"name": "keys", "description": "API keys."},
			{"name": "tenants", "description": "Organizations, workspaces and who is in them."},
			{"name": "server", "description": "The server itself."},
		},
		Paths: map[string]node{},
	}
	rows := map[string]gate.Door{}
	for _, row := range doors {
		rows[row.Method+" "+row.Pattern] = row
	}
	for _, o := range operations(c) {
		row, ok := rows[o.method+" "+o.pattern]
		if !ok {
			continue // a test holds that there is none
		}
		if d.Paths[o.pattern] == nil {
			d.Paths[o.pattern] = node{}
		}
		d.Paths[o.pattern][strings.ToLower(o.method)] = o.describe(s, row)
	}
	d.Components = node{
		"securitySchemes": securitySchemes(c.CookieName), "responses": refusals(s), "headers": headers(s, c.CookieName),
		"parameters": node{
			"Organization": node{"name": "X-Organization-ID", "in": "header", "schema": s.term("Slug"), "description": "The organization that the request acts in; for superadmins."},
			"Workspace":    node{"name": "X-Workspace-ID", "in": "header", "schema": s.term("Slug"), "description": "The workspace that the request acts in, one of the caller's."},
		},
		"schemas": s.known,
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil { // only a type of ours that cannot be marshalled, which a test would have found
		panic(err)
	}
	return text.Bytes()
}

const documentIntro = `Both contracts: the machine's (tokens for programs) and the person's (sign-in and administration).

- One credential decides: Authorization: Bearer, else X-API-Key, else the session cookie. One that is present and bad is a refusal.
- A refusal is {"error": "...", "status": "error"}. The sentences of 401, 403, 429 and 503 are promises; a 400 names the field and what is wrong with it.
- Bodies are JSON of at most 64 KiB. Names match exactly, none may stand twice, and unknown ones are ignored.
- GET stands for HEAD as well. Any other method is answered by the response MethodNotAllowed, with Allow, and any other path beside these by NotFound.
- What acts on a cookie, and what gives one, must come from a page of the same origin or a trusted one.`

func (o operation) describe(s schemas, row gate.Door) node {
	op := node{
		"operationId": o.id, "tags": []string{o.tag}, "summary": o.about, "security": security(row),
		"x-doorward-needs": row.Need.String(), "x-doorward-reads": row.Reads.String(),
	}
	var parameters []node
	for part := range strings.SplitSeq(o.pattern, "/") {
		if name := strings.Trim(part, "{}"); name != part {
			parameters = append(parameters, node{"name": name, "in": "path", "required": true, "schema": s.term("PathID")})
		}
	}
	for _, q := range o.query {
		p := node{"name": q.name, "in": "query", "schema": s.input(input{is: q.is})}
		if q.about != "" {
			p["description"] = q.about
		}
		parameters = append(parameters, p)
	}
	if row.Need != doorward.NeedNothing {
		for _, name := range []string{"Organization", "Workspace"} {
			parameters = append(parameters, node{"$ref": "#/components/parameters/" + name})
		}
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	if o.takes != nil {
		body := node{"required": true, "content": node{"application/json": node{"schema": s.body(o.takes)}}}
		if !o.asJSON {
			body["description"] = "Read as JSON whatever Content-Type says."
		}
		op["requestBody"] = body
	}
	responses := node{}
	for _, status := range o.refused(row) {
		responses[strconv.Itoa(status)] = node{"$ref": "#/components/responses/" + refusalName(status)}
	}
	for status, g := range o.gives {
		responses[strconv.Itoa(status)] = g.describe(s, status)
	}
	op["responses"] = responses
	return op
}

func (g given) describe(s schemas, status int) node {
	heads, content := common(), node{}
	for name, h := range g.headers {
		heads[name] = h
	}
	switch {
	case g.body != nil:
		content["application/json"] = node{"schema": s.answer(g.body)}
	case g.says != nil:
		content["application/json"] = node{"schema": always(g.says)}
	}
	for kind, schema := range g.other {
		content[kind] = node{"schema": schema}
	}
	answer := node{"description": http.StatusText(status), "headers": heads}
	if len(content) > 0 {
		answer["content"] = content
	}
	return answer
}

// always is the schema of a flat struct whose fields are what they are in v.
func always(v any) node {
	properties, required := node{}, []string{}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		label := f.Tag.Get("json")
		properties[label] = constant(reflect.ValueOf(v).FieldByIndex(f.Index).Interface())
		required = append(required, label)
	}
	return node{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

// refused are the statuses with which a door refuses.
func (o operation) refused(row gate.Door) []int {
	// The form of a request is judged at every door, a body that none would read too, and so is its origin in open mode.
	all := []int{http.StatusBadRequest, http.StatusForbidden, http.StatusRequestHeaderFieldsTooLarge, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
	if row.Reads != gate.ReadsNothing {
		all = append(all, http.StatusSeeOther, http.StatusUnauthorized, http.StatusServiceUnavailable)
	}
	if row.Need != doorward.NeedNothing {
		all = append(all, http.StatusTooManyRequests) // guesses at a key
	}
	if o.takes != nil {
		all = append(all, http.StatusRequestTimeout)
	}
	if strings.Contains(o.pattern, "{") {
		all = append(all, http.StatusNotFound)
	}
	return append(all, o.refuses...)
}

// security says which credentials a door takes, as alternatives.
func security(row gate.Door) []node {
	with := func(name string) node { return node{name: []string{}} }
	var all []node
	switch {
	case row.Reads == gate.ReadsNothing:
		return []node{}
	case row.Need == doorward.NeedAccessToken || row.Reads == gate.ReadsBearerItself:
		return []node{with("bearer")}
	case row.Reads == gate.ReadsItself, row.Need == doorward.NeedPerson:
		return []node{with("bearer"), with("cookie")}
	}
	all = append(all, with("bearer"), with("apiKey"))
	if row.Reads == gate.ReadsAll {
		all = append(all, with("cookie"))
	}
	if row.NoCredential != nil {
		all = append(all, with("setupCode"), node{}) // no credential at all in open mode
	}
	return all
}

func securitySchemes(cookie string) node {
	return node{
		"bearer":    node{"type": "http", "scheme": "bearer", "description": "An access token (a JWT), or an API key or API token as itself where x-doorward-needs does not ask for an access token."},
		"apiKey":    node{"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key or API token."},
		"cookie":    node{"type": "apiKey", "in": "cookie", "name": cookie, "description": "The cookie of a person's session."},
		"setupCode": node{"type": "apiKey", "in": "header", "name": "X-Setup-Code", "description": "The one-time code that the console shows while there is no user."},
	}
}

// common are the headers that every answer has.
func common() node {
	return node{"X-Request-ID": header("RequestID"), "Cache-Control": header("NotKept")}
}

func header(name string) node { return node{"$ref": "#/components/headers/" + name} }

func headers(s schemas, cookie string) node {
	text := func(pattern, about string) node {
		return node{"required": true, "schema": node{"type": "string", "pattern": pattern}, "description": about}
	}
	set := func(value, about string) node {
		return text("^"+regexp.QuoteMeta(cookie)+"="+value+"; Path=/;( Domain=[a-z0-9.-]+;)? Max-Age=[0-9]+; HttpOnly; (Secure; )?SameSite=Lax$", about)
	}
	ended := set("", "The session cookie is cleared, where it was a cookie that was shown.")
	delete(ended, "required")
	return node{
		"RequestID":     text("^[0-9a-f]{20}$", "By which the log's lines about the request are found."),
		"NotKept":       text("^no-store$", "Nobody may keep the answer."),
		"Cacheable":     text("^"+cacheable+"$", "Anybody may keep the answer for a while."),
		"ETag":          text(`^"[A-Za-z0-9_-]+"$`, "For If-None-Match."),
		"Allow":         node{"schema": node{"type": "string", "pattern": "^[A-Z]+(, [A-Z]+)*$"}, "description": "The methods that there are; not said of CONNECT and TRACE."},
		"Location":      text("^/", "The page for people."),
		"Challenge":     text("^Bearer$", "RFC 6750, section 3."),
		"RetryAfter":    node{"required": true, "schema": s.term("Seconds"), "description": "In how many seconds it makes sense to try again."},
		"SessionCookie": set(`[^;]+`, "The cookie of the session."),
		"EndedCookie":   ended,
	}
}

// refusalName names the component of a refusal.
func refusalName(status int) string {
	return strings.ReplaceAll(http.StatusText(status), " ", "")
}

// refusals are all the answers with which a request goes no further, with the sentences
// that the contract promises.
func refusals(s schemas) node {
	all := node{}
	add := func(status int, about string, sentence node, examples []string, more node) {
		heads := common()
		for name, h := range more {
			heads[name] = h
		}
		media := node{"schema": node{"allOf": []node{s.term("Refusal"), {"properties": node{"error": sentence}}}}}
		if examples == nil {
			if one, ok := sentence["enum"].([]string); ok {
				examples = one
			}
		}
		if examples != nil {
			shown := node{}
			for i, e := range examples {
				shown[fmt.Sprintf("e%d", i+1)] = node{"value": node{"error": e, "status": "error"}}
			}
			media["examples"] = shown
		}
		all[refusalName(status)] = node{"description": about, "headers": heads, "content": node{"application/json": media}}
	}
	one := func(errors ...*doorward.Error) node {
		var sentences []string
		for _, e := range errors {
			sentences = append(sentences, e.Message)
		}
		return node{"enum": sentences}
	}
	retry := node{"Retry-After": header("RetryAfter")}
	add(http.StatusBadRequest, "Names the field and what is wrong with it.", node{"pattern": "^[A-Za-z][A-Za-z_-]*: "},
		[]string{"username: is required", "role: must be one of superadmin, admin, editor, viewer", "body: must be a JSON object"}, nil)
	add(http.StatusUnauthorized, "No credential, or one that is not good.",
		one(doorward.ErrTokenRequired, doorward.ErrInvalidToken, doorward.ErrTokenExpired, doorward.ErrTokenBlacklisted, doorward.ErrInvalidCredentials),
		nil, node{"WWW-Authenticate": header("Challenge"), "Set-Cookie": header("EndedCookie")})
	add(http.StatusForbidden, "Known, but not allowed.", one(doorward.ErrForbidden, doorward.ErrCrossOrigin, doorward.ErrPasswordChangeRequired), nil, nil)
	add(http.StatusNotFound, "There is none, or the caller may not know of it.", node{"pattern": " not found$"}, []string{"user not found", "page not found"}, nil)
	add(http.StatusMethodNotAllowed, "No such method here.", node{"enum": []string{"method not allowed"}}, nil, node{"Allow": header("Allow")})
	add(http.StatusRequestTimeout, "The body did not arrive in time.", node{"enum": []string{"body: did not arrive in time"}}, nil, nil)
	add(http.StatusConflict, "What is kept does not allow it.", node{}, []string{"username admin is taken"}, nil)
	add(http.StatusRequestEntityTooLarge, "The body is too large.", node{"enum": []string{"body: must not exceed 64 KiB"}}, nil, nil)
	add(http.StatusUnsupportedMediaType, "The body is in a form that is not read.", node{"enum": []string{"Content-Type: must be application/json", "Content-Encoding: must be absent"}}, nil, nil)
	add(http.StatusTooManyRequests, "Somebody has guessed too often, or asks for too much at once.", one(doorward.ErrAccountLocked, doorward.ErrTooManyRequests), nil, retry)
	add(http.StatusRequestHeaderFieldsTooLarge, "More header lines than anybody reads.", node{"pattern": "^headers: must not be more than [0-9]+$"}, nil, nil)
	add(http.StatusServiceUnavailable, "Nobody is set up yet, or a fact could not be read.", one(doorward.ErrSetupRequired, doorward.ErrUnavailable), nil, retry)
	heads := common()
	heads["Location"] = header("Location")
	heads["Set-Cookie"] = header("EndedCookie")
	all[refusalName(http.StatusSeeOther)] = node{"description": "A browser on its way to a page that must sign in, or set up, is sent to the page for it.", "headers": heads}
	return all
}

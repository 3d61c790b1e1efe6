package api

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"doorward"
)

// node is a part of the document: an object of OpenAPI 3.1, or a schema of JSON Schema
// 2020-12, which is what OpenAPI 3.1 uses.
type node map[string]any

// terms are the kinds of values that both contracts speak of, each with what holds of every
// one of them. A field names its own with the tag is; see schemas.
func terms() map[string]node {
	text := func(pattern, about string) node {
		return node{"type": "string", "pattern": pattern, "description": about}
	}
	visible := func(about string) node {
		return node{"type": "string", "minLength": 1, "maxLength": 128, "description": about}
	}
	const client = `[A-Za-z0-9._:@/-]`
	return map[string]node{
		"UserID":       text(`^usr_[A-Za-z0-9_-]+$`, "The id of a person."),
		"NoneOrUserID": text(`^(usr_[A-Za-z0-9_-]+)?$`, "The id of a person; empty where there is none."),
		"KeyID":        text(`^key_[A-Za-z0-9_-]+$`, "The id of an API key."),
		"SessionID":    text(`^[A-Za-z0-9_-]{1,256}$`, "The id of a session."),
		"Subject":      text(`^`+client+`{1,128}$`, "Who it is: the id of a person (usr_...) or of a key (key_...), or a client id."),
		"ClientID":     node{"type": "string", "pattern": `^` + client + `{1,128}$`, "not": node{"pattern": "^(usr_|key_)"}, "description": "What a client calls itself. It grants nothing that the credential has not."},
		"Username":     text(`^[A-Za-z0-9._@+-]{1,64}$`, "Compared without regard to upper and lower case."),
		"PersonsName":  text(`^([A-Za-z0-9._@+-]{0,64}|command line)$`, "A username; empty for who is no person."),
		"Password":     node{"type": "string", "minLength": 1, "maxLength": 256, "description": "Any characters."},
		"NewPassword":  node{"type": "string", "minLength": 1, "maxLength": 256, "description": "Any characters: as many as the setting passwords.min_length asks for (8 unless set), not the username and none of the common ones."},
		"Role":         node{"type": "string", "enum": reversed(doorward.Roles[:]), "description": "Each may do what those after it may."},
		"NoneOrRole":   node{"type": "string", "enum": append(reversed(doorward.Roles[:]), ""), "description": "Empty where nobody knows any more."},
		"Kind":         node{"type": "string", "enum": []doorward.Kind{doorward.KindUser, doorward.KindKey, doorward.KindClient}},
		"SessionKind":  node{"type": "string", "enum": []doorward.Kind{doorward.KindUser, doorward.KindClient}, "description": "A person's, or a machine's."},
		"ActorKind":    node{"type": "string", "enum": []doorward.Kind{doorward.KindUser, doorward.KindKey, doorward.KindClient, doorward.KindAnonymous, ""}, "description": "Empty for the command line, the server itself and who is not signed in."},
		"Outcome":      node{"type": "string", "enum": []doorward.Outcome{doorward.OutcomeDone, doorward.OutcomeFailed, doorward.OutcomeRefused}},
		"Action":       text(`^[a-z_]+\.[a-z_]+$`, "noun.verb"),
		"Slug":         text(`^[a-z0-9-]{1,63}$`, "The id of an organization or a workspace."),
		"NoneOrSlug":   text(`^[a-z0-9-]{0,63}$`, "The id of an organization; empty for what is no organization's."),
		"Slugs":        text(`^([a-z0-9-]{1,63}(,[a-z0-9-]{1,63})*)?$`, "Ids of workspaces, with commas between them."),
		"PlaceName":    visible("What people call an organization or a workspace."),
		"KeyName":      visible("What people call an API key."),
		"KeyPrefix":    text(`^[A-Za-z0-9_-]{1,40}$`, "The first characters of a key, by which it can be recognized."),
		"APIKey":       text(`^[A-Za-z0-9_-]{1,32}[0-9a-f]{72}$`, "The key itself: a prefix, 64 hexadecimal digits and 8 of checksum. It is shown this once."),
		"Token":        node{"type": "string", "pattern": `^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`, "maxLength": doorward.MaxTokenLen, "description": "A JWT (RFC 7519)."},
		"ID":           text(`^[A-Za-z0-9_-]{1,256}$`, "Of a token: no two have the same."),
		"RequestID":    text(`^([0-9a-f]{20})?$`, "The X-Request-ID of the answer; empty for what no request has done."),
		"PageSize":     node{"type": "integer", "minimum": 1, "maximum": pageSize, "default": pageSize},
		"PathID":       node{"type": "string", "minLength": 1},
		"InviteCode":   node{"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$", "description": "What stands behind the # of an invite link."},
		"Search":       node{"type": "string", "maxLength": 4 * 128},
		"AuditFormat":  node{"enum": []string{"json", "csv"}},
		"Time":         node{"type": "string", "format": "date-time", "pattern": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$`, "description": "RFC 3339, in UTC, to the millisecond at most."},
		"NoneOrTime":   node{"type": "string", "pattern": `^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z)?$`, "description": "RFC 3339, in UTC; empty where it is not known."},
		"AnyTime":      node{"type": "string", "format": "date-time", "description": "RFC 3339, in any zone."},
		"UnixTime":     node{"type": "integer", "minimum": 0, "maximum": 1<<53 - 1, "description": "Seconds since 1970 (Unix)."},
		"Seconds":      node{"type": "integer", "minimum": 0, "maximum": int64(doorward.MaxDuration / time.Second)},
		"HTTPStatus":   node{"type": "integer", "minimum": 400, "maximum": 599},
		"Count":        node{"type": "integer", "minimum": 0, "maximum": 1<<53 - 1},
		"Duration":     text(`^(0|\+?([0-9]+d)?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*)$`, "Like 90s, 24h, 7d or 1d12h."),
		"Mark":         node{"type": "string", "maxLength": 4096, "description": "Where the next page begins, to be given as the parameter after; empty where there is none."},
		"HealthStatus": node{"type": "string", "enum": []string{"ok", "error"}},
		"JWK": {
			"type": "object", "description": "A public key (RFC 7517, RFC 8037).", "additionalProperties": false,
			"properties": node{
				"kty": node{"type": "string", "enum": []string{"OKP", "EC"}}, "crv": node{"type": "string", "enum": []string{"Ed25519", "P-256"}},
				"use": node{"type": "string", "const": "sig"}, "alg": node{"type": "string", "enum": []doorward.Algorithm{doorward.EdDSA, doorward.ES256}}, "kid": node{"type": "string", "minLength": 1},
				"x": node{"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"}, "y": node{"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"},
			},
			"required": []string{"kty", "crv", "use", "alg", "kid", "x"},
		},
		"Refusal": {
			"type": "object", "description": "Why a request went no further.", "additionalProperties": false, "required": []string{"error", "status"},
			"properties": node{"error": node{"type": "string", "minLength": 1}, "status": node{"type": "string", "const": "error"}},
		},
	}
}

// reversed lists roles from the highest rank down.
func reversed(roles []doorward.Role) []doorward.Role {
	var down []doorward.Role
	for i := range roles {
		down = append(down, roles[len(roles)-1-i])
	}
	return down
}

// schemas makes schemas of the types that are marshalled, so that what is written about an
// answer cannot say anything else than the answer. Beside its json tag a field may have
//
//	is:"Slug"      it holds one of terms; a list or a pointer, several or perhaps one
//	is:"Slug,null" and a list of it may be null
//	is:"=Bearer"   it always holds this
//
// A type becomes a component under its own name, the first time that it is met.
type schemas struct {
	known map[string]node // the components
	terms map[string]node
}

func newSchemas() schemas { return schemas{map[string]node{}, terms()} }

func ref(name string) node { return node{"$ref": "#/components/schemas/" + name} }

// answer is the schema of what v is marshalled to.
func (s schemas) answer(v any) node { return s.component(reflect.TypeOf(v)) }

// component is a reference to the schema of a struct.
func (s schemas) component(t reflect.Type) node {
	name := strings.TrimSuffix(t.Name(), "Body")
	name = strings.ToUpper(name[:1]) + name[1:]
	if _, ok := s.known[name]; !ok {
		s.known[name] = nil // met
		properties, required := node{}, []string{}
		for _, f := range reflect.VisibleFields(t) {
			label, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous {
				continue // its fields are visible themselves
			}
			properties[label] = s.field(f)
			if option != "omitempty" {
				required = append(required, label)
			}
		}
		s.known[name] = node{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	}
	return ref(name)
}

func (s schemas) field(f reflect.StructField) node {
	is, option, _ := strings.Cut(f.Tag.Get("is"), ",")
	value := s.value(f.Type, is)
	if option == "null" || f.Type.Kind() == reflect.Pointer {
		return node{"oneOf": []node{value, {"type": "null"}}}
	}
	return value
}

// value is the schema of a value of type t, being what is names, if anything.
func (s schemas) value(t reflect.Type, is string) node {
	switch {
	case t.Kind() == reflect.Pointer:
		return s.value(t.Elem(), is)
	case t.Kind() == reflect.Slice:
		return node{"type": "array", "items": s.value(t.Elem(), is)}
	case strings.HasPrefix(is, "="):
		if t.Kind() == reflect.Bool {
			return constant(is == "=true")
		}
		return constant(is[1:])
	case is != "":
		return s.term(is)
	case t.Kind() == reflect.Struct:
		return s.component(t)
	case t.Kind() == reflect.Bool:
		return node{"type": "boolean"}
	case t.Kind() == reflect.String:
		return node{"type": "string"}
	}
	panic(fmt.Sprintf("api: nobody has said what a field of type %s is", t)) // found by the first test
}

// constant is the schema of what is always v, a text or a truth. Its type is said beside it,
// since some who make clients look for one.
func constant(v any) node {
	if _, ok := v.(bool); ok {
		return node{"type": "boolean", "const": v}
	}
	return node{"type": "string", "const": v}
}

// term is a reference to one of terms.
func (s schemas) term(name string) node {
	if _, ok := s.known[name]; !ok {
		is, ok := s.terms[name]
		if !ok {
			panic("api: there is no term " + name)
		}
		s.known[name] = is
	}
	return ref(name)
}

// input is one field of a body, or one parameter of a query.
type input struct {
	name, is string // is: a term, true or false for "bool", several for "[]Slug"
	required bool
	about    string
	least    int // of several
}

func need(name, is string) input       { return input{name: name, is: is, required: true} }
func may(name, is, about string) input { return input{name: name, is: is, about: about} }

func (s schemas) input(i input) node {
	several, is := strings.HasPrefix(i.is, "[]"), strings.TrimPrefix(i.is, "[]")
	var value node
	if is == "bool" {
		value = node{"type": "boolean"}
	} else {
		value = s.term(is)
	}
	if several {
		value = node{"type": "array", "items": value}
		if i.least > 0 {
			value["minItems"] = i.least
		}
	}
	if i.about != "" {
		value["description"] = i.about
	}
	return value
}

// body is the schema of a request's body. What else stands in it is ignored.
func (s schemas) body(fields []input) node {
	properties, required := node{}, []string{}
	for _, f := range fields {
		properties[f.name] = s.input(f)
		if f.required {
			required = append(required, f.name)
		}
	}
	return node{"type": "object", "properties": properties, "required": required}
}

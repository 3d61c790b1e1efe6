package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"doorward"
	"doorward/gate"
)

// The seeds are run as ordinary tests; go test -fuzz FuzzBody ./api goes on from them.

// FuzzBody: what is read as a JSON object is one, by encoding/json's word, with the same
// fields, each there once; everything else is refused, as the request's fault.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		"", " ", "{}", "{} ", "\n{}\r\n\t", `{"a":"b"}`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":1}{}`, `{"a":1}x`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a" "b"}`,
		`{"a":1 "b":2}`, `{a:1}`, `{1:2}`, `{"a":01}`, `{"a":nul}`, `{"a":null}`, `{"a":true,"b":false}`, `{"a":["x","y"],"b":[],"c":[1]}`, `[]`, `null`, `"x"`, `1`,
		`{"a":"\ud800"}`, `{"\ud800":1,"\ud801":2}`, `{"\u0061":1,"a":2}`, "{\"a\":\"\xff\"}", "\xef\xbb\xbf{}", `{"a":"\q"}`, "{\"a\":\"\n\"}", `{"A":1,"a":2}`, `{"":""}`,
		`{"a":1e999}`, `{"a":-0}`, `{"a":{"b":[{"c":[]}]}}`, `{"a":[}`, `{"a":"x`, `{`, `}`, `{"a":1]`, `{"a":tru}`, `{"a":t}`, `{"a":f,"b":1}`, "{\"a\":1}\x00", `{"a":1}//`,
		strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), `{"a":` + strings.Repeat("[", 12000) + strings.Repeat("]", 12000) + `}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := parseObject(body)
		var want map[string]json.RawMessage
		good := utf8.Valid(body) && json.Unmarshal(body, &want) == nil && want != nil
		if (err == nil) != (good && len(want) == len(topNames(body))) {
			t.Fatalf("%q: %v; as encoding/json reads it: %v", body, err, want)
		}
		if err != nil {
			if o != nil || doorward.Refusal(err).Code != doorward.CodeInvalid || !strings.HasPrefix(err.Error(), "body: ") {
				t.Errorf("%q: %v, %v", body, o, err)
			}
			return
		}
		if !slices.Equal(slices.Sorted(maps.Keys(o)), slices.Sorted(maps.Keys(want))) {
			t.Errorf("%q: %v", body, o)
		}
		for name := range o {
			holdsForField(t, o, want, name)
		}
		if again, err := parseObject(append(slices.Clone(body), " \r\n\t"...)); err != nil || !reflect.DeepEqual(again, o) {
			t.Errorf("%q: with white space after it %v, %v", body, again, err)
		}
		if _, err := parseObject(append(slices.Clone(body), 'x')); err == nil {
			t.Errorf("%q is taken with something after it", body)
		}
	})
}

// holdsForField reads a field as each kind of thing that a field may be.
func holdsForField(t *testing.T, o object, want map[string]json.RawMessage, name string) {
	t.Helper()
	var v any
	if err := json.Unmarshal(want[name], &v); err != nil {
		return // a number beyond float64, which no field of ours holds
	}
	s, err := o.text(name)
	if is, ok := v.(string); ok != (err == nil) || s != is {
		t.Errorf("%s as a text: %q, %v; it is %#v", name, s, err, v)
	}
	if g, e := o.given(name); g != s || (e == nil) != (err == nil) {
		t.Errorf("%s as a text that must be there: %q, %v", name, g, e)
	}
	if r, e := o.required(name); (e == nil) != (err == nil && s != "") || e == nil && r != s {
		t.Errorf("%s as a text that is required: %q, %v", name, r, e)
	}
	b, err := o.flag(name)
	if is, ok := v.(bool); ok != (err == nil) || ok && (b == nil || *b != is) {
		t.Errorf("%s as a flag: %v, %v; it is %#v", name, b, err, v)
	}
	l, err := o.list(name)
	is, ok := v.([]any)
	var texts []string
	for _, item := range is {
		text, isText := item.(string)
		texts, ok = append(texts, text), ok && isText
	}
	if ok != (err == nil) || ok && (l == nil || !slices.Equal(l, texts)) {
		t.Errorf("%s as a list: %q, %v; it is %#v", name, l, err, v)
	}
}

// topNames returns the names in valid JSON that is an object, written out, in order.
func topNames(body []byte) (names []string) {
	depth, name := 0, false
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			depth++
			name = depth == 1
		case '}', ']':
			depth--
		case ',':
			name = depth == 1
		case '"':
			from := i
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
			if name && i < len(body) {
				names = append(names, string(body[from:i+1]))
			}
			name = false
		}
	}
	return names
}

// FuzzBodyOfARequest: whatever is sent, however it is called, the answer is an object or a
// refusal that is the request's fault and repeats nothing of what was sent.
func FuzzBodyOfARequest(f *testing.F) {
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", "text/plain", "", "application/x-www-form-urlencoded", "application/json;", "application/jsonx", "Application/JSON"} {
		f.Add([]byte(`{"username":"a"}`), kind, "", 0)
		f.Add([]byte(`{"username":"a"}`), kind, "gzip", 0)
		f.Add([]byte(`{"username":"a"`), kind, "identity", gate.MaxBody)
	}
	f.Add([]byte(`{"username":"the-secret-in-it"`), "application/json", "", 1)
	f.Fuzz(func(t *testing.T, body []byte, kind, encoding string, padding int) {
		body = append(body, bytes.Repeat([]byte(" "), max(0, min(padding, 2*gate.MaxBody)))...)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header["Content-Type"], r.Header["Content-Encoding"] = []string{kind}, []string{encoding}
		loose, err := readAny(httptest.NewRecorder(), r)
		var e *doorward.Error
		switch {
		case err == nil && (len(body) > gate.MaxBody || loose == nil):
			t.Errorf("%d bytes are taken as %v", len(body), loose)
		case err != nil && (!errors.As(err, &e) || loose != nil):
			t.Errorf("%v, %v", loose, err)
		case err != nil && !slices.Contains([]doorward.Code{doorward.CodeInvalid, doorward.CodeTooLarge, doorward.CodeUnsupported}, e.Code):
			t.Errorf("refused by %v", err)
		case encoding != "" && !strings.EqualFold(encoding, "identity"):
			if e == nil || e.Code != doorward.CodeUnsupported {
				t.Errorf("encoded as %q: %v", encoding, err)
			}
		case len(body) > gate.MaxBody:
			if e == nil || e.Code != doorward.CodeTooLarge {
				t.Errorf("%d bytes: %v", len(body), err)
			}
		}
		if err != nil && strings.Contains(err.Error(), "the-secret-in-it") {
			t.Errorf("the refusal says %v", err)
		}

		r = httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header["Content-Type"], r.Header["Content-Encoding"] = []string{kind}, []string{encoding}
		strict, err := readJSON(httptest.NewRecorder(), r)
		if err == nil && !reflect.DeepEqual(strict, loose) {
			t.Errorf("called %q it is %v, else %v", kind, strict, loose)
		}
		// A page of another site can send these three without asking (Fetch, "CORS-safelisted request-header").
		simple := strings.ToLower(strings.TrimSpace(strings.Split(kind, ";")[0]))
		if err == nil && slices.Contains([]string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"}, simple) {
			t.Errorf("a body called %q is taken as JSON", kind)
		}
	})
}

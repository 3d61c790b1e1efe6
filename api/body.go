package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"doorward"
)

// maxBody is the most that a body may hold, in bytes.
const maxBody = 64 << 10

// object is a JSON object as it was sent: names match exactly (RFC 8259 knows no other
// way, encoding/json does), no name stands twice.
type object map[string]json.RawMessage

// readJSON reads the body of a request that must say that it is JSON. A page of another
// site can send a body of some other type without asking first, this one it cannot.
func readJSON(w http.ResponseWriter, r *http.Request) (object, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" || len(r.Header.Values("Content-Type")) > 1 {
		return nil, &doorward.Error{Code: doorward.CodeUnsupported, Message: "Content-Type: must be application/json"}
	}
	return readAny(w, r)
}

// readAny reads a body as JSON whatever its type says, for doors that act on no cookie.
func readAny(w http.ResponseWriter, r *http.Request) (object, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, &doorward.Error{Code: doorward.CodeUnsupported, Message: "Content-Encoding: must be absent"}
	}
	if r.ContentLength > maxBody {
		return nil, errTooLarge // without waiting for it
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			return nil, errTooLarge
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &doorward.Error{Code: doorward.CodeTimeout, Message: "body: did not arrive in time"}
		}
		return nil, doorward.Invalid("body", "could not be read to its end")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, doorward.Invalid("body", "must be a JSON object")
	}
	return parseObject(body)
}

var errTooLarge = &doorward.Error{Code: doorward.CodeTooLarge, Message: "body: must not exceed 64 KiB"}

func parseObject(body []byte) (object, error) {
	if !utf8.Valid(body) {
		return nil, doorward.Invalid("body", "is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, doorward.Invalid("body", "must be a JSON object")
	}
	o := object{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, doorward.Invalid("body", "is not valid JSON")
		}
		if _, twice := o[name]; twice {
			return nil, doorward.Invalid("body", "gives a field twice")
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, doorward.Invalid("body", "is not valid JSON")
		}
		o[name] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, doorward.Invalid("body", "is not valid JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, doorward.Invalid("body", "has something after the JSON object")
	}
	return o, nil
}

// text reads a string field; absent is empty. null is not a string.
func (o object) text(name string) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", nil
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", doorward.Invalid(name, "must be a string")
	}
	return s, nil
}

// given reads a string field that must be there, though it may be empty.
func (o object) given(name string) (string, error) {
	if _, ok := o[name]; !ok {
		return "", doorward.Invalid(name, "is required")
	}
	return o.text(name)
}

// required reads a string field that must be there and not be empty.
func (o object) required(name string) (string, error) {
	s, err := o.text(name)
	if err == nil && s == "" {
		return "", doorward.Invalid(name, "is required")
	}
	return s, err
}

// flag reads a boolean field; nil when absent.
func (o object) flag(name string) (*bool, error) {
	raw, ok := o[name]
	if !ok {
		return nil, nil
	}
	var b bool
	if (raw[0] != 't' && raw[0] != 'f') || json.Unmarshal(raw, &b) != nil {
		return nil, doorward.Invalid(name, "must be true or false")
	}
	return &b, nil
}

// list reads a field that is a list of strings; nil when absent.
func (o object) list(name string) ([]string, error) {
	raw, ok := o[name]
	if !ok {
		return nil, nil
	}
	var items []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		return nil, doorward.Invalid(name, "must be a list of strings")
	}
	list := []string{}
	for _, item := range items {
		var s string
		if item[0] != '"' || json.Unmarshal(item, &s) != nil {
			return nil, doorward.Invalid(name, "must be a list of strings")
		}
		list = append(list, s)
	}
	return list, nil
}

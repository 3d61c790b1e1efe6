package sample

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

const maxBody = 1 << 20 // bytes

// newEncoder writes JSON with <, > and & as they are: no answer is ever read as HTML.
func newEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// fields is a JSON object whose values are yet to be read. Names match exactly, none is
// there twice, and those nobody asks for are ignored.
type fields struct {
	at     string // where it was found, to begin a field's name with: "", "steps[2]."
	values map[string]json.RawMessage
}

// readBody reads a request's body, which is JSON whatever the content type says: curl -d
// says it is a form. It reads to the end, without which net/http would not notice a client
// that hangs up later.
func readBody(w http.ResponseWriter, r *http.Request) (fields, error) {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return fields{}, &refusal{status: http.StatusUnsupportedMediaType, message: "content-encoding: compressed bodies are not read"}
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fields{}, &refusal{status: http.StatusRequestEntityTooLarge, message: fmt.Sprintf("body: larger than %d bytes", maxBody)}
	}
	if err != nil {
		return fields{}, invalid("body", "could not be read to its end")
	}
	return parseBody(data)
}

func parseBody(data []byte) (fields, error) {
	if !utf8.Valid(data) {
		return fields{}, invalid("body", "is not UTF-8") // else a prompt would be changed in silence
	}
	if !json.Valid(data) {
		return fields{}, invalid("body", "must be one JSON object and nothing after it")
	}
	return parseObject("body", "", data)
}

// parseObject takes one object apart. what names it as a whole; data is valid JSON.
func parseObject(what, at string, data []byte) (fields, error) {
	f := fields{at: at, values: map[string]json.RawMessage{}}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return fields{}, invalid(what, "must be a JSON object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fields{}, invalid(what, "is not valid JSON")
		}
		name, _ := key.(string)
		if _, twice := f.values[name]; twice {
			return fields{}, invalid(fmt.Sprintf("%s%.64s", at, name), "is given twice")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fields{}, invalid(what, "is not valid JSON")
		}
		f.values[name] = value
	}
	return f, nil
}

// get returns a field's value; null is as good as absent.
func (f fields) get(name string) (json.RawMessage, bool) {
	v, ok := f.values[name]
	return v, ok && string(v) != "null"
}

// text returns a field that must be there and be a string that is not empty.
func (f fields) text(name string) (string, error) {
	raw, ok := f.get(name)
	if !ok {
		return "", invalid(f.at+name, "is required")
	}
	var v string
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", invalid(f.at+name, "must be a string")
	}
	if v == "" {
		return "", invalid(f.at+name, "must not be empty")
	}
	return v, nil
}

// name returns a field that must be there and name something in at most 256 characters.
func (f fields) name(name string) (string, error) {
	v, err := f.text(name)
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(v) == "" {
		return "", invalid(f.at+name, "must not be blank")
	}
	if utf8.RuneCountInString(v) > maxName {
		return "", invalid(f.at+name, "must have at most %d characters", maxName)
	}
	return v, nil
}

// list returns a field's elements, none when it is absent.
func (f fields) list(name string, most int) ([]json.RawMessage, error) {
	raw, ok := f.get(name)
	if !ok {
		return nil, nil
	}
	var v []json.RawMessage
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, invalid(f.at+name, "must be a list")
	}
	if len(v) > most {
		return nil, invalid(f.at+name, "must have at most %d entries", most)
	}
	return v, nil
}

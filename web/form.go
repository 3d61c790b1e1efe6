package web

import (
	"mime"
	"net/http"
	"net/url"
	"unicode/utf8"

	"doorward"
	"doorward/gate"
)

// readForm reads what a page of ours posts into r.PostForm, where a refusal finds it
// again to fill the form in anew. Only what browsers make of a plain form is read (the WHATWG
// URL standard, section 5.1), no field stands twice, and nothing in the query is a field.
func readForm(w http.ResponseWriter, r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || len(r.Header.Values("Content-Type")) > 1 {
		return &doorward.Error{Code: doorward.CodeUnsupported, Message: "Content-Type: must be application/x-www-form-urlencoded"}
	}
	body, err := gate.ReadBody(w, r)
	if err != nil {
		return err
	}
	fields, err := url.ParseQuery(string(body))
	if err != nil {
		return doorward.Invalid("body", "is not a well-formed form")
	}
	for name, values := range fields {
		if len(values) > 1 {
			return doorward.Invalid("body", "gives a field twice")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(values[0]) {
			return doorward.Invalid("body", "is not UTF-8")
		}
	}
	r.PostForm = fields
	return nil
}

// given reads a field that must be there, though it may be empty.
func given(r *http.Request, name string) (string, error) {
	if !r.PostForm.Has(name) {
		return "", doorward.Invalid(name, "is missing")
	}
	return r.PostForm.Get(name), nil
}

// next is where to go on to: as the form says, else the query. It is a target to which a
// browser may be sent from here, whatever was given; two of them are none.
func next(r *http.Request, p *gate.Pass) string {
	if r.PostForm != nil {
		return p.Next(r.PostForm.Get("next"))
	}
	if given := r.URL.Query()["next"]; len(given) == 1 {
		return p.Next(given[0])
	}
	return "/"
}

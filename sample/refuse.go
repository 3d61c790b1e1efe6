package sample

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
)

// A refusal is an error that the caller may read: a status and one sentence. The cause,
// if any, is for the log alone.
type refusal struct {
	status  int
	message string
	run     string // id of the run that came to this, if it has one
	cause   error
}

func (e *refusal) Error() string {
	if e.cause == nil {
		return e.message
	}
	return e.message + ": " + e.cause.Error()
}

func (e *refusal) Unwrap() error { return e.cause }

// errBusy is the answer when nothing more can be taken on, or the service is closing.
var errBusy = &refusal{status: http.StatusServiceUnavailable, message: "temporarily unavailable"}

// invalid refuses one field: `prompt: is required`.
func invalid(field, format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, message: field + ": " + fmt.Sprintf(format, args...)}
}

func notFound(what string) *refusal {
	return &refusal{status: http.StatusNotFound, message: what + " not found"}
}

// asRefusal is err as the caller may see it; what is no refusal is for the log alone.
func asRefusal(err error) *refusal {
	var e *refusal
	if errors.As(err, &e) {
		return e
	}
	return &refusal{status: errBusy.status, message: errBusy.message, cause: err}
}

// refuse writes err, the only place that does.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := asRefusal(err)
	if e.status >= 500 && r.Context().Err() == nil { // who hangs up is no news
		s.log.Warn("sample service refused", "method", r.Method, "path", r.URL.Path, "status", e.status,
			"run", e.run, "request_id", r.Header.Get("X-Request-ID"), "error", e.Error())
	}
	if e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	s.write(w, e.status, struct {
		ID     string `json:"id,omitempty"`
		Error  string `json:"error"`
		Status string `json:"status"`
	}{e.run, e.message, "error"})
}

// write answers with v as JSON. Bytes that are not UTF-8 become U+FFFD (RFC 8259, 8.1).
func (s *Service) write(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	if err := newEncoder(&body).Encode(v); err != nil {
		// Only our own shapes come here, and each can be marshalled.
		s.log.Error("sample service cannot encode an answer", "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // who has hung up reads no answer
}

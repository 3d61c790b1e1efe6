package gate

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"doorward"
)

// MaxBody is the most that the body of a request to one of our own doors may hold, in bytes.
const MaxBody = 64 << 10

// checkBody refuses a body that by its own word no door of ours reads, without waiting for it,
// whether this one would read it or not.
func checkBody(r *http.Request) error {
	if r.ContentLength > MaxBody {
		return errTooLarge
	}
	if e := r.Header.Get("Content-Encoding"); r.ContentLength != 0 && e != "" && !strings.EqualFold(e, "identity") {
		return &doorward.Error{Code: doorward.CodeUnsupported, Message: "Content-Encoding: must be absent"}
	}
	return nil
}

// ReadBody reads the body of a request to one of our own doors: at most 64 KiB, not
// compressed, and sent in time. What is wrong with it is a refusal.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if err := checkBody(r); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
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
	return body, nil
}

var errTooLarge = &doorward.Error{Code: doorward.CodeTooLarge, Message: "body: must not exceed 64 KiB"}

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

// ReadBody reads the body of a request to one of our own doors: at most 64 KiB, not
// compressed, and sent in time. What is wrong with it is a refusal.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, &doorward.Error{Code: doorward.CodeUnsupported, Message: "Content-Encoding: must be absent"}
	}
	if r.ContentLength > MaxBody {
		return nil, errTooLarge // without waiting for it
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

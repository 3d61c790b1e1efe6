package doorward

import (
	"errors"
	"fmt"
	"time"
)

// Code says what kind of refusal an Error is. The edge maps each to one HTTP status.
type Code int

// The codes, each with the HTTP status it becomes.
const (
	CodeInvalid         Code = iota + 1 // 400: the request itself is wrong; the message names the field
	CodeUnauthenticated                 // 401
	CodeForbidden                       // 403
	CodeNotFound                        // 404
	CodeMethod                          // 405
	CodeTimeout                         // 408: the client did not send its body in time
	CodeConflict                        // 409
	CodeTooLarge                        // 413
	CodeUnsupported                     // 415
	CodeThrottled                       // 429, with RetryAfter
	CodeHeaders                         // 431: more header lines than anybody reads
	CodeUnavailable                     // 503: a fact could not be read or a change could not be kept
)

// Error is a refusal that a client may read: a code and one sentence. Cause, if any,
// is for the log alone and is never sent. Errors are values; they are safe to share.
type Error struct {
	Code       Code
	Message    string
	RetryAfter time.Duration // with CodeThrottled and CodeUnavailable; zero when there is nothing to say
	Cause      error
}

// Error returns the sentence for the client, and the cause behind it for the log.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is a refusal of the same code and sentence, whatever its
// cause or RetryAfter, so that errors.Is(err, ErrAccountLocked) works on a locked
// account with any time left.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Message == e.Message
}

// The refusals whose sentences are promises to clients.
var (
	ErrTokenRequired      = &Error{Code: CodeUnauthenticated, Message: "token required"}
	ErrInvalidToken       = &Error{Code: CodeUnauthenticated, Message: "invalid token"}
	ErrTokenExpired       = &Error{Code: CodeUnauthenticated, Message: "token expired"}
	ErrTokenBlacklisted   = &Error{Code: CodeUnauthenticated, Message: "token blacklisted"}
	ErrInvalidCredentials = &Error{Code: CodeUnauthenticated, Message: "invalid credentials"}

	ErrForbidden              = &Error{Code: CodeForbidden, Message: "insufficient permissions"}
	ErrCrossOrigin            = &Error{Code: CodeForbidden, Message: "cross-origin request refused"}
	ErrPasswordChangeRequired = &Error{Code: CodeForbidden, Message: "password change required"}

	ErrAccountLocked   = &Error{Code: CodeThrottled, Message: "account locked"}
	ErrTooManyRequests = &Error{Code: CodeThrottled, Message: "too many requests"}

	ErrSetupRequired = &Error{Code: CodeUnavailable, Message: "setup required"}
	ErrUnavailable   = &Error{Code: CodeUnavailable, Message: "temporarily unavailable", RetryAfter: time.Second}
)

// Invalid refuses a request because of one field: `password: must have at least 8 characters`.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// NotFound refuses a request for something that is not there, or that the caller may not know of.
func NotFound(what string) *Error {
	return &Error{Code: CodeNotFound, Message: what + " not found"}
}

// Conflict refuses a change that what is kept does not allow.
func Conflict(format string, args ...any) *Error {
	return &Error{Code: CodeConflict, Message: fmt.Sprintf(format, args...)}
}

// Locked is ErrAccountLocked with the time until the lock ends.
func Locked(left time.Duration) *Error {
	return &Error{Code: CodeThrottled, Message: ErrAccountLocked.Message, RetryAfter: left}
}

// Throttled is ErrTooManyRequests with the time after which trying again makes sense.
func Throttled(after time.Duration) *Error {
	return &Error{Code: CodeThrottled, Message: ErrTooManyRequests.Message, RetryAfter: after}
}

// Unavailable is ErrUnavailable with its cause, for the log. A fact that could not be
// read is never evidence of anything, so nearly every foreign error ends here.
func Unavailable(cause error) *Error {
	return &Error{Code: CodeUnavailable, Message: ErrUnavailable.Message, RetryAfter: time.Second, Cause: cause}
}

// Refusal returns the *Error in err's chain, or, for a foreign error, Unavailable(err):
// no error text of another library ever reaches a client. Refusal(nil) is nil.
func Refusal(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Unavailable(err)
}

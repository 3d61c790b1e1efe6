package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"doorward"
)

// refusing is a door of which only the part that refuses is there, with what it logs and counts.
func refusing() (g *Gate, log *bytes.Buffer, counted *[]string) {
	log, counted = new(bytes.Buffer), new([]string)
	g = &Gate{Config: Config{
		Log:     slog.New(slog.NewJSONHandler(log, nil)),
		Refused: func(status int, message string) { *counted = append(*counted, fmt.Sprint(status, " ", message)) },
	}}
	return g, log, counted
}

// TestRefusalsAreTheListOfErrors holds the answer to every refusal there is: status, sentence
// and headers are promises.
func TestRefusalsAreTheListOfErrors(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp 10.9.8.7:5432: password authentication failed")
	for _, c := range []struct {
		err        error
		status     int
		message    string
		retryAfter string
		cause      string // in the log alone
	}{
		{doorward.ErrTokenRequired, 401, "token required", "", ""},
		{doorward.ErrInvalidToken, 401, "invalid token", "", ""},
		{doorward.ErrTokenExpired, 401, "token expired", "", ""},
		{doorward.ErrTokenBlacklisted, 401, "token blacklisted", "", ""},
		{doorward.ErrInvalidCredentials, 401, "invalid credentials", "", ""},
		{doorward.ErrForbidden, 403, "insufficient permissions", "", ""},
		{doorward.ErrCrossOrigin, 403, "cross-origin request refused", "", ""},
		{doorward.ErrPasswordChangeRequired, 403, "password change required", "", ""},
		{doorward.Invalid("client_id", "must be given"), 400, "client_id: must be given", "", ""},
		{doorward.NotFound("page"), 404, "page not found", "", ""},
		{errMethod, 405, "method not allowed", "", ""},
		{doorward.Conflict("username is taken"), 409, "username is taken", "", ""},
		{&doorward.Error{Code: doorward.CodeTimeout, Message: "body: did not arrive in time"}, 408, "body: did not arrive in time", "", ""},
		{&doorward.Error{Code: doorward.CodeTooLarge, Message: "body: must not exceed 64 KiB"}, 413, "body: must not exceed 64 KiB", "", ""},
		{&doorward.Error{Code: doorward.CodeUnsupported, Message: "Content-Type: must be application/json"}, 415, "Content-Type: must be application/json", "", ""},
		// Retry-After is whole seconds, rounded up: never too early.
		{doorward.Locked(15 * time.Minute), 429, "account locked", "900", ""},
		{doorward.Locked(1500 * time.Millisecond), 429, "account locked", "2", ""},
		{doorward.Throttled(time.Nanosecond), 429, "too many requests", "1", ""},
		{doorward.ErrTooManyRequests, 429, "too many requests", "1", ""},
		{&doorward.Error{Code: doorward.CodeHeaders, Message: "headers: must not be more than 200"}, 431, "headers: must not be more than 200", "", ""},
		{doorward.ErrSetupRequired, 503, "setup required", "1", ""},
		{doorward.ErrUnavailable, 503, "temporarily unavailable", "1", ""},
		{doorward.Unavailable(secret), 503, "temporarily unavailable", "1", secret.Error()},
		{fmt.Errorf("reading the session: %w", doorward.Unavailable(secret)), 503, "temporarily unavailable", "1", secret.Error()},
		{fmt.Errorf("wrapped: %w", doorward.ErrTokenExpired), 401, "token expired", "", ""},
		// What nobody of ours has put into words is no answer to a stranger.
		{secret, 503, "temporarily unavailable", "1", secret.Error()},
		{&doorward.Error{Message: "of no kind"}, 503, "of no kind", "1", ""},
	} {
		t.Run(fmt.Sprint(c.err), func(t *testing.T) {
			t.Parallel()
			g, log, counted := refusing()
			w := httptest.NewRecorder()
			p := &Pass{
				RequestID: "0123456789abcdef0123", Client: netip.MustParseAddr("198.51.100.1"), Path: "/a b", rule: "door GET /x",
				Identity: doorward.Identity{Kind: doorward.KindUser, Subject: "usr_1", Username: "ada", Role: doorward.Viewer},
			}
			g.refuse(w, httptest.NewRequest("PUT", "/raw?token=tok_of_somebody", nil), p, c.err)

			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
			message, err := json.Marshal(c.message)
			if err != nil {
				t.Fatal(err)
			}
			if want := `{"error":` + string(message) + `,"status":"error"}` + "\n"; w.Body.String() != want {
				t.Errorf("body %s, want %s", w.Body, want)
			}
			h := w.Result().Header
			want := http.Header{"Cache-Control": {"no-store"}, "Content-Type": {"application/json"}, "X-Content-Type-Options": {"nosniff"}}
			if c.status == 401 {
				want.Set("WWW-Authenticate", "Bearer")
			}
			if c.retryAfter != "" {
				want.Set("Retry-After", c.retryAfter)
			}
			if c.status == 413 || c.status == 408 {
				want.Set("Connection", "close")
			}
			if fmt.Sprint(h) != fmt.Sprint(want) {
				t.Errorf("header %v, want %v", h, want)
			}
			if got := fmt.Sprint(*counted); got != fmt.Sprintf("[%d %s]", c.status, c.message) {
				t.Errorf("counted %s", got)
			}

			var line map[string]any
			if err := json.Unmarshal(log.Bytes(), &line); err != nil {
				t.Fatalf("the log is %s: %v", log, err)
			}
			for key, want := range map[string]any{
				"msg": "refused", "status": float64(c.status), "error": c.message, "request_id": p.RequestID, "method": "PUT",
				"path": "/a b", "client": "198.51.100.1", "subject": "usr_1", "role": "viewer", "rule": "door GET /x",
				"level": map[bool]string{true: "WARN", false: "INFO"}[c.status >= 500],
			} {
				if line[key] != want {
					t.Errorf("the log says %s=%v, want %v", key, line[key], want)
				}
			}
			if got, _ := line["cause"].(string); got != c.cause {
				t.Errorf("the log says cause=%q, want %q", got, c.cause)
			}
			if bytes.Contains(log.Bytes(), []byte("tok_of_somebody")) {
				t.Errorf("the query is in the log: %s", log)
			}
		})
	}
}

// TestRefusalOfNobody: nothing is made up where nothing is known.
func TestRefusalOfNobody(t *testing.T) {
	t.Parallel()
	g, log, _ := refusing()
	g.refuse(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), &Pass{}, doorward.ErrTokenRequired)
	for _, key := range []string{`"subject"`, `"role"`, `"rule"`, `"cause"`} {
		if bytes.Contains(log.Bytes(), []byte(key)) {
			t.Errorf("the log says %s: %s", key, log)
		}
	}
}

// TestEveryCodeHasAStatus: a code that the map forgets would be a 503.
func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	seen := map[int]doorward.Code{}
	for c := doorward.CodeInvalid; c <= doorward.CodeUnavailable; c++ {
		s := statusOf(c)
		if other, ok := seen[s]; ok {
			t.Errorf("codes %d and %d are both %d", other, c, s)
		}
		if http.StatusText(s) == "" || s < 400 || s == 500 {
			t.Errorf("code %d is %d", c, s)
		}
		seen[s] = c
	}
	for _, c := range []doorward.Code{0, -1, doorward.CodeUnavailable + 1} {
		if statusOf(c) != http.StatusServiceUnavailable {
			t.Errorf("code %d is %d", c, statusOf(c))
		}
	}
}

func TestFailAnswersForTheService(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "kept")
	Fail(w, http.StatusBadGateway, `service "x" unavailable`)
	if want := `{"error":"service \"x\" unavailable","status":"error"}` + "\n"; w.Code != 502 || w.Body.String() != want {
		t.Errorf("%d %s, want 502 %s", w.Code, w.Body, want)
	}
	want := http.Header{"Cache-Control": {"no-store"}, "Content-Type": {"application/json"}, "X-Content-Type-Options": {"nosniff"}, "X-Request-Id": {"kept"}}
	if got := w.Result().Header; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("header %v, want %v", got, want)
	}
}

func TestRequestIDsAreOursAndDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var ids requestIDs
	for range 1000 {
		id := ids.next()
		if len(id) != 20 || seen[id] {
			t.Fatalf("request id %q, seen before: %t", id, seen[id])
		}
		seen[id] = true
	}
}

package gate

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"doorward"
)

// refuse answers a request that goes no further. It is the only place that writes an
// error, so that none says more than the list of errors promises.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, p *Pass, err error) {
	e := doorward.Refusal(err)
	status := statusOf(e.Code)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if isPreflight(r) {
		h.Add("Vary", "Origin") // nothing else is said of who may ask
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", "1")
		}
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.Int("status", status), slog.String("error", e.Message), slog.String("request_id", p.RequestID),
		slog.String("method", r.Method), slog.String("path", p.Path), slog.String("client", p.Client.String()),
	}
	if !p.Identity.IsZero() {
		attrs = append(attrs, slog.String("subject", p.Identity.Subject), slog.String("role", string(p.Identity.Role)))
	}
	rule := p.decided(r.Method)
	if rule != "" {
		attrs = append(attrs, slog.String("rule", rule))
	}
	if e.Cause != nil {
		attrs = append(attrs, slog.String("cause", e.Cause.Error()))
	}
	g.Log.LogAttrs(r.Context(), level, "refused", attrs...)
	g.Refused(status, e.Message)
	if g.Running != nil { // made by New
		g.Running.Refusals.keep(g.Authority.Now(), Refusal{
			RequestID: p.RequestID, Method: r.Method, Path: p.Path, Rule: rule, Status: status, Error: e.Message, Client: p.Client,
			Subject: p.Identity.Subject, Username: p.Identity.Username, Role: p.Identity.Role, Org: p.Identity.Org,
		})
	}
	limitAnswer(w, g.BodyTimeout)
	limitUnread(w, r)
	takeRest(w, r)
	if r.ProtoMajor == 1 && (status == http.StatusRequestEntityTooLarge || status == http.StatusRequestTimeout) {
		h.Set("Connection", "close") // there is more of it than anybody wants to read, or wait for
	}
	// At a door that reads no credential a 401 is about what a form says, and stays there.
	reads := p.door == nil || p.door.Reads != ReadsNothing
	program := reads && showsHeader(r) // who shows a credential in a header gets JSON
	if status == http.StatusUnauthorized {
		if g.SignInPage != "" && reads && !program && navigates(r) {
			h.Set("Location", g.signInTarget(r, p))
			w.WriteHeader(http.StatusSeeOther)
			return
		}
		h.Set("WWW-Authenticate", "Bearer")
	}
	// Who is signed in and looks at a page gets one too.
	if status == http.StatusForbidden && p.door == nil && !program && p.Identity.Kind == doorward.KindUser && navigates(r) {
		switch {
		case errors.Is(e, doorward.ErrPasswordChangeRequired):
			if g.PasswordPage != "" {
				h.Set("Location", g.ledTo(g.PasswordPage, r, p))
				w.WriteHeader(http.StatusSeeOther)
				return
			}
		case g.Forbidden != nil && !carriesJSON(w):
			g.Forbidden(w, r, p, e)
			return
		}
	}
	if g.SetupPage != "" && errors.Is(e, doorward.ErrSetupRequired) && !showsHeader(r) && navigates(r) {
		h.Del("Retry-After")
		h.Set("Location", g.setupTarget(p))
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if p.door != nil && p.door.Refused != nil && !program && !(reads && status == http.StatusUnauthorized) {
		p.door.Refused(w, r, p, status, e)
		return
	}
	WriteJSON(w, status, errorBody{e.Message, "error"})
}

// Refuse answers for a handler behind that asks more of who comes than the route has done: as
// the door itself refuses, and logged so. rule says what asked, r is the request as the
// client sent it. Nothing may have been written to w.
func (g *Gate) Refuse(w http.ResponseWriter, r *http.Request, p *Pass, rule string, err error) {
	p.rule = rule
	g.refuse(w, r, p, err)
}

// Fail answers for the service behind when it cannot answer itself, in the same form.
func Fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Cache-Control", "no-store")
	WriteJSON(w, status, errorBody{message, "error"})
}

type errorBody struct {
	Error  string `json:"error"`
	Status string `json:"status"`
}

// WriteJSON answers with v. It sets nothing that its caller has set already.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // only a type of ours that cannot be marshalled, which a test would have found
		panic(err)
	}
	WriteRaw(w, status, string(body)+"\n")
}

// WriteCSV answers with what write writes, as a file of this name. What breaks off half-way breaks the
// connection off: half a file must not look like a whole one.
func WriteCSV(w http.ResponseWriter, r *http.Request, name string, write func(io.Writer) error) {
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	if err := write(w); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// WriteRaw answers with a text that is JSON already.
func WriteRaw(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// statusOf is the one map from a refusal's code to an HTTP status.
func statusOf(c doorward.Code) int {
	switch c {
	case doorward.CodeInvalid:
		return http.StatusBadRequest
	case doorward.CodeUnauthenticated:
		return http.StatusUnauthorized
	case doorward.CodeForbidden:
		return http.StatusForbidden
	case doorward.CodeNotFound:
		return http.StatusNotFound
	case doorward.CodeMethod:
		return http.StatusMethodNotAllowed
	case doorward.CodeTimeout:
		return http.StatusRequestTimeout
	case doorward.CodeConflict:
		return http.StatusConflict
	case doorward.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case doorward.CodeUnsupported:
		return http.StatusUnsupportedMediaType
	case doorward.CodeThrottled:
		return http.StatusTooManyRequests
	case doorward.CodeHeaders:
		return http.StatusRequestHeaderFieldsTooLarge
	}
	return http.StatusServiceUnavailable
}

package gate

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"

	"doorward"
)

// Question is what explain is asked: what the door makes of a request of somebody's.
type Question struct {
	As        string // a user, an API token or the operator's key, by name; nobody when empty
	Role      string // instead: anybody with this role
	Org       string // asked for with X-Organization-ID
	Workspace string // asked for with X-Workspace-ID
	Host      string
	Method    string
	Path      string // as a client sends it
}

// Request is the request as the server would read it.
func (q Question) Request() (*http.Request, error) {
	// Without the marks that would make more than one line, or word, of it.
	if strings.ContainsAny(q.Method+q.Path+q.Host, " \t\r\n\x00") || q.Method == "" || q.Path == "" {
		return nil, &doorward.Error{Code: doorward.CodeInvalid, Message: "METHOD, PATH and HOST are one word each; a space in a path is written %20"}
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(q.Method + " " + q.Path + " HTTP/1.1\r\nHost: " + q.Host + "\r\n\r\n")))
	if err != nil {
		return nil, &doorward.Error{Code: doorward.CodeInvalid, Message: fmt.Sprintf("%s %s is no request: it would be refused with 400", doorward.Printable(q.Method), doorward.Printable(q.Path))}
	}
	return r, nil
}

// Explained is the answer.
type Explained struct {
	Question
	Explanation
	To string // the service that the request goes to, when it is let through to one
}

// Whom is who asks, in words.
func (q Question) Whom() string {
	switch {
	case q.Role != "":
		return "a caller with role " + q.Role
	case q.As != "":
		return q.As
	}
	return "nobody"
}

// String says it in one line.
func (e Explained) String() string {
	as := e.Whom()
	if role := e.Identity.Role; role != "" && e.As != "" {
		as += " (" + string(role) + ")"
	}
	switch {
	case e.Refusal != nil:
		return fmt.Sprintf("%d %s: %s asks for %s %s; %s", e.Status, e.Refusal.Message, as, e.Method, e.Explanation.Path, e.Rule)
	case e.Ours:
		return fmt.Sprintf("answered here: %s asks for %s %s; %s", as, e.Method, e.Explanation.Path, e.Rule)
	}
	seen := ""
	if e.Identity.Kind == doorward.KindAnonymous {
		seen = " as anonymous"
	}
	return fmt.Sprintf("let through to %s%s: %s asks for %s %s; %s", e.To, seen, as, e.Method, e.Explanation.Path, e.Rule)
}

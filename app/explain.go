package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"doorward"
	"doorward/gate"
)

type explainCmd struct {
	As        string `name:"as" placeholder:"NAME" xor:"whom" help:"Who asks: a user, an API token by its name, or operator for the api_key. Nobody when not given."`
	Role      string `name:"role" placeholder:"ROLE" xor:"whom" help:"Anybody with this role; needs no database."`
	Org       string `name:"org" placeholder:"ID" help:"The organization asked for with X-Organization-ID."`
	Workspace string `name:"workspace" placeholder:"ID" help:"The workspace asked for with X-Workspace-ID."`
	Host      string `name:"host" placeholder:"HOST" default:"localhost" help:"The host asked for."`
	JSON      bool   `name:"json" help:"Print JSON."`

	Method string `arg:"" name:"method" help:"GET, POST and so on, in capitals."`
	Path   string `arg:"" name:"path" help:"The path as a client sends it."`
}

func (*explainCmd) takes(string) bool { return true }

// Run says what the door would make of a request, and which rule decides. It reads the
// settings that the server has, and the database for users and for how the door stands.
func (c *explainCmd) Run(ctx context.Context, p *program, src *sources) error {
	l := load(*src)
	if err := l.err(); err != nil {
		return err
	}
	for _, w := range l.warnings {
		p.warn(w)
	}
	r, err := c.request()
	if err != nil {
		return err
	}
	id, there, mode, err := c.caller(ctx, l.Settings)
	if err != nil {
		return err
	}
	behind := l.behind()
	policy, err := gate.NewPolicy(gate.Rules{
		Doors: doorsOf(l.Settings), Prefix: l.PathPrefix, Routes: l.Routes, Upstreams: patternsOf(behind),
		Disabled: l.AuthEnabled != nil && !*l.AuthEnabled,
	})
	if err != nil {
		return err
	}
	e := policy.Explain(r, id, doorward.Asked{Org: c.Org, Workspace: c.Workspace}, there, mode)
	to := ""
	switch {
	case e.Refusal != nil || e.Ours:
	case len(behind) == 0:
		to = "the sample service"
	default:
		to = behind[e.Upstream].Name + " at " + behind[e.Upstream].URL.String()
		if behind[e.Upstream].place == "" {
			to = behind[e.Upstream].URL.String()
		}
	}
	if c.JSON {
		return p.printJSON(c.explained(e, to))
	}
	_, err = fmt.Fprintln(p.Out, c.sentence(e, to))
	return err
}

// request is the request as the server would read it.
func (c *explainCmd) request() (*http.Request, error) {
	// Without the marks that would make more than one line, or word, of it.
	if strings.ContainsAny(c.Method+c.Path+c.Host, " \t\r\n\x00") || c.Method == "" || c.Path == "" {
		return nil, errors.New("METHOD, PATH and HOST are one word each; a space in a path is written %20")
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.Method + " " + c.Path + " HTTP/1.1\r\nHost: " + c.Host + "\r\n\r\n")))
	if err != nil {
		return nil, fmt.Errorf("%s %s is no request: it would be refused with 400", onOneLine(c.Method), onOneLine(c.Path))
	}
	return r, nil
}

// caller finds who asks, what places there are, and how the door stands.
func (c *explainCmd) caller(ctx context.Context, s Settings) (id doorward.Identity, there *doorward.Places, mode doorward.Mode, err error) {
	if c.Role != "" {
		role, err := roleWord(c.Role)
		if err != nil {
			return id, nil, 0, fmt.Errorf("--role: %w", err)
		}
		return doorward.Identity{Kind: doorward.KindUser, Subject: "anybody", Username: "anybody", Role: role, Org: doorward.Default, Workspaces: doorward.Default, Via: doorward.ViaAccessToken}, nil, doorward.ModeClosed, nil
	}
	kept, err := openBeside(ctx, s, time.Now)
	if err != nil {
		return id, nil, 0, err
	}
	defer kept.Close() //nolint:errcheck // it was only read
	state, err := kept.State(ctx)
	if err != nil {
		return id, nil, 0, err
	}
	there, err = doorward.NewPlaces(func(yield func(doorward.Organization, []string) error) error { return kept.Places(ctx, "", yield) })
	if err != nil {
		return id, nil, 0, err
	}
	mode = state.Mode(len(configuredCredentials(s)) > 0, openAllowed(s))
	if c.As == "" {
		return id, there, mode, nil
	}
	if id, ok := configuredIdentity(s, c.As); ok {
		return id, there, mode, nil
	}
	canonical, possible := doorward.CanonicalUsername(c.As)
	var u doorward.User
	if possible {
		if u, _, possible, err = kept.UserByName(ctx, canonical); err != nil {
			return id, nil, 0, err
		}
	}
	switch {
	case !possible:
		return id, nil, 0, errors.New("--as: there is no user and no API token of that name")
	case u.Disabled:
		return id, nil, 0, fmt.Errorf("--as: %s is disabled: no credential of theirs is accepted (401)", u.Username)
	}
	return doorward.Identity{
		Kind: doorward.KindUser, Subject: u.ID, Username: u.Username, Role: u.Role, Org: u.Org,
		Workspaces: doorward.JoinWorkspaces(u.Workspaces), Via: doorward.ViaAccessToken, MustChange: u.MustChange,
	}, there, mode, nil
}

// configuredIdentity is who shows a key or token of the settings, by its name.
func configuredIdentity(s Settings, name string) (doorward.Identity, bool) {
	for _, c := range configuredCredentials(s) {
		if c.Name != name || name == "" {
			continue
		}
		workspace := c.Workspace
		if workspace == "" {
			workspace = doorward.Default
		}
		return doorward.Identity{
			Kind: c.Kind, Subject: c.Name, Role: c.Role, Org: doorward.Default, Workspaces: doorward.Workspaces(workspace), Via: doorward.ViaSecret,
		}, true
	}
	return doorward.Identity{}, false
}

// whom is the caller in words.
func (c *explainCmd) whom() string {
	switch {
	case c.Role != "":
		return "a caller with role " + c.Role
	case c.As != "":
		return c.As
	}
	return "nobody"
}

func (c *explainCmd) sentence(e gate.Explanation, to string) string {
	as := c.whom()
	if role := e.Identity.Role; role != "" && c.As != "" {
		as += " (" + string(role) + ")"
	}
	switch {
	case e.Refusal != nil:
		return fmt.Sprintf("%d %s: %s asks for %s %s; %s", e.Status, e.Refusal.Message, as, c.Method, e.Path, e.Rule)
	case e.Ours:
		return fmt.Sprintf("answered here: %s asks for %s %s; %s", as, c.Method, e.Path, e.Rule)
	}
	seen := ""
	if e.Identity.Kind == doorward.KindAnonymous {
		seen = " as anonymous"
	}
	return fmt.Sprintf("let through to %s%s: %s asks for %s %s; %s", to, seen, as, c.Method, e.Path, e.Rule)
}

type explainedBody struct {
	Allowed  bool   `json:"allowed"`
	Status   int    `json:"status,omitempty"`
	Error    string `json:"error,omitempty"`
	Rule     string `json:"rule"`
	Method   string `json:"method"`
	Path     string `json:"path"`
	As       string `json:"as"`
	Kind     string `json:"kind"` // as the service sees the caller
	Role     string `json:"role"`
	Upstream string `json:"upstream,omitempty"`
	Ours     bool   `json:"answered_here"`
}

func (c *explainCmd) explained(e gate.Explanation, to string) explainedBody {
	b := explainedBody{
		Allowed: e.Refusal == nil, Status: e.Status, Rule: e.Rule, Method: c.Method, Path: e.Path, As: c.whom(),
		Kind: string(e.Identity.Kind), Role: string(e.Identity.Role), Upstream: to, Ours: e.Ours,
	}
	if e.Refusal != nil {
		b.Error = e.Refusal.Message
	}
	return b
}

package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"doorward"
)

type sessionCmd struct {
	List   sessionListCmd   `cmd:"" help:"List the sessions that live."`
	Revoke sessionRevokeCmd `cmd:"" help:"End sessions: their tokens are refused from then on."`
}

type sessionListCmd struct {
	User       string `name:"user" placeholder:"NAME" xor:"whose" help:"Only those of this user, in person or through a key."`
	Credential string `name:"credential" placeholder:"ID" xor:"whose" help:"Only those begun with this user, key or API token."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

type sessionRevokeCmd struct {
	ID         string `arg:"" optional:"" name:"id" help:"The session to end, as session list shows it."`
	User       string `name:"user" placeholder:"NAME" help:"End all of this user's, in person or through a key."`
	Credential string `name:"credential" placeholder:"ID" help:"End all that were begun with this user, key or API token."`
	All        bool   `name:"all" help:"End everybody's."`
	JSON       bool   `name:"json" help:"Print JSON."`
}

func (*sessionListCmd) takes(key string) bool   { return inDatabase(key) }
func (*sessionRevokeCmd) takes(key string) bool { return inDatabase(key) }

// inDatabase is what a command takes that needs the database and nothing else.
func inDatabase(key string) bool { return key == "data_dir" || key == "database" }

// Validate refuses to guess which sessions are meant.
func (c *sessionRevokeCmd) Validate() error {
	named := 0
	for _, is := range []bool{c.ID != "", c.User != "", c.Credential != "", c.All} {
		if is {
			named++
		}
	}
	if named != 1 {
		return errors.New("needs one of ID, --user NAME, --credential ID and --all")
	}
	return nil
}

// Run lists sessions as they are read, however many there are.
func (c *sessionListCmd) Run(ctx context.Context, p *program, src *sources) error {
	kept, _, err := p.openKept(ctx, c, src)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // it was only read
	q, err := whose(ctx, kept, c.User, c.Credential)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(p.Out)
	list := listSessions
	if c.JSON {
		list = listSessionsJSON
	}
	if err := list(ctx, kept, q, out); err != nil {
		return err
	}
	return out.Flush()
}

// whose picks the sessions of a user by name, or of a credential by id; all for neither.
func whose(ctx context.Context, kept doorward.Store, username, credential string) (doorward.SessionQuery, error) {
	if username == "" {
		return doorward.SessionQuery{Credential: credential}, nil
	}
	u, err := userNamed(ctx, kept, username)
	return doorward.SessionQuery{User: u.ID}, err
}

func listSessions(ctx context.Context, kept doorward.Store, q doorward.SessionQuery, out io.Writer) error {
	line := columns(out, "%-22s  %-6s  %-20s  %-20s  %-15s  %-28s  %s")
	if err := line("ID", "KIND", "CREATED", "ENDS", "ADDRESS", "CREDENTIAL", "WHO AND WITH WHAT"); err != nil {
		return err
	}
	return kept.Sessions(ctx, q, func(s doorward.ListedSession) error {
		who := s.Subject
		if s.Username != "" {
			who = s.Username
		}
		if s.UserAgent != "" {
			who += "  " + s.UserAgent
		}
		return line(onOneLine(s.ID), s.Kind, second(s.Created), second(s.Ends), s.Address, onOneLine(s.Credential), onOneLine(who))
	})
}

// onOneLine quotes what would not show as it is on a terminal: what a client calls itself is the client's to say.
func onOneLine(s string) string { return doorward.Printable(s) }

func second(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// listedSession is a session as it is shown to programs.
type listedSession struct {
	ID         string `json:"id"`
	Kind       string `json:"kind"`
	Subject    string `json:"subject"`
	Username   string `json:"username"`
	Credential string `json:"credential"`
	Org        string `json:"org_id"`
	Address    string `json:"address"`
	UserAgent  string `json:"user_agent"`
	Created    string `json:"created"`
	Ends       string `json:"ends"`
}

func listSessionsJSON(ctx context.Context, kept doorward.Store, q doorward.SessionQuery, out io.Writer) error {
	return listJSON(out, "sessions", func(yield func(any) error) error {
		return kept.Sessions(ctx, q, func(s doorward.ListedSession) error {
			return yield(listedSession{
				ID: s.ID, Kind: string(s.Kind), Subject: s.Subject, Username: s.Username, Credential: s.Credential, Org: s.Org,
				Address: s.Address, UserAgent: s.UserAgent, Created: second(s.Created), Ends: second(s.Ends),
			})
		})
	})
}

// Run ends sessions, durably before it says so.
func (c *sessionRevokeCmd) Run(ctx context.Context, p *program, src *sources) error {
	kept, _, err := p.openKept(ctx, c, src)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // what was acknowledged is durable without it
	n, words, err := c.revoke(ctx, kept)
	if err != nil {
		return err
	}
	if c.JSON {
		return p.printJSON(map[string]int{"ended": n})
	}
	_, err = fmt.Fprintln(p.Out, words)
	return err
}

func (c *sessionRevokeCmd) revoke(ctx context.Context, kept doorward.Store) (n int, words string, err error) {
	if c.ID != "" {
		return revokeOne(ctx, kept, c.ID)
	}
	q, err := whose(ctx, kept, c.User, c.Credential)
	if err != nil {
		return 0, "", err
	}
	a := auditByHand("session.end", q.User+q.Credential, "")
	if q.User != "" {
		u, _, err := kept.User(ctx, q.User)
		if err != nil {
			return 0, "", err
		}
		a.Org = u.Org
	}
	of := "everybody's"
	switch {
	case c.User != "":
		of = "those of " + c.User
	case c.Credential != "":
		of = "those begun with that credential"
	default:
		a.Detail += ": all sessions"
	}
	ended, err := kept.EndSessions(ctx, q, doorward.EndRevoked, a)
	switch {
	case err != nil && len(ended) > 0:
		return 0, "", fmt.Errorf("%d sessions were ended, and then no more: %w", len(ended), err)
	case err != nil:
		return 0, "", err
	case len(ended) == 0 && c.Credential != "":
		return 0, "", errors.New("there is no live session that was begun with that credential")
	}
	sessions := "sessions"
	if len(ended) == 1 {
		sessions = "session"
	}
	return len(ended), fmt.Sprintf("ended %d %s: %s", len(ended), sessions, of), nil
}

// revokeOne ends the session with this id. Its errors do not repeat the id, in whose place
// somebody may have put a token.
func revokeOne(ctx context.Context, kept doorward.Store, id string) (n int, words string, err error) {
	was, found, err := kept.Session(ctx, id)
	if err != nil {
		return 0, "", err
	}
	if found && was.Ended.IsZero() {
		_, found, err = kept.EndSession(ctx, id, doorward.EndRevoked, auditByHand("session.end", id, was.Org))
	}
	switch {
	case err != nil:
		return 0, "", err
	case !found:
		return 0, "", errors.New("there is no session with that id; session list shows those that live")
	case !was.Ended.IsZero():
		return 0, fmt.Sprintf("session %s had ended before: %s", was.ID, was.EndReason), nil
	}
	return 1, fmt.Sprintf("ended session %s", was.ID), nil
}

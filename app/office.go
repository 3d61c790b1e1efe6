package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"doorward"
	"doorward/store"
)

// office is what a command administers with, on the database itself, beside a server or
// without one.
type office struct {
	*doorward.Authority
	kept     *store.Store
	settings Settings // those that the command takes
}

// forPeople is what a command takes that makes or changes people.
func forPeople(key string) bool { return inDatabase(key) || key == "passwords.min_length" }

func (p *program) openOffice(ctx context.Context, command takesSettings, src *sources) (*office, error) {
	kept, l, err := p.openKept(ctx, command, src)
	if err != nil {
		return nil, err
	}
	hasher, err := doorward.NewHasher(doorward.HasherConfig{Rand: rand.Reader})
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	a, err := doorward.Beside(doorward.Config{
		Store: kept, Hasher: hasher, Passwords: doorward.PasswordPolicy{MinLength: l.PasswordMinLength}, InviteLife: l.InviteLife, Now: time.Now, Rand: rand.Reader,
	})
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	return &office{a, kept, l.Settings}, nil
}

// close ends the work. What was acknowledged is durable without it.
func (o *office) close() { _ = o.kept.Close() }

// hand is who acts in an organization by the command line: whoever can read the database is
// above all who are in it.
func hand(org string) doorward.Caller {
	return doorward.Caller{Identity: doorward.Identity{Username: byHand, Role: doorward.Superadmin, Org: org, Workspace: doorward.Default}}
}

// organization refuses one that is not there.
func (o *office) organization(ctx context.Context, id string) error {
	there := false
	err := o.kept.Places(ctx, id, func(doorward.Organization, []string) error {
		there = true
		return nil
	})
	if err == nil && (!there || id == "") {
		err = fmt.Errorf("there is no organization %s", onOneLine(id))
	}
	return err
}

// workspace refuses one that is not there, and says where it was looked for: --org is easily forgotten.
func (o *office) workspace(ctx context.Context, org, id string) error {
	if err := o.organization(ctx, org); err != nil {
		return err
	}
	_, there, err := o.kept.Workspace(ctx, org, id)
	if err == nil && !there {
		err = fmt.Errorf("there is no workspace %s in organization %s", onOneLine(id), org)
	}
	return err
}

// maxPasswordInput is far above the longest password, in bytes.
const maxPasswordInput = 64 << 10

// newPassword reads a password that somebody is to have: all that comes on standard input but
// one line end, or what is typed twice on a terminal, unseen.
func (p *program) newPassword(ctx context.Context, stdin bool) (string, error) {
	if !stdin {
		return p.typedPassword(ctx)
	}
	b, err := io.ReadAll(io.LimitReader(p.In, maxPasswordInput))
	if err != nil {
		return "", fmt.Errorf("cannot read the password: %w", err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if strings.ContainsAny(password, "\r\n") {
		return "", errors.New("--password-stdin: standard input must hold the password and nothing else, in one line")
	}
	if password == "" {
		return "", errors.New("--password-stdin: standard input is empty")
	}
	return password, nil
}

func (p *program) typedPassword(ctx context.Context) (string, error) {
	terminal, ok := p.In.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", errors.New("the password is asked for on a terminal, and standard input is none; give it with --password-stdin")
	}
	password, err := p.unseen(ctx, terminal, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := p.unseen(ctx, terminal, "Again: ")
	switch {
	case err != nil:
		return "", err
	case again != password:
		return "", errors.New("the passwords are not the same")
	}
	return password, nil
}

// unseen reads a line from a terminal without showing it. Who interrupts it gets a terminal
// back that shows again what is typed.
func (p *program) unseen(ctx context.Context, terminal *os.File, prompt string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("cannot read the password: %w", err)
	}
	fmt.Fprint(p.Err, prompt)
	type typed struct {
		text []byte
		err  error
	}
	done := make(chan typed, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		done <- typed{text, err}
	}()
	select {
	case t := <-done:
		fmt.Fprintln(p.Err)
		if t.err != nil {
			return "", fmt.Errorf("cannot read the password: %w", t.err)
		}
		return string(t.text), nil
	case <-ctx.Done():
		fmt.Fprintln(p.Err)
		return "", errors.Join(errors.New("interrupted"), term.Restore(fd, before))
	}
}

// did prints what was done, in one line or as JSON.
func (p *program) did(asJSON bool, v any, format string, args ...any) error {
	if asJSON {
		return p.printJSON(v)
	}
	_, err := fmt.Fprintf(p.Out, format+"\n", args...)
	return err
}

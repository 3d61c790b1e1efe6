package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"doorward"
)

type userImportCmd struct {
	File      string   `arg:"" name:"file" help:"An htpasswd file, or a JSON list of users; - is standard input."`
	Role      string   `name:"role" placeholder:"ROLE" help:"The role of those for whom the file says none."`
	Org       string   `name:"org" default:"default" placeholder:"ID" help:"The organization (default: default)."`
	Workspace []string `name:"workspace" placeholder:"ID" help:"A workspace of those for whom the file says none; may be repeated (default: default)."`
	DryRun    bool     `name:"dry-run" help:"Say what is wrong, and make nobody."`
	JSON      bool     `name:"json" help:"Print JSON."`
}

func (*userImportCmd) takes(key string) bool { return forPeople(key) }

// maxImport is the most that a file of accounts may hold, in bytes: room for some 500,000.
const maxImport = 64 << 20

// Run makes users of all accounts in the file, or says what is wrong with each and makes none.
func (c *userImportCmd) Run(ctx context.Context, p *program, src *sources) error {
	o, err := p.openOffice(ctx, c, src)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.organization(ctx, c.Org); err != nil {
		return err
	}
	text, name, err := c.read(p.In)
	if err != nil {
		return err
	}
	read := readHtpasswd
	if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("[")) {
		read = readUsersJSON
	}
	all, problems := read(name, text)
	for i := range all {
		if all[i].Role == "" {
			all[i].Role = c.Role
		}
		if all[i].Role == "" {
			problems = append(problems, fmt.Errorf("%s: no role is given; say --role", all[i].Place))
		}
		if len(all[i].Workspaces) == 0 {
			all[i].Workspaces = c.Workspace
		}
	}
	if len(problems) == 0 {
		if problems, err = o.ImportUsers(ctx, hand(c.Org), all, c.DryRun); err != nil {
			return err
		}
	}
	if len(problems) > 0 {
		for _, problem := range problems {
			p.complain(problem)
		}
		return errComplained
	}
	users := "users"
	if len(all) == 1 {
		users = "user"
	}
	done := "imported"
	if c.DryRun {
		done = "nothing is wrong; without --dry-run this would import"
	}
	return p.did(c.JSON, map[string]any{"users": len(all), "dry_run": c.DryRun}, "%s %d %s into organization %s", done, len(all), users, c.Org)
}

func (c *userImportCmd) read(stdin io.Reader) (text []byte, name string, err error) {
	from, name := stdin, "standard input"
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, "", fmt.Errorf("cannot open %s: %w", c.File, reason(err))
		}
		defer f.Close()
		from, name = f, c.File
	}
	text, err = io.ReadAll(io.LimitReader(from, maxImport+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("cannot read %s: %w", name, reason(err))
	case len(text) > maxImport:
		return nil, "", fmt.Errorf("%s holds more than %d MiB; import it in parts", name, maxImport>>20)
	case !utf8.Valid(text):
		return nil, "", fmt.Errorf("%s is not UTF-8", name)
	}
	return text, name, nil
}

// readHtpasswd reads lines of name:hash, as Apache's htpasswd and nginx have them. Its
// errors hold no hash.
func readHtpasswd(name string, text []byte) (all []doorward.ImportedUser, problems []error) {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		place := fmt.Sprintf("%s:%d", name, n)
		user, hash, ok := strings.Cut(line, ":")
		if !ok {
			problems = append(problems, fmt.Errorf("%s: is not a line of htpasswd, name:hash", place))
			continue
		}
		if why := unusableHash(hash); why != "" {
			problems = append(problems, fmt.Errorf("%s: %s; give this user a new password with htpasswd -B, or take the line out and use: doorward user add", place, why))
			continue
		}
		all = append(all, doorward.ImportedUser{Place: place, Username: user, Hash: hash})
	}
	return all, problems
}

// unusableHash says why a hash of htpasswd is not accepted; empty where it may be.
func unusableHash(hash string) string {
	switch {
	case strings.HasPrefix(hash, "$2"), strings.HasPrefix(hash, "$argon2id$"):
		return ""
	case strings.HasPrefix(hash, "{SHA}"), strings.HasPrefix(hash, "{SSHA}"):
		return "the password is hashed with SHA-1, which is guessed by the billion"
	case strings.HasPrefix(hash, "$apr1$"), strings.HasPrefix(hash, "$1$"):
		return "the password is hashed with MD5, which is guessed by the million"
	case strings.HasPrefix(hash, "$5$"), strings.HasPrefix(hash, "$6$"):
		return "the password is hashed with SHA-crypt, which is not read here"
	case strings.HasPrefix(hash, "$argon2"):
		return "the password is hashed with a form of Argon2 other than argon2id, which is not read here"
	case len(hash) == 13:
		return "the password is hashed with crypt, which reads eight characters of it"
	}
	return "the password is neither a bcrypt nor an argon2id hash"
}

// jsonUser is a user of a JSON list.
type jsonUser struct {
	Username     string   `json:"username"`
	Role         string   `json:"role"`
	Workspaces   []string `json:"workspaces"`
	Password     string   `json:"password"`
	PasswordHash string   `json:"password_hash"`
	Disabled     bool     `json:"disabled"`
	MustChange   bool     `json:"must_change"`
}

// namesFields reports whether each field of an object is named exactly, and once. The
// decoder takes ROLE for role and the last of two, and who looks the file through may see the other.
func namesFields(raw json.RawMessage) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return false
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok || seen[name] || !slices.Contains([]string{"username", "role", "workspaces", "password", "password_hash", "disabled", "must_change"}, name) {
			return false
		}
		seen[name] = true
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return false
		}
	}
	return true
}

// readUsersJSON reads a list of users. Its errors hold no password and no hash.
func readUsersJSON(name string, text []byte) (all []doorward.ImportedUser, problems []error) {
	d := json.NewDecoder(bytes.NewReader(text))
	at := func() int { return 1 + bytes.Count(text[:d.InputOffset()], []byte("\n")) }
	if _, err := d.Token(); err != nil {
		return nil, []error{fmt.Errorf("%s: is not a JSON list", name)}
	}
	for d.More() {
		var raw json.RawMessage
		err := d.Decode(&raw)
		place := fmt.Sprintf("%s:%d", name, at()) // of its last line
		if err != nil {
			return nil, append(problems, fmt.Errorf("%s: is not valid JSON", place))
		}
		var u jsonUser
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&u); err != nil || raw[0] != '{' || !namesFields(raw) {
			problems = append(problems, fmt.Errorf("%s: must be an object with username, role, workspaces, disabled, must_change and password or password_hash, each of its type", place))
			continue
		}
		all = append(all, doorward.ImportedUser{
			Place: place, Username: u.Username, Role: u.Role, Workspaces: u.Workspaces,
			Password: u.Password, Hash: u.PasswordHash, Disabled: u.Disabled, MustChange: u.MustChange,
		})
	}
	if _, err := d.Token(); err != nil {
		return nil, append(problems, fmt.Errorf("%s:%d: is not valid JSON", name, at()))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, append(problems, fmt.Errorf("%s:%d: has something after the list", name, at()))
	}
	return all, problems
}

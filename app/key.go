package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"doorward"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Make an API key and print it; it is never shown again."`
	List   keyListCmd   `cmd:"" help:"List the API keys that are not revoked."`
	Rotate keyRotateCmd `cmd:"" help:"Put another key in the place of one, which lives on for a while."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke an API key: it and its sessions are dead from then on."`
}

type keyCreateCmd struct {
	Name      string   `arg:"" name:"name" help:"What people are to call it."`
	Owner     string   `name:"owner" placeholder:"NAME" xor:"whose" help:"The user whose key it is, and without whom it is no good."`
	Service   bool     `name:"service" xor:"whose" help:"It belongs to the workspace."`
	Role      string   `name:"role" required:"" placeholder:"ROLE" help:"superadmin, admin, editor or viewer; never more than the owner's."`
	Workspace string   `name:"workspace" placeholder:"ID" help:"Where it is good (default: default, or else the owner's first)."`
	Org       string   `name:"org" placeholder:"ID" default:"default" help:"The organization of a service key (default: ${default})."`
	ExpiresIn string   `name:"expires-in" placeholder:"DURATION" xor:"expires" help:"How long it is good, like 90d (default: for ever)."`
	ExpiresAt string   `name:"expires-at" placeholder:"TIME" xor:"expires" help:"Until when it is good, like 2030-12-31T23:59:59Z."`
	ClientIDs []string `name:"client-id" placeholder:"ID" help:"A client id that it may be exchanged for; may be repeated (default: any)."`
	JSON      bool     `name:"json" help:"Print JSON."`
}

type keyListCmd struct {
	Owner  string `name:"owner" placeholder:"NAME" help:"Only those of this user."`
	Search string `name:"search" placeholder:"TEXT" help:"Only those whose names begin with it, or the one whose first characters it is."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

type keyRotateCmd struct {
	ID      string `arg:"" name:"id" help:"The key, as key list shows it."`
	Overlap string `name:"overlap" placeholder:"DURATION" default:"24h" help:"How long the old one lives on, 0s to 30d (default: ${default})."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

type keyRevokeCmd struct {
	ID   string `arg:"" name:"id" help:"The key, as key list shows it."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (*keyListCmd) takes(key string) bool   { return inDatabase(key) }
func (*keyRevokeCmd) takes(key string) bool { return inDatabase(key) }
func (*keyCreateCmd) takes(key string) bool { return inDatabase(key) || key == "names.key_prefix" }
func (*keyRotateCmd) takes(key string) bool { return inDatabase(key) || key == "names.key_prefix" }

// Validate refuses to guess whose key is meant.
func (c *keyCreateCmd) Validate() error {
	if (c.Owner != "") == c.Service {
		return errors.New("needs one of --owner NAME and --service")
	}
	return nil
}

// keyShown is a key as it is shown to programs.
type keyShown struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Role         string   `json:"role"`
	Prefix       string   `json:"prefix"`
	Org          string   `json:"org_id"`
	Workspace    string   `json:"workspace"`
	Owner        string   `json:"owner"` // the username
	Service      bool     `json:"service"`
	ClientIDs    []string `json:"client_ids"`
	Created      string   `json:"created"`
	Expires      string   `json:"expires_at"`
	LastUsed     string   `json:"last_used"`
	RotatedTo    string   `json:"rotated_to"`
	OverlapUntil string   `json:"overlap_until"`
	Key          string   `json:"key,omitempty"`
}

func shownKey(k doorward.KeyState, secret string) keyShown {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return second(t)
	}
	return keyShown{
		ID: k.ID, Name: k.Name, Role: string(k.Ceiling()), Prefix: k.Prefix, Org: k.Org, Workspace: k.Workspace, Owner: k.Holder.Username,
		Service: k.Service(), ClientIDs: k.ClientIDs, Created: at(k.Created), Expires: at(k.Expires), LastUsed: at(k.LastUsed),
		RotatedTo: k.RotatedTo, OverlapUntil: at(k.OverlapUntil), Key: secret,
	}
}

// newSecret makes a key's secret, and its id.
func (p *program) newSecret(prefix string) (id, secret string, err error) {
	if secret, err = doorward.NewAPIKey(prefix, p.random); err != nil {
		return "", "", err
	}
	id = doorward.MakeKeyID(func(b []byte) {
		if err == nil {
			_, err = io.ReadFull(p.random, b)
		}
	})
	return id, secret, err
}

// Run makes a key, durably before it is printed. On standard output is the key alone.
func (c *keyCreateCmd) Run(ctx context.Context, p *program, src *sources) error {
	n := doorward.NewKey{Name: c.Name, Role: c.Role, Workspace: c.Workspace, Service: c.Service, ClientIDs: c.ClientIDs}
	if err := c.expiry(&n); err != nil {
		return err
	}
	k, err := n.Key(time.Now())
	if err != nil {
		return err
	}
	kept, l, err := p.openKept(ctx, c, src)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // what was acknowledged is durable without it
	if err := c.place(ctx, kept, &k); err != nil {
		return err
	}
	id, secret, err := p.newSecret(l.KeyPrefix)
	if err != nil {
		return err
	}
	k.ID, k.Prefix = id, doorward.ShownOfKey(secret)
	a := auditByHand("key.create", k.ID, k.Org)
	a.Detail += ": " + k.Words()
	made, err := kept.CreateKey(ctx, k, doorward.HashSecret(secret), doorward.MaxKeysOfOne, k.CheckHolder, a)
	if errors.Is(err, doorward.ErrForbidden) {
		err = fmt.Errorf("--role: %s has not the role %s", c.Owner, k.Role)
	}
	if err != nil {
		return err
	}
	return p.printNewKey(made, secret, c.JSON, fmt.Sprintf("made key %s", describeKey(made)))
}

func (c *keyCreateCmd) expiry(n *doorward.NewKey) (err error) {
	switch {
	case c.ExpiresIn != "":
		if n.ExpiresIn, err = positive(c.ExpiresIn); err != nil {
			return fmt.Errorf("--expires-in: %w", err)
		}
	case c.ExpiresAt != "":
		if n.Expires, err = time.Parse(time.RFC3339, c.ExpiresAt); err != nil {
			return fmt.Errorf("--expires-at: %s is not a time like 2030-12-31T23:59:59Z", shown(c.ExpiresAt))
		}
	}
	return nil
}

// place says whose k is, and where.
func (c *keyCreateCmd) place(ctx context.Context, kept doorward.Store, k *doorward.Key) error {
	if c.Service {
		k.Org = c.Org
		if k.Workspace == "" {
			k.Workspace = doorward.Default
		}
		return nil
	}
	u, err := userNamed(ctx, kept, c.Owner)
	if err != nil {
		return err
	}
	k.Owner, k.Org = u.ID, u.Org
	if k.Workspace == "" {
		k.Workspace, _ = doorward.Identity{Workspaces: doorward.JoinWorkspaces(u.Workspaces)}.PickWorkspace("") // asks for none
	}
	return nil
}

// userNamed finds a user by name, in whatever organization.
func userNamed(ctx context.Context, kept doorward.Store, name string) (doorward.User, error) {
	canonical, possible := doorward.CanonicalUsername(name)
	if !possible {
		return doorward.User{}, errors.New("there is no user of that name")
	}
	u, _, found, err := kept.UserByName(ctx, canonical)
	if err == nil && !found {
		err = fmt.Errorf("there is no user %s", canonical)
	}
	return u, err
}

func describeKey(k doorward.KeyState) string {
	whose := "a service key"
	if !k.Service() {
		whose = "of " + k.Holder.Username
	}
	words := fmt.Sprintf("%s (%s), %s, %s in %s", k.ID, onOneLine(k.Name), whose, k.Ceiling(), k.Workspace)
	if !k.Expires.IsZero() {
		words += ", good until " + second(k.Expires)
	}
	return words
}

// printNewKey prints a key's secret alone, so that the output can be used as it is, and says beside it what was done.
func (p *program) printNewKey(k doorward.KeyState, secret string, asJSON bool, did string) error {
	if asJSON {
		return p.printJSON(shownKey(k, secret))
	}
	if _, err := fmt.Fprintln(p.Out, secret); err != nil {
		return err
	}
	fmt.Fprintf(p.Err, "%s: %s\n", p.name, oneLine(did))
	return nil
}

// Run lists keys a page at a time, however many there are.
func (c *keyListCmd) Run(ctx context.Context, p *program, src *sources) error {
	kept, _, err := p.openKept(ctx, c, src)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // it was only read
	q := doorward.KeyQuery{Search: c.Search, Limit: 1000}
	if c.Owner != "" {
		u, err := userNamed(ctx, kept, c.Owner)
		if err != nil {
			return err
		}
		q.Owner = u.ID
	}
	out := bufio.NewWriter(p.Out)
	var all []keyShown
	if !c.JSON {
		fmt.Fprintf(out, "%-28s  %-12s  %-10s  %-20s  %-20s  %s\n", "ID", "BEGINS", "ROLE", "LAST USED", "ENDS", "WHERE, WHOSE AND WHAT FOR")
	}
	for {
		keys, err := kept.Keys(ctx, q)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if c.JSON {
				all = append(all, shownKey(k, ""))
				continue
			}
			fmt.Fprintln(out, listedKey(k))
		}
		if len(keys) < q.Limit {
			break
		}
		last := keys[len(keys)-1]
		q.After = doorward.KeyPlace{Name: strings.ToLower(last.Name), ID: last.ID}
	}
	if c.JSON {
		return p.printJSON(map[string][]keyShown{"keys": append([]keyShown{}, all...)})
	}
	return out.Flush()
}

func listedKey(k doorward.KeyState) string {
	used, ends := "never", "never"
	if !k.LastUsed.IsZero() {
		used = second(k.LastUsed)
	}
	if stops := k.Stops(); !stops.IsZero() {
		ends = second(stops)
	}
	whose := "service"
	if !k.Service() {
		whose = k.Holder.Username
	}
	where := k.Workspace
	if k.Org != doorward.Default {
		where = k.Org + "/" + k.Workspace
	}
	return fmt.Sprintf("%-28s  %-12s  %-10s  %-20s  %-20s  %s  %s  %s", k.ID, onOneLine(k.Prefix), k.Ceiling(), used, ends, where, whose, onOneLine(k.Name))
}

// errNoKey does not repeat the id, in whose place somebody may have put a key.
var errNoKey = errors.New("there is no key with that id; key list shows those that are not revoked")

// Run rotates a key, durably before the new one is printed.
func (c *keyRotateCmd) Run(ctx context.Context, p *program, src *sources) error {
	overlap, err := duration(c.Overlap)
	if err == nil {
		err = doorward.CheckOverlap("overlap", overlap)
	}
	if err != nil {
		return fmt.Errorf("--overlap: %w", err)
	}
	kept, l, err := p.openKept(ctx, c, src)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // what was acknowledged is durable without it
	id, secret, err := p.newSecret(l.KeyPrefix)
	if err != nil {
		return err
	}
	was, found, err := kept.Key(ctx, c.ID)
	if err != nil {
		return err
	}
	if !found {
		return errNoKey
	}
	a := auditByHand("key.rotate", c.ID, was.Org)
	a.Detail += ": to " + id + ", overlap " + overlap.String()
	old, next, _, found, err := kept.RotateKey(ctx, c.ID, func(old doorward.KeyState, now time.Time) (doorward.KeyRotation, error) {
		return old.Rotation(id, doorward.ShownOfKey(secret), doorward.HashSecret(secret), now, overlap)
	}, a)
	switch {
	case err != nil:
		return err
	case !found:
		return errNoKey
	}
	until := "is dead now"
	if old.Revoked.IsZero() {
		until = "is good until " + second(old.OverlapUntil)
	}
	return p.printNewKey(next, secret, c.JSON, fmt.Sprintf("made key %s; the old one, %s, %s", describeKey(next), old.ID, until))
}

// Run revokes a key, durably before it says so.
func (c *keyRevokeCmd) Run(ctx context.Context, p *program, src *sources) error {
	kept, _, err := p.openKept(ctx, c, src)
	if err != nil {
		return err
	}
	defer kept.Close() //nolint:errcheck // what was acknowledged is durable without it
	was, found, err := kept.Key(ctx, c.ID)
	if err != nil {
		return err
	}
	if !found {
		return errNoKey
	}
	k, ended, found, err := kept.RevokeKey(ctx, c.ID, func(doorward.KeyState) error { return nil }, auditByHand("key.revoke", c.ID, was.Org))
	switch {
	case err != nil:
		return err
	case !found:
		return errNoKey
	}
	if c.JSON {
		return p.printJSON(map[string]any{"revoked": k.ID, "ended": len(ended)})
	}
	_, err = fmt.Fprintf(p.Out, "revoked key %s (%s), and ended %d of its sessions\n", k.ID, onOneLine(k.Name), len(ended))
	return err
}

package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"doorward"
)

// tokenFields are the keys of an entry of api_tokens in the file.
var tokenFields = [...]string{"token", "token_file", "name", "role", "client_ids", "workspace"}

// apiTokens is the setter of api_tokens: tokens separated by commas, or in the file a
// list of tokens and of mappings that say more.
func apiTokens(to *[]APIToken) func(given) error {
	return func(g given) error {
		var (
			all []APIToken
			err error
		)
		if g.node != nil && g.node.kind == listNode {
			all, err = listedTokens(g.node.items)
		} else {
			all, err = writtenTokens(g)
		}
		if err != nil {
			return err
		}
		*to = all
		return nil
	}
}

func writtenTokens(g given) ([]APIToken, error) {
	items, err := g.items()
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, errEmptySecret
	}
	var all []APIToken
	for n, i := range items {
		t := newAPIToken()
		if err := t.setToken(i.text); err != nil {
			return nil, fmt.Errorf("entry %d %w", n+1, err)
		}
		if all, err = addToken(all, t); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func listedTokens(items []node) ([]APIToken, error) {
	var all []APIToken
	for _, n := range items {
		t, err := listedToken(n)
		if err != nil {
			return nil, err
		}
		if all, err = addToken(all, t); err != nil {
			return nil, atLine{n.line, err}
		}
	}
	return all, nil
}

func listedToken(n node) (APIToken, error) {
	t := newAPIToken()
	if n.kind != mapNode {
		text, err := n.scalar()
		if err == nil {
			err = t.setToken(text)
		}
		if err != nil {
			return t, atLine{n.line, err}
		}
		return t, nil
	}
	for _, f := range n.fields {
		if err := t.setField(f); err != nil {
			var at atLine
			if errors.As(err, &at) {
				return t, err
			}
			return t, atLine{f.line, err}
		}
	}
	if t.Token == nil {
		return t, atLine{n.line, errors.New("an entry has neither token nor token_file")}
	}
	return t, nil
}

func newAPIToken() APIToken {
	return APIToken{Role: doorward.Editor, Workspace: doorward.Default}
}

// addToken appends t unless it is there already, word for word. The same token with
// other terms is refused, since a request could not tell which it meant.
func addToken(all []APIToken, t APIToken) ([]APIToken, error) {
	for n, other := range all {
		if string(other.Token) != string(t.Token) {
			continue
		}
		if other.Name != t.Name || other.Role != t.Role || other.Workspace != t.Workspace || !slices.Equal(other.ClientIDs, t.ClientIDs) {
			return nil, fmt.Errorf("entry %d is the same token with other terms", n+1)
		}
		return all, nil
	}
	return append(all, t), nil
}

func (t *APIToken) setToken(s string) error {
	if s == "" {
		return errEmptySecret
	}
	if err := visible(s); err != nil {
		return err
	}
	t.Token = doorward.Secret(s)
	return nil
}

func (t *APIToken) setField(f field) error {
	if f.name == "client_ids" {
		return t.setClientIDs(f.value)
	}
	if !slices.Contains(tokenFields[:], f.name) {
		return fmt.Errorf("unknown field %s%s", printable(f.name), nearestKnown(f.name, tokenFields[:]))
	}
	text, err := f.value.scalar()
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	switch f.name {
	case "token", "token_file":
		if t.Token != nil {
			return errBoth
		}
		if f.name == "token_file" {
			if text, _, err = readSecret(text); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		if err := t.setToken(text); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	case "name":
		if err := doorward.CheckClientID(f.name, text); err != nil {
			return err
		}
		t.Name = text
	case "role":
		role, err := doorward.ParseRole(text)
		if err != nil {
			return err
		}
		t.Role = role
	case "workspace":
		if !slug(text) {
			return fmt.Errorf("workspace: %s must have 1 to 63 of a-z, 0-9 and -", shown(text))
		}
		t.Workspace = text
	}
	return nil
}

func (t *APIToken) setClientIDs(n node) error {
	items, err := given{node: &n}.items()
	if err != nil {
		return fmt.Errorf("client_ids: %w", err)
	}
	if len(items) == 0 {
		return errors.New("client_ids: names none; leave it out to allow any")
	}
	for _, i := range items {
		if err := doorward.CheckClientID("client_ids", i.text); err != nil {
			return i.wrong(err)
		}
		t.ClientIDs = append(t.ClientIDs, i.text)
	}
	return nil
}

// slug reports whether s can be the id of a workspace.
func slug(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

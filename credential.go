package doorward

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Credential is a machine's secret of high entropy as it is known here: by its SHA-256
// only, with what it grants.
type Credential struct {
	ID         string // key_... or tok_...
	Kind       Kind   // KindKey or KindClient: what it acts as when shown as itself
	Name       string // for people; may be empty
	Role       Role
	Org        string
	Workspaces Workspaces
	ClientIDs  []string // the only client ids it may be exchanged for; nil for any
	hash       SecretHash
}

// Terms says in one line all that the credential grants, so that a session made with it
// can be told from one made when it granted something else.
func (c Credential) Terms() string {
	ids := slices.Clone(c.ClientIDs)
	slices.Sort(ids)
	return fmt.Sprintf("role=%s org=%s ws=%s clients=%s", c.Role, c.Org, c.Workspaces, strings.Join(ids, ","))
}

// mayNameClient reports whether the credential may be exchanged under client id.
func (c Credential) mayNameClient(id string) bool {
	return c.ClientIDs == nil || slices.Contains(c.ClientIDs, id)
}

// identity is who shows the credential as itself.
func (c Credential) identity() Identity {
	subject := c.ID
	if c.Kind == KindClient && c.Name != "" {
		subject = c.Name
	}
	return Identity{
		Kind: c.Kind, Subject: subject, Role: c.Role, Org: c.Org, Workspaces: c.Workspaces,
		Credential: c.ID, Via: ViaSecret,
	}
}

// ConfiguredCredential is a secret given in the settings.
type ConfiguredCredential struct {
	Secret    Secret
	Kind      Kind // KindKey for the operator's key, KindClient for an API token
	Name      string
	Role      Role
	Workspace string // empty for default
	ClientIDs []string
}

// credentials looks secrets up by their SHA-256. It is immutable once made.
type credentials struct {
	byHash map[SecretHash]*Credential
	byID   map[string]*Credential
}

// newCredentials derives an id for each configured secret from the installation's salt:
// the same in every run and on every node, and of no help in guessing a weak secret to
// whoever sees it in a log or a header.
func newCredentials(salt []byte, configured []ConfiguredCredential) (credentials, error) {
	c := credentials{make(map[SecretHash]*Credential), make(map[string]*Credential)}
	key, err := hkdf.Key(sha256.New, salt, nil, "doorward credential ids", sha256.Size)
	if err != nil {
		return c, fmt.Errorf("cannot derive the key for credential ids: %w", err)
	}
	for _, cc := range configured {
		if len(cc.Secret) == 0 {
			return c, fmt.Errorf("an API key or API token is empty")
		}
		if cc.Role.Rank() == 0 {
			return c, fmt.Errorf("an API key or API token has no role")
		}
		cred := &Credential{
			Kind: cc.Kind, Name: cc.Name, Role: cc.Role, Org: Default, Workspaces: Workspaces(cc.Workspace),
			ClientIDs: cc.ClientIDs, hash: HashSecret(string(cc.Secret)),
		}
		if cred.Workspaces == "" {
			cred.Workspaces = Default
		}
		mac := hmac.New(sha256.New, key)
		mac.Write(cred.hash[:])
		prefix := tokenPrefix
		if cc.Kind == KindKey {
			prefix = keyPrefix
		}
		cred.ID = prefix + hex.EncodeToString(mac.Sum(nil)[:10])
		if twin, ok := c.byHash[cred.hash]; ok {
			if twin.Kind == cred.Kind && twin.Name == cred.Name && twin.Terms() == cred.Terms() {
				continue
			}
			return c, fmt.Errorf("one secret is configured twice with different terms (api_key, api_tokens)")
		}
		c.byHash[cred.hash], c.byID[cred.ID] = cred, cred
	}
	return c, nil
}

// find looks a secret up. The comparison is of SHA-256 values, so how long it takes says
// nothing about a secret.
func (c credentials) find(secret string) (*Credential, bool) {
	cred, ok := c.byHash[HashSecret(secret)]
	return cred, ok
}

// terms maps each configured credential to what it grants.
func (c credentials) terms() map[string]string {
	m := make(map[string]string, len(c.byID))
	for id, cred := range c.byID {
		m[id] = cred.Terms()
	}
	return m
}

package api

import (
	"net/http"
	"time"

	"doorward"
	"doorward/gate"
)

// keyBody is a key as it is listed. What it does not have is null.
type keyBody struct {
	ID           string     `json:"id" is:"KeyID"`
	Name         string     `json:"name" is:"KeyName"`
	Role         string     `json:"role" is:"Role"` // no more than the owner's
	Prefix       string     `json:"prefix" is:"KeyPrefix"`
	OrgID        string     `json:"org_id" is:"Slug"`
	Workspace    string     `json:"workspace" is:"Slug"`
	Owner        *keyOwner  `json:"owner"`
	Service      bool       `json:"service"`
	ClientIDs    []string   `json:"client_ids" is:"ClientID,null"`
	Created      time.Time  `json:"created" is:"Time"`
	Expires      *time.Time `json:"expires_at" is:"Time"`
	LastUsed     *time.Time `json:"last_used" is:"Time"`
	RotatedTo    *string    `json:"rotated_to" is:"KeyID"`
	OverlapUntil *time.Time `json:"overlap_until" is:"Time"`
}

type keyOwner struct {
	ID       string `json:"id" is:"UserID"`
	Username string `json:"username" is:"Username"`
}

// newKeyBody is a key that was just made, with the secret, which is shown this once.
type newKeyBody struct {
	keyBody
	Key string `json:"key" is:"APIKey"`
}

func keyBodyOf(k doorward.KeyState) keyBody {
	b := keyBody{
		ID: k.ID, Name: k.Name, Role: string(k.Ceiling()), Prefix: k.Prefix, OrgID: k.Org, Workspace: k.Workspace, Service: k.Service(),
		ClientIDs: k.ClientIDs, Created: k.Created.UTC(), Expires: when(k.Expires), LastUsed: when(k.LastUsed), OverlapUntil: when(k.OverlapUntil),
	}
	if !k.Service() {
		b.Owner = &keyOwner{k.Owner, k.Holder.Username}
	}
	if k.RotatedTo != "" {
		b.RotatedTo = &k.RotatedTo
	}
	return b
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// createKey makes a key of the caller's own, or a service key.
func (a *api) createKey(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	n, err := newKey(o)
	if err != nil {
		return err
	}
	k, secret, err := a.Authority.CreateKey(r.Context(), p.Caller(r), n)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusCreated, newKeyBody{keyBodyOf(k), string(secret)})
	return nil
}

func newKey(o object) (n doorward.NewKey, err error) {
	if n.Name, err = o.required("name"); err != nil {
		return n, err
	}
	if n.Role, err = o.required("role"); err != nil {
		return n, err
	}
	if _, given := o["workspace"]; given {
		if n.Workspace, err = o.required("workspace"); err != nil {
			return n, err
		}
	}
	service, err := o.flag("service")
	if err != nil {
		return n, err
	}
	n.Service = service != nil && *service
	if n.ClientIDs, err = o.list("client_ids"); err != nil {
		return n, err
	}
	if _, given := o["expires_at"]; given {
		s, err := o.required("expires_at")
		if err != nil {
			return n, err
		}
		if n.Expires, err = time.Parse(time.RFC3339, s); err != nil || n.Expires.Year() < 1970 {
			return n, doorward.Invalid("expires_at", "must be a time like 2030-12-31T23:59:59Z (RFC 3339)")
		}
	}
	if _, given := o["expires_in"]; given {
		if n.ExpiresIn, err = o.duration("expires_in"); err == nil && n.ExpiresIn <= 0 {
			err = doorward.Invalid("expires_in", "must be more than zero, and 36500d at most")
		}
	}
	return n, err
}

// duration reads a field that is a duration and must be there.
func (o object) duration(name string) (time.Duration, error) {
	s, err := o.required(name)
	if err != nil {
		return 0, err
	}
	d, ok := doorward.ParseDuration(s)
	if !ok {
		return 0, doorward.Invalid(name, "must be a duration like 90s, 24h or 7d")
	}
	return d, nil
}

type keysBody struct {
	Keys []keyBody `json:"keys"`
	Next string    `json:"next" is:"Mark"`
}

func (a *api) listKeys(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	limit, err := pageLimit(r.URL.Query())
	if err != nil {
		return err
	}
	q := r.URL.Query()
	after, err := doorward.ParseKeyPlace(q.Get("after"))
	if err != nil {
		return err
	}
	search := q.Get("search")
	if !doorward.KeySearch(search) {
		gate.WriteJSON(w, http.StatusOK, keysBody{Keys: []keyBody{}}) // no name is like that
		return nil
	}
	list := a.Authority.Keys
	switch q.Get("mine") {
	case "", "false":
	case "true":
		list = a.Authority.OwnKeys
	default:
		return doorward.Invalid("mine", "must be true or false")
	}
	keys, next, err := list(r.Context(), p.Caller(r), search, after, limit)
	if err != nil {
		return err
	}
	body := keysBody{Keys: make([]keyBody, 0, len(keys)), Next: next.String()}
	for _, k := range keys {
		body.Keys = append(body.Keys, keyBodyOf(k))
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

func (a *api) revokeKey(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := a.Authority.RevokeKey(r.Context(), p.Caller(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// rotateKey makes a key that takes another's place, which lives on for the overlap.
func (a *api) rotateKey(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	overlap := doorward.DefaultOverlap
	if _, given := o["overlap"]; given {
		if overlap, err = o.duration("overlap"); err != nil {
			return err
		}
	}
	_, next, secret, err := a.Authority.RotateKey(r.Context(), p.Caller(r), r.PathValue("id"), overlap)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusCreated, newKeyBody{keyBodyOf(next), string(secret)})
	return nil
}

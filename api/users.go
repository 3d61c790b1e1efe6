package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"doorward"
	"doorward/gate"
)

type userBody struct {
	ID         string   `json:"id" is:"UserID"`
	Username   string   `json:"username" is:"Username"`
	Role       string   `json:"role" is:"Role"`
	Workspaces []string `json:"workspaces" is:"Slug"`
	Disabled   bool     `json:"disabled"`
}

func bodyOf(u doorward.User) userBody {
	return userBody{u.ID, u.Username, string(u.Role), append([]string{}, u.Workspaces...), u.Disabled}
}

// createUser makes a user; while there is none, the first.
func (a *api) createUser(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	n, err := newUser(o)
	if err != nil {
		return err
	}
	var u doorward.User
	if p.Identity.IsZero() { // only where no user exists does the door let nobody in
		var keys []string
		if keys, err = headerSecrets(r); err == nil {
			u, err = a.Authority.CreateFirstUser(r.Context(), p.Caller(r), r.Header.Get("X-Setup-Code"), keys, n)
		}
	} else {
		u, err = a.Authority.CreateUser(r.Context(), p.Caller(r), n)
	}
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusCreated, bodyOf(u))
	return nil
}

func newUser(o object) (n doorward.NewUser, err error) {
	if n.Username, err = o.required("username"); err != nil {
		return n, err
	}
	if n.Password, err = o.required("password"); err != nil {
		return n, err
	}
	if n.Role, err = o.text("role"); err != nil {
		return n, err
	}
	if _, given := o["role"]; given && n.Role == "" {
		return n, doorward.Invalid("role", "must be one of superadmin, admin, editor, viewer")
	}
	if n.Workspaces, err = o.list("workspaces"); err != nil {
		return n, err
	}
	must, err := o.flag("must_change")
	n.MustChange = must != nil && *must
	return n, err
}

// headerSecrets is what stands where a first-user request may carry the operator's key.
func headerSecrets(r *http.Request) ([]string, error) {
	var secrets []string
	token, present, err := gate.Bearer(r)
	if err != nil {
		return nil, err
	}
	if present {
		secrets = append(secrets, token)
	}
	keys := r.Header.Values("X-Api-Key")
	if len(keys) > 1 {
		return nil, doorward.Invalid("X-API-Key", "must not be given twice")
	}
	return append(secrets, keys...), nil
}

// pageSize is how many a page of a list has.
const pageSize = 100

func (a *api) listUsers(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q := r.URL.Query()
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	search, ok := canonicalPart(q.Get("search"))
	if !ok {
		gate.WriteJSON(w, http.StatusOK, usersBody{Users: []userBody{}})
		return nil
	}
	after := q.Get("after") // a name, or one behind a mark that says which part of the list is meant
	if name, ok := canonicalPart(strings.TrimPrefix(after, "~")); !ok || name != strings.ToLower(strings.TrimPrefix(after, "~")) {
		return doorward.Invalid("after", "is not where a page begins")
	}
	users, next, err := a.Authority.Users(r.Context(), p.Caller(r), search, strings.ToLower(after), limit)
	if err != nil {
		return err
	}
	body := usersBody{Users: make([]userBody, 0, len(users)), Next: next}
	for _, u := range users {
		body.Users = append(body.Users, bodyOf(u))
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

// pageLimit reads how many a page is to list.
func pageLimit(q url.Values) (int, error) {
	s := q.Get("limit")
	if s == "" {
		return pageSize, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > pageSize {
		return 0, doorward.Invalid("limit", "must be a number from 1 to %d", pageSize)
	}
	return n, nil
}

type usersBody struct {
	Users []userBody `json:"users"`
	Next  string     `json:"next" is:"Mark"`
}

// canonicalPart is a part of a username in the form in which they are compared; what no
// username can hold matches none.
func canonicalPart(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	return doorward.CanonicalUsername(s)
}

func (a *api) changeUser(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	var c doorward.UserChange
	if _, given := o["role"]; given {
		role, err := o.text("role")
		if err != nil {
			return err
		}
		c.Role = &role
	}
	if c.Workspaces, err = o.list("workspaces"); err != nil {
		return err
	}
	if c.Disabled, err = o.flag("disabled"); err != nil {
		return err
	}
	u, err := a.Authority.ChangeUser(r.Context(), p.Caller(r), r.PathValue("id"), c)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, bodyOf(u))
	return nil
}

func (a *api) deleteUser(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := a.Authority.DeleteUser(r.Context(), p.Caller(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

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
	n, invited, err := newUser(o)
	if err != nil {
		return err
	}
	first := p.Identity.IsZero() // only where no user exists does the door let nobody in
	switch {
	case first && invited:
		return doorward.Invalid("invite", "must not be given for the first user, who chooses a password")
	case invited:
		u, i, err := a.Authority.CreateInvited(r.Context(), p.Caller(r), n)
		if err != nil {
			return err
		}
		link := a.inviteOf(p, i)
		gate.WriteJSON(w, http.StatusCreated, createdUserBody{bodyOf(u), &link})
		return nil
	}
	var u doorward.User
	if first {
		var keys []string
		if keys, err = headerSecrets(r); err == nil {
			codes := r.Header.Values("X-Setup-Code")
			if len(codes) > 1 {
				return doorward.Invalid("X-Setup-Code", "must not be given twice")
			}
			u, err = a.Authority.CreateFirstUser(r.Context(), p.Caller(r), strings.Join(codes, ""), keys, n)
		}
	} else {
		u, err = a.Authority.CreateUser(r.Context(), p.Caller(r), n)
	}
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusCreated, createdUserBody{userBody: bodyOf(u)})
	return nil
}

// newUser reads a user to be made, with a password or invited to choose one.
func newUser(o object) (n doorward.NewUser, invited bool, err error) {
	if n.Username, err = o.required("username"); err != nil {
		return n, false, err
	}
	invite, err := o.flag("invite")
	if err != nil {
		return n, false, err
	}
	invited = invite != nil && *invite
	if _, given := o["password"]; given && invited {
		return n, false, doorward.Invalid("password", "must not be given together with invite")
	}
	if n.Password, err = o.text("password"); err != nil {
		return n, false, err
	}
	if n.Role, err = o.text("role"); err != nil {
		return n, false, err
	}
	if _, given := o["role"]; given && n.Role == "" {
		return n, false, doorward.Invalid("role", "must be one of superadmin, admin, editor, viewer")
	}
	if n.Workspaces, err = o.list("workspaces"); err != nil {
		return n, false, err
	}
	must, err := o.flag("must_change")
	if err != nil {
		return n, false, err
	}
	n.MustChange = must != nil && *must
	if !invited {
		_, err = o.required("password")
	}
	return n, invited, err
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
	search, ok := doorward.UserSearch(q.Get("search"))
	if !ok {
		gate.WriteJSON(w, http.StatusOK, usersBody{Users: []userBody{}})
		return nil
	}
	after, err := doorward.ParseUserPlace(q.Get("after"))
	if err != nil {
		return err
	}
	users, next, err := a.Authority.Users(r.Context(), p.Caller(r), search, after, limit)
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

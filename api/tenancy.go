package api

import (
	"net/http"
	"net/url"
	"time"
	"unicode"
	"unicode/utf8"

	"doorward"
	"doorward/gate"
)

// placeBody is an organization or a workspace.
type placeBody struct {
	ID      string `json:"id" is:"Slug"`
	Name    string `json:"name" is:"PlaceName"`
	Created string `json:"created" is:"Time"`
}

func placeOf(id, name string, created time.Time) placeBody {
	return placeBody{id, name, created.UTC().Format(time.RFC3339)}
}

func bodyOfOrganization(o doorward.Organization) placeBody { return placeOf(o.ID, o.Name, o.Created) }
func bodyOfWorkspace(w doorward.Workspace) placeBody       { return placeOf(w.ID, w.Name, w.Created) }

type organizationsBody struct {
	Organizations []placeBody `json:"organizations"`
	Next          string      `json:"next" is:"Mark"`
}

type workspacesBody struct {
	Workspaces []placeBody `json:"workspaces"`
	Next       string      `json:"next" is:"Mark"`
}

type membersBody struct {
	Members []userBody `json:"members"`
	Next    string     `json:"next" is:"Mark"`
}

// placeQuery reads which page of a list of places is asked for. Nothing is searched for as
// what no name could hold: possible is false.
func placeQuery(q url.Values) (p doorward.PlaceQuery, possible bool, err error) {
	if p.Limit, err = pageLimit(q); err != nil {
		return p, false, err
	}
	if p.After = q.Get("after"); p.After != "" && doorward.CheckSlug("after", p.After) != nil {
		return p, false, doorward.Invalid("after", "is not where a page begins")
	}
	p.Search = q.Get("search")
	possible = utf8.ValidString(p.Search) && len(p.Search) <= 4*128
	for _, r := range p.Search {
		possible = possible && unicode.IsPrint(r)
	}
	return p, possible, nil
}

func (a *api) listOrganizations(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, possible, err := placeQuery(r.URL.Query())
	if err != nil {
		return err
	}
	body := organizationsBody{Organizations: []placeBody{}}
	if possible {
		all, next, err := a.Authority.Organizations(r.Context(), p.Caller(r), q)
		if err != nil {
			return err
		}
		for _, o := range all {
			body.Organizations = append(body.Organizations, bodyOfOrganization(o))
		}
		body.Next = next
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

// newPlace reads the body that makes a place: an id, and perhaps a name.
func newPlace(w http.ResponseWriter, r *http.Request) (id, name string, err error) {
	o, err := readJSON(w, r)
	if err != nil {
		return "", "", err
	}
	if id, err = o.required("id"); err != nil {
		return "", "", err
	}
	if _, given := o["name"]; given {
		name, err = o.required("name")
	}
	return id, name, err
}

// newName reads the body that renames a place.
func newName(w http.ResponseWriter, r *http.Request) (string, error) {
	o, err := readJSON(w, r)
	if err != nil {
		return "", err
	}
	return o.required("name")
}

func (a *api) createOrganization(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	id, name, err := newPlace(w, r)
	if err != nil {
		return err
	}
	o, err := a.Authority.CreateOrganization(r.Context(), p.Caller(r), id, name)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusCreated, bodyOfOrganization(o))
	return nil
}

func (a *api) renameOrganization(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	name, err := newName(w, r)
	if err != nil {
		return err
	}
	o, err := a.Authority.RenameOrganization(r.Context(), p.Caller(r), r.PathValue("id"), name)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, bodyOfOrganization(o))
	return nil
}

func (a *api) deleteOrganization(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := a.Authority.DeleteOrganization(r.Context(), p.Caller(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) listWorkspaces(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, possible, err := placeQuery(r.URL.Query())
	if err != nil {
		return err
	}
	body := workspacesBody{Workspaces: []placeBody{}}
	if possible {
		all, next, err := a.Authority.Workspaces(r.Context(), p.Caller(r), q)
		if err != nil {
			return err
		}
		for _, ws := range all {
			body.Workspaces = append(body.Workspaces, bodyOfWorkspace(ws))
		}
		body.Next = next
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

func (a *api) createWorkspace(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	id, name, err := newPlace(w, r)
	if err != nil {
		return err
	}
	ws, err := a.Authority.CreateWorkspace(r.Context(), p.Caller(r), id, name)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusCreated, bodyOfWorkspace(ws))
	return nil
}

func (a *api) renameWorkspace(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	name, err := newName(w, r)
	if err != nil {
		return err
	}
	ws, err := a.Authority.RenameWorkspace(r.Context(), p.Caller(r), r.PathValue("id"), name)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, bodyOfWorkspace(ws))
	return nil
}

func (a *api) deleteWorkspace(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := a.Authority.DeleteWorkspace(r.Context(), p.Caller(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) listMembers(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q := r.URL.Query()
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	users, next, err := a.Authority.Members(r.Context(), p.Caller(r), r.PathValue("id"), q.Get("after"), limit)
	if err != nil {
		return err
	}
	body := membersBody{Members: make([]userBody, 0, len(users)), Next: next}
	for _, u := range users {
		body.Members = append(body.Members, bodyOf(u))
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

func (a *api) addMember(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	user, err := o.required("user_id")
	if err != nil {
		return err
	}
	u, err := a.Authority.AddMember(r.Context(), p.Caller(r), r.PathValue("id"), user)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, bodyOf(u))
	return nil
}

func (a *api) removeMember(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := a.Authority.RemoveMember(r.Context(), p.Caller(r), r.PathValue("id"), r.PathValue("user")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

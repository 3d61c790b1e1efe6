package web

import (
	"context"
	"net/http"

	"doorward"
)

// placeRow is an organization or a workspace in a list.
type placeRow struct {
	Name, ID, To string
	Made         stamp
}

// placesView lists organizations, or the workspaces of one.
type placesView struct {
	list
	What  string // organization, workspace
	Whats string
	Rows  []placeRow
	Note  string // what comes of making one
}

// query asks for the page; possible is false where nothing could be called what is searched for.
func (l list) query() (q doorward.PlaceQuery, possible bool, err error) {
	after, err := doorward.ParsePlaceMark(l.After)
	return doorward.PlaceQuery{Search: l.Search, After: after, Limit: pageSize}, doorward.PlaceSearch(l.Search), err
}

// showWorkspaces lists the workspaces of an organization.
func (h *web) showWorkspaces(d *desk) error {
	v := placesView{What: "workspace", Whats: "workspaces"}
	if d.by.Role != doorward.Superadmin {
		v.Note = "You become its member, which ends your sessions: sign in again, and you are in it."
	}
	return showPlaces(h, d, h.in(d, "/workspaces"), "Workspaces", v, h.Authority.Workspaces, func(w doorward.Workspace) placeRow {
		return placeRow{Name: w.Name, ID: w.ID, Made: stampOf(w.Created)}
	})
}

// showPlaces shows a page of a list of places, as find finds them and row shows them.
func showPlaces[P any](h *web, d *desk, at, title string, v placesView,
	find func(context.Context, doorward.Caller, doorward.PlaceQuery) ([]P, string, error), row func(P) placeRow,
) error {
	l := d.list(at)
	q, possible, err := l.query()
	if err != nil {
		return err
	}
	if possible {
		all, next, err := find(d.r.Context(), d.by, q)
		if err != nil {
			return err
		}
		for _, one := range all {
			shown := row(one)
			shown.To = at + "/" + shown.ID
			v.Rows = append(v.Rows, shown)
		}
		l = l.to(next)
	}
	v.list = l
	return h.page(d, http.StatusOK, "places", at, view{Title: title, Content: v})
}

func (h *web) createWorkspace(d *desk) error {
	if _, err := h.Authority.CreateWorkspace(d.r.Context(), d.by, d.r.PostForm.Get("id"), d.r.PostForm.Get("name")); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/workspaces"), "workspace-made")
}

// memberRow is somebody in a workspace.
type memberRow struct {
	Name, To, Role string
	Remove         string // where the question is; empty where the caller may not
}

// workspaceView is the page of one workspace.
type workspaceView struct {
	list
	ID, Name string
	May      bool // the caller may change it
	Last     bool // it is the one that is always there
	Rows     []memberRow
	Back     string
}

// showWorkspace shows a workspace and who is in it.
func (h *web) showWorkspace(d *desk) error {
	w, err := h.Authority.FindWorkspace(d.r.Context(), d.by, d.r.PathValue("id"))
	if err != nil {
		return err
	}
	at := h.in(d, "/workspaces/"+w.ID)
	l := d.list(at)
	members, next, err := h.Authority.Members(d.r.Context(), d.by, w.ID, l.After, pageSize)
	if err != nil {
		return err
	}
	v := workspaceView{list: l.to(next), ID: w.ID, Name: w.Name, May: d.by.Reaches(w.ID), Last: w.ID == doorward.Default, Back: h.in(d, "/workspaces")}
	for _, u := range members {
		row := memberRow{Name: u.Username, To: h.in(d, "/users/"+u.ID), Role: string(u.Role)}
		if v.May && d.by.Manages(u) == nil {
			row.Remove = at + "/members/" + u.ID + "/remove"
		}
		v.Rows = append(v.Rows, row)
	}
	return h.page(d, http.StatusOK, "workspace", h.in(d, "/workspaces"), view{Title: "Workspace " + w.Name, Content: v})
}

func (h *web) renameWorkspace(d *desk) error {
	w, err := h.Authority.RenameWorkspace(d.r.Context(), d.by, d.r.PathValue("id"), d.r.PostForm.Get("name"))
	if err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/workspaces/"+w.ID), "workspace-renamed")
}

func (h *web) askDeleteWorkspace(d *desk) error {
	w, err := h.Authority.FindWorkspace(d.r.Context(), d.by, d.r.PathValue("id"))
	if err != nil {
		return err
	}
	if !d.by.Reaches(w.ID) {
		return doorward.ErrForbidden
	}
	at := h.in(d, "/workspaces/"+w.ID)
	q := question{Title: "Delete the workspace " + w.Name + "?", Action: at + "/delete", Button: "Delete the workspace"}
	q.Will = "The workspace is deleted for good, and its id is free for another. It is refused while anybody else or an API key is in it."
	if d.by.Role != doorward.Superadmin {
		q.Will += " You leave it, which ends your sessions: you will have to sign in again."
	}
	return h.ask(d.w, d.r, d.p, at, q)
}

func (h *web) deleteWorkspace(d *desk) error {
	if err := h.Authority.DeleteWorkspace(d.r.Context(), d.by, d.r.PathValue("id")); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/workspaces"), "workspace-deleted")
}

// addMember takes somebody of the organization, by name, into a workspace.
func (h *web) addMember(d *desk) error {
	id := d.r.PathValue("id")
	u, err := h.Authority.UserNamed(d.r.Context(), d.by, d.r.PostForm.Get("username"))
	if err != nil {
		return err
	}
	if _, err := h.Authority.AddMember(d.r.Context(), d.by, id, u.ID); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/workspaces/"+id), "member-added")
}

func (h *web) askRemoveMember(d *desk) error {
	w, err := h.Authority.FindWorkspace(d.r.Context(), d.by, d.r.PathValue("id"))
	if err != nil {
		return err
	}
	u, _, err := h.Authority.FindUser(d.r.Context(), d.by, d.r.PathValue("user"))
	if err != nil {
		return err
	}
	has, err := h.Authority.Holdings(d.r.Context(), d.by, u.ID)
	if err != nil {
		return err
	}
	at := h.in(d, "/workspaces/"+w.ID)
	return h.ask(d.w, d.r, d.p, at, question{
		Title: "Take " + u.Username + " out of the workspace " + w.Name + "?", Action: at + "/members/" + u.ID + "/remove", Button: "Take them out",
		Will: "This ends " + count(has.Sessions, "session", "sessions") + " of " + u.Username + ", who can sign in again without this workspace, and revokes for good the API keys of theirs that are in it.",
	})
}

func (h *web) removeMember(d *desk) error {
	id := d.r.PathValue("id")
	if err := h.Authority.RemoveMember(d.r.Context(), d.by, id, d.r.PathValue("user")); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/workspaces/"+id), "member-removed")
}

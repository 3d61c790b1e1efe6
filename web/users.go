package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"doorward"
	"doorward/gate"
)

// userRow is a user in a list.
type userRow struct {
	Name, To, Role, In string
	Notes              []string // what is the matter with the account
	Unlock             string   // where that button posts to; empty for none
}

type usersView struct {
	list
	Rows []userRow
	New  string
}

// showUsers lists the people of an organization.
func (h *web) showUsers(d *desk) error {
	at := h.in(d, "/users")
	l := d.list(at)
	v := usersView{New: at + "/new"}
	after, err := doorward.ParseUserPlace(l.After)
	if err != nil {
		return err
	}
	if search, possible := doorward.UserSearch(l.Search); possible {
		users, next, err := h.Authority.Users(d.r.Context(), d.by, search, after, pageSize)
		if err != nil {
			return err
		}
		if v.Rows, err = h.userRows(d, users); err != nil {
			return err
		}
		l = l.to(next)
	}
	v.list = l
	return h.page(d, http.StatusOK, "users", at, view{Title: "Users", Content: v})
}

// userRows are users with how their accounts stand.
func (h *web) userRows(d *desk, users []doorward.User) ([]userRow, error) {
	standings, err := h.Authority.Standings(d.r.Context(), d.by, users)
	if err != nil {
		return nil, err
	}
	var rows []userRow
	for _, u := range users {
		st := standings[u.ID]
		row := userRow{Name: u.Username, To: h.in(d, "/users/"+u.ID), Role: string(u.Role), In: someOf(u.Workspaces), Notes: notesOf(u, st)}
		if !st.LockedUntil.IsZero() && d.by.Manages(u) == nil {
			row.Unlock = row.To + "/unlock"
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// someOf names the first few workspaces and says how many more there are.
func someOf(ids []string) string {
	const few = 3
	if len(ids) <= few+1 {
		return strings.Join(ids, ", ")
	}
	return strings.Join(ids[:few], ", ") + " and " + strconv.Itoa(len(ids)-few) + " more"
}

// notesOf says what there is to say of an account, in a word or two each.
func notesOf(u doorward.User, st doorward.Standing) []string {
	var notes []string
	for _, n := range []struct {
		is   bool
		note string
	}{
		{u.Disabled, "disabled"},
		{!st.LockedUntil.IsZero(), "locked"},
		{!st.InvitedUntil.IsZero(), "has an invite link"},
		{st.NoPassword && st.InvitedUntil.IsZero(), "no password"},
		{u.MustChange, "must change the password"},
	} {
		if n.is {
			notes = append(notes, n.note)
		}
	}
	return notes
}

// box is a workspace that can be chosen.
type box struct {
	ID string
	On bool
}

// placesForm is the part of a form that chooses workspaces: boxes, or where there are too many a text of ids.
type placesForm struct {
	Boxes []box
	Typed bool
	Text  string
}

// choice is the form for who is in the workspaces given.
func (h *web) choice(d *desk, in []string) (placesForm, error) {
	offered, err := h.offered(d)
	if err != nil {
		return placesForm{}, err
	}
	if offered == nil {
		return placesForm{Typed: true, Text: strings.Join(in, " ")}, nil
	}
	var f placesForm
	for _, id := range offered {
		f.Boxes = append(f.Boxes, box{id, slices.Contains(in, id)})
	}
	return f, nil
}

type newUserView struct {
	Action         string
	Username, Role string
	Roles          []string
	Places         placesForm
	ByPassword     bool // chosen for them
	Shortest       int
	Back           string
}

// showNewUser shows the form that makes a user.
func (h *web) showNewUser(d *desk) error {
	return h.newUserPage(d, http.StatusOK, problem{})
}

func (h *web) newUserPage(d *desk, status int, wrong problem) error {
	at, form := h.in(d, "/users"), d.r.PostForm
	in := []string{d.by.Workspace}
	if form != nil {
		in = chosenWorkspaces(form)
	}
	places, err := h.choice(d, in)
	if err != nil {
		return err
	}
	v := newUserView{
		Action: at, Back: at, Shortest: h.MinPassword, Roles: rolesUpTo(d.by.Role), Places: places,
		Username: form.Get("username"), Role: form.Get("role"), ByPassword: form.Get("how") == "password",
	}
	if len(v.Username) > maxUsername {
		v.Username = ""
	}
	return h.page(d, status, "user-new", at, view{Title: "Make a user", Problem: wrong.text, Field: wrong.field, Content: v})
}

// createUser makes a user with an invite link, or with a password that they must change.
func (h *web) createUser(d *desk) error {
	form := d.r.PostForm
	n := doorward.NewUser{Username: form.Get("username"), Role: form.Get("role"), Workspaces: chosenWorkspaces(form), MustChange: true}
	if len(n.Workspaces) == 0 {
		return doorward.Invalid("workspaces", "must name at least one")
	}
	switch form.Get("how") {
	case "invite":
		u, i, err := h.Authority.CreateInvited(d.r.Context(), d.by, n)
		if err != nil {
			return err
		}
		return h.showInviteLink(d, u, i)
	case "password":
		var err error
		if n.Password, err = given(d.r, "password"); err != nil {
			return err
		}
		u, err := h.Authority.CreateUser(d.r.Context(), d.by, n)
		if err != nil {
			return err
		}
		return doneAt(d.w, h.in(d, "/users/"+u.ID), "user-made")
	}
	return doorward.Invalid("body", "does not say how the user gets a password")
}

// createUserRefused shows the form again, with what was wrong.
func (h *web) createUserRefused(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
	wrong := inWords(e)
	if e.Code == doorward.CodeConflict {
		wrong.field = "username"
	}
	by, err := h.actIn(r, p)
	again := (e.Code == doorward.CodeInvalid || e.Code == doorward.CodeConflict) && r.PostForm != nil && err == nil && !p.Identity.IsZero() && !p.Identity.MustChange
	if !again || h.newUserPage(&desk{w, r, p, by}, status, wrong) != nil {
		users := h.inPath("{org}", "/users")
		h.deskRefused(users, users)(w, r, p, status, e)
	}
}

// inviteShown is a link that was just made.
type inviteShown struct {
	Username, Link string
	Expires        stamp
	Back           string
}

// showInviteLink shows the link, this once. It is in no address and no log, and the answer is kept nowhere.
func (h *web) showInviteLink(d *desk, u doorward.User, i doorward.Invitation) error {
	return h.page(d, http.StatusOK, "invite-shown", h.in(d, "/users"), view{Title: "Give them this link", Content: inviteShown{
		u.Username, i.Link(d.p.Origin() + InvitePage(h.Prefix)), stampOf(i.Expires), h.in(d, "/users/"+u.ID),
	}})
}

// count says how many there are of something.
func count(n int, one, more string) string {
	switch n {
	case 0:
		return "no " + more
	case 1:
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + more
}

// formValue is a number that a page has put into a form; false where it is none.
func formValue(form url.Values, name string) (int64, bool) {
	n, err := strconv.ParseInt(form.Get(name), 10, 64)
	return n, err == nil
}

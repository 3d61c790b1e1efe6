package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"doorward"
)

// userView is the page of one user.
type userView struct {
	At             string // of the page
	Username, Role string
	In             []string
	Notes          []string
	Made           stamp
	Locked         stamp // until when
	Invited        stamp // until when the link is good
	Own            bool  // it is the caller's own account
	May            bool  // the caller may change it
	Disabled       bool
	NoPassword     bool
	Version        int64
	Roles          []string
	Places         placesForm
	Sessions       []sessionRow
	NextSessions   string // where further ones are; empty at the end
	Keys           []keyRow
	NextKeys       string
	Back           string
}

// TheirKeys is what the table of keys shows.
func (v userView) TheirKeys() keysView { return keysView{Rows: v.Keys} }

// fewRows is how many sessions and keys are shown of one user at a time.
const fewRows = 15

// showUser shows a user, with what the caller may do.
func (h *web) showUser(d *desk) error {
	u, st, err := h.Authority.FindUser(d.r.Context(), d.by, d.r.PathValue("id"))
	if err != nil {
		return err
	}
	at := h.in(d, "/users/"+u.ID)
	v := userView{
		At: at, Username: u.Username, Role: string(u.Role), In: u.Workspaces, Notes: notesOf(u, st), Made: stampOf(u.Created),
		Locked: stampOf(st.LockedUntil), Invited: stampOf(st.InvitedUntil), Own: u.ID == d.by.Subject, May: d.by.Manages(u) == nil,
		Disabled: u.Disabled, NoPassword: st.NoPassword, Version: u.Version, Roles: rolesUpTo(d.by.Role), Back: h.in(d, "/users"),
	}
	if v.May {
		if err := h.whatTheyHave(d, u, &v); err != nil {
			return err
		}
	}
	return h.page(d, http.StatusOK, "user", h.in(d, "/users"), view{Title: u.Username, Content: v})
}

// whatTheyHave adds to the page what only who may change the user sees.
func (h *web) whatTheyHave(d *desk, u doorward.User, v *userView) (err error) {
	if v.Places, err = h.choice(d, u.Workspaces); err != nil {
		return err
	}
	q := d.r.URL.Query()
	after, err := doorward.ParseSessionMark(q.Get("after"))
	if err != nil {
		return err
	}
	sessions, next, err := h.Authority.Sessions(d.r.Context(), d.by, u.ID, after, fewRows)
	if err != nil {
		return err
	}
	v.Sessions, v.NextSessions = h.sessionRows(sessions, d.p.Identity.Session, v.At+"/sessions"), nextPage(v.At, next.String())
	place, err := doorward.ParseKeyPlace(q.Get("keys"))
	if err != nil {
		return err
	}
	keys, further, err := h.Authority.UserKeys(d.r.Context(), d.by, u.ID, place, fewRows)
	if err != nil {
		return err
	}
	v.Keys = h.keyRows(keys, h.in(d, "/keys"), d.by)
	if mark := further.String(); mark != "" {
		v.NextKeys = v.At + "?keys=" + mark
	}
	return nil
}

// changeUser changes role and workspaces, of the user as the form showed them.
func (h *web) changeUser(d *desk) error {
	role, places := d.r.PostForm.Get("role"), chosenWorkspaces(d.r.PostForm)
	c := doorward.UserChange{Role: &role, Workspaces: append([]string{}, places...)}
	version, ok := formValue(d.r.PostForm, "version")
	if !ok {
		return doorward.Invalid("body", "does not say which state of the account it is about")
	}
	c.Version = &version
	if d.r.PostForm.Get("confirmed") == "" {
		lost, err := h.lostKeys(d, places)
		if err != nil {
			return err
		}
		if lost > 0 {
			return h.askChangeUser(d, role, places, lost)
		}
	}
	return h.changed(d, c, "user-changed")
}

// lostKeys is how many API keys of the user are in workspaces that they would no longer be in.
func (h *web) lostKeys(d *desk, places []string) (n int, err error) {
	keys, _, err := h.Authority.UserKeys(d.r.Context(), d.by, d.r.PathValue("id"), doorward.KeyPlace{}, doorward.MaxKeysOfOne-1)
	for _, k := range keys {
		if !slices.Contains(places, k.Workspace) {
			n++
		}
	}
	return n, err
}

// askChangeUser asks before a change that revokes keys, which cannot be undone.
func (h *web) askChangeUser(d *desk, role string, places []string, lost int) error {
	at := h.in(d, "/users/"+d.r.PathValue("id"))
	keys := "an API key"
	if lost > 1 {
		keys = strconv.Itoa(lost) + " API keys"
	}
	return h.ask(d.w, d.r, d.p, at, question{
		Title:  "Take workspaces away?",
		Will:   "The user has " + keys + " in workspaces that they leave. What was made there is revoked for good, what uses it needs another, and all sessions of the user end.",
		Action: at, Button: "Change the account",
		Hidden: []field{{"version", d.r.PostForm.Get("version")}, {"role", role}, {"workspaces", strings.Join(places, " ")}, {"confirmed", "yes"}},
	})
}

// changed changes the user that the path names and goes back to the page.
func (h *web) changed(d *desk, c doorward.UserChange, word string) error {
	u, err := h.Authority.ChangeUser(d.r.Context(), d.by, d.r.PathValue("id"), c)
	if err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/users/"+u.ID), word)
}

func (h *web) enableUser(d *desk) error {
	no := false
	return h.changed(d, doorward.UserChange{Disabled: &no}, "user-enabled")
}

func (h *web) disableUser(d *desk) error {
	yes := true
	return h.changed(d, doorward.UserChange{Disabled: &yes}, "user-disabled")
}

func (h *web) unlockUser(d *desk) error {
	id := d.r.PathValue("id")
	if err := h.Authority.UnlockUser(d.r.Context(), d.by, id); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/users/"+id), "user-unlocked")
}

// inviteUser makes a link with which the user chooses a new password.
func (h *web) inviteUser(d *desk) error {
	u, _, err := h.Authority.FindUser(d.r.Context(), d.by, d.r.PathValue("id"))
	if err != nil {
		return err
	}
	i, err := h.Authority.InviteUser(d.r.Context(), d.by, u.ID)
	if err != nil {
		return err
	}
	return h.showInviteLink(d, u, i)
}

// aboutYou is said to who is about to do it to themselves.
func aboutYou(d *desk, u doorward.User, text string) string {
	if u.ID != d.by.Subject {
		return ""
	}
	return " This is your own account: " + text
}

// askAbout asks before something is done to a user; will says what becomes of what they have.
func (h *web) askAbout(d *desk, rest string, will func(doorward.User, doorward.Holdings) question) error {
	u, _, err := h.Authority.FindUser(d.r.Context(), d.by, d.r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := d.by.Manages(u); err != nil {
		return err
	}
	has, err := h.Authority.Holdings(d.r.Context(), d.by, u.ID)
	if err != nil {
		return err
	}
	q := will(u, has)
	at := h.in(d, "/users/"+u.ID)
	q.Action = at + rest
	return h.ask(d.w, d.r, d.p, at, q)
}

func (h *web) askDisableUser(d *desk) error {
	return h.askAbout(d, "/disable", func(u doorward.User, has doorward.Holdings) question {
		return question{
			Title: "Disable " + u.Username + "?", Button: "Disable the account",
			Will: u.Username + " is let in no more until the account is enabled again. This ends " + count(has.Sessions, "session", "sessions") +
				" at once. Their API keys (" + count(has.Keys, "key", "keys") + " now) do not work while the account is disabled, and an invite link is void." + aboutYou(d, u, "you will be signed out."),
		}
	})
}

func (h *web) askDeleteUser(d *desk) error {
	return h.askAbout(d, "/delete", func(u doorward.User, has doorward.Holdings) question {
		return question{
			Title: "Delete " + u.Username + "?", Button: "Delete the account",
			Will: "The account is deleted for good. This ends " + count(has.Sessions, "session", "sessions") + " and revokes " + count(has.Keys, "API key", "API keys") +
				". The name may be given to somebody else then. What the audit log says of " + u.Username + " stays. To keep somebody out for a while, disable the account instead." + aboutYou(d, u, "you will be signed out."),
		}
	})
}

func (h *web) deleteUser(d *desk) error {
	if err := h.Authority.DeleteUser(d.r.Context(), d.by, d.r.PathValue("id")); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/users"), "user-deleted")
}

func (h *web) askEndSessions(d *desk) error {
	return h.askAbout(d, "/end-sessions", func(u doorward.User, has doorward.Holdings) question {
		return question{
			Title: "End all sessions of " + u.Username + "?", Button: "End the sessions",
			Will: "This ends " + count(has.Sessions, "session", "sessions") + " and every open stream of theirs at once. The password and the API keys stay as they are, so " +
				u.Username + " can sign in again." + aboutYou(d, u, "the session that you are in stays."),
		}
	})
}

func (h *web) endSessions(d *desk) error {
	id := d.r.PathValue("id")
	if err := h.Authority.EndOtherSessions(d.r.Context(), d.by, id); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/users/"+id), "their-sessions-ended")
}

func (h *web) endTheirSession(d *desk) error {
	if err := h.Authority.EndOneSession(d.r.Context(), d.by, d.r.PathValue("session")); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/users/"+d.r.PathValue("id")), "their-session-ended")
}

package web

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// keyRow is a key as a list shows it.
type keyRow struct {
	ID, Name, Prefix, Role, Workspace string
	Made, Used, Ends                  stamp
	Note                              string // what is the matter with it
	Rotate, Revoke                    string // where the buttons post to; empty for none
}

type keysView struct {
	Rows       []keyRow
	Next       string
	Action     string // of the form that makes one
	Form       keyForm
	Roles      []string
	Workspaces []string
}

// keyForm is what somebody has filled in, to be shown again with what was wrong.
type keyForm struct{ Name, Role, Workspace, Life string }

// keyShown is a key that was just made: it is shown this once.
type keyShown struct {
	Name, Prefix, Role, Workspace string
	Key                           string
	Old                           stamp // until when the one before lives on; empty where there is none
	Back                          string
	Host                          string // of this server, as the browser knows it
}

func (h *web) keysPath(rest string) string { return h.accountPath("/keys") + rest }

// showKeys lists the keys of who asks, with a form that makes one.
func (h *web) showKeys(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.keysPage(w, r, p, http.StatusOK, problem{})
}

func (h *web) keysPage(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, wrong problem) error {
	after, err := doorward.ParseKeyPlace(r.URL.Query().Get("after"))
	if err != nil {
		return err
	}
	page, next, err := h.Authority.OwnKeys(r.Context(), p.Caller(r), "", after, pageSize)
	if err != nil {
		return err
	}
	at := h.keysPath("")
	v := keysView{Rows: h.keyRows(page, at), Next: nextPage(at, next.String()), Action: at}
	v.Form = keyForm{r.PostForm.Get("name"), r.PostForm.Get("role"), r.PostForm.Get("workspace"), r.PostForm.Get("life")}
	v.Roles = rolesUpTo(p.Identity.Role)
	v.Workspaces = p.Identity.Workspaces.List()
	return h.framed(w, r, p, status, "keys", at, view{Title: "Your API keys", Problem: wrong.text, Field: wrong.field, Content: v})
}

// rolesUpTo are the roles that somebody may give: their own and those below, the least first.
func rolesUpTo(r doorward.Role) []string {
	var all []string
	for _, one := range []doorward.Role{doorward.Viewer, doorward.Editor, doorward.Admin, doorward.Superadmin} {
		if r.AtLeast(one) {
			all = append(all, string(one))
		}
	}
	return all
}

func (h *web) keyRows(page []doorward.KeyState, at string) []keyRow {
	var rows []keyRow
	now := h.Authority.Now()
	for _, k := range page {
		row := keyRow{
			ID: k.ID, Name: k.Name, Prefix: k.Prefix, Role: string(k.Ceiling()), Workspace: k.Workspace,
			Made: stampOf(k.Created), Used: stampOf(k.LastUsed), Ends: stampOf(k.Stops()), Revoke: at + "/" + k.ID + "/revoke",
		}
		switch good := k.Good(now); {
		case good == doorward.ErrTokenExpired && k.RotatedTo != "":
			row.Note = "replaced"
		case good == doorward.ErrTokenExpired:
			row.Note = "expired"
		case good != nil:
			row.Note = "not good: its owner is disabled or not in its workspace"
		case k.RotatedTo != "":
			row.Note = "replaced, lives on until its end"
		default:
			row.Rotate = at + "/" + k.ID + "/rotate"
		}
		rows = append(rows, row)
	}
	return rows
}

// createKey makes a key of one's own and shows it, this once.
func (h *web) createKey(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	n := doorward.NewKey{Name: r.PostForm.Get("name"), Role: r.PostForm.Get("role"), Workspace: r.PostForm.Get("workspace")}
	if life := r.PostForm.Get("life"); life != "" {
		var ok bool
		if n.ExpiresIn, ok = doorward.ParseDuration(life); !ok || n.ExpiresIn <= 0 {
			return doorward.Invalid("life", "must be a duration like 24h or 7d")
		}
	}
	k, secret, err := h.Authority.CreateKey(r.Context(), p.Caller(r), n)
	if err != nil {
		return err
	}
	return h.showNewKey(w, r, p, k, secret, stamp{})
}

// showNewKey shows a secret. It is in no address and no log, and the answer is kept nowhere.
func (h *web) showNewKey(w http.ResponseWriter, r *http.Request, p *gate.Pass, k doorward.KeyState, secret doorward.Secret, old stamp) error {
	return h.framed(w, r, p, http.StatusOK, "key-shown", h.keysPath(""), view{Title: "Copy your new key", Content: keyShown{
		Name: k.Name, Prefix: k.Prefix, Role: string(k.Ceiling()), Workspace: k.Workspace, Key: string(secret), Old: old, Back: h.keysPath(""),
		Host: p.Proto() + "://" + p.Host,
	}})
}

// createKeyRefused shows the list again, with what was wrong.
func (h *web) createKeyRefused(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
	if e.Code != doorward.CodeInvalid || r.PostForm == nil || p.Identity.IsZero() || p.Identity.MustChange || h.keysPage(w, r, p, status, inWords(e)) != nil {
		h.refusedAt(h.keysPath(""))(w, r, p, status, e)
	}
}

// askRevokeKey asks once, and says what will happen.
func (h *web) askRevokeKey(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.ask(w, r, p, h.keysPath(""), question{
		Title: "Revoke this key?", Will: "The key is dead at once and for good, and every session and open stream that was begun with it ends. What uses it needs another.",
		Action: h.keysPath("/" + r.PathValue("id") + "/revoke"), Button: "Revoke the key",
	})
}

func (h *web) revokeKey(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := h.Authority.RevokeKey(r.Context(), p.Caller(r), r.PathValue("id")); err != nil {
		return err
	}
	return doneAt(w, h.keysPath(""), "key-revoked")
}

// rotateKey makes a key that takes another's place and shows it, this once.
func (h *web) rotateKey(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	old, next, secret, err := h.Authority.RotateKey(r.Context(), p.Caller(r), r.PathValue("id"), doorward.DefaultOverlap)
	if err != nil {
		return err
	}
	return h.showNewKey(w, r, p, next, secret, stampOf(old.OverlapUntil))
}

// question is a page that asks before something is done that cannot be undone.
type question struct {
	Title  string
	Will   string // what will happen
	Action string
	Button string
	Back   string
	Hidden []field // sent along
}

// field is one of a form that nobody sees.
type field struct{ Name, Value string }

// ask shows a question; at is where the way back leads.
func (h *web) ask(w http.ResponseWriter, r *http.Request, p *gate.Pass, at string, q question) error {
	q.Back = at
	return h.framed(w, r, p, http.StatusOK, "ask", at, view{Title: q.Title, Content: q})
}

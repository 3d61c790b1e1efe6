package web

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// showAllKeys lists the keys in the caller's workspaces, with a form that makes one of a workspace.
func (h *web) showAllKeys(d *desk) error {
	return h.allKeysPage(d, http.StatusOK, problem{})
}

func (h *web) allKeysPage(d *desk, status int, wrong problem) error {
	at := h.in(d, "/keys")
	l := d.list(at)
	after, err := doorward.ParseKeyPlace(l.After)
	if err != nil {
		return err
	}
	v := keysView{
		Everybody: true, Action: at, Make: "Make a key of a workspace", Form: keyFormOf(d.r), Roles: rolesUpTo(d.by.Role),
		Intro: "The keys in the workspaces that you administer. A person's key dies with the person; a key of a workspace stays whoever goes.",
	}
	if v.Workspaces, err = h.offered(d); err != nil {
		return err
	}
	if doorward.KeySearch(l.Search) {
		page, next, err := h.Authority.Keys(d.r.Context(), d.by, l.Search, after, pageSize)
		if err != nil {
			return err
		}
		v.Rows, l = h.keyRows(page, at, d.by), l.to(next.String())
	}
	v.list = l
	return h.page(d, status, "keys", at, view{Title: "API keys", Problem: wrong.text, Field: wrong.field, Content: v})
}

// createServiceKey makes a key that belongs to a workspace and shows it, this once.
func (h *web) createServiceKey(d *desk) error {
	n, err := newKey(d.r)
	if err != nil {
		return err
	}
	n.Service = true
	k, secret, err := h.Authority.CreateKey(d.r.Context(), d.by, n)
	if err != nil {
		return err
	}
	return h.showNewKey(d.w, d.r, d.p, h.in(d, "/keys"), k, secret, stamp{})
}

// serviceKeyRefused shows the list again, with what was wrong.
func (h *web) serviceKeyRefused(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
	by, err := h.actIn(r, p)
	again := e.Code == doorward.CodeInvalid && r.PostForm != nil && err == nil && !p.Identity.IsZero() && !p.Identity.MustChange
	if !again || h.allKeysPage(&desk{w, r, p, by}, status, inWords(e)) != nil {
		keys := h.inPath("{org}", "/keys")
		h.deskRefused(keys, keys)(w, r, p, status, e)
	}
}

func (h *web) rotateAnyKey(d *desk) error {
	old, next, secret, err := h.Authority.RotateKey(d.r.Context(), d.by, d.r.PathValue("id"), doorward.DefaultOverlap)
	if err != nil {
		return err
	}
	return h.showNewKey(d.w, d.r, d.p, h.in(d, "/keys"), next, secret, stampOf(old.OverlapUntil))
}

func (h *web) askRevokeAnyKey(d *desk) error {
	k, err := h.Authority.FindKey(d.r.Context(), d.by, d.r.PathValue("id"))
	if err != nil {
		return err
	}
	at := h.in(d, "/keys")
	q := revokeQuestion("the key "+k.Name, at+"/"+k.ID+"/revoke")
	if !k.Service() {
		q.Will += " It is a key of " + k.Holder.Username + "."
	}
	return h.ask(d.w, d.r, d.p, at, q)
}

func (h *web) revokeAnyKey(d *desk) error {
	if err := h.Authority.RevokeKey(d.r.Context(), d.by, d.r.PathValue("id")); err != nil {
		return err
	}
	return doneAt(d.w, h.in(d, "/keys"), "key-revoked")
}

package web

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// operationDoors are the pages of administration about the running door.
func (h *web) operationDoors() []gate.Door {
	const get, post = http.MethodGet, http.MethodPost
	door := func(role doorward.Role, method, at, path string, handle action) gate.Door {
		d := gate.Door{Method: method, Pattern: at + path, Reads: gate.ReadsAll, Need: doorward.NeedPersonOf(role), Handle: handle, Refused: h.adminRefusedAt(at)}
		d.SameOrigin, d.Form = method == post, method == post
		return d
	}
	const admin, super = doorward.Admin, doorward.Superadmin
	overview, routes, refusals := h.adminPath(""), h.adminPath("/routes"), h.adminPath("/refusals")
	audit, signing := h.adminPath("/audit"), h.adminPath("/signing")
	// Of an organization that the path names; what is refused leads to its overview, and who has no business there to their account.
	inside := func(path string, do deskAction) gate.Door {
		d := door(admin, get, h.inPath("{org}", ""), path, h.desk(do))
		d.Refused = h.deskRefused(h.inPath("{org}", "/overview"), h.inPath("{org}", "/overview"))
		return d
	}
	return []gate.Door{
		door(admin, get, overview, "", h.desk(h.showOverview)),
		inside("/overview", h.showOverview),
		inside("/audit", h.showAudit),
		inside("/audit.csv", h.auditFile),
		door(admin, get, routes, "", h.showRoutes),
		door(admin, get, refusals, "", h.showRefusals),
		door(admin, get, audit, "", h.desk(h.showAudit)),
		door(super, get, signing, "", h.showSigning),
		door(super, get, signing, "/rotate", h.askRotate),
		door(super, post, signing, "/rotate", h.rotate),
		door(super, get, signing, "/rotate-now", h.askRotateNow),
		door(super, post, signing, "/rotate-now", h.rotateNow),
	}
}

// adminRefusedAt is refusedAt for pages that not everybody may see: who may not is led to their own.
func (h *web) adminRefusedAt(at string) func(http.ResponseWriter, *http.Request, *gate.Pass, int, *doorward.Error) {
	return func(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
		back := at
		if status == http.StatusForbidden && !p.Identity.MustChange && r.Method != http.MethodPost {
			back = h.accountPath("")
		}
		h.refusedAt(back)(w, r, p, status, e)
	}
}

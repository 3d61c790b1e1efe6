package web

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// peopleDoors are the pages about people, keys, sessions, workspaces and organizations.
func (h *web) peopleDoors() []gate.Door {
	const get, post = http.MethodGet, http.MethodPost
	var doors []gate.Door
	door := func(role doorward.Role, method, list, back, path string, do deskAction) *gate.Door {
		d := gate.Door{Method: method, Pattern: back + path, Reads: gate.ReadsAll, Need: doorward.NeedPersonOf(role), Handle: h.desk(do), Refused: h.deskRefused(list, back)}
		d.SameOrigin, d.Form = method == post, method == post
		doors = append(doors, d)
		return &doors[len(doors)-1]
	}
	// A question stands at the path that its answer is posted to.
	asked := func(role doorward.Role, list, back, path string, ask, do deskAction) {
		door(role, get, list, back, path, ask)
		door(role, post, list, back, path, do)
	}
	const admin, super = doorward.Admin, doorward.Superadmin

	door(admin, get, h.accountPath(""), h.adminPath("/users"), "", h.toUsers)

	users := h.inPath("{org}", "/users")
	user := users + "/{id}"
	door(admin, get, h.accountPath(""), users, "", h.showUsers)
	door(admin, post, users, users, "", h.createUser).Refused = h.createUserRefused
	door(admin, get, users, users, "/new", h.showNewUser)
	door(admin, get, users, user, "", h.showUser)
	door(admin, post, users, user, "", h.changeUser)
	door(admin, post, users, user, "/invite", h.inviteUser)
	door(admin, post, users, user, "/unlock", h.unlockUser)
	door(admin, post, users, user, "/enable", h.enableUser)
	asked(admin, users, user, "/disable", h.askDisableUser, h.disableUser)
	asked(admin, users, user, "/delete", h.askDeleteUser, h.deleteUser)
	asked(admin, users, user, "/end-sessions", h.askEndSessions, h.endSessions)
	door(admin, post, user, user, "/sessions/{session}/end", h.endTheirSession)

	keys := h.inPath("{org}", "/keys")
	door(admin, get, h.accountPath(""), keys, "", h.showAllKeys)
	door(admin, post, keys, keys, "", h.createServiceKey).Refused = h.serviceKeyRefused
	door(admin, post, keys, keys, "/{id}/rotate", h.rotateAnyKey)
	asked(admin, keys, keys, "/{id}/revoke", h.askRevokeAnyKey, h.revokeAnyKey)

	sessions := h.inPath("{org}", "/sessions")
	door(admin, get, h.accountPath(""), sessions, "", h.showAllSessions)
	asked(admin, sessions, sessions, "/{id}/end", h.askEndAnySession, h.endAnySession)

	workspaces := h.inPath("{org}", "/workspaces")
	workspace := workspaces + "/{id}"
	door(admin, get, h.accountPath(""), workspaces, "", h.showWorkspaces)
	door(admin, post, workspaces, workspaces, "", h.createWorkspace)
	door(admin, get, workspaces, workspace, "", h.showWorkspace)
	door(admin, post, workspaces, workspace, "", h.renameWorkspace)
	asked(admin, workspaces, workspace, "/delete", h.askDeleteWorkspace, h.deleteWorkspace)
	door(admin, post, workspace, workspace, "/members", h.addMember)
	asked(admin, workspace, workspace, "/members/{user}/remove", h.askRemoveMember, h.removeMember)

	organizations := h.adminPath("/organizations")
	organization := organizations + "/{id}"
	door(super, get, h.accountPath(""), organizations, "", h.showOrganizations)
	door(super, post, organizations, organizations, "", h.createOrganization)
	door(super, get, organizations, organization, "", h.showOrganization)
	door(super, post, organizations, organization, "", h.renameOrganization)
	asked(super, organizations, organization, "/delete", h.askDeleteOrganization, h.deleteOrganization)
	return doors
}

// toUsers leads to the people of the caller's own organization: an address to write down.
func (h *web) toUsers(d *desk) error {
	sendOn(d.w, h.in(d, "/users"))
	return nil
}

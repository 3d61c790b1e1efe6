package web

import (
	"net/http"

	"doorward"
)

func (h *web) orgPath(rest string) string { return h.adminPath("/organizations" + rest) }

// showOrganizations lists all organizations.
func (h *web) showOrganizations(d *desk) error {
	v := placesView{What: "organization", Whats: "organizations", Note: "It has a workspace default. Nobody is in it until you make its first user."}
	return showPlaces(h, d, h.orgPath(""), "Organizations", v, h.Authority.Organizations, func(o doorward.Organization) placeRow {
		return placeRow{Name: o.Name, ID: o.ID, Made: stampOf(o.Created)}
	})
}

func (h *web) createOrganization(d *desk) error {
	o, err := h.Authority.CreateOrganization(d.r.Context(), d.by, d.r.PostForm.Get("id"), d.r.PostForm.Get("name"))
	if err != nil {
		return err
	}
	return doneAt(d.w, h.orgPath("/"+o.ID), "organization-made")
}

// organizationView is the page of one organization.
type organizationView struct {
	At, ID, Name string
	Own, Last    bool
	Ways         []way
	Back         string
}

// way is a link to a page about an organization.
type way struct{ To, Title string }

// waysInto are the pages about an organization.
func (h *web) waysInto(org string) []way {
	return []way{
		{h.inPath(org, "/overview"), "How it goes there"}, {h.inPath(org, "/users"), "Its users"}, {h.inPath(org, "/keys"), "Its API keys"}, {h.inPath(org, "/sessions"), "Its sessions"},
		{h.inPath(org, "/workspaces"), "Its workspaces"}, {h.inPath(org, "/audit"), "Its audit log"},
	}
}

// organization is the one that the path names: its id and name.
func (h *web) organization(d *desk) (id, name string, err error) {
	id = d.r.PathValue("id")
	if !h.Authority.Places().Has(id, "") {
		return "", "", doorward.NotFound("organization")
	}
	return id, h.Authority.Places().Name(id), nil
}

// showOrganization shows an organization, with the ways into it.
func (h *web) showOrganization(d *desk) error {
	id, name, err := h.organization(d)
	if err != nil {
		return err
	}
	return h.page(d, http.StatusOK, "organization", h.orgPath(""), view{Title: "Organization " + name, Content: organizationView{
		At: h.orgPath("/" + id), ID: id, Name: name, Own: id == d.by.Org, Last: id == doorward.Default, Back: h.orgPath(""),
		Ways: h.waysInto(id),
	}})
}

func (h *web) renameOrganization(d *desk) error {
	o, err := h.Authority.RenameOrganization(d.r.Context(), d.by, d.r.PathValue("id"), d.r.PostForm.Get("name"))
	if err != nil {
		return err
	}
	return doneAt(d.w, h.orgPath("/"+o.ID), "organization-renamed")
}

func (h *web) askDeleteOrganization(d *desk) error {
	id, name, err := h.organization(d)
	if err != nil {
		return err
	}
	at := h.orgPath("/" + id)
	return h.ask(d.w, d.r, d.p, at, question{
		Title: "Delete the organization " + name + "?", Action: at + "/delete", Button: "Delete the organization",
		Will: "The organization and its workspaces are deleted for good, and its id is free for another. It is refused while anybody or an API key is in it. What its audit log says stays until its time is over.",
	})
}

func (h *web) deleteOrganization(d *desk) error {
	if err := h.Authority.DeleteOrganization(d.r.Context(), d.by, d.r.PathValue("id")); err != nil {
		return err
	}
	return doneAt(d.w, h.orgPath(""), "organization-deleted")
}

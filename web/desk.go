package web

import (
	"net/http"
	"net/url"
	"strings"

	"doorward"
	"doorward/gate"
)

// desk is a request to a page of administration. The organization that it is about stands in the
// path of the page, and so of every link and form on it: nothing that is done on a page can happen
// in another organization than the one that the page shows.
type desk struct {
	w  http.ResponseWriter
	r  *http.Request
	p  *gate.Pass
	by doorward.Caller // acting in that organization
}

// deskAction answers a request to a page of administration.
type deskAction = func(d *desk) error

// inPath is where the pages about an organization stand.
func (h *web) inPath(org, rest string) string { return h.adminPath("/in/" + org + rest) }

// orgOf is the organization of the page at, or the caller's own where it is of none.
func (h *web) orgOf(p *gate.Pass, at string) string {
	if rest, ok := strings.CutPrefix(at, h.inPath("", "")); ok {
		org, _, _ := strings.Cut(rest, "/")
		return org
	}
	return p.Identity.Org
}

// actIn is who asks, acting in the organization that the path names: their own, or for a superadmin
// any. Whether there is another nobody else is told.
func (h *web) actIn(r *http.Request, p *gate.Pass) (doorward.Caller, error) {
	by := p.Caller(r)
	id, err := by.Identity.Enter(doorward.Asked{Org: r.PathValue("org")}, h.Authority.Places())
	if err != nil {
		return by, doorward.NotFound("organization")
	}
	by.Identity = id
	return by, nil
}

// desk makes a door's handler of an action.
func (h *web) desk(do deskAction) action {
	return func(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
		by, err := h.actIn(r, p)
		if err != nil {
			return err
		}
		if r.Method == http.MethodPost {
			if err := readForm(w, r); err != nil {
				return err
			}
		}
		return do(&desk{w, r, p, by})
	}
}

// own reports whether the page is about the caller's own organization.
func (d *desk) own() bool { return d.by.Org == d.p.Identity.Org }

// in is a path about the organization of the page.
func (h *web) in(d *desk, rest string) string { return h.inPath(d.by.Org, rest) }

// page shows a page of administration; at is the section.
func (h *web) page(d *desk, status int, name, at string, v view) error {
	return h.framed(d.w, d.r, d.p, status, name, at, v)
}

// deskRefused shows what was refused, with the way back: to back, or where that is not there, to the list.
// Both are patterns of the request's own path values.
func (h *web) deskRefused(list, back string) func(http.ResponseWriter, *http.Request, *gate.Pass, int, *doorward.Error) {
	return func(w http.ResponseWriter, r *http.Request, p *gate.Pass, status int, e *doorward.Error) {
		at := back
		if status == http.StatusNotFound {
			at = list
		}
		if _, err := h.actIn(r, p); err != nil || !p.Identity.Role.AtLeast(doorward.Admin) {
			at = h.accountPath("") // there is nothing here for them
		}
		h.refusedAt(filled(at, r))(w, r, p, status, e)
	}
}

// filled is a pattern with the values that the request's path has.
func filled(pattern string, r *http.Request) string {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = url.PathEscape(r.PathValue(strings.Trim(s, "{}")))
		}
	}
	return strings.Join(segments, "/")
}

// list is which page of a list is asked for, and where the next one is.
type list struct {
	At     string // of the list
	Search string
	After  string
	Next   string // empty at the end
	First  string // empty on the first page
}

func (d *desk) list(at string) list {
	q := d.r.URL.Query()
	l := list{At: at, Search: q.Get("search"), After: q.Get("after")}
	if l.After != "" {
		l.First = l.page("")
	}
	return l
}

// page is the page that begins at mark.
func (l list) page(mark string) string {
	q := url.Values{}
	if l.Search != "" {
		q.Set("search", l.Search)
	}
	if mark != "" {
		q.Set("after", mark)
	}
	if len(q) == 0 {
		return l.At
	}
	return l.At + "?" + q.Encode()
}

// to is the list with where the next page begins.
func (l list) to(mark string) list {
	if mark != "" {
		l.Next = l.page(mark)
	}
	return l
}

// maxOffered is how many workspaces are offered by name; where there are more their ids are typed.
const maxOffered = 40

// offered are the workspaces that the caller may give; nil where there are too many to list.
func (h *web) offered(d *desk) ([]string, error) {
	all := d.by.Workspaces.List()
	if d.by.Role == doorward.Superadmin {
		page, _, err := h.Authority.Workspaces(d.r.Context(), d.by, doorward.PlaceQuery{Limit: maxOffered + 1})
		if err != nil {
			return nil, err
		}
		all = nil
		for _, w := range page {
			all = append(all, w.ID)
		}
	}
	if len(all) > maxOffered {
		return nil, nil
	}
	return all, nil
}

// chosenWorkspaces reads the workspaces that a form names: boxes in-ID, or a field of ids. Nil when it names none.
func chosenWorkspaces(form url.Values) []string {
	chosen := strings.FieldsFunc(form.Get("workspaces"), func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\r' || r == '\t' })
	for name := range form {
		if id, ok := strings.CutPrefix(name, "in-"); ok {
			chosen = append(chosen, id)
		}
	}
	return chosen
}

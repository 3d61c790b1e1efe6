package gate

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"doorward"
)

// Door is one row of the table of doors: a request that is ours to answer, what it may
// show, what it needs, and who answers.
type Door struct {
	Method  string // GET stands for HEAD as well
	Pattern string // a path, with {name} for one segment
	Reads   Reads
	Need    doorward.Need
	// NoCredential, if set, is asked first: where it says true the door reads nothing and
	// needs nothing, and Handle must judge for itself (the first user is made so).
	NoCredential func(r *http.Request) (bool, error)
	// SameOrigin refuses cross-origin requests even without a cookie: for doors that hand
	// a cookie out, or take one away. Where a door reads for itself, one with a credential
	// in a header is exempt: no page of another origin can send one.
	SameOrigin bool
	// Form says that a page of ours posts to it with a browser: where neither Origin nor
	// Sec-Fetch-Site says what page that was, its Referer must.
	Form bool
	// Refused, if set, shows a refusal to people instead of JSON: it writes status and body,
	// the headers that a refusal has are set already. For pages. It is not asked about who
	// must sign in first, nor of programs, who show a credential in a header.
	Refused func(w http.ResponseWriter, r *http.Request, p *Pass, status int, e *doorward.Error)
	// MustChange lets people through who must change their password first.
	MustChange bool
	// Handle answers, or returns the refusal for the gate to write. It has written
	// nothing when it returns an error.
	Handle func(w http.ResponseWriter, r *http.Request, p *Pass) error

	name string // for the log
}

// doorTable finds the door of a canonical request. It is immutable once made.
type doorTable struct {
	mux  *http.ServeMux
	sets map[string]doorSet // by pattern
	ours []string           // prefixes under which everything is ours
}

type doorSet map[string]*Door // by method

// newDoorTable puts the doors in. A door that nobody has said what it needs for does not
// go in: it would stand open by forgetting.
func newDoorTable(doors []Door, prefix string) (*doorTable, error) {
	t := &doorTable{
		mux: http.NewServeMux(), sets: map[string]doorSet{},
		ours: []string{prefix + "/auth/", prefix + "/api/auth/"},
	}
	doors = slices.Clone(doors)
	for i := range doors {
		d := &doors[i]
		d.name = "door " + d.Method + " " + d.Pattern
		name := d.Method + " " + d.Pattern
		switch {
		case d.Need.IsZero():
			return nil, fmt.Errorf("door %s: nobody has said what it needs", name)
		case d.Reads == 0:
			return nil, fmt.Errorf("door %s: nobody has said what it reads", name)
		case d.Reads.judgesNothing() && d.Need != doorward.NeedNothing:
			return nil, fmt.Errorf("door %s: needs %s but reads nothing", name, d.Need)
		case d.Handle == nil:
			return nil, fmt.Errorf("door %s: nobody answers", name)
		}
		set, ok := t.sets[d.Pattern]
		if !ok {
			set = doorSet{}
			t.sets[d.Pattern] = set
			t.mux.Handle(d.Pattern, http.NotFoundHandler()) // only its pattern is used
		}
		if set[d.Method] != nil {
			return nil, fmt.Errorf("door %s stands twice in the table", name)
		}
		set[d.Method] = d
	}
	return t, nil
}

// owns reports whether a canonical path is ours to answer, if only with "not found".
func (t *doorTable) owns(path string) bool {
	for _, p := range t.ours {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return t.sets[path] != nil
}

// find returns the door of a request whose path is canonical. ours is false for the
// service behind; with ours, either a door or the refusal (not found, or the methods that
// are allowed) is returned. A path with an encoded slash is no door of ours, whatever it
// would be with a plain one.
func (p *Policy) find(r *http.Request, f form) (d *Door, allow string, ours bool, err error) {
	t, path := p.doors, f.decoded
	if !t.owns(path) {
		return nil, "", false, nil
	}
	if f.opaque != "" {
		return nil, "", true, errPathForm
	}
	_, pattern := t.mux.Handler(r)
	set, ok := t.sets[pattern]
	if !ok {
		return nil, "", true, doorward.NotFound("page")
	}
	method := r.Method
	if method == http.MethodHead && set[http.MethodHead] == nil {
		method = http.MethodGet
	}
	d, ok = set[method]
	if !ok {
		return nil, set.methods(), true, errMethod
	}
	setPathValues(r, pattern, path)
	return d, "", true, nil
}

// allows names the methods that r's target may be asked by (RFC 9110, section 15.5.6), whatever
// r's own is.
func (p *Policy) allows(r *http.Request) string {
	if f, err := canonicalPath(r); err == nil {
		if _, allow, _, _ := p.find(r, f); allow != "" {
			return allow
		}
	}
	return "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
}

var errMethod = &doorward.Error{Code: doorward.CodeMethod, Message: "method not allowed"}

func (s doorSet) methods() string {
	var names []string
	for m := range s {
		names = append(names, m)
		if m == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// setPathValues gives the handler the segments that stand for a {name} in the pattern.
func setPathValues(r *http.Request, pattern, path string) {
	if !strings.Contains(pattern, "{") {
		return
	}
	segments := strings.Split(path, "/")
	for i, s := range strings.Split(pattern, "/") {
		if strings.HasPrefix(s, "{") && i < len(segments) {
			r.SetPathValue(strings.Trim(s, "{}"), segments[i])
		}
	}
}

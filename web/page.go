package web

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

//go:embed pages/*.html
var sources embed.FS

// pages reads the templates, when one is first shown: a table of doors to look at needs none.
// Each page is called as its file and has the layout's top before it and its bottom after it, so that all
// share one copy of what they share.
var pages = sync.OnceValue(func() *template.Template {
	return template.Must(template.ParseFS(sources, "pages/*.html"))
})

// view is what the layout shows; Content is the page's own.
type view struct {
	Title   string
	Problem string // what was refused, in words
	Field   string // which field it is about; empty for none, or all
	Style   string // where the stylesheet is
	Script  string // where the script is; empty for none
	Brand   brand  // whose page it is
	Frame   *frame // around the pages of who is signed in
	Done    string // what has just been done, in words
	Next    string // where the form leads to in the end; empty for a page of ours
	Content any
}

// contentPolicy lets a page load our stylesheet and post to us, and nothing else: no
// script, no frame around it, no other site.
const contentPolicy = "default-src 'none'; style-src 'self'; " + formAction + "; base-uri 'none'; frame-ancestors 'none'"

const formAction = "form-action 'self'"

// What a page may load beside that, where it does: a file of ours each.
const (
	andScript  = "; script-src 'self'"
	andPicture = "; img-src 'self'"
)

// picturePolicy is for a picture that is opened by itself: nothing in it runs or loads anything.
const picturePolicy = "default-src 'none'; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// policyTo is a page's policy when what its form is answered with sends the browser on to next.
// Chromium holds that, and not the form's own address alone, to form-action; so where next is on another
// host, its origin is named, and no other.
func policyTo(policy, next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Host == "" {
		return policy
	}
	return strings.Replace(policy, formAction, formAction+" "+u.Scheme+"://"+u.Host, 1)
}

// guard sets what every answer of ours to a browser carries.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// Our own forms must say where they come from, where the browser says it in no other way.
	h.Set("Referrer-Policy", "same-origin")
}

// show answers with the page of that name.
func (h *web) show(w http.ResponseWriter, status int, page string, v view) error {
	v.Style = h.Prefix + stylePath + "?v=" + h.style.version
	v.Brand = h.brand()
	var body bytes.Buffer
	if err := pages().ExecuteTemplate(&body, page+".html", v); err != nil {
		return err
	}
	header := w.Header()
	guard(header)
	policy := contentPolicy
	if v.Script != "" {
		policy += andScript
	}
	if v.Brand.Logo != "" {
		policy += andPicture
	}
	header.Set("Content-Security-Policy", policyTo(policy, v.Next))
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
	return nil
}

// sendOn sends the browser to another page with a GET (RFC 9110, section 15.4.4). target is
// one of ours or has been through gate.Pass.Next.
func sendOn(w http.ResponseWriter, target string) {
	guard(w.Header())
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

// withNext is a page of ours, told where to go on to afterwards. That is not the page
// itself: what is done there would be asked for again.
func withNext(page, next string) string {
	if next == "/" || next == page {
		return page
	}
	if strings.HasPrefix(next, page+"?") {
		return next
	}
	return page + "?next=" + url.QueryEscape(next)
}

package app

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"doorward"
)

// look is how a page is looked at.
type look struct {
	name          string
	width, height int64
	dark          bool
}

var looks = []look{{"wide", 1280, 800, false}, {"dark", 1280, 800, true}, {"phone", 360, 740, false}}

// as makes a window look.
func (w *window) as(l look) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(l.width, l.height)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}); err != nil {
		w.t.Fatal(err)
	}
}

// complaints collects what the browser holds against the pages of the window: what their
// policy forbids, what fails to load, what a script throws.
func (w *window) complaints() func() []string {
	w.t.Helper()
	var mu sync.Mutex
	var all []string
	if err := chromedp.Listen(w.ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *log.EventEntryAdded:
			// That a form comes back with a 4xx is the browser's own remark.
			if (e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning) && !strings.Contains(e.Entry.Text, "the server responded with a status of 4") {
				all = append(all, e.Entry.Text+" "+e.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			all = append(all, e.ExceptionDetails.Text)
		}
	}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := chromedp.Call(w.ctx, log.Enable, cdp.Empty{}); err != nil {
		w.t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// shot keeps a picture of the page under that name where DOORWARD_TEST_SHOTS is a directory.
func (w *window) shot(name string) {
	w.t.Helper()
	dir := os.Getenv("DOORWARD_TEST_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		w.t.Error(err)
	}
}

// axeVersion is the release of axe-core that pages are judged by.
const axeVersion = "4.14.1"

// axe is the source of axe-core, which finds what keeps people out of a page (WCAG). It is
// nobody's dependency: the tests alone use it, and it is fetched apart.
func axe(t *testing.T) string {
	t.Helper()
	file := os.Getenv("DOORWARD_TEST_AXE")
	if file == "" {
		missing(t, "needs axe-core: npm pack axe-core@"+axeVersion+", unpack it, and DOORWARD_TEST_AXE=/path/to/package/axe.min.js")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sound fails the test where the page that is open keeps somebody out, by axe-core's rules for
// WCAG 2.2 A and AA and for good practice, or is wider than the window.
func (w *window) sound(what, axe string) {
	w.t.Helper()
	w.run(axe)
	found := evaluate[[]string](w, `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => r.violations.map(
		v => v.id + ": " + v.nodes.map(n => n.target + " " + n.failureSummary).join("; ")))`)
	for _, f := range found {
		w.t.Errorf("%s: %s", what, f)
	}
	if n := evaluate[int](w, "axeRules = axe.getRules().length"); n < 90 {
		w.t.Errorf("axe has %d rules", n)
	}
	if over := evaluate[int](w, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
		w.t.Errorf("%s: the page is %d pixels wider than the window", what, over)
	}
}

// run runs a script in the page for what it does.
func (w *window) run(script string) {
	w.t.Helper()
	evaluate[any](w, script+";\ntrue")
}

// TestEveryPageIsSound looks at every page there is, wide, dark and on a phone, in a real browser.
func TestEveryPageIsSound(t *testing.T) {
	t.Parallel()
	axe := axe(t)
	d := newDoor(t, "open_mode=never")
	chromium := newChromium(t, strings.TrimPrefix(d.URL, "http://"))
	pages := func(l look, who string, at ...string) {
		w := chromium.window(t)
		w.as(l)
		complaints := w.complaints()
		if who != "" {
			w.open(d.URL + "/auth/login")
			w.signIn("root", rootPassword)
		}
		for _, page := range at {
			name := l.name + strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(page)
			if status := w.open(d.URL + page); status >= http.StatusInternalServerError {
				t.Errorf("%s: status %d", name, status)
			}
			w.sound(name, axe)
			w.shot(name)
		}
		if all := complaints(); len(all) > 0 {
			t.Errorf("%s: the browser complains: %q", l.name, all)
		}
	}
	for _, l := range looks {
		pages(l, "", "/auth/setup", "/auth/login")
	}
	token := d.setUp()
	for _, name := range []string{"anna", "bert", "carla"} {
		d.newUser(token, name, "editor")
	}
	for _, name := range []string{"build server", strings.Repeat("a long name ", 10)} {
		made := d.do("POST", "/api/auth/keys", bearer(token), jsonBody(`{"name":"`+strings.TrimSpace(name)+`","role":"viewer","expires_in":"30d"}`)).want(http.StatusCreated)
		d.exchange(made.str("key"), "a-client-with-a-name-as-long-as-some-people-make-them")
	}
	d.orgs(bearer(token), map[string][]string{"acme": nil})
	d.newMember(bearer(token), "ada", "admin", "acme", doorward.Default)
	for _, l := range looks {
		pages(l, "", "/auth/login")
		pages(l, "root", append(signedInPages(d), "/auth/admin/in/acme/overview", "/auth/admin/in/acme/audit", "/auth/admin/in/acme/sessions")...)
	}
}

var idInPath = regexp.MustCompile(`/(usr|key)_[a-z0-9]+|/sessions/[A-Za-z0-9_-]+|/in/[a-z0-9-]+`)

// signedInPages are the pages that a superadmin finds by links, each once, from the account page on.
func signedInPages(d *door) []string {
	b := d.signedIn(d.t, "root", rootPassword)
	todo, seen := []string{"/auth/account", "/auth/welcome", "/auth/password"}, map[string]bool{}
	var all []string
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		// One page of many that differ by what is on them.
		like, _, _ := strings.Cut(idInPath.ReplaceAllString(at, "/ID"), "?")
		if seen[like] {
			continue
		}
		seen[like] = true
		page := b.load(at)
		if !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
			continue
		}
		all = append(all, at)
		for _, link := range linksOf(page) {
			if strings.HasPrefix(link, "/auth/") {
				todo = append(todo, link)
			}
		}
	}
	return all
}

package app

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// chromium is a real browser, for what only a browser can say: which cookies it keeps, what a
// page's policy lets it do, where it lands. Each of its windows has cookies of its own.
type chromium struct {
	t   *testing.T
	ctx context.Context
}

// newChromium starts one. Every host that it asks for is at addr, whatever its name and port
// are: so those in a test are those of the documentation, and what leads to a stranger's host
// lands there and is seen. With "" hosts are where they are.
func newChromium(t *testing.T, addr string) *chromium {
	t.Helper()
	if raceDetector() {
		t.Skip("pages are looked at without the race detector, which makes minutes of it; the same doors are raced elsewhere")
	}
	bin := chromiumProgram()
	if bin == "" {
		missing(t, "needs Chromium: apt-get install chromium, or DOORWARD_TEST_CHROMIUM=/path/to/chromium")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(bin), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("ignore-certificate-errors", true),
	}
	if addr != "" {
		options = append(options, chromedp.Flag("host-resolver-rules", "MAP * "+addr))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closed := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until it has ended
		closed()
		stop()
	})
	c := &chromium{t, ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", bin, err)
	}
	return c
}

func chromiumProgram() string {
	if found := installed(os.Getenv("DOORWARD_TEST_CHROMIUM"), "chromium", "/usr/bin/chromium"); found != "" {
		return found
	}
	return installed("", "google-chrome", "/usr/bin/google-chrome")
}

// window is one with cookies of its own, as another person's.
type window struct {
	t   *testing.T
	ctx context.Context
}

func (c *chromium) window(t *testing.T) *window {
	t.Helper()
	ctx, closed := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(closed)
	w := &window{t, ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

const windowPatience = 30 * time.Second // nothing takes that long but what does not come

// lands waits until what the steps begin has led to a page, and returns that page's status.
func (w *window) lands(what string, steps ...chromedp.Action[chromedp.Void]) (status int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	resp, err := chromedp.RunResponse(ctx, steps...)
	if err != nil {
		w.t.Fatalf("%s: %v, at %s", what, err, w.at())
	}
	return int(resp.Status)
}

// open goes to a page as from the address bar.
func (w *window) open(url string) (status int) {
	w.t.Helper()
	return w.lands("opening "+url, chromedp.Navigate(url))
}

// signIn fills in the form of the page that is open and sends it.
func (w *window) signIn(username, password string) (status int) {
	w.t.Helper()
	return w.lands("signing in", chromedp.SetValue(chromedp.CSS("#username"), username), chromedp.SetValue(chromedp.CSS("#password"), password), chromedp.Click(chromedp.CSS("button[type=submit]")))
}

// at is where the window is.
func (w *window) at() string {
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	url, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	return url
}

// isAt fails the test unless the window is there.
func (w *window) isAt(url string) {
	w.t.Helper()
	if got := w.at(); got != url {
		w.t.Errorf("the browser is at %s, want %s", got, url)
	}
}

// text is what stands on the page.
func (w *window) text() string {
	w.t.Helper()
	return strings.TrimSpace(evaluate[string](w, "document.body.innerText"))
}

// evaluate runs a script in the page, waits for what it promises, and returns what comes of it.
func evaluate[T any](w *window, script string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, windowPatience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("running %.200s: %v, at %s", script, err, w.at())
	}
	return v
}

// quoted is a value as it stands in a script.
func quoted(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// fetch has the page ask, with cookies, and returns the status, or what the browser says when it
// does not let the page see an answer. more stands among the options.
func (w *window) fetch(method, url, more string) string {
	w.t.Helper()
	return evaluate[string](w, `fetch(`+quoted(url)+`, {method: `+quoted(method)+`, credentials: "include", `+more+`}).then(r => String(r.status), e => e.name)`)
}

// cookies are all that the window has, by name and domain.
func (w *window) cookies() map[string]*network.Cookie {
	w.t.Helper()
	got, err := chromedp.CallBrowser(w.ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(w.ctx).BrowserContextID})
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]*network.Cookie{}
	for _, c := range got.Cookies {
		all[c.Name+" "+c.Domain] = c
	}
	return all
}

package app

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const aPicture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><script>alert(1)</script><rect width="8" height="8" fill="#c40"/></svg>`

// fileOf is a file with this content.
func fileOf(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pngOf(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 4))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestTheLookOfAnInstallation: name, logo and colour are on every page, and nothing of them is more
// than a name, a picture and a colour.
func TestTheLookOfAnInstallation(t *testing.T) {
	t.Parallel()
	plain := newDoor(t)
	d := newDoor(t, "pages.name=Ada & <b>Sons</b>", "pages.accent=#FFCC00", "pages.logo="+fileOf(t, "logo.svg", []byte(aPicture)), "open_mode=never")
	styled := regexp.MustCompile(`href="(/auth/style\.css\?v=[0-9a-f]{16})"`)
	link := func(d *door, page answer) string {
		t.Helper()
		m := styled.FindStringSubmatch(page.body)
		if m == nil {
			t.Fatalf("%s has no stylesheet", page.what)
		}
		return m[1]
	}
	own := plain.do("GET", "/auth/login").want(http.StatusOK).shows("Doorward").inert("<img")
	setup := d.do("GET", "/auth/setup").want(http.StatusOK)
	root := d.setUp()
	b := d.signedIn(t, "root", rootPassword)
	var logo string
	for _, page := range []answer{setup, d.do("GET", "/auth/login"), d.do("GET", "/auth/setup"), b.load("/auth/account"), b.load("/auth/password"), b.load("/auth/admin"), b.load("/auth/account/keys/x/revoke")} {
		page.shows("Ada & <b>Sons</b>").inert("<b>Sons", "Doorward")
		m := regexp.MustCompile(`<img src="(/auth/logo\?v=[0-9a-f]{16})" alt="">`).FindStringSubmatch(page.body)
		if m == nil || !strings.HasSuffix(page.header.Get("Content-Security-Policy"), "; img-src 'self'") {
			t.Fatalf("%s shows no logo, under %q: %s", page.what, page.header.Get("Content-Security-Policy"), page.body)
		}
		logo = m[1]
	}
	picture := d.do("GET", logo).want(http.StatusOK)
	for name, want := range map[string]string{
		"Content-Type": "image/svg+xml", "X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=31536000, immutable",
		"Content-Security-Policy": "default-src 'none'; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	} {
		if got := picture.header.Get(name); got != want {
			t.Errorf("the logo: %s %q, want %q", name, got, want)
		}
	}
	if picture.body != aPicture {
		t.Errorf("the logo is %s", picture.body)
	}
	plain.do("GET", "/auth/logo").refused(http.StatusNotFound, "page not found")

	// The colour is in the stylesheet, whose address is another.
	if link(d, setup) == link(plain, own) {
		t.Error("with another colour the stylesheet has the same address")
	}
	style := d.do("GET", link(d, setup)).want(http.StatusOK)
	if !regexp.MustCompile(`:root \{ --accent: #[0-9a-f]{6}; --on-accent: #ffffff; \}`).MatchString(style.body) || !strings.Contains(style.body, "--accent: #ffcc00; --on-accent: #000000;") {
		t.Errorf("the stylesheet ends with %s", style.body[max(0, len(style.body)-300):])
	}
	d.do("GET", "/api/auth/me", bearer(root)).want(http.StatusOK)

	// Other pictures.
	for kind, content := range map[string][]byte{"image/png": pngOf(t), "image/webp": []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07")} {
		d := newDoor(t, "pages.logo="+fileOf(t, "logo", content))
		if got := d.do("GET", "/auth/logo").want(http.StatusOK); got.header.Get("Content-Type") != kind || got.body != string(content) {
			t.Errorf("%s is served as %s", kind, got.header.Get("Content-Type"))
		}
	}
}

// TestCheckRefusesALookThatIsNone says what is wrong with it, and advises where a colour is replaced.
func TestCheckRefusesALookThatIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	big := fileOf(t, "big.png", append(pngOf(t), make([]byte, 64<<10)...))
	for _, c := range []struct{ flag, value, want string }{
		{"--pages-name", "", `pages.name (--pages-name): "" must have 1 to 64 visible characters`},
		{"--pages-name", strings.Repeat("n", 65), `must have 1 to 64 visible characters`},
		{"--pages-name", "a\u202eb", `must have 1 to 64 visible characters`},
		{"--pages-accent", "blue", `pages.accent (--pages-accent): "blue" is not a colour like #0b57c4`},
		{"--pages-accent", "#12345", `is not a colour like #0b57c4`},
		{"--pages-accent", "#12345g", `is not a colour like #0b57c4`},
		{"--pages-accent", "#+12345", `is not a colour like #0b57c4`},
		{"--pages-logo", dir, `is no file`},
		{"--pages-logo", filepath.Join(dir, "none.png"), `none.png": no such file or directory`},
		{"--pages-logo", fileOf(t, "x.png", []byte("GIF89a")), `is neither a PNG, an SVG nor a WebP file`},
		{"--pages-logo", fileOf(t, "y.png", nil), `is empty`},
		{"--pages-logo", fileOf(t, "z.png", pngOf(t)[:20]), `is a damaged PNG file`},
		{"--pages-logo", fileOf(t, "a.svg", []byte("<svg xmlns='http://www.w3.org/2000/svg'><g></svg>")), `is a damaged SVG file`},
		{"--pages-logo", fileOf(t, "b.svg", []byte("<html><svg></svg></html>")), `is no SVG file: its root must be <svg xmlns="http://www.w3.org/2000/svg">`},
		{"--pages-logo", big, `has more than 64 KiB; make it smaller`},
	} {
		status, _, stderr := runProgram(t, nil, "check", "--data-dir", dir, c.flag, c.value)
		if status == 0 || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") > 2 { // passwords.min_length is advised of
			t.Errorf("%s %.40q: %d %s, want %s", c.flag, c.value, status, stderr, c.want)
		}
	}
	status, stdout, stderr := runProgram(t, nil, "check", "--data-dir", dir, "--pages-accent", "#ffcc00")
	if status != 0 || !strings.Contains(stderr, "pages.accent (--pages-accent): #") || !strings.Contains(stderr, "by dark stand for #ffcc00, which could not be read") {
		t.Errorf("%d %s %s", status, stdout, stderr)
	}
	if _, _, stderr := runProgram(t, nil, "check", "--data-dir", dir); strings.Contains(stderr, "accent") {
		t.Errorf("of our own colour it is said: %s", stderr)
	}
	if _, out, _ := runProgram(t, nil, "config", "--data-dir", dir, "--pages-logo", fileOf(t, "logo.svg", []byte(aPicture))); !strings.Contains(out, "logo.svg") || strings.Contains(out, "<svg") {
		t.Errorf("config prints %s", out)
	}
}

package app

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	goodSecret  = "an-altogether-good-secret-of-41-characters"
	otherSecret = "another-altogether-good-secret-for-signing"
)

// world is the sources of one test.
type world struct {
	flags map[string]string
	env   []string
	yaml  string // the file of settings; none when empty
}

// load reads the world's settings. In what is wrong and in the warnings, the file is
// called d.yaml.
func (w world) load(t *testing.T) *loaded {
	t.Helper()
	flags := map[string]string{}
	for k, v := range w.flags {
		flags[k] = v
	}
	path := ""
	if w.yaml != "" {
		path = write(t, "d.yaml", w.yaml)
		flags[configKey] = path
	}
	l := load(sources{flags: flags, environ: w.env})
	if path != "" {
		for i, p := range l.problems {
			l.problems[i] = fmt.Errorf("%s", strings.ReplaceAll(p.Error(), path, "d.yaml"))
		}
		for k, from := range l.from {
			l.from[k] = strings.ReplaceAll(from, path, "d.yaml")
		}
	}
	return l
}

// wants compares what is wrong with what should be, sentence by sentence.
func (w world) wants(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, p := range w.load(t).problems {
		got = append(got, p.Error())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestTheStrongestSourceDecides(t *testing.T) {
	t.Parallel()
	const key = "jwt.expiry"
	flags := map[string]string{key: "1h"}
	own, documented := "DOORWARD_JWT_EXPIRY=2h", "STROMBOLI_JWT_EXPIRY=3h"
	yaml := "# settings\njwt:\n  expiry: 4h\n"
	for _, c := range []struct {
		world
		value, from string
	}{
		{world{flags, []string{own, documented}, yaml}, "1h0m0s", "--jwt-expiry"},
		{world{nil, []string{own, documented}, yaml}, "2h0m0s", "DOORWARD_JWT_EXPIRY"},
		{world{nil, []string{documented}, yaml}, "3h0m0s", "STROMBOLI_JWT_EXPIRY"},
		{world{nil, nil, yaml}, "4h0m0s", "d.yaml:3"},
		{world{}, "24h0m0s", "default"},
		{world{nil, []string{"DOORWARD_JWT_EXPIRY=", "STROMBOLI_JWT_EXPIRY="}, yaml}, "4h0m0s", "d.yaml:3"},
		{world{nil, []string{"DOORWARD_JWT_EXPIRY=5h", "DOORWARD_JWT_EXPIRY=6h"}, ""}, "5h0m0s", "DOORWARD_JWT_EXPIRY"},
	} {
		t.Run(c.from, func(t *testing.T) {
			t.Parallel()
			l := c.load(t)
			if len(l.problems) > 0 {
				t.Fatal(l.problems)
			}
			if got := l.JWTExpiry.String(); got != c.value || l.from[key] != c.from {
				t.Errorf("%s from %s, want %s from %s", got, l.from[key], c.value, c.from)
			}
		})
	}
}

func TestEveryDocumentedVariableIsHonoured(t *testing.T) {
	t.Parallel()
	for variable, check := range map[string]func(Settings) bool{
		"STROMBOLI_AUTH_ENABLED=true":         func(s Settings) bool { return s.AuthEnabled != nil && *s.AuthEnabled },
		"STROMBOLI_JWT_SECRET=" + goodSecret:  func(s Settings) bool { return string(s.JWTSecret) == goodSecret },
		"BROKOLI_JWT_SECRET=" + goodSecret:    func(s Settings) bool { return string(s.JWTSecret) == goodSecret },
		"STROMBOLI_API_TOKENS=your-api-token": func(s Settings) bool { return string(s.APITokens[0].Token) == "your-api-token" },
		"STROMBOLI_JWT_EXPIRY=1h":             func(s Settings) bool { return s.JWTExpiry.Hours() == 1 },
		"STROMBOLI_JWT_REFRESH_EXPIRY=90d":    func(s Settings) bool { return s.JWTRefreshExpiry.Hours() == 90*24 },
	} {
		l := world{env: []string{variable}}.load(t)
		if len(l.problems) > 0 || !check(l.Settings) {
			t.Errorf("%s: %v", variable, l.problems)
		}
	}
}

func TestWhatTheSourcesMayNotSay(t *testing.T) {
	t.Parallel()
	secretFile := write(t, "secret", goodSecret+"\n")
	emptyFile := write(t, "empty", "\n")
	for name, c := range map[string]struct {
		world
		want []string
	}{
		"a flag that does not parse": {world{flags: map[string]string{"jwt.expiry": "5x"}},
			[]string{`jwt.expiry (--jwt-expiry): "5x" is not a duration; write one like 90s, 24h or 7d`}},
		"a variable that does not parse": {world{env: []string{"DOORWARD_JWT_EXPIRY=5x"}},
			[]string{`jwt.expiry (DOORWARD_JWT_EXPIRY): "5x" is not a duration; write one like 90s, 24h or 7d`}},
		"a documented variable that does not parse": {world{env: []string{"STROMBOLI_JWT_EXPIRY=5x"}},
			[]string{`jwt.expiry (STROMBOLI_JWT_EXPIRY): "5x" is not a duration; write one like 90s, 24h or 7d`}},
		"a line that does not parse": {world{yaml: "listen: :8080\njwt:\n  expiry: 5x\n"},
			[]string{`jwt.expiry (d.yaml:3): "5x" is not a duration; write one like 90s, 24h or 7d`}},
		"overridden values that do not parse": {world{map[string]string{"jwt.expiry": "1h"}, []string{"DOORWARD_JWT_EXPIRY=bad"}, "jwt.expiry: worse"},
			[]string{`jwt.expiry (d.yaml:1): "worse" is not a duration; write one like 90s, 24h or 7d`,
				`jwt.expiry (DOORWARD_JWT_EXPIRY): "bad" is not a duration; write one like 90s, 24h or 7d`}},
		"everything at once": {world{map[string]string{"listen": "x"}, []string{"DOORWARD_LOG_LEVEL=x"}, "nope: 1\nrefresh: {reuse: x}\n"},
			[]string{`unknown setting nope (d.yaml:1); the nearest known is routes`,
				`listen (--listen): "x" is not HOST:PORT, such as 127.0.0.1:8080 or :8080`,
				`refresh.reuse (d.yaml:2): "x" is not one of detect, strict`,
				`log.level (DOORWARD_LOG_LEVEL): "x" is not one of debug, info, warn, error`}},

		"documented variables that differ": {world{env: []string{"STROMBOLI_JWT_SECRET=" + goodSecret, "BROKOLI_JWT_SECRET=" + otherSecret}},
			[]string{"jwt.secret (STROMBOLI_JWT_SECRET): STROMBOLI_JWT_SECRET and BROKOLI_JWT_SECRET give different values; unset one of them, or set DOORWARD_JWT_SECRET, which wins over both"}},
		"documented variables that differ, one by file": {world{env: []string{"STROMBOLI_JWT_SECRET=" + otherSecret, "BROKOLI_JWT_SECRET_FILE=" + secretFile}},
			[]string{"jwt.secret (STROMBOLI_JWT_SECRET): STROMBOLI_JWT_SECRET and BROKOLI_JWT_SECRET_FILE give different values; unset one of them, or set DOORWARD_JWT_SECRET, which wins over both"}},

		"an empty secret variable": {world{env: []string{"DOORWARD_API_KEY="}},
			[]string{"api_key (DOORWARD_API_KEY): is empty; remove it, or give it a value"}},
		"an empty documented secret": {world{env: []string{"STROMBOLI_API_TOKENS="}},
			[]string{"api_tokens (STROMBOLI_API_TOKENS): is empty; remove it, or give it a value"}},
		"an empty secret flag over a good variable": {world{flags: map[string]string{"jwt.secret": ""}, env: []string{"DOORWARD_JWT_SECRET=" + goodSecret}},
			[]string{"jwt.secret (--jwt-secret): is empty; remove it, or give it a value"}},
		"an empty secret file": {world{env: []string{"DOORWARD_JWT_SECRET_FILE=" + emptyFile}},
			[]string{"jwt.secret (DOORWARD_JWT_SECRET_FILE): is empty; remove it, or give it a value"}},
		"a secret file without a name": {world{env: []string{"DOORWARD_JWT_SECRET_FILE="}},
			[]string{"jwt.secret (DOORWARD_JWT_SECRET_FILE): names no file"}},
		"a secret where its file belongs": {world{flags: map[string]string{"jwt.secret_file": goodSecret}},
			[]string{"jwt.secret (--jwt-secret-file): cannot read the file it names: no such file or directory"}},
		"a directory as a secret file": {world{yaml: "jwt:\n  secret_file: /\n"},
			[]string{"jwt.secret (d.yaml:2): cannot read the file it names: is a directory"}},
		"an endless secret file": {world{flags: map[string]string{"api_key_file": "/dev/zero"}},
			[]string{"api_key (--api-key-file): cannot read the file it names: has more than 64 KiB"}},
		"both in flags": {world{flags: map[string]string{"api_key": "k", "api_key_file": "f"}},
			[]string{"api_key (--api-key): is given both as a value and as a file; give one of them"}},
		"both in variables": {world{env: []string{"STROMBOLI_JWT_SECRET=" + goodSecret, "STROMBOLI_JWT_SECRET_FILE=f"}},
			[]string{"jwt.secret (STROMBOLI_JWT_SECRET): is given both as a value and as a file; give one of them"}},
		"both in the file": {world{yaml: "jwt.secret: " + goodSecret + "\njwt:\n  secret_file: f\n"},
			[]string{"jwt.secret (d.yaml:3): is given both as a value and as a file; give one of them"}},
		"a file for what is no secret": {world{yaml: "listen_file: x\n"},
			[]string{"unknown setting listen_file (d.yaml:1); the nearest known is api_key_file"}},

		"no file of settings": {world{flags: map[string]string{configKey: "/nowhere/d.yaml"}},
			[]string{"/nowhere/d.yaml (--config): cannot read the file of settings: no such file or directory"}},
		"an empty name of the file": {world{flags: map[string]string{configKey: ""}}, []string{"--config names no file"}},
		"a directory of settings": {world{env: []string{"DOORWARD_CONFIG=/"}},
			[]string{"/ (DOORWARD_CONFIG): cannot read the file of settings: is a directory"}},
		"an endless file of settings": {world{env: []string{"DOORWARD_CONFIG=/dev/zero"}},
			[]string{"/dev/zero (DOORWARD_CONFIG): cannot read the file of settings: has more than 256 KiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.wants(t, c.want...)
		})
	}
}

func TestWhatIsNoContradiction(t *testing.T) {
	t.Parallel()
	secretFile := write(t, "secret", goodSecret+"\n")
	for name, w := range map[string]world{
		"documented variables that agree":            {env: []string{"STROMBOLI_JWT_SECRET=" + goodSecret, "BROKOLI_JWT_SECRET_FILE=" + secretFile}},
		"documented variables that are overridden":   {env: []string{"STROMBOLI_JWT_SECRET=a", "BROKOLI_JWT_SECRET=b", "DOORWARD_JWT_SECRET=" + goodSecret}},
		"a documented value that does not parse":     {env: []string{"STROMBOLI_JWT_EXPIRY=86400", "DOORWARD_JWT_EXPIRY=24h"}},
		"a secret over a file from a weaker source":  {env: []string{"DOORWARD_JWT_SECRET=" + goodSecret}, yaml: "jwt.secret_file: /nowhere/at/all"},
		"an overridden secret variable, empty":       {flags: map[string]string{"jwt.secret": goodSecret}, env: []string{"DOORWARD_JWT_SECRET="}},
		"a list of no tokens, written out":           {yaml: "api_tokens: []"},
		"an empty value in the file, meaning none":   {yaml: "upstream: ''\ntrusted_proxies: ''\n"},
		"a file that is empty, or only a comment":    {yaml: "# nothing\n"},
		"test variables":                             {env: []string{"DOORWARD_TEST_X=1"}},
		"a malformed environment":                    {env: []string{"NOT A VARIABLE", "=C:=C", ""}},
		"the same secret in a file, with a line end": {flags: map[string]string{"jwt.secret_file": secretFile}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.wants(t)
			if warnings := w.load(t).warnings; len(warnings) > 0 {
				t.Error(warnings)
			}
		})
	}
}

func TestSecretFilesLoseOneLineEnd(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"secret":         "secret",
		"secret\n":       "secret",
		"secret\r\n":     "secret",
		"secret\n\n":     "secret\n",
		" secret \n":     " secret ",
		"sec\nret\r":     "sec\nret\r",
		"\x00\xff\xfe\n": "\x00\xff\xfe",
	} {
		got, _, err := readSecret(write(t, "s", content))
		if err != nil || got != want {
			t.Errorf("%q is read as %q, %v; want %q", content, got, err, want)
		}
	}
}

func TestUnknownVariablesAreWarnings(t *testing.T) {
	t.Parallel()
	l := world{env: []string{
		"DOORWARD_JWT_EXPIREY=1h", "DOORWARD_listen=x", "DOORWARD_PORT_8080_TCP_ADDR=10.0.0.1", "DOORWARD_JWT_SECERT=hush-hush",
		"DOORWARD_RETRY_WINDOW=1s", "DOORWARD_=x", "DOORWARD_A\nB=x", "DOORWARD_LISTEN_FILE=x",
		"STROMBOLI_PORT=1", "HOME=/", "doorward_listen=x", "DOORWARD_TEST_POSTGRES=x",
	}}.load(t)
	want := []string{
		`unknown variable DOORWARD_ is ignored`,
		`unknown variable "DOORWARD_A\nB" is ignored`,
		`unknown variable DOORWARD_JWT_EXPIREY is ignored; did you mean DOORWARD_JWT_EXPIRY?`,
		`unknown variable DOORWARD_JWT_SECERT is ignored; did you mean DOORWARD_JWT_SECRET?`,
		`unknown variable DOORWARD_LISTEN_FILE is ignored`,
		`unknown variable DOORWARD_PORT_8080_TCP_ADDR is ignored`,
		`unknown variable DOORWARD_RETRY_WINDOW is ignored; did you mean DOORWARD_REFRESH_RETRY_WINDOW?`,
		`unknown variable DOORWARD_listen is ignored; did you mean DOORWARD_LISTEN?`,
	}
	if len(l.problems) > 0 || !slices.Equal(l.warnings, want) {
		t.Errorf("problems %v\nwarnings:\n  %s\nwant:\n  %s", l.problems, strings.Join(l.warnings, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestNoSecretIsEverShown(t *testing.T) {
	t.Parallel()
	// Each of these holds the word hush where a secret belongs, or where one is easily put
	// by mistake. Whatever is refused or shown, the word must not be.
	const hush = "hush-hush-hush-hush-hush-hush-hush-hush"
	dir := t.TempDir()
	file := filepath.Join(dir, "s")
	if err := os.WriteFile(file, []byte(hush+"\tü"), 0o600); err != nil {
		t.Fatal(err)
	}
	worlds := []world{
		{yaml: "jwt:\n  secret: " + hush + "\n secret: [\n"},
		{yaml: "jwt: {secret: " + hush + ", secret: " + hush + "}\n"},
		{yaml: "api_key: " + hush + "\n - x\n"},
		{yaml: "api_key: \"" + hush + "\n"},
		{yaml: "api_key: !!binary " + hush + "\n"},
		{yaml: "api_key: &" + hush + " x\n"},
		{yaml: "api_key: [" + hush + "]\n"},
		{yaml: "api_key: {" + hush + ": x}\nlisten: 1\n"},
		{yaml: "api_tokens:\n  - token: " + hush + "\n    workspace: UPPER\n"},
		{yaml: "api_tokens:\n  - [" + hush + "]\n"},
	}
	for _, s := range new(Settings).rows() {
		if !s.secret && s.key != "database" && s.key != "upstream" && s.key != "public_url" && s.key != "trusted_origins" {
			continue
		}
		for _, value := range []string{hush, hush + "\tü", "postgres://u:" + hush + "@h/d", "postgres://u:" + hush + "@h:x/d?password=" + hush, "http://u:" + hush + "@h", "https://" + hush + ":pw@h/%zz"} {
			if !s.secret && !strings.Contains(value, "@") {
				continue // no secret there
			}
			worlds = append(worlds,
				world{flags: map[string]string{s.key: value}},
				world{env: []string{s.env() + "=" + value}},
			)
			if s.secret {
				worlds = append(worlds,
					world{flags: map[string]string{s.fileKey(): value}},
					world{flags: map[string]string{s.fileKey(): file}},
				)
			}
		}
	}
	for _, w := range worlds {
		l := w.load(t)
		text := fmt.Sprint(l.problems, l.warnings, l.advice(), l.shown, l.showDatabase())
		text += fmt.Sprintf("%v %+v %#v", l.Settings, l.APITokens, l.JWTPreviousSecrets)
		for _, e := range l.effective() {
			if e.Value != nil {
				text += *e.Value
			}
		}
		if _, rest, found := strings.Cut(text, "hush"); found {
			t.Errorf("%v shows a secret: ...hush%.80s", w, rest)
		}
	}
}

func TestProblemsAreOneLine(t *testing.T) {
	t.Parallel()
	l := world{flags: map[string]string{"listen": "a\nb", "jwt.expiry": "5\r\nx"}, yaml: "\"a\\nb\": 1\n"}.load(t)
	if len(l.problems) != 3 {
		t.Fatalf("got %v", l.problems)
	}
	for _, p := range l.problems {
		if strings.ContainsAny(p.Error(), "\r\n") {
			t.Errorf("%q is more than a line", p)
		}
	}
	if got := l.err().Error(); !strings.HasSuffix(got, "(and 2 more: the command check lists them all)") {
		t.Error(got)
	}
}

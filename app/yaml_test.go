package app

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ yaml, want string }{
		{"lisen: x", "unknown setting lisen (d.yaml:1); did you mean listen?"},
		{"listen: :80\nJWT:\n  expiry: 1h", "unknown setting JWT.expiry (d.yaml:3); did you mean jwt.expiry?"},
		{"jwt:\n  expirey: 1h", "unknown setting jwt.expirey (d.yaml:2); did you mean jwt.expiry?"},
		{"jwt.expirey: 1h", "unknown setting jwt.expirey (d.yaml:1); did you mean jwt.expiry?"},
		{"retry_window: 1h", "unknown setting retry_window (d.yaml:1); did you mean refresh.retry_window?"},
		{"refresh-retry-window: 1h", "unknown setting refresh-retry-window (d.yaml:1); did you mean refresh.retry_window?"},
		{"zzzzzzzzz: 1h", "unknown setting zzzzzzzzz (d.yaml:1); the nearest known is api_key"},
		{"a b: 1", `unknown setting "a b" (d.yaml:1); the nearest known is api_key`},
		{"1: 1", `unknown setting 1 (d.yaml:1); the nearest known is listen`},
		{"lokout: {}", "unknown setting lokout (d.yaml:1); did you mean lockout?"},
		{"jwt: 1h", "jwt (d.yaml:1): is a group of settings, not one; write them as jwt.name or indented below it"},
		{"jwt:", "jwt (d.yaml:1): is a group of settings, not one; write them as jwt.name or indented below it"},
		{"jwt: [expiry]", "jwt (d.yaml:1): is a group of settings, not one; write them as jwt.name or indented below it"},
		{"jwt:\n  expiry: 1h\njwt.expiry: 1h", "jwt.expiry (d.yaml:3): is given twice, also in line 2"},
		{"jwt.expiry: 1h\njwt:\n  expiry: 1h", "jwt.expiry (d.yaml:3): is given twice, also in line 1"},
		{"listen: a:1\nlisten: b:1", `d.yaml:2: is not valid YAML: the key "listen" is given twice`},
		{"jwt:\n  expiry: 1h\njwt:\n  expiry: 2h", `d.yaml:3: is not valid YAML: the key "jwt" is given twice`},

		{"listen: [a, b]", "listen (d.yaml:1): must be a single value, not a list"},
		{"listen:\n  host: a", "listen (d.yaml:1): must be a single value, not a mapping"},
		{"listen:", "listen (d.yaml:1): has no value; give it one, or remove the line"},
		{"listen: ~", "listen (d.yaml:1): has no value; give it one, or remove the line"},
		{"trusted_proxies:\n  - 10.0.0.1\n  - nonsense", `trusted_proxies (d.yaml:3): "nonsense" is neither an address like 10.0.0.7 nor a network like 10.0.0.0/8`},
		{"trusted_proxies:\n  - 10.0.0.1\n  - {a: b}", `trusted_proxies (d.yaml:3): must be a single value, not a mapping`},
		{"lockout: {attempts: 5.0}", `lockout.attempts (d.yaml:1): "5.0" is not a whole number from 1 to 1000`},
		{"lockout: {attempts: 0x5}", `lockout.attempts (d.yaml:1): "0x5" is not a whole number from 1 to 1000`},

		{"- listen", "d.yaml:1: must be a mapping of settings, such as: listen: 127.0.0.1:8080"},
		{"listen", "d.yaml:1: must be a mapping of settings, such as: listen: 127.0.0.1:8080"},
		{"listen: :80\n---\nlisten: :81", "d.yaml:3: a second document begins here; settings are one document"},
		{"listen: &a :80", "d.yaml:1: anchors and aliases are not known here; quote a value that begins with & or *"},
		{"a: 1\nlisten: *a", "d.yaml:2: anchors and aliases are not known here; quote a value that begins with & or *"},
		{"<<: {listen: x}", "d.yaml:1: anchors and aliases are not known here; quote a value that begins with & or *"},
		{"listen: !!str x", "d.yaml:1: tags are not known here; quote a value that begins with !"},
		{"? listen\n: x", "d.yaml:1: explicit keys are not known here; quote a value that begins with ?"},
		{"%YAML 1.2\n---\nlisten: :80", "d.yaml:1: directives are not known here; quote a value that begins with %"},
		{"listen: \"x", "d.yaml:1: is not valid YAML: could not find end character of double-quoted text"},
		{"listen: :80\n\tjwt: x", "d.yaml:2: is not valid YAML: found character '\t' that cannot start any token"},
		{"\xff\xfe", "d.yaml: is not UTF-8 text"},
		{strings.Repeat("[", 33), "d.yaml:1: is nested too deeply"},
		{strings.Repeat("- ", 200), "d.yaml:1: is nested too deeply"},
		{strings.Repeat("- x\n", 20_001), "d.yaml: has more than 40000 words and signs"},
		{"x: " + strings.Repeat("y", 256<<10), "d.yaml (--config): cannot read the file of settings: has more than 256 KiB"},
	} {
		t.Run(c.yaml[:min(len(c.yaml), 20)], func(t *testing.T) {
			t.Parallel()
			world{yaml: c.yaml}.wants(t, c.want)
		})
	}
}

func TestFormsOfTheFile(t *testing.T) {
	t.Parallel()
	plainFile := "listen: 127.0.0.1:9000\njwt:\n  expiry: 1h\ntrusted_proxies: [10.0.0.1, 10.0.0.2]\nlog.level: debug\n"
	for name, yaml := range map[string]string{
		"plain":              plainFile,
		"windows line ends":  strings.ReplaceAll(plainFile, "\n", "\r\n"),
		"byte order mark":    "\ufeff" + plainFile,
		"one document":       "---\n" + plainFile + "...\n",
		"comments":           "# first\n" + strings.ReplaceAll(plainFile, "\n", " # why\n"),
		"flow":               `{"listen": "127.0.0.1:9000", jwt: {expiry: 1h}, 'trusted_proxies': ["10.0.0.1", '10.0.0.2'], log: {level: debug}}`,
		"block list, dotted": "listen: 127.0.0.1:9000\njwt.expiry: 1h\ntrusted_proxies:\n- 10.0.0.1\n- 10.0.0.2\nlog:\n    level: 'debug'\n",
		"comma list, folded": "listen: >-\n  127.0.0.1:9000\njwt: {expiry: 1h}\ntrusted_proxies: |\n  10.0.0.1\n  10.0.0.2\nlog.level: \"debug\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := world{yaml: yaml}.load(t)
			if len(l.problems) > 0 {
				t.Fatal(l.problems)
			}
			got := fmt.Sprint(l.Listen, " ", l.JWTExpiry, " ", l.TrustedProxies, " ", l.LogLevel)
			if want := "127.0.0.1:9000 1h0m0s [10.0.0.1/32 10.0.0.2/32] DEBUG"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestScalarsAreTakenAsWritten(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"api_key: 0123456789012345678901234567890123456789": "0123456789012345678901234567890123456789",
		"api_key: 0x1F":          "0x1F",
		"api_key: 1_000":         "1_000",
		"api_key: 1.50":          "1.50",
		"api_key: TRUE":          "TRUE",
		"api_key: .inf":          ".inf",
		"api_key: 2020-01-01":    "2020-01-01",
		"api_key: 'it''s'":       "it's",
		`api_key: "a\x41\u0042"`: "aAB",
		"api_key: a#b":           "a#b",
		"api_key: a # b":         "a",
	} {
		s, refused := fileSetting(t, "api_key", yaml)
		if refused != "" || string(s.APIKey) != want {
			t.Errorf("%s is %q, want %q; %s", yaml, string(s.APIKey), want, refused)
		}
	}
}

// hostileYAML are files that are slow or deep for a careless reader.
func hostileYAML() map[string]string {
	const size = 256<<10 - 100
	var stairs strings.Builder
	for i := 0; stairs.Len() < size; i++ {
		stairs.WriteString(strings.Repeat(" ", i) + "k:\n")
	}
	var keys strings.Builder
	for i := 0; keys.Len() < size; i++ {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	return map[string]string{
		"brackets":    strings.Repeat("[", size),
		"braces":      strings.Repeat("{", size),
		"pairs":       strings.Repeat("[]", size/2),
		"dashes":      strings.Repeat("- ", size/2),
		"questions":   strings.Repeat("? ", size/2),
		"colons":      strings.Repeat("a: ", size/3),
		"stairs":      stairs.String(),
		"keys":        keys.String(),
		"long key":    strings.Repeat("k", size) + ": v",
		"long value":  "listen: " + strings.Repeat("v", size),
		"line ends":   strings.Repeat("\n", size),
		"quotes":      strings.Repeat("'", size),
		"backslashes": "\"" + strings.Repeat("\\", size),
		"laughs":      "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
		"documents":   strings.Repeat("---\n", size/4),
	}
}

func TestHostileFilesAreRefusedInTime(t *testing.T) {
	t.Parallel()
	for name, yaml := range hostileYAML() {
		start := time.Now()
		l := world{yaml: yaml}.load(t)
		if len(l.problems) == 0 && name != "line ends" && name != "documents" {
			t.Errorf("%s: accepted", name)
		}
		for _, p := range l.problems {
			if len(p.Error()) > 500 {
				t.Errorf("%s: the message has %d bytes", name, len(p.Error()))
			}
		}
		// It is refused within a second or so; the bound is wide for a busy machine.
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func FuzzYAML(f *testing.F) {
	f.Add("listen: 127.0.0.1:9000\njwt:\n  expiry: 1h\ntrusted_proxies: [10.0.0.1, 10.0.0.2]\n")
	f.Add("api_tokens:\n  - x\n  - {token: t, role: admin, client_ids: [a]}\n")
	f.Add("a: |\n  b\n c: >-\n  d\n\"e\\x41\": 'f'\n? g\n: &h *h\n<<: !!i j\n--- #k\n...\n%l\n")
	rows := new(Settings).rows()
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := parseYAML("d.yaml", []byte(text))
		if err != nil {
			if fields != nil {
				t.Error("an error came with fields")
			}
			return
		}
		known, problems := file{"d.yaml", fields}.sort(rows)
		l := newLoaded()
		for _, s := range l.rows() {
			l.resolve(s, nil, nil, "d.yaml", known)
		}
		for _, p := range append(problems, l.problems...) {
			if !strings.Contains(p.Error(), "d.yaml:") {
				t.Errorf("%q does not say where", p)
			}
		}
	})
}

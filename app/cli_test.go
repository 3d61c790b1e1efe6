package app

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestHelp(t *testing.T) {
	t.Parallel()
	for file, args := range map[string][]string{
		"help.golden":              {"-h"},
		"serve-help.golden":        {"serve", "--help"},
		"check-help.golden":        {"check", "-h"},
		"generate-key-help.golden": {"generate-key", "-h"},
		"secret-help.golden":       {"secret", "rotate", "-h"},
		"session-help.golden":      {"session", "revoke", "-h"},
		"key-help.golden":          {"key", "create", "-h"},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := runProgram(t, nil, args...)
			if status != 0 || stderr != "" {
				t.Fatalf("status %d, %s", status, stderr)
			}
			golden(t, filepath.Join("testdata", file), stdout)
		})
	}
}

func TestEverySettingIsAFlagOfServe(t *testing.T) {
	t.Parallel()
	_, help, _ := runProgram(t, nil, "serve", "-h")
	for _, s := range new(Settings).rows() {
		if !strings.Contains(help, "--"+s.flag()) || s.secret != strings.Contains(help, "--"+flagName(s.fileKey())+"=") {
			t.Errorf("serve -h has not --%s as it should", s.flag())
		}
	}
}

// TestEveryCommandPrintsJSON when asked to, but for serve, which says what it does on its log.
func TestEveryCommandPrintsJSON(t *testing.T) {
	t.Parallel()
	k, err := kong.New(&grammar{})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range k.Model.Leaves(true) {
		if has := slices.Contains(flagNames(command), "--json"); has == (command.Name == "serve") {
			t.Errorf("%s has --json: %v", command.FullPath(), has)
		}
	}
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "a command is needed: one of serve, check, config, explain, generate-key, key, user, org, workspace, session, audit, backup, healthcheck, secret, version; doorward -h says more"},
		{[]string{"--"}, "a command is needed: one of serve, check, config, explain, generate-key, key, user, org, workspace, session, audit, backup, healthcheck, secret, version; doorward -h says more"},
		{[]string{"chek"}, "unknown command chek; did you mean check?"},
		{[]string{"che"}, "unknown command che; did you mean check?"},
		{[]string{"two words"}, `unknown command "two words"; the nearest known is org`},
		{[]string{"--listen=:80", "serve"}, "unknown flag --listen before the command; flags are written after it, as in: doorward serve --listen :8080"},
		{[]string{"check", "--lisen", ":80"}, "unknown flag --lisen; did you mean --listen?"},
		{[]string{"check", "--refresh.retry_window=1s"}, "unknown flag --refresh.retry_window; did you mean --refresh-retry-window?"},
		{[]string{"check", "--retry-window=1s"}, "unknown flag --retry-window; did you mean --refresh-retry-window?"},
		{[]string{"check", "--zzzzzzzzzz"}, "unknown flag --zzzzzzzzzz; the nearest known is --help"},
		{[]string{"check", "-x"}, "unknown flag -x; the nearest known is --help"},
		{[]string{"check", "--jwt-secret"}, "--jwt-secret: needs a value"},
		{[]string{"check", "--jwt-secret", "-hush"}, "--jwt-secret: needs a value; one that begins with a dash is written --jwt-secret=VALUE"},
		{[]string{"check", "--jwt-secert=hush"}, "unknown flag --jwt-secert; did you mean --jwt-secret?"},
		{[]string{"check", "--api-key", "two", "hush"}, "unexpected argument: check takes flags only; quote a value that holds spaces, and write --flag=false to turn one off"},
		{[]string{"check", "--auth-enabled", "false"}, "unexpected argument: check takes flags only; quote a value that holds spaces, and write --flag=false to turn one off"},
		{[]string{"check", "--api-key=hush1", "--api-key=hush2"}, "--api-key: is given twice"},
		{[]string{"generate-key", "--listen=:80"}, "unknown flag --listen; the nearest known is --json"},
		{[]string{"version", "--listen=:80"}, "unknown flag --listen; the nearest known is --json"},
	} {
		status, stdout, stderr := runProgram(t, nil, c.args...)
		if status != 2 || stdout != "" || stderr != "doorward: "+c.want+"\n" {
			t.Errorf("%v: status %d, %s%s want %s", c.args, status, stdout, stderr, c.want)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string // a line of config, its columns separated by one space
	}{
		{nil, "auth.enabled (open_mode decides) default"},
		{[]string{"--auth-enabled"}, "auth.enabled true --auth-enabled"},
		{[]string{"--auth-enabled", "--listen=:80"}, "auth.enabled true --auth-enabled"},
		{[]string{"--auth-enabled=false"}, "auth.enabled false --auth-enabled"},
		{[]string{"--rate-limits-enabled=no"}, "rate_limits.enabled no --rate-limits-enabled"},
		{[]string{"--listen", ":80"}, "listen :80 --listen"},
		{[]string{"--listen", ":80", "--listen=:80"}, "listen :80 --listen"},
		{[]string{"--upstream="}, "upstream (the sample service) --upstream"},
		{[]string{"--trusted-proxies=10.0.0.1", "--trusted-proxies", "10.0.0.2,10.0.0.3"}, "trusted_proxies 10.0.0.1,10.0.0.2,10.0.0.3 --trusted-proxies"},
		{[]string{"--jwt-secret=" + goodSecret}, "jwt.secret *** --jwt-secret"},
		{[]string{"--jwt-secret=--" + goodSecret}, "jwt.secret *** --jwt-secret"},
		{[]string{"--api-key=a=b=c"}, "api_key *** --api-key"},
		{[]string{"--database=postgres://me:hush@db/door?sslmode=require&sslpassword=hush", "--jwt-secret=" + goodSecret},
			"database postgres://me:xxxxx@db/door?sslmode=require&sslpassword=xxxxx --database"},
		{[]string{"--data-dir=/srv/door"}, "database /srv/door/doorward.db default"},
		{[]string{"--sample-command=echo\ta"}, `sample_command "echo\ta" --sample-command`},
	} {
		status, stdout, stderr := runProgram(t, nil, append([]string{"config"}, c.args...)...)
		var lines []string
		for l := range strings.Lines(stdout) {
			lines = append(lines, strings.Join(strings.Fields(l), " "))
		}
		if status != 0 || !strings.Contains("\n"+strings.Join(lines, "\n")+"\n", "\n"+c.want+"\n") || strings.Contains(stdout+stderr, "hush") {
			t.Errorf("%v: status %d %s, want the line %s in\n%s", c.args, status, stderr, c.want, stdout)
		}
	}
}

func TestServeRefusesInOneLine(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := runProgram(t, []string{"DOORWARD_JWT_SECRET=short", "DOORWARD_LISTEN=x"}, "serve")
	want := `doorward: listen (DOORWARD_LISTEN): "x" is not HOST:PORT, such as 127.0.0.1:8080 or :8080 (and 1 more: the command check lists them all)` + "\n"
	if status != 1 || stdout != "" || stderr != want {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
}

func TestGenerateKeyMinds(t *testing.T) {
	t.Parallel()
	const random = "7272727272727272727272727272727272727272727272727272727272727272" // of runProgram's reader
	yaml := write(t, "d.yaml", "names: {key_prefix: file_}\nlisten: nonsense\nnope: 1\n")
	for _, c := range []struct {
		env, args []string
		prefix    string
	}{
		{nil, nil, "brk_"},
		{[]string{"DOORWARD_NAMES_KEY_PREFIX=acme_", "DOORWARD_JWT_SECRET=short", "DOORWARD_CONFIG=" + yaml}, nil, "acme_"},
		{nil, []string{"--names-key-prefix=x-"}, "x-"},
		{nil, []string{"--config", yaml}, "file_"},
	} {
		status, stdout, stderr := runProgram(t, c.env, append([]string{"generate-key"}, c.args...)...)
		if status != 0 || !strings.HasPrefix(stdout, c.prefix+random) || len(stdout) != len(c.prefix)+73 || stderr != "" {
			t.Errorf("%v %v: status %d, %s%s", c.env, c.args, status, stdout, stderr)
		}
	}
	status, stdout, stderr := runProgram(t, nil, "generate-key", "--names-key-prefix=a.b")
	if status != 1 || stdout != "" || stderr != `doorward: names.key_prefix (--names-key-prefix): "a.b": may hold letters, digits, - and _ only`+"\n" {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
}

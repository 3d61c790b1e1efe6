package app

import (
	"fmt"
	"strings"
)

// configurationPage is docs/configuration.md, made from the table.
func configurationPage() string {
	var b strings.Builder
	b.WriteString(configurationText)
	for _, g := range new(Settings).table() {
		fmt.Fprintf(&b, "\n### %s\n\n| key | default | |\n|---|---|---|\n", g.title)
		for _, s := range g.rows {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.key, s.docDefault(), s.docHelp())
		}
	}
	return b.String()
}

func (s setting) docDefault() string {
	if s.fallback == "" {
		return s.unset
	}
	return "`" + s.fallback + "`"
}

func (s setting) docHelp() string {
	help := s.help
	if strings.Contains(s.metavar, "|") && s.metavar == strings.ToLower(s.metavar) {
		help += ": `" + strings.ReplaceAll(s.metavar, "|", "`, `") + "`"
	}
	if len(s.documented) > 0 {
		help += "; also `" + strings.Join(s.documented, "`, `") + "`"
	}
	if s.secret {
		help += "; a secret"
	}
	return help
}

const configurationText = `# Configuration

This page is generated from the program's table of settings by
` + "`doorward config --markdown > docs/configuration.md`" + `; a test fails when the two differ.

## One name, three spellings

Each setting has a key, and by one rule a flag and an environment variable:

| where | spelling |
|---|---|
| key in the YAML file | ` + "`refresh.retry_window`" + ` |
| flag | ` + "`--refresh-retry-window`" + ` |
| variable | ` + "`DOORWARD_REFRESH_RETRY_WINDOW`" + ` |

A flag wins over a variable, a variable over the file, the file over the default. A file is read only
when ` + "`--config FILE` or `DOORWARD_CONFIG`" + ` names one. Keys may be nested or written with dots:

` + "```yaml" + `
listen: 0.0.0.0:8080
upstream: http://localhost:3000
jwt:
  expiry: 1h
refresh.retry_window: 10s
trusted_proxies: [10.0.0.0/8, 192.168.1.7]
` + "```" + `

` + "`doorward check`" + ` says what is wrong without starting, and ` + "`doorward config`" + ` prints the settings in effect, secrets
masked, with the flag, variable, or file and line that each came from.

- An unknown flag or key, a key given twice, or a value that does not parse is refused, with its place and the
  nearest known name. A value must parse even where a stronger source overrides it.
- An unknown ` + "`DOORWARD_*`" + ` variable is a warning, since orchestrators make some up. ` + "`DOORWARD_TEST_*`" + ` is left alone.
- An empty variable counts as unset, except for a secret: there it is refused, so that a variable that
  expanded to nothing never means "no secret". An empty value in a flag or in the file is taken as it is: ` + "`upstream: \"\"`" + ` is no
  upstream. In the file a key without any value is refused.
- Durations are written as in Go, with days: ` + "`90s`, `24h`, `7d`, `1d12h`" + `; at most ` + "`36500d`" + `.
- Yes and no are ` + "`true`, `yes`, `on`, `1` and `false`, `no`, `off`, `0`" + `. As a flag, ` + "`--auth-enabled`" + ` is ` + "`--auth-enabled=true`" + `.
- Lists are separated by commas, and in the file may be YAML lists; a flag for a list may be repeated.
- Paths are relative to the directory in which the program is started.
- The file is one YAML document, without anchors, aliases or tags, of at most 256 KiB.

## Secrets

The settings marked as secrets are never shown: not in an error, in the log, or by ` + "`doorward config`" + `.
Each may be given as a file instead: ` + "`jwt.secret_file`" + `, ` + "`--jwt-secret-file`" + `, ` + "`DOORWARD_JWT_SECRET_FILE`" + `. One final
line end of the file is dropped. The value and the file from one source are refused together, and so is a file that is
empty or cannot be read. A secret is the bytes of the string: nothing is decoded, trimmed or expanded.

A secret on the command line can be read by other users of the machine (` + "`ps`" + `); a variable or a file is safer.

` + "`jwt.secret`" + ` must have 32 bytes and be no known placeholder; make one with ` + "`openssl rand -base64 32`" + `. Without it one is
generated and kept in the secret file; with PostgreSQL it must be given. To replace a given secret without signing anybody out, move the old
one to ` + "`jwt.previous_secrets`" + ` until its last token has expired; [rotation.md](rotation.md) has the steps, and the command for the
secret file. There, a secret that holds a comma or begins or ends with a
space needs a list in the file, whose entries are taken whole.

` + "`api_tokens`" + ` are any visible ASCII characters, separated by commas (in a file also by line ends); empty entries are ignored.
In the YAML file an entry may say more:

` + "```yaml" + `
api_tokens:
  - 5c1de5a98d6a3e7c0b7d4c0b86b1a1f0
  - token_file: /run/secrets/deploy-token   # or token: ...
    name: deploy            # its subject when it is used as it is
    role: viewer            # default: editor
    client_ids: [ci, cd]    # the only client ids it may be exchanged for; default: any
    workspace: staging      # default: default; the start warns of one that is not there
` + "```" + `

## Variables of the programs whose documentation this follows

| variable | setting |
|---|---|
| ` + "`STROMBOLI_AUTH_ENABLED` | `auth.enabled`" + ` |
| ` + "`STROMBOLI_JWT_SECRET`, `BROKOLI_JWT_SECRET` | `jwt.secret`" + ` |
| ` + "`STROMBOLI_API_TOKENS` | `api_tokens`" + ` |
| ` + "`STROMBOLI_JWT_EXPIRY` | `jwt.expiry`" + ` |
| ` + "`STROMBOLI_JWT_REFRESH_EXPIRY` | `jwt.refresh_expiry`" + ` |

The setting's own variable wins over them, and they over the file. Two that give one setting different values are refused,
unless a stronger source decides; the same value twice is fine. Those of secrets may end in ` + "`_FILE`" + ` too.

## Settings
`

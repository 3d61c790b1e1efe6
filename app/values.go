package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorward"
	"doorward/gate"
	"doorward/safe"
	"doorward/store"
)

// given is the value of one setting as one source gives it.
type given struct {
	source string // names the source for people: --listen, DOORWARD_LISTEN, doorward.yaml:3
	text   string
	file   string // the file that node is from
	node   *node  // the value in the file, which may be more than text; nil from elsewhere
}

// atLine is an error about one line of the file within a value that spans several.
type atLine struct {
	line int
	error
}

func (e atLine) Unwrap() error { return e.error }

// scalar returns the value if it is a single one.
func (g given) scalar() (string, error) {
	if g.node == nil {
		return g.text, nil
	}
	return g.node.scalar()
}

// item is one member of a list, with its line in the file, or 0.
type item struct {
	text string
	line int
}

// wrong is err with the item's line, if it has one.
func (i item) wrong(err error) error {
	if i.line == 0 {
		return err
	}
	return atLine{i.line, err}
}

// items returns the members of a list: those of a list in the file as they stand, those
// of a text split at commas and line ends without the white space around them. Empty
// entries of a text are ignored.
func (g given) items() ([]item, error) {
	if g.node != nil && g.node.kind == listNode {
		var all []item
		for _, n := range g.node.items {
			t, err := n.scalar()
			if err != nil {
				return nil, atLine{n.line, err}
			}
			all = append(all, item{t, n.line})
		}
		return all, nil
	}
	t, err := g.scalar()
	if err != nil {
		return nil, err
	}
	var all []item
	for _, e := range splitList(t) {
		if e = strings.TrimSpace(e); e != "" {
			all = append(all, item{text: e})
		}
	}
	return all, nil
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' })
}

// text is the setter of a setting that is one value: parse takes it in the same form from
// every source.
func text[T any](to *T, parse func(string) (T, error)) func(given) error {
	return func(g given) error {
		t, err := g.scalar()
		if err != nil {
			return err
		}
		v, err := parse(t)
		if err != nil {
			return err
		}
		*to = v
		return nil
	}
}

// each is the setter of a setting that is a list of values.
func each[T any](to *[]T, parse func(string) (T, error)) func(given) error {
	return func(g given) error {
		items, err := g.items()
		if err != nil {
			return err
		}
		var all []T
		for _, i := range items {
			v, err := parse(i.text)
			if err != nil {
				return i.wrong(err)
			}
			all = append(all, v)
		}
		*to = all
		return nil
	}
}

// errEmptySecret refuses a secret that is given and empty: a variable that expanded to
// nothing must never mean that there is no secret.
var errEmptySecret = errors.New("is empty; remove it, or give it a value")

// secret is the setter of a secret: the bytes of the text, nothing decoded or trimmed.
func secret(to *doorward.Secret, check func(string) error) func(given) error {
	return func(g given) error {
		t, err := g.scalar()
		if err != nil {
			return err
		}
		if t == "" {
			return errEmptySecret
		}
		if err := check(t); err != nil {
			return err
		}
		*to = doorward.Secret(t)
		return nil
	}
}

// secrets is the setter of a list of secrets. One that begins or ends with white space
// is refused where a list is written as text, since "a, b" may mean either.
func secrets(to *[]doorward.Secret) func(given) error {
	return func(g given) error {
		if g.node != nil && g.node.kind == listNode {
			items, err := g.items()
			if err != nil {
				return err
			}
			var all []doorward.Secret
			for _, i := range items {
				if i.text == "" {
					return i.wrong(errEmptySecret)
				}
				all = append(all, doorward.Secret(i.text))
			}
			*to = all
			return nil
		}
		t, err := g.scalar()
		if err != nil {
			return err
		}
		var all []doorward.Secret
		for n, e := range splitList(t) {
			if strings.TrimSpace(e) != e {
				return fmt.Errorf("entry %d begins or ends with white space; remove it, or write a list in the file, where each entry is taken whole", n+1)
			}
			all = append(all, doorward.Secret(e))
		}
		if all == nil {
			return errEmptySecret
		}
		*to = all
		return nil
	}
}

func anyBytes(string) error { return nil }

// visible refuses what cannot be sent in a header as one word.
func visible(s string) error {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return errors.New("may hold visible ASCII characters only: no spaces, no line ends")
		}
	}
	return nil
}

// shown quotes what somebody wrote, cut to a length that fits a message.
func shown(s string) string {
	const most = 60
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "..."
	}
	return strconv.Quote(s)
}

const maxDuration = doorward.MaxDuration

// duration reads Go's form and days: 90s, 24h, 7d, 1d12h.
func duration(s string) (time.Duration, error) {
	d, ok := doorward.ParseDuration(s)
	if !ok {
		return 0, fmt.Errorf("%s is not a duration; write one like 90s, 24h or 7d", shown(s))
	}
	if d < 0 {
		return 0, fmt.Errorf("%s is negative", shown(s))
	}
	if d > maxDuration {
		return 0, fmt.Errorf("%s is too long; the longest is 36500d", shown(s))
	}
	return d, nil
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func positive(s string) (time.Duration, error) {
	d, err := duration(s)
	if err == nil && d == 0 {
		return 0, fmt.Errorf("%s must be more than zero", shown(s))
	}
	return d, err
}

// inviteLife is long enough to send a link and open it, and not so long that it is forgotten.
func inviteLife(s string) (time.Duration, error) {
	d, err := duration(s)
	if err == nil && (d < time.Minute || d > 90*24*time.Hour) {
		return 0, fmt.Errorf("%s must be from 1m to 90d", shown(s))
	}
	return d, err
}

// atLeastSecond is for what ends up in a token or cookie as whole seconds.
func atLeastSecond(s string) (time.Duration, error) {
	d, err := duration(s)
	if err == nil && d < time.Second {
		return 0, fmt.Errorf("%s must be at least 1s", shown(s))
	}
	return d, err
}

func integer(least, most int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%s is not a whole number from %d to %d", shown(s), least, most)
		}
		return n, nil
	}
}

func truth(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither true nor false", shown(s))
}

func truthOrNothing(s string) (*bool, error) {
	b, err := truth(s)
	if err != nil {
		return nil, err
	}
	return &b, nil
}

func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		for _, w := range words {
			if s == w {
				return s, nil
			}
		}
		return "", fmt.Errorf("%s is not one of %s%s", shown(s), strings.Join(words, ", "), didYouMean(s, words))
	}
}

func logLevel(s string) (slog.Level, error) {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	word, err := oneOf("debug", "info", "warn", "error")(s)
	return levels[word], err
}

// hostPort accepts HOST:PORT with a numeric port; an empty host is every address and
// port 0 is any free one.
func hostPort(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%s is not HOST:PORT, such as 127.0.0.1:8080 or :8080", shown(s))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || !digits(port) {
		return "", fmt.Errorf("%s has no port from 0 to 65535", shown(s))
	}
	if host = strings.ToLower(host); host != "" && !hostName(host) {
		return "", fmt.Errorf("%s does not begin with a host name or address", shown(s))
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

func hostPortOrNothing(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return hostPort(s)
}

// hostName reports whether s is an IP address or could be a name.
func hostName(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if len(s) > 253 || strings.HasPrefix(s, ".") || strings.HasPrefix(s, "-") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !letterOrDigit(s[i]) && strings.IndexByte("-._", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

func letterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// httpURL reads an http or https URL that names a host.
func httpURL(s string) (*url.URL, error) {
	return hostURL(s, "http://localhost:3000 or https://example.com", "http", "https")
}

// hostURL reads a URL of one of the schemes, like examples, that names a host. It never
// repeats what it was given: a mistyped one may hold a password.
func hostURL(s, examples string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Opaque != "" || !slices.Contains(schemes, u.Scheme):
		return nil, errors.New("is not a URL like " + examples)
	case u.User != nil:
		return nil, errors.New("must not hold a user name or password")
	case u.RawQuery != "" || u.ForceQuery:
		return nil, errors.New("must not hold a query")
	case strings.Contains(s, "#"):
		return nil, errors.New("must not hold a fragment")
	case !hostName(u.Hostname()):
		return nil, errors.New("must name a host")
	}
	if port := u.Port(); port != "" {
		if !isPort(port) {
			return nil, errors.New("must have a port from 1 to 65535, or none")
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return nil, errors.New("has a colon without a port")
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

func upstreamURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := hostURL(s, "http://localhost:3000, https://example.com or h2c://localhost:50051", "http", "https", "h2c")
	if err != nil {
		return nil, err
	}
	// Only what is asked for below it is judged by the door, so it may hold any letters.
	if u.Path != "" && u.Path != "/" && path.Clean(u.Path) != u.Path {
		return nil, errors.New("must have a clean path: no dot segments, no double slash, no slash at its end")
	}
	return u, nil
}

func publicURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := httpURL(s)
	if err != nil {
		return nil, err
	}
	if u.Path != "" && u.Path != "/" {
		return nil, errors.New("must not have a path; paths.prefix moves our own pages")
	}
	u.Path, u.RawPath = "", ""
	u.Host = withoutDefaultPort(u)
	return u, nil
}

// isPort reports whether s is a port that a browser can go to.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// origin accepts what http.CrossOriginProtection does, and returns it as a browser
// would send it: in lower case, without the scheme's own port. Written otherwise it
// would be accepted and never match.
func origin(s string) (string, error) {
	if strings.Contains(s, "@") {
		return "", errors.New("must not hold a user name or password") // nor does the message
	}
	u, err := url.Parse(strings.ToLower(s))
	if new(http.CrossOriginProtection).AddTrustedOrigin(s) != nil || err != nil ||
		!hostName(u.Hostname()) || strings.ContainsAny(s, "#?") || strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port()) {
		return "", fmt.Errorf("%s is not an origin like https://app.example.com: a scheme and a host, no path", shown(s))
	}
	return u.Scheme + "://" + withoutDefaultPort(u), nil
}

func withoutDefaultPort(u *url.URL) string {
	switch {
	case u.Scheme == "https" && u.Port() == "443":
		return strings.TrimSuffix(u.Host, ":443")
	case u.Scheme == "http" && u.Port() == "80":
		return strings.TrimSuffix(u.Host, ":80")
	}
	return u.Host
}

// prefix reads an address or a network. An IPv4 one that is written as IPv6 is the IPv4
// one, since that is how a client's address is compared.
func prefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%s is neither an address like 10.0.0.7 nor a network like 10.0.0.0/8", shown(s))
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// everyone reports whether p leaves nobody out.
func everyone(p netip.Prefix) bool { return p.Bits() == 0 }

// covered reports whether parts together leave out no address of whole: halves and
// quarters of everyone are everyone too. It follows only halves that some part lies in.
func covered(whole netip.Prefix, parts []netip.Prefix) bool {
	within := false
	for _, p := range parts {
		if p.Bits() <= whole.Bits() && p.Contains(whole.Addr()) {
			return true
		}
		within = within || whole.Overlaps(p)
	}
	if !within || whole.Bits() == whole.Addr().BitLen() {
		return false
	}
	low := netip.PrefixFrom(whole.Addr(), whole.Bits()+1)
	b := whole.Addr().AsSlice()
	b[whole.Bits()/8] |= 0x80 >> (whole.Bits() % 8)
	high, _ := netip.AddrFromSlice(b)
	return covered(low, parts) && covered(netip.PrefixFrom(high, whole.Bits()+1), parts)
}

func dir(s string) (string, error) {
	if s == "" || strings.ContainsRune(s, 0) {
		return "", errors.New("must name a directory")
	}
	return filepath.Clean(s), nil
}

func database(s string) (Database, error) {
	switch {
	case s == "":
		return Database{}, nil // doorward.db in data_dir, which is not known here
	case strings.HasPrefix(s, "postgres://"), strings.HasPrefix(s, "postgresql://"):
		if _, err := store.PostgresName(s); err != nil {
			return Database{}, errors.New("is not a valid postgres:// URL; characters like @ : / in a password are written as %40 %3A %2F")
		}
		return Database{URL: doorward.Secret(s)}, nil
	case strings.Contains(s, "://"), strings.HasPrefix(s, "file:"):
		return Database{}, errors.New("is neither the path of a SQLite file nor a postgres:// URL")
	case strings.Contains(s, "host=") || strings.Contains(s, "dbname=") || strings.Contains(s, "password="):
		return Database{}, errors.New("is a list of key=value; write it as a postgres:// URL")
	case s == ":memory:":
		return Database{}, errors.New("must be a file: a database in memory forgets revocations at every restart")
	case strings.ContainsAny(s, "\x00?"), strings.HasSuffix(s, "/"):
		return Database{}, errors.New("is neither the path of a SQLite file nor a postgres:// URL")
	}
	return Database{Path: filepath.Clean(s)}, nil
}

// showDatabase shows where the state is kept, without a password.
func (s *Settings) showDatabase() string {
	if s.Database.URL == nil {
		return s.Database.Path
	}
	u, err := url.Parse(string(s.Database.URL))
	if err != nil { // several hosts, each with a port
		name, err := store.PostgresName(string(s.Database.URL))
		if err != nil {
			return "***"
		}
		return name
	}
	if q, err := url.ParseQuery(u.RawQuery); err != nil {
		u.RawQuery = ""
	} else {
		for k := range q {
			if strings.Contains(strings.ToLower(k), "pass") {
				q.Set(k, "xxxxx")
			}
		}
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

func pathPrefix(s string) (string, error) {
	if s != "" && !gate.CleanPath(s) {
		return "", fmt.Errorf("%s is not a path like /door: it begins with a slash, does not end with one, and holds letters, digits and /-._~", shown(s))
	}
	return s, nil
}

// pathOrOff returns an empty path for off.
func pathOrOff(s string) (string, error) {
	if s == "off" {
		return "", nil
	}
	if !gate.CleanPath(s) {
		return "", fmt.Errorf("%s is neither off nor a path like /x: it begins with a slash, does not end with one, and holds letters, digits and /-._~", shown(s))
	}
	if within(s, "/auth") || within(s, "/api/auth") {
		return "", fmt.Errorf("%s must not lie within /auth/ or /api/auth/", shown(s))
	}
	return s, nil
}

// within reports whether path p is root or below it.
func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

// cookieName accepts a token as RFC 6265, section 4.1.1, has it.
func cookieName(s string) (string, error) {
	if err := (&http.Cookie{Name: s, Value: "x"}).Valid(); err != nil || len(s) > 64 {
		return "", fmt.Errorf("%s is not a cookie name: 1 to 64 of letters, digits and !#$%%&'*+-.^_`|~", shown(s))
	}
	return s, nil
}

func keyPrefix(s string) (string, error) {
	if err := doorward.CheckKeyPrefix(shown(s), s); err != nil {
		return "", err
	}
	return s, nil
}

func fileName(s string) (string, error) {
	if !safe.IsFileName(s) {
		return "", fmt.Errorf("%s is not the name of a file without a directory", shown(s))
	}
	return s, nil
}

// commandLine splits s into words at white space. Quotes of either kind keep white space
// in a word; a backslash takes the next character as it is, but not within single
// quotes. Nothing is expanded. It never repeats what it was given, which may hold a
// secret.
func commandLine(s string) ([]string, error) {
	if strings.ContainsRune(s, 0) {
		return nil, errors.New("must not hold a NUL")
	}
	var (
		words  []string
		word   strings.Builder
		inWord bool
		quote  rune
		escape bool
	)
	for _, r := range s {
		switch {
		case escape:
			word.WriteRune(r)
			escape = false
		case r == '\\' && quote != '\'':
			escape, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("has a %c that is not closed", quote)
	}
	if escape {
		return nil, errors.New("ends with a backslash")
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) > 0 && words[0] == "" {
		return nil, errors.New("begins with an empty word where the program's name belongs")
	}
	return words, nil
}

package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// sources is where settings come from, in the order in which they win: flags,
// environment, file, and the defaults of the table.
type sources struct {
	flags   map[string]string // by key, or by the key of a secret's file; --config under configKey
	environ []string          // as os.Environ gives it
}

const (
	configKey  = "config"
	testPrefix = envPrefix + "TEST_" // for the tests of this project; never a setting
)

// fromDefault is the source of a setting that nobody gives.
const fromDefault = "default"

// loaded is what the sources said.
type loaded struct {
	Settings
	from     map[string]string // key to the source that decided it
	shown    map[string]string // key to its value as people may see it; absent when unset
	refused  map[string]bool   // keys that somebody gave and that were refused
	open     map[string]bool   // keys whose value is in a file that everybody on the machine may read
	problems []error           // each one line; when there is one, Settings must not be used
	warnings []string
}

// load reads all sources and checks the result. It collects what is wrong rather than
// stop at the first.
func load(src sources) *loaded {
	l := newLoaded()
	rows := l.rows()
	env := environment(src.environ)
	file, err := openFile(src.flags, env)
	if err != nil {
		l.problems = append(l.problems, err)
	}
	known, unknown := file.sort(rows)
	l.problems = append(l.problems, unknown...)
	for _, s := range rows {
		l.resolve(s, src.flags, env, file.name, known)
	}
	l.warnings = append(l.warnings, unknownVariables(env, rows)...)
	l.check()
	return l
}

// loadOnly reads one setting from the same sources and leaves what is wrong with the
// others alone.
func loadOnly(key string, src sources) (Settings, error) {
	l, _ := loadSome(func(k string) bool { return k == key }, src)
	return l.Settings, l.err()
}

// loadSome reads the settings for whose key takes says so, and leaves what is wrong with
// the others alone; unknown is what the file holds that is no setting.
func loadSome(takes func(key string) bool, src sources) (l *loaded, unknown []error) {
	l = newLoaded()
	rows := l.rows()
	env := environment(src.environ)
	file, err := openFile(src.flags, env)
	if err != nil {
		l.problems = append(l.problems, err)
	}
	known, unknown := file.sort(rows)
	for _, s := range rows {
		if takes(s.key) {
			l.resolve(s, src.flags, env, file.name, known)
		}
	}
	l.warnings = unknownVariables(env, rows)
	return l, unknown
}

func newLoaded() *loaded {
	return &loaded{from: map[string]string{}, shown: map[string]string{}, refused: map[string]bool{}, open: map[string]bool{}}
}

// err is what is wrong, in one line, or nil.
func (l *loaded) err() error {
	switch n := len(l.problems); n {
	case 0:
		return nil
	case 1:
		return l.problems[0]
	default:
		return fmt.Errorf("%w (and %d more: the command check lists them all)", l.problems[0], n-1)
	}
}

// where names a setting together with the source that decided it.
func (l *loaded) where(key string) string { return key + " (" + l.from[key] + ")" }

// refuse notes what is wrong with a setting as one source gives it.
func (l *loaded) refuse(key, source string, why error) {
	l.refused[key] = true
	l.problems = append(l.problems, fmt.Errorf("%s (%s): %w", key, source, why))
}

// environment turns NAME=value lines into a map; the first of two wins, as in os.Getenv.
func environment(lines []string) map[string]string {
	env := make(map[string]string, len(lines))
	for _, l := range lines {
		name, value, ok := strings.Cut(l, "=")
		if _, seen := env[name]; ok && !seen {
			env[name] = value
		}
	}
	return env
}

// offer is the value that one source gives, or why it cannot be had.
type offer struct {
	given
	open bool // it is in a file that everybody on the machine may read
	err  error
}

// resolve finds the value of one setting and sets it. The values that a stronger source
// overrides must parse too, so that none lies in wait for the day on which that source
// is gone; but an overridden secret is not read, nor another program's variable judged.
func (l *loaded) resolve(s setting, flags, env map[string]string, fileName string, file map[string]field) {
	var offers []offer // the strongest first
	add := func(o *offer) {
		if o != nil {
			offers = append(offers, *o)
		}
	}
	add(fromFlag(s, flags))
	if !s.secret || offers == nil {
		add(fromVariable(s, env))
	}
	if offers == nil {
		add(fromDocumented(s, env))
	}
	if !s.secret || offers == nil {
		add(fromFile(s, fileName, file))
	}
	if s.fallback != "" {
		add(&offer{given: given{source: fromDefault, text: s.fallback}})
	}
	l.from[s.key] = fromDefault
	for i, o := range slices.Backward(offers) {
		err := o.err
		if err == nil {
			err = s.set(o.given)
		}
		if err != nil {
			l.refuse(s.key, o.sourceOf(err), err)
			continue
		}
		if i == 0 {
			l.from[s.key] = o.source
			l.shown[s.key] = s.display(o.given)
			l.open[s.key] = o.open
		}
	}
}

// sourceOf names the source of err, to the line.
func (g given) sourceOf(err error) string {
	var at atLine
	if g.file == "" || !errors.As(err, &at) {
		return g.source
	}
	return fileLine(g.file, at.line)
}

func fileLine(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

// display is the value as people may see it; empty when the row has its own way to show it.
func (s setting) display(g given) string {
	if s.show != nil {
		return ""
	}
	if s.secret && (g.node == nil || g.node.kind != listNode || len(g.node.items) > 0) {
		return "***"
	}
	if g.node == nil || g.node.kind != listNode {
		t, err := g.scalar()
		if err != nil {
			return ""
		}
		return t
	}
	items, err := g.items()
	if err != nil {
		return ""
	}
	var words []string
	for _, i := range items {
		words = append(words, i.text)
	}
	return strings.Join(words, ",")
}

var errBoth = errors.New("is given both as a value and as a file; give one of them")

// fromFlag returns what the flags give, or nil.
func fromFlag(s setting, flags map[string]string) *offer {
	value, isSet := flags[s.key]
	path, byFile := flags[s.fileKey()]
	return choose(s, isSet, value, "--"+s.flag(), byFile, path, "--"+flagName(s.fileKey()))
}

// fromVariable returns what the setting's own variable gives, or nil. An empty variable
// counts as unset, except for a secret, which it must not silently leave out.
func fromVariable(s setting, env map[string]string) *offer { return variable(s, s.env(), env) }

func variable(s setting, name string, env map[string]string) *offer {
	value, isSet := env[name]
	path, byFile := env[name+"_FILE"]
	return choose(s, isSet && (value != "" || s.secret), value, name, byFile, path, name+"_FILE")
}

// choose makes an offer of a value or of the file that holds it.
func choose(s setting, direct bool, value, source string, byFile bool, path, fileSource string) *offer {
	byFile = byFile && s.secret
	switch {
	case direct && byFile:
		return &offer{given: given{source: source}, err: errBoth}
	case direct:
		return &offer{given: given{source: source, text: value}}
	case byFile:
		content, open, err := readSecret(path)
		return &offer{given: given{source: fileSource, text: content}, open: open, err: err}
	}
	return nil
}

// fromDocumented returns what the variables of the pages give, or nil. Two that differ
// are refused, for one of them would be ignored without a word.
func fromDocumented(s setting, env map[string]string) *offer {
	var first *offer
	for _, name := range s.documented {
		o := variable(s, name, env)
		if o == nil {
			continue
		}
		if o.err != nil {
			return o
		}
		if first == nil {
			first = o
			continue
		}
		if o.text != first.text {
			first.err = fmt.Errorf("%s and %s give different values; unset one of them, or set %s, which wins over both", first.source, o.source, s.env())
			return first
		}
	}
	return first
}

// fromFile returns what the file gives, or nil.
func fromFile(s setting, name string, file map[string]field) *offer {
	value, isSet := file[s.key]
	path, byFile := file[s.fileKey()]
	switch {
	case isSet && byFile && s.secret:
		return &offer{given: given{source: fileLine(name, path.line)}, err: errBoth}
	case isSet:
		return &offer{given: given{source: fileLine(name, value.line), file: name, node: &value.value}}
	case byFile && s.secret:
		o := &offer{given: given{source: fileLine(name, path.line)}}
		var p string
		if p, o.err = path.value.scalar(); o.err == nil {
			o.text, o.open, o.err = readSecret(p)
		}
		return o
	}
	return nil
}

const maxSecretFile = 64 << 10

// readSecret returns the content of the file at path without one final line end, and whether
// everybody on the machine may read it. Its errors do not repeat the path: who mistakes this for the
// setting beside it has put the secret itself there.
func readSecret(path string) (text string, open bool, err error) {
	if path == "" {
		return "", false, errors.New("names no file")
	}
	data, err := readFile(path, maxSecretFile)
	if err != nil {
		return "", false, fmt.Errorf("cannot read the file it names: %w", err)
	}
	if info, err := os.Stat(path); err == nil {
		open = info.Mode().IsRegular() && openToAll(info)
	}
	text, _ = strings.CutSuffix(string(data), "\n")
	if text != string(data) {
		text = strings.TrimSuffix(text, "\r")
	}
	return text, open, nil
}

// openToAll reports whether everybody on the machine may do something with a file.
func openToAll(info fs.FileInfo) bool { return info.Mode().Perm()&0o007 != 0 }

// isOpenToAll is what is said of the file of a private key of which that is so.
const isOpenToAll = "can be read by everybody on this machine; run chmod o-rwx on its file (in Kubernetes: defaultMode: 0440 and an fsGroup)"

// readFile reads at most limit bytes and fails on a file with more. Its errors hold the
// reason alone.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("has more than %d KiB", limit>>10)
	}
	return data, nil
}

// reason drops the path from a file error.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// file is the file of settings, if there is one.
type file struct {
	name   string
	fields []field
}

// openFile reads the file that --config or its variable names. No file is read unasked.
func openFile(flags, env map[string]string) (file, error) {
	name, isSet := flags[configKey]
	source := "--" + configKey
	if !isSet {
		if name = env[envName(configKey)]; name == "" {
			return file{}, nil
		}
		source = envName(configKey)
	}
	if name == "" {
		return file{}, fmt.Errorf("%s names no file", source)
	}
	data, err := readFile(name, maxFileSize)
	if err != nil {
		return file{}, fmt.Errorf("%s (%s): cannot read the file of settings: %w", name, source, err)
	}
	fields, err := parseYAML(name, data)
	return file{name, fields}, err
}

// sort finds the settings among the fields, whether they are written nested or with
// dots, and says which fields are none.
func (f file) sort(rows []setting) (known map[string]field, problems []error) {
	var (
		keys     = map[string]bool{}
		sections = map[string]bool{}
	)
	for _, s := range rows {
		keys[s.key] = true
		if s.secret {
			keys[s.fileKey()] = true
		}
		if section, _, nested := strings.Cut(s.key, "."); nested {
			sections[section] = true
		}
	}
	names := slices.Sorted(maps.Keys(keys))
	known = map[string]field{}
	var walk func(prefix string, fields []field)
	walk = func(prefix string, fields []field) {
		for _, fl := range fields {
			key := prefix + fl.name
			earlier, twice := known[key]
			switch {
			case twice:
				problems = append(problems, fmt.Errorf("%s (%s): is given twice, also in line %d", key, fileLine(f.name, fl.line), earlier.line))
			case keys[key]:
				known[key] = fl
			case fl.value.kind == mapNode && len(fl.value.fields) > 0:
				walk(key+".", fl.value.fields)
			case sections[key] && fl.value.kind != mapNode:
				problems = append(problems, fmt.Errorf("%s (%s): is a group of settings, not one; write them as %s.name or indented below it", key, fileLine(f.name, fl.line), key))
			case fl.value.kind == mapNode && !sections[key]:
				problems = append(problems, fmt.Errorf("unknown setting %s (%s)%s", printable(key), fileLine(f.name, fl.line), nearestKnown(key, slices.Sorted(maps.Keys(sections)))))
			case !sections[key]:
				problems = append(problems, fmt.Errorf("unknown setting %s (%s)%s", printable(key), fileLine(f.name, fl.line), nearestKnown(key, names)))
			}
		}
	}
	walk("", f.fields)
	return known, problems
}

// printable is a name as it stands if it is one word, else quoted.
func printable(name string) string {
	if q := shown(name); q != `"`+name+`"` || strings.ContainsAny(name, " ") || name == "" {
		return q
	}
	return name
}

// unknownVariables warns of variables that look like ours and are not: slips, or what an
// orchestrator puts there for a service named doorward.
func unknownVariables(env map[string]string, rows []setting) []string {
	known := []string{envName(configKey)}
	for _, s := range rows {
		known = append(known, s.env())
		if s.secret {
			known = append(known, envName(s.fileKey()))
		}
	}
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, testPrefix) || slices.Contains(known, name) {
			continue
		}
		warnings = append(warnings, "unknown variable "+printable(name)+" is ignored"+didYouMean(name, known))
	}
	return warnings
}

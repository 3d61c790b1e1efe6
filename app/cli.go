package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Streams are the standard streams of a command.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs the program under the name that its help shows and returns its exit status:
// 0, 1 when it could not do what was asked, 2 when it was asked wrongly. An interrupt or
// SIGTERM asks it to end; a second one ends it at once.
func Main(name string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	p := &program{
		Streams: Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr},
		name:    name,
		environ: os.Environ(),
		random:  rand.Reader,
	}
	return p.run(ctx, os.Args[1:])
}

// program is one run of the command line with all that it takes from outside.
type program struct {
	Streams
	name    string
	environ []string
	random  io.Reader
}

// grammar is the command line: one field a command.
type grammar struct {
	Serve       serveCmd       `cmd:"" help:"Guard a service: run the server."`
	Check       checkCmd       `cmd:"" help:"Say what is wrong with the settings, without starting."`
	Config      configCmd      `cmd:"" help:"Print the settings in effect and where each comes from."`
	Explain     explainCmd     `cmd:"" help:"Say what the door makes of a request, and which rule decides."`
	GenerateKey generateKeyCmd `cmd:"" help:"Print a new API key."`
	Key         keyCmd         `cmd:"" help:"Make, list, rotate and revoke the API keys kept in the database."`
	User        userCmd        `cmd:"" help:"Make users, change or delete them, or let them in again."`
	Org         orgCmd         `cmd:"" help:"Make, list, rename or delete organizations."`
	Workspace   workspaceCmd   `cmd:"" help:"Make, list, rename or delete workspaces."`
	Session     sessionCmd     `cmd:"" help:"List sessions, or end them."`
	Audit       auditCmd       `cmd:"" help:"Print who did what to whom: the audit log."`
	Backup      backupCmd      `cmd:"" help:"Copy the database into a file, also while a server is running."`
	Healthcheck healthcheckCmd `cmd:"" help:"Ask the server whether it can serve; for containers."`
	Secret      secretCmd      `cmd:"" help:"Replace the secret that signs tokens."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
	HashWorker  hashWorkerCmd  `cmd:"" hidden:""`
}

// takesSettings is a command that reads settings: those for whose key it says so become
// its flags, and --config.
type takesSettings interface{ takes(key string) bool }

func (*serveCmd) takes(string) bool  { return true }
func (*checkCmd) takes(string) bool  { return true }
func (*configCmd) takes(string) bool { return true }

type serveCmd struct{}

// Run starts the server and returns when it has ended.
func (*serveCmd) Run(ctx context.Context, p *program, src *sources) error {
	l := load(*src)
	if err := l.err(); err != nil {
		return err
	}
	return serve(ctx, l.Settings, l.warnings, p.Streams)
}

// errComplained ends a command that has said itself what was wrong.
var errComplained = errors.New("there were errors")

func (p *program) run(ctx context.Context, args []string) int {
	helped := false
	k, err := kong.New(&grammar{},
		kong.Name(p.name),
		kong.Description(description),
		kong.Writers(p.Out, p.Err),
		kong.Exit(func(int) { helped = true }), // called by -h alone
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		p.complain(err)
		return 1
	}
	flags := addSettingFlags(k.Model.Node)
	parsed, err := k.Parse(args)
	if helped {
		return 0
	}
	if err != nil {
		p.complain(p.usageError(err, k.Model.Node))
		return 2
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(p, &sources{flags: flags.given(parsed.Selected()), environ: p.environ})
	if err == nil {
		return 0
	}
	if !errors.Is(err, errComplained) {
		p.complain(err)
	}
	return 1
}

const description = `Stands at the door of an HTTP service and decides who gets in: people with a password and a browser, machines with a token or a key.

Every setting is a flag (--refresh-retry-window), a variable (DOORWARD_REFRESH_RETRY_WINDOW) and a key of the YAML file given with --config (refresh.retry_window); they win in this order.`

// complain prints an error in one line.
func (p *program) complain(err error) { fmt.Fprintf(p.Err, "%s: %s\n", p.name, oneLine(err.Error())) }

// warn prints a warning in one line.
func (p *program) warn(text string) {
	fmt.Fprintf(p.Err, "%s: warning: %s\n", p.name, oneLine(text))
}

func oneLine(s string) string { return strings.Join(strings.FieldsFunc(s, isLineEnd), " ") }

func isLineEnd(r rune) bool { return r == '\n' || r == '\r' }

// usageError says what kong found in our words. It repeats no argument of a command and
// no value of a flag, either of which may be a secret.
func (p *program) usageError(err error, root *kong.Node) error {
	var at *kong.Node
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		at = parse.Context.Selected()
	}
	what, isFlag := strings.CutPrefix(err.Error(), "unknown flag ")
	switch {
	case isFlag && at != nil && len(at.Positional) > 0 && len(firstOf(what)) == len("-x"):
		return fmt.Errorf("unknown flag %s; an id that begins with a dash is written after two of them, as in: %s -- -ID", printable(firstOf(what)), at.FullPath())
	case isFlag && at == nil:
		return fmt.Errorf("unknown flag %s before the command; flags are written after it, as in: %s serve --listen :8080", printable(firstOf(what)), p.name)
	case isFlag:
		return fmt.Errorf("unknown flag %s%s", printable(firstOf(what)), nearestKnown(firstOf(what), flagNames(at)))
	case strings.HasPrefix(err.Error(), "unexpected ") && at == nil:
		what, _ = strings.CutPrefix(err.Error(), "unexpected argument ")
		return fmt.Errorf("unknown command %s%s", printable(firstOf(what)), nearestKnown(firstOf(what), commandNames(root)))
	case at != nil && len(at.Children) > 0 && strings.HasPrefix(err.Error(), "unexpected "):
		what, _ = strings.CutPrefix(err.Error(), "unexpected argument ")
		return fmt.Errorf("unknown command %s %s%s", at.Name, printable(firstOf(what)), nearestKnown(firstOf(what), commandNames(at)))
	case at != nil && len(at.Children) > 0:
		return fmt.Errorf("%s needs a command: one of %s; %s -h says more", at.Name, strings.Join(commandNames(at), ", "), at.FullPath())
	case strings.HasPrefix(err.Error(), "unexpected ") && len(at.Positional) > 1:
		return fmt.Errorf("unexpected argument: %s takes a %s and a %s; quote a value that holds spaces", at.Name, at.Positional[0].Name, at.Positional[1].Name)
	case strings.HasPrefix(err.Error(), "unexpected ") && len(at.Positional) > 0:
		return fmt.Errorf("unexpected argument: %s takes one %s; quote a value that holds spaces", at.Name, at.Positional[0].Name)
	case strings.HasPrefix(err.Error(), "unexpected "):
		return fmt.Errorf("unexpected argument: %s takes flags only; quote a value that holds spaces, and write --flag=false to turn one off", at.Name)
	case at != nil && strings.HasPrefix(err.Error(), `expected "<`):
		return fmt.Errorf("%s needs a %s; %s -h says more", at.Name, strings.Trim(firstField(err.Error()[len("expected "):]), `"<>`), at.FullPath())
	case at == nil:
		return fmt.Errorf("a command is needed: one of %s; %s -h says more", strings.Join(commandNames(root), ", "), p.name)
	}
	return err
}

// firstOf cuts kong's own guess off a message.
func firstOf(s string) string {
	s, _, _ = strings.Cut(s, ", did you mean ")
	return s
}

// firstField is what stands before the first space.
func firstField(s string) string {
	s, _, _ = strings.Cut(s, " ")
	return s
}

func commandNames(root *kong.Node) []string {
	var names []string
	for _, c := range root.Children {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

func flagNames(n *kong.Node) []string {
	var names []string
	for _, level := range n.AllFlags(true) {
		for _, f := range level {
			names = append(names, "--"+f.Name)
		}
	}
	return names
}

// flagText is what the command line gives a setting: the text alone, since every source
// shares one parser.
type flagText struct {
	isSet bool
	text  string
}

// settingFlags are the flags made from the table, by command and key.
type settingFlags map[*kong.Node]map[string]*flagText

// given returns the flags of a command that were given.
func (f settingFlags) given(command *kong.Node) map[string]string {
	given := map[string]string{}
	for key, t := range f[command] {
		if t.isSet {
			given[key] = t.text
		}
	}
	return given
}

// addSettingFlags gives each command below root the flags of the settings it takes.
func addSettingFlags(root *kong.Node) settingFlags {
	all := settingFlags{}
	for _, command := range root.Leaves(false) {
		takes, ok := command.Target.Addr().Interface().(takesSettings)
		if !ok {
			continue
		}
		texts := map[string]*flagText{}
		add := func(key string, f *kong.Flag, m flagMapper) {
			texts[key] = new(flagText)
			f.Value.Target = reflect.ValueOf(texts[key]).Elem()
			f.Value.DefaultValue = reflect.ValueOf(flagText{})
			f.Value.Mapper, f.Value.Tag, f.Value.Flag = m, &kong.Tag{}, f
			f.Name = flagName(key)
			command.Flags = append(command.Flags, f)
		}
		add(configKey, &kong.Flag{
			Value:       &kong.Value{Help: "YAML file of settings (default: none)"},
			PlaceHolder: "FILE",
		}, flagMapper{})
		for _, g := range new(Settings).table() {
			for _, s := range g.rows {
				if !takes.takes(s.key) {
					continue
				}
				group := &kong.Group{Key: g.title, Title: g.title + ":"}
				add(s.key, &kong.Flag{
					Value:       &kong.Value{Help: s.help + " (default: " + s.byDefault() + ")"},
					PlaceHolder: s.metavar,
					Group:       group,
				}, flagMapper{list: s.list, toggle: s.toggle})
				if s.secret {
					add(s.fileKey(), &kong.Flag{
						Value:       &kong.Value{Help: "the same, read from a file"},
						PlaceHolder: "FILE",
						Group:       group,
					}, flagMapper{})
				}
			}
		}
		all[command] = texts
	}
	return all
}

// byDefault is what happens when nobody gives the setting.
func (s setting) byDefault() string {
	switch {
	case s.fallback == "":
		return s.unset
	case s.toggle && s.fallback == "true":
		return "true; --" + s.flag() + "=false turns it off"
	}
	return s.fallback
}

// flagMapper reads the text of a flag.
type flagMapper struct {
	list   bool // given again, it goes on
	toggle bool // without a value it means true
}

// IsBool tells kong that the flag may stand alone.
func (m flagMapper) IsBool() bool { return m.toggle }

// Decode takes the flag's value. Its errors do not repeat the value.
func (m flagMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	f, ok := target.Addr().Interface().(*flagText)
	if !ok {
		return fmt.Errorf("cannot be read into %s", target.Type())
	}
	text := "true"
	switch next := ctx.Scan.Peek(); {
	case next.Type == kong.FlagValueToken || !m.toggle && next.IsValue():
		text = fmt.Sprint(ctx.Scan.Pop().Value)
	case !m.toggle && next.IsEOL():
		return errors.New("needs a value")
	case !m.toggle:
		return fmt.Errorf("needs a value; one that begins with a dash is written --%s=VALUE", ctx.Value.Name)
	}
	switch {
	case f.isSet && !m.list && f.text != text:
		return errors.New("is given twice")
	case f.isSet && m.list:
		text = f.text + "," + text
	}
	f.isSet, f.text = true, text
	return nil
}

package app

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
)

type configCmd struct {
	JSON     bool `name:"json" help:"Print JSON."`
	Markdown bool `name:"markdown" hidden:"" help:"Print the documentation of all settings."`
}

// Run prints the settings in effect, secrets masked, and where each came from.
func (c *configCmd) Run(p *program, src *sources) error {
	if c.Markdown {
		_, err := fmt.Fprint(p.Out, configurationPage())
		return err
	}
	l := load(*src)
	if err := l.err(); err != nil {
		return err
	}
	for _, w := range l.warnings {
		p.warn(w)
	}
	if c.JSON {
		return p.printConfigJSON(l)
	}
	return p.printConfig(l)
}

// effective is one line of the command config.
type effective struct {
	Key    string  `json:"key"`
	Value  *string `json:"value"` // null when unset
	Source string  `json:"source"`
	unset  string
}

func (l *loaded) effective() []effective {
	var all []effective
	for _, s := range l.rows() {
		e := effective{Key: s.key, Source: l.from[s.key], unset: s.unset}
		value := l.shown[s.key]
		if s.show != nil {
			value = s.show()
		}
		if value != "" {
			e.Value = &value
		}
		all = append(all, e)
	}
	return all
}

func (p *program) printConfigJSON(l *loaded) error {
	return p.printJSON(struct {
		Settings []effective `json:"settings"`
	}{l.effective()})
}

func (p *program) printConfig(l *loaded) error {
	w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	for _, e := range l.effective() {
		value := "(" + e.unset + ")"
		if e.Value != nil {
			value = inOneCell(*e.Value)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", e.Key, value, e.Source)
	}
	return w.Flush()
}

// inOneCell quotes a value that would break the lines or columns.
func inOneCell(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return strconv.Quote(s)
	}
	return s
}

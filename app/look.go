package app

import (
	"errors"
	"fmt"
	"io"
	"os"

	"doorward"
	frontdoor "doorward/door"
)

// lookRows are the settings of how our pages look.
func (s *Settings) lookRows() []setting {
	return []setting{
		{key: "pages.name", fallback: frontdoor.DefaultName, metavar: "NAME",
			help: "what our pages say that they are of",
			set:  text(&s.Look.Name, pageName)},
		{key: "pages.logo", unset: "none", metavar: "FILE",
			help: "picture beside the name on our pages: a PNG, SVG or WebP file of at most 64 KiB, read at start",
			set:  text(&s.Look.Logo, logoFile)},
		{key: "pages.accent", unset: "a blue", metavar: "#RRGGBB",
			help: "colour of what is pressed and followed on our pages; shades that can be read by light and by dark are made of it",
			set:  text(&s.Look.Accent, accent)},
	}
}

func pageName(s string) (string, error) {
	if err := doorward.CheckPlaceName("name", s); err != nil || len([]rune(s)) > 64 {
		return "", fmt.Errorf("%s must have 1 to 64 visible characters", shown(s))
	}
	return s, nil
}

func logoFile(path string) (*frontdoor.Logo, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", shown(path), reason(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", shown(path))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", shown(path), reason(err))
	}
	defer f.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(f, frontdoor.MaxLogo+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", shown(path), reason(err))
	}
	logo, err := frontdoor.ParseLogo(b)
	if err != nil {
		return nil, fmt.Errorf("%s %w", shown(path), err)
	}
	return logo, nil
}

func accent(s string) (frontdoor.Accent, error) {
	if s == "" {
		return frontdoor.Accent{}, nil
	}
	a, err := frontdoor.ParseAccent(s)
	if err != nil {
		return frontdoor.Accent{}, errors.New(shown(s) + " " + err.Error())
	}
	return a, nil
}

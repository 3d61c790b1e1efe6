package web

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"unicode/utf8"

	"doorward"
	"doorward/gate"
)

// Look is how the pages of an installation look. Its zero value is our own.
type Look struct {
	Name   string // what they say it is; Doorward when empty
	Logo   *Logo  // nil for none
	Accent Accent // the zero value for our own
}

// DefaultName is what pages say that they are of.
const DefaultName = "Doorward"

// Logo is a picture that every page shows beside the name.
type Logo struct {
	kind   string // its media type
	source []byte
}

// MaxLogo is the largest picture, in bytes: each page loads it once.
const MaxLogo = 64 << 10

// ParseLogo reads a PNG, SVG or WebP file and refuses what is none of them.
func ParseLogo(source []byte) (*Logo, error) {
	switch {
	case len(source) == 0:
		return nil, errors.New("is empty")
	case len(source) > MaxLogo:
		return nil, fmt.Errorf("has more than %d KiB; make it smaller", MaxLogo>>10)
	case bytes.HasPrefix(source, []byte("\x89PNG\r\n\x1a\n")):
		if _, err := png.DecodeConfig(bytes.NewReader(source)); err != nil {
			return nil, errors.New("is a damaged PNG file")
		}
		return &Logo{"image/png", source}, nil
	case len(source) > 16 && bytes.HasPrefix(source, []byte("RIFF")) && string(source[8:15]) == "WEBPVP8":
		return &Logo{"image/webp", source}, nil
	case utf8.Valid(source) && bytes.Contains(source, []byte("<svg")):
		if err := checkSVG(source); err != nil {
			return nil, err
		}
		return &Logo{"image/svg+xml", source}, nil
	}
	return nil, errors.New("is neither a PNG, an SVG nor a WebP file")
}

// checkSVG refuses what no browser would show: pages load it as a picture, in which nothing runs and
// nothing else is loaded, so what it holds is not looked at.
func checkSVG(source []byte) error {
	d, root := xml.NewDecoder(bytes.NewReader(source)), false
	for {
		t, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && root:
			return nil
		case err != nil:
			return errors.New("is a damaged SVG file")
		}
		if e, ok := t.(xml.StartElement); ok && !root {
			if e.Name.Local != "svg" || e.Name.Space != "http://www.w3.org/2000/svg" {
				return errors.New(`is no SVG file: its root must be <svg xmlns="http://www.w3.org/2000/svg">`)
			}
			root = true
		}
	}
}

// brand is what every page shows of whose it is.
type brand struct {
	Name string
	Logo string // where it is; empty for none
}

// logoPath is where the logo stands, after the prefix.
const logoPath = "/auth/logo"

func (h *web) brand() brand {
	b := brand{Name: h.Look.Name}
	if h.Look.Logo != nil {
		b.Logo = h.Prefix + logoPath + "?v=" + h.logo.version
	}
	return b
}

// showLogo answers with the logo, as a picture and nothing more: should somebody open it by itself,
// and should it hold a script, that is dead.
func (h *web) showLogo(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	if h.Look.Logo == nil {
		return doorward.NotFound("page")
	}
	return h.logo.serve(w, r, h.Look.Logo.kind)
}

package door

import "doorward/web"

// Look is how the pages look: a name, a picture and a colour. Its zero value is our own.
type Look = web.Look

// Logo is a picture; ParseLogo makes one of a file.
type Logo = web.Logo

// Accent is a colour; ParseAccent makes one of #rrggbb.
type Accent = web.Accent

// The limits and the default of a Look.
const (
	MaxLogo     = web.MaxLogo
	DefaultName = web.DefaultName
)

// ParseLogo reads a PNG, SVG or WebP file of at most MaxLogo bytes, and refuses what is none of them.
func ParseLogo(source []byte) (*Logo, error) { return web.ParseLogo(source) }

// ParseAccent reads #rrggbb, and makes of it the shades that can be read by light and by dark.
func ParseAccent(s string) (Accent, error) { return web.ParseAccent(s) }

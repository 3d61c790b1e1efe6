package web

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Accent is the colour of an installation: what is pressed, followed and looked at has it. Of it are made
// the shades that can be read by light and by dark (WCAG 2.2, success criterion 1.4.3).
type Accent struct {
	given       rgb
	light, dark pairing
}

// pairing is a colour and what is written on it.
type pairing struct{ accent, on rgb }

// rgb is a colour of sRGB, as #rrggbb says it.
type rgb [3]uint8

// What our colours stand on, as the stylesheet has it; a test holds that.
var (
	lightGrounds = []rgb{{0xff, 0xff, 0xff}, {0xf4, 0xf5, 0xf7}}
	darkGrounds  = []rgb{{0x1c, 0x21, 0x26}, {0x13, 0x16, 0x1a}}

	white, black = rgb{0xff, 0xff, 0xff}, rgb{}
)

// readable is the least contrast of text with what it stands on.
const readable = 4.5

// ParseAccent reads #rrggbb. Of any colour two pairs can be made: it is mixed with black by light,
// and with white by dark, as little as will do.
func ParseAccent(s string) (Accent, error) {
	n, err := strconv.ParseUint(s[min(1, len(s)):], 16, 32)
	if err != nil || len(s) != 7 || s[0] != '#' {
		return Accent{}, errors.New("is not a colour like #0b57c4")
	}
	a := Accent{given: rgb{uint8(n >> 16), uint8(n >> 8), uint8(n)}}
	for _, by := range []struct {
		to      *pairing
		grounds []rgb
		towards rgb
	}{{&a.light, lightGrounds, black}, {&a.dark, darkGrounds, white}} {
		shade, ok := readableOn(a.given, by.grounds, by.towards)
		if !ok {
			return Accent{}, fmt.Errorf("%s cannot be made readable; choose another colour", s)
		}
		*by.to = pairing{shade, white}
		if contrast(black, shade) > contrast(white, shade) {
			by.to.on = black
		}
	}
	return a, nil
}

// readableOn is c, mixed as little as will do with another colour until it can be read on all grounds.
func readableOn(c rgb, grounds []rgb, with rgb) (rgb, bool) {
	const steps = 128
	for step := range steps + 1 {
		var mixed rgb
		for i := range mixed {
			mixed[i] = uint8((int(c[i])*(steps-step) + int(with[i])*step) / steps)
		}
		enough := true
		for _, g := range grounds {
			enough = enough && contrast(mixed, g) >= readable
		}
		if enough {
			return mixed, true
		}
	}
	return rgb{}, false
}

// contrast is how well two colours can be told apart, from 1 to 21 (WCAG 2.2, definitions).
func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func (c rgb) luminance() float64 {
	l := 0.0
	for i, weight := range [...]float64{0.2126, 0.7152, 0.0722} {
		v := float64(c[i]) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		l += weight * v
	}
	return l
}

func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// IsZero reports whether none was given.
func (a Accent) IsZero() bool { return a == Accent{} }

// Shades says by which shades the colour is shown; empty where it is shown as it was given.
func (a Accent) Shades() string {
	if a.light.accent == a.given && a.dark.accent == a.given {
		return ""
	}
	return fmt.Sprintf("%s by light and %s by dark stand for %s, which could not be read", a.light.accent, a.dark.accent, a.given)
}

// style is what the stylesheet says of it.
func (a Accent) style() string {
	if a.IsZero() {
		return ""
	}
	const properties = ":root { --accent: %s; --on-accent: %s; }"
	return fmt.Sprintf("\n"+properties+"\n\n@media (prefers-color-scheme: dark) {\n  "+properties+"\n}\n",
		a.light.accent, a.light.on, a.dark.accent, a.dark.on)
}

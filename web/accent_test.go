package web

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestAccentsCanBeRead makes the pairs of many colours, those at the edges among them, and holds each to WCAG 2.2 AA
// by a reckoning of its own: text on the accent, and the accent on what the stylesheet puts under it.
func TestAccentsCanBeRead(t *testing.T) {
	t.Parallel()
	light, dark, _ := strings.Cut(string(styleSource), "@media (prefers-color-scheme: dark)")
	grounds := func(source string) (all []float64) {
		for _, name := range []string{"card", "ground"} {
			m := regexp.MustCompile(`--` + name + `: #([0-9a-f]{6});`).FindStringSubmatch(source)
			if m == nil {
				t.Fatalf("the stylesheet does not say what %s is", name)
			}
			all = append(all, luminance(t, m[1]))
		}
		return all
	}
	pairs := regexp.MustCompile(`--accent: #([0-9a-f]{6}); --on-accent: #([0-9a-f]{6});`)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 20_000 {
		colour := fmt.Sprintf("#%06x", random.Uint32N(1<<24))
		if i < 512 { // all that are made of the least, the middle and so on up to the most
			colour = fmt.Sprintf("#%02x%02x%02x", i&7*255/7, i>>3&7*255/7, i>>6&7*255/7)
		}
		a, err := ParseAccent(colour)
		if err != nil {
			t.Fatalf("%s: %v", colour, err)
		}
		found := pairs.FindAllStringSubmatch(a.style(), -1)
		if len(found) != 2 {
			t.Fatalf("%s: %s", colour, a.style())
		}
		for j, source := range []string{light, dark} {
			accent, on := luminance(t, found[j][1]), luminance(t, found[j][2])
			for _, under := range append(grounds(source), on) {
				if got := (max(accent, under) + 0.05) / (min(accent, under) + 0.05); got < 4.5 {
					t.Fatalf("%s (seed %d): #%s on #%s, %.3f to 1", colour, seed, found[j][1], found[j][2], got)
				}
			}
		}
	}
}

// TestAnAccentThatCanBeReadStays as it was given.
func TestAnAccentThatCanBeReadStays(t *testing.T) {
	t.Parallel()
	a, err := ParseAccent("#0B57C4")
	if err != nil || !strings.Contains(a.style(), ":root { --accent: #0b57c4; --on-accent: #ffffff; }") || a.Shades() == "" {
		t.Errorf("%v, %s, %s", err, a.style(), a.Shades())
	}
	if (Accent{}).style() != "" {
		t.Error("no colour is a colour")
	}
	for _, s := range []string{"", "#", "#fff", "0b57c4", "#0b57c4 ", "#0b57cg", "#-12345", "#0x1234", "#12_456", "red"} {
		if _, err := ParseAccent(s); err == nil {
			t.Errorf("%q is a colour", s)
		}
	}
}

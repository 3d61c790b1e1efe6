package web

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestContrast holds every pair of colours that meets to WCAG 2.2 AA, by light and by dark:
// 4.5 to 1 for text (success criterion 1.4.3), 3 to 1 for edges and the focus (1.4.11).
func TestContrast(t *testing.T) {
	t.Parallel()
	light, dark, ok := strings.Cut(string(styleSource), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("the stylesheet has no dark colours")
	}
	for name, source := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(source, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		if len(colours) != 9 {
			t.Errorf("%s: %d colours: %v", name, len(colours), colours)
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"ink", "card", 4.5}, {"quiet", "card", 4.5}, {"accent", "card", 4.5}, {"on-accent", "accent", 4.5}, {"wrong", "wrong-ground", 4.5},
			{"line", "card", 3}, {"wrong", "card", 4.5}, {"card", "wrong", 4.5}, {"ink", "ground", 4.5},
		} {
			a, b := colours[pair.front], colours[pair.back]
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < pair.least {
				t.Errorf("%s: %s on %s is %.2f to 1, want %.1f", name, pair.front, pair.back, got, pair.least)
			}
		}
	}
	_, rules, _ := strings.Cut(dark, "*, ::before")
	if strings.Contains(rules, "#") {
		t.Error("a colour is named outside the two lists")
	}
}

// luminance is the relative luminance of an sRGB colour (WCAG 2.2, definitions).
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	l := 0.0
	for i, weight := range [...]float64{0.2126, 0.7152, 0.0722} {
		c := float64(n>>(16-8*i)&255) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}

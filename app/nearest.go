package app

import "strings"

// nearest returns the name in known that is most like name, and whether it is so like
// it that name is probably a slip. Case and the choice of separator do not count, nor
// does a part left out: retry_window is near refresh.retry_window, conf near config.
func nearest(name string, known []string) (best string, slip bool) {
	const longest = 64 // of a name that can be like any of ours; keeps the cost of a hostile one down
	n := plain(name)
	if len(n) > longest {
		n = n[:longest]
	}
	least := -1
	for _, k := range known {
		p := plain(k)
		d := distance(n, p)
		if len(n) > 2 && (strings.HasPrefix(p, n) || strings.HasSuffix(p, "-"+n) || strings.HasSuffix(n, "-"+p)) {
			d = min(d, 1)
		}
		if least < 0 || d < least {
			best, least = k, d
		}
	}
	return best, least >= 0 && least <= max(1, len(plain(best))/3)
}

// plain makes names comparable across flags, variables and keys.
func plain(s string) string {
	s = strings.TrimPrefix(strings.TrimLeft(s, "-"), envPrefix)
	return strings.Map(func(r rune) rune {
		switch {
		case r == '.' || r == '_':
			return '-'
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to
// turn a into b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// didYouMean ends a sentence with the likeliest of known, if one is likely.
func didYouMean(name string, known []string) string {
	if best, slip := nearest(name, known); slip {
		return "; did you mean " + best + "?"
	}
	return ""
}

// nearestKnown ends a refusal with the known name that is nearest, however far.
func nearestKnown(name string, known []string) string {
	best, slip := nearest(name, known)
	if slip {
		return "; did you mean " + best + "?"
	}
	return "; the nearest known is " + best
}

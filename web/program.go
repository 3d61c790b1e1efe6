package web

import (
	"strings"

	"doorward"
)

// programOf says what a session was begun with, as far as its User-Agent tells. It is a hint
// for the owner: anybody can send any.
func programOf(agent string, kind doorward.Kind) string {
	switch {
	case kind != doorward.KindUser:
		return "A machine"
	case agent == "":
		return "An unnamed program"
	}
	// The order matters: nearly every browser names those before it (RFC 9110, section 10.1.5).
	name := firstOf(agent, "Edg/", "Edge", "OPR/", "Opera", "Firefox/", "Firefox", "Chrome/", "Chrome", "Safari/", "Safari", "curl/", "curl")
	system := firstOf(agent, "Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "Windows", "Windows", "Mac OS X", "macOS", "Linux", "Linux")
	switch {
	case name != "" && system != "":
		return name + " on " + system
	case name != "":
		return name
	}
	if len(agent) > 40 {
		agent = strings.ToValidUTF8(agent[:40], "") + "…"
	}
	return agent
}

// firstOf returns the name of the first mark that s holds; pairs are mark and name.
func firstOf(s string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if strings.Contains(s, pairs[i]) {
			return pairs[i+1]
		}
	}
	return ""
}

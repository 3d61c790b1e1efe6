package gate

import (
	"net/http"
	"strings"
	"time"

	"doorward"
)

// DeviceCookieName is the name of the device cookie beside the session cookie called name.
func DeviceCookieName(name string) string { return name + "_device" }

// Device returns what the request's device cookie says, for doorward.Caller, session being the name of the
// session cookie. Of several, as when somebody has planted one, all count: a device
// only ever spares its owner the lock that others' guesses have earned.
func Device(r *http.Request, session string) string {
	name, all := DeviceCookieName(session), ""
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			n, v, _ := strings.Cut(pair, "=")
			if strings.Trim(n, " \t") == name && len(all) < maxDeviceCookie {
				all += "." + strings.Trim(v, " \t")
			}
		}
	}
	return all
}

// maxDeviceCookie is far above the length of a device cookie of ours, in bytes.
const maxDeviceCookie = 1000

// SetDevice lets the browser be known as that of the person who has just signed in; an empty value
// leaves it as it is.
func SetDevice(w http.ResponseWriter, p *Pass, session, value string) {
	if value != "" {
		SetCookie(w, p, DeviceCookieName(session), value, int(doorward.DeviceLife/time.Second))
	}
}

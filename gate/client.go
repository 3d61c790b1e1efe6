package gate

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// origin is what the door believes about where a request comes from and how it came.
type origin struct {
	client netip.Addr // the client; invalid only when the peer's own address cannot be read
	peer   netip.Addr // the other end of the connection
	secure bool       // it came over HTTPS, by our own TLS, a trusted proxy's word or the operator's
	host   string     // the name that the client asked for

	forwarded []string // what is believed of X-Forwarded-For: from the client on
}

// judgeOrigin finds the client's address. X-Forwarded-For is believed only from a trusted
// peer and read from the right: each entry was added by the hop before it, so the first
// that is not one of our proxies is the client. An entry that is no address ends the
// search: what stands left of it could be anybody's invention.
func (g *Gate) judgeOrigin(r *http.Request) origin {
	peer := hostAddr(r.RemoteAddr)
	o := origin{client: peer, peer: peer, secure: r.TLS != nil || g.secure, host: r.Host}
	if !g.trusted(peer) {
		return o
	}
	entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(entries) - 1; i >= 0; i-- {
		addr := hostAddr(strings.TrimSpace(entries[i]))
		if !addr.IsValid() {
			break
		}
		o.client, o.forwarded = addr, append(o.forwarded, addr.String())
		if !g.trusted(addr) {
			break
		}
	}
	slices.Reverse(o.forwarded)
	// Said once or not believed: a proxy that adds to what the client wrote is not to be asked.
	if said := r.Header["X-Forwarded-Proto"]; len(said) == 1 {
		o.secure = g.secure || strings.EqualFold(strings.TrimSpace(said[0]), "https")
	}
	if said := r.Header["X-Forwarded-Host"]; len(said) == 1 && said[0] != "" && validHost(said[0]) {
		o.host = said[0]
	}
	return o
}

func (g *Gate) trusted(a netip.Addr) bool {
	for _, p := range g.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// hostAddr reads an address with or without a port, without its IPv6 zone, and an IPv4 address written
// as IPv6 as the IPv4 address that it is.
func hostAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().WithZone("").Unmap()
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.WithZone("").Unmap()
}

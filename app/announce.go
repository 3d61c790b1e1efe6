package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"doorward"
	"doorward/web"
)

// announce says on the log what listens and what is behind it, and on the console, as
// long as there is no user, how to make the first one.
func (h *house) announce(ctx context.Context, addr net.Addr, console io.Writer) {
	s := h.settings
	behind := "the built-in sample service (give your own with --upstream URL)"
	if all := s.behind(); len(all) > 0 {
		behind = ""
		for _, u := range all {
			behind += ", " + u.URL.String()
			if u.place != "" {
				behind += " (" + u.Name + ": " + u.Host + u.Path + ")"
			}
		}
		behind = strings.TrimPrefix(behind, ", ")
	}
	h.log.Info("listening", "addr", addr.String(), "behind", behind, "version", version())
	if h.certificate != nil {
		h.log.Info("serving HTTPS", h.certificate.pair().attrs()...)
	}
	own := []string{s.PathPrefix + "/auth/", s.PathPrefix + "/api/auth/"}
	if s.HealthPath != "" {
		own = append(own, s.HealthPath)
	}
	if s.MetricsPath != "" && s.MetricsListen == "" {
		own = append(own, s.MetricsPath)
	}
	if s.publishesKeys() && s.JWKSPath != "" {
		own = append(own, s.JWKSPath)
	}
	h.log.Info("these paths are answered here and never reach the service", "paths", own)

	base := h.baseURL(addr)
	setup := base + web.SetupPage(s.PathPrefix)
	users := base + s.PathPrefix + "/api/auth/users"
	const body = `{"username": "admin", "password": "..."}`
	mode, err := h.authority.Mode(ctx)
	switch {
	case err != nil:
		h.log.Warn("cannot read whether somebody is set up", "err", err)
	case mode == doorward.ModeOpen:
		h.log.Warn("open mode: nobody is set up, and everything is open to whoever is on this machine; making the first user ends it")
		fmt.Fprintf(console, "\nTo make the first user and close the door:\n\n  %s\n\nor\n\n  curl -X POST %s -H \"Content-Type: application/json\" -d '%s'\n\n", setup, users, body)
	case h.authority.SetupCode() != "":
		fmt.Fprintf(console, "\nThere is no user yet. To make the first one, with a code that is good until then or until a restart:\n\n  %s#code=%s\n\nor\n\n  curl -X POST %s -H \"X-Setup-Code: %s\" -H \"Content-Type: application/json\" -d '%s'\n\n", setup, h.authority.SetupCode(), users, h.authority.SetupCode(), body)
		if open := s.AuthEnabled != nil && !*s.AuthEnabled; mode == doorward.ModeSetup && !open {
			h.log.Warn("closed until set up: there is no user, key or token yet")
		}
	}
}

// baseURL is how this server is reached: as the operator says, else by a name that its
// certificate is for, else at the address that it listens on.
func (h *house) baseURL(addr net.Addr) string {
	s := h.settings
	if s.PublicURL != nil {
		return s.PublicURL.Scheme + "://" + s.PublicURL.Host
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return s.scheme() + "://" + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	if h.certificate != nil && !h.certificate.covers(host) {
		host = cmp.Or(h.certificate.pair().name(), host)
	}
	return s.scheme() + "://" + net.JoinHostPort(host, port)
}

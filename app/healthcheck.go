package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

type healthcheckCmd struct {
	URL     string        `name:"url" placeholder:"URL" help:"Ask here instead of where the settings say."`
	Timeout time.Duration `name:"timeout" placeholder:"DURATION" default:"3s" help:"Longest wait for the answer (default: 3s)."`
	JSON    bool          `name:"json" help:"Print JSON."`
}

func (*healthcheckCmd) takes(key string) bool {
	return key == "listen" || key == "paths.health" || key == "tls.cert" || key == "tls.key"
}

// Validate refuses a wait that is none.
func (c *healthcheckCmd) Validate() error {
	if c.Timeout <= 0 {
		return errors.New("--timeout: must be more than 0")
	}
	return nil
}

// Run asks the server whether it can serve, and says so in one line. It needs the network of
// the machine and nothing else.
func (c *healthcheckCmd) Run(ctx context.Context, p *program, src *sources) error {
	target, own := c.URL, c.URL == ""
	if own {
		l, unknown := loadSome(c.takes, *src)
		l.problems = append(l.problems, unknown...)
		if err := l.err(); err != nil {
			return err
		}
		var err error
		if target, err = readyURL(l.Settings); err != nil {
			return err
		}
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("--url: must be a URL like http://127.0.0.1:8080/health/ready")
	}
	status, err := askReady(ctx, target, c.Timeout, own)
	switch {
	case c.JSON:
		return errors.Join(p.printJSON(showReadiness(u, status, err)), err)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintln(p.Out, "ok")
	return err
}

// readiness is what was found out, as it is shown to programs.
type readiness struct {
	Status string `json:"status"`                // ok or error
	URL    string `json:"url"`                   // who was asked
	HTTP   int    `json:"http_status,omitempty"` // of the answer, if there was one
	Error  string `json:"error,omitempty"`
}

// showReadiness leaves out of the URL where somebody may have put a secret.
func showReadiness(asked *url.URL, status int, err error) readiness {
	r := readiness{"ok", (&url.URL{Scheme: asked.Scheme, Host: asked.Host, Path: asked.Path}).String(), status, ""}
	if err != nil {
		r.Status, r.Error = "error", err.Error()
	}
	return r
}

// readyURL is where the server that has these settings says whether it is ready, seen from
// the machine that it runs on.
func readyURL(s Settings) (string, error) {
	if s.HealthPath == "" {
		return "", errors.New("paths.health is off, so there is nothing to ask; name something with --url")
	}
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	if port == "0" {
		return "", errors.New("listen: the server has chosen the port 0 stands for; name it with --url")
	}
	switch a, err := netip.ParseAddr(host); {
	case host == "":
		host = "127.0.0.1"
	case err == nil && a.IsUnspecified() && a.Is4():
		host = "127.0.0.1"
	case err == nil && a.IsUnspecified():
		host = "::1"
	}
	return (&url.URL{Scheme: s.scheme(), Host: net.JoinHostPort(host, port), Path: s.HealthPath + "/ready"}).String(), nil
}

// askReady returns the status of the answer at target, 0 for none, and why it is not that all is well. Of a server's own, at an
// address of this machine, no certificate is asked for: it is for the names that clients use, nothing
// secret is sent, and whoever could answer in its place could stop it as well.
func askReady(ctx context.Context, target string, timeout time.Duration, own bool) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, errors.New("--url: is not one")
	}
	client := http.Client{
		Transport: &http.Transport{ // past any proxy
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: own}, //nolint:gosec // see above
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return 0, fmt.Errorf("not ready: no answer within %v", timeout)
	case err != nil:
		return 0, fmt.Errorf("not ready: %w", errors.Unwrap(err)) // without the URL, in which somebody may have put a password
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, fmt.Errorf("not ready: the answer is %s", answer.Status)
	}
	return answer.StatusCode, nil
}

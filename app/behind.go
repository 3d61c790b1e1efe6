package app

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"doorward/api"
	frontdoor "doorward/door"
	"doorward/gate"
	"doorward/proxy"
	"doorward/sample"
)

// openService opens the way to what is behind the door: one service, several by host and
// path, or the sample service.
func (h *house) openService() (func(http.ResponseWriter, *http.Request, *gate.Pass), error) {
	s := h.settings
	names, forward := s.doorConfig().CredentialsThatPass()
	behind := s.behind()
	if len(behind) == 0 {
		var err error
		h.sample, err = sample.New(sampleConfig(s, h.log))
		if err != nil {
			return nil, err
		}
		return func(w http.ResponseWriter, r *http.Request, pass *gate.Pass) {
			proxy.Serve(w, proxy.Dress(r, h.door.Passage(pass, "sample"), names, forward), pass, h.sample)
		}, nil
	}
	var ways []*proxy.Proxy
	for _, u := range behind {
		log := h.log
		if len(behind) > 1 {
			log = log.With("upstream", u.Name)
		}
		p, err := proxy.New(proxy.Config{
			Upstream: u.URL, Strip: u.Strip, Stall: s.Limits.StallTimeout, Timeout: cmp.Or(u.Timeout, s.UpstreamTimeout), Names: names, Forward: forward, Log: log,
			Fail: func(w http.ResponseWriter, _ *http.Request, status int, message string) {
				gate.Fail(w, status, message)
			},
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", u.Name, err)
		}
		ways = append(ways, p)
	}
	return func(w http.ResponseWriter, r *http.Request, pass *gate.Pass) {
		ways[pass.Upstream].Carry(w, r, h.door.Passage(pass, behind[pass.Upstream].Name))
	}, nil
}

// servicesOf is what is behind, for the page that shows it.
func servicesOf(behind []Upstream) []frontdoor.Service {
	var all []frontdoor.Service
	for _, u := range behind {
		all = append(all, frontdoor.Service{Name: u.Name, Address: u.URL.Redacted()})
	}
	return all
}

// reachable are the components of the health answer for what is behind the door. That one
// of them is away is said, and the door is not called down for it: a door that is restarted
// for a service behind it helps nobody.
func (h *house) reachable() []api.Component {
	var all []api.Component
	for _, u := range h.settings.behind() {
		name := "upstream " + u.Name
		if u.place == "" {
			name = "upstream"
		}
		k := &knock{url: u.URL, now: h.now}
		all = append(all, api.Component{Name: name, Check: k.answer, Message: "cannot be reached", Optional: true})
	}
	return all
}

const (
	knockTimeout = time.Second
	knockKept    = 2 * time.Second // so that who asks for our health does not make us knock at will
)

// knock finds out whether a service takes connections.
type knock struct {
	url *url.URL
	now func() time.Time

	mu   sync.Mutex // held while knocking: who comes meanwhile waits for the same answer
	at   time.Time
	last error
}

func (k *knock) answer(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if since := k.now().Sub(k.at); !k.at.IsZero() && since >= 0 && since < knockKept {
		return k.last
	}
	// The answer is for others as well, whoever hangs up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), knockTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", hostAndPort(k.url))
	if err == nil {
		err = conn.Close()
	}
	k.at, k.last = k.now(), err
	return err
}

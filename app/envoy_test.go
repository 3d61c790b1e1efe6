package app

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"

	"doorward/gate"
)

// envoyFile is what docs/proxies/envoy.yaml says of the headers of a request. Envoy is not packaged where the
// tests run, so what it would do with a request is worked out from its file, by its documentation.
type envoyFile struct {
	useRemoteAddress bool
	dropsUnderscores bool
	early            []string // taken out before Envoy adds to X-Forwarded-For
	removed          []string // taken out before Doorward is asked
	shown, unshown   []envoyPattern
	writtenOver      []envoyPattern
	routes           []envoyRoute
}

type envoyPattern struct {
	Exact, Prefix string
	Safe          struct{ Regex string } `yaml:"safe_regex"`
}

type envoyPatterns struct{ Patterns []envoyPattern }

type envoyRoute struct {
	Match struct {
		Path, Prefix string
		Safe         struct{ Regex string } `yaml:"safe_regex"`
	}
	Route  struct{ Cluster string }
	Direct struct{ Status int } `yaml:"direct_response"`
	Remove []string             `yaml:"request_headers_to_remove"`
	Per    map[string]struct {
		Disabled bool
	} `yaml:"typed_per_filter_config"`
}

// whole matches as Envoy does: all of the text.
func whole(regex, text string) bool {
	return regexp.MustCompile(`\A(?:` + regex + `)\z`).MatchString(text)
}

func matchesAny(patterns []envoyPattern, name string) bool {
	return slices.ContainsFunc(patterns, func(p envoyPattern) bool {
		switch {
		case p.Exact != "":
			return p.Exact == name
		case p.Prefix != "":
			return strings.HasPrefix(name, p.Prefix)
		}
		return p.Safe.Regex != "" && whole(p.Safe.Regex, name)
	})
}

var theEnvoyFile = sync.OnceValue(func() envoyFile {
	b, err := os.ReadFile(filepath.Join("..", "docs", "proxies", "envoy.yaml"))
	if err != nil {
		panic(err)
	}
	type removals []struct{ Remove string }
	var y struct {
		Static struct {
			Listeners []struct {
				Chains []struct {
					Filters []struct {
						Config struct {
							UseRemoteAddress bool `yaml:"use_remote_address"`
							Early            []struct {
								Config struct {
									Type      string `yaml:"@type"`
									Mutations removals
								} `yaml:"typed_config"`
							} `yaml:"early_header_mutation_extensions"`
							Common struct {
								Underscores string `yaml:"headers_with_underscores_action"`
							} `yaml:"common_http_protocol_options"`
							Filters []struct {
								Name   string
								Config struct {
									Mutations struct {
										Request removals `yaml:"request_mutations"`
									}
									Allowed    envoyPatterns `yaml:"allowed_headers"`
									Disallowed envoyPatterns `yaml:"disallowed_headers"`
									HTTP       struct {
										Answer struct {
											Upstream envoyPatterns `yaml:"allowed_upstream_headers"`
										} `yaml:"authorization_response"`
									} `yaml:"http_service"`
								} `yaml:"typed_config"`
							} `yaml:"http_filters"`
							Routes struct {
								Hosts []struct{ Routes []envoyRoute } `yaml:"virtual_hosts"`
							} `yaml:"route_config"`
						} `yaml:"typed_config"`
					}
				} `yaml:"filter_chains"`
			}
		} `yaml:"static_resources"`
	}
	if err := yaml.Unmarshal(b, &y); err != nil {
		panic(err)
	}
	c := y.Static.Listeners[0].Chains[0].Filters[0].Config
	f := envoyFile{
		useRemoteAddress: c.UseRemoteAddress, dropsUnderscores: c.Common.Underscores == "DROP_HEADER",
		routes: c.Routes.Hosts[0].Routes,
	}
	for _, e := range c.Early {
		if e.Config.Type == "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation" {
			for _, m := range e.Config.Mutations {
				f.early = append(f.early, m.Remove)
			}
		}
	}
	var order []string
	for _, h := range c.Filters {
		order = append(order, h.Name)
		for _, m := range h.Config.Mutations.Request {
			f.removed = append(f.removed, m.Remove)
		}
		if h.Name == "envoy.filters.http.ext_authz" {
			f.shown, f.unshown, f.writtenOver = h.Config.Allowed.Patterns, h.Config.Disallowed.Patterns, h.Config.HTTP.Answer.Upstream.Patterns
		}
	}
	if !slices.Equal(order, []string{"envoy.filters.http.header_mutation", "envoy.filters.http.ext_authz", "envoy.filters.http.router"}) {
		panic(strings.Join(order, ", "))
	}
	return f
})

// shows reports whether Envoy shows a header that a request has to Doorward.
func (f envoyFile) shows(name string) bool {
	name = strings.ToLower(name)
	return matchesAny(f.shown, name) && !matchesAny(f.unshown, name)
}

// headerLine is one line of a head, its name in lower case.
type headerLine struct{ name, value string }

// takesIn is what is left of a client's lines when Doorward is asked.
func (f envoyFile) takesIn(lines []string) (kept []headerLine) {
	forwardedFor := ""
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ":")
		name, value = strings.ToLower(name), strings.TrimSpace(value)
		switch {
		case f.dropsUnderscores && strings.Contains(name, "_"), slices.Contains(f.early, name), slices.Contains(f.removed, name):
		case name == "connection", name == "upgrade", name == "x-forwarded-proto":
		case name == "x-forwarded-for":
			forwardedFor += value + ","
		default:
			kept = append(kept, headerLine{name, value})
		}
	}
	if f.useRemoteAddress {
		forwardedFor += "127.0.0.1"
	}
	return append(kept, headerLine{"x-forwarded-for", forwardedFor}, headerLine{"x-forwarded-proto", "http"})
}

// sendsOn is what the service gets of what Envoy took in once Doorward has let it pass. Of two lines of one
// header the answer's replaces the first alone.
func (f envoyFile) sendsOn(kept []headerLine, answer http.Header) []headerLine {
	kept = slices.Clone(kept)
	for name, values := range answer {
		name = strings.ToLower(name)
		if !matchesAny(f.writtenOver, name) {
			continue
		}
		if i := slices.IndexFunc(kept, func(l headerLine) bool { return l.name == name }); i >= 0 {
			kept[i].value = values[0]
		} else {
			kept = append(kept, headerLine{name, values[0]})
		}
	}
	last := f.routes[len(f.routes)-1]
	return slices.DeleteFunc(kept, func(l headerLine) bool { return slices.Contains(last.Remove, l.name) })
}

// TestPX3EnvoyShowsEveryHeader: of what it does not show Doorward can refuse nothing.
func TestPX3EnvoyShowsEveryHeader(t *testing.T) {
	t.Parallel()
	f := theEnvoyFile()
	for _, name := range []string{"x.auth.role", "x!auth!role", "x-auth-email", "x-forwarded-prefix", "x", "authorization", "cookie", "accept", "sec-fetch-mode", "traceparent", "te"} {
		if !f.shows(name) {
			t.Errorf("%s is not shown", name)
		}
	}
	for _, name := range []string{":method", ":scheme", "connection", "upgrade"} {
		if f.shows(name) {
			t.Errorf("%s is shown", name)
		}
	}
	if !f.useRemoteAddress || !slices.Contains(f.early, "x-forwarded-for") {
		t.Error("to a client's X-Forwarded-For Envoy adds what it sees, and the client's stays")
	}
	if last := f.routes[len(f.routes)-1]; last.Match.Prefix != "/" || last.Route.Cluster != "service" || len(last.Per) > 0 {
		t.Errorf("the last route is not the service's, or unasked: %+v", last)
	}
}

// TestPX5NothingOfAClientsArrivesByEnvoysFile asks the door what Envoy would, and does with the answer what the
// file says: what a client sends is a 400, or gone, or written over.
func TestPX5NothingOfAClientsArrivesByEnvoysFile(t *testing.T) {
	t.Parallel()
	f := theEnvoyFile()
	d := forwardDoor(t, gate.ProxyEnvoy, settingsFile(t, "routes:\n  - {path: /public, public: true}\n"))
	addr := strings.TrimPrefix(d.URL, "http://")
	passed, refused := 0, 0
	for _, credential := range []string{machineKeyLine, "Authorization: Bearer " + machineToken, "Accept: */*"} {
		for _, claim := range spoofed {
			kept := f.takesIn([]string{credential, claim, claim})
			question := "GET /auth/forward/public HTTP/1.1\r\nHost: " + placementHost + "\r\nConnection: close\r\nContent-Length: 0\r\n"
			for _, l := range kept {
				if f.shows(l.name) {
					question += l.name + ": " + l.value + "\r\n"
				}
			}
			res, body := send(t, addr, question+"\r\n")
			if res.StatusCode != http.StatusOK {
				refused++
				if res.StatusCode != http.StatusBadRequest {
					t.Errorf("%q: %d %s", claim, res.StatusCode, body)
				}
				continue
			}
			passed++
			for _, l := range f.sendsOn(kept, res.Header) {
				if strings.Contains(l.value, "spoofed") || strings.Contains(l.value, "198.51.100.66") {
					t.Errorf("%q: %s: %s arrives", claim, l.name, l.value)
				}
			}
		}
	}
	t.Logf("%d passed, %d were a 400", passed, refused)
	if passed < 60 || refused < 20 {
		t.Error("a test that shows little")
	}
}

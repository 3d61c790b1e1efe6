package app

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const publicKeys = "/.well-known/jwks.json"

// TestPublicKeysBehindEachProxy: whoever verifies assertions fetches them without a credential, and nothing
// near their path is open for it.
func TestPublicKeysBehindEachProxy(t *testing.T) {
	t.Parallel()
	service := newMirror(t)
	d := forwardDoor(t, "nginx", "assertion=EdDSA")
	behindEach(t, d, service, func(t *testing.T, name, addr string) {
		for _, method := range []string{"GET", "HEAD"} {
			res, body := send(t, addr, method+" "+publicKeys+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if res.StatusCode != http.StatusOK || method == "GET" && !strings.Contains(body, `"kty":"OKP"`) || res.Header.Get("Mirror") != "" {
				t.Errorf("%s: %s of the public keys: %d %s", name, method, res.StatusCode, body)
			}
		}
		for _, target := range []string{publicKeys + "x", publicKeys + "/", publicKeys + "/x", "/x" + publicKeys, "/.well-known/jwksxjson", "/.well-known/", "/.well-known/other"} {
			carried(t, addr, request{"GET", target, name, nil}).means(t, http.StatusUnauthorized, "token required")
		}
	})
}

// TestPublicKeysAtEveryHost is the same for nginx-hosts.conf, where people sign in and in front of each service.
func TestPublicKeysAtEveryHost(t *testing.T) {
	t.Parallel()
	h := newNeighbourhood(t, "Forward auth", "assertion=EdDSA")
	for _, host := range []string{authHost, appHost, wikiHost} {
		host = strings.TrimPrefix(host, "https://")
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: host, InsecureSkipVerify: true}}}
		r, err := http.NewRequest("GET", "https://"+h.addr+publicKeys, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", host, res.StatusCode, res.Header)
		}
	}
}

// TestWhatEnvoysFileSendsToTheDoor without asking, and what it asks about.
func TestWhatEnvoysFileSendsToTheDoor(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		publicKeys: "door", "/auth/login": "door", "/api/auth/me": "door", "/auth/forward": "nobody", "/auth/forward/x": "nobody",
		publicKeys + "x": "service", publicKeys + "/x": "service", "/x" + publicKeys: "service", "/.well-known/jwksxjson": "service", "/authority": "service", "/": "service",
	} {
		got := ""
		for _, r := range theEnvoyFile().routes {
			if m := r.Match; m.Path == path || m.Prefix != "" && strings.HasPrefix(path, m.Prefix) || m.Safe.Regex != "" && whole(m.Safe.Regex, path) {
				if got = r.Route.Cluster; r.Direct.Status == http.StatusNotFound {
					got = "nobody"
				}
				if asked := !r.Per["envoy.filters.http.ext_authz"].Disabled; asked != (got == "service") {
					t.Errorf("%s: asked about: %v", path, asked)
				}
				break
			}
		}
		if got != want {
			t.Errorf("%s goes to %q, want %s", path, got, want)
		}
	}
}

// TestWhatTraefiksFileSendsToTheDoor, as far as it can be told without Traefik.
func TestWhatTraefiksFileSendsToTheDoor(t *testing.T) {
	t.Parallel()
	var file struct {
		HTTP struct {
			Routers map[string]struct {
				Rule, Service string
				Priority      int
				Middlewares   []string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(documented(t, "traefik-routers.yml")), &file); err != nil {
		t.Fatal(err)
	}
	door, service := file.HTTP.Routers["door"], file.HTTP.Routers["service"]
	if door.Rule != "Path(`"+publicKeys+"`) || PathRegexp(`^/(api/)?auth/`) && !PathPrefix(`/auth/forward`)" || door.Service != "door" || len(door.Middlewares) > 0 {
		t.Errorf("%+v", door)
	}
	if door.Priority <= service.Priority || service.Service != "service" || strings.Join(service.Middlewares, " ") != "not-for-clients doorward judged" {
		t.Errorf("%+v", service)
	}
}

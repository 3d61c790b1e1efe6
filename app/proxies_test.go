package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// realProxy is a proxy of somebody else's in front of a service, started with the configuration
// that docs/proxies holds.
type realProxy struct {
	name string // for forward_auth.proxy
	what string // what is missing where it is not installed
	find func() string
	// files are those of its configuration; the first is the one that it is started with.
	files []string
	args  func(dir, file string) []string
	edit  func(text, dir string) string
}

var realProxies = map[string]realProxy{
	"nginx": {
		name: "nginx", what: "needs nginx: apt-get install nginx",
		find:  func() string { return installed("", "nginx", "/usr/sbin/nginx") },
		files: []string{"nginx.conf", "nginx-http.conf", "nginx-guard.conf", "nginx-door.conf"},
		args: func(dir, file string) []string {
			globals := "daemon off; pid nginx.pid;"
			if os.Geteuid() == 0 {
				globals += " user root;" // the directory is ours alone
			}
			return []string{"-p", dir, "-c", file, "-e", "stderr", "-g", globals}
		},
		edit: func(text, dir string) string {
			own := "http {\n    access_log off;\n"
			for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				own += "    " + kind + "_temp_path " + filepath.Join(dir, kind) + ";\n"
			}
			return strings.Replace(text, "http {\n", own, 1)
		},
	},
	"caddy": {
		name: "caddy", what: "needs Caddy: apt-get install caddy, or DOORWARD_TEST_CADDY=/path/to/caddy",
		find:  func() string { return installed(os.Getenv("DOORWARD_TEST_CADDY"), "caddy", "/usr/bin/caddy") },
		files: []string{"Caddyfile"},
		args: func(_, file string) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", file}
		},
	},
	"traefik": {
		name: "traefik", what: "needs Traefik: DOORWARD_TEST_TRAEFIK=/path/to/traefik",
		find:  func() string { return installed(os.Getenv("DOORWARD_TEST_TRAEFIK"), "traefik", "/usr/bin/traefik") },
		files: []string{"traefik.yml", "traefik-routers.yml"},
		args:  func(_, file string) []string { return []string{"--configFile=" + file} },
	},
	"envoy": {
		name: "envoy", what: "needs Envoy: DOORWARD_TEST_ENVOY=/path/to/envoy",
		find:  func() string { return installed(os.Getenv("DOORWARD_TEST_ENVOY"), "envoy", "/usr/bin/envoy") },
		files: []string{"envoy.yaml"},
		args:  func(_, file string) []string { return []string{"-c", file, "--use-dynamic-base-id"} },
	},
}

// installed finds one, by what somebody says, in PATH, or where its package puts it; "" if it is not there.
func installed(said, name, usual string) string {
	if said != "" {
		return said
	}
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	if _, err := os.Stat(usual); err == nil {
		return usual
	}
	return ""
}

// start starts the proxy in front of a door and a service and returns its address. Only
// addresses, and directories to write to, are other than in the documentation.
func (p realProxy) start(t *testing.T, door, service string) (addr string) {
	t.Helper()
	p.found(t)
	addr, dir := freeAddress(t), t.TempDir()
	port := portOf(addr)
	addresses := strings.NewReplacer(
		"127.0.0.1:8081", strings.TrimPrefix(door, "http://"), "127.0.0.1:3000", strings.TrimPrefix(service, "http://"),
		"listen 8080", "listen "+addr, "http://:8080 {", "http://:"+port+" {\n\tbind 127.0.0.1", `":8080"`, `"`+addr+`"`,
		"address: 0.0.0.0, port_value: 8080", "address: 127.0.0.1, port_value: "+port,
		"address: 127.0.0.1, port_value: 8081", "address: 127.0.0.1, port_value: "+portOf(door),
		"address: 127.0.0.1, port_value: 3000", "address: 127.0.0.1, port_value: "+portOf(service),
		"traefik-routers.yml", filepath.Join(dir, "traefik-routers.yml"),
	)
	for _, f := range p.files {
		p.write(t, dir, f, addresses.Replace(documented(t, f)))
	}
	p.run(t, dir, func() error {
		resp, err := http.Get("http://" + addr + "/auth/forward") // closed to clients in each
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			return fmt.Errorf("it says %s", resp.Status)
		}
		return nil
	})
	return addr
}

// found is its program; without it there is no test.
func (p realProxy) found(t *testing.T) string {
	t.Helper()
	bin := p.find()
	if bin == "" && slices.Contains(strings.Split(os.Getenv("DOORWARD_TEST_WITHOUT"), ","), p.name) {
		t.Skip("DOORWARD_TEST_WITHOUT says that there is none; it " + p.what)
	}
	if bin == "" {
		missing(t, p.what)
	}
	return bin
}

// freeAddress is one of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// documented is a file of docs/proxies.
func documented(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "proxies", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// write writes a file of its configuration.
func (p realProxy) write(t *testing.T, dir, file, text string) {
	t.Helper()
	if p.edit != nil {
		text = p.edit(text, dir)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts it on the configuration in dir and waits until it answers.
func (p realProxy) run(t *testing.T, dir string, answers func() error) {
	t.Helper()
	bin := p.found(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, bin, p.args(dir, filepath.Join(dir, p.files[0]))...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // nginx's workers end with their master
	cmd.WaitDelay = 10 * time.Second
	said := new(logBuffer)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, said, said
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(over)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
		if t.Failed() {
			t.Logf("%s said: %.4000s", p.name, said)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := answers()
		if err == nil {
			return
		}
		select {
		case <-over:
			t.Fatalf("%s does not start: %s", p.name, said)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v; it said: %s", p.name, err, said)
		}
	}
}

func portOf(url string) string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	return port
}

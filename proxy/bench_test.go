package proxy_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"time"

	"doorward/proxy"
)

var requests = map[string]string{
	"curl": "GET /a/b?c=d HTTP/1.1\r\nHost: door.example\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAuthorization: Bearer x\r\n\r\n",
	"browser": "GET /a/b?c=d HTTP/1.1\r\nHost: door.example\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
		"Accept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nSec-Fetch-Site: none\r\n" +
		"Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nSec-Ch-Ua: \"Chromium\"\r\nSec-Ch-Ua-Mobile: ?0\r\n" +
		"Upgrade-Insecure-Requests: 1\r\nCookie: theme=dark; " + session + "=abcdef; _ga=GA1.2.3\r\n\r\n",
}

// bare is a ReverseProxy tuned alike, which says nothing of who asks.
func bare(upstream *url.URL) http.Handler {
	pool := &pool{}
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(upstream)
			pr.SetXForwarded()
			pr.Out.Host = pr.In.Host
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
		},
		Transport: &http.Transport{
			DisableCompression: true, MaxIdleConnsPerHost: 1024, IdleConnTimeout: 90 * time.Second,
			ResponseHeaderTimeout: 10 * time.Minute, MaxResponseHeaderBytes: 1 << 20,
		},
		BufferPool: pool,
	}
}

type pool struct{ sync.Pool }

func (p *pool) Get() []byte {
	if b, ok := p.Pool.Get().(*[32 << 10]byte); ok {
		return b[:]
	}
	return make([]byte, 32<<10)
}

func (p *pool) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }

// BenchmarkCarry sends the same request by turns through Carry and through a bare
// ReverseProxy, over real connections, and reports how they compare: time as a ratio,
// and the allocations that Carry makes above the bare one's.
func BenchmarkCarry(b *testing.B) {
	service := quietService(b)
	p, err := proxy.New(proxy.Config{Upstream: service, Names: ours, Stall: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.CloseIdle)
	for name, request := range requests {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ways := [2]*way{
				newWay(b, request, bare(service)),
				newWay(b, request, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					pass := passage(r)
					pass.DropAuthorization = true
					p.Carry(w, r, pass)
				})),
			}
			for _, w := range ways {
				w.run(b, 100) // connections, pools
				w.spent, w.mallocs, w.n = 0, 0, 0
			}
			for b.Loop() {
				for _, w := range ways {
					w.run(b, 20)
				}
			}
			per := func(w *way, x float64) float64 { return x / float64(w.n) }
			plain, carried := ways[0], ways[1]
			b.ReportMetric(float64(carried.spent)/float64(plain.spent), "ratio")
			b.ReportMetric(per(carried, float64(carried.mallocs))-per(plain, float64(plain.mallocs)), "extra-allocs/req")
			b.ReportMetric(per(plain, float64(plain.mallocs)), "bare-allocs/req")
			b.ReportMetric(per(plain, float64(plain.spent)), "bare-ns/req")
			b.ReportMetric(per(carried, float64(carried.spent)), "carry-ns/req")
		})
	}
}

// Carry allocates once for a request, its luggage, and nothing else above what a bare
// ReverseProxy does; nor does a stall that is watched for cost anything.
func TestCarryAllocatesOnce(t *testing.T) { // not parallel: it counts for the whole process
	if raceEnabled {
		t.Skip("the race detector allocates too")
	}
	service := quietService(t)
	for name, request := range requests {
		p, err := proxy.New(proxy.Config{Upstream: service, Names: ours, Stall: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.CloseIdle)
		per := func(h http.Handler) float64 {
			w := newWay(t, request, h)
			w.run(t, 200) // connections, pools
			w.mallocs, w.n = 0, 0
			w.run(t, 2000)
			return float64(w.mallocs) / float64(w.n)
		}
		plain := per(bare(service))
		carried := per(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pass := passage(r)
			pass.DropAuthorization = true
			p.Carry(w, r, pass)
		}))
		t.Logf("%s: %.2f allocations, a bare ReverseProxy %.2f", name, carried, plain)
		if carried > plain+1.5 {
			t.Errorf("%s: Carry allocates %.2f times a request, a bare ReverseProxy %.2f", name, carried, plain)
		}
	}
}

// way is a kept connection to a proxy, and what its requests cost.
type way struct {
	conn    net.Conn
	request []byte
	answer  [4096]byte
	spent   time.Duration
	mallocs uint64
	n       int
}

func newWay(b testing.TB, request string, h http.Handler) *way {
	s := &http.Server{Handler: h}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { s.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return &way{conn: conn, request: []byte(request)}
}

// run sends the request n times, one after the other.
func (w *way) run(b testing.TB, n int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for range n {
		if _, err := w.conn.Write(w.request); err != nil {
			b.Fatal(err)
		}
		for got := 0; !bytes.HasSuffix(w.answer[:got], []byte("\r\n\r\nok")); {
			n, err := w.conn.Read(w.answer[got:])
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
	}
	w.spent += time.Since(start)
	runtime.ReadMemStats(&after)
	w.mallocs += after.Mallocs - before.Mallocs
	w.n += n
}

// quietService answers every request with ok and allocates nothing for it.
func quietService(b testing.TB) *url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf, answer := make([]byte, 8192), []byte(okAnswer)
				for got := 0; ; {
					n, err := conn.Read(buf[got:])
					if err != nil {
						return
					}
					if got += n; bytes.HasSuffix(buf[:got], []byte("\r\n\r\n")) {
						got = 0
						if _, err := conn.Write(answer); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	u, err := url.Parse(fmt.Sprintf("http://%s", l.Addr()))
	if err != nil {
		b.Fatal(err)
	}
	return u
}

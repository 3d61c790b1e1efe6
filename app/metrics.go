package app

import (
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"doorward"
)

// metrics are what the server counts about itself. No label takes a value that a client
// chooses, so their number is bounded.
type metrics struct {
	registry *prometheus.Registry
	requests requestCounters
	duration prometheus.Histogram
	refusals *prometheus.CounterVec
	inFlight atomic.Int64 // requests
	tooMany  prometheus.Counter
}

func newMetrics(c *certificate) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: requestCounters{vec: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorward_http_requests_total", Help: "Requests answered, by status code; 0 where the connection was cut before any.",
		}, []string{"code"})},
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "doorward_http_request_duration_seconds", Help: "Time from a request's head to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600},
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorward_refusals_total", Help: "Requests refused at the door, by the error they were given.",
		}, []string{"code", "error"}),
		tooMany: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "doorward_connections_refused_total", Help: "Connections closed at once because their address had too many.",
		}),
	}
	m.registry.MustRegister(m.requests.vec, m.duration, m.refusals, m.tooMany,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "doorward_http_requests_in_flight", Help: "Requests being answered now, streams included.",
		}, func() float64 { return float64(m.inFlight.Load()) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if c != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "doorward_tls_certificate_expiry_seconds", Help: "When the certificate that TLS is served with expires, as Unix time.",
		}, func() float64 { return float64(c.pair().Leaf.NotAfter.Unix()) }))
	}
	return m
}

// watch lets the metrics say what an Authority knows.
func (m *metrics) watch(a *doorward.Authority) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "doorward_revoked_sessions", Help: "Ended sessions remembered until their last access token has expired.",
	}, func() float64 { return float64(a.Revoked()) }))
}

// refused counts a refusal. What names a field is counted without its sentence, of which there are many.
func (m *metrics) refused(status int, message string) {
	if status == http.StatusBadRequest || status == http.StatusConflict {
		message = ""
	}
	m.refusals.WithLabelValues(strconv.Itoa(status), message).Inc()
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// page serves the metrics alone, on an address of their own.
func (m *metrics) page(path string) http.Handler {
	mux := http.NewServeMux()
	if path == "" {
		path = "/metrics"
	}
	mux.Handle(path, m.handler())
	return mux
}

// requestCounters are the counters of requests by status code, each found by its number:
// to find one by its label costs two allocations and a lock for every request.
type requestCounters struct {
	vec    *prometheus.CounterVec
	byCode [1000]atomic.Pointer[prometheus.Counter] // nil until the code has been given
}

func (r *requestCounters) of(status int) prometheus.Counter {
	if status < 0 || status >= len(r.byCode) {
		return r.vec.WithLabelValues(strconv.Itoa(status)) // net/http lets none through
	}
	if c := r.byCode[status].Load(); c != nil {
		return *c
	}
	c := r.vec.WithLabelValues(strconv.Itoa(status)) // the same one, whoever asks first
	r.byCode[status].Store(&c)
	return c
}

// count counts requests and, at level debug, logs each; the path without its query, which
// may hold anybody's secrets. It allocates once for a request, the writer that knows the status.
func (m *metrics) count(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		m.inFlight.Add(1)
		c := &countingWriter{ResponseWriter: w}
		defer func() {
			took := time.Since(began)
			m.inFlight.Add(-1)
			m.duration.Observe(took.Seconds())
			m.requests.of(c.code()).Inc()
			if log.Enabled(r.Context(), slog.LevelDebug) { // asked first, or the values below would be boxed for nobody
				log.DebugContext(r.Context(), "request", "status", c.code(), "method", r.Method, "path", r.URL.Path,
					"request_id", w.Header().Get("X-Request-Id"), "took", took)
			}
		}()
		next.ServeHTTP(c, r)
		c.finished = true
	})
}

// countingWriter remembers the status. What else a writer can do is found through Unwrap.
type countingWriter struct {
	http.ResponseWriter
	status   int
	finished bool // the handler returned, where it could have cut the connection by a panic
}

func (c *countingWriter) WriteHeader(status int) {
	if c.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *countingWriter) code() int {
	if c.status == 0 && c.finished {
		return http.StatusOK
	}
	return c.status
}

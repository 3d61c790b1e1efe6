package sample

import (
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
)

// A handler answers a request, or returns why not before it has written anything.
type handler func(w http.ResponseWriter, r *http.Request) error

func (s *Service) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, byMethod := range map[string]map[string]handler{
		"/{$}":                                  {"GET": s.whoami},
		"/run":                                  {"POST": s.run},
		"/api/pipelines":                        {"GET": s.listPipelines, "POST": s.createPipeline},
		"/api/pipelines/{id}":                   {"GET": s.showPipeline, "PUT": s.replacePipeline, "PATCH": s.changePipeline, "DELETE": s.deletePipeline},
		"/api/pipelines/{id}/run":               {"POST": s.startRun},
		"/api/pipelines/{id}/runs":              {"GET": s.listRuns},
		"/api/pipelines/{id}/runs/{run}":        {"GET": s.showRun},
		"/api/pipelines/{id}/runs/{run}/events": {"GET": s.events},
	} {
		mux.Handle(pattern, s.byMethod(byMethod))
	}
	mux.Handle("/", s.answering(func(http.ResponseWriter, *http.Request) error { return notFound("path") }))
	return mux
}

// ServeHTTP answers one request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store") // answers differ by caller

	// ServeMux would redirect a path that is not clean, with a page. The door sends
	// clean paths only; for who embeds the service without it, such a path is unknown.
	if p := r.URL.EscapedPath(); path.Clean("/"+p) != p {
		s.refuse(w, r, notFound("path"))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// byMethod picks the handler, answers HEAD as GET and refuses other methods with 405
// and Allow (RFC 9110, 15.5.6).
func (s *Service) byMethod(handlers map[string]handler) http.Handler {
	if get, ok := handlers["GET"]; ok {
		handlers["HEAD"] = get
	}
	allow := strings.Join(slices.Sorted(maps.Keys(handlers)), ", ")
	return s.answering(func(w http.ResponseWriter, r *http.Request) error {
		h, ok := handlers[r.Method]
		if !ok {
			w.Header().Set("Allow", allow)
			return &refusal{status: http.StatusMethodNotAllowed, message: "method not allowed"}
		}
		return h(w, r)
	})
}

// answering makes a handler an http.Handler whose errors are written in one place.
func (s *Service) answering(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.refuse(w, r, err)
		}
	})
}

// Command chi is the list of books of nethttp with the router chi: the door stands around the
// router, and what a group of routes asks more is a middleware like any other.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"doorward"
	"doorward/door"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen string) error {
	d, err := door.Open(ctx, door.Config{DataDir: "."})
	if err != nil {
		return err
	}
	defer d.Close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	log.Printf("listening on http://%s", listener.Addr())
	server := &http.Server{Handler: d.Wrap(books()), ReadHeaderTimeout: 10 * time.Second}
	broken := make(chan error, 1)
	go func() { broken <- server.Serve(listener) }()
	select {
	case err := <-broken:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

func books() http.Handler {
	var mu sync.Mutex
	var all []string
	r := chi.NewRouter()
	r.Use(middleware.Recoverer)
	r.Get("/", func(w http.ResponseWriter, r *http.Request) {
		id, _ := door.From(r.Context())
		fmt.Fprintf(w, "hello, %s, you are %s\n", id.Username, id.Role)
	})
	r.Get("/books", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for _, title := range all {
			fmt.Fprintln(w, title)
		}
	})
	r.Post("/books", func(w http.ResponseWriter, r *http.Request) {
		title, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
		if err != nil {
			http.Error(w, "a title has at most 1024 bytes", http.StatusRequestEntityTooLarge)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, string(title))
		w.WriteHeader(http.StatusCreated)
	})
	r.Group(func(r chi.Router) {
		r.Use(door.Require(doorward.Admin))
		r.Delete("/books", func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			all = nil
		})
	})
	r.Get("/ticks", func(w http.ResponseWriter, r *http.Request) { // it ends with the session
		w.Header().Set("Content-Type", "text/event-stream")
		for tick := time.Tick(100 * time.Millisecond); ; {
			fmt.Fprint(w, "data: tick\n\n")
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-tick:
			}
		}
	})
	return r
}

// Command nethttp keeps a list of books, behind a door of its own, with the standard library alone.
// Copy it to begin with.
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
	mux := books()
	d, err := door.Open(ctx, door.Config{DataDir: "."})
	if err != nil {
		return err
	}
	defer d.Close()
	server := &http.Server{Addr: listen, Handler: d.Wrap(mux), ReadHeaderTimeout: 10 * time.Second}
	return serve(ctx, server)
}

// books is the program itself. The door lets viewers read and editors do all else, unless a
// handler asks for more.
func books() *http.ServeMux {
	var mu sync.Mutex
	var all []string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := door.From(r.Context())
		fmt.Fprintf(w, "hello, %s, you are %s\n", id.Username, id.Role)
	})
	mux.HandleFunc("GET /books", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for _, title := range all {
			fmt.Fprintln(w, title)
		}
	})
	mux.HandleFunc("POST /books", func(w http.ResponseWriter, r *http.Request) {
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
	mux.Handle("DELETE /books", door.Require(doorward.Admin)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		all = nil
	})))
	mux.HandleFunc("GET /ticks", func(w http.ResponseWriter, r *http.Request) { // it ends with the session
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
	return mux
}

// serve serves until ctx ends, and lets requests under way finish for some seconds.
func serve(ctx context.Context, server *http.Server) error {
	listener, err := net.Listen("tcp", server.Addr)
	if err != nil {
		return err
	}
	log.Printf("listening on http://%s", listener.Addr())
	broken := make(chan error, 1)
	go func() { broken <- server.Serve(listener) }()
	select {
	case err := <-broken:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if server.Shutdown(stopping) != nil {
		return server.Close() // what streams does not end by itself
	}
	return nil
}

package doorwardtest_test

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"testing"

	"doorward"
	"doorward/door"
	"doorward/doorwardtest"
)

// books is a handler under test: who may delete is for it to say, all else is for the door.
func books() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /books", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "Emma") })
	mux.HandleFunc("POST /books", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusCreated) })
	mux.Handle("DELETE /books", door.Require(doorward.Admin)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	return mux
}

// An example has no *testing.T; in a test t is the test's own.
func Example() {
	t := new(aTest)
	defer t.end()

	s := doorwardtest.New(t, books())
	viewer, admin := s.SignedIn(t, doorward.Viewer), s.SignedIn(t, doorward.Admin)

	status := func(client *http.Client, method string, credentials ...string) {
		r, err := http.NewRequest(method, s.URL+"/books", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range credentials {
			r.Header.Set("Authorization", "Bearer "+c)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		fmt.Println(method, res.StatusCode)
	}
	status(s.Nobody(t), http.MethodGet)
	status(viewer, http.MethodGet)
	status(viewer, http.MethodPost)
	status(admin, http.MethodDelete)
	status(s.Nobody(t), http.MethodPost, s.Key(t, doorward.Editor)) // a machine
	s.SignOut(t, viewer)
	status(viewer, http.MethodGet)
	// Output:
	// GET 401
	// GET 200
	// POST 403
	// DELETE 200
	// POST 201
	// GET 401
}

// aTest is as much of a *testing.T as is used here.
type aTest struct {
	testing.TB
	cleanups []func()
}

func (t *aTest) Helper()           {}
func (t *aTest) Fatal(args ...any) { log.Panic(args...) }
func (t *aTest) Error(args ...any) { log.Panic(args...) }
func (t *aTest) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }

func (t *aTest) TempDir() string {
	dir, err := os.MkdirTemp("", "doorward")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *aTest) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

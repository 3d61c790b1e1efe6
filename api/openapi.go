package api

import (
	"net/http"

	"doorward/gate"
)

// openAPI answers with the document of both contracts. It tells no more of the installation
// than a client needs to know: paths, and the name of the cookie.
func (a *api) openAPI(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	writeCacheable(w, r, a.document())
	return nil
}

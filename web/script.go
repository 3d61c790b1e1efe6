package web

import (
	_ "embed"
	"net/http"

	"doorward/gate"
)

//go:embed pages/page.js
var scriptSource []byte

// scriptPath is where the one script stands, after the prefix. The pages work without it.
const scriptPath = "/auth/page.js"

// showScript answers with the script.
func (h *web) showScript(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	return h.script.serve(w, r, "text/javascript; charset=utf-8")
}

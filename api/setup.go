package api

import (
	"fmt"
	"net/http"

	"doorward/gate"
)

// setupBody is what setup answers, for the document.
type setupBody struct {
	NeedsSetup bool `json:"needs_setup"`
}

// setup says whether the first user is still to be made.
func (a *api) setup(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	needs, err := a.Authority.NeedsSetup(r.Context())
	if err != nil {
		return err
	}
	// Written out rather than marshalled: the documented answer is this text, and scripts
	// look for it with grep.
	gate.WriteRaw(w, http.StatusOK, fmt.Sprintf("{\"needs_setup\": %t}\n", needs))
	return nil
}

func (a *api) noUsers(r *http.Request) (bool, error) { return a.Authority.NeedsSetup(r.Context()) }

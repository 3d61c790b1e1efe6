package api

import (
	"net/http"
	"time"

	"doorward/gate"
)

// standingBody is a user and how the account stands. What is not so is null.
type standingBody struct {
	userBody
	MustChange   bool       `json:"must_change"`
	NoPassword   bool       `json:"no_password"` // none was chosen yet
	LockedUntil  *time.Time `json:"locked_until"`
	InvitedUntil *time.Time `json:"invited_until"`
}

// showUser says who a user is and how the account stands.
func (a *api) showUser(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	u, st, err := a.Authority.FindUser(r.Context(), p.Caller(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, standingBody{bodyOf(u), u.MustChange, st.NoPassword, when(st.LockedUntil), when(st.InvitedUntil)})
	return nil
}

// unlockUser ends the lock that wrong passwords have put on an account.
func (a *api) unlockUser(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := a.Authority.UnlockUser(r.Context(), p.Caller(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

package web

import (
	"net/http"

	"doorward/gate"
)

type signingView struct {
	Keys       []signingRow
	NoRotation string // why they cannot be rotated here; empty where they can
	Rotate     string
	RotateNow  string
}

type signingRow struct {
	KeyID, Algorithm, Use string
	Signs                 bool
	Since, Until          stamp
}

func (h *web) signingPath(rest string) string { return h.adminPath("/signing" + rest) }

// showSigning lists which keys sign and verify.
func (h *web) showSigning(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	ring, err := h.Authority.SigningKeys(r.Context(), p.Caller(r))
	if err != nil {
		return err
	}
	v := signingView{Rotate: h.signingPath("/rotate"), RotateNow: h.signingPath("/rotate-now")}
	if ring.NoRotation != "" {
		v.NoRotation = sentence(ring.NoRotation)
	}
	for _, k := range ring.Keys {
		v.Keys = append(v.Keys, signingRow{k.KeyID, string(k.Algorithm), k.Use, k.Signs, stampOf(k.Since), stampOf(k.Until)})
	}
	return h.framed(w, r, p, http.StatusOK, "signing", h.signingPath(""), view{Title: "Signing keys", Content: v})
}

// askRotate asks once, and says what will happen.
func (h *web) askRotate(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.ask(w, r, p, h.signingPath(""), question{
		Title: "Let new keys sign?", Button: "Rotate the keys", Action: h.signingPath("/rotate"),
		Will: "Everything that is signed from now on is signed with new keys. What the ones before have signed stays good until it expires, so nobody is signed out. Services that verify with the shared secret need the new one.",
	})
}

func (h *web) rotate(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	if _, err := h.Authority.RotateKeys(r.Context(), p.Caller(r), false); err != nil {
		return err
	}
	return doneAt(w, h.signingPath(""), "keys-rotated")
}

// askRotateNow asks once, and says what will happen.
func (h *web) askRotateNow(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.ask(w, r, p, h.signingPath(""), question{
		Title: "Sign everybody out?", Button: "Rotate, and sign everybody out", Action: h.signingPath("/rotate-now"),
		Will: "New keys sign from now on, and whatever was signed before is refused at once: every person and every machine must sign in again, you among them. This is for a secret that somebody else may have.",
	})
}

func (h *web) rotateNow(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	if _, err := h.Authority.RotateKeys(r.Context(), p.Caller(r), true); err != nil {
		return err
	}
	return h.signedOut(w, p)
}

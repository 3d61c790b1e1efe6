package api

import (
	"net/http"
	"time"

	"doorward"
	"doorward/gate"
)

type signingKeyBody struct {
	KeyID     string     `json:"kid"`
	Algorithm string     `json:"algorithm"`
	Use       string     `json:"use"`
	Signs     bool       `json:"signs"`           // else it only verifies
	Since     *time.Time `json:"since" is:"Time"` // null where the audit log does not say
	Until     *time.Time `json:"until" is:"Time"` // null for no end
}

// rotatedBody is what a rotation came to, here and on the command line.
type rotatedBody struct {
	KeyID    string            `json:"kid"`                 // of the secret, which signs from now on; empty where it stays
	KeyPairs []string          `json:"key_pairs,omitempty"` // the kids of those that sign from now on
	Previous []acceptedKeyBody `json:"previous"`            // what these have signed is still accepted
}

type acceptedKeyBody struct {
	KeyID string    `json:"kid"`
	Until time.Time `json:"until" is:"Time"`
}

// RotatedBody is r as it is marshalled.
func RotatedBody(r doorward.Rotated) any {
	b := rotatedBody{KeyID: r.KeyID, KeyPairs: r.KeyPairs, Previous: []acceptedKeyBody{}}
	for _, k := range r.Previous {
		b.Previous = append(b.Previous, acceptedKeyBody(k))
	}
	return b
}

type signingKeysBody struct {
	Keys       []signingKeyBody `json:"keys"`
	NoRotation string           `json:"no_rotation"` // why they cannot be rotated here; empty where they can
}

// signingKeys lists what signs and verifies on this server.
func (a *api) signingKeys(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if _, err := single(r); err != nil {
		return err
	}
	ring, err := a.Authority.SigningKeys(r.Context(), p.Caller(r))
	if err != nil {
		return err
	}
	body := signingKeysBody{Keys: []signingKeyBody{}, NoRotation: ring.NoRotation}
	for _, k := range ring.Keys {
		body.Keys = append(body.Keys, signingKeyBody{k.KeyID, string(k.Algorithm), k.Use, k.Signs, when(k.Since), when(k.Until)})
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

// rotateSigningKeys makes new keys sign. Whether everybody is signed out must be said.
func (a *api) rotateSigningKeys(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	o, err := readJSON(w, r)
	if err != nil {
		return err
	}
	atOnce, err := o.flag("now")
	if err != nil {
		return err
	}
	if atOnce == nil {
		return doorward.Invalid("now", "is required: true signs everybody out, false nobody")
	}
	done, err := a.Authority.RotateKeys(r.Context(), p.Caller(r), *atOnce)
	if err != nil {
		return err
	}
	gate.WriteJSON(w, http.StatusOK, RotatedBody(done))
	return nil
}

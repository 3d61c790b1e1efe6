package door

import (
	"context"
	"net/http"

	"doorward"
	"doorward/gate"
)

// passed is what the door knows of a request that a wrapped handler answers.
type passed struct {
	gate *gate.Gate
	pass *gate.Pass
	sent *http.Request // as the client sent it
}

type passedKey struct{}

// From says who asks, in a handler that Wrap was given. ok is false where that is nobody in
// particular: on a public route without a credential, where the door stands open, and
// where there is no door at all. The workspace in which the request acts is Identity.Workspace.
func From(ctx context.Context) (id doorward.Identity, ok bool) {
	in, ok := ctx.Value(passedKey{}).(*passed)
	if !ok || in.pass.Identity.IsZero() || in.pass.Identity.Kind == doorward.KindAnonymous {
		return doorward.Identity{}, false
	}
	return in.pass.Identity, true
}

// Require asks more for one handler within Wrap than the route of its requests does: a
// caller of this role or above. Whoever is less is refused as the door itself refuses:
// 403, or for nobody 401, in JSON, and a browser is led to the sign-in page. Where there is
// no door in front everybody is refused.
//
//	mux.Handle("DELETE /books/{id}", door.Require(doorward.Admin)(remove))
func Require(role doorward.Role) func(http.Handler) http.Handler {
	return RequireNeed(doorward.NeedRole(role))
}

// RequireNeed is Require for any need: doorward.NeedPerson lets no machine through, say.
func RequireNeed(need doorward.Need) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, _ := From(r.Context())
			err := need.Admit(id)
			if err == nil {
				next.ServeHTTP(w, r)
				return
			}
			in, ok := r.Context().Value(passedKey{}).(*passed)
			if !ok {
				w.Header().Set("WWW-Authenticate", "Bearer")
				gate.Fail(w, http.StatusUnauthorized, doorward.ErrTokenRequired.Message)
				return
			}
			in.gate.Refuse(w, in.sent, in.pass, "the handler needs "+need.String(), err)
		})
	}
}

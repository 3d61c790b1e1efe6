package gate

import (
	"net/http"

	"doorward"
)

// defaultNeed is what the service behind asks where no rule says otherwise: reading needs
// a viewer, all else an editor; so a viewer is read-only.
func defaultNeed(method string) doorward.Need {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return needViewer
	}
	return needEditor
}

var (
	needViewer = doorward.NeedRole(doorward.Viewer)
	needEditor = doorward.NeedRole(doorward.Editor)
)

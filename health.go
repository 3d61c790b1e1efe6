package doorward

// HealthReport says whether a server can do its work, part by part.
type HealthReport struct {
	Version    string
	Components []ComponentHealth
	Warnings   []string // what the operator should know
}

// ComponentHealth is one thing that the work depends on.
type ComponentHealth struct {
	Name     string
	Problem  string // as strangers may know it; empty while it can be used
	Optional bool   // the server is not called down without it
}

// OK reports whether the server can do its work.
func (h HealthReport) OK() bool {
	for _, c := range h.Components {
		if c.Problem != "" && !c.Optional {
			return false
		}
	}
	return true
}

package app

import (
	"fmt"

	frontdoor "doorward/door"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints which program this is.
func (c *versionCmd) Run(p *program) error {
	if c.JSON {
		return p.printJSON(map[string]string{"name": "doorward", "version": frontdoor.Version()})
	}
	_, err := fmt.Fprintln(p.Out, "doorward", frontdoor.Version())
	return err
}

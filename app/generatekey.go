package app

import (
	"fmt"

	"doorward"
)

type generateKeyCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints a new API key and nothing else, so that the output can be used as it is.
// The key is stored nowhere.
func (c *generateKeyCmd) Run(p *program, src *sources) error {
	s, err := loadOnly("names.key_prefix", *src)
	if err != nil {
		return err
	}
	key, err := doorward.NewAPIKey(s.KeyPrefix, p.random)
	if err != nil {
		return err
	}
	if c.JSON {
		return p.printJSON(map[string]string{"key": key})
	}
	_, err = fmt.Fprintln(p.Out, key)
	return err
}

// takes: of all settings a key depends on its prefix alone.
func (*generateKeyCmd) takes(key string) bool { return key == "names.key_prefix" }

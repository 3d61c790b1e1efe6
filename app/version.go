package app

import (
	"fmt"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints which program this is.
func (c *versionCmd) Run(p *program) error {
	if c.JSON {
		return p.printJSON(map[string]string{"name": "doorward", "version": version()})
	}
	_, err := fmt.Fprintln(p.Out, "doorward", version())
	return err
}

// version is that of the module which the program was built from, or dev.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return moduleVersion(info)
}

// moduleVersion finds the version in a build of ours and in one that embeds us.
func moduleVersion(info *debug.BuildInfo) string {
	modules := append([]*debug.Module{&info.Main}, info.Deps...)
	for _, m := range modules {
		if m.Path == "doorward" && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "dev"
}

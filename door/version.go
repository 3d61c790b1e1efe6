package door

import "runtime/debug"

// Version is that of the module doorward in this program, or dev.
func Version() string {
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

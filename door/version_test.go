package door

import (
	"runtime/debug"
	"testing"
)

func TestModuleVersion(t *testing.T) {
	t.Parallel()
	for want, info := range map[string]*debug.BuildInfo{
		"v1.2.3": {Main: debug.Module{Path: "doorward", Version: "v1.2.3"}},
		"v1.2.4": {Main: debug.Module{Path: "example.com/app", Version: "v9.9.9"}, Deps: []*debug.Module{{Path: "doorward", Version: "v1.2.4"}}},
		"dev":    {Main: debug.Module{Path: "doorward", Version: "(devel)"}},
	} {
		if got := moduleVersion(info); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := moduleVersion(&debug.BuildInfo{}); got != "dev" {
		t.Errorf("without information the version is %s", got)
	}
}

package doorward_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed is the picture of the house: which room may import which. Growth goes up and
// sideways; the ground never learns the name of anything above it.
var allowed = map[string][]string{
	"doorward":              {},
	"doorward/gate":         {"doorward"},
	"doorward/proxy":        {"doorward"},
	"doorward/store":        {"doorward"},
	"doorward/safe":         {"doorward"},
	"doorward/storetest":    {"doorward"},
	"doorward/pgtest":       {}, // throwaway PostgreSQL servers, for the tests of store and app; it knows nothing of us
	"doorward/sample":       {},
	"doorward/api":          {"doorward", "doorward/gate"},
	"doorward/web":          {"doorward", "doorward/gate"},
	"doorward/door":         {"doorward", "doorward/gate", "doorward/proxy", "doorward/store", "doorward/safe", "doorward/api", "doorward/web"},
	"doorward/doorwardtest": {"doorward", "doorward/door"},
	"doorward/app":          {"doorward", "doorward/gate", "doorward/proxy", "doorward/store", "doorward/safe", "doorward/sample", "doorward/api", "doorward/door"},
	"doorward/cmd/doorward": {"doorward/app"},
	"doorward/cmd/broked":   {"doorward/app"},
}

// forbidden are the doors that a room must not use, whoever else does.
var forbidden = map[string][]string{
	"doorward":        {"net/http", "database/sql"},
	"doorward/gate":   {"database/sql"},
	"doorward/proxy":  {"database/sql"},
	"doorward/api":    {"database/sql"},
	"doorward/web":    {"database/sql"},
	"doorward/sample": {"database/sql"},
	"doorward/store":  {"net/http"},
	"doorward/safe":   {"net/http", "database/sql"},
}

func TestTheHouseHasFourFloors(t *testing.T) {
	t.Parallel()
	rooms := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bench" || d.Name() == "examples" || d.Name() == "testdata"):
			return filepath.SkipDir // bench and examples are modules of their own
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		room := filepath.ToSlash(filepath.Join("doorward", filepath.Dir(path)))
		rooms[room] = true
		edges, known := allowed[room]
		if !known {
			t.Errorf("%s: the room %s is not in the picture; say in house_test.go what it may import", path, room)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			ours := name == "doorward" || strings.HasPrefix(name, "doorward/")
			if ours && !slices.Contains(edges, name) || slices.Contains(forbidden[room], name) {
				t.Errorf("%s imports %s: %s may import of ours only %v, and never %v", path, name, room, edges, forbidden[room])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room := range allowed {
		if !rooms[room] {
			t.Errorf("the picture shows %s, which is not built", room)
		}
	}
}

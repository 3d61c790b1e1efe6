package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestEveryActionHasWords reads from the source what is written into the audit log, by the verbs and by
// the command line, and wants words for each action: nobody reads noun.verb on a page.
func TestEveryActionHasWords(t *testing.T) {
	t.Parallel()
	written := map[string]string{} // action, and where
	constants := map[string]string{}
	var calls []*ast.CallExpr
	files := token.NewFileSet()
	for _, dir := range []string{"..", "../app", "../safe", "../door"} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(files, name, source, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec:
					for i, id := range n.Names {
						if i < len(n.Values) {
							if v, ok := n.Values[i].(*ast.BasicLit); ok && strings.HasPrefix(id.Name, "Action") {
								constants[id.Name], _ = strconv.Unquote(v.Value)
							}
						}
					}
				case *ast.CallExpr:
					if name := called(n); (name == "Audit" || name == "auditByHand") && len(n.Args) == 3 {
						calls = append(calls, n)
					}
				}
				return true
			})
		}
	}
	for _, c := range calls {
		at := files.Position(c.Pos()).String()
		switch action := c.Args[0].(type) {
		case *ast.BasicLit:
			s, _ := strconv.Unquote(action.Value)
			written[s] = at
		case *ast.Ident:
			written[constants[action.Name]] = at
		case *ast.SelectorExpr:
			written[constants[action.Sel.Name]] = at
		}
	}
	for _, a := range constants {
		written[a] = "a constant"
	}
	if len(written) < 20 {
		t.Fatalf("only %d actions were found: %v", len(written), written)
	}
	for action, at := range written {
		if action == "" {
			continue // handed on from a caller, who is among the others
		}
		if actions[action] == "" {
			t.Errorf("%s: the action %s has no words; add some to actions in activity.go", at, action)
		}
	}
}

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

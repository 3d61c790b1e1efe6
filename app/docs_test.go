package app

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigurationPageIsUpToDate(t *testing.T) {
	t.Parallel()
	status, page, stderr := runProgram(t, nil, "config", "--markdown")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, %s", status, stderr)
	}
	golden(t, filepath.Join("..", "docs", "configuration.md"), page)
}

func TestConfigurationPageNamesEverySettingAndDocumentedVariable(t *testing.T) {
	t.Parallel()
	page := configurationPage()
	for _, s := range new(Settings).rows() {
		if !strings.Contains(page, "\n| `"+s.key+"` |") {
			t.Errorf("%s is not in the table", s.key)
		}
		for _, d := range s.documented {
			_, rows, _ := strings.Cut(page, "## Variables of the programs")
			if !strings.Contains(rows, "`"+d+"`") {
				t.Errorf("%s is not among the documented variables", d)
			}
		}
	}
}

package safe

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"doorward"
)

// TestTheFileOfPreviousSecretsIsReadAsItWasWritten, with its ends, and where there is none.
func TestTheFileOfPreviousSecretsIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "previous")
	if got, err := ReadPrevious(path); err != nil || got != nil {
		t.Errorf("of none: %v, %v", got, err)
	}
	owner, err := os.Stat(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		var want []doorward.SigningKey
		for i := range n {
			want = append(want, doorward.SigningKey{
				Secret: doorward.Secret(fmt.Sprintf("a secret of 32 bytes or more, number %d \x00\n\xff", i)),
				Until:  time.Unix(1_900_000_000+int64(i), 0).UTC(),
			})
		}
		if err := writePrevious(path, want, owner); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPrevious(path)
		if err != nil || len(got) != n {
			t.Fatalf("%v, %v", got, err)
		}
		for i := range got {
			if !bytes.Equal(got[i].Secret, want[i].Secret) || !got[i].Until.Equal(want[i].Until) {
				t.Errorf("number %d is read as another", i+1)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
}

package app

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// columns returns what prints a line of a table. The widths of row are fixed, since nobody
// knows the widest before the last; what varies is at the end.
func columns(out io.Writer, row string) func(...any) error {
	return func(columns ...any) error {
		_, err := fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf(row, columns...), " "))
		return err
	}
}

// listJSON prints one object with what each yields under name, one a line, as it is read.
// What broke off is not JSON.
func listJSON(out io.Writer, name string, each func(yield func(any) error) error) error {
	begin := fmt.Sprintf(`{"%s":[`, name)
	before := begin + "\n"
	err := each(func(one any) error {
		b, err := json.Marshal(one)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s%s", before, b)
		before = ",\n"
		return err
	})
	if err != nil {
		return err
	}
	if before != ",\n" {
		_, err = fmt.Fprintln(out, begin+"]}")
		return err
	}
	_, err = fmt.Fprintln(out, "\n]}")
	return err
}

package doorward

import "fmt"

var _ fmt.Stringer = Secret(nil)

// Secret is bytes that must not be printed: however it is formatted, logged or
// marshalled, it comes out as ***.
type Secret []byte

// String returns ***.
func (Secret) String() string { return "***" }

// GoString returns ***, for %#v.
func (Secret) GoString() string { return "***" }

// Format prints *** for every verb, %x included.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

// MarshalText returns ***, so that no encoder can leak it.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

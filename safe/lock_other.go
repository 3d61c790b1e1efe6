//go:build !unix

package safe

import "context"

// Lock does nothing where there is no flock: there the secret is to be rotated by one at a time,
// and while no server starts.
func Lock(context.Context, string) (unlock func(), err error) {
	return func() {}, nil
}

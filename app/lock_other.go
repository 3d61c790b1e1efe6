//go:build !unix

package app

import "context"

// lockDatabase does nothing where there is no flock: there nobody keeps a second server
// from the same file, and both would be told late of what the other revokes.
func lockDatabase(string) (unlock func() error, err error) {
	return func() error { return nil }, nil
}

// lockSecrets does nothing either: there the secret is to be rotated by one at a time.
func lockSecrets(context.Context, string) (unlock func(), err error) {
	return func() {}, nil
}

// Package safe is where the secrets are that sign tokens: the secret file and the files of
// key pairs, their lock, and their rotation. What it opens is a key ring; nothing that it
// reads leaves it in another form.
//
//	settings, else a file, else made anew --Open--> Safe --Ring--> doorward.KeyRing
//	                                                 |
//	                                            Reload, when the command line has rotated (rotate.go)
package safe

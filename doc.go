// Package doorward is the ground floor of Doorward, the door in front of an HTTP service:
// the nouns and the rules, and the Authority that applies them. It knows no HTTP and no SQL.
//
//	Presented --Authority.Authenticate--> Identity --Need.Admit--> yes or no
//
// A Go program that embeds Doorward begins with package door, which puts all the rooms together.
//
// Where to look:
//
//	who a request is          identity.go, authenticate.go, credential.go
//	what they may             role.go, need.go
//	tokens                    token.go (make), verify.go (read), keyring.go, jwtsecret.go
//	sessions                  session.go (and the refresh chain's table), exchange.go, refresh.go, signin.go, signout.go, seen.go, revocationset.go
//	people                    user.go, users.go, firstuser.go, password.go, passwordhash.go, changepassword.go, lockout.go
//	machines                  apikey.go, credential.go
//	what is kept, and how     store.go (the contract; package store keeps it, package storetest proves it)
//	what a client reads       error.go
package doorward

// Package app is the top floor: the one table of settings and its sources, the wiring,
// and the commands. cmd/doorward and cmd/broked are its name plates.
//
//	flags > environment > file > defaults     sources.go, yaml.go
//	   each through the setter of its row     settings.go, values.go, tokens.go
//	   then all of them together              check.go
//	   Settings                               serve.go and the other commands
package app

// Package door is Doorward for a Go program: one Door before its handlers, with sign-in,
// tokens, keys and pages mounted, and no other program beside it. The program doorward is
// built upon it too.
//
//	d, err := door.Open(ctx, door.Config{DataDir: "."})   // or New and Run, by those who want both apart
//	defer d.Close()
//	http.ListenAndServe("127.0.0.1:8080", d.Wrap(mux))
//
// From there up, each step as far as it is needed:
//
//	what it is made of       Config                      config.go
//	who asks, in a handler   From, Require, RequireNeed  who.go
//	the verbs                Door.Authority              open.go
//	a carrier of one's own   Door.Carrying, Door.Passage wrap.go
//	everything by hand       doorward.New, gate.New, api.Doors, web.Doors, proxy.Serve: the Example of this package
//
// Package doorwardtest is for the tests of who embeds; docs/library.md says the rest.
package door

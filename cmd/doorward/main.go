// Command doorward stands at the door of an HTTP service and decides who gets in.
package main

import (
	"os"

	"doorward/app"
)

func main() { os.Exit(app.Main("doorward")) }

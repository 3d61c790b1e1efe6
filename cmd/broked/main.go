// Command broked is doorward under the name that Brokoli's page calls it by.
package main

import (
	"os"

	"doorward/app"
)

func main() { os.Exit(app.Main("broked")) }

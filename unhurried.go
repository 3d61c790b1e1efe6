package doorward

import "runtime"

// unhurried does work on a thread of its own, which steps back for all others, and returns
// when it is done. A hash keeps a core busy for 15 ms and more: on a thread like the others it
// makes who asks with a good token wait for the kernel's next turn, some milliseconds, each
// time that both want one core. The thread ends with the work (runtime.LockOSThread), since what
// has stepped back may not step forward again without privileges.
func unhurried(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if !stepBack() {
			defer runtime.UnlockOSThread()
			unhurried(work) // on another, since this one is taken
			return
		}
		work()
	}()
	<-done
}

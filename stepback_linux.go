package doorward

import "syscall"

// patience is the nice value of a thread that hashes. A weight of about a tenth of the others':
// it waits for them, and still gets on while they take all they can.
const patience = 10

// stepBack lowers the priority of the calling thread. On Linux it is a thread's own
// (setpriority(2), under "C library/kernel differences"); lowering it is always allowed, and should it
// not be, the work is done all the same. It is false for the first thread of the process, which
// Go cannot end and by whose priority the process goes in every list of processes.
func stepBack() bool {
	if syscall.Gettid() == syscall.Getpid() {
		return false
	}
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, patience)
	return true
}

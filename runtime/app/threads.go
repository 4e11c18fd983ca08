package app

import (
	"fmt"
	"runtime"
)

// cpus is how many CPUs this process may use: its affinity and its control group count. Tests replace it.
var cpus = runtime.GOMAXPROCS(0)

// workers is how many threads run where n are asked for: more than CPUs would only wait for each other,
// at every barrier of a step. It says so once. 0 is the engine's choice.
func (a *app) workers(n int) int {
	if n <= cpus {
		return n
	}
	if !a.fewer {
		a.fewer = true
		fmt.Fprintf(a.Stderr, "%s: %d threads on %d CPUs: %d run\n", a.Name, n, cpus, cpus)
	}
	return cpus
}

//go:build !amd64

package vec

// ForTarget is the table of a target of package cpu: there is none here.
func ForTarget(string) *Funcs { return nil }

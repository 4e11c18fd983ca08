// Package generated holds what the compiler writes for a very small model, so
// that it can be read without compiling one and a change of the compiler shows
// as a change of its output:
//
//	tiny/model.txt     the model, as runtime/gguf/synth reads it
//	tiny/machine.qir   the machine that it is compiled for
//	tiny/graph.qir     the module as imported
//	tiny/plan.qir      after all passes, with places in the arena
//	tiny/stats.json    the module in numbers after each pass
//	tiny/*.go          the emitted program
//
// The weights are not here: qnc compile packs them beside the program.
package generated

//go:generate go test ../compiler -run Fresh -update

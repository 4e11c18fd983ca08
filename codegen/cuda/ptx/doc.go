// Package ptx interprets PTX, the text that CUDA compilers write: it runs a kernel
// over byte buffers without a GPU, a driver or a C++ compiler, so that what ships is
// tested and not only what it was compiled from.
//
// # Execution
//
// A warp executes an instruction for all of its lanes that stand at it. Lanes that
// took different branches are groups; the group at the smallest instruction runs
// until it reaches another one, and they go on together. An instruction of a warp
// (shuffle, vote, mma, barrier) waits until every lane that it names has come: the
// layout of blocks that a compiler chose need not make lanes meet. Warps take turns,
// blocks run one after the other, or all together in a cooperative launch; Schedule
// chooses among orders on which results must not depend.
//
// A register of n bits is held as an unsigned number below 2^n, a predicate as one
// bit a lane. Registers and shared memory begin with a pattern that is no plausible
// value, and so does the target of an asynchronous copy until its wait.
//
// # Memory
//
// A buffer has an address range of its own, so that an access beyond its end, through
// a null pointer or at a misaligned address is an error that names the instruction,
// the thread, the buffer and the offset.
//
// # Arithmetic
//
// Integers and IEEE operations give the bits of the hardware, NaN the canonical one.
// Tensor-core products of floats are summed in float64 along K and rounded once, which
// the hardware does not promise; operations that PTX calls approximate (ex2.approx,
// div.full, …) are rounded correctly, which hardware need not.
//
// # What is not there
//
// Function calls, textures, mbarriers, bulk copies, wgmma and tcgen05, weak memory
// order. An instruction or modifier that is not known is an error that names it:
// nothing is skipped silently. The table of instructions is opcodes.
package ptx

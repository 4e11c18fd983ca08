package ptx

import (
	"fmt"
	"slices"
)

// A Module is a parsed text.
type Module struct {
	Major, Minor int    // version of PTX
	Target       string // sm_80
	Kernels      []*Kernel
	globals      []*variable // .global and .const; buffer i+1 of a machine
	shared       uint64      // bytes of the module's own shared variables
}

// Kernel finds an entry point by its name.
func (m *Module) Kernel(name string) (*Kernel, error) {
	i := slices.IndexFunc(m.Kernels, func(k *Kernel) bool { return k.Name == name })
	if i < 0 {
		var have []string
		for _, k := range m.Kernels {
			have = append(have, k.Name)
		}
		return nil, fmt.Errorf("no kernel %s: the module has %v", name, have)
	}
	return m.Kernels[i], nil
}

// A Kernel is an entry point.
type Kernel struct {
	Name       string
	Params     []Param
	Shared     int // static bytes of a block
	MaxThreads int // of a block; 0: no bound was given

	reqThreads int // of a block, exactly; 0: free
	paramBytes int
	local      int // bytes of a thread
	body       []stmt
	regs       []register
	preds      int // number of predicate registers
	decoded    *program
}

// A Param is a parameter of a kernel.
type Param struct {
	Name   string
	Size   int // bytes
	Offset int // in the parameter block
}

// A register is what was declared; predicates are numbered apart.
type register struct {
	name string
	bits int
}

// A variable is memory with a name.
type variable struct {
	name   string
	space  string // global, const, shared, local, param
	offset uint64 // in its space; of global and const: the address
	size   uint64
	extern bool // shared memory whose size the launch gives
	init   []byte
}

// A stmt is an instruction whose names have been resolved.
type stmt struct {
	line   int
	text   string
	op     string // with all modifiers
	args   []operand
	guard  int // predicate, or -1
	not    bool
	target int // of a branch, an index of the body
}

type operandKind uint8

const (
	kindReg operandKind = iota
	kindPred
	kindInt
	kindFloat   // val: bits of a float32
	kindDouble  // val: bits of a float64
	kindSpecial // name: %tid.x
	kindVar
	kindList  // {a, b}
	kindAddr  // [a+off]
	kindPair  // p|q
	kindSink  // _
	kindLabel // of a branch
)

type operand struct {
	kind operandKind
	reg  int // register or predicate
	not  bool
	val  uint64
	off  int64
	name string
	v    *variable
	list []operand // of kindAddr: the base
}

package passes

import (
	"fmt"
	"strings"

	"qnc/ir"
)

// cse keeps the first of equal values. Loads are equal while their state is
// not written in between; writes are never joined.
func cse(m *ir.Module, f *ir.Func, t *Target) error {
	id := make(map[*ir.Value]int, len(f.Body))
	number := func(v *ir.Value) int {
		n, ok := id[v]
		if !ok {
			n = len(id)
			id[v] = n
		}
		return n
	}
	writes := map[*ir.Value]int{}
	first := make(map[string]*ir.Value, len(f.Body))
	same := map[*ir.Value]*ir.Value{}
	var key strings.Builder
	for _, v := range f.Body {
		for i, a := range v.Args {
			if s := same[a]; s != nil {
				v.Args[i] = s
			}
		}
		if v.Effect()&ir.WritesState != 0 {
			writes[v.Args[0]]++
			continue
		}
		key.Reset()
		fmt.Fprint(&key, v.Op)
		args := v.Args
		if (v.Op == ir.OpAdd || v.Op == ir.OpMul) && number(args[0]) > number(args[1]) {
			args = []*ir.Value{args[1], args[0]}
		}
		for _, a := range args {
			fmt.Fprint(&key, " ", number(a))
		}
		for _, a := range v.Attr {
			fmt.Fprint(&key, " ", a.Name, "=", a.Val)
		}
		if v.Effect() == ir.ReadsState {
			fmt.Fprint(&key, " after ", writes[v.Args[0]])
		}
		if k := key.String(); first[k] != nil {
			same[v] = first[k]
		} else {
			first[k] = v
		}
	}
	f.ReplaceAll(same)
	f.Sweep()
	return nil
}

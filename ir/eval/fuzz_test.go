package eval

import (
	"testing"

	"qnc/ir"
)

// FuzzRun: whatever Verify accepts runs or ends in an error.
func FuzzRun(f *testing.F) {
	const head = "module m level=graph {\n\tweight @w : f32[8,4]\n\tstate @s : f32[S,3,8]\n\tstate @c : q8_0[S,6,2,32]\n}\n\nfunc f(%x: f32[T,8], %pos: i32[T], %seq: i32[T]) {\n"
	for _, body := range []string{
		"%o = load @s, %seq : f32[3,8]\n%y = concat %o, %x {axis=0} : f32[T+3,8]\n%c = conv %y, @w : f32[T,8]\n%l = slice %y {axis=0 start=T len=3} : f32[3,8]\nstore @s, %l, %seq\nreturn %c",
		"%y = topk_moe %x {k=2 norm=1 min=1e-5 scale=1} : (f32[T,2], i32[T,2])\n%z = part %y {i=1} : i32[T,2]\nreturn %z",
		"%p = pad %x {axis=0 len=64*ceildiv(T,64)} : f32[64*ceildiv(T,64),8]\n%r = repeat %p {axis=1 n=4 map=tiled} : f32[64*ceildiv(T,64),32]\n%q = reshape %r {shape=ceildiv(T,64),64,32} : f32[ceildiv(T,64),64,32]\n%v = permute %q {perm=2,0,1} : f32[32,ceildiv(T,64),64]\nreturn %v",
		"%r = repeat %x {axis=1 n=8 map=interleaved} : f32[T,64]\n%h = reshape %r {shape=T,2,32} : f32[T,2,32]\nstore_rows @c, %h, %pos, %seq\n%k = load_rows @c, %seq : q8_0[C,2,32]\n%a = attention %h, %k, %k, %pos {scale=1} : f32[T,2,32]\nreturn %a",
		"%h = reshape %x {shape=T,2,4} : f32[T,2,4]\n%r = rope %h, %pos {dims=4 base=10} : f32[T,2,4]\n%g = get_rows %x, %pos : f32[T,8]\n%m = matmul %x, %g : f32[T,T]\n%t = tri %m {keep=lower} : f32[T,T]\n%s = solve_tri %t, %x : f32[T,8]\nreturn %s, %r",
	} {
		f.Add(head+body+"\n}\n", 3)
	}
	f.Fuzz(func(t *testing.T, src string, tokens int) {
		m, err := ir.Parse(src)
		if err != nil || m.Verify() != nil {
			return
		}
		e := &Env{Sizes: ir.Sizes{"T": tokens, "R": 1, "S": 2, "C": 5}, MaxElems: 1 << 12}
		e.Weight = func(v *ir.Value) (Tensor, error) {
			shape, err := e.shape(v.Type)
			if err != nil {
				return Tensor{}, err
			}
			return New(shape...), nil
		}
		for _, fn := range m.Funcs {
			var params []Tensor
			for _, p := range fn.Params {
				shape, err := e.shape(p.Type)
				if err != nil {
					return
				}
				x := New(shape...)
				for i := range x.Data {
					x.Data[i] = float32(i % 5)
				}
				params = append(params, x)
			}
			if _, err := e.Run(fn, params); err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
		}
	})
}

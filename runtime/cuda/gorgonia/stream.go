//go:build gorgonia && linux && amd64

package gorgonia

/*
#include <cuda.h>

// Up to 64 arguments of 8 bytes each.
static CUresult cooperative(CUfunction f, const unsigned *grid, const unsigned *block, unsigned shared, CUstream s, unsigned long long *args, int n) {
	void *p[64];
	for (int i = 0; i < n; i++) p[i] = &args[i];
	return cuLaunchCooperativeKernel(f, grid[0], grid[1], grid[2], block[0], block[1], block[2], shared, s, p);
}
*/
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"

	"qnc/runtime/cuda"
	"qnc/runtime/fault"
)

func (d *driver) NewStream() (cuda.Stream, error) {
	s, err := cu.MakeStream(cu.NonBlocking)
	return as[cuda.Stream](s), check("cuStreamCreate", err)
}

func (d *driver) DestroyStream(s cuda.Stream) error {
	x := as[cu.Stream](s)
	return check("cuStreamDestroy", x.Destroy())
}

func (d *driver) Synchronize(s cuda.Stream) error {
	return check("cuStreamSynchronize", as[cu.Stream](s).Synchronize())
}

func (d *driver) NewEvent() (cuda.Event, error) {
	e, err := cu.MakeEvent(cu.DefaultEvent)
	return as[cuda.Event](e), check("cuEventCreate", err)
}

func (d *driver) DestroyEvent(e cuda.Event) error {
	x := as[cu.Event](e)
	return check("cuEventDestroy", cu.DestroyEvent(&x))
}

func (d *driver) Record(e cuda.Event, s cuda.Stream) error {
	return check("cuEventRecord", as[cu.Event](e).Record(as[cu.Stream](s)))
}

func (d *driver) Wait(s cuda.Stream, e cuda.Event) error {
	return check("cuStreamWaitEvent", as[cu.Stream](s).Wait(as[cu.Event](e), 0))
}

func (d *driver) SynchronizeEvent(e cuda.Event) error {
	return check("cuEventSynchronize", as[cu.Event](e).Synchronize())
}

func (d *driver) Elapsed(from, to cuda.Event) (float32, error) {
	ms, err := as[cu.Event](from).Elapsed(as[cu.Event](to))
	return float32(ms), check("cuEventElapsedTime", err)
}

// maxArgs is what both kinds of launch take.
const maxArgs = 64

func (d *driver) Launch(l *cuda.Launch, s cuda.Stream) error {
	if len(l.Args) > maxArgs {
		return fault.New(fault.Failure, "BUG: a kernel of %d arguments", len(l.Args))
	}
	if l.Cooperative {
		return code("cuLaunchCooperativeKernel", C.cooperative(as[C.CUfunction](l.Function), (*C.uint)(&l.Grid[0]), (*C.uint)(&l.Block[0]), C.uint(l.Shared), as[C.CUstream](s),
			(*C.ulonglong)(unsafe.SliceData(l.Args)), C.int(len(l.Args))))
	}
	d.args = d.args[:0]
	for i := range l.Args {
		d.args = append(d.args, unsafe.Pointer(&l.Args[i]))
	}
	g, b := l.Grid, l.Block
	return check("cuLaunchKernel", as[cu.Function](l.Function).Launch(int(g[0]), int(g[1]), int(g[2]), int(b[0]), int(b[1]), int(b[2]), int(l.Shared), as[cu.Stream](s), d.args))
}

func (d *driver) BeginCapture(s cuda.Stream) error {
	return code("cuStreamBeginCapture", C.cuStreamBeginCapture(as[C.CUstream](s), C.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
}

func (d *driver) EndCapture(s cuda.Stream) (cuda.Graph, error) {
	var g C.CUgraph
	err := code("cuStreamEndCapture", C.cuStreamEndCapture(as[C.CUstream](s), &g))
	return as[cuda.Graph](g), err
}

func (d *driver) Instantiate(g cuda.Graph) (cuda.Exec, error) {
	var x C.CUgraphExec
	err := code("cuGraphInstantiateWithFlags", C.cuGraphInstantiateWithFlags(&x, as[C.CUgraph](g), 0))
	return as[cuda.Exec](x), err
}

func (d *driver) LaunchGraph(x cuda.Exec, s cuda.Stream) error {
	return code("cuGraphLaunch", C.cuGraphLaunch(as[C.CUgraphExec](x), as[C.CUstream](s)))
}

func (d *driver) DestroyGraph(g cuda.Graph) error {
	return check("cuGraphDestroy", as[cu.Graph](g).Destroy())
}

func (d *driver) DestroyExec(x cuda.Exec) error {
	return check("cuGraphExecDestroy", as[cu.ExecGraph](x).Destroy())
}

//go:build linux && (amd64 || arm64)

package libcuda

import (
	"unsafe"

	"qnc/runtime/cuda"
)

func (d *driver) NewStream() (cuda.Stream, error) {
	var s uintptr
	err := d.check("cuStreamCreate", d.StreamCreate(&s, cuda.StreamNonBlocking))
	return cuda.Stream(s), err
}

func (d *driver) DestroyStream(s cuda.Stream) error {
	return d.check("cuStreamDestroy", d.StreamDestroy(uintptr(s)))
}

func (d *driver) Synchronize(s cuda.Stream) error {
	return d.check("cuStreamSynchronize", d.StreamSync(uintptr(s)))
}

func (d *driver) NewEvent() (cuda.Event, error) {
	var e uintptr
	err := d.check("cuEventCreate", d.EventCreate(&e, 0))
	return cuda.Event(e), err
}

func (d *driver) DestroyEvent(e cuda.Event) error {
	return d.check("cuEventDestroy", d.EventDestroy(uintptr(e)))
}

func (d *driver) Record(e cuda.Event, s cuda.Stream) error {
	return d.check("cuEventRecord", d.EventRecord(uintptr(e), uintptr(s)))
}

func (d *driver) Wait(s cuda.Stream, e cuda.Event) error {
	return d.check("cuStreamWaitEvent", d.StreamWaitEvent(uintptr(s), uintptr(e), 0))
}

func (d *driver) SynchronizeEvent(e cuda.Event) error {
	return d.check("cuEventSynchronize", d.EventSync(uintptr(e)))
}

func (d *driver) Elapsed(from, to cuda.Event) (float32, error) {
	var ms float32
	err := d.check("cuEventElapsedTime", d.EventElapsed(&ms, uintptr(from), uintptr(to)))
	return ms, err
}

func (d *driver) Launch(l *cuda.Launch, s cuda.Stream) error {
	d.args = d.args[:0]
	for i := range l.Args {
		d.args = append(d.args, unsafe.Pointer(&l.Args[i]))
	}
	args := unsafe.SliceData(d.args)
	g, b := &l.Grid, &l.Block
	if l.Cooperative {
		return d.check("cuLaunchCooperativeKernel", d.LaunchCoop(uintptr(l.Function), g[0], g[1], g[2], b[0], b[1], b[2], l.Shared, uintptr(s), args))
	}
	return d.check("cuLaunchKernel", d.LaunchKernel(uintptr(l.Function), g[0], g[1], g[2], b[0], b[1], b[2], l.Shared, uintptr(s), args, nil))
}

func (d *driver) BeginCapture(s cuda.Stream) error {
	return d.check("cuStreamBeginCapture", d.entries.BeginCapture(uintptr(s), cuda.CaptureThreadLocal))
}

func (d *driver) EndCapture(s cuda.Stream) (cuda.Graph, error) {
	var g uintptr
	err := d.check("cuStreamEndCapture", d.entries.EndCapture(uintptr(s), &g))
	return cuda.Graph(g), err
}

func (d *driver) Instantiate(g cuda.Graph) (cuda.Exec, error) {
	var x uintptr
	err := d.check("cuGraphInstantiateWithFlags", d.GraphInstantiate(&x, uintptr(g), 0))
	return cuda.Exec(x), err
}

func (d *driver) LaunchGraph(x cuda.Exec, s cuda.Stream) error {
	return d.check("cuGraphLaunch", d.GraphLaunch(uintptr(x), uintptr(s)))
}

func (d *driver) DestroyGraph(g cuda.Graph) error {
	return d.check("cuGraphDestroy", d.GraphDestroy(uintptr(g)))
}

func (d *driver) DestroyExec(x cuda.Exec) error {
	return d.check("cuGraphExecDestroy", d.ExecDestroy(uintptr(x)))
}

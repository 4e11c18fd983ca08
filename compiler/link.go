package compiler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/version"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"qnc/codegen/cpu"
	"qnc/codegen/host"
	"qnc/codegen/tool"
	"qnc/ir"
	"qnc/runtime/fault"
	"qnc/runtime/gguf"
	"qnc/runtime/pack"
)

// needGo reports a Go toolchain that is missing or too old for the emitted module.
func needGo() error {
	const cure = "install Go 1.26 or newer (https://go.dev/dl)"
	if _, err := exec.LookPath("go"); err != nil {
		return fault.New(fault.Missing, "the Go toolchain is missing: go is not on the PATH; %s", cure)
	}
	cmd := exec.Command("go", "env", "GOVERSION")
	cmd.Env = buildEnv()
	tool.Group(cmd)
	out, err := cmd.Output()
	if err != nil {
		return fault.New(fault.Missing, "the Go toolchain does not run: go env: %w; %s", err, cure)
	}
	have := strings.TrimSpace(string(out))
	if version.IsValid(have) && version.Compare(have, "go"+host.GoVersion) < 0 { // others are development versions
		return fault.New(fault.Missing, "the Go toolchain is %s: too old; %s", have, cure)
	}
	return nil
}

// outPath is where the program goes: in a folder it has the model's name.
func outPath(out, model string) string {
	name := strings.TrimSuffix(filepath.Base(model), ".gguf")
	if out == "" {
		return name
	}
	st, err := os.Stat(out)
	if err == nil && st.IsDir() || os.IsPathSeparator(out[len(out)-1]) {
		return filepath.Join(out, name)
	}
	return out
}

// checkOut refuses a place where no program can stand, before any work is done.
func (j *job) checkOut() error {
	dir := filepath.Dir(j.o.Out)
	switch st, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Usage, "-o %s: there is no folder %s: make it (mkdir -p %s) or choose another place", j.o.Out, dir, tool.Quote(dir))
	case err != nil || !st.IsDir():
		return fault.New(fault.Usage, "-o %s: %s is no folder: choose another place", j.o.Out, dir)
	}
	if st, err := os.Stat(j.o.Out); err == nil && st.IsDir() {
		return fault.New(fault.Usage, "-o %s is a folder: give the program a name", j.o.Out)
	}
	probe, err := os.CreateTemp(dir, ".qnc-*")
	if err != nil {
		return fault.New(fault.Usage, "-o %s: the folder %s cannot be written to (%w): choose another place with -o", j.o.Out, dir, reason(err))
	}
	probe.Close()
	os.Remove(probe.Name())
	for _, out := range []string{j.o.Out, j.o.Out + ".weights"} {
		for _, in := range j.file.Paths() {
			a, aerr := os.Stat(out)
			b, berr := os.Stat(in)
			if aerr == nil && berr == nil && os.SameFile(a, b) {
				return fault.New(fault.Usage, "-o %s would replace the model %s: give the program another name", j.o.Out, in)
			}
		}
	}
	return nil
}

// moduleDir gives the folder of the emitted module with everything in it: that
// of --work, which stays, or a temporary one that cleanup removes.
func (j *job) moduleDir() (string, error) {
	if j.dir != "" {
		return j.dir, nil
	}
	dir, err := j.o.Work, error(nil)
	if dir == "" {
		if dir, err = os.MkdirTemp("", "qnc-build-"); err == nil {
			j.temp = dir
		}
	} else {
		dir, err = filepath.Abs(dir)
	}
	if err == nil {
		err = writeFiles(dir, j.files)
	}
	if err != nil {
		return "", fmt.Errorf("write the emitted module: %w", err)
	}
	j.dir = dir
	return dir, nil
}

// cleanup removes what is temporary.
func (j *job) cleanup() {
	if j.temp != "" {
		os.RemoveAll(j.temp)
	}
}

// link builds the program and packs the weights; both appear together or not at all.
func (j *job) link(ctx context.Context) error {
	out, err := filepath.Abs(j.o.Out)
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" && !strings.HasSuffix(out, ".exe") {
		out += ".exe"
	}
	if j.o.DryRun {
		j.dryLink(out)
		return nil
	}
	if err := needGo(); err != nil {
		return err
	}
	sections, err := j.sections()
	if err != nil {
		return err
	}
	dir, err := j.moduleDir()
	if err != nil {
		return err
	}

	// The build id is a digest of code and weights. So that the packing does not
	// wait for the compiler, a first build fills its cache at the same time; the
	// second only links.
	warm := make(chan error, 1)
	warmCtx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { warm <- j.goBuild(warmCtx, dir, filepath.Join(dir, "program"), "") }()

	j.bar.begin("packing")
	begin := time.Now()
	var id [32]byte
	var weights *pack.Pending
	if j.o.Embed {
		entries, herr := pack.Hash(ctx, sections, j.bar.update)
		err, id = herr, j.identify(entries)
	} else {
		weights, err = pack.Prepare(ctx, out+".weights", func(e []pack.Entry) [32]byte {
			id = j.identify(e)
			return id
		}, sections, j.bar.update)
	}
	took := time.Since(begin)
	defer weights.Abort()
	if err != nil {
		stop()
		<-warm
		return err
	}
	j.bar.begin("building")
	if err := <-warm; err != nil {
		return err
	}
	if j.o.Verbose && !j.o.Embed {
		var n int64
		for _, s := range sections {
			n += s.Size
		}
		j.logf("packed %d bytes in %.3f s, %.2f GB/s", n, took.Seconds(), float64(n)/1e9/max(took.Seconds(), 1e-9))
	}
	program, err := pack.Stage(out, 0o755)
	if err != nil {
		return err
	}
	defer program.Abort()
	if err := j.goBuild(ctx, dir, program.Temp, hex.EncodeToString(id[:])); err != nil {
		return err
	}
	j.res = Result{Program: out, Weights: out + ".weights", BuildID: hex.EncodeToString(id[:])}
	if j.o.Embed {
		j.bar.begin("embedding")
		whole, err := pack.PrepareEmbedded(ctx, program.Temp, out, id, sections, j.bar.update)
		if err != nil {
			return err
		}
		defer whole.Abort()
		j.res.Weights = ""
		return pack.Commit(whole)
	}
	return pack.Commit(weights, program)
}

// identify names the compile: a digest of the emitted module and of what was packed.
func (j *job) identify(entries []pack.Entry) (id [32]byte) {
	h := sha256.New()
	for _, f := range j.files {
		fmt.Fprintf(h, "%s %d\n", f.Name, len(f.Data))
		h.Write(f.Data)
	}
	for _, e := range entries {
		fmt.Fprintf(h, "%s %x\n", e.Name, e.SHA256)
	}
	h.Sum(id[:0])
	return id
}

// sections are the weights in the layout that the kernels read, and the metadata.
func (j *job) sections() ([]pack.Section, error) {
	meta, err := metadata(j.file)
	if err != nil {
		return nil, err
	}
	out := []pack.Section{{Name: "meta", Kind: pack.Meta, Size: int64(len(meta)), Write: func(w io.Writer) error {
		_, err := w.Write(meta)
		return err
	}}}
	for _, v := range j.m.Weights {
		t, ok := j.file.Tensor(source(v))
		if !ok {
			return nil, fmt.Errorf("BUG: weight %s comes from no tensor", v)
		}
		out = append(out, pack.Section{Name: v.Name, Kind: pack.Weight, Size: int64(cpu.WeightBytes(v)), Write: func(w io.Writer) error {
			return writeWeight(w, v, t)
		}})
	}
	return out, nil
}

// source is the name of the tensor that a weight comes from.
func source(v *ir.Value) string {
	if v.From != "" {
		return v.From
	}
	return v.Name
}

// writeWeight writes the rows of a weight in its layout, vectors widened to f32.
func writeWeight(out io.Writer, v *ir.Value, t *gguf.Tensor) error {
	w, err := cpu.NewPacker(out, v)
	if err != nil {
		return err
	}
	data := t.Bytes()
	if have, ok := ir.DTypeOfGGML(int(t.Type)); !ok || have != v.Type.DType {
		wide, err := widen(data, have, v)
		if err != nil {
			return err
		}
		data = wide
	}
	if v.Rows == nil {
		_, err := w.Write(data)
		return err
	}
	i := v.Type.DType.Info()
	row := (v.Type.Last().At(nil) + i.BlockElems - 1) / i.BlockElems * i.BlockBytes
	for _, r := range v.Rows {
		for g := range r.Groups {
			lo, hi := (r.Start+g*r.Stride)*row, (r.Start+g*r.Stride+r.Len)*row
			if lo < 0 || hi < lo || hi > len(data) {
				return fmt.Errorf("BUG: rows %d:%d of weight %s are outside its tensor", lo/row, hi/row, v)
			}
			if _, err := w.Write(data[lo:hi]); err != nil {
				return err
			}
		}
	}
	return nil
}

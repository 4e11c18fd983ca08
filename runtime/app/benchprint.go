package app

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A table is where the results of bench go, in one of the formats.
type table struct {
	w      io.Writer
	format *format
	cols   []column
	rows   int
}

type format struct {
	head func(*table, *machine)
	test func(*table, *machine, *test)
	foot func(*table, *machine)
}

// formats are the values of -o; "none" is not among them.
var formats = map[string]*format{
	"md":    {mdHead, mdTest, mdFoot},
	"csv":   {csvHead, csvTest, func(*table, *machine) {}},
	"json":  {jsonHead, jsonTest, jsonFoot},
	"jsonl": {func(*table, *machine) {}, jsonlTest, func(*table, *machine) {}},
}

// A benchField is one of llama-bench's fields of csv and json. Fields that
// cannot vary here have the value that llama-bench gives to a CPU run.
type benchField struct {
	name string
	val  func(*machine, *test) any
}

func constant(v any) func(*machine, *test) any { return func(*machine, *test) any { return v } }

var benchFields = []benchField{
	{"build_commit", func(m *machine, _ *test) any { return m.a.Info.Compiler }},
	{"build_number", constant(0)},
	{"cpu_info", func(m *machine, _ *test) any { return m.cpu }},
	{"gpu_info", constant("")},
	{"backends", constant(backend)},
	{"model_filename", func(m *machine, _ *test) any { return m.a.Info.SourceFile }},
	{"model_type", func(m *machine, _ *test) any { return m.modelType() }},
	{"model_size", func(m *machine, _ *test) any { return m.a.Info.WeightBytes }},
	{"model_n_params", func(m *machine, _ *test) any { return m.a.Info.Params }},
	{"n_batch", func(_ *machine, t *test) any { return t.batch }},
	{"n_ubatch", func(_ *machine, t *test) any { return t.ubatch }},
	{"n_threads", func(_ *machine, t *test) any { return t.threads }},
	{"cpu_mask", constant("0x0")},
	{"cpu_strict", constant(false)},
	{"poll", constant(50)},
	{"type_k", func(m *machine, _ *test) any { return m.a.Info.TypeK }},
	{"type_v", func(m *machine, _ *test) any { return m.a.Info.TypeV }},
	{"n_gpu_layers", constant(0)},
	{"n_cpu_moe", constant(0)},
	{"split_mode", constant("layer")},
	{"main_gpu", constant(0)},
	{"no_kv_offload", constant(false)},
	{"flash_attn", constant(1)},
	{"devices", constant("none")},
	{"tensor_split", constant("0.00")},
	{"tensor_buft_overrides", constant("none")},
	{"load_mode", constant("mmap")},
	{"lazy_mode", constant("off")},
	{"embeddings", constant(false)},
	{"no_op_offload", constant(0)},
	{"no_host", constant(false)},
	{"repack", constant(true)},
	{"fit_target", constant(0)},
	{"fit_min_ctx", constant(0)},
	{"n_prompt", func(_ *machine, t *test) any { return t.prompt }},
	{"n_gen", func(_ *machine, t *test) any { return t.gen }},
	{"n_depth", func(_ *machine, t *test) any { return t.depth }},
	{"test_time", func(_ *machine, t *test) any { return t.time.Format("2006-01-02T15:04:05Z") }},
	{"avg_ns", func(_ *machine, t *test) any { m, _ := meanStd(t.nanos()); return uint64(m) }},
	{"stddev_ns", func(_ *machine, t *test) any { _, s := meanStd(t.nanos()); return uint64(s) }},
	{"avg_ts", func(_ *machine, t *test) any { m, _ := meanStd(t.rates()); return m }},
	{"stddev_ts", func(_ *machine, t *test) any { _, s := meanStd(t.rates()); return s }},
}

const backend = "CPU"

// jsonValue writes numbers the way llama-bench does: six decimals.
func jsonValue(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', 6, 64)
	case string:
		s, _ := marshal(v) // a string always marshals
		return s
	}
	return fmt.Sprint(v)
}

func csvHead(t *table, _ *machine) {
	for i, f := range benchFields {
		if i > 0 {
			fmt.Fprint(t.w, ",")
		}
		fmt.Fprint(t.w, f.name)
	}
	fmt.Fprintln(t.w)
}

func csvTest(t *table, m *machine, r *test) {
	for i, f := range benchFields {
		if i > 0 {
			fmt.Fprint(t.w, ",")
		}
		s := ""
		switch v := f.val(m, r).(type) {
		case string:
			s = v
		case bool: // llama-bench writes 0 and 1
			s = "0"
			if v {
				s = "1"
			}
		default:
			s = jsonValue(v)
		}
		fmt.Fprintf(t.w, `"%s"`, strings.ReplaceAll(s, `"`, `""`))
	}
	fmt.Fprintln(t.w)
}

func jsonHead(t *table, _ *machine) { fmt.Fprintln(t.w, "[") }

func jsonTest(t *table, m *machine, r *test) {
	if t.rows++; t.rows > 1 {
		fmt.Fprint(t.w, ",\n")
	}
	fmt.Fprint(t.w, "  {\n")
	for _, f := range benchFields {
		fmt.Fprintf(t.w, "    %q: %s,\n", f.name, jsonValue(f.val(m, r)))
	}
	ns, ts := sampleLists(r)
	fmt.Fprintf(t.w, "    \"samples_ns\": [ %s ],\n    \"samples_ts\": [ %s ]\n  }", ns, ts)
}

func jsonFoot(t *table, _ *machine) { fmt.Fprint(t.w, "\n]\n") }

func jsonlTest(t *table, m *machine, r *test) {
	fmt.Fprint(t.w, "{")
	for _, f := range benchFields {
		fmt.Fprintf(t.w, "%q: %s, ", f.name, jsonValue(f.val(m, r)))
	}
	ns, ts := sampleLists(r)
	fmt.Fprintf(t.w, "\"samples_ns\": [ %s ],\"samples_ts\": [ %s ]}\n", ns, ts)
}

func sampleLists(r *test) (ns, ts string) {
	var n, t []string
	for _, d := range r.samples {
		n = append(n, strconv.FormatInt(d.Nanoseconds(), 10))
	}
	for _, x := range r.rates() {
		t = append(t, strconv.FormatFloat(x, 'g', 6, 64))
	}
	return strings.Join(n, ", "), strings.Join(t, ", ")
}

// A column of the markdown table; a negative width aligns to the left.
type column struct {
	name  string
	width int
	val   func(*machine, *test) string
}

// mdColumns are llama-bench's columns; those with shown appear only where it is true.
var mdColumns = []struct {
	column
	shown func(*machine) bool
}{
	{column{"model", -30, func(m *machine, _ *test) string { return m.modelType() }}, nil},
	{column{"size", 10, func(m *machine, _ *test) string { return size(m.a.Info.WeightBytes) }}, nil},
	{column{"params", 10, func(m *machine, _ *test) string { return params(m.a.Info.Params) }}, nil},
	{column{"backend", -10, func(*machine, *test) string { return backend }}, nil},
	{column{"threads", 7, func(_ *machine, t *test) string { return strconv.Itoa(t.threads) }}, nil},
	{column{"n_batch", 7, func(_ *machine, t *test) string { return strconv.Itoa(t.batch) }},
		func(m *machine) bool { return m.differs(func(t *test) int { return t.batch }, 2048) }},
	{column{"n_ubatch", 8, func(_ *machine, t *test) string { return strconv.Itoa(t.ubatch) }},
		func(m *machine) bool { return m.differs(func(t *test) int { return t.ubatch }, 512) }},
	{column{"type_k", 6, func(m *machine, _ *test) string { return m.a.Info.TypeK }},
		func(m *machine) bool { return m.a.Info.TypeK != "f16" }},
	{column{"type_v", 6, func(m *machine, _ *test) string { return m.a.Info.TypeV }},
		func(m *machine) bool { return m.a.Info.TypeV != "f16" }},
	{column{"test", 15, func(_ *machine, t *test) string { return t.name() }}, nil},
	{column{"t/s", 20, func(_ *machine, t *test) string {
		mean, std := meanStd(t.rates())
		return fmt.Sprintf("%.2f ± %.2f", mean, std)
	}}, nil},
}

func size(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}

func params(n uint64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f B", float64(n)/1e9)
}

// cell pads s to the column's width.
func (c *column) cell(s string) string {
	pad := strings.Repeat(" ", max(0, max(c.width, -c.width)-utf8.RuneCountInString(s)))
	if c.width < 0 {
		return s + pad
	}
	return pad + s
}

func mdHead(t *table, m *machine) {
	for _, c := range mdColumns {
		if c.shown == nil || c.shown(m) {
			t.cols = append(t.cols, c.column)
		}
	}
	t.line(func(c *column) string { return c.cell(c.name) })
	t.line(func(c *column) string {
		if c.width < 0 {
			return strings.Repeat("-", -c.width)
		}
		return strings.Repeat("-", c.width-1) + ":"
	})
}

func mdTest(t *table, m *machine, r *test) {
	t.line(func(c *column) string { return c.cell(c.val(m, r)) })
}

func (t *table) line(cell func(*column) string) {
	fmt.Fprint(t.w, "|")
	for i := range t.cols {
		fmt.Fprintf(t.w, " %s |", cell(&t.cols[i]))
	}
	fmt.Fprintln(t.w)
}

func mdFoot(t *table, m *machine) { fmt.Fprintf(t.w, "\nbuild: qnc %s\n", m.a.Info.Compiler) }

package gguf

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

const maxLine = 72 // runes of a value in a line of text

// Text writes the report for people to read.
func (r *Report) Text(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(tw, format+"\n", args...) }

	line("%s: GGUF v%d, %s in %d file(s), alignment %d", r.Path, r.Version, byteCount(r.Bytes), len(r.Files), r.Alignment)
	line("")
	line("architecture\t%s", short(r.Arch))
	line("name\t%s", short(r.Name))
	line("type\t%s", r.FileType)
	line("parameters\t%s", paramCount(r.Params))
	line("tensors\t%d, %s, %.2f bits per weight", r.TensorCount, byteCount(r.TensorBytes), r.BitsPerWeight)
	for _, t := range r.Templates {
		line("%s\t%d bytes, sha256 %s", strings.TrimPrefix(t.Key, "tokenizer."), t.Bytes, t.SHA256)
	}

	if len(r.Types) > 0 {
		line("\nTYPE\tTENSORS\tPARAMETERS\tBYTES\tSHARE")
	}
	for _, t := range r.Types {
		line("%s\t%d\t%d\t%d\t%.1f %%", t.Type, t.Tensors, t.Params, t.Bytes, 100*float64(t.Bytes)/float64(r.TensorBytes))
	}
	if t := r.Tokenizer; t != nil {
		line("\nTOKENIZER\t%s, pre %s", short(t.Model), short(t.Pre))
		for _, s := range t.Specials {
			line("%s\t%d %s", s.Key, s.ID, short(s.Token))
		}
		for _, c := range t.Checks {
			verdict := "ok"
			if !c.OK {
				verdict = "BAD"
			}
			line("%s\t%s: %s", c.Name, verdict, c.Detail)
		}
	}
	line("\nKEY\tKIND\tVALUE")
	for _, m := range r.Metadata {
		line("%s\t%s\t%s", m.Key, m.Kind, m.value())
	}
	if len(r.Tensors) > 0 {
		line("\nTENSOR\tTYPE\tDIMS\tBYTES\tOFFSET")
	}
	for _, t := range r.Tensors {
		dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Dims), " ", "×"), "[]")
		line("%s\t%s\t%s\t%d\t%d", t.Name, t.Type, dims, t.Bytes, t.Offset)
	}
	return tw.Flush()
}

// value prints a value in one line: strings quoted, long ones and arrays cut.
func (m MetaRow) value() string {
	switch v := m.Value.(type) {
	case string:
		return short(v)
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			if s, ok := x.(string); ok {
				parts[i] = short(s)
			} else {
				parts[i] = fmt.Sprint(x)
			}
		}
		more := ""
		if m.Count > uint64(len(v)) {
			more = fmt.Sprintf(", … %d in all", m.Count)
		}
		return "[" + strings.Join(parts, ", ") + more + "]"
	}
	return fmt.Sprint(m.Value)
}

// short quotes a string and cuts it: what a file holds must not drive the terminal.
func short(s string) string {
	cut := ""
	if utf8.RuneCountInString(s) > maxLine {
		s, cut = string([]rune(s)[:maxLine]), "…"
	}
	return strconv.Quote(s) + cut
}

func byteCount(n uint64) string {
	const units = "KMGT"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.2f %ciB", v, units[i])
}

func paramCount(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f B (%d)", float64(n)/1e9, n)
	case n >= 1e6:
		return fmt.Sprintf("%.2f M (%d)", float64(n)/1e6, n)
	}
	return fmt.Sprint(n)
}

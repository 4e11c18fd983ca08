package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestResults reads what each program printed for the same tests.
func TestResults(t *testing.T) {
	for _, c := range []struct {
		file string
		want map[string][]float64
	}{
		{"llama.json", map[string][]float64{
			"pp16 ub512 t2": {12.4463, 47.3449}, "tg4 t2": {32.9321, 5.11197}, "pp16 ub512 d32 t2": {34.1012, 39.7845}, "tg4 d32 t2": {49.8106, 9.08264}}},
		{"ours.json", map[string][]float64{
			"pp16 ub512 t2": {119.1, 4929.82}, "tg4 t2": {522.281, 2761.81}, "pp16 ub512 d32 t2": {885.281, 423.05}, "tg4 d32 t2": {2714.84, 2746.27}}},
		{"ik.json", map[string][]float64{
			"pp16 ub512 t1": {2161.42, 1990.48}, "tg4 t1": {323.407, 208.799}, "tg4 d32 t1": {252.908, 2331.85},
			"pp16 ub512 t2": {181.982, 1131.2}, "tg4 t2": {174.101, 57.4237}, "tg4 d32 t2": {0.776069, 0.922461}}},
	} {
		out, err := os.ReadFile("testdata/" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		for _, log := range []string{"", "a log\n[not the list]\n"} {
			all, err := results(append([]byte(log), out...))
			if err != nil {
				t.Fatalf("%s: %v", c.file, err)
			}
			got := map[string][]float64{}
			for i := range all {
				got[all[i].name()] = all[i].Rates
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %v, want %v", c.file, got, c.want)
			}
		}
	}
	for _, c := range []struct{ out, want string }{
		{"", "no list of results in 0 bytes"},
		{"error: out of memory\n", "no list of results"},
		{"[\n  {\n    \"n_prompt\": 16", "unexpected EOF"},
		{"[\n{\"n_prompt\": 16, \"n_ubatch\": 8, \"n_threads\": 2}\n]", "a result without samples: pp16 ub8 t2"},
		{"[\n{\"n_prompt\": \"x\"}\n]", "cannot unmarshal"},
	} {
		if _, err := results([]byte(c.out)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.out, err, c.want)
		}
	}
}

// A prompt and what is generated behind it, both timed, is no test at a depth.
func TestPromptAndGeneration(t *testing.T) {
	all, err := results([]byte("[\n{\"n_prompt\": 8, \"n_gen\": 2, \"n_ubatch\": 8, \"n_threads\": 1, \"test\": \"pp8+tg2\", \"samples_ts\": [1]}\n]"))
	if err != nil || all[0].Prompt != 8 || all[0].Depth != 0 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestPacked(t *testing.T) {
	size, seconds, err := packed([]byte("import 3 ms\npacked 4437123456 bytes in 3.125 s, 1.42 GB/s\n"))
	if err != nil || size != 4437123456 || seconds != 3.125 {
		t.Errorf("%v %v %v", size, seconds, err)
	}
	if _, _, err := packed([]byte("import 3 ms\n")); err == nil {
		t.Error("no line about packing, and no error")
	}
}

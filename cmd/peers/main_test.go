package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qnc/runtime/fault"
)

// The test binary stands in for every program: under this variable it prints
// what they print.
const fakeVar = "PEERS_TEST_FAKE"

func TestMain(m *testing.M) {
	if os.Getenv(fakeVar) != "" {
		os.Exit(fake(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fake compiles by a link to itself; ik_llama.cpp, known by -fmoe, fails at a depth.
func fake(args []string) int {
	after := func(flag string) string {
		if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
			return args[i+1]
		}
		return ""
	}
	switch {
	case args[0] == "compile":
		self, err := os.Executable()
		if err == nil {
			err = os.Symlink(self, after("-o"))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Fprintln(os.Stderr, "packed 1000000000 bytes in 0.500 s, 2.00 GB/s")
		return 0
	case args[0] == "info":
		fmt.Println(`{"weight_bytes": 1048576, "arena_bytes": 2097152, "recurrent_bytes": 0, "kv_bytes": 0}`)
		return 0
	case after("-gp") != "":
		fmt.Fprintln(os.Stderr, "a log\nno room for the context")
		return 3
	}
	rate := map[bool]float64{true: 30, false: 10}[args[0] == "bench"]
	if after("-rtr") == "1" {
		rate = 20
	}
	var tests []string
	for _, s := range []struct{ flag, key string }{{"-p", "n_prompt"}, {"-n", "n_gen"}} {
		if n := after(s.flag); n != "0" {
			depth := after("-d")
			if depth == "" {
				depth = "0"
			}
			tests = append(tests, fmt.Sprintf(`{"%s": %s, "n_depth": %s, "n_ubatch": %s, "n_threads": %s, "samples_ts": [%g, %g]}`, s.key, n, depth, after("-ub"), after("-t"), rate, rate))
		}
	}
	fmt.Printf("[\n%s\n]\n", strings.Join(tests, ",\n"))
	return 0
}

// TestRun lets the stand-ins take turns.
func TestRun(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(fakeVar, "1")
	var stdout, stderr bytes.Buffer
	args := []string{"-model", "m.gguf", "-qnc", self, "-llama", self, "-ik", self, "-rounds", "2", "-reps", "2", "-depths", "100", "-work", filepath.Join(t.TempDir(), "work")}
	if err := run(context.Background(), args, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for _, want := range []string{
		"m.gguf: medians of 2 rounds",
		"| prompt, pp512 at ub 512, t/s | 30.0 (30.0 to 30.0) | 10.0 (10.0 to 10.0) | 3.00 (3.00 to 3.00) | 20.0 (20.0 to 20.0) | -fa 1 -fmoe 1 -rtr 1 | 1.50 (1.50 to 1.50) |\n",
		"| prompt, pp2048 at ub 2048, t/s | 30.0 ",
		"| decode, tg32 at 100, f16, t/s | 30.0 (30.0 to 30.0) | 10.0 (10.0 to 10.0) | 3.00 (3.00 to 3.00) | – | – | – |\n",
		"| tg128 with -t 4 of -t 2 | 1.00 (1.00 to 1.00) |",
		"Packing: 1.00 GB in 0.5 s, 2.00 GB/s",
		"arena 2.0,",
		" compile m.gguf -v -o model-f16 -c 2048 -ub 2048 -b 2048\n",
		"    model-f16 bench -o json -r 2 -b 2048 -ub 512 -t 2 -p 512 -n 128\n",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, stdout.String())
		}
	}
	if !strings.Contains(stderr.String(), "-gp 100,32: exit status 3: no room for the context\n") {
		t.Errorf("stderr\n%s", stderr.String())
	}
	first := func(round string) string {
		_, rest, _ := strings.Cut(stderr.String(), "round "+round+": speed: ")
		name, _, _ := strings.Cut(rest, "\n")
		return name
	}
	if a, b := first("1/2"), first("2/2"); a == b {
		t.Errorf("%s is first in both rounds", a)
	}
}

func TestUsage(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ok := []string{"-model", "m.gguf", "-qnc", self}
	for _, c := range []struct {
		args []string
		code fault.Code
		want string
	}{
		{[]string{"-qnc", self}, fault.Usage, "-model FILE.gguf is missing"},
		{append(ok, "-rounds", "0"), fault.Usage, "-rounds 0: want 1 to"},
		{append(ok, "-depths", "8192,x"), fault.Usage, "-depths 8192,x"},
		{append(ok, "-kv", ""), fault.Usage, "-kv: name a type"},
		{append(ok, "more"), fault.Usage, `"more": flags only`},
		{append(ok, "-llama", "/no/such/llama-bench"), fault.Missing, "/no/such/llama-bench cannot be run"},
	} {
		err := run(context.Background(), c.args, &bytes.Buffer{}, &bytes.Buffer{})
		if err == nil || fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v (code %d), want %q (code %d)", c.args, err, fault.CodeOf(err), c.want, c.code)
		}
	}
}

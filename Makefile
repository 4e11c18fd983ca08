# make            build bin/qnc
# make demo       compile the example model and let it write Go
# make test       all tests; they need nothing outside this folder
# make check      formatting, vet, staticcheck, import floors, freshness
# make update     rewrite goldens and generated/
# make old        what the CUDA compilers on the PATH and in CUDA_HOME, of any age, make of the kernels
# make gorgonia CUDA12=DIR/include   tests of the other CUDA driver, with the headers of CUDA 12
# make parity MODELS=DIR   compare every model of a folder with its reference numbers
# make bench      every kernel at the shapes of the 80B model, then prompts and decode of MODEL
# make bench-peers LLAMA_BENCH=EXE IK_LLAMA_BENCH=EXE   the same MODEL in turns with llama.cpp and ik_llama.cpp
.PHONY: all demo test old gorgonia check generate update bench bench-peers peers-named fuzz parity clean

GO := go
export CGO_ENABLED := 0
export GOTOOLCHAIN := local

DEMO     := bin/demo/gopher
FUZZTIME := 20s

all: bin/qnc

# Go knows what has changed.
.PHONY: bin/qnc
bin/qnc:
	@$(GO) build -o $@ ./cmd/qnc

demo: bin/qnc
	@mkdir -p $(dir $(DEMO))
	bin/qnc compile examples/gopher-17m-q4_k_m.gguf -o $(DEMO)
	$(DEMO) -p "Write a function that reverses a string." --temp 0 </dev/null
	@echo
	$(DEMO) complete -p "func fibonacci(n int) int" -n 64 --temp 0

test:
	$(GO) test -timeout 14m ./...

old:
	$(GO) test -count=1 -v -run 'TestCompilers|TestPTX|TestRegisters' ./codegen/cuda/toolchain ./codegen/cuda

# cgo: a C compiler and the headers; the driver is emulated.
gorgonia:
	CGO_ENABLED=1 CGO_CFLAGS=-I$(abspath $(CUDA12)) $(GO) vet -tags gorgonia ./runtime/cuda/gorgonia
	CGO_ENABLED=1 CGO_CFLAGS=-I$(abspath $(CUDA12)) $(GO) test -tags gorgonia ./runtime/cuda/gorgonia

# Floors and freshness are tests like the others; here they run uncached.
check:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt -w $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod verify
	$(GO) test -count=1 -run 'Floors|Names|Fresh' ./compiler ./runtime/vec

# Recreates generated/ from its description; make check proves that it is fresh.
generate:
	$(GO) generate ./runtime/vec
	$(GO) test ./compiler -run TestGeneratedIsFresh -update

# Rewrites everything that is checked in and made; a pass that changed the meaning is refused.
update: generate
	$(GO) test ./passes -update
	$(GO) test ./compiler/arch -update

# What is measured: four layers of the 80B model, made here (4.4 GB, and as much again for each
# type in KV), or another MODEL. docs/performance.md describes the method.
MODEL  := bin/80b-4layers.gguf
DEPTHS := 8192
KV     := f16
ROUNDS := 3
PEERS   = $(GO) run ./cmd/peers -model $(MODEL) -rounds $(ROUNDS) -depths "$(DEPTHS)" -kv "$(KV)" -work bin/peers $(PEERS_FLAGS)

bin/80b-4layers.gguf:
	@mkdir -p $(dir $@)
	$(GO) run ./cmd/synth 80b-4layers $@

bench: bin/qnc $(MODEL)
	$(GO) test -timeout 60m -run '^$$' -bench . ./...
	$(PEERS)

bench-peers: peers-named bin/qnc $(MODEL)
	$(PEERS) -llama "$(LLAMA_BENCH)" -ik "$(IK_LLAMA_BENCH)"

peers-named:
	@test -n "$(LLAMA_BENCH)$(IK_LLAMA_BENCH)" || { echo "make bench-peers LLAMA_BENCH=EXE IK_LLAMA_BENCH=EXE: both are missing, one is enough"; exit 2; }

fuzz:
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; \
	done

parity:
	@test -n "$(MODELS)" || { echo "make parity MODELS=DIR: the folder of the models is missing"; exit 2; }
	MODELS="$(abspath $(MODELS))" $(GO) test -count=1 -v -timeout 60m -run TestModels ./compiler

clean:
	rm -rf bin

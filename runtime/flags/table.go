package flags

// table holds every flag of both programs. A name may stand in several rows
// as long as no command has two of them (a test checks it): -p is a text for
// chat and a list of prompt sizes for bench.
var table = []Flag{
	// Help.
	{Name: "help", Alt: []string{"h", "usage"}, Kind: Bool, In: binary | Completion, Help: "print this help"},
	{Name: "version", Kind: Bool, In: binary | Completion, Help: "print the version"},
	{Name: "json", Kind: Bool, In: Info | Perplexity | Tokenize | ApplyTemplate | Inspect | Fit | Ops | Passes | Doctor, Help: "print JSON"},
	{Name: "verbose", Alt: []string{"v", "log-verbose"}, Kind: Bool, In: chats | Perplexity | benches | Verify, Help: "say more on stderr"},

	// Text.
	{Name: "prompt", Alt: []string{"p"}, Kind: String, Arg: "TEXT", In: chats | Tokenize | Perplexity, Help: "the text"},
	{Name: "file", Alt: []string{"f"}, Kind: String, Arg: "FILE", In: chats | Perplexity, Help: "file with the text, - for stdin; one line feed at its end is dropped"},
	{Name: "file", Alt: []string{"f"}, Kind: String, Arg: "FILE", In: Tokenize, Help: "file with the text, - for stdin"},
	{Name: "file", Alt: []string{"f"}, Kind: String, Arg: "REQUEST.json", In: ApplyTemplate, Help: "file with the chat request, - for stdin"},
	{Name: "binary-file", Alt: []string{"bf"}, Kind: String, Arg: "FILE", In: chats | Tokenize | Perplexity, Help: "file with the text, taken byte for byte before escapes"},
	{Name: "escape", Alt: []string{"e"}, No: []string{"no-escape"}, Kind: Bool, Default: "true", In: chats | Tokenize, Help: `process \n \r \t \' \" \\ \xHH in texts`},
	{Name: "escape", Alt: []string{"e"}, No: []string{"no-escape"}, Kind: Bool, Default: "false", In: Perplexity, Help: `process \n \r \t \' \" \\ \xHH in the text`},
	{Name: "system-prompt", Alt: []string{"sys"}, Kind: String, Arg: "TEXT", In: Chat, Help: "system message of the chat"},
	{Name: "system-prompt-file", Alt: []string{"sysf"}, Kind: String, Arg: "FILE", In: Chat, Help: "file with the system message"},
	{Name: "chat-template-file", Kind: String, Arg: "FILE.jinja", In: Chat | ApplyTemplate, Help: "chat template instead of the model's own"},
	{Name: "chat-template-kwargs", Kind: String, Arg: "JSON", In: Chat | ApplyTemplate, Help: `variables of the template: {"enable_thinking":false}`},
	{Name: "display-prompt", No: []string{"no-display-prompt"}, Kind: Bool, Default: "true", In: Complete, Help: "print the text before its continuation"},
	{Name: "special", Alt: []string{"sp"}, Kind: Bool, In: chats, Help: "print control tokens too"},
	{Name: "ids", Kind: Bool, In: Tokenize, Help: "print [1, 2, 3]"},
	{Name: "bos", No: []string{"no-bos"}, Kind: Bool, Default: "true", In: Tokenize, Help: "put the beginning-of-sequence token in front where the model wants one"},
	{Name: "parse-special", No: []string{"no-parse-special"}, Kind: Bool, Default: "true", In: Tokenize, Help: "read special tokens in the text as such"},
	{Name: "stdin", Kind: Bool, In: Tokenize, Help: "read the text from stdin"},
	{Name: "show-count", Kind: Bool, In: Tokenize, Help: "print the number of tokens"},

	// Generation.
	{Name: "n-predict", Alt: []string{"n", "predict"}, Env: "N_PREDICT", Kind: Int, Arg: "N", Default: "-1", Min: -2, Max: maxCount, In: chats, Help: "tokens to generate, -1: until the end or a full context"},
	{Name: "reverse-prompt", Alt: []string{"r"}, Kind: Many, Arg: "TEXT", In: chats, Help: "stop after this text; may be repeated"},
	{Name: "ignore-eos", Kind: Bool, In: chats, Help: "never generate an end-of-generation token"},
	{Name: "single-turn", Alt: []string{"st"}, Kind: Bool, In: Chat, Help: "end after the first answer"},
	{Name: "seed", Alt: []string{"s"}, Kind: Int, Arg: "N", Default: "-1", Min: -1, Max: 1<<32 - 1, In: chats, Help: "seed of the sampler, -1: another one each time"},
	{Name: "temp", Alt: []string{"temperature"}, Env: "TEMPERATURE", Kind: Float, Arg: "X", Default: "0.8", Min: -1, Max: 1e6, In: chats, Help: "temperature, 0: always the likeliest token"},
	{Name: "top-k", Kind: Int, Arg: "N", Default: "40", Min: -1, Max: maxCount, In: chats, Help: "sample from the N likeliest tokens, 0: all"},
	{Name: "top-p", Kind: Float, Arg: "X", Default: "0.95", Min: 0, Max: 1e6, In: chats, Help: "sample from the likeliest tokens that make up X, 1: all"},
	{Name: "min-p", Kind: Float, Arg: "X", Default: "0.05", Min: 0, Max: 1, In: chats, Help: "leave out tokens less likely than X times the likeliest, 0: none"},
	{Name: "repeat-penalty", Kind: Float, Arg: "X", Default: "1", Min: 1e-6, Max: 1e6, In: chats, Help: "divide the logits of recent tokens by X, 1: off"},
	{Name: "repeat-last-n", Kind: Int, Arg: "N", Default: "64", Min: 0, Max: maxCount, In: chats, Help: "how many tokens are recent, 0: none"},
	{Name: "presence-penalty", Kind: Float, Arg: "X", Default: "0", Min: -1e6, Max: 1e6, In: chats, Help: "subtract X from the logits of recent tokens, 0: off"},
	{Name: "frequency-penalty", Kind: Float, Arg: "X", Default: "0", Min: -1e6, Max: 1e6, In: chats, Help: "subtract X for each time that a token is recent, 0: off"},

	// Perplexity.
	{Name: "chunks", Kind: Int, Arg: "N", Default: "-1", Min: -1, Max: maxCount, In: Perplexity, Help: "evaluate only the first N windows, -1: all"},
	{Name: "kl-divergence-base", Alt: []string{"save-all-logits"}, Kind: String, Arg: "FILE", In: Perplexity, Help: "write the logits to FILE; with --kl-divergence read them"},
	{Name: "kl-divergence", Kind: Bool, In: Perplexity, Help: "compare with the logits in --kl-divergence-base"},

	// Bench.
	{Name: "n-prompt", Alt: []string{"p"}, Kind: Ints, Arg: "N,..", Default: "512", Max: maxCount, In: Bench, Help: "prompt sizes, 0: none"},
	{Name: "n-gen", Alt: []string{"n"}, Kind: Ints, Arg: "N,..", Default: "128", Max: maxCount, In: Bench, Help: "tokens to generate, 0: none"},
	{Name: "pg", Kind: Pairs, Arg: "P,N", In: Bench, Help: "prompt of P tokens, then N tokens; may be repeated"},
	{Name: "n-depth", Alt: []string{"d"}, Kind: Ints, Arg: "N,..", Default: "0", Max: maxCount, In: Bench, Help: "tokens already in the context"},
	{Name: "repetitions", Alt: []string{"r"}, Kind: Int, Arg: "N", Default: "5", Min: 1, Max: 1e6, In: Bench, Help: "runs of each test"},
	{Name: "delay", Kind: Int, Arg: "SECONDS", Default: "0", Min: 0, Max: 86400, In: Bench, Help: "pause before each test"},
	{Name: "output", Alt: []string{"o"}, Kind: String, Arg: "FORMAT", Default: "md", Words: []string{"md", "csv", "json", "jsonl"}, In: Bench, Help: "md, csv, json or jsonl on stdout"},
	{Name: "output-err", Alt: []string{"oe"}, Kind: String, Arg: "FORMAT", Default: "none", Words: []string{"none", "md", "csv", "json", "jsonl"}, In: Bench, Help: "the same on stderr"},
	{Name: "ops", Kind: Bool, In: Bench, Help: "time, bytes and multiply-adds of each op instead; with -v of each kernel call"},
	{Name: "n-predict", Alt: []string{"n", "predict"}, Env: "N_PREDICT", Kind: Int, Arg: "N", Default: "0", Min: 0, Max: maxCount, In: SweepBench, Help: "tokens to generate at each length, 0: a quarter of -ub"},
	{Name: "n-repetitions", Alt: []string{"r", "nrep"}, Kind: Int, Arg: "N", Default: "1", Min: 1, Max: 1e6, In: SweepBench, Help: "runs of each row; from 2 on their spread is printed too"},
	{Name: "sweep-stride", Kind: Int, Arg: "N", Default: "1", Min: 1, Max: maxCount, In: SweepBench, Help: "measure every Nth row, pass the others quickly"},
	{Name: "output-format", Alt: []string{"o", "output"}, Kind: String, Arg: "FORMAT", Default: "md", Words: []string{"md", "jsonl"}, In: SweepBench, Help: "md or jsonl"},
	{Name: "progress", Kind: Bool, In: Bench, Help: "a line on stderr for each run"},
	{Name: "warmup", No: []string{"no-warmup"}, Kind: Bool, Default: "true", In: benches, Help: "one run before each test that does not count"},
	{Name: "threads", Alt: []string{"t"}, Kind: Ints, Arg: "N,..", Min: 1, Max: MaxThreads, In: benches, Help: "threads; each number of a list in turn"},
	{Name: "batch-size", Alt: []string{"b"}, Env: "BATCH", Kind: Ints, Arg: "N,..", Min: 1, Max: maxCount, In: Bench, Help: "tokens of one batch, at most what was compiled"},
	{Name: "ubatch-size", Alt: []string{"ub"}, Env: "UBATCH", Kind: Ints, Arg: "N,..", Min: 1, Max: maxCount, In: Bench, Help: "tokens of one step, at most what was compiled"},

	// Threads.
	{Name: "threads", Alt: []string{"t"}, Kind: Int, Arg: "N", Default: "-1", Min: 1, Max: MaxThreads, Words: []string{"-1"}, In: chats | Perplexity | plans, Help: "threads for one token at a time"},
	{Name: "threads-batch", Alt: []string{"tb"}, Kind: Int, Arg: "N", Default: "-1", Min: 1, Max: MaxThreads, Words: []string{"-1"}, In: chats | Perplexity, Help: "threads for prompts (default: as -t)"},
	{Name: "perf", No: []string{"no-perf"}, Kind: Bool, Default: "true", In: chats, Help: "print tokens per second on stderr when it is a terminal"},

	// Sizes and placement: qnc decides, its binaries check. See also the rows for bench above.
	{Name: "ctx-size", Alt: []string{"c"}, Kind: Int, Arg: "N", Default: "0", Min: 0, Max: maxCount, Fate: Fixed, In: chats | Perplexity | SweepBench | plans, Help: "tokens of context"},
	{Name: "batch-size", Alt: []string{"b"}, Env: "BATCH", Kind: Int, Arg: "N", Default: "2048", Min: 1, Max: maxCount, Fate: Fixed, In: chats | Perplexity | SweepBench | plans, Help: "tokens of one batch"},
	{Name: "ubatch-size", Alt: []string{"ub"}, Env: "UBATCH", Kind: Int, Arg: "N", Default: "512", Min: 1, Max: maxCount, Fate: Fixed, In: chats | Perplexity | SweepBench | plans, Help: "tokens of one step"},
	{Name: "parallel", Alt: []string{"np"}, Env: "N_PARALLEL", Kind: Int, Arg: "N", Default: "1", Min: 1, Max: 1024, Fate: Fixed, In: runs | plans, Help: "sequences"},
	{Name: "cache-type-k", Alt: []string{"ctk"}, Kind: String, Arg: "TYPE", Default: "f16", Fate: Fixed, In: runs | plans, Help: "type of the K cache"},
	{Name: "cache-type-v", Alt: []string{"ctv"}, Kind: String, Arg: "TYPE", Default: "f16", Fate: Fixed, In: runs | plans, Help: "type of the V cache"},
	{Name: "n-gpu-layers", Alt: []string{"ngl", "gpu-layers"}, Kind: Int, Arg: "N", Default: "auto", Min: -2, Max: 1e6, Words: []string{"auto", "all"}, Fate: Fixed, In: runs | plans, Help: "layers on the GPU"},
	{Name: "cpu-moe", Alt: []string{"cmoe"}, Kind: Bool, Fate: Fixed, In: runs | plans, Help: "keep all experts on the CPU"},
	{Name: "n-cpu-moe", Alt: []string{"ncmoe"}, Kind: Int, Arg: "N", Default: "0", Min: 0, Max: 1e6, Fate: Fixed, In: runs | plans, Help: "keep the experts of the first N layers on the CPU"},
	{Name: "override-tensor", Alt: []string{"ot"}, Kind: Many, Arg: "RE=DEV,..", Fate: Fixed, In: runs | plans, Help: "device of the tensors whose name matches"},
	{Name: "tensor-split", Alt: []string{"ts"}, Kind: String, Arg: "A,B", Fate: Fixed, In: runs | plans, Help: "shares of the GPUs"},
	{Name: "split-mode", Alt: []string{"sm"}, Kind: String, Arg: "none|layer", Default: "layer", Words: []string{"none", "layer"}, Fate: Fixed, In: runs | plans, Help: "how several GPUs are used"},
	{Name: "main-gpu", Alt: []string{"mg"}, Kind: Int, Arg: "N", Default: "0", Min: 0, Max: 1e6, Fate: Fixed, In: runs | plans, Help: "the GPU for -sm none"},
	{Name: "op-offload", No: []string{"no-op-offload", "nopo"}, Kind: Bool, Default: "false", Fate: Fixed, In: plans, Help: "for long prompts, upload experts that lie on the CPU"},
	// Without a variable: one that is set for llama.cpp would stop every binary.
	{Name: "model", Alt: []string{"m"}, Env: "-", Kind: String, Arg: "FILE.gguf", Fate: Fixed, In: binary, Help: "the file that this was compiled from"},

	// Flags of qnc alone.
	{Name: "output", Alt: []string{"o"}, Kind: String, Arg: "OUT", In: Compile, Help: "the binary to write"},
	{Name: "machine", Kind: String, Arg: "FILE.qir", In: plans, Help: "devices, memories and links (default: this machine)"},
	{Name: "target-cpu", Kind: String, Arg: "NAME", Default: "native", In: plans, Help: "native, portable, x86-64-v3, x86-64-v4 or x86-64-v4+vnni"},
	{Name: "target-gpu", Kind: String, Arg: "sm_80,..", In: plans, Help: "GPU architectures"},
	{Name: "cuda-driver", Kind: String, Arg: "NAME", Words: []string{"purego", "gorgonia"}, In: plans, Help: "binding of the CUDA driver"},
	{Name: "embed", Kind: Bool, In: Compile | Run, Help: "append the weights to the executable"},
	{Name: "precise", Kind: Bool, In: plans, Help: "no activation quantisation, f32 KV cache"},
	{Name: "emit", Kind: Many, Arg: "KIND[=PATH],..", In: Compile, Help: "write an intermediate result"},
	{Name: "stop-after", Kind: String, Arg: "PHASE", In: Compile, Help: "import, optimise, place, plan, emit or link"},
	{Name: "dump", Kind: String, Arg: "DIR", In: Compile, Help: "write the module after each pass"},
	{Name: "verbose", Alt: []string{"v"}, Kind: Bool, In: Compile | Run, Help: "a line for each pass"},
	{Name: "verbose", Alt: []string{"v"}, Kind: Bool, In: Fit, Help: "the whole path that proves the number of splits"},
	{Name: "trace", Alt: []string{"x"}, Kind: Bool, In: Compile, Help: "print the commands"},
	{Name: "dry-run", Alt: []string{"n"}, Kind: Bool, In: Compile, Help: "print the commands but do not run them"},
	{Name: "work", Kind: String, Arg: "DIR", In: Compile | Run, Help: "keep the emitted module in DIR"},
	{Name: "tensors", Kind: Bool, In: Inspect, Help: "list the tensors"},
	{Name: "passes", Kind: String, Arg: "A,B", In: Opt, Help: "passes to run"},
	{Name: "verify", Kind: Bool, In: Opt, Help: "check the module after each pass"},
	{Name: "eval", Kind: Int, Arg: "SEED", In: Opt, Help: "evaluate the module on seeded inputs"},
	{Name: "stats", Kind: Bool, In: Opt, Help: "print statistics"},

	// Flags that people paste and that make no difference here.
	{Name: "warmup", No: []string{"no-warmup"}, Kind: Bool, Fate: Silent, In: binary &^ benches},
	{Name: "flash-attn", Alt: []string{"fa"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary | plans},
	{Name: "mmap", Alt: []string{"mmp"}, No: []string{"no-mmap"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "mlock", Kind: Bool, Fate: Silent, In: binary},
	{Name: "direct-io", Alt: []string{"dio"}, No: []string{"no-direct-io", "ndio"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "load-mode", Alt: []string{"lm"}, Kind: String, Arg: "MODE", Fate: Silent, In: binary},
	{Name: "kv-offload", Alt: []string{"kvo"}, No: []string{"nkvo", "no-kv-offload"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "op-offload", No: []string{"no-op-offload", "nopo"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "ooae", No: []string{"no-ooae"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary | plans},
	{Name: "repack", No: []string{"no-repack", "nr"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "run-time-repack", Alt: []string{"rtr"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "fused-moe", Alt: []string{"fmoe"}, No: []string{"no-fused-moe", "no-fmoe"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "kv-unified", Alt: []string{"kvu"}, No: []string{"no-kv-unified", "no-kvu"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "fit", Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "numa", Kind: String, Arg: "TYPE", Fate: Silent, In: binary},
	{Name: "prio", Kind: String, Arg: "N", Fate: Silent, In: binary},
	{Name: "prio-batch", Kind: String, Arg: "N", Fate: Silent, In: binary},
	{Name: "poll", Kind: String, Arg: "N", Fate: Silent, In: binary},
	{Name: "poll-batch", Kind: String, Arg: "N", Fate: Silent, In: binary},
	{Name: "cpu-mask", Alt: []string{"C"}, Kind: String, Arg: "M", Fate: Silent, In: binary},
	{Name: "cpu-range", Alt: []string{"Cr"}, Kind: String, Arg: "LO-HI", Fate: Silent, In: binary},
	{Name: "cpu-strict", Kind: String, Arg: "0|1", Fate: Silent, In: binary},
	{Name: "swa-full", Kind: Bool, Fate: Silent, In: binary},
	{Name: "context-shift", No: []string{"no-context-shift"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "cont-batching", Alt: []string{"cb"}, No: []string{"no-cont-batching", "nocb"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "color", Alt: []string{"co"}, Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "conversation", Alt: []string{"cnv"}, No: []string{"no-cnv", "no-conversation"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "interactive", Alt: []string{"i", "interactive-first", "if"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "simple-io", Kind: Bool, Fate: Silent, In: binary},
	{Name: "jinja", No: []string{"no-jinja"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "show-timings", No: []string{"no-show-timings"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "log-disable", Kind: Bool, Fate: Silent, In: binary},
	{Name: "log-colors", Kind: Maybe, Words: switches, Fate: Silent, In: binary},
	{Name: "log-prefix", No: []string{"no-log-prefix"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "log-timestamps", No: []string{"no-log-timestamps"}, Kind: Bool, Fate: Silent, In: binary},
	{Name: "log-verbosity", Alt: []string{"lv", "verbosity"}, Kind: String, Arg: "N", Fate: Silent, In: binary},
	{Name: "offline", Kind: Bool, Fate: Silent, In: binary},
	{Name: "keep", Kind: Int, Arg: "N", Fate: Silent, In: chats}, // contexts are not shifted

	// Samplers that are not here, and what tunes them.
	{Name: "typical", Alt: []string{"typical-p", "typ-p"}, Env: "-", Kind: Float, Arg: "X", Default: "1", Min: 1, Max: 1e6, Fate: Off, In: chats},
	{Name: "mirostat", Env: "-", Kind: Int, Arg: "N", Default: "0", Min: -1e6, Max: 0, Fate: Off, In: chats},
	{Name: "mirostat-lr", Env: "-", Kind: Float, Arg: "X", Fate: Silent, In: chats},
	{Name: "mirostat-ent", Env: "-", Kind: Float, Arg: "X", Fate: Silent, In: chats},
	{Name: "dynatemp-range", Env: "-", Kind: Float, Arg: "X", Default: "0", Min: -1e6, Max: 0, Fate: Off, In: chats},
	{Name: "dynatemp-exp", Env: "-", Kind: Float, Arg: "X", Fate: Silent, In: chats},
	{Name: "top-nsigma", Alt: []string{"top-n-sigma"}, Env: "-", Kind: Float, Arg: "X", Default: "-1", Min: -1e6, Max: 0, Fate: Off, In: chats},
	{Name: "xtc-probability", Env: "-", Kind: Float, Arg: "X", Default: "0", Min: -1e6, Max: 0, Fate: Off, In: chats},
	{Name: "xtc-threshold", Env: "-", Kind: Float, Arg: "X", Fate: Silent, In: chats},
	{Name: "dry-multiplier", Env: "-", Kind: Float, Arg: "X", Default: "0", Min: -1e6, Max: 0, Fate: Off, In: chats},
	{Name: "dry-base", Env: "-", Kind: Float, Arg: "X", Fate: Silent, In: chats},
	{Name: "dry-allowed-length", Env: "-", Kind: Int, Arg: "N", Fate: Silent, In: chats},
	{Name: "dry-penalty-last-n", Env: "-", Kind: Int, Arg: "N", Fate: Silent, In: chats},
	{Name: "dry-sequence-breaker", Env: "-", Kind: Many, Arg: "TEXT", Fate: Silent, In: chats},
	{Name: "samplers", Env: "-", Kind: String, Arg: "LIST", Default: samplers, Words: []string{samplers}, Fate: Off, In: chats},
	{Name: "sampler-seq", Alt: []string{"sampling-seq"}, Env: "-", Kind: String, Arg: "LETTERS", Default: "edskypmxt", Words: []string{"edskypmxt"}, Fate: Off, In: chats},
}

// samplers is llama.cpp's order, which is the one here.
const samplers = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature"

const (
	// MaxThreads is the most that -t takes.
	MaxThreads = 1024

	maxCount = 1<<31 - 1
)

// switches are the words of flags that were once without a value.
var switches = []string{"on", "off", "auto", "0", "1", "true", "false"}

package flags

// A Command is a set of commands of the two programs.
type Command uint32

const (
	// Commands of an emitted program.
	Chat Command = 1 << iota
	Complete
	Tokenize
	ApplyTemplate
	Perplexity
	Bench
	SweepBench
	Info
	Verify
	Completion

	// Commands of qnc.
	Compile
	Run
	Inspect
	Fit
	Opt
	Ops
	Passes
	Doctor

	chats   = Chat | Complete
	benches = Bench | SweepBench
	runs    = chats | Perplexity | benches
	binary  = runs | Tokenize | ApplyTemplate | Info | Verify
	plans   = Compile | Run | Fit
	nothing = Command(0)
)

// A CommandInfo documents one command.
type CommandInfo struct {
	Command Command
	Name    string
	Args    string
	Help    string
}

// Commands lists the commands of an emitted program in the order of its help.
var Commands = []CommandInfo{
	{Chat, "chat", "[-p TEXT]", "chat in the terminal (the default command)"},
	{Complete, "complete", "-p TEXT | -f FILE", "continue a text"},
	{Tokenize, "tokenize", "-p TEXT | -f FILE", "print a text's tokens"},
	{ApplyTemplate, "apply-template", "-f REQUEST.json", "print the prompt that a chat request becomes"},
	{Perplexity, "perplexity", "-f FILE", "perplexity of a text, or KL divergence to a base"},
	{Bench, "bench", "", "tokens per second, as llama-bench prints them"},
	{SweepBench, "sweep-bench", "", "tokens per second over a growing context, as ik_llama.cpp's sweep-bench prints them"},
	{Info, "info", "", "what was compiled, and the memory plan"},
	{Verify, "verify", "", "hash the weights and compare with the digests of the compile"},
	{Completion, "completion", "bash | zsh | fish", "print a completion script for a shell"},
}

// CommandByName finds a command of an emitted program.
func CommandByName(name string) (Command, bool) {
	for _, c := range Commands {
		if c.Name == name {
			return c.Command, true
		}
	}
	return nothing, false
}

func info(cmd Command) CommandInfo {
	for _, c := range Commands {
		if c.Command == cmd {
			return c
		}
	}
	return CommandInfo{}
}

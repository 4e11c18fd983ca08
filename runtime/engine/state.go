package engine

// A State is a sequence at one length, to come back to: what the KV cache holds
// can be cut off, recurrent state cannot be rewound. Its memory is used again.
type State struct {
	Len       int       // tokens
	Recurrent []float32 // of the sequence, after them
}

// Save implements Runner.
func (s *Session) Save(seq int, st *State) {
	n := s.model.Plan.RecurrentFloats
	st.Len = s.used[seq]
	st.Recurrent = append(st.Recurrent[:0], s.mem.Recurrent[seq*n:][:n]...)
}

// Restore implements Runner.
func (s *Session) Restore(seq int, st *State) {
	n := s.model.Plan.RecurrentFloats
	copy(s.mem.Recurrent[seq*n:][:n], st.Recurrent)
	s.used[seq] = st.Len
}

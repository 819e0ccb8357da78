// The clock for kernels that do not advance it by a counter: its words are plain, so that it can be bound as read.
//
// What is read from a binding that can be written is not uniform to WGSL, so no barrier may follow a branch on it.

alias ClockCount = u32;
alias ClockNumber = f32;

// The clock for kernels that do not advance it with a counter: its words are plain, so that it can be bound as read.
//
// In WGSL a value read from a writable binding is not uniform, so no barrier may follow a branch on it.

alias ClockCount = u32;
alias ClockNumber = f32;

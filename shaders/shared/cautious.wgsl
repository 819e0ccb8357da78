// The mask of Cautious AdamW, which its first launch counts and its last one follows.
//
// twin: crates/nn/src/optim/methods/cautious_adamw.rs

// Whether a moment and its gradient do not have the same sign, so that moment1 g > 0 is false. A product of small numbers
// would be 0. A NaN opposes nothing, and so spreads.
fn opposes(m: vec4f, grad: vec4f) -> vec4<bool> {
    let zero = vec4f(0.0);
    return ((m >= zero) & (grad <= zero)) | ((m <= zero) & (grad >= zero));
}

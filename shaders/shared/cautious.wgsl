// The mask of Cautious AdamW. The first launch counts it, the last one applies it.
//
// twin: crates/nn/src/optim/methods/cautious_adamw.rs

// Returns whether a moment and its gradient differ in sign, so that moment1 g > 0 is false. The product is not used,
// since that of small numbers would be 0. A NaN is never masked, and so spreads.
fn opposes(m: vec4f, grad: vec4f) -> vec4<bool> {
    let zero = vec4f(0.0);
    return ((m >= zero) & (grad <= zero)) | ((m <= zero) & (grad >= zero));
}

// Advances a count on the device, in a separate launch: for kernels that read it and do not count their workgroups.
//
//   words[0] = (words[0] + amount) mod modulus      (without a modulus: mod 2^32)
//   words[2] = words[2] + rate (1 - words[2])       (f32, if there is a rate)
//
// bindings  1: words u32 read_write
// twin      crates/tensor/src/ops/advance.rs

struct Params {
    amount: u32,
    // 0 if there is none.
    modulus: u32,
    rate: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(1)
fn main() {
    let next = words[0] + params.amount;
    words[0] = select(next, next % max(params.modulus, 1u), params.modulus > 0u);
    if (params.rate > 0.0) {
        let before = bitcast<f32>(words[2]);
        words[2] = bitcast<u32>(before + params.rate * (1.0 - before));
    }
}

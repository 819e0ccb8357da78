// Appends one number to a ring buffer on the device: log[cursor mod length] = value, cursor += 1.
//
// bindings  1: value [1] read   2: log [length] write   3: cursor [1] u32 read_write
// twin      crates/tensor/src/ops/record_value.rs
//
// Losses are stored this way, step by step, and read occasionally.

struct Params {
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> value: array<f32>;
@group(0) @binding(2) var<storage, read_write> log_values: array<f32>;
@group(0) @binding(3) var<storage, read_write> cursor: array<u32>;

@compute @workgroup_size(1)
fn main() {
    log_values[cursor[0] % params.length] = value[0];
    cursor[0] += 1u;
}

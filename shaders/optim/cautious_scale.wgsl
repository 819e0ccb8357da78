// Writes the inverse of the mean of each tensor's mask into the tensor's rows in the table: the second of three
// launches of Cautious AdamW.
//
//   own_factor = 1 / max(sum [moment1 g > 0] / elements, least)
//
// The sum is exact for tensors of at most 2^24 elements.
//
// bindings  1: segments [count] read   2: partials [chunks] read   3: table [rows] read_write
// twin      crates/nn/src/optim/methods/cautious_adamw.rs
// source    Liang et al.: Cautious optimizers: improving training with one line of code (2024), and the authors' own code

struct Params {
    count: u32,
    least: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> segments: array<Segment>;
@group(0) @binding(2) var<storage, read> partials: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4f>;

fn own_factor(segment: Segment, sums: vec2f) -> f32 {
    // A tensor without elements has no rows.
    let share = sums.x / f32(max(segment.elements, 1u));
    return 1.0 / max(share, params.least);
}

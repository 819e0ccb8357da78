// Writes the trust ratio of each tensor, from the sums of its chunks, into the tensor's rows in the table: the second
// of three launches of LARS and LAMB.
//
//   own_factor = coefficient ‖a‖ / (‖b‖ + eps), 1 where a norm is 0
//                LARS: a the parameters, b the gradient with weight decay; LAMB: a the parameters, b the direction
//
// bindings  1: segments [count] read   2: partials [chunks] read   3: table [rows] read_write
// twin      crates/tensor/src/optim/segments.rs
// source    You, Gitman, Ginsburg: Large batch training of convolutional networks (2017); optax.scale_by_trust_ratio

struct Params {
    count: u32,
    coefficient: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> segments: array<Segment>;
@group(0) @binding(2) var<storage, read> partials: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4f>;

fn own_factor(segment: Segment, sums: vec2f) -> f32 {
    if (sums.x == 0.0 || sums.y == 0.0) { return 1.0; }
    return params.coefficient * sqrt(sums.x) / (sqrt(sums.y) + params.eps);
}

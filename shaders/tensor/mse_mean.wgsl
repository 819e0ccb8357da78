// The mean squared error, its gradient, and, where LOGGED, an entry in a log: the loss of a small batch in one
// workgroup. mean = 1/length sum (x - target)^2, grad = 2 (x - target) / length.
//
// bindings  1: x [length] read   2: targets [length] read   3: x_grad [length] write
//           4: mean [1] write   5: log [log_length] write   6: cursor [1] u32 read_write
// bytes     8 read, 4 written per element
// twin      crates/tensor/src/ops/mse.rs
//
// Lane i takes the elements i, i + 64, …, and a tree adds the lanes.

struct Params {
    length: u32,
    scale: f32,
    log_length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read_write> x_grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> log_values: array<f32>;
@group(0) @binding(6) var<storage, read_write> cursor: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var total = 0.0;
    for (var i = lane; i < params.length; i += 64u) {
        let difference = x[i] - targets[i];
        x_grad[i] = 2.0 * params.scale * difference;
        total += difference * difference;
    }
    finish_mean(lane, total);
}

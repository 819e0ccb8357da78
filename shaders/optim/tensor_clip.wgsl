// Writes the clip factor of each tensor, from the sums of its chunks, into the tensor's rows in the table.
//
//   factor = min(1, limit / (‖g‖ + 1e-6)); for root mean squares 1 / max(1, ‖g‖ / sqrt(n) / limit)
//   norms  = ‖g‖^2, factor
//
// bindings  1: segments [count] read   2: partials [chunks] read   3: table [rows] read_write   4: norms [count] write
// twin      crates/tensor/src/optim/tensor_clip.rs
// source    torch.nn.utils.clip_grad_norm_, for each tensor separately; optax.clip_by_block_rms

struct Params {
    count: u32,
    limit: f32,
    root_mean_square: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> segments: array<Segment>;
@group(0) @binding(2) var<storage, read> partials: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> norms: array<vec2f>;

fn clip_factor(square: f32, elements: u32) -> f32 {
    if (is_nan(square)) { return nan(); }
    if (params.root_mean_square != 0u) {
        let ratio = sqrt(square / f32(max(elements, 1u))) / params.limit;
        return select(1.0, 1.0 / ratio, ratio > 1.0);
    }
    return min(1.0, params.limit / (sqrt(square) + 1e-6));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    var segment = Segment();
    if (number < params.count) { segment = segments[number]; }
    let square = segment_sums(lane, segment).x;
    let factor = clip_factor(square, segment.elements);
    write_clip_factor(lane, segment, factor);
    if (lane == 0u && number < params.count) { norms[number] = vec2f(square, factor); }
}

// The sum of squares of the gradients of each chunk of a tensor: the first launch of clipping tensor by tensor.
//
//   partials = sum grad^2, 0
//
// bindings  1: grads [4 vectors] read   2: chunks read   3: partials [chunks] write
// bytes     4 read per parameter
// twin      crates/tensor/src/optim/tensor_clip.rs
//
// The order is that of shared/chunks.wgsl.

struct Params {
    first_chunk: u32,
    chunk_count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read> chunks: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec2f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    var squares = vec4f(0.0);
    if (number < params.chunk_count) {
        let chunk = chunks[params.first_chunk + number];
        for (var i = lane; i < chunk.y; i += 64u) {
            let grad = grads[chunk.x + i];
            squares += grad * grad;
        }
    }
    let sum = tree_sum(lane, (squares.x + squares.y) + (squares.z + squares.w));
    if (lane == 0u && number < params.chunk_count) { partials[params.first_chunk + number] = vec2f(sum, 0.0); }
}

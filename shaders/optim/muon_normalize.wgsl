// What is to be made orthogonal, each matrix over its Frobenius norm: x = x / max(|x|, eps).
//
// bindings  1: matrices [tensors] read   2: partials [blocks] read   3: x [elements] read_write
// bytes     4 read, 4 written per parameter
// twin      crates/tensor/src/optim/muon.rs
//
// Each workgroup joins the partial sums of its matrix, at most 1,024, in the same order as all others of it.

struct Params {
    work: Work,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(2) var<storage, read> partials: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= params.work.blocks) { return; }
    let block = params.work.first_block + index;
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    if (matrix.is_matrix == 0u) { return; }
    var sum = 0.0;
    for (var i = lane; i < matrix.places.w; i += 64u) { sum += partials[matrix.first_block + i]; }
    let norm = max(sqrt(tree_sum(lane, sum)), params.eps);
    let start = (block - matrix.first_block) * matrix.block_elements;
    let end = min(start + matrix.block_elements, matrix.length);
    for (var i = start + lane; i < end; i += 64u) {
        let place = matrix.places.x + i;
        x[place] = x[place] / norm;
    }
}

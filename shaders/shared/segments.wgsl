// The end of sums over tensors. A workgroup takes a tensor, adds the partial sums of its chunks, and writes values
// computed from them into the tensor's rows in the table.
//
// A kernel that appends this text declares `segments: array<Segment>`, `partials: array<vec2f>` and, to write,
// `table: array<vec4f>`.
//
// twin: crates/tensor/src/optim/segments.rs

struct Segment {
    first_chunk: u32,
    chunks: u32,
    first_row: u32,
    rows: u32,
    elements: u32,
}

// Returns both sums of a tensor. Must be called by all lanes (uniform control flow).
fn segment_sums(lane: u32, segment: Segment) -> vec2f {
    var sums = vec2f(0.0);
    for (var i = lane; i < segment.chunks; i += 64u) { sums += partials[segment.first_chunk + i]; }
    let a = tree_sum(lane, sums.x);
    let b = tree_sum(lane, sums.y);
    return vec2f(a, b);
}

fn write_clip_factor(lane: u32, segment: Segment, factor: f32) {
    for (var i = lane; i < segment.rows; i += 64u) { table[segment.first_row + i].z = factor; }
}

fn write_own_factor(lane: u32, segment: Segment, factor: f32) {
    for (var i = lane; i < segment.rows; i += 64u) { table[segment.first_row + i].w = factor; }
}

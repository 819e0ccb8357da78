// The loop over the chunks of tensors, for kernels that store two sums of squares per chunk. A workgroup takes a
// chunk, at most 4,096 elements of one tensor.
//
// A kernel that appends this text declares, besides the declarations that shared/update.wgsl requires
//
//   struct Params     with `first_chunk: u32, chunk_count: u32`: the chunks of this page
//   chunks            at some binding, `array<vec2u>`: the first vector of each chunk, and its number of vectors
//   partials          at some binding, `array<vec2f>`: the sums of each chunk
//   fn terms          (i: u32, step: Step, f: Factors) -> Terms: processes one vector and returns the terms to sum
//
// Lane j adds the squares of the vectors j, j + 64, … of the chunk. Components are added in pairs, and lanes by a
// tree. SEGMENTED is always on here, so that each tensor has its rows in the table.
//
// twin: crates/tensor/src/optim/segments.rs

struct Terms {
    a: vec4f,
    b: vec4f,
}

fn sum_of_components(x: vec4f) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

const IS_FOLLOWED = true;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    let now = current_time(lane);
    var a = vec4f(0.0);
    var b = vec4f(0.0);
    if (number < params.chunk_count) {
        let chunk = chunks[params.first_chunk + number];
        let own = time_of(chunk.x, now);
        let step = step_of(own);
        let f = factors(own);
        for (var i = lane; i < chunk.y; i += 64u) {
            let found = terms(chunk.x + i, step, f);
            a += found.a * found.a;
            b += found.b * found.b;
        }
    }
    let sum_a = tree_sum(lane, sum_of_components(a));
    let sum_b = tree_sum(lane, sum_of_components(b));
    if (lane == 0u && number < params.chunk_count) {
        partials[params.first_chunk + number] = vec2f(sum_a, sum_b);
    }
    finish_time(now, lane, groups);
}

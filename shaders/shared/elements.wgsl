// The way of an element-wise update through an arena.
//
// A kernel that appends this text and shared/update.wgsl declares
//
//   its state         from binding 5 on, `array<vec4f>` each
//   struct Factors    what is the same for all elements by its own rule, and `fn factors(now: Now) -> Factors`;
//                     those of methods with two moments stand in shared/moments.wgsl
//   fn update         (i: u32, step: Step, f: Factors): one vector of parameters and its state, one step further
//
// In hardware the lanes run together: neighbours take neighbouring vectors, so that what they load is one piece of
// memory, and each takes two. In software they run one after the other: a lane takes four vectors that lie in a row,
// so that memory is read from one end to the other.
//
// A workgroup takes 512 parameters so, or 1,024 where SEQUENTIAL. The arena is padded to 1,024, so there is no tail.
//
// twin: crates/tensor/src/optim/elements.rs

override SEQUENTIAL: bool = false;

const IS_FOLLOWED = false;

fn first_vector(block: u32, lane: u32) -> u32 {
    return select(block * 128u + lane, block * 256u + 4u * lane, SEQUENTIAL);
}

// From one vector of a lane to its next.
fn vector_step() -> u32 {
    return select(64u, 1u, SEQUENTIAL);
}

// A grid that is folded over x and y may hold workgroups past the end; one that is SEQUENTIAL is not folded. Drivers in
// software drop a condition that is known beforehand, and with it a test for every lane of every load.
fn is_inside(i: u32) -> bool {
    return SEQUENTIAL || i < params.settings.vectors;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = first_vector(group_index(group, groups), lane);
    let now = current_time();
    if (is_inside(i)) {
        var own = time_of(i, now);
        var step = step_of(own);
        var f = factors(own);
        update(i, step, f);
        // The four vectors of a lane that takes them in a row belong to one tensor.
        if (SEGMENTED && !SEQUENTIAL) {
            own = time_of(i + vector_step(), now);
            step = step_of(own);
            f = factors(own);
        }
        update(i + vector_step(), step, f);
        if (SEQUENTIAL) {
            update(i + 2u, step, f);
            update(i + 3u, step, f);
        }
    }
    finish_time(now, lane, groups);
}

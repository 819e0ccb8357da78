// The way of an element-wise update through an arena.
//
// A kernel that appends this text and shared/update.wgsl declares
//
//   its state         from binding 5 on, `array<vec4f>` each
//   struct Factors    what is the same for all elements by its own rule, and `fn factors(now: Now) -> Factors`;
//                     those of methods with two moments stand in shared/moments.wgsl
//   fn update         (i: u32, step: Step, f: Factors): one vector of parameters and its state, one step further;
//                     `i` is the place in each array and nothing else
//
// In hardware the lanes run together: neighbours take neighbouring vectors, so that what they load is one piece of
// memory, and each takes two, 512 parameters a workgroup. The arena is padded to 1,024, so there is no tail.
//
// In software an update goes another way, two vectors at a time: see shared/pairs.wgsl.
//
// twin: crates/tensor/src/optim/elements.rs

const IS_FOLLOWED = false;

// Two vectors, 64 apart. A grid that is folded over x and y may hold workgroups past the end.
fn update_block(block: u32, lane: u32, now: Now) {
    let i = block * 128u + lane;
    if (i >= params.settings.vectors) { return; }
    update_at(i, now);
    update_at(i + 64u, now);
}

fn update_at(i: u32, now: Now) {
    let own = time_of(i, now);
    update(i, step_of(own), factors(own));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let now = current_time(lane);
    update_block(group_index(group, groups), lane, now);
    finish_time(now, lane, groups);
}

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
// memory, and each takes two, 512 parameters a workgroup. The arena is padded to 1,024, so there is no tail.
//
// In software, where SEQUENTIAL, a workgroup costs microseconds of its own, and its lanes run in groups of at most 16, one
// group after the other. So there are few workgroups, and 16 lanes go over one piece of memory from end to end; a lane
// takes four vectors in a row, which belong to one tensor.
//
// twin: crates/tensor/src/optim/elements.rs

override SEQUENTIAL: bool = false;

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

// The share of 16 lanes of one of `groups` workgroups: units of 64 vectors, from end to end.
fn update_share(group: u32, groups: u32, lane: u32, now: Now) {
    let share = 4u * group + lane / 16u;
    let units = params.settings.vectors / 64u;
    let end = (share + 1u) * units / (4u * groups);
    for (var unit = share * units / (4u * groups); unit < end; unit++) {
        let i = 64u * unit + 4u * (lane % 16u);
        let own = time_of(i, now);
        let step = step_of(own);
        let f = factors(own);
        for (var k = 0u; k < 4u; k++) { update(i + k, step, f); }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let now = current_time(lane);
    if (SEQUENTIAL) {
        update_share(group.x, groups.x, lane, now);
    } else {
        update_block(group_index(group, groups), lane, now);
    }
    finish_time(now, lane, groups);
}

// The loop of an element-wise update over an arena.
//
// A kernel that appends this text and shared/update.wgsl declares
//
//   its state         from binding 5 on, `array<vec4f>` each
//   struct Factors    the method's factors common to all elements, and `fn factors(now: Now) -> Factors`;
//                     those of methods with two moments are in shared/moments.wgsl
//   fn update         (i: u32, step: Step, f: Factors): advances one vector of parameters and its state by a step;
//                     `i` is only used as an index into the arrays
//
// In hardware the lanes run together. Neighbouring lanes take neighbouring vectors, so their loads coalesce. Each
// lane takes two vectors, 512 parameters per workgroup. The arena is padded to 1,024, so there is no tail.
//
// In software an update uses another loop, two vectors at a time: see shared/pairs.wgsl.
//
// twin: crates/tensor/src/optim/elements.rs

const IS_FOLLOWED = false;

// Two vectors, 64 apart. A grid folded over x and y may contain workgroups past the end.
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

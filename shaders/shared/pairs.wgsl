// The loop of an element-wise update over an arena in software, two vectors at a time.
//
// The lanes load two neighbouring vectors of every array, then compute. The text of an update is the same as in
// hardware; its array names refer to the two vectors in private memory.
//
// A workgroup itself costs microseconds, and its lanes run in groups of at most 16, one group after the other. So
// there are few workgroups, and 16 lanes process one contiguous piece of memory.
//
// A kernel that appends this text appends shared/update.wgsl and, from crates/tensor/src/optim/pairs.rs,
//
//   fn load_pair    (pair: u32): loads the vectors of all arrays into private memory
//   fn store_pair   (pair: u32): stores the arrays that are written back
//
// twin: crates/tensor/src/optim/elements.rs

const IS_FOLLOWED = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let now = current_time(lane);
    // The part of 16 lanes: units of 16 pairs.
    let share = 4u * group.x + lane / 16u;
    let units = params.settings.vectors / 32u;
    let first = share * units / (4u * groups.x);
    var end = (share + 1u) * units / (4u * groups.x);
    var step = step_of(now);
    var f = factors(now);
    if (!SEGMENTED) {
        // A skipped step changes nothing, so the loop is empty and the update need not choose between old and new
        // values.
        end = select(end, first, step.skip);
        step.skip = false;
    }
    for (var unit = first; unit < end; unit++) {
        let pair = 16u * unit + lane % 16u;
        if (SEGMENTED) {
            let own = time_of(2u * pair, now);
            step = step_of(own);
            f = factors(own);
        }
        load_pair(pair);
        update(0u, step, f);
        update(1u, step, f);
        store_pair(pair);
    }
    finish_time(now, lane, groups);
}

// The loop over matrices by blocks alone. A kernel that appends this text and shared/matrices.wgsl declares `fn
// take_block(block: u32, lane: u32)`, which a workgroup calls once, in uniform control flow.

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index < params.work.blocks) { take_block(params.work.first_block + index, lane); }
}

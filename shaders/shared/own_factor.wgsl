// The body of a kernel that computes a factor for each tensor: one workgroup per tensor.
//
// A kernel that appends this text declares the bindings of shared/segments.wgsl and `params.count`, the number of
// tensors, and defines `own_factor`, which returns the factor from a tensor and its sums.

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    var segment = Segment();
    if (number < params.count) { segment = segments[number]; }
    let sums = segment_sums(lane, segment);
    write_own_factor(lane, segment, own_factor(segment, sums));
}

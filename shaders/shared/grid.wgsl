// The number of a workgroup in a grid that was folded over x and y.
//
// A dimension of a dispatch has at most 65,535 workgroups under portable limits, so the host folds larger grids into
// two dimensions. This function undoes the fold. The last row may contain workgroups past the end: kernels test their
// index.

fn group_index(group: vec3u, groups: vec3u) -> u32 {
    return group.y * groups.x + group.x;
}

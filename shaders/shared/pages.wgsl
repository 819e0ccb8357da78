// The order in which a workgroup processes its 1,024 elements of a page of an arena: four vectors per lane. In
// hardware neighbouring lanes take neighbouring vectors. In software, where SEQUENTIAL, a lane takes four consecutive
// vectors.
//
// Pages are padded to 1,024 elements. A grid folded over x and y may contain workgroups past the end, so a kernel
// tests the vector's number.
//
// twin: crates/tensor/src/optim/pages.rs

override SEQUENTIAL: bool = false;

fn vector_of(block: u32, lane: u32, j: u32) -> u32 {
    return select(block * 256u + j * 64u + lane, block * 256u + 4u * lane + j, SEQUENTIAL);
}

// How a workgroup goes through its 1,024 elements of a page of an arena: four vectors a lane. In hardware neighbouring
// lanes take neighbouring vectors; in software, where SEQUENTIAL, a lane takes four that lie in a row.
//
// Pages are padded to 1,024 elements. A grid that is folded over x and y may hold workgroups past the end, so a kernel
// tests the vector's number.
//
// twin: crates/tensor/src/optim/pages.rs

override SEQUENTIAL: bool = false;

fn vector_of(block: u32, lane: u32, j: u32) -> u32 {
    return select(block * 256u + j * 64u + lane, block * 256u + 4u * lane + j, SEQUENTIAL);
}

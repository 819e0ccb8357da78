// The extents, offsets and strides of a product c[m, n] = a[m, k] b[k, n]; if tables address the operands, their starts in place
// of strides.
//
// twin: crates/tensor/src/matmul/product.rs

struct Product {
    m: u32,
    n: u32,
    k: u32,
    a_offset: u32,
    a_row: u32,
    a_column: u32,
    b_offset: u32,
    b_row: u32,
    b_column: u32,
    // The length of a slice, if the sum over k is split.
    slice: u32,
    // A structure within a uniform one occupies whole vectors of four words.
    padding0: u32,
    padding1: u32,
}

// A batch of matrix products: up to four axes, of which each operand has a stride, 0 where it is stretched.

struct Batch {
    extents: vec4u,
    a_strides: vec4u,
    b_strides: vec4u,
    bias_strides: vec4u,
    count: u32,
    // A structure within a uniform one occupies whole vectors of four words.
    padding0: u32,
    padding1: u32,
    padding2: u32,
}

// The places of the first element of a, b and the bias of one product, relative to those of the first product.
fn offsets_of(index: u32, batch: Batch) -> vec3u {
    let w = index % batch.extents.w;
    let above_w = index / batch.extents.w;
    let z = above_w % batch.extents.z;
    let above_z = above_w / batch.extents.z;
    let coordinates = vec4u(above_z / batch.extents.y, above_z % batch.extents.y, z, w);
    let a = coordinates * batch.a_strides;
    let b = coordinates * batch.b_strides;
    let bias = coordinates * batch.bias_strides;
    return vec3u(a.x + a.y + a.z + a.w, b.x + b.y + b.z + b.w, bias.x + bias.y + bias.z + bias.w);
}

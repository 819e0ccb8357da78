// The places that a list of indices along the middle one of three dimensions names.
//
// A kernel that appends this text declares
//
//   params            with outer, extent, count, inner, and index_strides: the distances of neighbouring indices along
//                     the outer, the middle and the inner dimension, and the number of the operation for faults
//   indices           array<u32>
//   faults            see shared/faults.wgsl
//
// `place` is the number of an element of [outer, count, inner].

const NO_PLACE: u32 = 0xffffffffu;

// The number of an element of [outer, extent, inner], or NO_PLACE for an invalid index.
fn named_place(place: u32) -> u32 {
    let inner = place % params.inner;
    let line = place / params.inner;
    let outer = line / params.count;
    let strides = params.index_strides;
    let index = indices[outer * strides.x + (line % params.count) * strides.y + inner * strides.z];
    if (index >= params.extent) {
        note_fault(index, params.extent, strides.w);
        return NO_PLACE;
    }
    return (outer * params.extent + index) * params.inner + inner;
}

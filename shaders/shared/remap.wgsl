// Where the elements of a rearranged tensor come from: each axis of the result has a rule for its coordinates.
//
// A kernel that appends this text declares `params: Remap`.
//
// twin: crates/tensor/src/ops/remap.rs

struct Remap {
    // Of each axis of the result: its extent, the stride of x along it, the extent of x, and the rule.
    axes: array<vec4u, 8>,
    // What a rule subtracts, and what it divides by.
    shifts: array<vec4i, 2>,
    steps: array<vec4u, 2>,
    length: u32,
    rank: u32,
    offset: u32,
    // The bits of elements that come from nowhere.
    fill: u32,
    // If not 0: of the last two axes, only elements with low <= column - row <= high come from x.
    banded: u32,
    low: i32,
    high: i32,
    // Where elements go: from `start` on, in runs that start `pitch` elements after each other.
    run: u32,
    pitch: u32,
    start: u32,
}

const NOWHERE = 0xffffffffu;

// The coordinate in x of a place along axis d.
fn coordinate(d: u32, place: u32) -> u32 {
    let extent = params.axes[d].z;
    let rule = params.axes[d].w;
    let last = i32(extent) - 1;
    let shifted = i32(place) - params.shifts[d / 4u][d % 4u];
    let step = params.steps[d / 4u][d % 4u];
    // The nearest end.
    if (rule == 1u) { return u32(clamp(shifted, 0, last)); }
    // Mirrored at the first and the last element.
    if (rule == 2u) { return u32(last - abs(last - abs(shifted))); }
    // Around the axis; the shift is not positive.
    if (rule == 3u) { return u32(shifted) % extent; }
    // From the back.
    if (rule == 4u) { return extent - 1u - place; }
    // Each element so many times.
    if (rule == 5u) { return place / step; }
    // Every so many places, and nothing between and around them.
    if (shifted < 0 || u32(shifted) % step != 0u || u32(shifted) / step >= extent) { return NOWHERE; }
    return u32(shifted) / step;
}

// The place in the buffer of x of element i of the result.
fn source(i: u32) -> u32 {
    var index = params.offset;
    var rest = i;
    var distance = 0i;
    for (var d = params.rank; d > 0u; d--) {
        let axis = params.axes[d - 1u];
        let place = rest % axis.x;
        rest = rest / axis.x;
        if (d == params.rank) {
            distance += i32(place);
        } else if (d + 1u == params.rank) {
            distance -= i32(place);
        }
        let found = coordinate(d - 1u, place);
        if (found == NOWHERE) { return NOWHERE; }
        index += found * axis.y;
    }
    if (params.banded != 0u && (distance < params.low || distance > params.high)) { return NOWHERE; }
    return index;
}

// Sorts blocks of each row: keys in ascending order, equal ones by their places.
//
// bindings  1: x [rows, row_length] read   2: keys [rows, row_length] write   3: places [rows, row_length] write
// bytes     4 read, 8 written per element
// twin      crates/tensor/src/ops/sort.rs
// source    Batcher, Sorting Networks and Their Applications (1968)
//
// A key is a word whose order is that of the elements. A place is the number of an element in its row. A workgroup has
// 1,024 slots, for one block of a long row or for several short rows: a row of up to 1,024 elements takes `slots` slots,
// a power of two. Slots without an element have the largest key and place, so they come last.

struct Params {
    rows: u32,
    row_length: u32,
    blocks: u32,
    slots: u32,
    kind: u32,
    is_descending: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> places: array<u32>;

const SLOTS: u32 = 1024u;
const NONE: u32 = 0xffffffffu;

var<workgroup> tile_keys: array<u32, 1024>;
var<workgroup> tile_places: array<u32, 1024>;

fn key_of(word: u32) -> u32 {
    var key = word;
    if (params.kind == 1u) {
        // f32: NaN is the largest, and zeros are equal.
        let magnitude = word & 0x7fffffffu;
        key = select(word | 0x80000000u, ~word, word >= 0x80000000u);
        if (magnitude == 0u) { key = 0x80000000u; }
        if (magnitude > 0x7f800000u) { key = NONE; }
    } else if (params.kind == 2u) {
        // A mask: elements other than 0, NaN included, come first.
        key = select(0u, 1u, (word & 0x7fffffffu) == 0u);
    } else if (params.kind == 3u) {
        key = select(0u, 1u, word == 0u);
    }
    return select(key, ~key, params.is_descending != 0u);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_block = group_index(group, groups) * (SLOTS / params.slots);
    for (var slot = lane; slot < SLOTS; slot += 64u) {
        let block = first_block + slot / params.slots;
        let row = block / params.blocks;
        let place = (block % params.blocks) * params.slots + slot % params.slots;
        var key = NONE;
        var own = NONE;
        if (row < params.rows && place < params.row_length) {
            key = key_of(x[row * params.row_length + place]);
            own = place;
        }
        tile_keys[slot] = key;
        tile_places[slot] = own;
    }
    workgroupBarrier();
    for (var size = 2u; size <= params.slots; size *= 2u) {
        for (var step = size / 2u; step > 0u; step = step / 2u) {
            for (var pair = lane; pair < SLOTS / 2u; pair += 64u) {
                let low = (pair / step) * 2u * step + pair % step;
                let high = low + step;
                // Every second run is sorted downwards, but for the last size, which is the whole block.
                let is_down = size < params.slots && (low & size) != 0u;
                let key = tile_keys[low];
                let other = tile_keys[high];
                let is_after = key > other || (key == other && tile_places[low] > tile_places[high]);
                if (is_after != is_down) {
                    tile_keys[low] = other;
                    tile_keys[high] = key;
                    let place = tile_places[low];
                    tile_places[low] = tile_places[high];
                    tile_places[high] = place;
                }
            }
            workgroupBarrier();
        }
    }
    for (var slot = lane; slot < SLOTS; slot += 64u) {
        let block = first_block + slot / params.slots;
        let row = block / params.blocks;
        let place = (block % params.blocks) * params.slots + slot % params.slots;
        if (row < params.rows && place < params.row_length) {
            keys[row * params.row_length + place] = tile_keys[slot];
            places[row * params.row_length + place] = tile_places[slot];
        }
    }
}

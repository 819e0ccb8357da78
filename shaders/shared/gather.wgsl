// Gathers rows by their numbers, word by word, for all types.
//
// A kernel that appends this text declares
//
//   params            with rows, columns, count and lanes
//   source, gathered  the table of rows, and the result: array<vec4u>
//   fn row_of         (sample: u32) -> u32: the row number of a sample
//
// An invalid row number gives a row of NaN (for u32 0x7fc00000, the same bits).
//
// BY_FOUR: the length of a row is a multiple of four. Then a row has `lanes` lanes, and each takes every `lanes`-th
// vector of four, so that all lanes of a row look up its number once. Otherwise a lane writes four neighbouring
// elements, which may belong to several rows, and zeros past the end.
//
// twin: crates/tensor/src/ops/gather_rows.rs

override BY_FOUR: bool = false;

const NO_ROW = 0x7fc00000u;

fn gather(lane: u32) {
    if (BY_FOUR) {
        gather_vectors(lane);
    } else {
        gather_words(lane);
    }
}

// One lane's part of a row, four vectors at a time. The loads precede the stores, so that they are independent. Only
// the last vectors of a row need a test.
fn gather_vectors(lane: u32) {
    let sample = lane / params.lanes;
    if (sample >= params.count) { return; }
    let vectors = params.columns / 4u;
    let row = row_of(sample);
    let is_row = row < params.rows;
    let first = select(0u, row, is_row) * vectors;
    let start = sample * vectors;
    let step = params.lanes;
    var i = lane % step;
    for (; i + 3u * step < vectors; i += 4u * step) {
        let a = source[first + i];
        let b = source[first + i + step];
        let c = source[first + i + 2u * step];
        let d = source[first + i + 3u * step];
        gathered[start + i] = select(vec4u(NO_ROW), a, is_row);
        gathered[start + i + step] = select(vec4u(NO_ROW), b, is_row);
        gathered[start + i + 2u * step] = select(vec4u(NO_ROW), c, is_row);
        gathered[start + i + 3u * step] = select(vec4u(NO_ROW), d, is_row);
    }
    for (; i < vectors; i += step) {
        gathered[start + i] = select(vec4u(NO_ROW), source[first + i], is_row);
    }
}

// Four neighbouring elements of the result.
fn gather_words(lane: u32) {
    if (4u * lane >= params.count * params.columns) { return; }
    var sample = 4u * lane / params.columns;
    var column = 4u * lane % params.columns;
    var row = row_of(sample);
    var words = vec4u(0u);
    for (var k = 0u; k < 4u; k++) {
        if (column == params.columns) {
            column = 0u;
            sample += 1u;
            if (sample < params.count) { row = row_of(sample); }
        }
        var word = NO_ROW;
        if (row < params.rows) {
            let place = row * params.columns + column;
            word = source[place / 4u][place % 4u];
        }
        words[k] = select(0u, word, sample < params.count);
        column += 1u;
    }
    gathered[lane] = words;
}

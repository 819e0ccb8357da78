// The end of a mean over a workgroup. A tree adds the lanes' sums; the result is scaled and stored, and, if LOGGED,
// appended to a ring buffer.
//
// A kernel that appends this text declares `mean`, `log_values`, `cursor`, `params.scale` and `params.log_length`.
// Must be called by all lanes (uniform control flow).

override LOGGED: bool = false;

fn finish_mean(lane: u32, total: f32) {
    let value = tree_sum(lane, total) * params.scale;
    if (lane != 0u) { return; }
    mean[0] = value;
    if (LOGGED) {
        log_values[cursor[0] % params.log_length] = value;
        cursor[0] += 1u;
    }
}

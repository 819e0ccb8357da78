//! The division of rows among lanes: a workgroup takes a row, or a lane if rows are short.

use crate::kernel::Launch;

/// The most elements of a row that a lane takes alone. `shaders/shared/short_rows.wgsl` adds at most as many in the
/// order of a workgroup.
const MOST_SHORT: usize = 32;

/// The override constants of kernels without other constants.
pub(super) const SHORT_VARIANTS: &[&[(&str, f64)]] = &[&[("SHORT", 0.0)], &[("SHORT", 1.0)]];

/// Elements of a column that a lane takes by itself, at most; longer ones are copied into rows.
const MOST_OF_COLUMN: usize = 1024;

/// Returns whether a lane takes a column by itself, so that neighbouring lanes take neighbouring columns.
pub(super) fn of_columns(extent: usize) -> bool {
    extent <= MOST_OF_COLUMN
}

/// Returns the launch with a lane or a workgroup for each row.
pub(super) fn over_rows(launch: Launch, rows: usize, row_length: usize) -> Launch {
    let is_short = row_length <= MOST_SHORT;
    let workgroups = if is_short { rows.div_ceil(crate::math::LANES) } else { rows };
    launch.constant("SHORT", is_short).workgroups(workgroups)
}

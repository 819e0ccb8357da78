//! Portions of rows that a model computes at once, outside of training.

use std::ops::Range;

use thalweg_tensor::Device;

/// The maximum number of rows of a portion, as a rule; a multiple of [`LEAST_ROWS`].
const MOST_ROWS: usize = 4096;

/// The minimum number of rows of a portion on a GPU. A slice of a data set's classes may begin at each multiple,
/// because a binding begins at a multiple of 256 bytes.
const LEAST_ROWS: usize = 64;

/// The minimum number of rows of a portion on the CPU. The CPU sums products with a vector in another order if they
/// have at most 256 results, so no portion of many rows may be as short as that.
const LEAST_ROWS_OF_CPU: usize = 512;

/// The maximum number of bytes of the outputs of the widest layer, as a rule. Every device can bind four times as much.
const MOST_BYTES: u64 = 32 << 20;

/// Returns the rows of a portion for a model with layers of these widths on a device: a multiple of 64.
pub(crate) fn rows_at_once(device: &Device, widths: impl IntoIterator<Item = usize>) -> usize {
    let bytes = MOST_BYTES.min(device.info().max_binding_bytes);
    let widest = widths.into_iter().max().unwrap_or(1).max(1);
    let rows = (bytes / 4) as usize / widest;
    let least = if device.is_cpu() { LEAST_ROWS_OF_CPU } else { LEAST_ROWS };
    (rows / LEAST_ROWS * LEAST_ROWS).clamp(least, MOST_ROWS)
}

/// Returns the ranges of portions of `rows` rows: each has at least `at_once` and less than twice as many, or all rows.
pub(crate) fn even_portions(rows: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    let portions = (rows / at_once).max(1);
    (0..portions).map(move |i| i * rows / portions..(i + 1) * rows / portions).filter(|portion| !portion.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_layers_go_in_fewer_rows() {
        let device = Device::cpu();
        for (widths, rows) in [
            (&[4, 128, 64, 3][..], 4096),
            (&[4, 2048, 3], 4096),
            (&[4, 3000], 2752),
            (&[65_536], 512),
            (&[1 << 30], 512),
            (&[], 4096),
        ] {
            assert_eq!(rows_at_once(&device, widths.iter().copied()), rows, "{widths:?}");
        }
    }

    #[test]
    fn portions_are_even_and_hold_every_row_once() {
        for (rows, at_once, lengths) in [
            (0, 64, &[][..]),
            (1, 64, &[1]),
            (64, 64, &[64]),
            (127, 64, &[127]),
            (129, 64, &[64, 65]),
            (200, 64, &[66, 67, 67]),
            (10_000, 4096, &[5000, 5000]),
        ] {
            let portions: Vec<_> = even_portions(rows, at_once).collect();
            assert_eq!(portions.iter().map(Range::len).collect::<Vec<_>>(), lengths, "{rows}");
            assert!(portions.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(portions.last().map_or(0, |last| last.end), rows);
        }
    }
}

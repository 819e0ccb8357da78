//! Products of every shape, layout and set of inner loops, compared with their definition.

use super::*;

fn numbers(count: usize) -> Vec<f32> {
    let mut state = 9u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

#[test]
fn products_of_every_shape_and_layout_are_those_of_the_definition() {
    // Tests each set of inner loops that this processor supports.
    for kernels in Kernels::available() {
        TEST_KERNELS.set(Some(kernels));
        hold_products_against_their_definition();
    }
    TEST_KERNELS.set(None);
}

fn strided(data: &[f32], row: usize, column: usize) -> Operand<'_> {
    Operand { data, places: Places::Strides { row, column } }
}

fn element(matrix: Operand<'_>, row: usize, column: usize) -> f32 {
    let (row_stride, column_stride) = matrix.strides().unwrap();
    matrix.data[row * row_stride + column * column_stride]
}

/// The places of rows and columns of a strided matrix.
fn tables(matrix: Operand<'_>, rows: usize, columns: usize) -> (Vec<u32>, Vec<u32>) {
    let (row, column) = matrix.strides().unwrap();
    let table = |count: usize, stride: usize| (0..count).map(|i| (i * stride) as u32).collect();
    (table(rows, row), table(columns, column))
}

fn hold_products_against_their_definition() {
    let extents = [1, 2, 3, 6, 7, 16, 17, 64, 65, 130];
    for (m, n, k) in extents
        .iter()
        .flat_map(|&m| extents.iter().flat_map(move |&n| [1, 2, 5, 64, 515].map(|k| (m, n, k))))
        .chain([(70, 800, 33), (600, 7, 1030)])
    {
        let (a_data, b_data, before) = (numbers(m * k + 3), numbers(k * n), numbers(m * n));
        for (a_transposed, b_transposed, accumulate) in
            [(false, false, false), (true, false, true), (false, true, true), (true, true, false)]
        {
            let (row, column) = if a_transposed { (1, m) } else { (k, 1) };
            let a = strided(&a_data[3..], row, column);
            let (row, column) = if b_transposed { (1, k) } else { (n, 1) };
            let b = strided(&b_data, row, column);
            let mut c = before.clone();
            multiply([m, n, k], a, b, &mut c, accumulate, |_, column, c| {
                c.iter_mut().enumerate().for_each(|(i, c)| *c += (column + i) as f32);
            });
            for i in [0, m / 2, m - 1] {
                for j in 0..n {
                    let term = |l: usize| f64::from(element(a, i, l)) * f64::from(element(b, l, j));
                    let start = if accumulate { f64::from(before[i * n + j]) } else { 0.0 };
                    let expected = start + (0..k).map(term).sum::<f64>() + j as f64;
                    let size = start.abs() + (0..k).map(|l| term(l).abs()).sum::<f64>() + j as f64;
                    let found = f64::from(c[i * n + j]);
                    let close = (found - expected).abs() < 2e-6 * size + 1e-7;
                    assert!(close, "{m} {n} {k} at {i} {j}: {found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn operands_may_have_any_strides_and_offsets() {
    for kernels in Kernels::available() {
        TEST_KERNELS.set(Some(kernels));
        let data = numbers(200_000);
        // Rows and columns with gaps, in reverse order, or all at the same index.
        let strides = |rows: usize, columns: usize| {
            [
                (columns, 1),
                (1, rows),
                (columns + 3, 1),
                (1, rows + 5),
                (2 * columns, 2),
                (3, 3 * rows),
                (0, 1),
                (1, 0),
                (0, 0),
                (0, 2),
                (2, 0),
            ]
        };
        for [m, n, k] in [[1, 9, 7], [9, 1, 33], [1, 1, 40], [5, 6, 2], [17, 35, 19], [70, 33, 65], [3, 90, 130]] {
            let (of_a, of_b) = (strides(m, k), strides(k, n));
            for (i, (j, accumulate)) in (0..of_a.len()).flat_map(|i| [(i, (i + 1, true)), (i, (i + 5, false))]) {
                let (a, b) = (of_a[i], of_b[j % of_b.len()]);
                let a = strided(&data[i..], a.0, a.1);
                let b = strided(&data[3 * j..], b.0, b.1);
                let mut c = vec![0.5; m * n];
                multiply([m, n, k], a, b, &mut c, accumulate, |_, _, _| ());
                let (a_tables, b_tables) = (tables(a, m, k), tables(b, k, n));
                let mut gathered = vec![0.5; m * n];
                let (a_places, b_places) = (&a_tables, &b_tables);
                multiply(
                    [m, n, k],
                    Operand { places: Places::Tables { rows: &a_places.0, columns: &a_places.1 }, ..a },
                    Operand { places: Places::Tables { rows: &b_places.0, columns: &b_places.1 }, ..b },
                    &mut gathered,
                    accumulate,
                    |_, _, _| (),
                );
                for (place, &found) in c.iter().enumerate().chain(gathered.iter().enumerate()) {
                    let (row, column) = (place / n, place % n);
                    let term = |l: usize| f64::from(element(a, row, l)) * f64::from(element(b, l, column));
                    let start = if accumulate { 0.5 } else { 0.0 };
                    let expected = start + (0..k).map(term).sum::<f64>();
                    let size = start + (0..k).map(|l| term(l).abs()).sum::<f64>();
                    let close = (f64::from(found) - expected).abs() < 2e-6 * size + 1e-7;
                    assert!(close, "{m} {n} {k}, {a:?} {b:?} at {row} {column}", a = of_a[i], b = of_b[j % 11]);
                }
            }
        }
    }
    TEST_KERNELS.set(None);
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for [m, n, k] in [[64, 256, 784], [256, 784, 64], [64, 784, 256], [300, 500, 1100]] {
        let (a, b) = (numbers(m * k), numbers(k * n));
        let product = |threads: usize| {
            crate::threads::with_threads(threads, || {
                let mut c = vec![0.0; m * n];
                let a = strided(&a, k, 1);
                let b = strided(&b, 1, k);
                multiply([m, n, k], a, b, &mut c, false, |_, _, _| ());
                c
            })
        };
        let one = product(1);
        assert!(product(2) == one && product(3) == one, "{m} {n} {k}");
    }
}

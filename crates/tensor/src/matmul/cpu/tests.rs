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
            let a = Operand { data: &a_data[3..], row, column };
            let (row, column) = if b_transposed { (1, k) } else { (n, 1) };
            let b = Operand { data: &b_data, row, column };
            let mut c = before.clone();
            multiply([m, n, k], a, b, &mut c, accumulate, |_, column, c| {
                c.iter_mut().enumerate().for_each(|(i, c)| *c += (column + i) as f32);
            });
            for i in [0, m / 2, m - 1] {
                for j in 0..n {
                    let term = |l: usize| {
                        f64::from(a.data[i * a.row + l * a.column]) * f64::from(b.data[l * b.row + j * b.column])
                    };
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
                let a = Operand { data: &data[i..], row: a.0, column: a.1 };
                let b = Operand { data: &data[3 * j..], row: b.0, column: b.1 };
                let mut c = vec![0.5; m * n];
                multiply([m, n, k], a, b, &mut c, accumulate, |_, _, _| ());
                for (place, &found) in c.iter().enumerate() {
                    let (row, column) = (place / n, place % n);
                    let term = |l: usize| {
                        f64::from(a.data[row * a.row + l * a.column]) * f64::from(b.data[l * b.row + column * b.column])
                    };
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
                let a = Operand { data: &a, row: k, column: 1 };
                let b = Operand { data: &b, row: 1, column: k };
                multiply([m, n, k], a, b, &mut c, false, |_, _, _| ());
                c
            })
        };
        let one = product(1);
        assert!(product(2) == one && product(3) == one, "{m} {n} {k}");
    }
}

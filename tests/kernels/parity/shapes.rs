//! Random shapes.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::common::{Tolerance, numbers, tensor};
use crate::parity::Pair;

/// Returns a configuration with few cases, always the same ones.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

/// Returns a shape; for each of two operands the dimensions with extent 1, and the number of missing outer ones.
fn broadcast_shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    proptest::collection::vec((1usize..6, any::<(bool, bool)>()), 0..6).prop_flat_map(|dimensions| {
        let rank = dimensions.len();
        (Just(dimensions), 0..=rank, 0..=rank).prop_map(|(dimensions, lacks_left, lacks_right)| {
            let of = |stretched: fn(&(bool, bool)) -> bool, lacks: usize| -> Vec<usize> {
                let extent = |(extent, which): &(usize, (bool, bool))| if stretched(which) { 1 } else { *extent };
                dimensions.iter().map(extent).skip(lacks).collect()
            };
            // One of the two has all dimensions.
            let (lacks_left, lacks_right) = if lacks_left <= lacks_right { (0, lacks_right) } else { (lacks_left, 0) };
            (of(|which| which.0, lacks_left), of(|which| which.1, lacks_right))
        })
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn broadcasts((left, right) in broadcast_shapes(), order in any::<u64>()) {
        let Some(pair) = Pair::open() else { return Ok(()) };
        let x = numbers(order, left.iter().product(), -3.0, 3.0);
        let y = numbers(order ^ 1, right.iter().product(), -3.0, 3.0);
        pair.compare(&format!("{left:?} {right:?}"), Tolerance::EXACT, |device| {
            let (x, y) = (tensor(device, &x, &left), tensor(device, &y, &right));
            let z = x.sub(&y).unwrap();
            // And the inverse: sums in a fixed order, the same on both devices.
            let back = z.sum_to(&left).unwrap();
            let mut reversed: Vec<usize> = (0..z.rank()).collect();
            reversed.reverse();
            vec![z.permute(&reversed).unwrap().copy().unwrap(), z, back]
        });
    }

    #[test]
    fn products(m in 0usize..140, n in 0usize..80, k in 0usize..80, transposed in any::<(bool, bool)>()) {
        let Some(pair) = Pair::open() else { return Ok(()) };
        let whole = |seed, count| -> Vec<f32> {
            numbers(seed, count, -4.5, 4.5).into_iter().map(f32::round).collect()
        };
        let (a, b) = (whole(1, m * k), whole(2, k * n));
        pair.compare(&format!("{m} {n} {k}"), Tolerance::EXACT, |device| {
            let a = if transposed.0 { tensor(device, &a, &[k, m]).t().unwrap() } else { tensor(device, &a, &[m, k]) };
            let b = if transposed.1 { tensor(device, &b, &[n, k]).t().unwrap() } else { tensor(device, &b, &[k, n]) };
            vec![a.matmul(&b).unwrap()]
        });
    }

    #[test]
    fn reductions(outer in 0usize..5, extent in 0usize..600, inner in 1usize..5, seed in any::<u64>()) {
        let Some(pair) = Pair::open() else { return Ok(()) };
        let x = numbers(seed, outer * extent * inner, -3.0, 3.0);
        let tolerance = pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-4, 1e-6));
        pair.compare(&format!("[{outer}, {extent}, {inner}]"), tolerance, |device| {
            let x = tensor(device, &x, &[outer, extent, inner]);
            vec![x.sum_along(1, true).unwrap(), x.max_along(1, true).unwrap(), x.min_along(1, true).unwrap(), x.sum().unwrap()]
        });
    }
}

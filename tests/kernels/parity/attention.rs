//! Attention: lengths around tiles and blocks, shared heads, masks, views, and lengths that take several launches.

use thalweg::tensor::{Attention, Device, Tensor};

use super::Pair;
use crate::common::Tolerance;

/// Exponentials have an error of 2 ulp, and a device may contract the products. The sums have up to 5,000 terms of both
/// signs.
const ATTENTION: Tolerance = Tolerance::new(4e-6, 1e-5);

/// Gradients are sums of up to 2,100 products of a share and a difference of numbers up to 30.
const GRADIENTS: Tolerance = Tolerance::new(4e-5, 2e-5);

/// Batches, heads, heads of keys, queries, keys, width.
type Sizes = [usize; 6];

const SIZES: &[Sizes] = &[
    [1, 1, 1, 1, 1, 1],
    [2, 2, 2, 5, 7, 4],
    [1, 2, 2, 8, 8, 8],
    [2, 1, 1, 9, 17, 3],
    [1, 3, 3, 33, 31, 16],
    [1, 4, 2, 16, 40, 32],
    [2, 6, 2, 13, 19, 5],
    [1, 2, 1, 20, 12, 64],
    [1, 2, 2, 19, 21, 65],
    [1, 2, 1, 17, 18, 128],
    [1, 1, 1, 3, 4100, 8],
    [1, 2, 1, 4099, 2, 4],
    [1, 3, 1, 700, 5, 96],
    [1, 1, 1, 2, 2051, 97],
    [0, 2, 2, 3, 3, 4],
    [1, 2, 2, 0, 3, 4],
    [1, 2, 2, 3, 0, 4],
    [1, 2, 2, 3, 4, 0],
];

/// The inputs: queries, keys, values, a mask, and the gradient of the result.
fn inputs(device: &Device, [b, h, hk, l, s, d]: Sizes) -> [Tensor; 5] {
    let draw = |seed, shape: &[usize]| Tensor::uniform(device, seed, 0, -2.0, 2.0, shape).unwrap();
    // Views as of a layer: heads come last in memory.
    let heads = |seed, heads, rows| draw(seed, &[b, rows, heads, d]).transpose(1, 2).unwrap();
    let mask = draw(3, &[l, s]);
    let mut elements = mask.to_vec::<f32>().unwrap();
    for (i, x) in elements.iter_mut().enumerate() {
        // The third row has no key.
        if i % 5 == 3 || (i / s.max(1)) == 2 {
            *x = f32::NEG_INFINITY;
        }
    }
    let mask = Tensor::from_slice(device, &elements, &[l, s]).unwrap();
    [heads(0, h, l), heads(1, hk, s), heads(2, hk, s), mask, draw(4, &[b, h, l, d])]
}

fn hold(pair: &Pair, tolerance: Tolerance, compute: fn([Tensor; 5], bool, &Attention) -> Vec<Tensor>) {
    for &sizes in SIZES {
        for (causal, has_mask) in [(false, false), (true, false), (false, true), (true, true)] {
            let settings = Attention { causal, scale: has_mask.then_some(0.3) };
            let what = format!("{sizes:?}, causal {causal}, mask {has_mask}");
            pair.compare(&what, tolerance, |device| compute(inputs(device, sizes), has_mask, &settings));
        }
    }
}

pub(crate) fn attention(pair: &Pair) {
    hold(pair, ATTENTION, |[q, k, v, mask, _], has_mask, settings| {
        vec![q.scaled_dot_product_attention(&k, &v, has_mask.then_some(&mask), settings).unwrap()]
    });
    let (n, inf) = (f32::NAN, f32::INFINITY);
    for hard in [[n, 1.0, 0.0, 1.0], [inf, 1.0, 1.0, 0.0], [1e20, -1e20, 3e19, 0.0], [100.0, -100.0, 50.0, 0.0]] {
        pair.compare(&format!("{hard:?}"), ATTENTION, |device| {
            let q = Tensor::from_slice(device, &hard, &[4, 1]).unwrap();
            vec![q.scaled_dot_product_attention(&q, &q, None, &Attention::default()).unwrap()]
        });
    }
}

pub(crate) fn attention_grads(pair: &Pair) {
    hold(pair, GRADIENTS, |[q, k, v, mask, g], has_mask, settings| {
        let mask = has_mask.then_some(&mask);
        let (y, state) = q.attention_forward(&k, &v, mask, settings).unwrap();
        q.attention_backward(&k, &v, mask, settings, &y, &state, &g).unwrap().to_vec()
    });
}

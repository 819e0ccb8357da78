//! Attention compared with its formula, at the edges, and misused.

use super::*;
use crate::Device;

fn draw(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::uniform(&Device::cpu(), seed, 0, -2.0, 2.0, shape).unwrap()
}

fn floats(x: &Tensor) -> Vec<f64> {
    x.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// softmax(scale q kᵀ + mask) v in f64, of four axes.
fn expected(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, settings: &Attention) -> Vec<f64> {
    let [b, h, l, d] = q.shape()[..] else { panic!("{:?}", q.shape()) };
    let (key_heads, s) = (k.shape()[1], k.shape()[2]);
    let scale = f64::from(settings.scale_of(d));
    let mask = mask.map(|mask| floats(&mask.broadcast_to(&[b, h, l, s]).unwrap()));
    let (q, k, v) = (floats(q), floats(k), floats(v));
    let mut y = Vec::new();
    for (head, row) in (0..b * h).flat_map(|head| (0..l).map(move |row| (head, row))) {
        let key_head = head / h * key_heads + head % h / (h / key_heads);
        let q = &q[(head * l + row) * d..][..d];
        let score = |key: usize| {
            let product: f64 = q.iter().zip(&k[(key_head * s + key) * d..]).map(|(q, k)| q * k).sum();
            let masked = mask.as_ref().map_or(0.0, |mask| mask[(head * l + row) * s + key]);
            if settings.causal && key > row { f64::NEG_INFINITY } else { scale * product + masked }
        };
        let powers: Vec<f64> = (0..s).map(|key| score(key).exp()).collect();
        let sum: f64 = powers.iter().sum();
        for column in 0..d {
            let weighted: f64 = powers.iter().enumerate().map(|(j, p)| p * v[(key_head * s + j) * d + column]).sum();
            y.push(if sum == 0.0 { 0.0 } else { weighted / sum });
        }
    }
    y
}

#[test]
fn results_are_those_of_the_formula() {
    for [b, h, key_heads, l, s, d] in
        [[2, 2, 2, 5, 7, 4], [1, 4, 2, 17, 16, 9], [1, 2, 1, 20, 33, 70], [2, 3, 3, 40, 9, 128], [1, 1, 1, 3, 4200, 1]]
    {
        let (q, k, v) = (draw(0, &[b, h, l, d]), draw(1, &[b, key_heads, s, d]), draw(2, &[b, key_heads, s, d]));
        let mask = draw(3, &[h, 1, s]);
        for (mask, causal) in [(None, false), (None, true), (Some(&mask), false), (Some(&mask), true)] {
            let settings = Attention { causal, scale: causal.then_some(0.5) };
            let y = q.scaled_dot_product_attention(&k, &v, mask, &settings).unwrap();
            assert_eq!(y.shape(), q.shape());
            for (y, expected) in floats(&y).iter().zip(expected(&q, &k, &v, mask, &settings)) {
                assert!((y - expected).abs() < 1e-5, "{:?}: {y} and {expected}", q.shape());
            }
        }
    }
}

#[test]
fn any_number_of_leading_axes() {
    let settings = Attention { causal: true, ..Attention::default() };
    let (q, k, v) = (draw(0, &[2, 2, 5, 4]), draw(1, &[2, 2, 6, 4]), draw(2, &[2, 2, 6, 4]));
    let y = q.scaled_dot_product_attention(&k, &v, None, &settings).unwrap();
    let at = |x: &Tensor| x.slice(0, 1, 2).unwrap().squeeze(0).unwrap();
    let three = at(&q).scaled_dot_product_attention(&at(&k), &at(&v), None, &settings).unwrap();
    assert_eq!((three.shape(), floats(&three)), (&[2, 5, 4][..], floats(&at(&y))));
    let two = at(&at(&q)).scaled_dot_product_attention(&at(&at(&k)), &at(&at(&v)), None, &settings).unwrap();
    assert_eq!((two.shape(), floats(&two)), (&[5, 4][..], floats(&at(&at(&y)))));
    let more = |x: &Tensor| x.reshape(&[&[1, 2], &x.shape()[1..]].concat()).unwrap();
    let five = more(&q).scaled_dot_product_attention(&more(&k), &more(&v), None, &settings).unwrap();
    assert_eq!((five.shape(), floats(&five)), (&[1, 2, 2, 5, 4][..], floats(&y)));
    // Three axes with shared heads.
    let shared = at(&q).scaled_dot_product_attention(
        &at(&k).slice(0, 0, 1).unwrap(),
        &at(&v).slice(0, 0, 1).unwrap(),
        None,
        &settings,
    );
    assert_eq!(floats(&shared.unwrap())[..20], floats(&three)[..20]);
}

#[test]
fn rows_without_a_key_are_zeros_with_zero_gradients() {
    let device = Device::cpu();
    let (q, k) = (draw(0, &[3, 4]), draw(1, &[5, 4]));
    let mut hidden = [0f32; 15];
    hidden[5..10].fill(f32::NEG_INFINITY);
    let mask = Tensor::from_slice(&device, &hidden, &[3, 5]).unwrap();
    let settings = Attention::default();
    let (y, state) = q.attention_forward(&k, &k, Some(&mask), &settings).unwrap();
    assert_eq!(floats(&y)[4..8], [0.0; 4]);
    let g = draw(2, &[3, 4]);
    let gradients = q.attention_backward(&k, &k, Some(&mask), &settings, &y, &state, &g).unwrap();
    assert_eq!(floats(&gradients[0])[4..8], [0.0; 4]);
    assert!(gradients.iter().all(|gradient| floats(gradient).iter().all(|x| x.is_finite())));
    let none = q.scaled_dot_product_attention(&draw(0, &[0, 4]), &draw(0, &[0, 4]), None, &settings).unwrap();
    assert_eq!(floats(&none), [0.0; 12]);
    assert_eq!(draw(0, &[0, 4]).scaled_dot_product_attention(&k, &k, None, &settings).unwrap().shape(), [0, 4]);
}

#[test]
fn misuse_is_an_error_that_says_what() {
    let settings = Attention::default();
    let of = |q: &[usize], k: &[usize], v: &[usize]| {
        let error = draw(0, q).scaled_dot_product_attention(&draw(0, k), &draw(0, v), None, &settings).unwrap_err();
        error.to_string()
    };
    assert!(of(&[2, 129], &[2, 129], &[2, 129]).contains("width of a head = 129, but it must be at most 128"));
    assert!(of(&[2, 4], &[3, 4], &[3, 5]).contains("keys and values"));
    assert!(of(&[2, 4], &[3, 5], &[3, 5]).contains("same width"));
    assert!(of(&[3, 2, 4], &[2, 3, 4], &[2, 3, 4]).contains("multiple"));
    assert!(of(&[2, 3, 2, 4], &[1, 3, 2, 4], &[1, 3, 2, 4]).contains("same batches"));
    assert!(of(&[4], &[4], &[4]).contains("at least 2 dimensions"));
    let mask = draw(0, &[3, 3]);
    let q = draw(0, &[2, 4]);
    assert!(q.scaled_dot_product_attention(&q, &q, Some(&mask), &settings).is_err());
}

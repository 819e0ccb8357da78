//! A small language model with one layer of a transformer compared with the oracle (PyTorch).

use crate::common::devices;
use crate::common::oracle::{self, Oracle};
use crate::common::skip;
use crate::networks::Model;
use thalweg::nn::{Activation, CrossEntropy, Init, Loss, Module, ParamsBuilder};
use thalweg::nn::{PositionalEncoding, TransformerConfig, TransformerEncoderLayer};
use thalweg::tensor::Tensor;

/// The oracle's names, in the order of declaration.
const NAMES: [&str; 15] = [
    "emb",
    "pos",
    "qkv.weight",
    "qkv.bias",
    "proj.weight",
    "proj.bias",
    "ff1.weight",
    "ff1.bias",
    "ff2.weight",
    "ff2.bias",
    "ln1.weight",
    "ln1.bias",
    "ln2.weight",
    "ln2.bias",
    "head.weight",
];

#[test]
fn transformers_learn_as_in_pytorch() {
    if oracle::whole().is_none() {
        return skip("networks/transformer: there is no ../shared/oracle");
    }
    let oracle = Oracle::open("networks/transformer");
    let tokens = oracle.array("data/tokens");
    let length = tokens.shape[1] - 1;
    let words = oracle.array("init/emb").shape[0];
    let (feedforward, width) = (oracle.array("init/ff1.weight").shape[0], 16);
    let mut run = 0;
    for case in oracle.cases() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(0);
            let embedding = builder.add("emb", &[words, width], Init::Zeros).unwrap();
            let positions = PositionalEncoding::learned(&mut builder, "pos", length, width).unwrap();
            let (activation, dropout) = (Activation::Gelu, 0.0);
            let config = TransformerConfig {
                width,
                heads: 2,
                feedforward,
                dropout,
                activation,
                norm_first: true,
                ..TransformerConfig::default()
            };
            let layer = TransformerEncoderLayer::new(&mut builder, "layer", &config).unwrap();
            let head = builder.add("head", &[words, width], Init::Zeros).unwrap();
            let model = Model { params: builder.build(&device).unwrap(), names: &NAMES };
            model.train(&oracle, case, &device, |tape, rows| {
                let part = |start: usize| -> Tensor {
                    let of_row = |&row: &usize| &tokens.values[row * (length + 1) + start..][..length];
                    let words: Vec<u32> = rows.iter().flat_map(of_row).map(|&word| word as u32).collect();
                    Tensor::from_slice(&device, &words, &[words.len()]).unwrap()
                };
                let z = tape.parameter(&embedding).unwrap().gather_rows(&part(0)).unwrap();
                let z = positions.forward(z.reshape(&[rows.len(), length, width]).unwrap()).unwrap();
                let z = layer.forward(z, None, true).unwrap();
                let logits = z.matmul(tape.parameter(&head).unwrap().t().unwrap()).unwrap();
                CrossEntropy.of(logits.reshape(&[rows.len() * length, words]).unwrap(), &part(1)).unwrap()
            });
        }
        run += 1;
    }
    assert_eq!(run, 2);
}

//! Layers of transformers: the same bits in every run, eager and recorded; their names and their launches.

use crate::common::{devices, floats};
use thalweg::autograd::Tape;
use thalweg::nn::{
    Activation, AdamW, CrossEntropy, Linear, Loss, Module, Optimizer, Params, ParamsBuilder, Parts, PositionalEncoding,
    Result, TransformerConfig, TransformerDecoderLayer, TransformerEncoderLayer,
};
use thalweg::tensor::{Device, Tensor};

/// An encoder, a decoder and a classification of each position.
struct Net {
    positions: PositionalEncoding,
    encoder: Vec<TransformerEncoderLayer>,
    decoder: Vec<TransformerDecoderLayer>,
    head: Linear,
    params: Params,
}

const CLASSES: usize = 7;

impl Net {
    fn new(device: &Device, config: &TransformerConfig, [encoders, decoders]: [usize; 2], length: usize) -> Self {
        let mut builder = ParamsBuilder::new(0);
        let positions = PositionalEncoding::sinusoidal(length, config.width).unwrap();
        let encoder = (0..encoders)
            .map(|i| TransformerEncoderLayer::new(&mut builder.path("encoder"), i, config).unwrap())
            .collect();
        let decoder = (0..decoders)
            .map(|i| TransformerDecoderLayer::new(&mut builder.path("decoder"), i, config).unwrap())
            .collect();
        let head = Linear::new(&mut builder, "head", config.width, CLASSES).unwrap();
        Self { positions, encoder, decoder, head, params: builder.build(device).unwrap() }
    }

    /// Computes gradients.
    fn backward(&self, x: &Tensor, classes: &Tensor) -> Result<()> {
        let tape = Tape::new();
        let x = self.positions.forward(tape.constant(x))?;
        let mut encoded = x;
        for layer in &self.encoder {
            encoded = layer.forward(encoded, None, false)?;
        }
        let mut y = if self.decoder.is_empty() { encoded } else { x };
        for layer in &self.decoder {
            y = layer.forward(y, encoded, None, None, true)?;
        }
        let shape = y.shape();
        let logits = self.head.forward(y)?.reshape(&[shape[0] * shape[1], CLASSES])?;
        let loss = CrossEntropy.of(logits, classes)?;
        self.params.zero_grad();
        tape.backward(loss)?;
        Ok(())
    }

    fn bits(&self, of: impl Fn(&thalweg::autograd::Parameter) -> Vec<f32>) -> Vec<u32> {
        self.params.parameters().iter().flat_map(of).map(f32::to_bits).collect()
    }
}

fn data(device: &Device, [batch, length, width]: [usize; 3]) -> (Tensor, Tensor) {
    let x = Tensor::normal(device, 5, 0, 0.0, 1.0, &[batch, length, width]).unwrap();
    let classes: Vec<u32> = (0..batch * length).map(|i| (i * i % CLASSES) as u32).collect();
    (x, Tensor::from_slice(device, &classes, &[batch * length]).unwrap())
}

fn small(norm_first: bool, dropout: f32) -> TransformerConfig {
    let activation = if norm_first { Activation::Gelu } else { Activation::Relu };
    TransformerConfig { width: 24, heads: 3, feedforward: 40, dropout, activation, norm_first, eps: 1e-5 }
}

#[test]
fn gradients_have_the_same_bits_in_every_run() {
    for device in devices() {
        let net = Net::new(&device, &small(true, 0.0), [1, 1], 19);
        let (x, classes) = data(&device, [2, 19, 24]);
        let run = || {
            net.backward(&x, &classes).unwrap();
            net.bits(|parameter| floats(parameter.grad().unwrap()))
        };
        let first = run();
        assert!(first.iter().all(|bits| f32::from_bits(*bits).is_finite()));
        for i in 1..20 {
            assert!(run() == first, "run {i} on {device}");
        }
    }
}

#[test]
fn recorded_steps_have_the_bits_of_eager_ones() {
    for device in devices() {
        for (norm_first, dropout) in [(false, 0.0), (true, 0.2)] {
            let train = |recorded: bool| {
                let net = Net::new(&device, &small(norm_first, dropout), [1, 1], 13);
                let (x, classes) = data(&device, [2, 13, 24]);
                let mut optimizer = Optimizer::new(&net.params, AdamW::new(), 0.01).unwrap();
                let mut step = || -> Result<()> {
                    net.backward(&x, &classes)?;
                    optimizer.step()
                };
                step().unwrap();
                if recorded {
                    device.record(&mut step).unwrap().0.replay(3).unwrap();
                } else {
                    (0..4).for_each(|_| step().unwrap());
                }
                net.bits(|parameter| floats(parameter.value().unwrap()))
            };
            assert!(train(false) == train(true), "norm first {norm_first} on {device}");
        }
    }
}

/// A recorded step of four layers of width 128, sequences of 128, batches of 16.
#[test]
fn a_step_of_four_layers_takes_few_launches() {
    let device = Device::cpu();
    let config = TransformerConfig { width: 128, heads: 4, feedforward: 512, dropout: 0.0, ..small(true, 0.0) };
    let net = Net::new(&device, &config, [4, 0], 128);
    let (x, classes) = data(&device, [16, 128, 128]);
    let mut optimizer = Optimizer::new(&net.params, AdamW::new(), 0.001).unwrap();
    let mut step = || -> Result<()> {
        net.backward(&x, &classes)?;
        optimizer.step()
    };
    step().unwrap();
    let (recording, ()) = device.record(&mut step).unwrap();
    let (profile, ()) = device.profile(&mut step).unwrap();
    // 243 and 352.
    let (recorded, eager) = (recording.launches(), profile.launches().len());
    assert!(recorded <= 260 && eager <= 370, "{recorded} launches recorded, {eager} eager");
}

#[test]
fn names_are_those_of_pytorch() {
    let net = Net::new(&Device::cpu(), &small(false, 0.1), [1, 1], 4);
    let names = |parts: &dyn Parts| parts.named_parameters().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let both = |name: &str| [format!("{name}.weight"), format!("{name}.bias")];
    let attention = |name: &str| {
        let own = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"];
        own.map(|parameter| format!("{name}.{parameter}"))
    };
    let mut expected = attention("self_attn").to_vec();
    let rest = |norms: usize| {
        let parts = ["linear1".to_string(), "linear2".to_string()].into_iter();
        parts.chain((1..=norms).map(|i| format!("norm{i}"))).flat_map(|name| both(&name)).collect::<Vec<_>>()
    };
    assert_eq!(names(&net.encoder[0]), [expected.clone(), rest(2)].concat());
    expected.extend(attention("multihead_attn"));
    assert_eq!(names(&net.decoder[0]), [expected, rest(3)].concat());
    for parameter in net.encoder[0].parameters() {
        let (name, values) = (parameter.name().to_string(), floats(parameter.value().unwrap()));
        let largest = values.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let bound = match name.trim_start_matches("encoder.0.") {
            "self_attn.in_proj_weight" => (6f32 / (24.0 + 72.0)).sqrt(),
            "self_attn.out_proj.weight" | "linear1.weight" | "linear1.bias" => 1.0 / 24f32.sqrt(),
            "linear2.weight" | "linear2.bias" => 1.0 / 40f32.sqrt(),
            "norm1.weight" | "norm2.weight" => 1.0,
            _ => 0.0,
        };
        assert!(largest <= bound && largest >= 0.8 * bound, "{name}: {largest} of {bound}");
    }
}

#[test]
fn attention_to_itself_is_attention_with_three_times_the_same_input() {
    let device = Device::cpu();
    let net = Net::new(&device, &small(false, 0.0), [0, 1], 6);
    let (x, _) = data(&device, [2, 6, 24]);
    let tape = Tape::inference();
    let x = tape.constant(&x);
    let mut builder = ParamsBuilder::new(3);
    let attention = thalweg::nn::MultiHeadAttention::new(&mut builder, "own", 24, 3, 0.0).unwrap();
    let _params = builder.build(&device).unwrap();
    let mask = Tensor::uniform(&device, 9, 0, -1.0, 1.0, &[3, 6, 6]).unwrap();
    let own = floats(&attention.to_itself(x, Some(&mask), false).unwrap().value());
    let three = floats(&attention.forward(x, x, x, Some(&mask), false).unwrap().value());
    assert!(own.iter().zip(&three).all(|(x, y)| (x - y).abs() < 1e-6));
    assert!(attention.to_itself(x.slice(2, 0, 8).unwrap(), None, false).is_err());
    assert!(net.positions.forward(tape.constant(&Tensor::full(&device, 0f32, &[7, 24]).unwrap())).is_err());
    for (width, heads) in [(0, 1), (24, 5), (24, 0), (258, 2)] {
        assert!(thalweg::nn::MultiHeadAttention::new(&mut ParamsBuilder::new(0), "none", width, heads, 0.0).is_err());
    }
}

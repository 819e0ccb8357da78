//! Scaling of the loss: it changes no bit of the training, adapts to the gradients, and resumes.

use crate::common::{devices, numbers};
use thalweg::autograd::Tape;
use thalweg::nn::{
    AdamW, AdamW8bit, Clip, CrossEntropy, Error, GradientAccumulation, Lamb, Linear, Lion, Loss, LossScale, Method,
    Module, Muon, Optimizer, ParamsBuilder, Sam, Sgd, SharpnessAware,
};
use thalweg::tensor::{Device, Tensor};

/// A method, and its learning rate.
type Rated = (Box<dyn Method>, f64);

/// A network of two layers with its data, before its first step.
struct Run {
    layers: [Linear; 2],
    features: Tensor,
    classes: Tensor,
    optimizer: Optimizer,
}

impl Run {
    fn new(device: &Device, (method, rate): Rated, loss_scale: Option<LossScale>) -> Self {
        let mut builder = ParamsBuilder::new(3);
        let layers = [("first", 12, 32), ("second", 32, 4)]
            .map(|(name, inputs, outputs)| Linear::new(&mut builder, name, inputs, outputs).unwrap());
        let params = builder.build(device).unwrap();
        let features = Tensor::from_slice(device, &numbers(1, 20 * 12, -1.0, 1.0), &[20, 12]).unwrap();
        let classes: Vec<u32> = (0..20).map(|i| i * 7 % 4).collect();
        let classes = Tensor::from_slice(device, &classes, &[20]).unwrap();
        let mut optimizer = Optimizer::new(&params, method, rate).unwrap().with_clip_norm(0.1).unwrap();
        if let Some(loss_scale) = loss_scale {
            optimizer = optimizer.with_loss_scale(loss_scale).unwrap();
        }
        Self { layers, features, classes, optimizer }
    }

    fn step(&mut self) {
        let tape = Tape::new();
        let hidden = self.layers[0].forward(tape.constant(&self.features)).unwrap().relu().unwrap();
        let logits = self.layers[1].forward(hidden).unwrap();
        let loss = CrossEntropy.of(logits, &self.classes).unwrap();
        self.optimizer.params().zero_grad();
        tape.backward(self.optimizer.scale_loss(loss).unwrap()).unwrap();
        self.optimizer.step().unwrap();
    }

    fn bits(&self) -> Vec<u32> {
        let parameters = self.optimizer.params().parameters();
        parameters.iter().flat_map(|p| p.value().unwrap().to_vec::<f32>().unwrap()).map(f32::to_bits).collect()
    }
}

#[test]
fn powers_of_two_change_no_bit_of_what_is_learned() {
    let methods: [fn() -> Rated; 6] = [
        || (Box::new(Sgd::new().momentum(0.9)), 0.1),
        || (Box::new(AdamW::new()), 1e-3),
        || (Box::new(AdamW8bit::new()), 1e-3),
        || (Box::new(Lion::new()), 1e-4),
        || (Box::new(Lamb::new()), 1e-3),
        || (Box::new(Muon::new()), 1e-3),
    ];
    for device in devices() {
        for method in methods {
            let growing = LossScale { growth_interval: 5, ..LossScale::default() };
            let mut plain = Run::new(&device, method(), None);
            let mut scaled = Run::new(&device, method(), Some(growing));
            let before = plain.bits();
            for _ in 0..12 {
                plain.step();
                scaled.step();
            }
            let name = scaled.optimizer.method().name();
            assert!(plain.bits() != before, "{name} learned nothing");
            assert_eq!(plain.bits(), scaled.bits(), "{name}");
            let (plain, scaled) = (plain.optimizer.read_clock().unwrap(), scaled.optimizer.read_clock().unwrap());
            assert_eq!((plain.loss_scale, scaled.loss_scale), (None, Some(4.0 * 65_536.0)), "{name}");
            assert_eq!((plain.gradient_norm, plain.clipped), (scaled.gradient_norm, scaled.clipped), "{name}");
            assert!(scaled.clipped > 0, "{name}: the gradients were to be clipped");
        }
    }
}

/// Wrappers compute gradients in closures, with losses that are scaled there.
#[test]
fn wrappers_scale_as_well() {
    for device in devices() {
        let run = |loss_scale: Option<LossScale>, sharpness_aware: bool| {
            let Run { layers, features, classes, optimizer } =
                Run::new(&device, (Box::new(AdamW::new()), 1e-3), loss_scale);
            let (scaler, params) = (optimizer.loss_scaler().unwrap(), optimizer.params().clone());
            let backward = || {
                let tape = Tape::new();
                let hidden = layers[0].forward(tape.constant(&features))?.relu()?;
                let loss = CrossEntropy.of(layers[1].forward(hidden)?, &classes)?;
                Ok(tape.backward(scaler.scale(loss)?)?)
            };
            if sharpness_aware {
                let mut sam = Sam::new(optimizer, SharpnessAware::sam()).unwrap();
                (0..6).for_each(|_| sam.step(backward).unwrap());
            } else {
                let mut accumulation = GradientAccumulation::new(optimizer, 2).unwrap();
                for i in 1..=6 {
                    assert_eq!(accumulation.micro_step(backward).unwrap(), i % 2 == 0);
                }
            }
            let parameters = params.parameters().iter();
            parameters.flat_map(|p| p.value().unwrap().to_vec::<f32>().unwrap()).map(f32::to_bits).collect::<Vec<_>>()
        };
        for sharpness_aware in [false, true] {
            let growing = LossScale { growth_interval: 2, ..LossScale::default() };
            let (plain, scaled) = (run(None, sharpness_aware), run(Some(growing), sharpness_aware));
            assert_eq!(plain, scaled, "sharpness-aware: {sharpness_aware}");
        }
    }
}

/// At 2^126 gradients overflow: steps are skipped, and the scale is halved, until they fit; also in a recording.
#[test]
fn a_scale_that_is_too_large_backs_off_and_nothing_else_happens() {
    for device in devices() {
        let large = LossScale { initial_scale: 2f64.powi(126), growth_interval: 1000, ..LossScale::default() };
        let [mut eager, mut recorded] = [0, 1].map(|_| Run::new(&device, (Box::new(AdamW::new()), 1e-3), Some(large)));
        let before = eager.bits();
        eager.step();
        assert_eq!(eager.bits(), before);
        let state = eager.optimizer.read_clock().unwrap();
        assert_eq!((state.step, state.skipped, state.loss_scale), (0, 1, Some(2f32.powi(125))));
        (1..100).for_each(|_| eager.step());
        recorded.step();
        let record = || {
            recorded.step();
            Ok::<_, Error>(())
        };
        let (recording, ()) = device.record(record).unwrap();
        recording.replay(97).unwrap();
        recorded.step();
        let [one, other] = [&eager, &recorded].map(|run| run.optimizer.read_clock().unwrap());
        assert_eq!(one, other);
        assert_eq!(eager.bits(), recorded.bits());
        assert_eq!(one.step + one.skipped, 100);
        assert!(one.step > 0 && one.skipped > 1, "{one:?}");
        assert_eq!(one.loss_scale, Some(2f32.powi(126 - one.skipped as i32)));
        // The rest equals a run without skipped steps, except for the position in the schedule.
        let mut plain = Run::new(&device, (Box::new(AdamW::new()), 1e-3), None);
        (0..one.step).for_each(|_| plain.step());
        assert_eq!(plain.bits(), eager.bits());
    }
}

#[test]
fn the_scale_goes_on_where_it_was_saved() {
    let device = Device::cpu();
    let settings = LossScale { growth_interval: 7, ..LossScale::default() };
    let mut whole = Run::new(&device, (Box::new(AdamW::new()), 1e-3), Some(settings));
    (0..5).for_each(|_| whole.step());
    let saved = whole.optimizer.state_dict().unwrap();
    let mut later = Run::new(&device, (Box::new(AdamW::new()), 1e-3), Some(settings));
    for (from, to) in whole.optimizer.params().parameters().iter().zip(later.optimizer.params().parameters()) {
        to.value().unwrap().write(&from.value().unwrap().to_vec::<f32>().unwrap()).unwrap();
    }
    later.optimizer.load_state_dict(&saved).unwrap();
    for run in [&mut whole, &mut later] {
        (0..4).for_each(|_| run.step());
    }
    assert_eq!(whole.bits(), later.bits());
    assert_eq!(later.optimizer.read_clock().unwrap().loss_scale, Some(2.0 * 65_536.0));
    let mut other = Run::new(&device, (Box::new(AdamW::new()), 1e-3), None);
    let error = other.optimizer.load_state_dict(&saved).unwrap_err().to_string();
    assert!(error.contains("LossScale"), "{error}");
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let device = Device::cpu();
    let optimizer = || Run::new(&device, (Box::new(AdamW::new()), 1e-3), None).optimizer;
    let good = LossScale::default();
    for (field, wrong) in [
        ("initial_scale", LossScale { initial_scale: 0.5, ..good }),
        ("initial_scale", LossScale { initial_scale: 1e39, ..good }),
        ("growth_factor", LossScale { growth_factor: 0.5, ..good }),
        ("growth_factor", LossScale { growth_factor: f64::NAN, ..good }),
        ("backoff_factor", LossScale { backoff_factor: 0.0, ..good }),
        ("backoff_factor", LossScale { backoff_factor: 2.0, ..good }),
        ("growth_interval", LossScale { growth_interval: 0, ..good }),
    ] {
        let error = optimizer().with_loss_scale(wrong).unwrap_err();
        assert!(matches!(error, Error::Setting { field: named, .. } if named == field), "{error}");
    }
    for clip in [Clip::Value(1.0), Clip::TensorNorm(1.0), Clip::TensorRms(1.0)] {
        assert!(optimizer().with_loss_scale(good).unwrap().with_clip(clip).is_err(), "{clip:?}");
        assert!(optimizer().with_clip(clip).unwrap().with_loss_scale(good).is_err(), "{clip:?}");
    }
    assert!(optimizer().with_loss_scale(good).unwrap().with_adaptive_clip(0.01, 1e-3).is_err());
    assert!(optimizer().with_clip(Clip::PNorm { max_norm: 1.0, p: 1.0 }).unwrap().with_loss_scale(good).is_ok());
}

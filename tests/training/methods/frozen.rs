//! Parameters that are frozen and unfrozen, by themselves or by a group of one optimizer, and schedules that change,
//! also with recordings.

use std::sync::PoisonError;

use thalweg::autograd::{Parameter, Tape};
use thalweg::nn::{
    AdamW, Constant, Init, Linear, LinearRamp, Lookahead, LookaheadSettings, Method, Optimizer, ParameterGroup, Params,
    ParamsBuilder, Result, Schedule, Sgd,
};
use thalweg::tensor::{Device, Tensor};

use super::{Run, TURN, bits, forms};
use crate::common::{devices, floats, is_software, numbers};

/// Returns the bits of a parameter, and of its state.
fn bits_of(run: &Run, i: usize) -> Vec<Vec<u32>> {
    let state = run.optimizer.state().map(|(_, arena)| arena).filter(|arena| arena.len() == run.params.len());
    [run.params.values()].into_iter().chain(state).map(|arena| bits(arena.get(i))).collect()
}

fn steps(run: &mut Run, steps: usize) {
    for _ in 0..steps {
        run.set_grads();
        run.optimizer.step().unwrap();
    }
}

#[test]
fn a_frozen_parameter_stays_to_the_bit_whatever_the_method_keeps_of_it() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        for form in forms() {
            for clip_norm in [None, Some(5.0)] {
                let mut run = Run::new(&device, &form, clip_norm);
                let name = format!("{} on {device}, clip_norm {clip_norm:?}", form.name);
                steps(&mut run, 3);
                let (frozen, free) = (0, 1);
                run.params.parameters()[frozen].set_frozen(true);
                let before = [frozen, free].map(|i| bits_of(&run, i));
                steps(&mut run, 3);
                assert!(bits_of(&run, frozen) == before[0], "{name}: a frozen parameter or its state has moved");
                assert!(bits_of(&run, free) != before[1], "{name}: nothing moves");
                run.params.parameters()[frozen].set_frozen(false);
                steps(&mut run, 1);
                assert!(bits_of(&run, frozen)[0] != before[0][0], "{name}: it does not move after unfreezing");
            }
        }
    }
}

/// Two layers of one input, and a batch that gives every parameter a gradient.
struct Net {
    layers: [Linear; 2],
    params: Params,
    x: Tensor,
}

impl Net {
    fn new(device: &Device) -> Self {
        let mut builder = ParamsBuilder::new(3);
        let layers = ["body", "head"].map(|name| Linear::new(&mut builder, name, 5, 5).unwrap());
        let params = builder.build(device).unwrap();
        Self { layers, params, x: Tensor::from_slice(device, &numbers(1, 40, -1.0, 1.0), &[8, 5]).unwrap() }
    }

    fn backward(&self) -> Result<()> {
        let tape = Tape::new();
        let mut x = tape.constant(&self.x);
        for layer in &self.layers {
            x = x.linear(tape.parameter(layer.weight())?, tape.parameter(layer.bias())?, false)?;
        }
        self.params.zero_grad();
        tape.backward(x.square()?.mean()?)?;
        Ok(())
    }

    fn step(&self, optimizer: &mut Optimizer) -> Result<()> {
        self.backward()?;
        optimizer.step()
    }

    fn bits(&self) -> Vec<Vec<u32>> {
        self.params.values().tensors().iter().map(bits).collect()
    }

    /// Returns the norm of the gradients of some layers, in f64.
    fn norm(&self, parameters: &[Parameter]) -> f64 {
        let squares = |p: &Parameter| floats(p.grad().unwrap()).iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
        parameters.iter().map(squares).sum::<f64>().sqrt()
    }
}

fn decaying() -> impl Method + 'static {
    AdamW::new().weight_decay(0.5)
}

fn frozen(pattern: &str) -> ParameterGroup {
    ParameterGroup { frozen: true, ..ParameterGroup::of(pattern) }
}

#[test]
fn a_group_freezes_for_its_own_optimizer_alone() {
    for device in devices() {
        // One after the other: the second optimizer works as without the first.
        let run = |has_first: bool| {
            let net = Net::new(&device);
            if has_first {
                drop(Optimizer::new(&net.params, decaying(), 0.1).unwrap().with_groups(&[frozen("body.*")]).unwrap());
            }
            let mut second = Optimizer::new(&net.params, decaying(), 0.1).unwrap();
            (0..4).for_each(|_| net.step(&mut second).unwrap());
            net.bits()
        };
        assert!(run(true) == run(false), "{device}: a dropped optimizer goes on freezing");

        // Both in turns, with clipping: each counts the gradients of its own parameters.
        let net = Net::new(&device);
        let optimizer = |pattern| {
            let optimizer =
                Optimizer::new(&net.params, decaying(), 0.1).unwrap().with_groups(&[frozen(pattern)]).unwrap();
            optimizer.with_clip_norm(1e-3).unwrap()
        };
        let (mut of_head, mut of_body) = (optimizer("body.*"), optimizer("head.*"));
        for _ in 0..3 {
            net.backward().unwrap();
            let (body, head) = net.params.parameters().split_at(2);
            let expected = [net.norm(body), net.norm(head)];
            assert!(expected.iter().all(|&norm| norm > 0.01));
            let before = net.bits();
            of_body.step().unwrap();
            let between = net.bits();
            of_head.step().unwrap();
            let after = net.bits();
            assert!(between[2..] == before[2..] && between[..2] != before[..2], "{device}");
            assert!(after[..2] == between[..2] && after[2..] != between[2..], "{device}");
            for (optimizer, expected) in [&of_body, &of_head].into_iter().zip(expected) {
                let norm = f64::from(optimizer.read_clock().unwrap().gradient_norm);
                // Sums of 30 squares in f32.
                assert!((norm - expected).abs() < 1e-5 * expected, "{device}: {norm} is not {expected}");
            }
        }
    }
}

#[test]
fn parameters_are_unfrozen_by_and_by_through_groups_and_by_themselves() {
    for device in devices() {
        let net = Net::new(&device);
        let mut optimizer = Optimizer::new(&net.params, decaying(), 0.1).unwrap();
        let moved = |optimizer: &mut Optimizer, net: &Net| {
            let before = net.bits();
            net.step(optimizer).unwrap();
            before.iter().zip(&net.bits()).map(|(before, after)| before != after).collect::<Vec<_>>()
        };
        assert_eq!(moved(&mut optimizer, &net), [true; 4], "{device}");
        optimizer.set_groups(&[frozen("body.*"), frozen("*.bias")]).unwrap();
        assert_eq!(moved(&mut optimizer, &net), [false, false, true, false], "{device}");
        optimizer.set_groups(&[frozen("body.*")]).unwrap();
        assert_eq!(moved(&mut optimizer, &net), [false, false, true, true], "{device}");
        assert!(optimizer.set_groups(&[frozen("*"), frozen("tail.*")]).is_err());
        assert_eq!(moved(&mut optimizer, &net), [false, false, true, true], "{device}: a refused group counts");
        net.params.set_frozen("head.weight", true).unwrap();
        assert_eq!(moved(&mut optimizer, &net), [false, false, false, true], "{device}");
        optimizer.set_groups(&[]).unwrap();
        assert_eq!(moved(&mut optimizer, &net), [true, true, false, true], "{device}");
        net.params.set_frozen("*", false).unwrap();
        assert_eq!(moved(&mut optimizer, &net), [true; 4], "{device}");

        // The saved state contains that a parameter is frozen.
        net.params.set_frozen("body.bias", true).unwrap();
        let saved = optimizer.state_dict().unwrap();
        net.params.set_frozen("body.bias", false).unwrap();
        let error = optimizer.load_state_dict(&saved).unwrap_err().to_string();
        assert!(error.starts_with("body.bias: saved was") && error.contains("frozen: true"), "{error}");
        net.params.set_frozen("body.bias", true).unwrap();
        optimizer.load_state_dict(&saved).unwrap();
    }
}

#[test]
fn lookahead_leaves_a_frozen_parameter_where_it_is() {
    for device in devices() {
        let net = Net::new(&device);
        let settings = LookaheadSettings { sync_period: 2, slow_step_size: 0.5 };
        let mut lookahead = Lookahead::new(Optimizer::new(&net.params, decaying(), 0.1).unwrap(), settings).unwrap();
        let mut step = || {
            net.backward().unwrap();
            lookahead.step().unwrap();
        };
        // One step from the slow weights.
        (0..3).for_each(|_| step());
        net.params.set_frozen("head.*", true).unwrap();
        let before = net.bits();
        (0..3).for_each(|_| step());
        let after = net.bits();
        assert!(after[2..] == before[2..] && after[..2] != before[..2], "{device}");
    }
}

#[test]
fn a_recorded_step_is_refused_after_a_parameter_was_frozen_or_the_parameters_were_exchanged() {
    for device in devices() {
        let net = Net::new(&device);
        let mut optimizer = Optimizer::new(&net.params, decaying(), 0.1).unwrap();
        net.step(&mut optimizer).unwrap();
        let (recording, ()) = device.record(|| net.step(&mut optimizer)).unwrap();
        recording.replay(2).unwrap();
        let refused = |recording: &thalweg::tensor::Recording| recording.replay(1).unwrap_err().to_string();
        let frozen_bits = |net: &Net| net.bits()[2..].to_vec();

        net.params.set_frozen("head.*", true).unwrap();
        let before = frozen_bits(&net);
        let text = "replay: parameter \"head.weight\" was frozen after the recording was made; record again";
        assert_eq!(refused(&recording), text, "{device}");
        net.step(&mut optimizer).unwrap();
        let (again, ()) = device.record(|| net.step(&mut optimizer)).unwrap();
        again.replay(3).unwrap();
        assert!(frozen_bits(&net) == before, "{device}: a replay has moved a frozen parameter");

        // Unfrozen, but the table on the device is not updated yet.
        net.params.set_frozen("head.*", false).unwrap();
        assert!(refused(&recording).contains("record again"), "{device}");
        assert!(refused(&again).contains("was unfrozen"), "{device}");
        net.step(&mut optimizer).unwrap();
        let (last, ()) = device.record(|| net.step(&mut optimizer)).unwrap();
        last.replay(1).unwrap();
        assert!(frozen_bits(&net) != before, "{device}");

        // Groups of the optimizer: frozen ones must be recorded again, other rates are followed.
        optimizer.set_groups(&[ParameterGroup { lr_scale: Some(0.0), ..ParameterGroup::of("body.*") }]).unwrap();
        let before = net.bits();
        last.replay(1).unwrap();
        let after = net.bits();
        assert!(after[..2] == before[..2] && after[2..] != before[2..], "{device}: a replay does not follow a group");
        optimizer.set_groups(&[frozen("body.*")]).unwrap();
        assert!(refused(&last).contains("record again"), "{device}");
    }
    for device in devices() {
        let net = Net::new(&device);
        let optimizer = Optimizer::new(&net.params, Sgd::new(), 1e-2).unwrap();
        let mut lookahead = Lookahead::new(optimizer, LookaheadSettings::default()).unwrap();
        let mut step = || {
            net.backward()?;
            lookahead.step()
        };
        step().unwrap();
        let (recording, ()) = device.record(&mut step).unwrap();
        lookahead.eval().unwrap();
        let before = net.bits();
        let text = recording.replay(1).unwrap_err().to_string();
        assert_eq!(
            text,
            "replay: Lookahead::eval has put other values in the place of the parameters; call Lookahead::train first"
        );
        assert!(net.bits() == before, "{device}");
        lookahead.train().unwrap();
        recording.replay(1).unwrap();
    }
}

#[test]
fn a_recorded_step_follows_a_schedule_or_says_that_it_has_outgrown_its_table() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const STEPS: u64 = 5000;
    for device in devices() {
        let mut builder = ParamsBuilder::new(0);
        builder.add("weight", &[3], Init::Constant(1.0)).unwrap();
        let params = builder.build(&device).unwrap();
        let mut optimizer = Optimizer::new(&params, Sgd::new(), 0.5).unwrap();
        params.grads().unwrap();
        let (recording, ()) = device.record(|| optimizer.step()).unwrap();
        let rate = |optimizer: &Optimizer| optimizer.read_clock().unwrap().learning_rate;
        assert_eq!(rate(&optimizer), 0.5);

        // Equal steps share a row.
        optimizer.set_rate(Constant { lr: 0.25 }.over(2 * STEPS)).unwrap();
        recording.replay(STEPS as usize).unwrap();
        assert_eq!(rate(&optimizer), 0.25, "{device}");

        let ramp = LinearRamp { initial_lr: 0.0, final_lr: 1.0, steps: 4 * STEPS };
        optimizer.set_rate(ramp.over(4 * STEPS)).unwrap();
        let text = recording.replay(1).unwrap_err().to_string();
        assert!(text.starts_with("replay: a longer schedule") && text.ends_with("record again"), "{text}");
        let (again, ()) = device.record(|| optimizer.step()).unwrap();
        again.replay(STEPS as usize).unwrap();
        // Two recorded steps, and the replayed ones.
        assert_eq!(rate(&optimizer), ramp.at(2 * STEPS + 1) as f32, "{device}");
        // A shorter one is followed.
        optimizer.set_rate(Constant { lr: 0.125 }.over(10)).unwrap();
        again.replay(1).unwrap();
        assert_eq!(rate(&optimizer), 0.125, "{device}");
        // So is one of the same length.
        optimizer.set_rate(ramp.over(4 * STEPS)).unwrap();
        again.replay(1).unwrap();
        assert_eq!(rate(&optimizer), ramp.at(2 * STEPS + 3) as f32, "{device}");

        // Within a recording nothing is written.
        let refused = device.record(|| optimizer.set_rate(ramp.over(40 * STEPS))).map(drop).unwrap_err().to_string();
        assert!(refused.contains("not while a recording is made"), "{refused}");
        again.replay(1).unwrap();
        assert_eq!(rate(&optimizer), ramp.at(2 * STEPS + 4) as f32, "{device}");
    }
}

/// Mesa's software drivers bind 128 MiB, 8,388,608 rows.
#[test]
fn a_schedule_that_no_buffer_holds_is_an_error_that_says_so() {
    for device in devices().into_iter().filter(is_software) {
        let mut builder = ParamsBuilder::new(0);
        builder.add("weight", &[3], Init::Constant(1.0)).unwrap();
        let params = builder.build(&device).unwrap();
        let mut optimizer = Optimizer::new(&params, Sgd::new(), 0.5).unwrap();
        let steps = 8_400_000;
        let ramp = LinearRamp { initial_lr: 0.0, final_lr: 1.0, steps };
        let text = optimizer.set_rate(ramp.over(steps)).unwrap_err().to_string();
        assert!(text.starts_with("steps = 8400000, but it must be fewer: each takes 16 bytes of one buffer"), "{text}");
        // The previous schedule still applies.
        params.grads().unwrap();
        optimizer.step().unwrap();
        assert_eq!(optimizer.read_clock().unwrap().learning_rate, 0.5);
        optimizer.set_rate(Constant { lr: 0.25 }.over(steps)).unwrap();
    }
}

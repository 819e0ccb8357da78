//! Custom losses, steps, inputs and buffers.

use super::*;

/// |output - target|, which this library does not have.
#[derive(Debug)]
pub(super) struct AbsoluteError;

impl Loss for AbsoluteError {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        output.sub(targets)?.abs()
    }
}

#[test]
fn a_loss_and_a_step_from_outside_are_trained_in_recorded_steps() {
    for device in devices() {
        let train = data(&device, 100);
        let with_loss = |recording: bool| {
            let (model, params) = network(&device, 1);
            let mut trainer = Trainer::new(model, adam(&params), AbsoluteError).with_recording(recording);
            let history = trainer.fit(&train, Some(&train), &OPTIONS, |_| ()).unwrap();
            assert!(history.epochs[5].train_loss < 0.9 * history.epochs[0].train_loss, "{device}");
            assert_eq!(history.epochs[5].test.unwrap().loss, history.train.loss);
            (bits(&params), reports(&history))
        };
        let with_step = |recording: bool| {
            let (model, params) = network(&device, 1);
            let mut trainer = Trainer::with_step(model, adam(&params), |context, batch| {
                let output = context.model().forward(context.constant(&batch.inputs[0]))?;
                AbsoluteError.of(output, &batch.targets)
            })
            .with_recording(recording);
            let history = trainer.fit(&train, Some(&train), &OPTIONS, |_| ()).unwrap();
            (
                bits(&params),
                history.epochs.iter().map(|report| report.train_loss).collect::<Vec<_>>(),
                history.train.loss,
            )
        };
        assert!(with_loss(true) == with_loss(false), "{device}");
        let (stepped, losses, last) = with_step(true);
        assert!((stepped.clone(), losses, last) == with_step(false), "{device}");
        assert!(stepped == with_loss(true).0, "{device}: the same loss, by a closure");
    }
}

/// Compares two inputs with one layer.
struct Twin {
    layer: Linear,
}

parts!(Twin { layer });

impl Twin {
    fn forward<'t>(&self, left: Var<'t>, right: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        self.layer.forward(left)?.sub(self.layer.forward(right)?)
    }
}

#[test]
fn a_model_with_two_inputs_is_trained_and_evaluated() {
    for device in devices() {
        let [left, right] = [4, 5].map(|seed| numbers(seed, 200, -1.0, 1.0));
        let values: Vec<f32> =
            left.chunks(2).zip(right.chunks(2)).map(|(x, y)| 3.0 * (x[0] - y[0]) - (x[1] - y[1])).collect();
        let inputs = vec![tensor(&device, &left, &[100, 2]), tensor(&device, &right, &[100, 2])];
        let train = Dataset::with_inputs(inputs, tensor(&device, &values, &[100, 1])).unwrap();
        let make = || {
            let mut builder = ParamsBuilder::new(0);
            let model = Twin { layer: Linear::new(&mut builder, "layer", 2, 1).unwrap() };
            let params = builder.build(&device).unwrap();
            let sgd = Optimizer::new(&params, Sgd::new(), 0.3).unwrap();
            Trainer::with_forward(model, sgd, Mse, |context, inputs| match inputs {
                [left, right] => context.model().forward(*left, *right),
                _ => Err(Error::Inputs { expected: 2, found: inputs.len() }.into()),
            })
        };
        let mut trainer = make();
        let options = FitOptions { epochs: 30, batch_size: 16, seed: 0 };
        let history = trainer.fit(&train, None, &options, |_| ()).unwrap();
        assert!(history.train.r2.unwrap() > 0.999, "{device}: {:?}", history.train);
        let weight = floats(trainer.model().layer.weight().value().unwrap());
        assert!((weight[0] - 3.0).abs() < 0.05 && (weight[1] + 1.0).abs() < 0.05, "{device}: {weight:?}");
        let error = make().fit(&data(&device, 20), None, &options, |_| ()).unwrap_err().to_string();
        assert_eq!(error, "the model takes 2 inputs, but the data have 1");
    }
}

/// Shifts its input by a running mean, which each step of training updates.
struct Centred {
    layer: Linear,
    mean: Buffer,
    scale: Parameter,
}

parts!(Centred { layer, mean, scale });

impl Centred {
    fn new(builder: &mut ParamsBuilder) -> Result<Self> {
        Ok(Self {
            layer: Linear::new(builder, "layer", 4, 1)?,
            mean: builder.buffer("mean", &[1, 4], Init::Zeros)?,
            scale: builder.add("scale", &[1, 4], Init::Constant(1.0))?,
        })
    }
}

impl Module for Centred {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        let tape = input.tape();
        let mean = self.mean.value()?.copy()?;
        if tape.is_training() {
            let batch = input.value().mean_along(0, true)?;
            self.mean.set(&mean.affine(0.75, 0.0)?.add(&batch.affine(0.25, 0.0)?)?)?;
        }
        self.layer.forward(input.sub(tape.constant(&mean))?.mul(tape.parameter(&self.scale)?)?)
    }
}

#[test]
fn buffers_move_in_recorded_steps_and_are_saved_but_not_trained() {
    let folder = tempfile::tempdir().unwrap();
    let [path, stopped] = ["run", "stopped"].map(|name| folder.path().join(name));
    for device in devices() {
        let train = data(&device, 100);
        let make = |recording: bool| {
            let mut builder = ParamsBuilder::new(1);
            let model = Centred::new(&mut builder).unwrap();
            let params = builder.build(&device).unwrap();
            (params.clone(), Trainer::new(model, adam(&params), Mse).with_recording(recording))
        };
        let (params, mut eager) = make(false);
        let history = eager.fit(&train, None, &OPTIONS, |_| ()).unwrap();
        let mean = floats(params.buffers()[0].value().unwrap());
        assert!(mean.iter().all(|&x| x != 0.0) && params.element_count() == 9, "{device}: {mean:?}");
        let host = params.to_host().unwrap();
        assert_eq!(
            host.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(),
            ["layer.weight", "layer.bias", "scale", "mean"]
        );

        let (recorded_params, mut recorded) = make(true);
        recorded.set_checkpoints(&path, 1).unwrap();
        let keep = |event: Event<'_>| match event {
            Event::Epoch(report) if report.epoch == 4 => drop(fs::copy(&path, &stopped).unwrap()),
            _ => {}
        };
        assert_eq!(reports(&recorded.fit(&train, None, &OPTIONS, keep).unwrap()), reports(&history));
        assert!(bits(&recorded_params) == bits(&params), "{device}");

        let (resumed_params, mut resumed) = make(true);
        assert_eq!(resumed.resume(&stopped).unwrap(), 3);
        resumed.fit(&train, None, &OPTIONS, |_| ()).unwrap();
        assert!(bits(&resumed_params) == bits(&params), "{device}: the buffer is saved");
    }
}

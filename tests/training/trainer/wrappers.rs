//! Wrappers of the optimizer in the trainer's steps.

use super::*;

/// Trains with a wrapper: recorded, eagerly, and stopped and resumed, which must give the same bits. Returns them.
fn hold_wrapper<S: Stepper>(what: &str, device: &Device, make: impl Fn(Mlp, Optimizer) -> Trainer<Mlp, S>) -> Vec<u32> {
    let folder = tempfile::tempdir().unwrap();
    let [path, stopped] = ["run", "stopped"].map(|name| folder.path().join(name));
    let train = data(device, 100);
    let new = || {
        let (model, params) = network(device, 1);
        make(model, adam(&params))
    };
    let run = |trainer: &mut Trainer<Mlp, S>| {
        let history = trainer.fit(&train, Some(&train), &OPTIONS, |_| ()).unwrap();
        (bits(trainer.optimizer().params()), reports(&history))
    };
    let eager = run(&mut new().with_recording(false));
    let mut recorded = new();
    recorded.set_checkpoints(&path, 1).unwrap();
    let keep = |event: Event<'_>| match event {
        Event::Epoch(report) if report.epoch == 4 => drop(fs::copy(&path, &stopped).unwrap()),
        _ => {}
    };
    let history = recorded.fit(&train, Some(&train), &OPTIONS, keep).unwrap();
    let params = recorded.optimizer().params().clone();
    assert!((bits(&params), reports(&history)) == eager, "{what} on {device}: recorded");
    let mut resumed = new();
    assert_eq!(resumed.resume(&stopped).unwrap(), 3, "{what} on {device}");
    assert!(run(&mut resumed) == eager, "{what} on {device}: resumed");
    // Neither a plain trainer nor this one accepts the checkpoint of the other.
    if what != "plain" {
        let (model, params) = network(device, 1);
        let error = Trainer::new(model, adam(&params), Mse).resume(&stopped).unwrap_err().to_string();
        assert!(error.contains("model: saved was"), "{what}: {error}");
    }
    eager.0
}

#[test]
fn wrappers_train_in_recorded_steps_and_resume_to_the_bit() {
    for device in devices() {
        let plain = hold_wrapper("plain", &device, |model, optimizer| Trainer::new(model, optimizer, Mse));
        let others = [
            hold_wrapper("SAM", &device, |model, optimizer| {
                Trainer::new(model, Sam::new(optimizer, SharpnessAware::sam()).unwrap(), Mse)
            }),
            hold_wrapper("lookahead", &device, |model, optimizer| {
                Trainer::new(model, Lookahead::new(optimizer, LookaheadSettings::default()).unwrap(), Mse)
            }),
            hold_wrapper("accumulation", &device, |model, optimizer| {
                Trainer::new(model, GradientAccumulation::new(optimizer, 3).unwrap(), Mse)
            }),
            hold_wrapper("average", &device, |model, optimizer| {
                Trainer::new(model, optimizer, Mse).with_average(Averaging::Exponential { decay: 0.9 }).unwrap()
            }),
            hold_wrapper("plateau", &device, |model, optimizer| {
                let settings = PlateauSettings { patience: 0, threshold: 0.2, ..PlateauSettings::new(0.01) };
                let schedule = ReduceOnPlateau::new(settings).unwrap();
                Trainer::new(model, optimizer, Mse).with_plateau(schedule, |report| report.train_loss).unwrap()
            }),
            hold_wrapper("chosen at run time", &device, |model, optimizer| {
                let sam: Box<dyn Stepper> = Box::new(Sam::new(optimizer, SharpnessAware::asam()).unwrap());
                let trainer = Trainer::new(model, sam, Mse);
                trainer.with_average(Averaging::Equal).unwrap()
            }),
        ];
        assert!(others.iter().all(|other| *other != plain), "{device}");
    }
}

#[test]
fn accumulation_over_parts_of_any_length_is_the_gradient_of_the_whole_batch() {
    for device in devices() {
        // 100 rows: batches of 48, 48 and 4, in parts of 10, 10, 10, 9 and 9 rows, and of 1, 1, 1, 1 and none.
        let train = data(&device, 100);
        let run = |parts: u32| {
            let mut builder = ParamsBuilder::new(1);
            let config = MlpConfig { inputs: 4, hidden: vec![12], outputs: 1, ..MlpConfig::default() };
            let model = Mlp::new(&mut builder, &config).unwrap();
            let params = builder.build(&device).unwrap();
            let sgd = Optimizer::new(&params, Sgd::new(), 0.1).unwrap();
            let mut trainer = Trainer::new(model, GradientAccumulation::new(sgd, parts).unwrap(), Mse);
            let options = FitOptions { epochs: 3, batch_size: 48, seed: 0 };
            let history = trainer.fit(&train, None, &options, |_| ()).unwrap();
            let losses: Vec<f32> = history.epochs.iter().map(|report| report.train_loss as f32).collect();
            (params.values().tensors().iter().flat_map(floats).collect::<Vec<f32>>(), losses)
        };
        let ((whole, losses), (shared, shared_losses)) = (run(1), run(5));
        // Sums in another order: some roundings of numbers around 1, over nine steps.
        let tolerance = crate::common::Tolerance::new(2e-6, 2e-5);
        crate::common::assert_close(&format!("parameters on {device}"), &shared, &whole, tolerance);
        crate::common::assert_close(&format!("losses on {device}"), &shared_losses, &losses, tolerance);
    }
}

#[test]
fn a_run_ends_with_the_average_of_the_weights_and_goes_on_from_those_that_are_trained() {
    for device in devices() {
        let train = data(&device, 100);
        let options = |epochs| FitOptions { epochs, ..OPTIONS };
        let make = || {
            let (model, params) = network(&device, 1);
            let trainer = Trainer::new(model, adam(&params), Mse);
            (params, trainer.with_average(Averaging::Exponential { decay: 0.9 }).unwrap())
        };
        let (params, mut trainer) = make();
        let history = trainer.fit(&train, Some(&train), &options(3), |_| ()).unwrap();
        let average: Vec<u32> =
            trainer.average().unwrap().averages().tensors().iter().flat_map(floats).map(f32::to_bits).collect();
        assert!(bits(&params) == average, "{device}");
        assert_eq!(history.epochs[2].test.unwrap(), history.train, "{device}");
        assert_eq!(trainer.average().unwrap().updates().unwrap(), 21);
        // A range test changes nothing in it.
        let test = thalweg::nn::RangeTest { steps: 5, ..thalweg::nn::RangeTest::default() };
        trainer.range_test(&train, &test, &OPTIONS).unwrap();
        assert!(bits(&params) == average && trainer.average().unwrap().updates().unwrap() == 21, "{device}");
        trainer.fit(&train, None, &options(2), |_| ()).unwrap();
        let (twin_params, mut twin) = make();
        twin.fit(&train, None, &options(3), |_| ()).unwrap();
        twin.fit(&train, None, &options(2), |_| ()).unwrap();
        assert!(bits(&params) == bits(&twin_params), "{device}");
    }
}

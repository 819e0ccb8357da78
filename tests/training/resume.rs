//! Training runs that are stopped and resumed from a file, compared with uninterrupted runs: the same bits.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::common::{devices, floats, numbers};
use thalweg::nn::data::Dataset;
use thalweg::nn::{
    AdamW, AdamW8bit, Asgd, CrossEntropy, Error, Event, FitOptions, History, Method, Mlp, MlpConfig, Optimizer,
    ParameterGroup, ParamsBuilder, Rate, Schedule, ScheduleFreeAdamW, Sgd, Sophia, Trainer, WarmupCosine,
};
use thalweg::tensor::Device;

const OPTIONS: FitOptions = FitOptions { epochs: 6, batch_size: 16, seed: 3 };

fn data(device: &Device, seed: u64, rows: usize) -> Dataset {
    let features = numbers(seed, 4 * rows, -1.0, 1.0);
    let classes: Vec<u32> = features.chunks(4).map(|x| u32::from(x[0] * x[1] > 0.0)).collect();
    Dataset::classification(device, &features, 4, &classes, 2).unwrap()
}

/// A method, and its learning rate.
type Rated = (Box<dyn Method>, f64);

fn trainer(device: &Device, (method, lr): Rated, dropout: f32) -> Trainer<Mlp> {
    let mut builder = ParamsBuilder::new(1);
    let config = MlpConfig { inputs: 4, hidden: vec![12, 6], outputs: 2, dropout, ..MlpConfig::default() };
    let model = Mlp::new(&mut builder, &config).unwrap();
    let params = builder.build(device).unwrap();
    // 100 rows in batches of 16: 7 steps per epoch, the last of them shorter.
    let rate = WarmupCosine::new(lr, 4, 42).over(42);
    let optimizer = Optimizer::new(&params, method, rate).unwrap().with_clip_norm(0.5).unwrap();
    let optimizer =
        optimizer.with_groups(&[ParameterGroup { lr_scale: Some(0.5), ..ParameterGroup::of("layers.0.*") }]).unwrap();
    Trainer::new(model, optimizer, CrossEntropy)
}

/// Returns the bits of the parameters at the end of a run: those for evaluation.
fn bits(trainer: &Trainer<Mlp>) -> Vec<u32> {
    let params = trainer.optimizer().params();
    params.values().tensors().iter().flat_map(floats).map(f32::to_bits).collect()
}

/// Returns the reports, without the duration.
fn reports(history: &History) -> String {
    format!("{:?} {:?}", history.epochs, history.train)
}

#[test]
fn a_run_that_was_stopped_ends_in_the_same_bits() {
    let methods: [fn() -> Rated; 6] = [
        || (Box::new(AdamW8bit::new()), 0.01),
        // Estimates of the Hessian's diagonal are at other steps of an epoch than the first.
        || (Box::new(Sophia::new().update_interval(5)), 0.01),
        || (Box::new(AdamW::new()), 0.01),
        || (Box::new(Sgd::new().momentum(0.9)), 0.1),
        || (Box::new(ScheduleFreeAdamW::new()), 0.01),
        || (Box::new(Asgd::new().t0(10.0)), 0.1),
    ];
    let folder = tempfile::tempdir().unwrap();
    let [path, stopped] = ["run", "stopped"].map(|name| folder.path().join(name));
    for device in devices() {
        let (train, test) = (data(&device, 1, 100), data(&device, 2, 30));
        for method in methods {
            let what = format!("{:?} on {device}", method().0);
            let mut whole = trainer(&device, method(), 0.25);
            let history = whole.fit(&train, Some(&test), &OPTIONS, |_| ()).unwrap();

            // With checkpoints it is the same run; the one after epoch 4 is copied before the next is written.
            let mut saved = trainer(&device, method(), 0.25);
            saved.set_checkpoints(&path, 2).unwrap();
            let keep = |event: Event<'_>| match event {
                Event::Epoch(report) if report.epoch == 5 => drop(fs::copy(&path, &stopped).unwrap()),
                _ => {}
            };
            let with_checkpoints = saved.fit(&train, Some(&test), &OPTIONS, keep).unwrap();
            assert_eq!(reports(&with_checkpoints), reports(&history), "{what}");
            assert!(bits(&saved) == bits(&whole), "{what}: checkpoints change the run");

            for recording in [true, false] {
                let mut again = trainer(&device, method(), 0.25).with_recording(recording);
                assert_eq!(again.resume(&stopped).unwrap(), 4);
                let mut epochs = Vec::new();
                let rest = again
                    .fit(&train, Some(&test), &OPTIONS, |event| {
                        if let Event::Epoch(report) = event {
                            epochs.push(report.epoch);
                        }
                    })
                    .unwrap();
                assert_eq!((epochs, rest.steps), (vec![5, 6], 14), "{what}");
                assert_eq!(reports(&rest), reports(&history), "{what}");
                assert!(bits(&again) == bits(&whole), "{what}: it does not go on as it would have");
            }

            // A run that had ended.
            let mut again = trainer(&device, method(), 0.25);
            assert_eq!(again.resume(&path).unwrap(), 6);
            let rest = again.fit(&train, Some(&test), &OPTIONS, |_| ()).unwrap();
            assert_eq!((reports(&rest), rest.steps), (reports(&history), 0));
            assert!(bits(&again) == bits(&whole), "{what}: the last checkpoint");
        }
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_changes_nothing() {
    let device = Device::cpu();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let method = || -> Rated { (Box::new(AdamW::new()), 1e-3) };
    let train = data(&device, 1, 100);
    let mut saved = trainer(&device, method(), 0.25);
    saved.set_checkpoints(&path, 1).unwrap();
    saved.fit(&train, None, &OPTIONS, |_| ()).unwrap();

    let message = |error: Error, path: &Path| {
        let text = error.to_string();
        assert!(matches!(error, Error::Model { .. } | Error::Io { .. }) && error.is_user_error(), "{error:?}");
        text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_string()
    };
    // From another optimizer, another model, another file.
    let refused = |mut trainer: Trainer<Mlp>, path: &Path| {
        let before = bits(&trainer);
        let text = message(trainer.resume(path).unwrap_err(), path);
        assert!(bits(&trainer) == before, "{text}");
        text
    };
    let text = refused(trainer(&device, (Box::new(Sgd::new()), 1e-2), 0.25), &path);
    assert_eq!(text, "optimizer method: saved was adamw, but here it is sgd");
    let mut builder = ParamsBuilder::new(1);
    let config = MlpConfig { inputs: 4, hidden: vec![12, 7], outputs: 2, ..MlpConfig::default() };
    let model = Mlp::new(&mut builder, &config).unwrap();
    let optimizer = Optimizer::new(&builder.build(&device).unwrap(), method().0, 1e-3).unwrap();
    let other = Trainer::new(model, optimizer, CrossEntropy);
    assert_eq!(refused(other, &path), "layers.1.weight: it has shape [6, 12], but must have [7, 12]");
    // Dropout is not among the parameters.
    let text = refused(trainer(&device, method(), 0.5), &path);
    assert!(text.starts_with("model: saved was") && text.ends_with("dropout 0.5"), "{text}");
    let state = folder.path().join("state");
    saved.optimizer().state_dict().unwrap().save(&state).unwrap();
    assert_eq!(
        refused(trainer(&device, method(), 0.25), &state),
        "training: the file is no checkpoint of a run; give one that was written in training"
    );
    assert!(refused(trainer(&device, method(), 0.25), &folder.path().join("none")).starts_with("cannot read"));

    // With other data, or options.
    let refused = |train: &Dataset, options: FitOptions| {
        let mut trainer = trainer(&device, method(), 0.25);
        trainer.resume(&path).unwrap();
        message(trainer.fit(train, None, &options, |_| ()).unwrap_err(), &path)
    };
    let text = refused(&train, FitOptions { epochs: 5, ..OPTIONS });
    assert_eq!(text, "epochs: the run has done 6, but here it ends after 5; give at least 6");
    let text = refused(&train, FitOptions { batch_size: 10, ..OPTIONS });
    assert_eq!(text, "batch_size: saved was 16, but here it is 10");
    assert_eq!(refused(&train, FitOptions { seed: 0, ..OPTIONS }), "seed: saved was 3, but here it is 0");
    assert_eq!(refused(&data(&device, 1, 99), OPTIONS), "training rows: saved was 100, but here it is 99");
    let text = refused(&data(&device, 9, 100), OPTIONS);
    assert_eq!(text, "training rows: their values are not those of the saved run");

    assert!(trainer(&device, method(), 0.0).set_checkpoints(&path, 0).is_err());
    assert!(trainer(&device, method(), 0.0).set_checkpoints(folder.path(), 1).is_err());
}

/// Returns the learning rates of the epochs.
fn rates(history: &History) -> Vec<f32> {
    history.epochs.iter().map(|report| report.lr as f32).collect()
}

#[test]
fn a_run_goes_on_beyond_its_planned_length() {
    let options = |epochs| FitOptions { epochs, ..OPTIONS };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    for device in devices() {
        let (train, test) = (data(&device, 1, 100), data(&device, 2, 30));
        let with_rate = |rate: Rate| {
            let mut trainer = trainer(&device, (Box::new(AdamW::new()), 0.01), 0.25);
            trainer.optimizer_mut().set_rate(rate).unwrap();
            trainer
        };
        let fit =
            |trainer: &mut Trainer<Mlp>, epochs| trainer.fit(&train, Some(&test), &options(epochs), |_| ()).unwrap();
        // 7 steps per epoch.
        let cosine = |epochs: u64| WarmupCosine::new(0.01, 4, 7 * epochs).over(7 * epochs);
        let stop_after_4 = |rate: Rate, planned| {
            let mut first = with_rate(rate);
            first.set_checkpoints(&path, 4).unwrap();
            first
                .fit(&train, Some(&test), &options(planned), |event| match event {
                    Event::Epoch(report) if report.epoch == 4 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                })
                .unwrap()
        };

        // A rate that does not depend on the length: the bits of a long run.
        let mut whole = with_rate(0.01.into());
        let history = fit(&mut whole, 8);
        stop_after_4(0.01.into(), 4);
        let mut longer = with_rate(0.01.into());
        assert_eq!(longer.resume(&path).unwrap(), 4);
        let rest = fit(&mut longer, 8);
        assert_eq!((reports(&rest), rest.steps), (reports(&history), 28), "{device}");
        assert!(bits(&longer) == bits(&whole), "{device}");

        // A rate that does: the old curve for the completed steps, then the new one.
        let (short, long) = (stop_after_4(cosine(4), 4), fit(&mut with_rate(cosine(8)), 8));
        let expected = [&rates(&short)[..], &rates(&long)[4..]].concat();
        assert!(expected[4] > expected[3], "{expected:?}");
        let mut longer = with_rate(cosine(8));
        longer.resume(&path).unwrap();
        assert_eq!(rates(&fit(&mut longer, 8)), expected, "{device}");
        // One that is set after resuming stays.
        let mut set = with_rate(cosine(8));
        set.resume(&path).unwrap();
        set.optimizer_mut().set_rate(0.5e-3).unwrap();
        assert_eq!(rates(&fit(&mut set, 6))[4..], [0.5e-3; 2], "{device}");
        // The same length has the schedule of the file.
        let mut same = with_rate(0.5e-3.into());
        same.resume(&path).unwrap();
        assert_eq!(rates(&fit(&mut same, 4)), rates(&short), "{device}");

        // Shorter than planned, but not shorter than the epochs that are done.
        stop_after_4(cosine(8), 8);
        let mut shorter = with_rate(cosine(5));
        shorter.resume(&path).unwrap();
        let rest = fit(&mut shorter, 5);
        assert_eq!((rest.epochs.len(), rest.steps), (5, 7), "{device}");
    }
}

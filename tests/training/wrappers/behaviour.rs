//! Formulas, errors, evaluation and owners of wrappers.

use super::*;

/// Both kinds of ascent compared with their formulas in f64; and a step begins at the parameters from before the
/// ascent.
#[test]
fn sam_goes_uphill_by_its_formula() {
    for device in devices() {
        for settings in
            [SharpnessAware::sam(), SharpnessAware::asam(), SharpnessAware { eta: 0.5, ..SharpnessAware::asam() }]
        {
            let problem = Problem::new(&device);
            let values =
                || -> Vec<f64> { problem.params.values().tensors().iter().flat_map(floats).map(f64::from).collect() };
            let optimizer = Optimizer::new(&problem.params, Sgd::new(), 0.0).unwrap();
            let mut sam = Sam::new(optimizer, settings).unwrap();
            let before = values();
            problem.gradients(0, 1).unwrap();
            let grads: Vec<f64> =
                problem.params.grads().unwrap().tensors().iter().flat_map(floats).map(f64::from).collect();
            sam.first_step().unwrap();
            let t = |x: f64| if settings.adaptive { x.abs() + settings.eta } else { 1.0 };
            let norm = before.iter().zip(&grads).map(|(&x, g)| (t(x) * g).powi(2)).sum::<f64>().sqrt();
            for ((&x, g), got) in before.iter().zip(&grads).zip(values()) {
                let expected = x + settings.rho * t(x).powi(2) * g / (norm + 1e-12);
                assert!((got - expected).abs() < 1e-6, "{settings:?} on {device}: {got} is not {expected}");
            }
            assert!(values() != before);
            assert!(matches!(sam.first_step(), Err(Error::Setting { field: "step", .. })));
            // With a learning rate of 0 the parameters are restored.
            sam.second_step().unwrap();
            assert_eq!(values(), before);
            assert!(matches!(sam.second_step(), Err(Error::Setting { field: "step", .. })));
        }
    }
}

/// After a closure that fails, or panics, during a step, the run continues as if it had not been called.
#[test]
fn gradients_that_fail_halfway_leave_no_trace() {
    for device in devices() {
        let run = |fails: bool| {
            let problem = Problem::new(&device);
            let random = problem.params.random_counters().unwrap();
            let mut accumulation = <GradientAccumulation as Wrapper>::new(&problem);
            Wrapper::step(&mut accumulation, &problem).unwrap();
            if fails {
                for panics in [false, true] {
                    accumulation.micro_step(|| problem.gradients(0, 3)).unwrap();
                    let failing = std::panic::AssertUnwindSafe(|| {
                        accumulation.micro_step(|| {
                            problem.gradients(1, 3)?;
                            assert!(!panics, "this panic is a part of the test");
                            Err::<(), _>(Error::Order { call: "gradients", problem: "failed".to_string() })
                        })
                    });
                    assert!(std::panic::catch_unwind(failing).is_err() == panics);
                    assert_eq!(accumulation.pending(), 0, "{device}");
                }
                problem
                    .params
                    .set_random_counters(&random.iter().map(|counter| counter + 3).collect::<Vec<_>>())
                    .unwrap();
            }
            Wrapper::step(&mut accumulation, &problem).unwrap();

            let mut sam = <Sam as Wrapper>::new(&problem);
            if fails {
                let (before, random) = (problem.bits(), problem.params.random_counters().unwrap());
                let mut calls = 0;
                let failed = sam.step(|| {
                    calls += 1;
                    problem.gradients(0, 1)?;
                    if calls == 1 {
                        Ok(())
                    } else {
                        Err(Error::Order { call: "gradients", problem: "failed".to_string() })
                    }
                });
                assert!(failed.is_err() && problem.bits() == before, "{device}: the parameters stay uphill");
                problem.params.set_random_counters(&random).unwrap();
            }
            Wrapper::step(&mut sam, &problem).unwrap();
            problem.bits()
        };
        assert!(run(true) == run(false), "{device}");
    }
}

/// A step needs gradients of a backward pass since they were last zeroed.
#[test]
fn a_step_without_gradients_is_refused_and_changes_nothing() {
    for device in devices() {
        let problem = Problem::new(&device);
        let before = problem.bits();
        let refused = |result: Result<()>, call: &str| {
            let text = result.unwrap_err().to_string();
            assert_eq!(text, format!("{call}: no parameter has a gradient; run a backward pass first"));
        };
        let mut optimizer = problem.optimizer();
        refused(optimizer.step(), "Optimizer::step");
        problem.gradients(0, 1).unwrap();
        problem.params.zero_grad();
        refused(optimizer.step(), "Optimizer::step");
        refused(<Lookahead as Wrapper>::new(&problem).step(), "Optimizer::step");
        let mut sam = <Sam as Wrapper>::new(&problem);
        refused(sam.step(|| Ok(())), "Sam::first_step");
        let mut accumulation = <GradientAccumulation as Wrapper>::new(&problem);
        refused(accumulation.micro_step(|| Ok(())).map(drop), "GradientAccumulation::micro_step");
        assert!(problem.bits() == before, "{device}: a refused step has changed something");

        // A step without a gradient at its second point goes back, and is an error.
        let mut calls = 0;
        let half = sam.step(|| {
            calls += 1;
            if calls == 1 { problem.gradients(0, 1) } else { Ok(()) }
        });
        refused(half, "Optimizer::step");
        assert!(problem.bits() == before, "{device}");

        let text = |result: Result<()>| result.unwrap_err().to_string();
        problem.gradients(0, 1).unwrap();
        problem.params.set_frozen("*", true).unwrap();
        assert_eq!(text(optimizer.step()), "Optimizer::step: every parameter is frozen; unfreeze one first");
        problem.params.set_frozen("*", false).unwrap();
        problem.gradients(0, 1).unwrap();
        optimizer.step().unwrap();
        assert!(problem.bits() != before);
    }
}

#[test]
fn wrong_settings_and_states_are_refused() {
    let problem = Problem::new(&Device::cpu());
    let field = |result: Result<()>| match result {
        Err(Error::Setting { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let sam = |rho, eta| Sam::new(problem.optimizer(), SharpnessAware { rho, adaptive: true, eta }).map(drop);
    assert_eq!(field(sam(0.0, 0.1)), "rho");
    assert_eq!(field(sam(f64::NAN, 0.1)), "rho");
    assert_eq!(field(sam(0.1, -1.0)), "eta");
    let lookahead = |sync_period, slow_step_size| {
        Lookahead::new(problem.optimizer(), LookaheadSettings { sync_period, slow_step_size }).map(drop)
    };
    assert_eq!(field(lookahead(0, 0.5)), "sync_period");
    assert_eq!(field(lookahead(5, 0.0)), "slow_step_size");
    assert_eq!(field(lookahead(5, 1.5)), "slow_step_size");
    assert_eq!(field(GradientAccumulation::new(problem.optimizer(), 0).map(drop)), "micro_batches");
    for decay in [1.0, -0.1, f64::NAN] {
        assert_eq!(field(WeightAverage::new(&problem.params, Averaging::Exponential { decay }).map(drop)), "decay");
    }

    let saved = <Lookahead as Wrapper>::new(&problem).state_dict().unwrap();
    let text = |result: Result<()>| result.unwrap_err().to_string();
    let mut other = Lookahead::new(problem.optimizer(), LookaheadSettings::default()).unwrap();
    assert!(text(other.load_state_dict(&saved)).starts_with("lookahead: saved was LookaheadSettings { sync_period: 4"));
    assert_eq!(
        text(<Sam as Wrapper>::new(&problem).load_state_dict(&saved)),
        "sam: there is no such state in the file"
    );
    let mut same = <Lookahead as Wrapper>::new(&problem);
    let mut without = saved.clone();
    without.tensors.retain(|tensor| tensor.name != "state.layers.0.bias.slow");
    assert_eq!(text(same.load_state_dict(&without)), "state.layers.0.bias.slow: the tensor is missing");
    same.load_state_dict(&saved).unwrap();
    let average = WeightAverage::new(&problem.params, Averaging::Equal).unwrap().state_dict().unwrap();
    let mut both = saved.clone();
    both.merge(average.clone()).unwrap();
    assert_eq!(text(both.merge(average.clone())), "weight_average: both metadata have this key");
    let mut other = WeightAverage::new(&problem.params, Averaging::Debiased { decay: 0.5 }).unwrap();
    assert_eq!(
        text(other.load_state_dict(&average)),
        "weight_average: saved was Equal, but here it is Debiased { decay: 0.5 }"
    );
}

/// Evaluating the averages during a run changes nothing, and no step is taken from them.
#[test]
fn evaluation_leaves_no_trace() {
    for device in devices() {
        let run = |looks: bool| {
            let problem = Problem::new(&device);
            let group = ParameterGroup { frozen: true, ..ParameterGroup::of("layers.0.*") };
            let optimizer = Optimizer::new(&problem.params, ScheduleFreeSgd::new(), 0.1);
            let mut optimizer = optimizer.unwrap().with_groups(&[group]).unwrap();
            for step in 0..10 {
                problem.params.zero_grad();
                problem.gradients(0, 1).unwrap();
                optimizer.step().unwrap();
                if looks && step % 3 == 1 {
                    let before = problem.params.to_host().unwrap();
                    for _ in 0..2 {
                        optimizer.eval().unwrap();
                    }
                    let now = problem.params.to_host().unwrap();
                    for (before, now) in before.iter().zip(&now) {
                        let is_trained = before.name.starts_with("layers.1");
                        assert_eq!(before != now, is_trained, "{} on {device}", before.name);
                    }
                    assert!(matches!(optimizer.step(), Err(Error::Order { call: "Optimizer::step", .. })));
                    assert!(optimizer.state_dict().is_err());
                    for _ in 0..2 {
                        optimizer.train().unwrap();
                    }
                }
            }
            (problem.bits(), optimizer.state_dict().unwrap())
        };
        assert!(run(true) == run(false), "{device}");

        // The same of Lookahead's slow weights.
        let problem = Problem::new(&device);
        let mut lookahead = <Lookahead as Wrapper>::new(&problem);
        for _ in 0..6 {
            Wrapper::step(&mut lookahead, &problem).unwrap();
        }
        let before = problem.bits();
        lookahead.eval().unwrap();
        let slow: Vec<u32> = lookahead.slow().pages().iter().flat_map(floats).map(f32::to_bits).collect();
        assert!(problem.bits() == slow && slow != before, "{device}");
        lookahead.train().unwrap();
        assert!(problem.bits() == before, "{device}");
    }
}

/// An average and a schedule-free method: each of them replaces the parameters by its values, one at a time.
#[test]
fn two_owners_cannot_exchange_the_parameters_at_once() {
    for device in devices() {
        let problem = Problem::new(&device);
        let mut optimizer = Optimizer::new(&problem.params, ScheduleFreeSgd::new(), 1.0).unwrap();
        let mut other = Optimizer::new(&problem.params, Sgd::new(), 1e-2).unwrap();
        let mut average = WeightAverage::new(&problem.params, Averaging::Equal).unwrap();
        let mut lookahead = <Lookahead as Wrapper>::new(&problem);
        for _ in 0..3 {
            problem.params.zero_grad();
            problem.gradients(0, 1).unwrap();
            optimizer.step().unwrap();
            average.update().unwrap();
        }
        let trained = problem.bits();
        let saved = problem.params.to_host().unwrap();
        let refused = |result: Result<()>, by: &str, back: &str| {
            let text = result.unwrap_err().to_string();
            assert!(
                text.contains(&format!(": {by} has put")) && text.contains(&format!("call {back} first")),
                "{text}"
            );
        };

        let (by, back) = ("Optimizer::eval", "Optimizer::train");
        optimizer.eval().unwrap();
        let evaluated = problem.bits();
        assert!(evaluated != trained);
        refused(average.swap_in(), by, back);
        refused(average.swap_out(), by, back);
        refused(average.update(), by, back);
        refused(average.state_dict().map(drop), by, back);
        refused(other.step(), by, back);
        refused(other.eval(), by, back);
        refused(other.train(), by, back);
        refused(lookahead.eval(), by, back);
        refused(optimizer.state_dict().map(drop), by, back);
        refused(problem.params.load(&saved), by, back);
        refused(Lookahead::new(problem.optimizer(), LookaheadSettings::default()).map(drop), by, back);
        assert!(problem.bits() == evaluated, "{device}: a refused call has changed something");
        optimizer.train().unwrap();
        assert!(problem.bits() == trained, "{device}");

        let (by, back) = ("WeightAverage::swap_in", "WeightAverage::swap_out");
        average.swap_in().unwrap();
        average.swap_in().unwrap();
        refused(optimizer.eval(), by, back);
        refused(optimizer.train(), by, back);
        refused(optimizer.step(), by, back);
        refused(average.update(), by, back);
        let mut second = WeightAverage::new(&problem.params, Averaging::Equal).unwrap();
        refused(second.swap_in(), by, back);
        average.swap_out().unwrap();
        average.swap_out().unwrap();
        assert!(problem.bits() == trained, "{device}");

        // The same optimizer, with another call.
        lookahead.eval().unwrap();
        refused(lookahead.optimizer_mut().step(), "Lookahead::eval", "Lookahead::train");
        lookahead.train().unwrap();
        assert!(problem.bits() == trained, "{device}");

        // Values that an owner has put in place stay when the owner is dropped, and training continues from them.
        average.swap_in().unwrap();
        let averaged = problem.bits();
        drop(average);
        assert!(problem.bits() == averaged && averaged != trained, "{device}");
        optimizer.step().unwrap();
    }
}

/// The trainer reports the averages of a schedule-free method, and leaves them in the model.
#[test]
fn the_trainer_evaluates_averages() {
    for device in devices() {
        let features = numbers(1, 200, -1.0, 1.0);
        let values: Vec<f32> = features.chunks(2).map(|x| x[0] - 2.0 * x[1]).collect();
        let data = Dataset::regression(&device, &features, 2, &values).unwrap();
        let mut builder = ParamsBuilder::new(0);
        let model = Linear::new(&mut builder, "line", 2, 1).unwrap();
        let params = builder.build(&device).unwrap();
        let optimizer = Optimizer::new(&params, ScheduleFreeSgd::new(), 0.3).unwrap();
        let mut trainer = Trainer::new(model, optimizer, Mse);
        let options = FitOptions { epochs: 3, batch_size: 10, seed: 0 };
        let history = trainer.fit(&data, Some(&data), &options, |_| ()).unwrap();
        let last = history.epochs.last().unwrap().test.unwrap();
        assert_eq!((last, history.train), (trainer.evaluate(&data).unwrap(), last), "{device}");
        let x = params.to_host().unwrap();
        let (_, mut optimizer) = trainer.into_parts();
        optimizer.train().unwrap();
        let z = optimizer.state().next().unwrap().1.tensors().iter().flat_map(floats).collect::<Vec<_>>();
        let y = params.values().tensors().iter().flat_map(floats);
        let x = x.iter().flat_map(|tensor| tensor.values.f32().unwrap().to_vec());
        for ((x, y), z) in x.zip(y).zip(z) {
            let expected = (f64::from(y) - (1.0 - 0.9) * f64::from(z)) / 0.9;
            assert!((f64::from(x) - expected).abs() < 1e-6 && x != y, "{device}: {x} is not {expected}");
        }
    }
}

/// The network of the oracle that adds up the gradients of four micro-batches.
#[test]
fn accumulation_learns_as_in_pytorch() {
    if oracle::whole().is_none() {
        return skip("sgd_accumulate4: there is no ../shared/oracle");
    }
    let oracle = Oracle::open("networks/mlp_digits");
    let case = oracle.cases().into_iter().find(|case| case.id() == "sgd_accumulate4").unwrap();
    let (x, y, batches) = (oracle.array("data/x"), oracle.array("data/y"), case.array("batches"));
    let parts = case.get("accumulate").as_u64().unwrap() as usize;
    assert_eq!(parts, 4);
    let names = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"];
    for device in devices() {
        let mut builder = ParamsBuilder::new(0);
        let config = MlpConfig { inputs: 64, hidden: vec![32], outputs: 10, ..MlpConfig::default() };
        let model = Mlp::new(&mut builder, &config).unwrap();
        let params = builder.build(&device).unwrap();
        for (parameter, name) in params.parameters().iter().zip(names) {
            parameter.value().unwrap().write(&oracle.array(&format!("init/{name}")).f32()).unwrap();
        }
        let momentum = case.get("hyper.momentum").as_f64().unwrap_or(0.0);
        let nesterov = case.is("hyper.nesterov");
        let sgd = Sgd::new().momentum(momentum).nesterov(nesterov);
        let optimizer = Optimizer::new(&params, sgd, case.number("hyper.lr")).unwrap();
        let mut accumulation = GradientAccumulation::new(optimizer, parts as u32).unwrap();
        for rows in batches.values.chunks(batches.shape[1]) {
            for rows in rows.chunks(rows.len() / parts) {
                let of = |row: &f64| x.f32()[*row as usize * 64..][..64].to_vec();
                let features: Vec<f32> = rows.iter().flat_map(of).collect();
                let features = Tensor::from_slice(&device, &features, &[rows.len(), 64]).unwrap();
                let classes: Vec<u32> = rows.iter().map(|&row| y.values[row as usize] as u32).collect();
                let classes = Tensor::from_slice(&device, &classes, &[rows.len()]).unwrap();
                accumulation
                    .micro_step(|| {
                        let tape = Tape::new();
                        let logits = model.forward(tape.constant(&features))?;
                        Ok(tape.backward(CrossEntropy.of(logits, &classes)?)?)
                    })
                    .unwrap();
            }
        }
        assert_eq!(accumulation.optimizer().read_clock().unwrap().step as u64, case.get("steps").as_u64().unwrap());
        for (parameter, of) in params.parameters().iter().zip(names) {
            let bound = case.get("final_tol_scaled_per_tensor")[of].as_f64().unwrap();
            let reference = case.array(&format!("final/f64/{of}"));
            let name = case.name(&format!("final {of} on {device}"));
            oracle::assert_scaled(&name, &floats(parameter.value().unwrap()), &reference.values, bound);
        }
    }
}

//! Whole networks compared with the oracle (PyTorch): losses of every step, norms and values of gradients, final
//! weights, Hessian-vector products; on the CPU and on the GPU.

use crate::common::oracle::{self, Array, Case, Oracle};
use crate::common::{devices, floats, skip};
use thalweg::autograd::{Tape, Var};
use thalweg::nn::{Activation, Adam, AdamW, CrossEntropy, Loss, Method, Mlp, MlpConfig, Module, Optimizer};
use thalweg::nn::{Conv2d, Flatten, Init, Linear, MaxPool2d, Params, ParamsBuilder, Result, Schedule, Sequential, Sgd};
use thalweg::tensor::{Convolution, Device, Tensor, ValueLog};

/// Returns the method of a case.
fn method(case: Case<'_>) -> Box<dyn Method> {
    let number = |name: &str| case.get(&format!("hyper.{name}")).as_f64().unwrap_or(0.0);
    let betas = || {
        let betas = case.get("hyper.betas");
        (betas[0].as_f64().unwrap_or(0.9), betas[1].as_f64().unwrap_or(0.999))
    };
    let eps = case.get("hyper.eps").as_f64().unwrap_or(1e-8);
    let weight_decay = number("weight_decay");
    match case.text("optimizer") {
        "sgd" => {
            let (momentum, dampening) = (number("momentum"), number("dampening"));
            Box::new(
                Sgd::new()
                    .momentum(momentum)
                    .dampening(dampening)
                    .weight_decay(weight_decay)
                    .nesterov(case.is("hyper.nesterov")),
            )
        }
        "adam" => Box::new(Adam::new().betas(betas()).eps(eps).weight_decay(weight_decay)),
        "adamw" => Box::new(AdamW::new().betas(betas()).eps(eps).weight_decay(weight_decay)),
        other => panic!("no method for {other:?}"),
    }
}

/// A list of learning rates.
#[derive(Debug)]
struct Listed(Vec<f64>);

impl Schedule for Listed {
    fn at(&self, step: u64) -> f64 {
        self.0[step as usize]
    }

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// Makes the optimizer of a case, with its schedule and its clipping.
fn optimizer(case: Case<'_>, params: &Params) -> Optimizer {
    let rate = if case.is("lr_per_step") {
        let rates = case.array("lr").values;
        let steps = rates.len() as u64;
        Listed(rates).over(steps)
    } else {
        case.get("hyper.lr").as_f64().unwrap_or(0.0).into()
    };
    let optimizer = Optimizer::new(params, method(case), rate).unwrap();
    match case.get("clip_norm").as_f64() {
        Some(norm) => optimizer.with_clip_norm(norm).unwrap(),
        None => optimizer,
    }
}

/// A file's model: its parameters under the oracle's names, in the order of declaration.
pub(crate) struct Model<'a> {
    pub(crate) params: Params,
    pub(crate) names: &'a [&'a str],
}

impl Model<'_> {
    /// Sets the initial values, which all runs of a file share.
    fn start(&self, oracle: &Oracle) {
        for (parameter, name) in self.params.parameters().iter().zip(self.names) {
            parameter.value().unwrap().write(&oracle.array(&format!("init/{name}")).f32()).unwrap();
        }
    }

    /// Trains as in the case, and returns how many steps were clipped. `loss` returns the loss of some rows, to be scaled
    /// for accumulation.
    pub(crate) fn train(
        &self,
        oracle: &Oracle,
        case: Case<'_>,
        device: &Device,
        loss: impl for<'t> Fn(&'t Tape, &[usize]) -> Var<'t>,
    ) -> usize {
        self.start(oracle);
        let mut optimizer = optimizer(case, &self.params);
        let steps = case.get("steps").as_u64().unwrap() as usize;
        let parts = case.get("accumulate").as_u64().unwrap() as usize;
        let batches = case.array("batches");
        let width = batches.shape[1];
        let (mut losses, mut norms, mut clock_norms) = (Vec::new(), Vec::new(), Vec::new());
        for step in 0..steps {
            let row = if case.is("same_batch_every_step") { 0 } else { step };
            let rows: Vec<usize> = batches.values[row * width..][..width].iter().map(|&r| r as usize).collect();
            self.params.zero_grad();
            let mut sum = 0.0;
            for rows in rows.chunks(width / parts) {
                let tape = Tape::new();
                let mut part = loss(&tape, rows);
                if parts > 1 {
                    part = part.affine(1.0 / parts as f32, 0.0).unwrap();
                }
                tape.backward(part).unwrap();
                sum += part.item().unwrap();
            }
            losses.push(sum);
            let grads: Vec<Vec<f32>> = self.params.parameters().iter().map(|p| floats(p.grad().unwrap())).collect();
            let squares = grads.iter().flatten().map(|&g| f64::from(g).powi(2));
            norms.push(squares.sum::<f64>().sqrt() as f32);
            if step == 0 {
                self.hold_first_gradients(case, device, &grads);
            }
            optimizer.step().unwrap();
            let clock = optimizer.read_clock().unwrap();
            clock_norms.push(clock.gradient_norm);
            if case.is("lr_per_step") {
                assert_eq!(clock.learning_rate, case.array("lr").values[step] as f32, "{}: step {step}", case.id());
            }
        }
        let name = |what: &str| case.name(&format!("{what} on {device}"));
        let tol_loss = case.number("loss_tol_scaled");
        oracle::assert_scaled(&name("losses"), &losses, &case.array("loss/f64").values, tol_loss);
        // The norms have no bound of their own: they use that of the first gradients, which are the least accurate
        // ones.
        let reference = case.array("grad_norm/f64").values;
        oracle::assert_scaled(&name("norms"), &norms, &reference, case.number("grad0_tol_scaled"));
        let mut clipped = 0;
        if !case.get("clip_norm").is_null() {
            let bound = case.number("grad0_tol_scaled");
            oracle::assert_scaled(&name("norms of the clock"), &clock_norms, &reference, bound);
            let over = reference.iter().filter(|&&norm| norm > case.number("clip_norm")).count();
            let clock = optimizer.read_clock().unwrap();
            assert_eq!((clock.clipped as usize, clock.skipped), (over, 0), "{}", name("clipped steps"));
            clipped = over;
        }
        for (parameter, of) in self.params.parameters().iter().zip(self.names) {
            let bound = case.get("final_tol_scaled_per_tensor")[of].as_f64().unwrap();
            let mut reference = case.array(&format!("final/f64/{of}"));
            let name = name(&format!("final {of}"));
            let values = floats(parameter.value().unwrap());
            // Elements whose gradient is 0 in exact arithmetic move by rounding.
            if let Some(undetermined) = case.find(&format!("undetermined/{of}")) {
                for ((r, &x), _) in
                    reference.values.iter_mut().zip(&values).zip(&undetermined.values).filter(|(_, is)| **is != 0.0)
                {
                    *r = f64::from(x);
                }
            }
            oracle::assert_scaled(&name, &values, &reference.values, bound);
        }
        clipped
    }

    fn hold_first_gradients(&self, case: Case<'_>, device: &Device, grads: &[Vec<f32>]) {
        for (grad, of) in grads.iter().zip(self.names) {
            let Some(reference) = case.find(&format!("grad0/f64/{of}")) else { continue };
            let name = case.name(&format!("first gradient of {of} on {device}"));
            oracle::assert_scaled(&name, grad, &reference.values, case.number("grad0_tol_scaled"));
        }
    }
}

/// Returns rows of a matrix.
fn rows_of(device: &Device, matrix: &Array, rows: &[usize]) -> Tensor {
    let (values, width) = (matrix.f32(), matrix.shape[1]);
    let picked: Vec<f32> = rows.iter().flat_map(|&row| &values[row * width..][..width]).copied().collect();
    Tensor::from_slice(device, &picked, &[rows.len(), width]).unwrap()
}

const MLP_NAMES: [&str; 4] = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"];

#[test]
fn networks_learn_as_in_pytorch() {
    perceptrons();
    // The small copy has perceptrons only.
    for (name, runs) in [
        ("networks/logistic", logistic_regressions as fn(Oracle)),
        ("networks/matrix_factorization", factorisations),
        ("networks/cnn_digits", convolutions),
    ] {
        if oracle::whole().is_some() {
            runs(Oracle::open(name));
        } else {
            skip(&format!("{name}: there is no ../shared/oracle"));
        }
    }
}

/// Digits.
fn perceptrons() {
    let oracle = Oracle::open("networks/mlp_digits");
    let (x, y) = (oracle.array("data/x"), oracle.array("data/y"));
    let mut run = 0;
    for case in oracle.cases() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(0);
            let activation = Activation::Relu;
            let config = MlpConfig { inputs: 64, hidden: vec![32], outputs: 10, activation, dropout: 0.0 };
            let mlp = Mlp::new(&mut builder, &config).unwrap();
            let model = Model { params: builder.build(&device).unwrap(), names: &MLP_NAMES };
            let clipped = model.train(&oracle, case, &device, |tape, rows| {
                let targets: Vec<u32> = rows.iter().map(|&row| y.values[row] as u32).collect();
                let targets = Tensor::from_slice(&device, &targets, &[rows.len()]).unwrap();
                let logits = mlp.forward(tape.constant(&rows_of(&device, &x, rows))).unwrap();
                CrossEntropy.of(logits, &targets).unwrap()
            });
            let steps = case.get("steps").as_u64().unwrap() as usize;
            let is_some = clipped > 0 && clipped < steps;
            assert!(
                is_some || case.get("clip_norm").is_null(),
                "{}: some steps are clipped and some are not",
                case.id()
            );
        }
        run += 1;
    }
    assert_eq!(run, if oracle.is_whole { 5 } else { 1 });
}

/// Digits as images.
fn convolutions(oracle: Oracle) {
    const NAMES: [&str; 6] = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc.weight", "fc.bias"];
    let (mut x, y) = (oracle.array("data/x"), oracle.array("data/y"));
    x.shape = vec![x.shape[0], 64];
    let mut run = 0;
    for case in oracle.cases() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(0);
            let same = Convolution { padding: [1, 1], ..Convolution::default() };
            let network = Sequential::new()
                .then(Conv2d::new(&mut builder, "conv1", 1, 4, [3, 3], same).unwrap())
                .then(Activation::Relu)
                .then(MaxPool2d::new([2, 2]))
                .then(Conv2d::new(&mut builder, "conv2", 4, 8, [3, 3], Convolution::default()).unwrap())
                .then(Activation::Relu)
                .then(Flatten::default())
                .then(Linear::new(&mut builder, "fc", 32, 10).unwrap());
            let model = Model { params: builder.build(&device).unwrap(), names: &NAMES };
            model.train(&oracle, case, &device, |tape, rows| {
                let targets: Vec<u32> = rows.iter().map(|&row| y.values[row] as u32).collect();
                let targets = Tensor::from_slice(&device, &targets, &[rows.len()]).unwrap();
                let images = rows_of(&device, &x, rows).reshape(&[rows.len(), 1, 8, 8]).unwrap();
                CrossEntropy.of(network.forward(tape.constant(&images)).unwrap(), &targets).unwrap()
            });
        }
        run += 1;
    }
    assert_eq!(run, 2);
}

/// Breast cancer: mean of softplus(z) - y z, plus ½ 0.01 |w|² of the weight: a loss composed of operations.
fn logistic_regressions(oracle: Oracle) {
    let (x, y) = (oracle.array("data/x"), oracle.array("data/y").f32());
    let mut run = 0;
    for case in oracle.cases() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(0);
            let layer = Linear::with_init(&mut builder, "line", 30, 1, Init::Zeros).unwrap();
            let model = Model { params: builder.build(&device).unwrap(), names: &["weight", "bias"] };
            model.train(&oracle, case, &device, |tape, rows| {
                let targets: Vec<f32> = rows.iter().map(|&row| y[row]).collect();
                let targets = tape.constant(&Tensor::from_slice(&device, &targets, &[rows.len(), 1]).unwrap());
                let logits = layer.forward(tape.constant(&rows_of(&device, &x, rows))).unwrap();
                let losses = logits.softplus().unwrap().sub(logits.mul(targets).unwrap()).unwrap();
                let weight = tape.parameter(layer.weight()).unwrap();
                let penalty = weight.square().unwrap().sum().unwrap().affine(0.005, 0.0).unwrap();
                losses.mean().unwrap().add(penalty).unwrap()
            });
        }
        run += 1;
    }
    assert_eq!(run, 2);
}

#[test]
fn second_derivatives_are_pytorch_s() {
    let oracle = Oracle::open("networks/second_order");
    let (mut perceptrons, mut functions) = (0, 0);
    for case in oracle.cases() {
        for device in devices() {
            if case.id().starts_with("mlp") {
                second_derivatives_of_perceptron(case, &device);
            } else {
                second_derivatives_of_function(case, &oracle, &device);
            }
        }
        *(if case.id().starts_with("mlp") { &mut perceptrons } else { &mut functions }) += 1;
    }
    assert_eq!((perceptrons, functions), (if oracle.is_whole { 3 } else { 0 }, 3));
}

/// Compares a result with the array of this name.
fn hold(case: Case<'_>, device: &Device, what: &str, of: &str, got: Var<'_>) {
    let reference = case.array(&format!("f64/{what}{of}"));
    let bound = case.number(&format!("tol_scaled.{what}"));
    let name = case.name(&format!("{what}{of} on {device}"));
    oracle::assert_scaled(&name, &floats(&got.value()), &reference.values, bound);
}

/// Checks the gradient, the Hessian and its product with a vector.
fn second_derivatives_of_function(case: Case<'_>, oracle: &Oracle, device: &Device) {
    let tape = Tape::new();
    let vector = |name: &str| {
        let array = case.array(name);
        Tensor::from_slice(device, &array.f32(), &array.shape).unwrap()
    };
    let z = tape.input(&vector("z"));
    let element = |i: usize| z.slice(0, i, i + 1).unwrap();
    let y = match case.id() {
        // ½ zᵀ M z + Σ z³ / 3
        "quadratic" => {
            let m = oracle.array("functions/M");
            let m = tape.constant(&Tensor::from_slice(device, &m.f32(), &m.shape).unwrap());
            let form = m.matmul(z.unsqueeze(1).unwrap()).unwrap().squeeze(1).unwrap().mul(z).unwrap();
            let cubes = z.powf(3.0).unwrap().affine(1.0 / 3.0, 0.0).unwrap();
            form.affine(0.5, 0.0).unwrap().add(cubes).unwrap().sum().unwrap()
        }
        // Σ 100 (z[i + 1] - z[i]²)² + (1 - z[i])²
        "rosenbrock" => {
            let (head, tail) = (z.slice(0, 0, 3).unwrap(), z.slice(0, 1, 4).unwrap());
            let valley = tail.sub(head.square().unwrap()).unwrap().square().unwrap().affine(100.0, 0.0).unwrap();
            valley.add(head.affine(-1.0, 1.0).unwrap().square().unwrap()).unwrap().sum().unwrap()
        }
        // ln Σ exp(z²) + tanh(z[0] z[3])
        "logsumexp" => {
            let powers = z.square().unwrap().exp().unwrap().sum().unwrap();
            let product = element(0).mul(element(3)).unwrap().tanh().unwrap().sum().unwrap();
            powers.log().unwrap().add(product).unwrap()
        }
        other => panic!("no function {other:?}"),
    };
    let first = tape.grad(y, &[z]).unwrap()[0];
    hold(case, device, "grad", "", first);
    let v = tape.constant(&vector("v"));
    hold(case, device, "hvp", "", tape.grad(first.mul(v).unwrap().sum().unwrap(), &[z]).unwrap()[0]);
    let row = |i: usize| {
        let element = first.slice(0, i, i + 1).unwrap().reshape(&[]).unwrap();
        tape.grad(element, &[z]).unwrap()[0].unsqueeze(0).unwrap()
    };
    hold(case, device, "hessian", "", Var::concatenate(&[row(0), row(1), row(2), row(3)], 0).unwrap());
}

/// Checks the gradient, a Hessian-vector product, products with the Jacobian and its transpose, of a perceptron with
/// tanh.
fn second_derivatives_of_perceptron(case: Case<'_>, device: &Device) {
    let digits = Oracle::open("networks/mlp_digits");
    let rows: Vec<usize> = (0..24).collect();
    let targets: Vec<u32> = digits.array("data/y").values[..24].iter().map(|&y| y as u32).collect();
    let upload = |array: Array| Tensor::from_slice(device, &array.f32(), &array.shape).unwrap();
    let hold = |what: &str, of: &str, got: Var<'_>| hold(case, device, what, of, got);
    let tape = Tape::new();
    let x = tape.input(&rows_of(device, &digits.array("data/x"), &rows));
    let weights = MLP_NAMES.map(|name| tape.input(&upload(digits.array(&format!("init/{name}")))));
    let hidden = x.linear(weights[0], weights[1], false).unwrap().tanh().unwrap();
    let logits = hidden.linear(weights[2], weights[3], false).unwrap();
    let loss = logits.cross_entropy(&Tensor::from_slice(device, &targets, &[24]).unwrap()).unwrap();
    hold("loss", "", loss);
    let vectors = MLP_NAMES.map(|name| tape.constant(&upload(case.array(&format!("v/{name}")))));
    let first = tape.grad(loss, &weights).unwrap();
    let product = tape.grad(inner(&tape, &first, &vectors), &weights).unwrap();
    for (i, name) in MLP_NAMES.iter().enumerate() {
        hold("grad", &format!("/{name}"), first[i]);
        hold("hvp", &format!("/{name}"), product[i]);
    }
    // J v is the gradient of (Jᵀ u) · v with respect to u, at any u.
    let u = tape.input(&upload(case.array("u_logits")));
    let back = tape.vector_jacobian_product(logits, u, &weights).unwrap();
    hold("jvp", "", tape.grad(inner(&tape, &back, &vectors), &[u]).unwrap()[0]);
    let back = tape.vector_jacobian_product(logits, u, &[x]).unwrap();
    hold("vjp_input", "", back[0]);
    let v = tape.constant(&upload(case.array("v_input")));
    hold("jvp_input", "", tape.grad(inner(&tape, &back, &[v]), &[u]).unwrap()[0]);
}

/// Returns the sum of the products of two lists of variables.
fn inner<'t>(tape: &'t Tape, left: &[Var<'t>], right: &[Var<'t>]) -> Var<'t> {
    let zero = tape.constant(&Tensor::scalar(left[0].value().device(), 0f32).unwrap());
    left.iter().zip(right).fold(zero, |sum, (a, b)| sum.add(a.mul(*b).unwrap().sum().unwrap()).unwrap())
}

/// U and V of a matrix that is known in 10,000 places: the mean of half the squared errors there, plus a penalty. Rows
/// are gathered, and their gradients scattered back. The CPU runs all 2,000 steps to the last factors. A GPU runs the
/// first 10, because it adds rows slowly; they are replayed, because they are many.
fn factorisations(oracle: Oracle) {
    let index = |name: &str| oracle.array(&format!("data/{name}")).u32();
    let (users, items) = (index("rows"), index("cols"));
    let values = oracle.array("data/values");
    let (mut run, mut held, mut finals) = (0, 0, 0);
    for case in oracle.cases() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(0);
            let factors = [("U", 500), ("V", 200)].map(|(name, rows)| {
                let parameter = builder.add(name, &[rows, 5], Init::Zeros).unwrap();
                (parameter, name)
            });
            let params = builder.build(&device).unwrap();
            for (factor, name) in &factors {
                factor.value().unwrap().write(&oracle.array(&format!("init/{name}")).f32()).unwrap();
            }
            let of = |list: &[u32]| Tensor::from_slice(&device, list, &[list.len()]).unwrap();
            let (users, items) = (of(&users), of(&items));
            let values = Tensor::from_slice(&device, &values.f32(), &[values.values.len()]).unwrap();
            let penalty = case.number("reg") as f32 / 2.0;
            let mut optimizer = optimizer(case, &params);
            let all = case.get("steps").as_u64().unwrap() as usize;
            let steps = if device.is_cpu() { all } else { 10 };
            let log = ValueLog::new(&device, steps + 1).unwrap();
            let mut step = || {
                let tape = Tape::new();
                let [u, v] = [&factors[0].0, &factors[1].0].map(|factor| tape.parameter(factor).unwrap());
                let product = u.gather_rows(&users)?.mul(v.gather_rows(&items)?)?;
                let predicted = product.sum_along(1, true)?.squeeze(1)?;
                let error = predicted.mse(&values)?.affine(0.5, 0.0)?;
                let squares = u.square()?.sum()?.add(v.square()?.sum()?)?;
                let loss = error.add(squares.affine(penalty, 0.0)?)?;
                log.push(&loss.value())?;
                params.zero_grad();
                tape.backward(loss)?;
                optimizer.step()
            };
            step().unwrap();
            let (recording, ()) = device.record(&mut step).unwrap();
            recording.replay(steps - 2).unwrap();
            for (factor, of) in &factors {
                let Some(bound) = case.get("final_tol_scaled").as_f64().filter(|_| steps == all) else { continue };
                let reference = case.array(&format!("final/f64/{of}"));
                let name = case.name(&format!("final {of} on {device}"));
                oracle::assert_scaled(&name, &floats(factor.value().unwrap()), &reference.values, bound);
                finals += 1;
            }
            // A loss belongs to the parameters before its step.
            recording.replay(1).unwrap();
            let losses = log.take().unwrap();
            assert_eq!(losses.len(), steps + 1);
            for (place, loss) in losses.iter().enumerate() {
                let Some(reference) = case.get("loss_f64")[place.to_string()].as_f64() else { continue };
                let name = case.name(&format!("loss {place} on {device}"));
                oracle::assert_scaled(&name, &[*loss], &[reference], case.number("loss_tol_scaled"));
                held += 1;
            }
        }
        run += 1;
    }
    // The factors of one run shrink to rounding errors.
    assert_eq!((run, finals), (4, 3 * 2));
    assert_eq!(held, 4 * if devices().len() == 1 { 7 } else { 7 + 3 });
}

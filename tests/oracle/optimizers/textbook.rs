//! Textbook functions through autograd.

use super::*;

/// Returns element i of a vector, as a scalar.
fn at<'t>(x: Var<'t>, i: usize) -> Result<Var<'t>> {
    x.slice(0, i, i + 1)?.reshape(&[])
}

/// Computes the functions of `optimizers/functions` by name.
pub(super) fn objective<'t>(name: &str, data: &Value, x: Var<'t>) -> Result<Var<'t>> {
    let n = x.shape()[0];
    let first = || at(x, 0);
    let second = || at(x, 1);
    match name {
        "rosenbrock2" | "rosenbrock10" => {
            // Σ 100 (x[i + 1] - x[i]²)² + (1 - x[i])²
            let (head, tail) = (x.slice(0, 0, n - 1)?, x.slice(0, 1, n)?);
            let valley = tail.sub(head.square()?)?.square()?.affine(100.0, 0.0)?;
            valley.add(head.affine(-1.0, 1.0)?.square()?)?.sum()
        }
        "quadratic10_cond100" => {
            // ½ xᵀ A x - bᵀ x
            let numbers = |value: &Value| -> Vec<f32> {
                let flat = value.as_array().unwrap().iter();
                flat.flat_map(|v| v.as_array().cloned().unwrap_or(vec![v.clone()]))
                    .map(|v| v.as_f64().unwrap() as f32)
                    .collect()
            };
            let value = x.value();
            let device = value.device();
            let a = x.tape().constant(&Tensor::from_slice(device, &numbers(&data[name]["A"]), &[n, n])?);
            let b = x.tape().constant(&Tensor::from_slice(device, &numbers(&data[name]["b"]), &[n])?);
            let half = a.matmul(x.reshape(&[n, 1])?)?.reshape(&[n])?.affine(0.5, 0.0)?;
            x.mul(half.sub(b)?)?.sum()
        }
        "beale" => {
            // (1.5 - x + x y)² + (2.25 - x + x y²)² + (2.625 - x + x y³)²
            let (x, y) = (first()?, second()?);
            let square = y.mul(y)?;
            let terms = [(1.5, y), (2.25, square), (2.625, square.mul(y)?)];
            let squares = terms.map(|(c, power)| x.mul(power)?.sub(x)?.affine(1.0, c)?.square());
            squares.into_iter().reduce(|sum, term| sum?.add(term?)).unwrap()
        }
        "himmelblau" => {
            // (x² + y - 11)² + (x + y² - 7)²
            let (x, y) = (first()?, second()?);
            let left = x.square()?.add(y)?.affine(1.0, -11.0)?.square()?;
            left.add(x.add(y.square()?)?.affine(1.0, -7.0)?.square()?)
        }
        "quartic" => {
            // x⁴ - 3 x³ + 2
            let x = first()?;
            x.square()?.mul(x.square()?)?.sub(x.mul(x.square()?)?.affine(3.0, 0.0)?)?.affine(1.0, 2.0)
        }
        "ellipse" => {
            // (x - 3)² + 10 (y + 2)²
            let (x, y) = (first()?, second()?);
            x.affine(1.0, -3.0)?.square()?.add(y.affine(1.0, 2.0)?.square()?.affine(10.0, 0.0)?)
        }
        other => panic!("no function {other:?}"),
    }
}

/// The steps of a textbook run on a GPU; the CPU runs all of them.
pub(super) const GPU_STEPS: u64 = 100;

/// Textbook runs without a method of this library: L-BFGS uses line searches, and SAM takes its gradient at another
/// point.
pub(super) const NO_METHODS: &[&str] = &["lbfgs", "optax.contrib.sam"];

/// PyTorch's methods from the start of a textbook function to its last record. A record counts if the reference's own
/// run in f32 has stayed within 1e-4 so far; the bound is ten times its largest error among these, as for every other
/// case.
#[test]
fn textbook_functions_are_descended() {
    let oracle = Oracle::open("optimizers/functions");
    let data = &oracle.settings()["function_data"];
    let (mut run, mut records) = (0, 0);
    for case in oracle.cases() {
        let optimizer = case.text("optimizer").trim_start_matches("torch.optim.").to_lowercase();
        if NO_METHODS.iter().any(|other| optimizer.starts_with(other)) {
            continue;
        }
        for device in devices() {
            let held = textbook(&optimizer, case, data, &device);
            records += if device.is_cpu() { held } else { 0 };
        }
        run += 1;
    }
    let (runs, at_least) = if oracle.is_whole { (98, 1500) } else { (3, 3 * 12) };
    assert_eq!(run, runs);
    assert!(records >= at_least, "{records} records, expected at least {at_least}");
}

/// Returns the number of records that were compared with the reference.
fn textbook(optimizer: &str, case: Case<'_>, data: &Value, device: &Device) -> usize {
    let list = |path: &str| case.get(path).as_array().unwrap().clone();
    let vector =
        |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let start = vector(case.get("x0"));
    let params = params(device, &[Array { shape: vec![start.len()], values: start }]);
    let parameter = &params.parameters()[0];
    let mut optimizer = Optimizer::new(&params, method(optimizer, case), rate(optimizer, case)).unwrap();
    let drifts = vector(case.get("drift_scaled_per_record"));
    // RAdam diverges on some functions; drifts mean nothing if the reference's run in f32 is infinite or NaN.
    let is_tame = |record: &Value| vector(record).iter().all(|x| x.abs() < 1e4);
    let tame = list("params_f64").iter().take_while(|record| is_tame(record)).count();
    let within: Vec<f64> = drifts.into_iter().take(tame).take_while(|&drift| drift < 1e-4).collect();
    let bound = within.iter().fold(1e-6, |bound: f64, drift| bound.max(10.0 * drift));
    let (mut step, mut held) = (0, 0);
    for (record, reference) in list("record_steps").iter().zip(list("params_f64")).take(within.len()) {
        let record = record.as_u64().unwrap();
        if !device.is_cpu() && record > GPU_STEPS {
            break;
        }
        while step < record {
            let tape = Tape::new();
            let value = objective(case.text("function"), data, tape.parameter(parameter).unwrap()).unwrap();
            params.zero_grad();
            tape.backward(value).unwrap();
            optimizer.step().unwrap();
            step += 1;
        }
        let name = case.name(&format!("after step {step} on {device}"));
        let x = floats(parameter.value().unwrap());
        oracle::assert_scaled(&name, &x, &vector(&reference), bound);
        held += 1;
    }
    held
}

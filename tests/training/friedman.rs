//! The committed table of Friedman's function equals the generator's output.

use thalweg::nn::data::{Table, Task, friedman1};

#[test]
fn the_committed_file_is_the_generators_bit_for_bit() {
    let table = Table::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/friedman.csv")).unwrap();
    let names: Vec<String> = (0..10).map(|input| format!("x{input}")).collect();
    assert_eq!(table.column_names()[..10], names);
    assert_eq!(table.column_names()[10..], ["y"]);
    assert_eq!(table.infer_task("y").unwrap(), Task::Regression);

    let (inputs, targets) = friedman1(1000, 1.0, 0);
    let rounded = |values: Vec<f64>| values.into_iter().map(|value| (value as f32).to_bits()).collect::<Vec<_>>();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(rounded(table.numeric_columns(&names).unwrap()), bits(inputs));
    assert_eq!(rounded(table.regression_target("y").unwrap()), bits(targets));
}

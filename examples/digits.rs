//! Learns to read handwritten digits, on a GPU if there is one.
#![allow(clippy::print_stdout, reason = "an example talks")]
use thalweg::prelude::*;

fn main() -> thalweg::Result<()> {
    let device = Device::best();
    let table = Table::read("examples/data/digits.csv.gz")?;
    let data = TabularData::prepare(&table, "label", None, 0.2, 0, &device)?;

    let config = MlpConfig { hidden: vec![128, 64], ..MlpConfig::default() };
    let model = TabularModel::new(data.schema.clone(), config, 0, &device)?;
    let optimizer = Optimizer::new(model.params(), AdamW::new(), 1e-3)?.with_clip_norm(1.0)?;
    let mut trainer = Trainer::new(model, optimizer, data.schema.loss());

    let options = FitOptions { epochs: 50, batch_size: 64, seed: 0 };
    trainer.fit(&data.train, data.test.as_ref(), &options, |event| {
        let Event::Epoch(report) = event else { return };
        if let Some(Evaluation { loss, accuracy: Some(accuracy), .. }) = report.test {
            println!("epoch {}: test loss {loss:.3}, accuracy {:.1} %", report.epoch, 100.0 * accuracy);
        }
    })?;
    trainer.model().save(std::env::temp_dir().join("digits.safetensors"))
}

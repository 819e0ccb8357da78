//! The limits of a device and its memory, checked before allocations.

use thalweg::nn::data::Dataset;

use crate::args::train::TrainArgs;
use crate::error::{Error, Result};

/// The maximum number of parameters: 256 MiB. Training takes some five times as much: gradients, two moments, copies.
const MAX_PARAMETERS: u64 = 1 << 26;

/// Refuses networks that fit in no memory, and layers and batches that the device cannot bind. The error names the
/// flag.
pub(super) fn check(args: &TrainArgs, train: &Dataset, outputs: usize) -> Result<()> {
    let inputs = [train.feature_count() as u64];
    let hidden = args.hidden.iter().map(|&units| u64::from(units));
    let widths: Vec<u64> = inputs.into_iter().chain(hidden).chain([outputs as u64]).collect();
    let info = train.device().info();
    let rows = u64::from(args.batch_size).min(train.len() as u64);
    check_widths(&widths, rows, info.max_binding_bytes, &info.name)
}

fn check_widths(widths: &[u64], rows: u64, most_bytes: u64, device: &str) -> Result<()> {
    let parameters =
        widths.windows(2).fold(0u64, |sum, pair| sum.saturating_add(pair[0].saturating_add(1).saturating_mul(pair[1])));
    let unfit = |flag, problem| Err(Error::Unfit { flag, problem });
    if parameters > MAX_PARAMETERS {
        let most = MAX_PARAMETERS;
        let problem = format!("the network would have {parameters} parameters, but at most {most}; make it smaller");
        return unfit("--hidden", problem);
    }
    let limit = format!("over the limit of {device}, which binds {most_bytes} bytes at a time");
    if let Some(layer) = widths.windows(2).position(|pair| 4 * pair[0] * pair[1] > most_bytes) {
        let (from, to) = (widths[layer], widths[layer + 1]);
        let problem = format!(
            "the weights of layer {}, {from} x {to}, take {} bytes, {limit}; make the layer smaller, or choose another --device",
            layer + 1,
            4 * from * to
        );
        return unfit("--hidden", problem);
    }
    let widest = widths.iter().copied().max().unwrap_or(0);
    if 4 * rows * widest > most_bytes {
        let problem = format!(
            "{rows} rows at a layer of {widest} units take {} bytes, {limit}; take fewer rows or smaller --hidden layers, or \
             choose another --device",
            4 * rows * widest
        );
        return unfit("--batch-size", problem);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_with_its_flag_its_layer_and_its_bytes() {
        let check =
            |widths: &[u64], rows| check_widths(widths, rows, 1 << 20, "a GPU").map_err(|error| error.to_string());
        check(&[4, 128, 64, 3], 64).unwrap();
        check(&[512, 512], 512).unwrap();
        for (widths, rows, parts) in [
            (&[65_536, 65_536, 3][..], 64, &["--hidden: ", "4295229443 parameters"][..]),
            (&[4, 600, 500, 3], 64, &["--hidden: ", "layer 2, 600 x 500, take 1200000 bytes", "a GPU", "1048576"]),
            (&[4, 300, 3], 1000, &["--batch-size: 1000 rows at a layer of 300 units take 1200000 bytes", "a GPU"]),
        ] {
            let message = check(widths, rows).unwrap_err();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}

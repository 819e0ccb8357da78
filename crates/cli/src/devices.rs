//! `thalweg devices`, and opening the device of `--device`.

use serde::Serialize;
use thalweg::tensor::{Device, DeviceInfo, DeviceProducts, MatmulPrecision};

use crate::args::{self, ComputeArgs, DeviceArg, DevicesArgs};
use crate::error::{Error, Result};
use crate::table::table;
use crate::{choices, output};

/// Opens the user's device.
pub(crate) fn open(choice: &DeviceArg) -> Result<Device> {
    Device::open(&choice.device).map_err(|source| Error::Device { choice: choice.device.clone(), source })
}

/// Opens the user's device with the user's precision.
pub(crate) fn open_to_compute(args: &ComputeArgs) -> Result<Device> {
    let device = open(&args.choice)?;
    choices::set(&device);
    if args.matmul_precision == args::MatmulPrecision::F16 && device.set_matmul_precision(MatmulPrecision::F16).is_err()
    {
        let problem = format!("{} has no cooperative matrices of f16; leave it out", device.info().name);
        return Err(Error::Unfit { flag: "--matmul-precision", problem });
    }
    Ok(device)
}

#[derive(Debug, Serialize)]
struct Listing {
    devices: Vec<Entry>,
}

/// A device in the list. The CPU has neither an index nor limits.
#[derive(Debug, Serialize)]
struct Entry {
    index: Option<usize>,
    name: String,
    kind: String,
    backend: String,
    driver: String,
    max_binding_bytes: Option<u64>,
    max_workgroups_per_dimension: Option<u32>,
    max_storage_buffers: Option<u32>,
    subgroup_size: Option<(u32, u32)>,
    features: Vec<&'static str>,
    /// Whether `--device auto` chooses it.
    auto: bool,
}

impl Entry {
    fn gpu(index: usize, info: DeviceInfo, auto: bool) -> Self {
        let features = info.feature_names();
        Self {
            index: Some(index),
            name: info.name,
            kind: info.kind.to_string(),
            backend: info.backend,
            driver: info.driver,
            max_binding_bytes: Some(info.max_binding_bytes),
            max_workgroups_per_dimension: Some(info.max_workgroups_per_dimension),
            max_storage_buffers: Some(info.max_storage_buffers),
            subgroup_size: Some(info.subgroup_size).filter(|&size| size != (0, 0)),
            features,
            auto,
        }
    }

    fn cpu(info: DeviceInfo, auto: bool) -> Self {
        let features = info.feature_names();
        Self {
            index: None,
            name: info.name,
            kind: info.kind.to_string(),
            backend: info.backend,
            driver: info.driver,
            max_binding_bytes: None,
            max_workgroups_per_dimension: None,
            max_storage_buffers: None,
            subgroup_size: None,
            features,
            auto,
        }
    }

    fn cells(&self) -> [String; 10] {
        let number = |value: Option<u64>| value.map_or("-".to_string(), |value| value.to_string());
        let subgroup = match self.subgroup_size {
            None => "-".to_string(),
            Some((smallest, largest)) if smallest == largest => smallest.to_string(),
            Some((smallest, largest)) => format!("{smallest}-{largest}"),
        };
        [
            format!("{}{}", number(self.index.map(|index| index as u64)), if self.auto { " *" } else { "  " }),
            self.name.clone(),
            self.kind.clone(),
            self.backend.clone(),
            self.driver.clone(),
            number(self.max_binding_bytes.map(|bytes| bytes >> 20)),
            number(self.max_workgroups_per_dimension.map(u64::from)),
            number(self.max_storage_buffers.map(u64::from)),
            subgroup,
            if self.features.is_empty() { "-".to_string() } else { self.features.join(", ") },
        ]
    }
}

const HEADINGS: [&str; 10] =
    ["index  ", "name", "kind", "backend", "driver", "binding MiB", "workgroups", "buffers", "subgroup", "features"];

const NUMBERS: [bool; 10] = [true, false, false, false, false, true, true, true, true, false];

pub(crate) fn run(args: &DevicesArgs) -> Result<()> {
    let best = Device::best();
    let mut devices: Vec<Entry> = Device::list_gpus()
        .into_iter()
        .enumerate()
        // If `best` is a GPU, it is the first.
        .map(|(index, info)| Entry::gpu(index, info, index == 0 && !best.is_cpu()))
        .collect();
    devices.push(Entry::cpu(Device::cpu().info(), best.is_cpu()));
    if args.json {
        return output::print(&output::to_json(&Listing { devices }));
    }
    let rows: Vec<_> = devices.iter().map(Entry::cells).collect();
    output::print(&format!(
        "{}\n* what --device auto chooses; binding: largest buffer of a kernel; workgroups: along one dimension of a \
         launch;\n  buffers: storage buffers of a kernel\n",
        table(HEADINGS, NUMBERS, &rows)
    ))
}

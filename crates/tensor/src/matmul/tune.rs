//! The tuner: which kernel computes which products fastest is measured once, and kept in a file.
//!
//! Nothing is measured unasked: a candidate's first launch compiles it, which on some drivers takes a tenth of a second
//! and more. Without a file, or where it has no entry, the profile's own table decides. All candidates give the same
//! bits, so that a file may change the time of a program and nothing else; where k is split the sum is another, and the
//! profile alone decides.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::choose::{Forced, Products, forced, loads, products};
use super::generated::form::{Epilogue, Layout, Loads};
use super::product::Product;
use super::profile::{Candidate, Extents, Profile};
use crate::DeviceInfo;
use crate::{DType, Device, Error, Result, Tensor};

/// The version of the generator: what was measured of another one's kernels is of no use.
const VERSION: u32 = 3;

/// Products that one choice is made for: extents up to a power of two, and the layouts of the operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Class {
    m: usize,
    n: usize,
    k: usize,
    layout: ClassLayout,
}

/// In which direction a and b are contiguous, where both are loaded by vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClassLayout {
    InnerInner,
    InnerOuter,
    OuterInner,
    OuterOuter,
    Strided,
}

impl Class {
    pub(super) fn of(extents: Extents, loads: Loads) -> Self {
        let layout = match loads {
            Loads::Vectors(Layout::Inner, Layout::Inner) => ClassLayout::InnerInner,
            Loads::Vectors(Layout::Inner, Layout::Outer) => ClassLayout::InnerOuter,
            Loads::Vectors(Layout::Outer, Layout::Inner) => ClassLayout::OuterInner,
            Loads::Vectors(Layout::Outer, Layout::Outer) => ClassLayout::OuterOuter,
            Loads::Scalars => ClassLayout::Strided,
        };
        let Extents { m, n, k } = extents;
        Self { m: m.next_power_of_two(), n: n.next_power_of_two(), k: k.next_power_of_two(), layout }
    }
}

/// What was chosen for a class; none is the strided kernel.
pub(super) type Choices = HashMap<Class, Option<Candidate>>;

/// A matrix product to tune for, `[m, k]` × `[k, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductShape {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// The inner dimension.
    pub k: usize,
    /// Whether the left operand is stored `[k, m]`.
    pub transpose_a: bool,
    /// Whether the right operand is stored `[n, k]`.
    pub transpose_b: bool,
}

impl ProductShape {
    /// The three products of a fully connected layer: forward, the input's gradient and the weight's.
    #[must_use]
    pub fn layer(batch: usize, inputs: usize, outputs: usize) -> [Self; 3] {
        let shape = |m, n, k, transpose_a, transpose_b| Self { m, n, k, transpose_a, transpose_b };
        [
            shape(batch, outputs, inputs, false, true),
            shape(batch, inputs, outputs, false, false),
            shape(outputs, inputs, batch, true, false),
        ]
    }
}

/// What [`DeviceProducts::tune_products`](super::DeviceProducts::tune_products) found.
#[derive(Debug, Clone)]
pub struct ProductTuning {
    adapter: String,
    driver: String,
    choices: Choices,
    /// A row for each class of shapes.
    pub rows: Vec<TunedProduct>,
}

/// The candidates for a class of shapes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TunedProduct {
    /// The shape that was measured; the choice holds for all whose extents round up to the same powers of two.
    pub shape: ProductShape,
    /// Kernels by name, with the rate of each in GFLOP/s.
    pub candidates: Vec<(String, f64)>,
    /// The name of the fastest.
    pub choice: String,
    /// The name of the kernel that the profile would take.
    pub default: String,
}

/// See [`DeviceProducts::tune_products`](super::DeviceProducts::tune_products).
pub(super) fn tune_products(device: &Device, shapes: &[ProductShape]) -> Result<ProductTuning> {
    let info = device.info();
    let mut tuning =
        ProductTuning { adapter: info.name, driver: info.driver, choices: Choices::new(), rows: Vec::new() };
    let Some(products) = products(device) else { return Ok(tuning) };
    for &shape in shapes {
        let Some((class, choice, row)) = tune(device, products, shape, &tuning.choices)? else { continue };
        tuning.choices.insert(class, choice);
        tuning.rows.push(row);
    }
    let mut tuned = products.tuned.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    tuned.extend(tuning.choices.iter().map(|(&class, &choice)| (class, choice)));
    drop(tuned);
    Ok(tuning)
}

/// The least time of one measurement, and how many there are of a candidate.
const BATCH: Duration = Duration::from_millis(4);
const TURNS: usize = 5;

/// Measures all candidates for a shape, unless its class has a choice or its sum is split.
fn tune(
    device: &Device,
    products: &Products,
    shape: ProductShape,
    known: &Choices,
) -> Result<Option<(Class, Option<Candidate>, TunedProduct)>> {
    let ProductShape { m, n, k, transpose_a, transpose_b } = shape;
    let operand = |seed, rows, columns, transposed| {
        let shape = if transposed { [columns, rows] } else { [rows, columns] };
        let x = Tensor::uniform(device, seed, 0, -1.0, 1.0, &shape)?;
        if transposed { x.t() } else { Ok(x) }
    };
    let (a, b) = (operand(1, m, k, transpose_a)?, operand(2, k, n, transpose_b)?);
    let c = Tensor::zeros(device, DType::F32, &[m, n])?;
    let extents = Extents { m, n, k };
    let class = Class::of(extents, loads(&Product::new("tune", &a, &b)?));
    let default = products.profile.choose(extents, Epilogue::Matmul { accumulate: false }, |_| false);
    let split = default.and_then(|candidate| products.profile.slice(extents, candidate)).is_some();
    if split || m * n * k == 0 || known.contains_key(&class) {
        return Ok(None);
    }
    let all = products.profile.candidates().into_iter();
    let choices: Vec<Option<Candidate>> = std::iter::once(None).chain(all.map(Some)).collect();
    let time = |choice: Option<Candidate>, calls: u32| -> Result<Duration> {
        let start = Instant::now();
        forced(choice.map_or(Forced::Strided, Forced::Candidate), || {
            (0..calls).try_for_each(|_| a.matmul_into(&b, &c, false))
        })?;
        device.synchronize()?;
        Ok(start.elapsed())
    };
    let mut seconds = vec![f64::INFINITY; choices.len()];
    let mut calls = Vec::new();
    for &choice in &choices {
        // The first call compiles.
        time(choice, 1)?;
        let once = time(choice, 2)?.max(Duration::from_micros(1)) / 2;
        calls.push((BATCH.as_secs_f64() / once.as_secs_f64()).ceil().clamp(1.0, 1000.0) as u32);
    }
    for _ in 0..TURNS {
        for ((&choice, &calls), seconds) in choices.iter().zip(&calls).zip(&mut seconds) {
            *seconds = seconds.min(time(choice, calls)?.as_secs_f64() / f64::from(calls));
        }
    }
    let fastest = (0..choices.len()).min_by(|&x, &y| seconds[x].total_cmp(&seconds[y])).unwrap_or(0);
    let row = TunedProduct {
        shape,
        candidates: choices.iter().zip(&seconds).map(|(c, s)| (name(*c), extents.operations() / s / 1e9)).collect(),
        choice: name(choices[fastest]),
        default: name(default),
    };
    Ok(Some((class, choices[fastest], row)))
}

/// What a choice is called, in tables and in the file.
fn name(choice: Option<Candidate>) -> String {
    match choice {
        None => "strided".to_string(),
        Some(Candidate { family, swapped }) => family.name() + if swapped { "_swapped" } else { "" },
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    version: u32,
    devices: Vec<DeviceEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DeviceEntry {
    adapter: String,
    driver: String,
    products: Vec<ProductEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ProductEntry {
    #[serde(flatten)]
    class: Class,
    kernel: String,
}

impl ProductTuning {
    /// Adds what was found to the file that devices read when they are opened, and gives its path: `products.json` in
    /// the folder that `THALWEG_CACHE_DIR` names, or in `thalweg` in the user's folder of caches. The file is written
    /// whole or not at all. With `THALWEG_TUNE=off` in the environment devices do not read it.
    ///
    /// # Errors
    /// [`Error::File`] where there is no such folder, or the file cannot be written.
    pub fn save(&self) -> Result<PathBuf> {
        let path = path().ok_or_else(|| Error::File {
            path: "products.json".to_string(),
            reason: "there is no folder for caches; set THALWEG_CACHE_DIR".to_string(),
        })?;
        self.save_to(&path).map_err(|error| Error::File {
            path: path.display().to_string(),
            reason: format!("{error}; set THALWEG_CACHE_DIR to a folder that can be written"),
        })?;
        Ok(path)
    }

    fn save_to(&self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        // What cannot be read is written anew.
        let mut file = read(path).unwrap_or_default();
        file.version = VERSION;
        let own = |entry: &DeviceEntry| entry.adapter == self.adapter && entry.driver == self.driver;
        let mut products: Vec<ProductEntry> =
            self.choices.iter().map(|(&class, &choice)| ProductEntry { class, kernel: name(choice) }).collect();
        let before = file.devices.iter().position(own).map(|i| file.devices.swap_remove(i).products);
        products.extend(before.into_iter().flatten().filter(|entry| !self.choices.contains_key(&entry.class)));
        products.sort_by_key(|ProductEntry { class, .. }| (class.layout as usize, class.m, class.n, class.k));
        file.devices.push(DeviceEntry { adapter: self.adapter.clone(), driver: self.driver.clone(), products });
        let mut builder = tempfile::Builder::new();
        builder.prefix(".thalweg-");
        // The rights that a new file has, and not only the owner's: all users may share the folder.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // Errors of the temporary file's own functions name it, which means nothing to anybody.
        let mut temporary = builder.tempfile_in(folder).map_err(|error| std::io::Error::from(error.kind()))?;
        temporary.as_file_mut().write_all(serde_json::to_string_pretty(&file)?.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// The choices for a device in the file; none where it is missing, broken or not wanted.
pub(super) fn load(info: &DeviceInfo, profile: &Profile) -> Choices {
    let wanted = std::env::var_os("THALWEG_TUNE").is_none_or(|value| value != "off");
    match path().filter(|_| wanted) {
        Some(path) => load_from(&path, info, profile),
        None => Choices::new(),
    }
}

fn load_from(path: &Path, info: &DeviceInfo, profile: &Profile) -> Choices {
    let file = match read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Choices::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what was tuned for matrix products is not used");
            return Choices::new();
        }
    };
    let candidates = profile.candidates();
    let choice = |kernel: &str| match kernel {
        "strided" => Some(None),
        _ => candidates.iter().find(|&&candidate| name(Some(candidate)) == kernel).map(|&candidate| Some(candidate)),
    };
    let own = file.devices.iter().filter(|entry| entry.adapter == info.name && entry.driver == info.driver);
    own.flat_map(|entry| &entry.products).filter_map(|entry| Some((entry.class, choice(&entry.kernel)?))).collect()
}

/// The file, if it is one of this version.
fn read(path: &Path) -> std::io::Result<File> {
    let file: File = serde_json::from_slice(&std::fs::read(path)?)?;
    // Of other versions nothing holds, and nothing is wrong.
    Ok(if file.version == VERSION { file } else { File::default() })
}

/// Where the file lies.
fn path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("THALWEG_CACHE_DIR").or_else(|| {
        let caches = if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            variable("HOME").map(|home| home.join("Library/Caches"))
        } else {
            variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
        };
        caches.map(|caches| caches.join("thalweg"))
    });
    folder.map(|folder| folder.join("products.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuning(driver: &str, m: usize, choice: Option<Candidate>) -> ProductTuning {
        let class = Class { m, n: 64, k: 64, layout: ClassLayout::InnerOuter };
        ProductTuning {
            adapter: "an adapter".to_string(),
            driver: driver.to_string(),
            choices: Choices::from([(class, choice)]),
            rows: Vec::new(),
        }
    }

    #[test]
    fn choices_are_kept_by_device_and_a_broken_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/products.json");
        let profile = Profile { lanes: Some(8), software: true, threads: 2, cooperative: None };
        let mut info = Device::cpu().info();
        (info.name, info.driver) = ("an adapter".to_string(), "new".to_string());
        assert!(load_from(&path, &info, &profile).is_empty());
        let candidate = profile.candidates()[1];
        tuning("old", 16, None).save_to(&path).unwrap();
        tuning("new", 32, Some(candidate)).save_to(&path).unwrap();
        tuning("new", 64, None).save_to(&path).unwrap();
        let choices = load_from(&path, &info, &profile);
        let class = |m| Class { m, n: 64, k: 64, layout: ClassLayout::InnerOuter };
        assert_eq!(choices, Choices::from([(class(32), Some(candidate)), (class(64), None)]));
        // A kernel that the profile does not have is passed over.
        let other = Profile { lanes: Some(4), ..profile };
        assert_eq!(load_from(&path, &info, &other), Choices::from([(class(64), None)]));

        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(&format!("\"version\": {VERSION}"), "\"version\": 0")).unwrap();
        assert!(load_from(&path, &info, &profile).is_empty());
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(load_from(&path, &info, &profile).is_empty());
        tuning("new", 32, None).save_to(&path).unwrap();
        assert_eq!(load_from(&path, &info, &profile), Choices::from([(class(32), None)]));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn shapes_of_a_class_share_their_choice() {
        let of = |m, n, k| Class::of(Extents { m, n, k }, Loads::Scalars);
        assert_eq!(of(33, 100, 1), of(64, 128, 1));
        assert_ne!(of(33, 100, 1), of(65, 100, 1));
    }
}

//! The file of `thalweg tune`: the choices of kernels for matrix products, by device. Every command that computes reads it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thalweg::tensor::tune::{DeviceProducts, PRODUCT_KERNELS_VERSION, ProductChoice};
use thalweg::tensor::{Device, DeviceInfo};

use crate::error::{Error, Result};
use crate::files::Named;

/// The environment variable that names the folder of the file.
const FOLDER: &str = "THALWEG_CACHE_DIR";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Choices {
    version: u32,
    devices: Vec<DeviceChoices>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DeviceChoices {
    adapter: String,
    driver: String,
    products: Vec<ProductChoice>,
}

impl DeviceChoices {
    fn are_of(&self, info: &DeviceInfo) -> bool {
        self.adapter == info.name && self.driver == info.driver
    }
}

/// Sets the choices that the file has for a device.
pub(crate) fn set(device: &Device) {
    if let Some((_, choices)) = of(device) {
        device.set_product_choices(&choices);
    }
}

/// Returns a line that says which choices are in use, if there are any: another kernel may round differently.
pub(crate) fn note(device: &Device) -> Option<String> {
    let (path, choices) = of(device).filter(|(_, choices)| !choices.is_empty())?;
    let (count, path) = (crate::output::count(choices.len() as u64, "tuned choice"), path.display());
    Some(format!("{count} of kernels from {path}; the last bits of results may depend on them (THALWEG_TUNE=off)"))
}

/// Returns the file and the choices that it has for a device. With `THALWEG_TUNE=off` in the environment it is not read.
fn of(device: &Device) -> Option<(PathBuf, Vec<ProductChoice>)> {
    let wanted = std::env::var_os("THALWEG_TUNE").is_none_or(|value| value != "off");
    let path = path().filter(|_| wanted && !device.is_cpu())?;
    let choices = load(&path, &device.info());
    Some((path, choices))
}

/// Adds choices for a device to the file and returns its path. The file is written whole or not at all.
///
/// # Errors
/// If there is no folder for caches, or the file cannot be written.
pub(crate) fn save(info: &DeviceInfo, choices: &[ProductChoice]) -> Result<PathBuf> {
    let path = path().ok_or_else(|| Error::Output {
        flag: FOLDER,
        path: PathBuf::from("products.json"),
        source: io::Error::new(io::ErrorKind::NotFound, "there is no folder for caches, so set this variable to one"),
    })?;
    save_to(&path, info, choices)?;
    Ok(path)
}

fn save_to(path: &Path, info: &DeviceInfo, choices: &[ProductChoice]) -> Result<()> {
    if let Some(folder) = path.parent() {
        let failed = |source| Error::Output { flag: FOLDER, path: path.to_path_buf(), source };
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // A file that cannot be read is replaced.
    let mut file = read(path).unwrap_or_default();
    file.version = PRODUCT_KERNELS_VERSION;
    let before =
        file.devices.iter().position(|device| device.are_of(info)).map(|i| file.devices.swap_remove(i).products);
    let mut products = choices.to_vec();
    let is_measured_anew = |old: &ProductChoice| choices.iter().any(|new| new.is_for_same_products(old));
    products.extend(before.into_iter().flatten().filter(|old| !is_measured_anew(old)));
    file.devices.push(DeviceChoices { adapter: info.name.clone(), driver: info.driver.clone(), products });
    Named::new(FOLDER, path).write(crate::output::to_json(&file).as_bytes())
}

/// Returns the choices that the file has for a device; none if it is missing or broken.
fn load(path: &Path, info: &DeviceInfo) -> Vec<ProductChoice> {
    match read(path) {
        Ok(file) => file.devices.into_iter().filter(|device| device.are_of(info)).flat_map(|d| d.products).collect(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the tuned choices for matrix products are not used");
            }
            Vec::new()
        }
    }
}

/// Reads the file. A file of another version counts as empty.
fn read(path: &Path) -> io::Result<Choices> {
    let file: Choices = serde_json::from_slice(&fs::read(path)?)?;
    Ok(if file.version == PRODUCT_KERNELS_VERSION { file } else { Choices::default() })
}

/// Returns the path of the file: in the folder of `THALWEG_CACHE_DIR`, or in `thalweg` in the user's folder of caches.
fn path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable(FOLDER).or_else(|| {
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

    fn choices(m: usize, kernel: &str) -> Vec<ProductChoice> {
        let text = format!(r#"[{{"m": {m}, "n": 64, "k": 64, "layout": "inner_outer", "kernel": "{kernel}"}}]"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn choices_are_kept_by_device_and_a_broken_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/products.json");
        let mut info = Device::cpu().info();
        info.driver = "old".to_string();
        assert!(load(&path, &info).is_empty());
        save_to(&path, &info, &choices(16, "strided")).unwrap();
        info.driver = "new".to_string();
        save_to(&path, &info, &choices(32, "one")).unwrap();
        save_to(&path, &info, &choices(64, "two")).unwrap();
        save_to(&path, &info, &choices(32, "three")).unwrap();
        assert_eq!(load(&path, &info), [choices(32, "three"), choices(64, "two")].concat());

        let text = fs::read_to_string(&path).unwrap();
        let version = format!("\"version\": {PRODUCT_KERNELS_VERSION}");
        assert!(text.contains(&version), "{text}");
        fs::write(&path, text.replace(&version, "\"version\": 0")).unwrap();
        assert!(load(&path, &info).is_empty());
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(load(&path, &info).is_empty());
        save_to(&path, &info, &choices(32, "one")).unwrap();
        assert_eq!(load(&path, &info), choices(32, "one"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

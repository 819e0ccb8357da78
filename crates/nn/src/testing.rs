//! The devices of unit tests.

use thalweg_tensor::Device;

/// Returns the CPU, and the GPU if there is one. Without an adapter it fails if `THALWEG_REQUIRE_GPU` is 1.
pub(crate) fn devices() -> Vec<Device> {
    let gpu = Device::open("gpu").ok();
    let required = std::env::var("THALWEG_REQUIRE_GPU").as_deref() == Ok("1");
    assert!(gpu.is_some() || !required, "THALWEG_REQUIRE_GPU=1, but there is no adapter");
    [Device::cpu()].into_iter().chain(gpu).collect()
}

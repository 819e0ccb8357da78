//! Adapters: listing, describing, opening.

use super::quiet;
use super::ready::poll_once;
use crate::info::{DeviceFeatures, DeviceInfo, DeviceKind};
use crate::{Error, Result};

/// Optional features that kernels and profiles use.
const USEFUL: wgpu::Features =
    wgpu::Features::SHADER_F16.union(wgpu::Features::SUBGROUP).union(wgpu::Features::TIMESTAMP_QUERY);

/// An adapter that was found.
pub(crate) struct Found {
    adapter: wgpu::Adapter,
    pub(crate) info: DeviceInfo,
    /// Identifies the adapter: the same on every search, and different from all others.
    pub(crate) id: String,
}

/// Returns the adapters, hardware before software. In a browser this is asynchronous, so the list is empty.
pub(crate) fn find() -> Vec<Found> {
    poll_once(find_async()).unwrap_or_default()
}

/// Returns the adapters, hardware before software, without wgpu's `noop` backend.
pub(crate) async fn find_async() -> Vec<Found> {
    quiet::silence_wayland();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    adapters.retain(|adapter| adapter.get_info().backend != wgpu::Backend::Noop);
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    let mut found: Vec<Found> = Vec::with_capacity(adapters.len());
    for adapter in adapters {
        let info =
            describe(&adapter.get_info(), &adapter.limits(), adapter.features(), cooperative_matrix_side(&adapter));
        let wgpu::AdapterInfo { vendor, device, device_pci_bus_id, .. } = adapter.get_info();
        let DeviceInfo { name, backend, driver, .. } = &info;
        let id = format!("{backend} {vendor:x}:{device:x} {device_pci_bus_id} {name} {driver}");
        // Identical adapters without a location are distinguished by their order.
        let twins = found.iter().filter(|other| other.id.starts_with(&id)).count();
        found.push(Found { adapter, info, id: format!("{id} {twins}") });
    }
    found
}

/// Returns the properties of an adapter, or of a device that was opened from it.
pub(crate) fn describe(
    info: &wgpu::AdapterInfo,
    limits: &wgpu::Limits,
    features: wgpu::Features,
    cooperative_matrix_side: Option<u32>,
) -> DeviceInfo {
    let software = info.device_type == wgpu::DeviceType::Cpu;
    DeviceInfo {
        name: info.name.clone(),
        kind: if software { DeviceKind::Software } else { DeviceKind::Hardware },
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        subgroup_size: (info.subgroup_min_size, info.subgroup_max_size),
        features: DeviceFeatures {
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        },
        cooperative_matrix_side,
    }
}

/// Returns the side of the largest square f16 matrices that the adapter multiplies and adds to an f32 matrix.
fn cooperative_matrix_side(adapter: &wgpu::Adapter) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let needed = COOPERATIVE | wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
    let info = adapter.get_info();
    // Lavapipe (Mesa 26.2) crashes when it compiles them for subgroups of a size other than eight lanes.
    let crashes = info.device_type == wgpu::DeviceType::Cpu && info.subgroup_max_size != 8;
    // The kernel uses the number of subgroups of its workgroup, so the size must be fixed.
    let varies = info.subgroup_min_size != info.subgroup_max_size || !matches!(info.subgroup_max_size, 4 | 8 | 16 | 32);
    if crashes || varies || !adapter.features().contains(needed) {
        return None;
    }
    let all = adapter.cooperative_matrix_properties().into_iter();
    let fitting = all.filter(|matrices| (matrices.ab_type, matrices.cr_type) == (F16, F32));
    let square = fitting.filter(|matrices| matrices.m_size == matrices.n_size && matrices.n_size == matrices.k_size);
    square.map(|matrices| matrices.m_size).filter(|side| matches!(side, 8 | 16)).max()
}

/// The features of wgpu for cooperative matrices, which are experimental.
const COOPERATIVE: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

/// An opened device, and the side of its cooperative matrices.
pub(crate) struct Opened {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) cooperative_matrix_side: Option<u32>,
}

/// Opens an adapter with its own limits and the useful features it has.
pub(crate) async fn open(found: &Found) -> Result<Opened> {
    request(&found.adapter).await
}

/// Opens wgpu's `noop` adapter, with the limits that all GPUs have.
pub(crate) fn open_noop() -> Result<Opened> {
    let backends = wgpu::Backends::NOOP;
    let mut descriptor =
        wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() };
    descriptor.backend_options.noop = wgpu::NoopBackendOptions {
        enable: true,
        limits: Some(wgpu::Limits::default()),
        ..wgpu::NoopBackendOptions::default()
    };
    let instance = wgpu::Instance::new(descriptor);
    let opened = poll_once(async {
        match instance.enumerate_adapters(backends).await.first() {
            Some(adapter) => request(adapter).await,
            None => Err(Error::Adapter { adapter: "noop".to_string(), reason: "it is not there".to_string() }),
        }
    });
    opened.unwrap_or_else(|| {
        Err(Error::Adapter { adapter: "noop".to_string(), reason: "a browser does not have it".to_string() })
    })
}

async fn request(adapter: &wgpu::Adapter) -> Result<Opened> {
    let side = cooperative_matrix_side(adapter);
    let opened = request_with(adapter, side).await;
    // An experimental feature must not prevent the device from being opened.
    if opened.is_err() && side.is_some() { request_with(adapter, None).await } else { opened }
}

async fn request_with(adapter: &wgpu::Adapter, cooperative_matrix_side: Option<u32>) -> Result<Opened> {
    let mut useful = USEFUL;
    let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
    if cooperative_matrix_side.is_some() {
        useful |= COOPERATIVE;
        #[allow(unsafe_code, reason = "the one experiment is used by kernels of our own, which run on request alone")]
        // SAFETY: the requirement is to accept that wgpu may have errors there, and to report them.
        let enabled = unsafe { wgpu::ExperimentalFeatures::enabled() };
        experimental_features = enabled;
    }
    let request = adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("thalweg"),
        required_features: adapter.features() & useful,
        required_limits: adapter.limits(),
        experimental_features,
        ..Default::default()
    });
    match request.await {
        Ok((device, queue)) => Ok(Opened { device, queue, cooperative_matrix_side }),
        Err(error) => Err(Error::Adapter { adapter: adapter.get_info().name, reason: error.to_string() }),
    }
}

//! The properties of a device: its kind, its limits, and its counters.

use std::fmt;

/// The work of a device since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Kernel launches.
    pub launches: u64,
    /// Submissions of collected launches to the driver; 0 on the CPU.
    pub submissions: u64,
    /// How often the host has waited for the device: read-backs and explicit waits.
    pub host_syncs: u64,
    /// Submissions that had to wait because too many were in flight: see
    /// [`Device::in_flight`](crate::Device::in_flight).
    pub throttled: u64,
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            launches: self.launches + other.launches,
            submissions: self.submissions + other.submissions,
            host_syncs: self.host_syncs + other.host_syncs,
            throttled: self.throttled + other.throttled,
        }
    }
}

impl std::ops::Sub for Counters {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            launches: self.launches - other.launches,
            submissions: self.submissions - other.submissions,
            host_syncs: self.host_syncs - other.host_syncs,
            throttled: self.throttled - other.throttled,
        }
    }
}

/// The kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU backend.
    Cpu,
    /// A hardware GPU.
    Hardware,
    /// A GPU emulated in software by a driver, such as lavapipe or WARP.
    Software,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "cpu",
            Self::Hardware => "hardware",
            Self::Software => "software",
        })
    }
}

/// The optional features of an adapter that thalweg uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeviceFeatures {
    /// Whether shaders may compute in f16.
    pub f16: bool,
    /// Whether the lanes of a subgroup can read each other's registers.
    pub subgroups: bool,
    /// Whether the device can stamp the times at which a launch starts and ends.
    pub timestamps: bool,
}

/// The unfinished submissions of a device: see [`Device::in_flight`](crate::Device::in_flight).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct InFlight {
    /// The number of unfinished submissions; 0 on the CPU.
    pub submissions: usize,
    /// The maximum so far.
    pub most: usize,
    /// The limit.
    pub limit: usize,
}

/// The kind, the limits and the features of a device.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// The adapter's name, or `cpu`.
    pub name: String,
    /// CPU, hardware or software.
    pub kind: DeviceKind,
    /// The interface: `vulkan`, `metal`, `dx12`, or `cpu`.
    pub backend: String,
    /// The driver's name and version; for the CPU the number of threads.
    pub driver: String,
    /// The largest buffer that a kernel can bind, in bytes.
    pub max_binding_bytes: u64,
    /// The most workgroups along one dimension of a launch.
    pub max_workgroups_per_dimension: u32,
    /// The most storage buffers in one launch.
    pub max_storage_buffers: u32,
    /// The smallest and largest number of lanes of a subgroup; 0 if there are no subgroups.
    pub subgroup_size: (u32, u32),
    /// The optional features that thalweg uses.
    pub features: DeviceFeatures,
    /// The number of rows and columns of the largest square f16 matrices that the adapter multiplies in one subgroup
    /// instruction and adds to an f32 matrix. `None` if it has no such instruction.
    pub cooperative_matrix_side: Option<u32>,
}

impl DeviceInfo {
    /// Returns the names of the optional features that the device has: `f16`, `subgroups`, `timestamps`,
    /// `cooperative-matrices`.
    #[must_use]
    pub fn feature_names(&self) -> Vec<&'static str> {
        let DeviceFeatures { f16, subgroups, timestamps } = self.features;
        let all = [
            (f16, "f16"),
            (subgroups, "subgroups"),
            (timestamps, "timestamps"),
            (self.cooperative_matrix_side.is_some(), "cooperative-matrices"),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect()
    }
}

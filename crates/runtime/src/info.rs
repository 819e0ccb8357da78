//! What is known of a device: its kind, its limits, and what it has done.

use std::fmt;

/// What a device has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Launches of kernels.
    pub launches: u64,
    /// Submissions of collected launches to the driver; none on the CPU.
    pub submissions: u64,
    /// Times the host has waited for the device: read-backs and explicit waits.
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

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU backend of this crate.
    Cpu,
    /// A GPU in hardware.
    Hardware,
    /// A GPU that a driver imitates in software, such as lavapipe or WARP.
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

/// The optional features of an adapter that thalweg uses; it needs none of them.
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

/// The submissions of a device that it has not finished: see [`Device::in_flight`](crate::Device::in_flight).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct InFlight {
    /// Submissions that have not been finished; 0 on the CPU.
    pub submissions: usize,
    /// The most that there have been at a time.
    pub most: usize,
    /// The most that there may be.
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
    /// Lanes of a subgroup, smallest and largest; 0 where there are none.
    pub subgroup_size: (u32, u32),
    /// The optional features that thalweg uses.
    pub features: DeviceFeatures,
    /// Rows, and columns, of the largest square matrices of f16 that the adapter multiplies in one instruction of a
    /// subgroup and adds to one of f32; `None` where it has none.
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

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
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            launches: self.launches + other.launches,
            submissions: self.submissions + other.submissions,
            host_syncs: self.host_syncs + other.host_syncs,
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

/// What is known of a device.
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
    /// Optional features that the adapter has, of those thalweg can use.
    pub features: Vec<&'static str>,
    /// Rows, and columns, of the largest square matrices of f16 that the adapter multiplies in one instruction of a
    /// subgroup and adds to one of f32; `None` where it has none. See [`MatmulPrecision`](crate::MatmulPrecision).
    pub cooperative_matrix_side: Option<u32>,
}

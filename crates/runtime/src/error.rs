//! The error type of the crate.

/// The result type of all fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error, with the operation and the shapes.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes are incompatible.
    #[error("{op}: {rule}, {left:?} × {right:?}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The rule that the shapes violate.
        rule: &'static str,
        /// The shape of the first operand.
        left: Vec<usize>,
        /// The shape of the second operand.
        right: Vec<usize>,
    },
    /// A tensor has the wrong number of dimensions.
    #[error("{op}: needs {expected}, got shape {shape:?}")]
    Rank {
        /// The operation.
        op: &'static str,
        /// The expected number of dimensions, in words.
        expected: &'static str,
        /// The actual shape.
        shape: Vec<usize>,
    },
    /// A tensor has the wrong element type.
    #[error("{op}: needs elements of type {expected}, got {found}")]
    DType {
        /// The operation.
        op: &'static str,
        /// The expected type.
        expected: crate::DType,
        /// The actual type.
        found: crate::DType,
    },
    /// Two operands have different element types.
    #[error("{op}: the operands have the types {left} and {right}; convert one with to_dtype")]
    MixedTypes {
        /// The operation.
        op: &'static str,
        /// The type of the first operand.
        left: crate::DType,
        /// The type of another operand.
        right: crate::DType,
    },
    /// Two tensors are on different devices.
    #[error("{op}: the tensors are on different devices, {left} and {right}")]
    Device {
        /// The operation.
        op: &'static str,
        /// The device of the first operand.
        left: String,
        /// The device of the second operand.
        right: String,
    },
    /// An argument is out of range.
    #[error("{op}: {name} = {value}, but it must be {rule}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// The argument's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The rule for the value.
        rule: &'static str,
    },
    /// A kernel found an index that is out of range. The read-back that returns this has no elements; later ones have.
    #[error("{op}: index {index} is out of the range 0..{bound}")]
    Index {
        /// The operation.
        op: &'static str,
        /// The index; of several at once any one of them.
        index: u32,
        /// The extent of the axis.
        bound: u32,
    },
    /// A launch would write a buffer that it also reads, or write an element twice. No device supports this.
    #[error("{op}: a result shares its memory with an operand or another result")]
    Aliasing {
        /// The kernel.
        op: &'static str,
    },
    /// A recording cannot contain this.
    #[error("{op}: not while a recording is made; {rule}")]
    Recording {
        /// The operation.
        op: &'static str,
        /// The reason.
        rule: &'static str,
    },
    /// A recording is out of date: state that it uses has changed since it was made.
    #[error("replay: {problem}")]
    Stale {
        /// The change and the remedy: in most cases, to record again.
        problem: String,
    },
    /// Gradients were not finite, and this is configured to be an error.
    #[error(
        "step {step}: the norm of the gradients is not finite, so the update was skipped; lower the learning rate, or look for NaN in the data"
    )]
    NotFinite {
        /// The first such step, counted from 1, including skipped steps.
        step: u32,
    },
    /// The elements of a read-back have already been taken.
    #[error("read-back: its elements have been given out already; ask for them again with read_later")]
    Taken,
    /// A web page cannot block on its GPU.
    #[error("a web page cannot wait for its GPU; await read_later or synchronize_async instead")]
    CannotWait,
    /// Profiles of one device cannot be nested.
    #[error("profile: the device is being profiled already; end that profile first")]
    Profile,
    /// No adapter matches the request.
    #[error("no adapter matches {wanted:?}; {}", choices(.found))]
    NoAdapter {
        /// The request.
        wanted: String,
        /// The available adapters.
        found: Vec<String>,
    },
    /// The adapter could not open a device.
    #[error("cannot open adapter {adapter:?}: {reason}")]
    Adapter {
        /// The adapter's name.
        adapter: String,
        /// The driver's error.
        reason: String,
    },
    /// A size exceeds a limit of the device.
    #[error("{op}: {asked} is over the device's limit {limit} = {allowed}")]
    Limit {
        /// The operation.
        op: &'static str,
        /// The limit's name.
        limit: &'static str,
        /// The requested size.
        asked: u64,
        /// The largest size that the device allows.
        allowed: u64,
    },
    /// A kernel does not compile on this device, or the device rejected its launch.
    #[error("kernel {kernel}: {log}")]
    Kernel {
        /// The kernel's name.
        kernel: &'static str,
        /// The log of the driver or validator.
        log: String,
    },
    /// The device has no room for a buffer.
    #[error("out of memory on the device: cannot allocate {bytes} bytes")]
    OutOfMemory {
        /// The size of the buffer in bytes.
        bytes: u64,
    },
    /// The device is lost: unplugged, reset by the system, or closed. Everything on it is lost.
    #[error("the device is lost: {reason}; open it again, and resume from a checkpoint if there is one")]
    DeviceLost {
        /// The driver's reason.
        reason: String,
    },
    /// The driver has rejected submitted work. Its results are missing, so every later call on the device returns
    /// this error.
    #[error("the driver refused work: {reason}")]
    Driver {
        /// The log of the driver or validator.
        reason: String,
    },
    /// The device does not finish a submission.
    #[error(
        "the device has not finished a submission within {patience:?}: it hangs, or works slowly; Device::set_wait_timeout sets another time"
    )]
    Timeout {
        /// The time waited.
        patience: std::time::Duration,
    },
}

/// Formats the available choices for a message.
fn choices(found: &[String]) -> String {
    let names = found.iter().enumerate().map(|(index, name)| format!("{index} = {name}"));
    match found.is_empty() {
        true if cfg!(not(feature = "wgpu")) => "this program was built without the feature `gpu`; use cpu".to_string(),
        true => "there is none; use cpu".to_string(),
        false => format!("use auto, cpu, gpu, an index, or part of a name: {}", names.collect::<Vec<_>>().join(", ")),
    }
}

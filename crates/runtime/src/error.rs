//! What can go wrong, one enum for the crate.

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the operation and the shapes.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes do not fit together.
    #[error("{op}: {rule}, {left:?} × {right:?}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// What the shapes break.
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
        /// The number of dimensions it takes, in words.
        expected: &'static str,
        /// The shape it got.
        shape: Vec<usize>,
    },
    /// A tensor has the wrong element type.
    #[error("{op}: needs elements of type {expected}, got {found}")]
    DType {
        /// The operation.
        op: &'static str,
        /// The type it takes.
        expected: crate::DType,
        /// The type it got.
        found: crate::DType,
    },
    /// Two operands have different element types.
    #[error("{op}: the operands have the types {left} and {right}; convert one with to_dtype")]
    MixedTypes {
        /// The operation.
        op: &'static str,
        /// The type of the first operand.
        left: crate::DType,
        /// The type of another one.
        right: crate::DType,
    },
    /// Two tensors lie on different devices.
    #[error("{op}: the tensors lie on different devices, {left} and {right}")]
    Device {
        /// The operation.
        op: &'static str,
        /// The device of the first operand.
        left: String,
        /// The device of the second operand.
        right: String,
    },
    /// An argument lies outside of its range.
    #[error("{op}: {name} = {value}, but it must be {rule}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// The argument's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A launch would write a buffer that it also reads, or write a place twice: no device allows it.
    #[error("{op}: a result lies in the same buffer as an operand, or on another result")]
    Aliasing {
        /// The kernel.
        op: &'static str,
    },
    /// A recording cannot hold this.
    #[error("{op}: not while a recording is made; {rule}")]
    Recording {
        /// What was tried.
        op: &'static str,
        /// Why it cannot be.
        rule: &'static str,
    },
    /// A recording cannot be replayed as things are: state that it uses has changed since it was made.
    #[error("replay: {problem}")]
    Stale {
        /// What has changed, and what to do: in most cases, to record again.
        problem: String,
    },
    /// Gradients were not finite, and that is to be an error.
    #[error(
        "step {step}: the norm of the gradients is not finite, so the update was skipped; lower the learning rate, or look for NaN in the data"
    )]
    NotFinite {
        /// The first such step, counted from 1 with those that were skipped.
        step: u32,
    },
    /// The elements of a read-back are given out once.
    #[error("read-back: its elements have been given out already; ask for them again with read_later")]
    Taken,
    /// A web page cannot block until its GPU is done.
    #[error("a web page cannot wait for its GPU; await read_later or synchronize_async instead")]
    CannotWait,
    /// Profiles of one device do not nest.
    #[error("profile: the device is being profiled already; end that profile first")]
    Profile,
    /// No adapter fits the request.
    #[error("no adapter matches {wanted:?}; {}", choices(.found))]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// The adapters that are there.
        found: Vec<String>,
    },
    /// The adapter refused to open a device.
    #[error("cannot open adapter {adapter:?}: {reason}")]
    Adapter {
        /// The adapter's name.
        adapter: String,
        /// The driver's answer.
        reason: String,
    },
    /// A size passes a limit of the device.
    #[error("{op}: {asked} is over the device's limit {limit} = {allowed}")]
    Limit {
        /// The operation.
        op: &'static str,
        /// The limit's name.
        limit: &'static str,
        /// What was asked for.
        asked: u64,
        /// What the device allows.
        allowed: u64,
    },
    /// A kernel does not compile on this device, or was launched in a way that it refuses.
    #[error("kernel {kernel}: {log}")]
    Kernel {
        /// The kernel's name.
        kernel: &'static str,
        /// The driver's or the validator's text.
        log: String,
    },
    /// The device has no room for a buffer.
    #[error("out of memory on the device: cannot allocate {bytes} bytes")]
    OutOfMemory {
        /// The size of the buffer in bytes.
        bytes: u64,
    },
    /// The device is gone: unplugged, reset by the system, or closed. Everything on it is lost.
    #[error("the device is lost: {reason}; open it again, and resume from a checkpoint if there is one")]
    DeviceLost {
        /// The driver's reason.
        reason: String,
    },
    /// The driver has refused work that was handed over. What it was to compute is missing, so every later call on the
    /// device returns this error.
    #[error("the driver refused work: {reason}")]
    Driver {
        /// The driver's or the validator's text.
        reason: String,
    },
    /// The device does not finish a submission.
    #[error(
        "the device has not finished a submission within {patience:?}: it hangs, or works slowly; Device::set_wait_timeout sets another time"
    )]
    Timeout {
        /// The time that was waited.
        patience: std::time::Duration,
    },
}

/// The choices that there are, for a message.
fn choices(found: &[String]) -> String {
    let names = found.iter().enumerate().map(|(index, name)| format!("{index} = {name}"));
    match found.is_empty() {
        true if cfg!(not(feature = "wgpu")) => "this program was built without the feature `gpu`; use cpu".to_string(),
        true => "there is none; use cpu".to_string(),
        false => format!("use auto, cpu, gpu, an index, or part of a name: {}", names.collect::<Vec<_>>().join(", ")),
    }
}

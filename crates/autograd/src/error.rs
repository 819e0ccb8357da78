//! The error type of the crate.

/// The result type of all fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of automatic differentiation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] thalweg_tensor::Error),
    /// Two variables are on different tapes.
    #[error("{op}: the variables are on different tapes")]
    Tapes {
        /// The operation.
        op: &'static str,
    },
    /// Without a cotangent only a single number can be differentiated.
    #[error("{op}: needs one number, got shape {shape:?}; reduce it, by sum or mean, or give a cotangent")]
    NotScalar {
        /// The operation.
        op: &'static str,
        /// The actual shape.
        shape: Vec<usize>,
    },
    /// The variable does not depend on any tracked variable.
    #[error("{op}: the variable depends on no parameter and on no tracked input")]
    NotTracked {
        /// The operation.
        op: &'static str,
    },
    /// A backward pass has freed the values of the tape.
    #[error(
        "{op}: a backward pass has freed the values of the tape; use `backward`, which keeps them, for all passes but the last"
    )]
    Freed {
        /// The operation.
        op: &'static str,
    },
    /// A segment cannot be computed twice.
    #[error("checkpoint: the segment {problem}")]
    Checkpoint {
        /// The problem.
        problem: &'static str,
    },
    /// A parameter was used before it had memory.
    #[error("parameter {name:?} has no memory yet: build the parameters before the first forward pass")]
    Unbound {
        /// The parameter's name.
        name: String,
    },
    /// The memory does not match the parameter.
    #[error(
        "parameter {name:?} has shape {expected:?}, and gets memory of f32 on one device once; found shape {found:?}"
    )]
    Binding {
        /// The parameter's name.
        name: String,
        /// The shape it was declared with.
        expected: Vec<usize>,
        /// The shape of the memory.
        found: Vec<usize>,
    },
    /// The value of an operation is not finite, and the tape checks for this
    /// ([`Tape::detect_anomaly`](crate::Tape::detect_anomaly)).
    #[error("{path}the {what} of {op} is not finite: {found}")]
    NotFinite {
        /// The path of the module with a colon, or an empty string.
        path: String,
        /// `output` or `gradient`.
        what: &'static str,
        /// The operation.
        op: &'static str,
        /// The number of elements that are not finite, and their position.
        found: String,
    },
    /// A module failed for another reason, such as an invalid setting.
    #[error(transparent)]
    Module(Box<dyn std::error::Error + Send + Sync>),
}

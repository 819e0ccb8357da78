//! What can go wrong in differentiation.

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] thalweg_tensor::Error),
    /// Two variables of different tapes met.
    #[error("{op}: the variables lie on different tapes")]
    Tapes {
        /// The operation.
        op: &'static str,
    },
    /// Only one number can be differentiated without a cotangent.
    #[error("{op}: needs one number, got shape {shape:?}; reduce it, by sum or mean, or give a cotangent")]
    NotScalar {
        /// The operation.
        op: &'static str,
        /// The shape it got.
        shape: Vec<usize>,
    },
    /// The variable does not depend on anything that is tracked.
    #[error("{op}: the variable depends on no parameter and on no tracked input")]
    NotTracked {
        /// The operation.
        op: &'static str,
    },
    /// A backward pass has let go of the values of the tape.
    #[error("{op}: a pass has let go of what it needs; go back by `backward`, which keeps all, until the last one")]
    Freed {
        /// The operation.
        op: &'static str,
    },
    /// A parameter was used before its memory was made.
    #[error("parameter {name:?} has no memory yet: build the parameters before the first forward pass")]
    Unbound {
        /// The parameter's name.
        name: String,
    },
    /// Memory that does not fit the parameter.
    #[error(
        "parameter {name:?} has shape {expected:?}, and takes memory of f32 on one device once; got shape {found:?}"
    )]
    Binding {
        /// The parameter's name.
        name: String,
        /// The shape it was declared with.
        expected: Vec<usize>,
        /// The shape of the memory.
        found: Vec<usize>,
    },
    /// An operation gave a value that is not finite, and the tape searches for the first one
    /// ([`Tape::detect_anomaly`](crate::Tape::detect_anomaly)).
    #[error("{path}the {what} of {op} is not finite: {found}")]
    NotFinite {
        /// The path of the module with a colon, or nothing.
        path: String,
        /// `output` or `gradient`.
        what: &'static str,
        /// The operation.
        op: &'static str,
        /// How many elements are not finite, and where.
        found: String,
    },
    /// A module failed for a reason that is not one of differentiation, such as a setting.
    #[error(transparent)]
    Module(Box<dyn std::error::Error + Send + Sync>),
}

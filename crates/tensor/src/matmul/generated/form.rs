//! [`Form`]: the key of a generated product kernel.

use super::cooperative;

/// The structure of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// One tile per subgroup, in registers: each lane loads a part once, and `subgroupBroadcast` distributes it.
    Subgroup {
        /// Lanes of a subgroup, which is the workgroup.
        lanes: u32,
        /// Rows of the tile, a multiple of the lanes.
        rows: u32,
        /// Vectors of four columns that a lane holds.
        vectors: u32,
    },
    /// One tile per workgroup, staged in workgroup memory, with a block of it in the registers of each invocation.
    Blocks {
        /// Rows of the tile, a multiple of `thread_rows`.
        rows: u32,
        /// Columns of the tile, a multiple of `thread_columns`.
        columns: u32,
        /// Rows of an invocation's block, a multiple of four.
        thread_rows: u32,
        /// Columns of an invocation's block, a multiple of four.
        thread_columns: u32,
        /// Steps of the inner dimension that are staged at once, a multiple of four.
        depth: u32,
    },
    /// One tile per workgroup of several subgroups, with cooperative matrices of operands rounded to f16.
    Cooperative {
        /// Lanes of a subgroup.
        lanes: u32,
        /// Rows and columns of a matrix.
        side: u32,
    },
}

impl Family {
    /// Returns the number of rows and columns of a tile.
    pub(crate) fn tile(self) -> (usize, usize) {
        let (rows, columns) = match self {
            Self::Subgroup { lanes, rows, vectors } => (rows, 4 * lanes * vectors),
            Self::Blocks { rows, columns, .. } => (rows, columns),
            Self::Cooperative { .. } => (cooperative::TILE, cooperative::TILE),
        };
        (rows as usize, columns as usize)
    }

    /// Returns the number of invocations of a workgroup.
    pub(crate) fn invocations(self) -> u32 {
        match self {
            Self::Subgroup { lanes, .. } => lanes,
            Self::Blocks { rows, columns, thread_rows, thread_columns, .. } => {
                (rows / thread_rows) * (columns / thread_columns)
            }
            Self::Cooperative { lanes, .. } => cooperative::SUBGROUPS * lanes,
        }
    }

    /// Returns the name of the family in kernel names.
    pub(crate) fn name(self) -> String {
        let (rows, columns) = self.tile();
        match self {
            Self::Subgroup { lanes, .. } => format!("subgroup{lanes}_{rows}x{columns}"),
            Self::Blocks { thread_rows, thread_columns, depth, .. } => {
                format!("blocks_{rows}x{columns}x{depth}_{thread_rows}x{thread_columns}")
            }
            Self::Cooperative { lanes, side } => format!("cooperative{lanes}_{side}x{side}"),
        }
    }
}

/// The epilogue of a product, applied when a result is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Epilogue {
    /// c = a b, or c += a b.
    Matmul { accumulate: bool },
    /// y = a b + bias, with an optional ReLU.
    Linear { relu: bool },
    /// dx = a b where the activation is positive, else 0.
    InputGrad,
    /// dW = a b and the sums of the rows of a, or both added to the existing values.
    WeightGrad { accumulate: bool },
    /// c = a b for each matrix of a batch, or c += a b.
    Batch { accumulate: bool },
    /// c = a b for each matrix of a batch whose operands are addressed by tables, with an optional bias for each row; or
    /// c += a b.
    Gather { bias: bool, accumulate: bool },
    /// Stores a slice of the inner dimension in a buffer of partial sums.
    Partial {
        /// Whether the sums of the rows of a follow, which the weight's gradient needs.
        row_sums: bool,
    },
}

/// The direction in which an operand is contiguous in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Layout {
    /// Along the inner dimension.
    Inner,
    /// Along the outer one: the rows of a, the columns of b.
    Outer,
}

/// How operands are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Loads {
    /// Four elements at once, with these layouts of a and b.
    Vectors(Layout, Layout),
    /// One at a time, through any strides.
    Scalars,
    /// One at a time, through tables of the places of rows, columns and steps of k.
    Tables,
}

/// Everything that the text of a generated kernel depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    pub(crate) family: Family,
    pub(crate) loads: Loads,
    /// Whether results are stored four at once.
    pub(crate) vector_stores: bool,
    /// Whether the transposed product is computed, bᵀ aᵀ, for results with few columns.
    pub(crate) swapped: bool,
    pub(crate) epilogue: Epilogue,
}

impl Epilogue {
    /// Returns whether the kernel computes a batch of products.
    pub(crate) fn is_batched(self) -> bool {
        matches!(self, Self::Batch { .. } | Self::Gather { .. })
    }

    /// Returns whether the results are added to the existing values.
    pub(crate) fn accumulates(self) -> bool {
        match self {
            Self::Matmul { accumulate }
            | Self::WeightGrad { accumulate }
            | Self::Batch { accumulate }
            | Self::Gather { accumulate, .. } => accumulate,
            Self::Linear { .. } | Self::InputGrad | Self::Partial { .. } => false,
        }
    }
}

impl Form {
    /// Returns the number of tiles of a result with m rows and n columns.
    pub(crate) fn tiles(&self, m: usize, n: usize) -> usize {
        let (rows, columns) = self.family.tile();
        let (m, n) = if self.swapped { (n, m) } else { (m, n) };
        m.div_ceil(rows) * n.div_ceil(columns)
    }

    /// Returns a name for labels and profiles.
    pub(crate) fn name(&self) -> String {
        let operation = match self.epilogue {
            Epilogue::Matmul { .. } => "matmul",
            Epilogue::Linear { .. } => "linear",
            Epilogue::InputGrad => "linear_input_grad",
            Epilogue::WeightGrad { .. } => "linear_weight_grad",
            Epilogue::Batch { .. } => "batched_matmul",
            Epilogue::Gather { .. } => "gather_matmul",
            Epilogue::Partial { .. } => "matmul_partial",
        };
        let letter = |layout| if layout == Layout::Inner { 'k' } else { 'o' };
        let loads = match self.loads {
            Loads::Vectors(a, b) => format!("{}{}", letter(a), letter(b)),
            Loads::Scalars => "strided".to_string(),
            Loads::Tables => "tables".to_string(),
        };
        let swapped = if self.swapped { "_swapped" } else { "" };
        format!("{operation}_{}_{loads}{swapped}", self.family.name())
    }
}

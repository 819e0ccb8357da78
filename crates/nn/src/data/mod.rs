//! Tables of data, and their conversion for a network: numbers, classes, parts, batches.
//!
//! ```
//! use thalweg_nn::data::{Dataset, Standardizer, Table, Task, take_rows, train_test_split};
//! use thalweg_tensor::Device;
//! # fn main() -> thalweg_nn::Result<()> {
//! let text = "height,width,kind\n1,2,oak\n2,1,fir\n1,3,oak\n3,1,fir\n";
//! let table = Table::from_reader("trees.csv", text.as_bytes())?;
//! assert_eq!(table.infer_task("kind")?, Task::Classification);
//! let labels = table.class_labels("kind")?;
//! let classes = table.class_indices("kind", &labels)?;
//! let features = table.numeric_columns(&["height", "width"])?;
//!
//! let split = train_test_split(table.row_count(), 0.5, 0, Some(&classes))?;
//! let train = take_rows(&features, 2, &split.train)?;
//! let train = Standardizer::fit(&train, 2)?.apply(&train)?;
//! let classes = take_rows(&classes, 1, &split.train)?;
//! let dataset = Dataset::classification(&Device::cpu(), &train, 2, &classes, labels.len())?;
//! assert_eq!(dataset.len(), 2);
//! # Ok(())
//! # }
//! ```

mod dataset;
mod friedman;
mod label;
mod numbers;
#[cfg(feature = "csv")]
mod read;
mod shuffle;
mod split;
mod standardize;
mod table;
mod target;
#[cfg(feature = "csv")]
mod tidy;

pub use dataset::{Batch, Batches, Dataset};
pub use friedman::friedman1;
pub use numbers::marks_missing;
pub use shuffle::shuffle;
pub use split::{Split, take_rows, train_test_split};
pub use standardize::Standardizer;
pub use table::Table;
pub use target::Task;

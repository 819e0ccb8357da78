//! [`Table`]: named columns of text cells.

use std::path::{Path, PathBuf};

use crate::error::DataProblem;
use crate::{Error, Result};

/// A table of text cells with named columns, such as a CSV file.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) path: PathBuf,
    pub(super) columns: Vec<String>,
    /// The line of each row.
    lines: Vec<u64>,
    /// All cells concatenated, row by row.
    text: String,
    /// The end of each cell in the text.
    ends: Vec<usize>,
}

impl Table {
    /// Returns a table of cells, given row by row. `path` is its name in messages, and rows count as lines from 2 on.
    ///
    /// ```
    /// use thalweg_nn::data::Table;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let table = Table::from_rows("trees", &["height", "kind"], [["1.5", "oak"], ["2", "fir"]])?;
    /// assert_eq!(table.numeric_columns(&["height"])?, [1.5, 2.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] if there is no column or no row, a row has another number of cells, or two columns have one
    /// name.
    pub fn from_rows<R: AsRef<[C]>, C: AsRef<str>>(
        path: impl Into<PathBuf>,
        columns: &[impl AsRef<str>],
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Self> {
        let mut table = Self::empty(path.into());
        table.columns = columns.iter().map(|name| name.as_ref().trim().to_string()).collect();
        for (row, line) in rows.into_iter().zip(2..) {
            let (found, expected) = (row.as_ref().len(), columns.len());
            if found != expected {
                let (found, expected) = (found as u64, expected as u64);
                return Err(table.problem(Some(line), None, DataProblem::Ragged { expected, found }));
            }
            table.push_row(line, row.as_ref().iter().map(|cell| cell.as_ref().trim()));
        }
        table.check_names(1)?;
        Ok(table)
    }

    pub(super) fn empty(path: PathBuf) -> Self {
        Self { path, columns: Vec::new(), lines: Vec::new(), text: String::new(), ends: Vec::new() }
    }

    /// Adds a row, which must have a cell for each column.
    pub(super) fn push_row<'a>(&mut self, line: u64, cells: impl IntoIterator<Item = &'a str>) {
        self.lines.push(line);
        for cell in cells {
            self.text.push_str(cell);
            self.ends.push(self.text.len());
        }
    }

    /// Checks that there are columns and rows, and that each column has a unique name.
    pub(super) fn check_names(&self, line: u64) -> Result<()> {
        if self.columns.is_empty() {
            return Err(self.problem(None, None, DataProblem::Empty));
        }
        if self.lines.is_empty() {
            return Err(self.problem(None, None, DataProblem::NoRows));
        }
        let mut names = std::collections::HashSet::new();
        for (index, name) in self.columns.iter().enumerate() {
            if name.is_empty() {
                return Err(self.problem(Some(line), None, DataProblem::Unnamed { position: index + 1 }));
            }
            if !names.insert(name) {
                return Err(self.problem(Some(line), Some(name), DataProblem::Duplicate));
            }
        }
        Ok(())
    }

    /// Returns the file of the table.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of the columns, in the order of the file.
    #[must_use]
    pub fn column_names(&self) -> &[String] {
        &self.columns
    }

    /// Returns the number of rows, at least 1.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.lines.len()
    }

    /// Returns the line of the file on which a row begins, counted from 1, or `None` if there is no such row.
    #[must_use]
    pub fn line(&self, row: usize) -> Option<u64> {
        self.lines.get(row).copied()
    }

    /// Returns the position of a column.
    ///
    /// # Errors
    /// [`Error::Data`] if no column has this name, with the columns that exist.
    pub fn column_index(&self, name: &str) -> Result<usize> {
        self.columns
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| self.problem(None, Some(name), DataProblem::NoSuchColumn { columns: self.columns.clone() }))
    }

    /// Returns the line of each row and its cell in a column.
    pub(super) fn cells(&self, column: usize) -> impl Iterator<Item = (u64, &str)> {
        self.lines.iter().enumerate().map(move |(row, &line)| {
            let cell = row * self.columns.len() + column;
            let start = cell.checked_sub(1).map_or(0, |before| self.ends[before]);
            (line, &self.text[start..self.ends[cell]])
        })
    }

    pub(crate) fn problem(&self, line: Option<u64>, column: Option<&str>, problem: DataProblem) -> Error {
        Error::Data { path: self.path.clone(), line, column: column.map(str::to_string), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_program_make_a_table() {
        let table = Table::from_rows("t", &["a", "b"], [["1", " x "], ["", "y"]]).unwrap();
        assert_eq!(table.cells(0).collect::<Vec<_>>(), [(2, "1"), (3, "")]);
        assert_eq!(table.cells(1).collect::<Vec<_>>(), [(2, "x"), (3, "y")]);
        let message =
            |columns: &[&str], rows: &[&[&str]]| Table::from_rows("t", columns, rows).unwrap_err().to_string();
        assert_eq!(
            message(&["a"], &[&["1"], &["1", "2"]]),
            "t, line 3: the row has 2 cells, but the file has 1 column"
        );
        assert_eq!(message(&["a"], &[]), "t: there is no row after the column names");
        assert_eq!(
            message(&["a", "a"], &[&["1", "2"]]),
            "t, line 1, column \"a\": two columns have this name; rename one"
        );
        assert!(message(&[], &[]).contains("is empty"));
    }
}

//! Columns of numbers.

use super::Table;
use crate::Result;
use crate::error::DataProblem;

impl Table {
    /// Returns the cells of some columns as numbers, row-major: `[row_count, names.len()]`.
    ///
    /// They are f64, so that a column may be large and vary little, such as times in seconds.
    /// [`Standardizer`](super::Standardizer) centres them before the conversion to f32.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) if a column does not exist, and with line and column if a cell is empty, is
    /// not a number, or is larger than the largest f32, 3.4e38.
    pub fn numeric_columns<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<f64>> {
        let width = names.len();
        let mut values = vec![0.0; self.row_count() * width];
        for (position, name) in names.iter().enumerate() {
            let column = self.column_index(name.as_ref())?;
            for (row, (line, cell)) in self.cells(column).enumerate() {
                values[row * width + position] =
                    parse_number(cell).map_err(|problem| self.problem(Some(line), Some(name.as_ref()), problem))?;
            }
        }
        Ok(values)
    }
}

/// Parses a cell as a finite number.
pub(super) fn parse_number(cell: &str) -> Result<f64, DataProblem> {
    match cell.parse::<f64>() {
        Ok(value) if value.abs() <= f64::from(f32::MAX) => Ok(value),
        Ok(_) => Err(DataProblem::NotFinite { cell: cell.to_string() }),
        Err(_) if cell.is_empty() => Err(DataProblem::EmptyCell),
        Err(_) if marks_missing(cell) => Err(DataProblem::Missing { cell: cell.to_string() }),
        Err(_) => Err(DataProblem::NotANumber { cell: cell.to_string() }),
    }
}

/// Returns whether a cell has a text that programs write for a missing value: `NA`, `N/A`, `#N/A`, `NULL`, `?`, `-` or
/// `.`, in upper or lower case.
///
/// ```
/// use thalweg_nn::data::marks_missing;
/// assert!(marks_missing("n/a") && !marks_missing("none"));
/// ```
#[must_use]
pub fn marks_missing(cell: &str) -> bool {
    ["NA", "N/A", "#N/A", "NULL", "?", "-", "."].iter().any(|marker| marker.eq_ignore_ascii_case(cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cells: &[[&str; 2]]) -> Table {
        Table::from_rows("t.csv", &["a", "b"], cells).unwrap()
    }

    #[test]
    fn columns_come_in_the_order_asked_for() {
        let table = table(&[["1", "-2.5"], ["+3e2", ".5"]]);
        assert_eq!(table.numeric_columns(&["b", "a"]).unwrap(), [-2.5, 1.0, 0.5, 300.0]);
        assert!(table.numeric_columns::<&str>(&[]).unwrap().is_empty());
    }

    #[test]
    fn numbers_that_differ_stay_different() {
        let table = table(&[["1700000000", "0.1"], ["1700000001", "9007199254740991"]]);
        assert_eq!(table.numeric_columns(&["a"]).unwrap(), [1_700_000_000.0, 1_700_000_001.0]);
        assert_eq!(table.numeric_columns(&["b"]).unwrap(), [0.1, 9_007_199_254_740_991.0]);
    }

    #[test]
    fn bad_cells_are_named_with_line_and_column() {
        for (cell, problem) in [
            ("old", "\"old\" is not a number; correct it, or leave the row or the column out"),
            ("1,5", "\"1,5\" is not a number"),
            ("", "the cell is empty"),
            ("NA", "\"NA\" marks a missing value; fill it, or leave the row out"),
            ("?", "\"?\" marks a missing value"),
            ("NaN", "NaN is not a finite"),
            ("-inf", "-inf is not a finite"),
            ("Infinity", "Infinity is not a finite"),
            ("1e39", "1e39 is not a finite"),
            ("0x10", "\"0x10\" is not a number"),
        ] {
            let error = table(&[["1", "2"], ["3", cell]]).numeric_columns(&["a", "b"]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("t.csv, line 3, column \"b\": {problem}")), "{error}");
        }
        let error = table(&[["1", "2"]]).numeric_columns(&["z"]).unwrap_err().to_string();
        assert!(error.contains("the file has a"), "{error}");
    }
}

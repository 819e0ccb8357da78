//! Columns of numbers.

use super::Table;
use crate::Result;
use crate::error::DataProblem;

impl Table {
    /// The cells of some columns as numbers, row-major: `[row_count, names.len()]`.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) where a column does not exist, and with line and column where a cell is empty,
    /// holds something else, or is not finite as a 32-bit float.
    pub fn numeric_columns<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<f32>> {
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

/// A cell as a finite number.
pub(super) fn parse_number(cell: &str) -> Result<f32, DataProblem> {
    if cell.is_empty() {
        return Err(DataProblem::EmptyCell);
    }
    match cell.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(DataProblem::NotFinite { cell: cell.to_string() }),
        Err(_) => Err(DataProblem::NotANumber { cell: cell.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::from_reader("t.csv", text.as_bytes()).unwrap()
    }

    #[test]
    fn columns_come_in_the_order_asked_for() {
        let table = table("a,b,c\n1,-2.5,x\n+3e2, .5 ,y\n");
        assert_eq!(table.numeric_columns(&["b", "a"]).unwrap(), [-2.5, 1.0, 0.5, 300.0]);
        assert!(table.numeric_columns::<&str>(&[]).unwrap().is_empty());
    }

    #[test]
    fn bad_cells_are_named_with_line_and_column() {
        for (cell, problem) in [
            ("old", "\"old\" is not a number"),
            ("1,5\"", "\"1,5\" is not a number"),
            ("", "the cell is empty"),
            ("NaN", "NaN is not a finite"),
            ("-inf", "-inf is not a finite"),
            ("Infinity", "Infinity is not a finite"),
            ("1e39", "1e39 is not a finite"),
            ("0x10", "\"0x10\" is not a number"),
        ] {
            let quote = if cell.contains(',') { "\"" } else { "" };
            let table = table(&format!("a,b\n1,2\n3,{quote}{cell}\n"));
            let error = table.numeric_columns(&["a", "b"]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("t.csv, line 3, column \"b\": {problem}")), "{error}");
        }
        assert!(table("a\n1\n").numeric_columns(&["z"]).unwrap_err().to_string().contains("the file has a"));
    }
}

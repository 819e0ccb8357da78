//! [`Table`]: a CSV file, cell by cell.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;

use crate::error::DataProblem;
use crate::{Error, Result};

/// A table of text cells with named columns.
///
/// The format is CSV with commas, in UTF-8, with a line of column names; blanks around cells do not count, empty lines
/// neither.
#[derive(Debug, Clone)]
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    line: u64,
    cells: StringRecord,
}

impl Table {
    /// Reads a CSV file, which may be packed by gzip, whatever its name.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read; [`Error::Data`] with the line where it is empty, has no row, has a row with
    /// another number of cells, is not UTF-8, is a damaged archive, or has columns without names of their own.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::read(path, source))?;
        Self::from_reader(path, file)
    }

    /// Reads the same from elsewhere; `path` stands for it in messages.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn from_reader(path: impl Into<PathBuf>, mut reader: impl Read) -> Result<Self> {
        let path = path.into();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|source| Error::read(&path, source))?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut text = Vec::new();
            MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).map_err(|error| Error::Data {
                path: path.clone(),
                line: None,
                column: None,
                problem: DataProblem::Gzip { reason: error.to_string() },
            })?;
            bytes = text;
        }
        Self::parse(path, &bytes)
    }

    fn parse(path: PathBuf, bytes: &[u8]) -> Result<Self> {
        let mut lines = Lines { bytes, offset: 0, line: 1 };
        let mut table = Self { path, columns: Vec::new(), rows: Vec::new() };
        if let Err(error) = std::str::from_utf8(bytes) {
            return Err(table.problem(Some(lines.at(error.valid_up_to())), None, DataProblem::NotUtf8));
        }
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let header = reader.headers().map_err(|error| table.csv_error(&error, &mut lines))?;
        table.columns = header.iter().map(str::to_string).collect();
        table.check_columns()?;
        for cells in reader.into_records() {
            let cells = cells.map_err(|error| table.csv_error(&error, &mut lines))?;
            let line = lines.of_record(cells.position());
            table.rows.push(Row { line, cells });
        }
        if table.rows.is_empty() {
            return Err(table.problem(None, None, DataProblem::NoRows));
        }
        Ok(table)
    }

    fn check_columns(&self) -> Result<()> {
        let columns = &self.columns;
        if columns.is_empty() {
            return Err(self.problem(None, None, DataProblem::Empty));
        }
        if columns.len() == 1 && columns[0].contains([';', '\t']) {
            return Err(self.problem(Some(1), None, DataProblem::Separator));
        }
        let mut names = HashSet::new();
        for (index, name) in columns.iter().enumerate() {
            if name.is_empty() {
                return Err(self.problem(Some(1), None, DataProblem::Unnamed { position: index + 1 }));
            }
            if !names.insert(name) {
                return Err(self.problem(Some(1), Some(name), DataProblem::Duplicate));
            }
        }
        // Columns may be called 0, 1, 2, …; any other numbers are a row of a file without names.
        let counted = columns.iter().enumerate().all(|(index, name)| *name == index.to_string());
        if !counted && columns.iter().all(|name| name.parse::<f64>().is_ok()) {
            return Err(self.problem(Some(1), None, DataProblem::NoHeader));
        }
        Ok(())
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the columns, in the order of the file.
    #[must_use]
    pub fn column_names(&self) -> &[String] {
        &self.columns
    }

    /// The number of rows, at least 1.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// The line of the file on which a row begins, counted from 1; none where there is no such row.
    #[must_use]
    pub fn line(&self, row: usize) -> Option<u64> {
        self.rows.get(row).map(|row| row.line)
    }

    /// The position of a column.
    ///
    /// # Errors
    /// [`Error::Data`] with the columns that exist where there is none of this name.
    pub fn column_index(&self, name: &str) -> Result<usize> {
        self.columns
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| self.problem(None, Some(name), DataProblem::NoSuchColumn { columns: self.columns.clone() }))
    }

    /// The line of a row and its cell in a column.
    pub(super) fn cells(&self, column: usize) -> impl Iterator<Item = (u64, &str)> {
        self.rows.iter().map(move |row| (row.line, &row.cells[column]))
    }

    pub(crate) fn problem(&self, line: Option<u64>, column: Option<&str>, problem: DataProblem) -> Error {
        Error::Data { path: self.path.clone(), line, column: column.map(str::to_string), problem }
    }

    fn csv_error(&self, error: &csv::Error, lines: &mut Lines<'_>) -> Error {
        match error.kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let problem = DataProblem::Ragged { expected: *expected_len, found: *len };
                self.problem(Some(lines.of_record(pos.as_ref())), None, problem)
            }
            // Nothing else happens when records are read in order from memory.
            _ => Error::read(&self.path, io::Error::other(error.to_string())),
        }
    }
}

/// Finds the lines of places in a text, one after the other.
struct Lines<'a> {
    bytes: &'a [u8],
    offset: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of a place that is not in front of the last one.
    fn at(&mut self, offset: usize) -> u64 {
        let passed = self.bytes.get(self.offset..offset).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.offset = self.offset.max(offset);
        self.line
    }

    /// The line on which a record begins. Its position is that of the empty lines in front of it.
    fn of_record(&mut self, position: Option<&csv::Position>) -> u64 {
        let start = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(self.offset);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.at(start + empty)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn table(text: &str) -> Table {
        Table::from_reader("t.csv", text.as_bytes()).unwrap()
    }

    fn problem(text: &[u8]) -> String {
        let error = Table::from_reader("t.csv", text).unwrap_err();
        assert!(error.is_user_error());
        assert!(!error.to_string().contains('\n'));
        error.to_string()
    }

    fn pack(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn cells_keep_their_lines() {
        let table = table("\u{feff}a,\"b, c\" \r\n1,x\r\n\r\n\" 2\n3\",y\r\n\n4, z");
        assert_eq!(table.column_names(), ["a", "b, c"]);
        assert_eq!(table.column_index("b, c").unwrap(), 1);
        assert_eq!(table.cells(1).collect::<Vec<_>>(), [(2, "x"), (4, "y"), (7, "z")]);
        assert_eq!(table.cells(0).nth(1), Some((4, "2\n3")));
        assert_eq!((table.line(2), table.line(3)), (Some(7), None));
    }

    #[test]
    fn malformed_files_are_named_with_the_line() {
        assert_eq!(problem(b""), "t.csv: the file is empty; it needs a line of column names, then one line per row");
        assert!(problem(b"\n\n").contains("is empty"));
        assert_eq!(problem(b"a,b\n"), "t.csv: there is no row after the column names");
        assert_eq!(problem(b"a,b\n1,2\n1,2,3\n"), "t.csv, line 3: the row has 3 cells, but the file has 2 columns");
        assert_eq!(problem(b"a,b\n1,2\n\n\n1\n"), "t.csv, line 5: the row has 1 cells, but the file has 2 columns");
        assert!(problem(b"a,b\n1,\xff\n").starts_with("t.csv, line 2: the text is not UTF-8"));
        assert!(problem(b"\xff,b\n1,2\n").starts_with("t.csv, line 1: the text is not UTF-8"));
        assert!(problem(b"a,b,a\n1,2,3\n").starts_with("t.csv, line 1, column \"a\": two columns"));
        assert!(problem(b"a,,b\n1,2,3\n").starts_with("t.csv, line 1: column 2 has no name"));
        assert!(problem(b"a;b\n1;2\n").contains("separate columns by commas"));
        assert!(problem(b"5.1,3.5\n4.9,3.0\n").contains("holds numbers only"));
        assert_eq!(table("0,1,2\n5,6,7\n").row_count(), 1);
    }

    #[test]
    fn a_missing_column_is_answered_with_those_that_exist() {
        let error = table("a,b\n1,2\n").column_index("c").unwrap_err();
        assert_eq!(error.to_string(), "t.csv, column \"c\": there is no such column; the file has a, b");
    }

    #[test]
    fn gzip_is_known_by_its_content_and_damage_is_found() {
        let text: String = "a,b\n".to_string() + &(0..2000).map(|i| format!("{i},{}\n", i * i)).collect::<String>();
        let packed = pack(text.as_bytes());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(Table::read(&path).unwrap().row_count(), 2000);
        for length in [2, 9, 11, 500, packed.len() - 9, packed.len() - 1] {
            assert!(problem(&packed[..length]).contains("gzip archive is truncated or damaged"), "{length}");
        }
        let mut altered = packed.clone();
        let end = altered.len() - 6;
        altered[end] ^= 1;
        assert!(problem(&altered).contains("damaged"));
        let mut two = packed;
        two.extend(pack(b"1,2\n"));
        assert_eq!(Table::from_reader("t.csv", &two[..]).unwrap().row_count(), 2001);
    }

    #[test]
    fn missing_files_and_folders_are_the_users_error() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("none.csv"), folder.path().to_path_buf()] {
            let error = Table::read(&path).unwrap_err();
            assert!(error.is_user_error(), "{error:?}");
            assert!(error.to_string().starts_with(&format!("cannot read {}", path.display())), "{error}");
        }
    }
}

//! [`Table`]: a CSV file, cell by cell.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use flate2::read::MultiGzDecoder;

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
        let mut start = Vec::new();
        (&mut reader).take(2).read_to_end(&mut start).map_err(|source| Error::read(&path, source))?;
        let packed = start == [0x1f, 0x8b];
        let reader = Cursor::new(start).chain(reader);
        if packed { Self::parse(path, MultiGzDecoder::new(reader), true) } else { Self::parse(path, reader, false) }
    }

    fn parse(path: PathBuf, reader: impl Read, packed: bool) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
        let header = reader.headers().map_err(|error| csv_error(&path, error, packed))?;
        let columns: Vec<String> = header.iter().map(str::to_string).collect();
        let mut table = Self { path, columns, rows: Vec::new() };
        table.check_columns()?;
        loop {
            let mut cells = StringRecord::new();
            match reader.read_record(&mut cells) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(csv_error(&table.path, error, packed)),
            }
            let line = cells.position().map_or(0, csv::Position::line);
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

    pub(super) fn problem(&self, line: Option<u64>, column: Option<&str>, problem: DataProblem) -> Error {
        Error::Data { path: self.path.clone(), line, column: column.map(str::to_string), problem }
    }
}

fn csv_error(path: &Path, error: csv::Error, packed: bool) -> Error {
    let line = error.position().map(csv::Position::line);
    let problem = match error.into_kind() {
        csv::ErrorKind::Io(source) if packed && is_damage(&source) => DataProblem::Gzip { reason: source.to_string() },
        csv::ErrorKind::Io(source) => return Error::read(path, source),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            DataProblem::Ragged { expected: expected_len, found: len }
        }
        csv::ErrorKind::Utf8 { .. } => DataProblem::NotUtf8,
        // Seeking, serde and what later versions add: none of it happens when records are read in order.
        other => return Error::read(path, io::Error::other(format!("{other:?}"))),
    };
    Error::Data { path: path.to_path_buf(), line, column: None, problem }
}

/// Whether the decoder complains about the archive, and not the disk about the file.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    error.raw_os_error().is_none()
        && matches!(error.kind(), Kind::UnexpectedEof | Kind::InvalidData | Kind::InvalidInput)
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
        let table = table("\u{feff}a, \"b, c\" \r\n1,x\r\n\r\n\" 2\n3\",y\r\n\n4, z");
        assert_eq!(table.column_names(), ["a", "b, c"]);
        assert_eq!(table.column_index("b, c").unwrap(), 1);
        assert_eq!(table.cells(1).collect::<Vec<_>>(), [(2, "x"), (4, "y"), (7, "z")]);
        assert_eq!(table.cells(0).nth(1), Some((4, "2\n3")));
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

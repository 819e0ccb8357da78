//! Reading a [`Table`] from CSV.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;

use super::Table;
use super::numbers::marks_missing;
use super::tidy::{Tidy, check_first_line, tidy};
use crate::error::DataProblem;
use crate::{Error, Result};

impl Table {
    /// Reads a CSV file, which may be compressed by gzip under any name.
    ///
    /// The file must be UTF-8, with commas between cells and a line of column names. Empty lines and blanks around
    /// cells are ignored. Needs the feature `csv`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read. [`Error::Data`] with the line if the file is empty, has no row, has a
    /// row with another number of cells, has a quote that is not closed, is not UTF-8, is a damaged archive, or has no
    /// column names that differ.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::read(path, source))?;
        Self::from_reader(path, file)
    }

    /// Reads CSV from a reader; `path` is its name in messages. Needs the feature `csv`.
    ///
    /// # Errors
    /// Same as [`read`](Self::read).
    pub fn from_reader(path: impl Into<PathBuf>, mut reader: impl Read) -> Result<Self> {
        let path = path.into();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|source| Error::read(&path, source))?;
        let mut table = Self::empty(path);
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut text = Vec::new();
            MultiGzDecoder::new(&bytes[..])
                .read_to_end(&mut text)
                .map_err(|error| table.problem(None, None, DataProblem::Gzip { reason: error.to_string() }))?;
            bytes = text;
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() as u64;
            table.problem(Some(line), None, DataProblem::NotUtf8)
        })?;
        let checked = check_first_line(text).and_then(|()| tidy(text));
        let tidy = checked.map_err(|(line, problem)| table.problem(Some(line), None, problem))?;
        drop(bytes);
        table.fill(&tidy)?;
        Ok(table)
    }

    /// Splits a text into cells.
    fn fill(&mut self, Tidy { text, lines }: &Tidy) -> Result<()> {
        let Some((&header_line, row_lines)) = lines.split_first() else {
            return Err(self.problem(None, None, DataProblem::Empty));
        };
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).has_headers(false).flexible(true).from_reader(&text[..]);
        let mut cells = StringRecord::new();
        let mut next = |cells: &mut StringRecord| match reader.read_record(cells) {
            Ok(_) => Ok(()),
            // Splitting text in memory cannot fail.
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        let read = |source| Error::read(&self.path, source);
        next(&mut cells).map_err(read)?;
        self.columns = cells.iter().map(str::to_string).collect();
        for &line in row_lines {
            next(&mut cells).map_err(|source| Error::read(&self.path, source))?;
            if cells.len() != self.columns.len() {
                return Err(self.ragged(header_line, line, &cells));
            }
            self.push_row(line, &cells);
        }
        self.check_columns(header_line)
    }

    /// Returns the error for a row with another number of cells than the column names: either may not belong to the
    /// table.
    fn ragged(&self, header_line: u64, line: u64, row: &StringRecord) -> Error {
        let (expected, found) = (self.columns.len() as u64, row.len() as u64);
        let is_comment = |text: &str| text.starts_with('#');
        let (header, first) = (self.columns.first().map_or("", String::as_str), row.get(0).unwrap_or_default());
        let is_title = self.row_count() == 0 && expected == 1;
        let (line, problem) = if is_title || is_comment(header) {
            (header_line, DataProblem::NotInTable { text: self.columns.join(",") })
        } else if is_comment(first) {
            (line, DataProblem::NotInTable { text: row.iter().collect::<Vec<_>>().join(",") })
        } else {
            (line, DataProblem::Ragged { expected, found })
        };
        self.problem(Some(line), None, problem)
    }

    fn check_columns(&self, line: u64) -> Result<()> {
        if self.has_numbers_for_names() {
            return Err(self.problem(Some(line), None, DataProblem::NoHeader));
        }
        self.check_names(line)
    }

    /// Returns whether the first line is a row of a file without column names: each column of numbers has a number for
    /// its name. Only 0, 1, 2, … are names.
    fn has_numbers_for_names(&self) -> bool {
        let is_number = |cell: &str| cell.parse::<f64>().is_ok();
        if !self.columns.iter().any(|name| is_number(name)) {
            return false;
        }
        // A missing value may be in the first row too.
        let may_be_number = |cell: &str| cell.is_empty() || marks_missing(cell) || is_number(cell);
        let holds_numbers = |column: usize| {
            self.cells(column).all(|(_, cell)| may_be_number(cell))
                && self.cells(column).any(|(_, cell)| is_number(cell))
        };
        let all = self.columns.iter().all(|name| is_number(name));
        let of_numbers: Vec<&str> = (0..self.columns.len())
            .filter(|&column| all || holds_numbers(column))
            .map(|column| self.columns[column].as_str())
            .collect();
        // A single column called 0 beside words is more often the first row of a file.
        let are_counted = of_numbers.iter().enumerate().all(|(index, name)| *name == index.to_string())
            && (all || of_numbers.len() > 1);
        of_numbers.iter().all(|name| may_be_number(name))
            && of_numbers.iter().any(|name| is_number(name))
            && !are_counted
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
        let table = table("\u{feff}a,\"b, c\" \r\n1,x\r\n\r\n\" 2\n3\", \"y\"\r\n  \n4, z\n   ");
        assert_eq!(table.column_names(), ["a", "b, c"]);
        assert_eq!(table.column_index("b, c").unwrap(), 1);
        assert_eq!(table.cells(1).collect::<Vec<_>>(), [(2, "x"), (4, "y"), (7, "z")]);
        assert_eq!(table.cells(0).nth(1), Some((4, "2\n3")));
        assert_eq!((table.line(2), table.line(3)), (Some(7), None));
    }

    #[test]
    fn malformed_files_are_named_with_the_line() {
        assert_eq!(problem(b""), "t.csv: the file is empty; it needs a line of column names, then one line per row");
        assert!(problem(b"\n\n  \n").contains("is empty"));
        assert_eq!(problem(b"a,b\n"), "t.csv: there is no row after the column names");
        assert_eq!(problem(b"a,b\n1,2\n1,2,3\n"), "t.csv, line 3: the row has 3 cells, but the file has 2 columns");
        assert_eq!(problem(b"a,b\n1,2\n\n\n1\n"), "t.csv, line 5: the row has 1 cell, but the file has 2 columns");
        assert!(problem(b"a,b\n1,\xff\n").starts_with("t.csv, line 2: the text is not UTF-8"));
        assert!(problem(b"\xff,b\n1,2\n").starts_with("t.csv, line 1: the text is not UTF-8"));
        assert!(problem(b"a,b,a\n1,2,3\n").starts_with("t.csv, line 1, column \"a\": two columns"));
        assert!(problem(b"\na,,b\n1,2,3\n").starts_with("t.csv, line 2: column 2 has no name"));
    }

    #[test]
    fn a_quote_that_is_left_open_is_an_error_and_swallows_no_rows() {
        let row = |i: u32| format!("{i},{},{}\n", i * 7 % 11, if i < 20 { "left" } else { "right" });
        let rows: Vec<String> = (0..40).map(row).collect();
        let with = |line: &str| {
            let mut rows = rows.clone();
            rows[5] = line.to_string();
            format!("x,z,y\n{}", rows.concat())
        };
        for (line, part) in [
            ("5,2,\"left\n", "t.csv, line 7: a quote opens in this line and is never closed; close it, or remove it"),
            ("5,\"2,left\n", "line 7: a quote opens in this line and is never closed"),
            ("5,2,\"le\"ft\n", "line 7: a quoted cell begins in this line and has text after its closing quote"),
        ] {
            assert!(problem(with(line).as_bytes()).contains(part), "{}", problem(with(line).as_bytes()));
        }
        assert!(problem(b"x,\"z,y\n1,2,3\n").contains("line 1: a quote opens"));
        assert_eq!(table(&with("5,2,left\"\n")).row_count(), 40);
    }

    #[test]
    fn separators_other_than_commas_are_named() {
        for (text, found) in [
            (&b"a;b\n1;2\n"[..], "semicolons"),
            (b"a\tb\n1\t2\n", "tabs"),
            (b"x|z|y\n1|2|3\n", "vertical bars"),
            (b"x z y\n1 2 3\n", "blanks"),
        ] {
            let expected = format!("t.csv, line 1: the columns are separated by {found}; separate them by commas");
            assert_eq!(problem(text), expected);
        }
    }

    #[test]
    fn lines_that_are_none_of_the_table_are_named() {
        for (text, line, named) in [
            ("sep=,\na,b\n1,2\n", 1, "sep=,"),
            ("# made by hand\na,b\n1,2\n", 1, "# made by hand"),
            ("# x, y, z\na,b\n1,2\n", 1, "# x,y,z"),
            ("A report\n\na,b\n1,2\n", 1, "A report"),
            ("a,b\n1,2\n# the end\n", 3, "# the end"),
        ] {
            let expected = format!("t.csv, line {line}: {named:?} is neither column names nor a row; remove this line");
            assert_eq!(problem(text.as_bytes()), expected);
        }
        assert_eq!(table("#id,b\n1,2\n").column_names(), ["#id", "b"]);
    }

    #[test]
    fn a_file_without_column_names_is_told_from_one_with_numbers_for_names() {
        for text in [
            "5.1,3.5\n4.9,3.0\n",
            "5.1,3.5,1.4,0.2,setosa\n4.9,3.0,1.4,0.2,setosa\n",
            "0,0,0,1\n0,1,0,1\n",
            "1,2,2,4\n5,6,7,8\n",
            "5.1,,1.2,a\n4.9,3.0,1.4,b\n",
            "NA,1.5,a\n4.9,3.0,b\n",
            "1.5,2.5,a\nNA,3.0,b\n",
            "0,a\n1,b\n",
            "5,6\n",
        ] {
            let expected = "t.csv, line 1: the first line holds numbers where names must be; put a line of column names in \
                            front of it";
            assert_eq!(problem(text.as_bytes()), expected, "{text:?}");
        }
        for text in
            ["0,1,2\n5,6,7\n", "0\n5\n", "0,1,kind\n5,6,a\n", "kind,0,1\na,5,6\n", "x,2,y\n1,a,b\n", "5,y\na,b\n"]
        {
            assert_eq!(table(text).row_count(), 1, "{text:?}");
        }
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

//! One pass over the text of a table before it is split into cells.

use crate::error::DataProblem;

/// The relevant text of a table, and the positions of its rows.
#[derive(Debug, PartialEq)]
pub(super) struct Tidy {
    /// The text. It has no byte order mark, no empty lines, and no blanks around quoted cells.
    pub(super) text: Vec<u8>,
    /// The line of the file on which each row begins, counted from 1; the line of column names is the first row.
    pub(super) lines: Vec<u64>,
}

/// A problem and its line.
pub(super) type Found = (u64, DataProblem);

/// The position of the pass.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Before the first character of a cell.
    Start,
    /// In a cell without quotes.
    Plain,
    /// In a quoted cell that opened on this line.
    Quoted(u64),
    /// After the quote that closes such a cell.
    Closed(u64),
}

/// Removes the ignored parts, and checks that each quote that opens a cell is closed at the end of the cell.
///
/// A quote after the first character of a cell is an ordinary character.
///
/// # Errors
/// If a quote is never closed, or if text follows its end: the line on which it opens.
pub(super) fn tidy(text: &str) -> Result<Tidy, Found> {
    let bytes = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
    let mut tidy = Tidy { text: Vec::with_capacity(bytes.len() + 1), lines: Vec::new() };
    let (mut place, mut line) = (Place::Start, 1);
    // The start of the row and of the cell in the kept text, and the row's line.
    let (mut row_start, mut cell_start, mut row_line) = (0, 0, 1);
    // An additional line feed at the end changes nothing after another one.
    for (i, byte) in bytes.iter().copied().chain([b'\n']).enumerate() {
        let kept = &mut tidy.text;
        match (place, byte) {
            (Place::Quoted(opened), _) if i == bytes.len() => return Err((opened, DataProblem::OpenQuote)),
            (Place::Quoted(opened), b'"') => {
                place = Place::Closed(opened);
                kept.push(byte);
            }
            (Place::Quoted(_), _) => kept.push(byte),
            // Two quotes are one inside a quoted cell.
            (Place::Closed(opened), b'"') if bytes[i - 1] == b'"' => {
                place = Place::Quoted(opened);
                kept.push(byte);
            }
            (_, b',') => {
                kept.push(byte);
                (place, cell_start) = (Place::Start, kept.len());
            }
            (_, b'\r' | b'\n') => {
                if place == Place::Start && cell_start == row_start {
                    kept.truncate(row_start);
                } else {
                    kept.push(b'\n');
                    tidy.lines.push(row_line);
                }
                place = Place::Start;
                (row_start, cell_start) = (kept.len(), kept.len());
            }
            (Place::Closed(_), b' ' | b'\t') => {}
            (Place::Closed(opened), _) => return Err((opened, DataProblem::TextAfterQuote)),
            (Place::Start, b'"') => {
                kept.truncate(cell_start);
                kept.push(byte);
                place = Place::Quoted(line);
            }
            (Place::Start, b' ' | b'\t') => kept.push(byte),
            (Place::Start | Place::Plain, _) => {
                kept.push(byte);
                place = Place::Plain;
            }
        }
        line += u64::from(byte == b'\n' || byte == b'\r' && bytes.get(i + 1) != Some(&b'\n'));
        if tidy.text.len() == row_start {
            row_line = line;
        }
    }
    Ok(tidy)
}

/// Checks that the first line is column names with commas between them, before quotes are read by that rule.
///
/// # Errors
/// If the line names a separator, or if something else separates its columns: the line.
pub(super) fn check_first_line(text: &str) -> Result<(), Found> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().zip(1u64..).filter(|(line, _)| !line.trim().is_empty());
    let Some((first, number)) = lines.next() else { return Ok(()) };
    let names_separator = |line: &str| {
        let line = line.trim().trim_matches('"').to_ascii_lowercase();
        line.strip_prefix("sep=").is_some_and(|separator| separator.chars().count() <= 1)
    };
    if names_separator(first) {
        return Err((number, DataProblem::NotInTable { text: first.trim().to_string() }));
    }
    let (first, second) = (outside_quotes(first), lines.next().map(|(line, _)| outside_quotes(line)));
    if first.contains(',') {
        return Ok(());
    }
    let is_in_second = |found: &dyn Fn(&str) -> bool| second.as_deref().is_none_or(found);
    for (separator, name) in [(';', "semicolons"), ('\t', "tabs"), ('|', "vertical bars")] {
        if first.contains(separator) && is_in_second(&|line| line.contains(separator)) {
            return Err((number, DataProblem::Separator { found: name }));
        }
    }
    let words = |line: &str| line.split_whitespace().count();
    if words(&first) > 1 && second.is_some_and(|second| words(&second) == words(&first)) {
        return Err((number, DataProblem::Separator { found: "blanks" }));
    }
    Ok(())
}

/// Returns the parts of a line outside of quotes, and a letter for each quoted part.
fn outside_quotes(line: &str) -> String {
    line.split('"').enumerate().map(|(i, part)| if i % 2 == 0 { part } else { "x" }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        String::from_utf8(tidy(text).unwrap().text).unwrap()
    }

    #[test]
    fn blank_lines_and_blanks_around_quotes_are_removed() {
        assert_eq!(kept("\u{feff}a,b\r\n\r\n  \t\n1, \"2\"\t,3\n"), "a,b\n1,\"2\",3\n");
        assert_eq!(kept(" \"a\" , \"b, c\" \n 1 ,2"), "\"a\",\"b, c\"\n 1 ,2\n");
        assert_eq!(kept("a\r1\r"), "a\n1\n");
        assert_eq!(kept("a\n\"\"\n"), "a\n\"\"\n");
        assert_eq!(kept(""), "");
        assert_eq!(kept(" \n\n"), "");
        assert_eq!(kept("a,b\n,\n , \n"), "a,b\n,\n , \n");
    }

    #[test]
    fn rows_keep_their_lines() {
        let lines = |text: &str| tidy(text).unwrap().lines;
        assert_eq!(lines("\n \na,b\n1,\"x\ny\"\n\n2,z"), [3, 4, 7]);
        assert_eq!(lines("a\r\n\r\n1\r\n2\r\n"), [1, 3, 4]);
        assert_eq!(lines("a\r1\r\r2\r"), [1, 2, 4]);
    }

    #[test]
    fn quotes_inside_of_cells_are_text() {
        for text in ["a,5\"\n", "\"a\"\"b\",c\n", "\"\"\"a\"\"\",\"\n\"\n", "le\"ft,2'6\"\n"] {
            assert_eq!(kept(text), text);
        }
    }

    #[test]
    fn a_quote_that_is_left_open_is_found_on_the_line_on_which_it_opens() {
        for (text, line) in [
            ("a,b\n1,\"x\n2,y\n3,z\n", 2),
            ("a,\"b\n1,2\n", 1),
            ("a,b\n1,\"x\"\n2,\"", 3),
            ("a,b\n1,\"x\"\n2,\"y\"\"\n", 3),
            ("a\r\n\"x\ny\"\r\n\"z", 4),
        ] {
            assert_eq!(tidy(text), Err((line, DataProblem::OpenQuote)), "{text:?}");
        }
    }

    #[test]
    fn text_after_a_closing_quote_is_found_on_the_line_on_which_the_quote_opens() {
        for (text, line) in [
            ("a,b\n1,\"le\"ft\n", 2),
            ("a,b\n1,\"x\" y\n", 2),
            ("a,b\n1,\"x\" \"y\"\n", 2),
            // Inches: the quote of line 4 closes the quote of line 2.
            ("a,b\n1,\"5\n2,6\n3,\"7\n", 2),
        ] {
            assert_eq!(tidy(text), Err((line, DataProblem::TextAfterQuote)), "{text:?}");
        }
    }

    #[test]
    fn other_separators_are_named() {
        let found = |text: &str| match check_first_line(text) {
            Err((line, DataProblem::Separator { found })) => Some((line, found)),
            Ok(()) => None,
            other => panic!("{other:?}"),
        };
        for (text, expected) in [
            ("a;b\n1;2\n", Some((1, "semicolons"))),
            ("\n\na;b\n1,5;2,5\n", Some((3, "semicolons"))),
            ("\"price, EUR\";\"size\"\n1;2\n", Some((1, "semicolons"))),
            ("a;b\n", Some((1, "semicolons"))),
            ("a\tb\n1\t2\n", Some((1, "tabs"))),
            ("a|b|c\n1|2|3\n", Some((1, "vertical bars"))),
            ("x z y\n1 2 3\n", Some((1, "blanks"))),
            ("x  z y\n 1 2   3\n", Some((1, "blanks"))),
            ("petal length\n1.5\n", None),
            ("a;b,c\n1,2\n", None),
            ("a|b\n1\n", None),
            ("", None),
        ] {
            assert_eq!(found(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_names_the_separator_is_none_of_the_table() {
        for first in ["sep=,", "sep=;", "\"sep=,\"", "SEP=\t"] {
            let expected = DataProblem::NotInTable { text: first.trim().to_string() };
            assert_eq!(check_first_line(&format!("{first}\na,b\n1,2\n")), Err((1, expected)));
        }
        assert_eq!(check_first_line("sep=1,b\n1,2\n"), Ok(()));
    }
}

//! Tables of text with aligned columns.

/// Formats lines of cells under a line of headings, each column as wide as its widest cell, two spaces apart. Columns
/// in `numbers` are aligned at their right end.
pub(crate) fn table<const N: usize>(headings: [&str; N], numbers: [bool; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_string);
    let lines = || std::iter::once(&headings).chain(rows);
    let widths: [usize; N] =
        std::array::from_fn(|column| lines().map(|line| line[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for line in lines() {
        let cells: Vec<String> = (0..N)
            .map(|column| {
                let (cell, width) = (&line[column], widths[column]);
                if numbers[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_right_and_words_left() {
        let rows = [["a".to_string(), "10".to_string()], ["long".to_string(), "9".to_string()]];
        assert_eq!(table(["name", "n"], [false, true], &rows), "name   n\na     10\nlong   9\n");
    }
}

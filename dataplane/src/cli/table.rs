//! Numbers, columns and bars for people, and the same for spreadsheets.

use std::fmt::Write as _;

use crate::request::printable;

/// Most characters of a cell.
const MAX_CELL_CHARS: usize = 80;

/// Digits behind the point of billionths.
const NANO_DIGITS: usize = 9;

/// Rows with columns; the first column is text, the others are numbers.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().map(|cell| printable(&cell, MAX_CELL_CHARS)).collect());
    }

    /// As lines, columns in line.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                match column {
                    0 => line.extend([cell.as_str(), &padding]),
                    _ => line.extend(["  ", &padding, cell]),
                }
            }
            line.trim_end().to_owned()
        };
        self.0.iter().map(line).collect()
    }
}

/// A bar of eighths of characters, `width` characters long for the whole.
pub(super) fn bar(part: u64, whole: u64, width: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if whole == 0 {
        return String::new();
    }
    let eighths = u128::from(part.min(whole)) * u128::from(width) * 8 / u128::from(whole);
    // Something is never shown as nothing.
    let eighths = usize::try_from(eighths).unwrap_or(usize::MAX).max(usize::from(part > 0));
    let last = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    format!("{}{last}", "█".repeat(eighths / 8))
}

/// A whole number with its thousands apart.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Billionths as a decimal number, exactly, with at least so many digits behind the point.
pub(super) fn decimal(nano: u64, min_digits: usize) -> String {
    let fraction = format!("{:09}", nano % 1_000_000_000);
    let needed = fraction.trim_end_matches('0').len().clamp(min_digits.min(NANO_DIGITS), NANO_DIGITS);
    let whole = nano / 1_000_000_000;
    match fraction.get(..needed).filter(|digits| !digits.is_empty()) {
        Some(digits) => format!("{whole}.{digits}"),
        None => whole.to_string(),
    }
}

/// A line of a CSV file (RFC 4180). Texts that a spreadsheet would take for a formula get an apostrophe in front.
pub(super) fn csv(cells: &[String]) -> String {
    let mut line = String::new();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        let formula = if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
        if formula.is_empty() && !cell.contains([',', '"', '\n', '\r']) {
            line.push_str(cell);
        } else {
            let _ = write!(line, "\"{formula}{}\"", cell.replace('"', "\"\"")); // a String takes everything
        }
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        assert_eq!(decimal(1_234_500_000, 4), "1.2345");
        assert_eq!((decimal(1, 4), decimal(2_000_000_000, 0)), ("0.000000001".to_owned(), "2".to_owned()));
        assert_eq!((decimal(0, 4), decimal(u64::MAX, 0)), ("0.0000".to_owned(), "18446744073.709551615".to_owned()));
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn bars_show_shares_and_never_nothing_for_something() {
        assert_eq!((bar(1, 2, 4), bar(3, 8, 2), bar(1, 1_000_000, 4)), ("██".into(), "▊".into(), "▏".into()));
        assert_eq!((bar(0, 5, 4), bar(5, 0, 4), bar(9, 5, 2)), (String::new(), String::new(), "██".into()));
    }

    #[test]
    fn spreadsheets_see_no_formula() {
        for hostile in ["=HYPERLINK(\"x\")", "+1", "-1", "@SUM(A1)", "\tx", "\rx"] {
            let line = csv(&[hostile.to_owned(), "1".to_owned()]);
            assert!(line.starts_with("\"'"), "{line:?}");
        }
        assert_eq!(csv(&["a,b".to_owned(), "c\"d".to_owned(), "e".to_owned()]), "\"a,b\",\"c\"\"d\",e\r\n");
    }

    #[test]
    fn columns_are_in_line_and_cells_move_no_terminal() {
        let mut table = Table::default();
        table.row(["a".to_owned(), "1".to_owned()]);
        table.row(["b\u{1b}[31m\nc".to_owned(), "1,000".to_owned()]);
        assert_eq!(table.lines(), ["a             1", "b\u{fffd}[31m\u{fffd}c  1,000"]);
    }
}

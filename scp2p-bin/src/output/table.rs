//! Columns of text.

use unicode_width::UnicodeWidthStr;

/// Spaces between columns.
const GAP: usize = 2;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a heading.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// An empty table with these headings.
    pub fn new(columns: [(&'static str, Align); N]) -> Self {
        Table {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// The table as lines; nothing stands behind the last column's text.
    pub fn render(&self) -> String {
        let mut widths = self.columns.map(|(heading, _)| heading.width());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let headings = self.columns.map(|(heading, _)| heading.to_owned());
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let line = text.len();
            for ((cell, width), (_, align)) in row.iter().zip(widths).zip(self.columns) {
                let padding = " ".repeat(width - cell.width());
                match align {
                    Align::Left => text.extend([cell.as_str(), &padding]),
                    Align::Right => text.extend([padding.as_str(), cell]),
                }
                text.push_str(&" ".repeat(GAP));
            }
            text.truncate(line + text[line..].trim_end().len());
            text.push('\n');
        }
        text
    }
}

/// Lines of a name and a value.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs
        .iter()
        .map(|(name, _)| name.width())
        .max()
        .unwrap_or(0)
        + GAP;
    pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}{value}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_script() {
        let mut table = Table::new([
            ("name", Align::Left),
            ("size", Align::Right),
            ("note", Align::Left),
        ]);
        table.row(["日本".into(), "1".into(), "x".into()]);
        table.row(["a".into(), "12345".into(), String::new()]);
        let expected = "\
name   size  note
日本      1  x
a     12345
";
        assert_eq!(table.render(), expected);
    }
}

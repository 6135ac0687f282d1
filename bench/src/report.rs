//! The report: a table for people, and bars to look at.

use std::fmt::Write as _;

/// A table in Markdown.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(ToString::to_string).collect()],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table's text.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if number == 0 {
                let _ = writeln!(text, "|{}", " --- |".repeat(row.len()));
            }
        }
        text
    }
}

/// One bar of a plot.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// How long it is.
    pub value: f64,
}

/// Horizontal bars as an SVG picture; the longest fills the width.
#[must_use]
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    const LEFT: f64 = 260.0;
    const WIDTH: f64 = 420.0;
    const STEP: f64 = 26.0;
    let longest = bars
        .iter()
        .map(|bar| bar.value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let height = 44.0 + STEP * bars.len() as f64;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{height}" font-family="sans-serif" font-size="13">
<rect width="800" height="{height}" fill="#ffffff"/>
<text x="10" y="22" font-size="15" fill="#111111">{title} ({unit})</text>
"##
    );
    for (number, bar) in bars.iter().enumerate() {
        let top = 36.0 + STEP * number as f64;
        let length = WIDTH * bar.value / longest;
        let _ = writeln!(
            svg,
            r##"<text x="{x}" y="{y}" text-anchor="end" fill="#111111">{label}</text><rect x="{LEFT}" y="{top}" width="{length:.1}" height="18" fill="#3b6ea5"/><text x="{end:.1}" y="{y}" fill="#111111">{value:.1}</text>"##,
            x = LEFT - 8.0,
            y = top + 13.5,
            end = LEFT + length + 6.0,
            label = bar.label,
            value = bar.value,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_rule_below_the_head() {
        let mut table = Table::new(&["a", "b"]);
        table.row(["1".to_owned(), "2".to_owned()]);
        assert_eq!(table.markdown(), "| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    }

    #[test]
    fn the_longest_bar_fills_the_width() {
        let bar = |value| Bar {
            label: "x".into(),
            value,
        };
        let svg = bars("t", "u", &[bar(1.0), bar(4.0)]);
        assert!(svg.contains(r#"width="420.0""#) && svg.contains(r#"width="105.0""#));
    }
}

//! Printing.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Output;

/// Prints a value as JSON or YAML, or as a table with these columns.
pub fn print<T: Serialize>(
    output: Output,
    value: &T,
    columns: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> anyhow::Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(value)?),
        Output::Yaml => print!("{}", serde_saphyr::to_string(value)?),
        Output::Table => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(columns.to_vec());
            for row in rows {
                table.add_row(row);
            }
            for column in table.column_iter_mut() {
                column.set_padding((0, 2));
            }
            println!("{}", table.trim_fmt());
        }
    }
    Ok(())
}

/// Time since then, as kubectl shows it.
pub fn age(since: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::now()
        .duration_since(since)
        .as_secs()
        .max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

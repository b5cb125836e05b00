//! Tables for lists: a head, columns by their widest cell, no rules, wrapped to the terminal only.

use comfy_table::{ContentArrangement, Table, presets};

/// Lays rows out under `head`. Cells wrap at `width`; without one (a pipe) every row is one line.
pub fn table(head: &[&str], rows: &[Vec<String>], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.iter().map(|cell| cell.to_uppercase()));
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.add_rows(rows.iter());
    let last = head.len().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at == last { 0 } else { 2 }));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let rows = [vec!["compute".to_owned(), "x86_64".to_owned()], vec!["a".to_owned(), String::new()]];
        assert_eq!(table(&["name", "arch"], &rows, None), "NAME     ARCH\ncompute  x86_64\na\n");
    }
}

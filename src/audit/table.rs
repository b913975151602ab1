//! Rows of a table that is as wide as the terminal: of events, and of what is made of them.

mod detail;
mod events;

use std::borrow::Cow;
use std::io;

use rustix::termios::tcgetwinsize;

use super::read::shown;

pub use detail::short_key;

/// The narrowest last column.
const NARROWEST: usize = 12;

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    head: &'static str,
    /// In characters of a terminal.
    width: usize,
    /// Numbers stand at its right edge.
    is_number: bool,
    /// The narrowest terminal that shows it.
    from: usize,
    /// The narrowest one that does not show it any more; `None`: all that are wider show it, and pipes.
    below: Option<usize>,
}

impl Column {
    /// Of texts.
    pub const fn text(head: &'static str, width: usize) -> Column {
        Column { head, width, is_number: false, from: 0, below: None }
    }

    /// Of numbers.
    pub const fn number(head: &'static str, width: usize) -> Column {
        Column { head, width, is_number: true, from: 0, below: None }
    }

    /// The same, left out on terminals that are narrower than this.
    pub const fn from(self, from: usize) -> Column {
        Column { from, ..self }
    }

    /// The same, left out on terminals that are this wide, and in pipes: others say more there.
    pub const fn below(self, width: usize) -> Column {
        Column { below: Some(width), ..self }
    }

    fn is_shown(&self, terminal: Option<usize>) -> bool {
        match terminal {
            Some(width) => self.from <= width && self.below.is_none_or(|below| width < below),
            None => self.below.is_none(),
        }
    }
}

/// How many digits of a session's id are shown.
pub const SHORT_ID: usize = 8;

/// Whether whoever reads a terminal wants colours: `NO_COLOR` is unset or empty (<https://no-color.org>).
pub fn is_coloured() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How rows are laid out.
#[derive(Debug, Clone)]
pub struct Table {
    /// Each with whether it is shown.
    columns: Vec<(Column, bool)>,
    /// What stands above the last column.
    last_head: &'static str,
    /// The width of the last column; `None`: as wide as it needs.
    last: Option<usize>,
}

impl Table {
    /// For standard output: a row fits its terminal's width, and the last column has the rest of it; in a pipe nothing of a row is left out.
    pub fn with(columns: &'static [Column], last_head: &'static str) -> Self {
        let width = tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        Table::of_width(columns, last_head, width)
    }

    /// As [`Table::with`], for a terminal of so many columns; `None`: for a pipe.
    pub fn of_width(columns: &'static [Column], last_head: &'static str, width: Option<usize>) -> Self {
        let columns: Vec<_> = columns.iter().map(|column| (*column, column.is_shown(width))).collect();
        let before: usize = columns.iter().filter(|(_, is_shown)| *is_shown).map(|(column, _)| column.width + 1).sum();
        Table { columns, last_head, last: width.map(|width| width.saturating_sub(before).max(NARROWEST)) }
    }

    /// The same without a column that would be empty.
    pub fn without(mut self, head: &str) -> Self {
        for (column, is_shown) in self.columns.iter_mut().filter(|(column, is_shown)| *is_shown && column.head == head)
        {
            self.last = self.last.map(|last| last + column.width + 1);
            *is_shown = false;
        }
        self
    }

    /// Whether a column is shown.
    pub fn shows(&self, head: &str) -> bool {
        self.columns.iter().any(|(column, is_shown)| *is_shown && column.head == head)
    }

    /// The same with another word above the last column.
    pub fn with_last(self, last_head: &'static str) -> Self {
        Table { last_head, ..self }
    }

    /// Whether a row is as wide as a terminal, so that texts are shortened.
    pub fn is_bounded(&self) -> bool {
        self.last.is_some()
    }

    /// The row above the others.
    pub fn head(&self) -> String {
        let heads: Vec<Cow<'_, str>> = self.columns.iter().map(|(column, _)| column.head.into()).collect();
        self.lay_out(&heads, self.last_head)
    }

    /// A row of these cells, as many as there are columns before the last one.
    pub fn lay_out(&self, cells: &[Cow<'_, str>], last: &str) -> String {
        let mut row = String::new();
        let shown_cells = cells.iter().zip(&self.columns).filter(|(_, (_, is_shown))| *is_shown);
        for (cell, (column, _)) in shown_cells {
            let cell = shown(cell);
            let cell = if self.last.is_some() { cut(&cell, column.width) } else { cell };
            let fill = " ".repeat(column.width.saturating_sub(columns(&cell)));
            if column.is_number { row.extend([&fill, &*cell, " "]) } else { row.extend([&*cell, &fill, " "]) }
        }
        let last = shown(last);
        row.push_str(&self.last.map_or(last.clone(), |width| cut(&last, width)));
        row.truncate(row.trim_end().len());
        row
    }
}

/// At most `width` columns of a text; what is left out is shown by `…`.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(column(c)) else { break };
        left = rest;
        kept.push(c);
    }
    Cow::Owned(kept + "…")
}

/// The end of a text in at most `width` columns: of a path that is the file's name. What is left out is shown by `…`.
fn cut_front(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut left = width.saturating_sub(1);
    let mut begin = text.len();
    for (at, c) in text.char_indices().rev() {
        let Some(rest) = left.checked_sub(column(c)) else { break };
        (left, begin) = (rest, at);
    }
    Cow::Owned(format!("…{}", text.get(begin..).unwrap_or_default()))
}

/// How many columns of a terminal a text takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// How many columns a character takes: the wide ones of East Asia and pictures take two.
fn column(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200d | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 => 2,
        0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_nothing_stands_in_gives_its_room_to_the_last_one() {
        const COLUMNS: &[Column] = &[Column::text("A", 4), Column::text("B", 6)];
        let table = |width| Table::of_width(COLUMNS, "LAST", width).without("B");
        let cells = ["a".into(), "b".into()];
        assert_eq!(table(None).lay_out(&cells, "rest"), "a    rest");
        assert_eq!(table(Some(30)).head(), "A    LAST");
        assert_eq!(table(Some(32)).lay_out(&cells, &"x".repeat(40)), format!("a    {}…", "x".repeat(26)));
    }

    #[test]
    fn a_column_has_a_narrow_form_for_terminals_only() {
        const COLUMNS: &[Column] = &[Column::text("SUM", 4).below(50), Column::text("IN", 6).from(50)];
        let head = |width| Table::of_width(COLUMNS, "LAST", width).head();
        assert_eq!((head(Some(49)).as_str(), head(Some(50)).as_str()), ("SUM  LAST", "IN     LAST"));
        assert_eq!(head(None), "IN     LAST");
    }

    #[test]
    fn texts_are_cut_at_either_end_by_the_columns_that_they_take() {
        for (width, front, back) in [(9, "/日本/a.c", "/日本/a.c"), (8, "…本/a.c", "/日本/a…"), (4, "…a.c", "/日…")]
        {
            assert_eq!(
                (cut_front("/日本/a.c", width).as_ref(), cut("/日本/a.c", width).as_ref()),
                (front, back),
                "{width}"
            );
        }
    }
}

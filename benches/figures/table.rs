//! The printed table. It is Markdown, to be copied into documents.

use std::fmt;

/// A row of the table.
pub struct Row {
    topic: &'static str,
    measured: String,
    yardstick: String,
    ratio: String,
    goal: String,
    missed: bool,
}

impl Row {
    pub fn new(topic: &'static str, measured: impl Into<String>) -> Row {
        Row {
            topic,
            measured: measured.into(),
            yardstick: String::new(),
            ratio: String::new(),
            goal: String::new(),
            missed: false,
        }
    }

    pub fn against(mut self, yardstick: impl Into<String>) -> Row {
        self.yardstick = yardstick.into();
        self
    }

    pub fn ratio(mut self, ratio: f64) -> Row {
        self.ratio = format!("{ratio:.2}");
        self
    }

    pub fn at_least(self, ratio: f64, least: f64) -> Row {
        self.ratio(ratio).goal(format!("at least {least:.2}"), ratio >= least)
    }

    pub fn at_most(self, ratio: f64, most: f64) -> Row {
        self.ratio(ratio).goal(format!("at most {most:.2}"), ratio <= most)
    }

    pub fn goal(mut self, goal: impl Into<String>, met: bool) -> Row {
        self.goal = goal.into();
        self.missed = !met;
        self
    }

    pub fn missed(&self) -> bool {
        self.missed
    }

    fn cells(&self) -> [String; 5] {
        let mark = if self.missed { ": **missed**" } else { "" };
        [
            self.topic.to_owned(),
            self.measured.clone(),
            self.yardstick.clone(),
            self.ratio.clone(),
            format!("{}{mark}", self.goal),
        ]
    }
}

pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "measured", "yardstick", "ratio", "goal"].map(str::to_owned);
        let rows: Vec<_> = self.0.iter().map(Row::cells).collect();
        let width = |column: usize| {
            let cells = rows.iter().chain([&head]).map(|cells| &cells[column]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; 5] = std::array::from_fn(width);
        let mut line = |cells: &[String; 5]| {
            for (cell, width) in cells.iter().zip(widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")
        };
        line(&head)?;
        line(&widths.map(|width| "-".repeat(width)))?;
        rows.iter().try_for_each(line)
    }
}

//! The target column: its task, its classes, its values.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Table;
use super::numbers::parse_number;
use crate::error::DataProblem;
use crate::{Error, Result};

/// What is to be learnt of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One class of several.
    Classification,
    /// A number.
    Regression,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 2] = [Self::Classification, Self::Regression];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
        })
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|task| task.to_string() == text).ok_or_else(|| Error::Setting {
            field: "task",
            value: text.to_string(),
            rule: "classification or regression",
        })
    }
}

/// The most classes that whole numbers are taken for.
const MAX_NUMERIC_CLASSES: usize = 50;

/// The fewest rows per class, on average, for which whole numbers are taken for classes.
const MIN_ROWS_PER_CLASS: usize = 5;

impl Table {
    /// The task that a target column suggests.
    ///
    /// Words make a classification. Whole numbers do where there are at most 50 different ones, and on average at least 5
    /// rows of each. Other numbers make a regression.
    ///
    /// # Errors
    /// [`Error::Data`] where the column does not exist or has a cell that is empty or not finite, and where most cells
    /// are numbers but not all: a word there is a slip more often than a class.
    pub fn infer_task(&self, target: &str) -> Result<Task> {
        let column = self.column_index(target)?;
        let (mut numbers, mut first_word) = (0, None);
        let (mut whole, mut distinct) = (true, HashSet::new());
        for (line, cell) in self.cells(column) {
            match parse_number(cell) {
                Ok(value) => {
                    numbers += 1;
                    whole &= value.fract() == 0.0;
                    // A few more than the limit tell as much as all of them. Adding 0 turns −0 into 0.
                    if distinct.len() <= MAX_NUMERIC_CLASSES {
                        distinct.insert((value + 0.0).to_bits());
                    }
                }
                Err(DataProblem::NotANumber { cell }) => first_word = first_word.or(Some((line, cell))),
                Err(problem) => return Err(self.problem(Some(line), Some(target), problem)),
            }
        }
        if let Some((line, cell)) = first_word {
            if 2 * numbers > self.row_count() {
                return Err(self.problem(Some(line), Some(target), DataProblem::MixedTarget { cell }));
            }
            return Ok(Task::Classification);
        }
        let few = distinct.len() <= MAX_NUMERIC_CLASSES && distinct.len() * MIN_ROWS_PER_CLASS <= self.row_count();
        Ok(if whole && few { Task::Classification } else { Task::Regression })
    }

    /// The classes of a target column, by number where all are numbers, else by text.
    ///
    /// Numbers are classes by value: `1` and `1.0` are the same one, and its label is `1`.
    ///
    /// # Errors
    /// [`Error::Data`] where the column does not exist, has a cell that is empty or not finite, or has one class only.
    pub fn class_labels(&self, target: &str) -> Result<Vec<String>> {
        let column = self.column_index(target)?;
        let mut labels = BTreeSet::new();
        for (line, cell) in self.cells(column) {
            let label = Label::of(cell).map_err(|problem| self.problem(Some(line), Some(target), problem))?;
            labels.insert(label);
        }
        let labels: Vec<Label> = labels.into_iter().collect();
        if let [label] = &labels[..] {
            let class = label.to_string();
            return Err(self.problem(None, Some(target), DataProblem::OneClass { class }));
        }
        let mut texts: Vec<String> = labels.iter().map(Label::to_string).collect();
        if labels.iter().any(|label| matches!(label, Label::Word(_))) {
            texts.sort_unstable();
        }
        Ok(texts)
    }

    /// The class of every row, as its position in `labels`, which are those of [`class_labels`](Self::class_labels) or of
    /// a model.
    ///
    /// # Errors
    /// [`Error::Data`] where the column does not exist, and with the line where a cell is none of the labels.
    pub fn class_indices<S: AsRef<str>>(&self, target: &str, labels: &[S]) -> Result<Vec<u32>> {
        let column = self.column_index(target)?;
        let positions: HashMap<&str, u32> = labels.iter().map(AsRef::as_ref).zip(0..).collect();
        let class = |(line, cell): (u64, &str)| {
            let label = Label::of(cell).map_err(|problem| self.problem(Some(line), Some(target), problem))?;
            positions.get(label.to_string().as_str()).copied().ok_or_else(|| {
                let classes = labels.iter().map(|label| label.as_ref().to_string()).collect();
                let problem = DataProblem::UnknownClass { cell: cell.to_string(), classes };
                self.problem(Some(line), Some(target), problem)
            })
        };
        self.cells(column).map(class).collect()
    }

    /// The values of a target column of numbers.
    ///
    /// # Errors
    /// Those of [`numeric_columns`](Self::numeric_columns), and [`Error::Data`] where all are the same.
    pub fn regression_target(&self, target: &str) -> Result<Vec<f32>> {
        let values = self.numeric_columns(&[target])?;
        match values.first() {
            Some(&value) if values.iter().all(|other| *other == value) => {
                Err(self.problem(None, Some(target), DataProblem::ConstantTarget { value }))
            }
            _ => Ok(values),
        }
    }
}

/// A class: numbers first, by value, then words, by text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Number(Ordered),
    Word(String),
}

impl Label {
    fn of(cell: &str) -> Result<Self, DataProblem> {
        match cell.parse::<f64>() {
            _ if cell.is_empty() => Err(DataProblem::EmptyCell),
            Ok(value) if value.is_finite() => Ok(Self::Number(Ordered(value + 0.0))),
            Ok(_) => Err(DataProblem::NotFinite { cell: cell.to_string() }),
            Err(_) => Ok(Self::Word(cell.to_string())),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(Ordered(value)) => write!(f, "{value}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// A finite number with an order.
#[derive(Debug, Clone, Copy)]
struct Ordered(f64);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: impl IntoIterator<Item = impl fmt::Display>) -> Table {
        let text: String = cells.into_iter().map(|cell| format!("{cell},0\n")).collect();
        Table::from_reader("t.csv", format!("y,x\n{text}").as_bytes()).unwrap()
    }

    #[test]
    fn the_task_is_inferred_from_the_column() {
        let task = |table: Table| table.infer_task("y").unwrap();
        assert_eq!(task(column(["a", "b", "a"])), Task::Classification);
        assert_eq!(task(column((0..50).map(|i| i % 10))), Task::Classification);
        assert_eq!(task(column((0..49).map(|i| i % 10))), Task::Regression);
        assert_eq!(task(column((0..250).map(|i| i % 50))), Task::Classification);
        assert_eq!(task(column((0..1000).map(|i| i % 51))), Task::Regression);
        assert_eq!(task(column((0..100).map(|i| f64::from(i % 2) / 2.0))), Task::Regression);
        assert_eq!(task(column((0..100).map(|i| format!("{}.0", i % 2)))), Task::Classification);
    }

    #[test]
    fn a_slip_in_a_column_of_numbers_makes_no_classes() {
        let error = column(["1.5", "2.5", "x1.0", "0.5"]).infer_task("y").unwrap_err().to_string();
        assert!(error.starts_with("t.csv, line 4, column \"y\": \"x1.0\" is not a number, but most"), "{error}");
        assert_eq!(column(["1", "a", "b", "2"]).infer_task("y").unwrap(), Task::Classification);
        assert!(column(["1", "", "2"]).infer_task("y").unwrap_err().to_string().contains("line 3"));
        assert!(column(["1", "nan", "2"]).infer_task("y").is_err());
        assert!(column(["1"]).infer_task("z").is_err());
    }

    #[test]
    fn classes_are_sorted_by_number_or_by_text() {
        let table = column(["10", "9", "9.0", "-1", "-0", "0"]);
        let labels = table.class_labels("y").unwrap();
        assert_eq!(labels, ["-1", "0", "9", "10"]);
        assert_eq!(table.class_indices("y", &labels).unwrap(), [3, 2, 2, 0, 1, 1]);
        let table = column(["b", "a", "10", "9", "b"]);
        let labels = table.class_labels("y").unwrap();
        assert_eq!(labels, ["10", "9", "a", "b"]);
        assert_eq!(table.class_indices("y", &labels).unwrap(), [3, 2, 0, 1, 3]);
    }

    #[test]
    fn hopeless_targets_are_errors() {
        let error = column(["1", "1.0"]).class_labels("y").unwrap_err().to_string();
        assert_eq!(
            error,
            "t.csv, column \"y\": every row is of class \"1\"; a classification needs at least two classes"
        );
        assert!(column(["a", ""]).class_labels("y").unwrap_err().to_string().contains("line 3"));
        assert!(column(["a", "NaN"]).class_labels("y").unwrap_err().to_string().contains("not a finite"));
        let error = column(["a", "c"]).class_indices("y", &["a", "b"]).unwrap_err().to_string();
        assert_eq!(error, "t.csv, line 3, column \"y\": \"c\" is no class of the model; it has a, b");
        assert!(column(["2", "2.0"]).regression_target("y").unwrap_err().to_string().contains("the same value, 2"));
        assert_eq!(column(["2", "3"]).regression_target("y").unwrap(), [2.0, 3.0]);
    }

    #[test]
    fn tasks_are_called_by_name() {
        for task in Task::ALL {
            assert_eq!(task.to_string().parse::<Task>().unwrap(), task);
            assert_eq!(serde_json::to_value(task).unwrap(), task.to_string());
        }
        assert!("ranking".parse::<Task>().unwrap_err().to_string().starts_with("task = ranking, but it must be"));
    }
}

//! Training: a table of prompts and scores becomes a router.
//!
//! What all models find hard is learned once from their mean score, where the signal is; each model's own part is what is left of it, learned
//! under a stiffer penalty. Penalties are chosen by folds. Groups of prompts, where the table names them, get a head each: the group's mean
//! scores are then a second opinion.

use std::fmt;

use super::examples::{Row, Scales};
use super::ridge::fit;
use super::router::{Parts, Router};
use crate::signal::Words;

/// Most models and groups together: bounds the size of the artefact.
const MOST_HEADS: usize = 256;
const FEWEST_ROWS: usize = 20;
const FOLDS: usize = 4;
const PENALTIES: [f32; 6] = [0.25, 1.0, 4.0, 8.0, 16.0, 48.0];
/// Groups are told apart by few words: a light penalty.
const GROUP_PENALTY: f32 = 2.0;
/// At most so many rows are looked at to choose a penalty.
const CHOICE_ROWS: usize = 4000;

/// What a router is trained on.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the models.
    pub models: Vec<String>,
    /// The prompts.
    pub prompts: Vec<String>,
    /// A row of scores per prompt, each from 0 to 1, one after the other.
    pub scores: Vec<f32>,
    /// The group of each prompt; empty when the table names none.
    pub groups: Vec<String>,
}

/// A table that cannot be learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainError(pub String);

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TrainError {}

/// Trains a router. The same table gives the same router.
///
/// # Errors
/// A table without enough rows, without models, with scores that are no numbers, or whose lengths differ.
pub fn train(table: &Table) -> Result<Router, TrainError> {
    check(table)?;
    let mut words = Words::default();
    let mut rows: Vec<Row> = table.prompts.iter().map(|prompt| Row::raw(prompt, &mut words)).collect();
    let scales = Scales::learn(&rows);
    for row in &mut rows {
        scales.apply(row);
    }
    let (names, members) = group_rows(&table.groups);
    let targets = Targets::of(table);
    let mut columns = targets.heads(&rows);
    let mut group_shares = Vec::new();
    for group in 0..names.len() {
        let (share, target) = centred(members.iter().map(|member| f32::from(*member == group)).collect());
        group_shares.push(share);
        columns.push(fit(&rows, &target, GROUP_PENALTY));
    }
    let group_means = group_means(table, &members, names.len(), &targets.means);
    let parts =
        Parts { models: table.models.clone(), groups: names, means: targets.means, group_means, group_shares, scales };
    Ok(Router::pack(parts, &columns))
}

fn check(table: &Table) -> Result<(), TrainError> {
    let (models, rows) = (table.models.len(), table.prompts.len());
    let fault = if models < 2 {
        format!("found {models} models, expected two or more")
    } else if rows < FEWEST_ROWS {
        format!("found {rows} prompts, expected {FEWEST_ROWS} or more")
    } else if table.scores.len() != models * rows {
        format!("found {} scores for {rows} prompts and {models} models", table.scores.len())
    } else if !table.groups.is_empty() && table.groups.len() != rows {
        format!("found {} groups for {rows} prompts", table.groups.len())
    } else if let Some(at) = table.scores.iter().position(|score| !score.is_finite()) {
        format!("prompt {}: a score is not a number", at / models)
    } else if models + group_rows(&table.groups).0.len() > MOST_HEADS {
        format!("more than {MOST_HEADS} models and groups together")
    } else {
        return Ok(());
    };
    Err(TrainError(fault))
}

/// Names of the groups in order, and each row's group.
fn group_rows(groups: &[String]) -> (Vec<String>, Vec<usize>) {
    let mut names: Vec<String> = groups.to_vec();
    names.sort();
    names.dedup();
    let members = groups.iter().map(|group| names.binary_search(group).unwrap_or(0)).collect();
    (names, members)
}

/// What the heads are to predict.
struct Targets {
    means: Vec<f32>,
    shared: Vec<f32>,
    own: Vec<Vec<f32>>,
}

impl Targets {
    #[expect(clippy::cast_precision_loss, reason = "numbers of models")]
    fn of(table: &Table) -> Self {
        let models = table.models.len();
        let of_row = |row: &[f32]| row.iter().sum::<f32>() / models as f32;
        let (_, shared) = centred(table.scores.chunks_exact(models).map(of_row).collect());
        let mut means = Vec::new();
        let mut own = Vec::new();
        for model in 0..models {
            let (mean, target) = centred(table.scores.iter().skip(model).step_by(models).copied().collect());
            means.push(mean);
            own.push(target.iter().zip(&shared).map(|(score, shared)| score - shared).collect());
        }
        Self { means, shared, own }
    }

    /// Weights of the shared head and of each model's own, by the penalties that folds find best.
    fn heads(&self, rows: &[Row]) -> Vec<Vec<f32>> {
        let shared = choose(rows, &[&self.shared]);
        let every: Vec<&Vec<f32>> = self.own.iter().take(4).collect();
        let own = choose(rows, &every);
        let mut columns = vec![fit(rows, &self.shared, shared)];
        columns.extend(self.own.iter().map(|target| fit(rows, target, own)));
        columns
    }
}

/// Mean, and values about it.
#[expect(clippy::cast_precision_loss, reason = "numbers of rows")]
fn centred(mut values: Vec<f32>) -> (f32, Vec<f32>) {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    for value in &mut values {
        *value -= mean;
    }
    (mean, values)
}

/// The penalty with the least error on rows that were left out.
fn choose(rows: &[Row], targets: &[&Vec<f32>]) -> f32 {
    let rows = &rows[..rows.len().min(CHOICE_ROWS)];
    let error = |penalty: f32| -> f64 { targets.iter().map(|target| fold_error(rows, target, penalty)).sum() };
    let errors = PENALTIES.map(error);
    let best = (0..PENALTIES.len()).min_by(|a, b| errors[*a].total_cmp(&errors[*b])).unwrap_or(0);
    PENALTIES[best]
}

fn fold_error(rows: &[Row], target: &[f32], penalty: f32) -> f64 {
    // One fold of the four is enough to compare penalties, and four times as fast. Drawn by a multiplicative hash: tables are often sorted,
    // or have their kinds by turns.
    let is_out = |at: &usize| (at.wrapping_mul(0x9e37_79b9) >> 16) % FOLDS == 0;
    let (out, kept): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(is_out);
    let train: Vec<Row> = kept.iter().map(|at| rows[*at].clone()).collect();
    let values: Vec<f32> = kept.iter().map(|at| target[*at]).collect();
    // Fewer rows need less of a penalty to be held as much.
    #[expect(clippy::cast_precision_loss, reason = "three quarters")]
    let weights = fit(&train, &values, penalty * (FOLDS - 1) as f32 / FOLDS as f32);
    out.iter().map(|at| f64::from(rows[*at].dot(&weights) - target[*at]).powi(2)).sum()
}

/// Mean score of each model in each group, drawn towards its overall mean where the group is small.
fn group_means(table: &Table, members: &[usize], groups: usize, means: &[f32]) -> Vec<f32> {
    const PRIOR: f32 = 10.0;
    let models = table.models.len();
    let mut sums: Vec<f32> = (0..groups).flat_map(|_| means.iter().map(|mean| mean * PRIOR)).collect();
    let mut sizes = vec![PRIOR; groups];
    for (group, scores) in members.iter().zip(table.scores.chunks_exact(models)) {
        sizes[*group] += 1.0;
        for (sum, score) in sums[group * models..].iter_mut().zip(scores) {
            *sum += score;
        }
    }
    sums.iter().enumerate().map(|(at, sum)| sum / sizes[at / models]).collect()
}

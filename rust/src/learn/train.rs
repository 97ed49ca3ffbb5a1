//! Training: a table of prompts and scores becomes a router.
//!
//! What all models find hard is learned once from their mean score, where the signal is; each model's own part is what is left of it, learned
//! under a penalty of its own. Penalties are chosen by folds. Groups of prompts, where the table names them, get a head each: the group's mean
//! scores are then a second opinion. A curve for each model makes one score of these opinions (`calibrate`).

use std::fmt;

use super::calibrate::{Curve, Opinions};
use super::examples::{Row, Scales};
use super::ridge::fit;
use super::router::{Parts, Router, opinions, parts_of};
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
/// And so many models.
const CHOICE_MODELS: usize = 8;
/// Of more rows one fold is enough to compare penalties, and four times as fast.
const FEW_ROWS: usize = 2000;

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
    let mut heads = targets.heads(&rows);
    let mut group_shares = Vec::new();
    for group in 0..names.len() {
        let (share, target) = centred(members.iter().map(|member| f32::from(*member == group)).collect());
        group_shares.push(share);
        heads.push(Head { target, penalty: GROUP_PENALTY });
    }
    let columns: Vec<Vec<f32>> = heads.iter().map(|head| fit(&rows, &head.target, head.penalty)).collect();
    let group_means = group_means(table, &members, names.len(), &targets.means);
    let curves = curves(table, &left_out(&rows, &heads), &targets.means, &group_means, &group_shares);
    let (models, means) = (table.models.clone(), targets.means);
    let parts = Parts { models, groups: names, means, group_means, group_shares, scales, curves };
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

    /// The shared head and each model's own, under the penalties that folds find best.
    fn heads(&self, rows: &[Row]) -> Vec<Head> {
        let shared = choose(rows, &[&self.shared]);
        let some: Vec<&Vec<f32>> = self.own.iter().take(CHOICE_MODELS).collect();
        let own = choose(rows, &some);
        let mut heads = vec![Head { target: self.shared.clone(), penalty: shared }];
        heads.extend(self.own.iter().map(|target| Head { target: target.clone(), penalty: own }));
        heads
    }
}

/// What one column of weights is to predict, and under which penalty.
struct Head {
    target: Vec<f32>,
    penalty: f32,
}

/// What heads that never saw a row say of it: for each row, of each head.
fn left_out(rows: &[Row], heads: &[Head]) -> Vec<Vec<f32>> {
    let mut sums = vec![vec![0.0; heads.len()]; rows.len()];
    for fold in 0..FOLDS {
        let fold = Fold::of(rows, fold);
        for (at, head) in heads.iter().enumerate() {
            let weights = fold.fit(&head.target, head.penalty);
            for row in &fold.out {
                sums[*row][at] = rows[*row].dot(&weights);
            }
        }
    }
    sums
}

/// Each model's curve; none where scores have other bounds than 0 and 1.
fn curves(table: &Table, sums: &[Vec<f32>], means: &[f32], group_means: &[f32], group_shares: &[f32]) -> Vec<Curve> {
    if table.scores.iter().any(|score| !(0.0..=1.0).contains(score)) {
        return Vec::new();
    }
    let said: Vec<Vec<Opinions>> = sums.iter().map(|sums| opinions(sums, means, group_means, group_shares)).collect();
    let parts = parts_of(!group_shares.is_empty());
    let of_model = |model: usize| {
        let opinions: Vec<Opinions> = said.iter().map(|row| row[model]).collect();
        let scores: Vec<f32> = table.scores.iter().skip(model).step_by(means.len()).copied().collect();
        Curve::fit(&opinions, &scores, means[model], parts)
    };
    (0..means.len()).map(of_model).collect()
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

/// The penalty under which rows that were left out are told best: by correlation, since curves find the scale.
fn choose(rows: &[Row], targets: &[&Vec<f32>]) -> f32 {
    let rows = &rows[..rows.len().min(CHOICE_ROWS)];
    let folds: Vec<Fold> =
        (0..if rows.len() > FEW_ROWS { 1 } else { FOLDS }).map(|number| Fold::of(rows, number)).collect();
    let agreement = |penalty: f32| -> f64 {
        let of_target = |target: &&Vec<f32>| {
            let agreed = folds.iter().map(|fold| fold.agreement(rows, target, penalty));
            agreed.fold(Agreement::default(), Agreement::with).correlation()
        };
        targets.iter().map(of_target).sum()
    };
    let found = PENALTIES.map(agreement);
    let best = (0..PENALTIES.len()).max_by(|a, b| found[*a].total_cmp(&found[*b])).unwrap_or(0);
    PENALTIES[best]
}

/// A part of the rows that is left out, and the others.
struct Fold {
    out: Vec<usize>,
    kept: Vec<usize>,
    train: Vec<Row>,
}

impl Fold {
    /// Drawn by a multiplicative hash: tables are often sorted, or have their kinds by turns.
    fn of(rows: &[Row], number: usize) -> Self {
        let is_out = |at: &usize| (at.wrapping_mul(0x9e37_79b9) >> 16) % FOLDS == number;
        let (out, kept): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(is_out);
        let train = kept.iter().map(|at| rows[*at].clone()).collect();
        Self { out, kept, train }
    }

    /// Weights by the rows that are kept.
    fn fit(&self, target: &[f32], penalty: f32) -> Vec<f32> {
        let values: Vec<f32> = self.kept.iter().map(|at| target[*at]).collect();
        // Fewer rows need less of a penalty to be held as much.
        #[expect(clippy::cast_precision_loss, reason = "three quarters")]
        fit(&self.train, &values, penalty * (FOLDS - 1) as f32 / FOLDS as f32)
    }

    /// What is predicted for the rows that are left out, beside their values.
    fn agreement(&self, rows: &[Row], target: &[f32], penalty: f32) -> Agreement {
        let weights = self.fit(target, penalty);
        let pairs = self.out.iter().map(|at| (f64::from(rows[*at].dot(&weights)), f64::from(target[*at])));
        // Targets lie about their mean, and so does what is learned from them.
        pairs.fold(Agreement::default(), |sums, (said, value)| {
            sums.with(Agreement { both: said * value, one: said * said, other: value * value })
        })
    }
}

/// Sums of products of what is said with values, and of their squares.
#[derive(Clone, Copy, Default)]
struct Agreement {
    both: f64,
    one: f64,
    other: f64,
}

impl Agreement {
    fn with(self, more: Self) -> Self {
        Self { both: self.both + more.both, one: self.one + more.one, other: self.other + more.other }
    }

    fn correlation(self) -> f64 {
        self.both / (self.one * self.other).sqrt().max(f64::MIN_POSITIVE)
    }
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

//! A trained router: a prompt in, the expected score of each model out.

use super::calibrate::{Curve, Opinions};
use super::examples::{COLUMNS, Scales};
use super::rows::Rows;
use crate::signal::{BUCKETS, SURFACE, Words, surface};

/// How sharply group scores become shares; chosen on training folds of MMLU-Pro.
const SHARPNESS: f32 = 12.0;
/// How much of a score comes from the groups' means where groups were given, the rest from the prompt's own words: before curves are fitted.
const GROUP_PART: f32 = 0.5;

/// Of rows of buckets in a file, with what each bucket weighs: 44 models and groups have all buckets, more have those that say the most.
/// Names, means and bits come on top; the whole stays below 3 MB.
pub(super) const MOST_BYTES: usize = 2_800_000;

/// What was learned. Weights are whole numbers from -127 to 127, times their head's scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    pub(super) models: Vec<String>,
    pub(super) groups: Vec<String>,
    /// Mean score of each model in training.
    pub(super) means: Vec<f32>,
    /// Mean score of each model in each group: a row per group.
    pub(super) group_means: Vec<f32>,
    /// Share of each group in training.
    pub(super) group_shares: Vec<f32>,
    pub(super) scales: Scales,
    /// Each model's curve; empty where scores have other bounds than 0 and 1.
    pub(super) curves: Vec<Curve>,
    /// Scale of each head: what all models share, each model's own part, each group.
    pub(super) heads: Vec<f32>,
    /// Row of each column in `rows`; [`UNSEEN`] where no text of the training had it.
    pub(super) places: Vec<u32>,
    /// A row for each column that was seen.
    pub(super) rows: Rows,
}

/// No row: such a word says nothing.
pub(super) const UNSEEN: u32 = u32::MAX;

/// Weight of words that training never saw: none, as if they did not stand there.
pub(super) const UNKNOWN_IDF: f32 = 0.0;

impl Router {
    /// Joins what training found; `columns` are the heads' weights, each of [`COLUMNS`].
    pub(super) fn pack(parts: Parts, columns: &[Vec<f32>]) -> Self {
        let Parts { models, groups, means, group_means, group_shares, mut scales, curves } = parts;
        let heads: Vec<f32> = columns.iter().map(|weights| scale_of(weights)).collect();
        let kept = kept_buckets(columns);
        let mut places = vec![UNSEEN; COLUMNS];
        let mut rows = Rows::new(heads.len());
        for (at, place) in places.iter_mut().enumerate() {
            if at < BUCKETS && !kept[at] {
                scales.idf[at] = UNKNOWN_IDF;
                continue;
            }
            let idf = scales.idf.get(at).copied().unwrap_or_default();
            *place = rows.add(idf, columns.iter().zip(&heads).map(|(weights, scale)| quantised(weights[at] / scale)));
        }
        Self { models, groups, means, group_means, group_shares, scales, curves, heads, places, rows }
    }

    /// Names of the models, in the order of scores.
    #[must_use]
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// Names of the groups that it knows prompts by; empty if none were given.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Expected score of each model for a prompt.
    #[must_use]
    pub fn scores(&self, prompt: &str) -> Vec<f32> {
        self.scores_of(Words::default().of(prompt), surface(prompt))
    }

    /// The same for a prompt whose buckets and counts are known.
    #[must_use]
    pub fn scores_of(&self, buckets: &[u32], counts: [f32; SURFACE]) -> Vec<f32> {
        let sums = self.sums(buckets, self.scales.scaled(counts));
        let said = opinions(&sums, &self.means, &self.group_means, &self.group_shares);
        if self.curves.is_empty() {
            let parts = parts_of(!self.groups.is_empty());
            let sum = |said: &Opinions| said.iter().zip(parts).map(|(value, part)| value * part).sum::<f32>();
            return self.means.iter().zip(&said).map(|(mean, said)| mean + sum(said)).collect();
        }
        self.curves.iter().zip(said).map(|(curve, said)| curve.score(said)).collect()
    }

    /// Sums of all heads for a text with these buckets and scaled counts: the same additions in the same order as `examples::Row` makes.
    fn sums(&self, buckets: &[u32], counts: [f32; SURFACE]) -> Vec<f32> {
        let places = || buckets.iter().map(|bucket| self.places[*bucket as usize]).filter(|place| *place != UNSEEN);
        // Words that training never saw weigh nothing. The first pass brings the rows near, all at once; the second finds them there.
        let length = places().map(|place| self.rows.idf(place)).map(|idf| idf * idf).sum::<f32>();
        let length = length.sqrt().max(f32::MIN_POSITIVE);
        let words = places().map(|place| (place, self.rows.idf(place) / length));
        let rest = (BUCKETS..COLUMNS).map(|column| self.places[column]).zip(counts.into_iter().chain([1.0]));
        let mut sums = self.rows.sums(words.chain(rest.filter(|(place, _)| *place != UNSEEN)));
        for (sum, scale) in sums.iter_mut().zip(&self.heads) {
            *sum *= scale;
        }
        sums
    }
}

/// What training knows beside weights.
pub(super) struct Parts {
    pub(super) models: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) means: Vec<f32>,
    pub(super) group_means: Vec<f32>,
    pub(super) group_shares: Vec<f32>,
    pub(super) scales: Scales,
    pub(super) curves: Vec<Curve>,
}

/// What each opinion counts for in the plain sum of an expected score.
pub(super) const fn parts_of(has_groups: bool) -> Opinions {
    let own = if has_groups { 1.0 - GROUP_PART } else { 1.0 };
    [own, own, 1.0 - own]
}

/// What the heads say of each model, about its mean. `sums` are theirs: what all models share, each model's own, each group.
pub(super) fn opinions(sums: &[f32], means: &[f32], group_means: &[f32], group_shares: &[f32]) -> Vec<Opinions> {
    let models = means.len();
    let parts = if group_shares.is_empty() { Vec::new() } else { softmax(&sums[1 + models..], group_shares) };
    let by_group = |model: usize| -> f32 {
        let away = |(group, share): (usize, &f32)| share * (group_means[group * models + model] - means[model]);
        parts.iter().enumerate().map(away).sum()
    };
    (0..models).map(|model| [sums[0], sums[1 + model], by_group(model)]).collect()
}

/// Shares of the groups: their scores were learned about their means.
fn softmax(scores: &[f32], means: &[f32]) -> Vec<f32> {
    let sharp: Vec<f32> = scores.iter().zip(means).map(|(score, mean)| (score + mean) * SHARPNESS).collect();
    let most = sharp.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = sharp.iter().map(|score| (score - most).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// The buckets that training saw; where a row for each would be too much, those whose weights are the largest together.
fn kept_buckets(columns: &[Vec<f32>]) -> Vec<bool> {
    let size = |at: usize| columns.iter().map(|weights| weights[at].abs()).sum::<f32>();
    let mut seen: Vec<(usize, f32)> = (0..BUCKETS).map(|at| (at, size(at))).filter(|(_, size)| *size > 0.0).collect();
    let most = MOST_BYTES / (columns.len() + size_of::<f32>());
    if seen.len() > most {
        seen.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        seen.truncate(most);
    }
    let mut kept = vec![false; BUCKETS];
    for (at, _) in seen {
        kept[at] = true;
    }
    kept
}

fn scale_of(weights: &[f32]) -> f32 {
    let most = weights.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
    if most > 0.0 { most / 127.0 } else { 1.0 }
}

#[expect(clippy::cast_possible_truncation, reason = "within 127 by its scale")]
fn quantised(weight: f32) -> i8 {
    weight.round().clamp(-127.0, 127.0) as i8
}

//! Which of many routes a text is most like: cosine similarity to example utterances, over hashed words and word pairs.
//!
//! Rare words say more (inverse document frequency over the utterances). An inverted index adds up only what the text and an utterance share,
//! so that a thousand routes cost a few hundred additions; words that most utterances have are left out, since they tell none apart.

use super::words::{BUCKETS, Words};

/// A word in more than this share of many utterances is left out.
const COMMON_SHARE: f32 = 0.05;
/// While there are fewer utterances than this no word is.
const FEW: usize = 200;

/// Routes by their example utterances.
#[derive(Clone, Debug)]
pub struct Semantic {
    /// The route of each utterance.
    routes: Vec<u32>,
    /// Where the list of each bucket begins in `found`; one more than there are buckets.
    starts: Vec<u32>,
    /// Utterances with the weight of a bucket in them.
    found: Vec<(u32, f32)>,
    /// Weight of each bucket in a text; 0: no utterance has it.
    idf: Vec<f32>,
}

impl Semantic {
    /// Learns routes, each from its utterances.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "numbers of utterances")]
    pub fn new(routes: &[Vec<String>]) -> Self {
        let mut words = Words::default();
        let texts: Vec<(u32, Vec<u32>)> = routes
            .iter()
            .enumerate()
            .flat_map(|(route, utterances)| utterances.iter().map(move |text| (route as u32, text)))
            .map(|(route, text)| (route, words.of(text).to_vec()))
            .collect();
        let mut counts = vec![0_u32; BUCKETS];
        for bucket in texts.iter().flat_map(|(_, buckets)| buckets) {
            counts[*bucket as usize] += 1;
        }
        let all = texts.len() as f32;
        let most = if texts.len() < FEW { all } else { all * COMMON_SHARE };
        let idf: Vec<f32> = counts
            .iter()
            .map(|count| *count as f32)
            .map(|count| if count == 0.0 || count > most { 0.0 } else { ((all + 1.0) / (count + 1.0)).ln() + 0.1 })
            .collect();
        Self::index(&texts, idf)
    }

    #[expect(clippy::cast_possible_truncation, reason = "numbers of utterances and words")]
    fn index(texts: &[(u32, Vec<u32>)], idf: Vec<f32>) -> Self {
        let mut lists: Vec<Vec<(u32, f32)>> = vec![Vec::new(); BUCKETS];
        for (at, (_, buckets)) in texts.iter().enumerate() {
            let length =
                buckets.iter().map(|bucket| idf[*bucket as usize].powi(2)).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            for bucket in buckets.iter().filter(|bucket| idf[**bucket as usize] > 0.0) {
                lists[*bucket as usize].push((at as u32, idf[*bucket as usize] / length));
            }
        }
        let mut starts = Vec::with_capacity(BUCKETS + 1);
        let mut found = Vec::new();
        for list in lists {
            starts.push(found.len() as u32);
            found.extend(list);
        }
        starts.push(found.len() as u32);
        Self { routes: texts.iter().map(|(route, _)| *route).collect(), starts, found, idf }
    }

    /// The most similar route and its similarity, from 0 to 1, for the buckets of a text. A tie goes to the earlier route.
    ///
    /// `unknown`: words that no utterance has make the text less like any of them, by the weight of a rare one each.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "numbers of utterances")]
    pub fn nearest(&self, buckets: &[u32]) -> Option<(usize, f32)> {
        let rare = f32::midpoint(self.routes.len() as f32, 1.0).ln() + 0.1;
        let mut sums = vec![0.0_f32; self.routes.len()];
        let mut square = 0.0;
        for bucket in buckets {
            let (from, to) = (self.starts[*bucket as usize] as usize, self.starts[*bucket as usize + 1] as usize);
            let weight = self.idf[*bucket as usize];
            // A word of no utterance says less than one of the rarest: the text may well go on about something else.
            square += if from == to { rare * rare * UNKNOWN_PART } else { weight * weight };
            for (utterance, part) in &self.found[from..to] {
                sums[*utterance as usize] += weight * part;
            }
        }
        let most = greatest(&sums);
        let best = if most > 0.0 { sums.iter().position(|sum| *sum >= most) } else { None };
        best.map(|at| (self.routes[at] as usize, most / square.sqrt()))
    }
}

/// The greatest of some sums, none below 0; several at once.
fn greatest(sums: &[f32]) -> f32 {
    const LANES: usize = 16;
    let chunks = sums.chunks_exact(LANES);
    let rest = chunks.remainder();
    let greater = |one: f32, other: f32| if other > one { other } else { one };
    let mut most = [0.0; LANES];
    for some in chunks {
        for (most, sum) in most.iter_mut().zip(some) {
            *most = greater(*most, *sum);
        }
    }
    most.into_iter().chain(rest.iter().copied()).fold(0.0, greater)
}

/// What a word that no utterance has counts for, beside one of the rarest.
const UNKNOWN_PART: f32 = 0.1;

#[cfg(test)]
mod tests {
    use super::Semantic;
    use crate::signal::Words;

    fn nearest(routes: &Semantic, text: &str) -> Option<(usize, f32)> {
        routes.nearest(Words::default().of(text))
    }

    #[test]
    fn a_text_goes_to_the_route_whose_words_it_shares() {
        let routes = Semantic::new(&[
            vec!["my invoice is wrong".to_owned(), "refund my last payment".to_owned()],
            vec!["the printer does not print".to_owned(), "my screen stays black".to_owned()],
        ]);

        assert_eq!(nearest(&routes, "I want a refund of that payment").map(|found| found.0), Some(0));
        assert_eq!(nearest(&routes, "since today my screen is black").map(|found| found.0), Some(1));
        assert!(nearest(&routes, "my invoice is wrong").is_some_and(|found| found.1 > 0.99));
        assert_eq!(nearest(&routes, "xyzzy"), None);
    }
}

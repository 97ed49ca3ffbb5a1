//! Tokens of a text, as the tokenizers of static embeddings cut it: pieces of words (BERT's) or merged pairs (Llama's).
//!
//! A general tokenizer keeps track of where each token stood and takes 100 us for 400 characters. Of these two kinds no token reaches over a
//! space, so that words are cut one by one, in a third of the time and less. What these rules do not cover (text beyond ASCII for the first
//! kind, special tokens, very long words) is None: then the whole tokenizer has to be asked.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Characters of a word beyond which merging it, which looks at all of its pairs each time, is left to the other.
const LONGEST: usize = 128;
/// What spaces become, where pairs are merged.
pub const MARK: char = '\u{2581}';

/// Spreads numbers over a table: texts look things up in it, but never add any, so that none can make it slow.
#[derive(Default)]
pub struct Spread(u64);

/// A table by numbers.
pub type Numbers<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        let mixed = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Words as pieces: the longest one that fits first, then the longest that may follow (Wu et al. 2016, arXiv 1609.08144).
#[derive(Debug)]
pub struct Pieces {
    /// Pieces that begin a word.
    pub starts: HashMap<String, u32>,
    /// Pieces that follow, without their prefix.
    pub rest: HashMap<String, u32>,
    /// What a word becomes that has no pieces.
    pub unknown: u32,
    /// Whether capitals are lowered.
    pub lowered: bool,
    /// Characters of a word beyond which it is not known.
    pub longest: usize,
}

/// Words as characters, of which those pairs are merged first that stand first in a list (Sennrich et al. 2016, arXiv 1508.07909).
#[derive(Debug)]
pub struct Merges {
    /// The tokens of single characters.
    pub chars: Numbers<char, u32>,
    /// The token of each byte, for characters that have none.
    pub bytes: Vec<u32>,
    /// Rank of a pair and what it becomes.
    pub pairs: Numbers<(u32, u32), (u32, u32)>,
}

impl Pieces {
    /// The tokens of `text`.
    #[must_use]
    pub fn cut(&self, text: &str) -> Option<Vec<u32>> {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r');
        if !text.bytes().all(is_plain) {
            return None;
        }
        let lowered = if self.lowered { text.to_ascii_lowercase() } else { text.to_owned() };
        let mut found = Vec::new();
        for word in lowered.split_ascii_whitespace() {
            // Each mark is a word of its own.
            for part in word.split_inclusive(|sign: char| sign.is_ascii_punctuation()) {
                let (letters, mark) =
                    part.split_at(part.trim_end_matches(|sign: char| sign.is_ascii_punctuation()).len());
                for one in [letters, mark] {
                    self.word(one, &mut found);
                }
            }
        }
        Some(found)
    }

    fn word(&self, word: &str, found: &mut Vec<u32>) {
        let before = found.len();
        let (mut rest, mut known) = (word, &self.starts);
        while !rest.is_empty() {
            // A long word is not even looked at: each of its heads would be hashed.
            let ends = if word.len() > self.longest { 0 } else { rest.len() };
            let fits = (1..=ends).rev().find_map(|end| known.get(&rest[..end]).map(|token| (end, *token)));
            let Some((end, token)) = fits else {
                found.truncate(before);
                found.push(self.unknown);
                return;
            };
            found.push(token);
            (rest, known) = (&rest[end..], &self.rest);
        }
    }
}

impl Merges {
    /// The tokens of `text`, before which, too, a mark is set.
    #[must_use]
    pub fn cut(&self, text: &str) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        let mut word = Vec::new();
        if text.is_empty() {
            return Some(found);
        }
        let mut before = None;
        for sign in std::iter::once(MARK).chain(text.chars().map(|sign| if sign == ' ' { MARK } else { sign })) {
            if sign == MARK && before != Some(MARK) {
                self.merge(&mut word)?;
                found.append(&mut word);
            }
            self.add(sign, &mut word);
            before = Some(sign);
        }
        self.merge(&mut word)?;
        found.append(&mut word);
        Some(found)
    }

    fn add(&self, sign: char, word: &mut Vec<u32>) {
        if let Some(token) = self.chars.get(&sign) {
            word.push(*token);
        } else {
            let mut octets = [0; 4];
            let octets = sign.encode_utf8(&mut octets).bytes();
            word.extend(octets.filter_map(|octet| self.bytes.get(usize::from(octet))));
        }
    }

    /// Merges the pairs of a word, the first of those of the best rank each time.
    fn merge(&self, word: &mut Vec<u32>) -> Option<()> {
        if word.len() > LONGEST {
            return None;
        }
        let rank = |pair: &[u32]| self.pairs.get(&(pair[0], pair[1])).copied();
        while let Some((at, (_, token))) = word
            .windows(2)
            .enumerate()
            .filter_map(|(at, pair)| rank(pair).map(|found| (at, found)))
            .min_by_key(|(at, (rank, _))| (*rank, *at))
        {
            word[at] = token;
            word.remove(at + 1);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{LONGEST, Merges, Pieces};

    fn known(words: &[&str]) -> HashMap<String, u32> {
        words.iter().zip(1..).map(|(word, at)| ((*word).to_owned(), at)).collect()
    }

    #[test]
    fn a_word_is_its_longest_pieces_or_not_known() {
        let starts = known(&["print", "pri", "a", ","]);
        let rest = known(&["ers", "er", "s", "nt"]);
        let pieces = Pieces { starts, rest, unknown: 99, lowered: true, longest: 9 };

        assert_eq!(pieces.cut("A printer,\nprints"), Some(vec![3, 1, 2, 4, 1, 3]));
        assert_eq!(pieces.cut("priest,printersss a"), Some(vec![99, 4, 99, 3]));
        assert_eq!(pieces.cut(&"a".repeat(1 << 22)), Some(vec![99]), "without a look at each of its heads");
        assert_eq!(pieces.cut("caf\u{e9}"), None);
        assert_eq!(pieces.cut(""), Some(vec![]));
    }

    #[test]
    fn pairs_are_merged_by_rank_and_never_over_a_space() {
        let chars = [('\u{2581}', 1), ('a', 2), ('b', 3)].into_iter().collect();
        let pairs = [((2, 2), (0, 4)), ((1, 4), (1, 5)), ((2, 3), (2, 6))].into_iter().collect();
        let merges = Merges { chars, bytes: (100..356).collect(), pairs };

        assert_eq!(merges.cut("aaab ab"), Some(vec![5, 6, 1, 6]));
        assert_eq!(merges.cut("\u{e9}"), Some(vec![1, 100 + 0xc3, 100 + 0xa9]));
        assert_eq!(merges.cut("  a"), Some(vec![1, 1, 1, 2]));
        assert_eq!(merges.cut(&"b".repeat(LONGEST)), None);
        assert_eq!(merges.cut(""), Some(vec![]));
    }
}

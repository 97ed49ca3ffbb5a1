//! Words and word pairs of a text as a set of hash buckets.
//!
//! A word is a run of letters (or of other letters than ASCII's), one digit, or one mark: numbers differ between prompts that are alike, their
//! digits do not. ASCII is lowered; other scripts are taken as they are.

/// Number of buckets. More did not predict better on MMLU-Pro (2^15 to 2^18 within .001 of AIQ), and a model keeps a weight for each.
pub const BUCKETS: usize = 1 << 16;
/// Text beyond this many bytes is not looked at: its beginning and end say what kind it is, and a decision has a bound.
const MOST_BYTES: usize = 16 * 1024;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const PAIR: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// A set of buckets, made again for each text without new memory.
#[derive(Debug)]
pub struct Words {
    seen: Vec<u64>,
    found: Vec<u32>,
}

impl Default for Words {
    fn default() -> Self {
        Self { seen: vec![0; BUCKETS / 64], found: Vec::new() }
    }
}

impl Words {
    /// The buckets of `text`, each once, in order of first sight.
    pub fn of(&mut self, text: &str) -> &[u32] {
        for bucket in self.found.drain(..) {
            self.seen[bucket as usize / 64] = 0;
        }
        // No hash is 0.
        let mut before = 0;
        let (head, tail) = ends(text);
        for part in [head, tail] {
            each_word(part.as_bytes(), |word| {
                self.add(word);
                if before != 0 {
                    self.add(mix(before ^ PAIR, word));
                }
                before = word;
            });
        }
        &self.found
    }

    fn add(&mut self, hash: u64) {
        // The high bits of a product are its best.
        let bucket = (hash >> 48) as u32;
        let (word, bit) = (&mut self.seen[bucket as usize / 64], 1 << (bucket % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.found.push(bucket);
        }
    }
}

/// The beginning and the end of a long text, the whole of a short one.
fn ends(text: &str) -> (&str, &str) {
    if text.len() <= MOST_BYTES {
        return (text, "");
    }
    let head = text.floor_char_boundary_at(MOST_BYTES / 2);
    let tail = text.floor_char_boundary_at(text.len() - MOST_BYTES / 2);
    (&text[..head], &text[tail..])
}

trait FloorBoundary {
    fn floor_char_boundary_at(&self, at: usize) -> usize;
}

impl FloorBoundary for str {
    fn floor_char_boundary_at(&self, at: usize) -> usize {
        (0..=at.min(self.len())).rev().find(|at| self.is_char_boundary(*at)).unwrap_or(0)
    }
}

/// What each byte is: white space, a mark or a digit that stands for itself, or a letter, lowered.
static CLASSES: [u8; 256] = classes();
const SPACE: u8 = 0;
const MARK: u8 = 1;

const fn classes() -> [u8; 256] {
    let mut classes = [MARK; 256];
    let mut at = 0;
    while at < classes.len() {
        let byte = at as u8;
        if byte.is_ascii_alphabetic() || byte >= 0x80 {
            classes[at] = byte.to_ascii_lowercase();
        } else if byte.is_ascii_whitespace() {
            classes[at] = SPACE;
        }
        at += 1;
    }
    classes
}

/// Calls `take` with the hash of each word.
#[inline]
fn each_word(text: &[u8], mut take: impl FnMut(u64)) {
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        let class = CLASSES[usize::from(byte)];
        if class > MARK {
            let mut hash = mix(SEED, u64::from(class));
            for &byte in rest.by_ref() {
                let after = CLASSES[usize::from(byte)];
                if after <= MARK {
                    if after == MARK {
                        take(std::mem::replace(&mut hash, mix(SEED, u64::from(byte))));
                    }
                    break;
                }
                hash = mix(hash, u64::from(after));
            }
            take(hash);
        } else if class == MARK {
            take(mix(SEED, u64::from(byte)));
        }
    }
}

/// One step of a multiply-xorshift hash: never 0 for what it is used for here, since 0 stands for "no word".
const fn mix(state: u64, value: u64) -> u64 {
    let mixed = (state ^ value).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ mixed >> 32) | 1
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, Words};

    #[test]
    fn a_text_has_each_bucket_once_and_the_same_ones_every_time() {
        let mut words = Words::default();
        let first = words.of("the cat and the cat and the cat").to_vec();

        assert_eq!(first.len(), 6, "three words and three pairs");
        assert_ne!(words.of("another text"), first);
        assert_eq!(words.of("The CAT and the cat and the cat"), first);
    }

    #[test]
    fn a_long_text_costs_no_more_than_its_ends() {
        let long = "héllo wörld ".repeat(MOST_BYTES);

        assert!(Words::default().of(&long).len() < 16);
    }
}

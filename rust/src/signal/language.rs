//! Which language a text is written in: by its script where that settles it, else by its trigrams (Cavnar and Trenkle, "N-Gram-Based Text
//! Categorization", 1994; scored as naive Bayes).
//!
//! The table is trained by `benches/languages.py`; a text of [`MOST_GRAMS`] trigrams costs a look-up and one addition per language for each.

use std::sync::LazyLock;

use wide::{u8x16, u16x8};

/// Trigrams that are looked at: more does not change the answer.
const MOST_GRAMS: usize = 140;
/// Fewer known trigrams than this say nothing.
const LEAST_GRAMS: u32 = 3;
/// Sums of costs fit sixteen bits: 140 grams of at most 255.
type Sum = u16x8;

static MODEL: LazyLock<Vec<Group>> = LazyLock::new(|| decode(include_bytes!("languages.bin")).unwrap_or_default());

/// The ISO 639-1 code of the language of `text`; empty where it has too few letters.
#[must_use]
pub fn language(text: &str) -> &'static str {
    let script = script_of(text);
    match script {
        Script::None => "",
        Script::Of(code) => code,
        Script::Shared(at) => MODEL.iter().find(|group| group.script == at).map_or("", |group| group.language(text)),
    }
}

/// Codes that [`language`] may return for texts in scripts that several languages share.
#[must_use]
pub fn languages() -> Vec<&'static str> {
    let own = OWN_SCRIPTS.iter().map(|(_, _, code)| *code).chain(["zh", "ja"]);
    let mut codes: Vec<_> = MODEL.iter().flat_map(|group| group.codes.iter().copied()).chain(own).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Languages of one script.
struct Group {
    script: u8,
    codes: Vec<&'static str>,
    /// The trigrams, by row.
    grams: Vec<u64>,
    /// Open addressing: one more than the row of a trigram; 0: none.
    places: Vec<u16>,
    /// Chunks of a row.
    chunks: usize,
    /// A row for each trigram, a cost for each language: -20 ln p, so that 255 is about one in 350,000. Rows are filled up to whole chunks.
    costs: Vec<Costs>,
}

/// Languages whose costs are added at once.
const LANES: usize = 16;
type Costs = [u8; LANES];

impl Group {
    fn language(&self, text: &str) -> &'static str {
        match self.chunks {
            1 => self.cheapest::<1>(text),
            2 => self.cheapest::<2>(text),
            3 => self.cheapest::<3>(text),
            _ => self.cheapest::<4>(text),
        }
    }

    /// The language whose trigrams cost least, of up to `CHUNKS` times [`LANES`].
    fn cheapest<const CHUNKS: usize>(&self, text: &str) -> &'static str {
        let mut sums = [[Sum::ZERO; 2]; CHUNKS];
        let mut known = 0;
        each_gram(text, |gram| {
            if let Some(row) = self.row(gram).and_then(<[Costs]>::first_chunk::<CHUNKS>) {
                known += 1;
                for ([low, high], costs) in sums.iter_mut().zip(row) {
                    let costs = u8x16::from(*costs);
                    *low += Sum::from_u8x16_low(costs);
                    *high += Sum::from_u8x16_high(costs);
                }
            }
        });
        if known < LEAST_GRAMS {
            return "";
        }
        let best = self
            .codes
            .iter()
            .zip(sums.as_flattened().iter().flat_map(|sums| sums.to_array()))
            .min_by_key(|(_, sum)| *sum);
        best.map_or("", |(code, _)| code)
    }

    fn row(&self, gram: u64) -> Option<&[Costs]> {
        let mask = self.places.len() - 1;
        let mut at = place(gram, mask);
        loop {
            let row = usize::from(*self.places.get(at)?).checked_sub(1)?;
            if self.grams.get(row) == Some(&gram) {
                return self.costs.get(row * self.chunks..(row + 1) * self.chunks);
            }
            at = (at + 1) & mask;
        }
    }
}

const fn place(gram: u64, mask: usize) -> usize {
    (gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask
}

/// Reads the table: groups of `script, languages, grams: u32, codes, grams: u64 each, a row of costs each`.
fn decode(mut rest: &'static [u8]) -> Option<Vec<Group>> {
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(6)?;
        let (width, count) = (usize::from(head[1]), u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize);
        let (codes, after) = after.split_at_checked(width * 2)?;
        let (grams, after) = after.split_at_checked(count * 8)?;
        let (costs, after) = after.split_at_checked(count * width)?;
        rest = after;
        let codes = codes.chunks_exact(2).map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
        let grams: Vec<u64> =
            grams.chunks_exact(8).filter_map(|gram| Some(u64::from_le_bytes(*gram.first_chunk()?))).collect();
        let places = places(&grams);
        let (chunks, costs) = padded(costs, width);
        groups.push(Group { script: head[0], codes, grams, places, chunks, costs });
    }
    Some(groups)
}

/// Rows of `width` costs in whole chunks, and how many of these a row has.
fn padded(costs: &[u8], width: usize) -> (usize, Vec<Costs>) {
    let chunks = costs.chunks_exact(width.max(1)).flat_map(|row| row.chunks(LANES)).map(|some| {
        let mut chunk = Costs::default();
        chunk[..some.len()].copy_from_slice(some);
        chunk
    });
    (width.div_ceil(LANES), chunks.collect())
}

fn places(grams: &[u64]) -> Vec<u16> {
    let mask = (grams.len() * 2).next_power_of_two() - 1;
    let mut places = vec![0; mask + 1];
    for (row, gram) in (1..=u16::MAX).zip(grams) {
        let mut at = place(*gram, mask);
        while places[at] != 0 {
            at = (at + 1) & mask;
        }
        places[at] = row;
    }
    places
}

/// Calls `take` with each trigram of lowered letters; a run of anything else is one space, and no trigram has it in its middle.
#[inline]
fn each_gram(text: &str, mut take: impl FnMut(u64)) {
    // A text begins as if a space stood before it; it ends with one.
    let mut window = SPACE;
    let mut left = MOST_GRAMS;
    for (at, byte) in text.bytes().chain([b' ']).enumerate() {
        let sign = match SIGNS[usize::from(byte)] {
            WITHIN => continue,
            BEGINS => sign_at(text, at),
            sign => u64::from(sign),
        };
        if sign == SPACE && window & LETTER == SPACE {
            continue;
        }
        window = (window << 21 | sign) & ((1 << 63) - 1);
        // No sign is 0: there are three once the highest place is taken.
        if window >> 42 != 0 && window >> 21 & LETTER != SPACE {
            take(window);
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }
}

const LETTER: u64 = (1 << 21) - 1;
const SPACE: u64 = b' ' as u64;
/// What each byte stands for: of ASCII a lowered letter or a space, of others that a letter begins there, or goes on.
static SIGNS: [u8; 256] = signs();
const WITHIN: u8 = 0;
const BEGINS: u8 = 1;

const fn signs() -> [u8; 256] {
    let mut signs = [b' '; 256];
    let mut at = 0;
    while at < signs.len() {
        let byte = at as u8;
        if byte.is_ascii_alphabetic() {
            signs[at] = byte.to_ascii_lowercase();
        } else if byte >= 0x80 {
            signs[at] = if byte < 0xc0 { WITHIN } else { BEGINS };
        }
        at += 1;
    }
    signs
}

/// The lowered letter beyond ASCII at a place, or a space.
fn sign_at(text: &str, at: usize) -> u64 {
    let letter = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or(' ');
    if letter.is_alphabetic() || is_mark(letter) { lowered(letter) } else { SPACE }
}

fn lowered(letter: char) -> u64 {
    letter.to_lowercase().next().map_or(0, |lower| u64::from(lower as u32))
}

/// Vowel signs of Devanagari, which belong to words and are no letters.
const fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}')
}

/// What the script of a text says.
enum Script {
    None,
    /// One language writes it, as far as we know.
    Of(&'static str),
    /// Several do: the number of a group.
    Shared(u8),
}

/// Scripts of one language each.
const OWN_SCRIPTS: [(u32, u32, &str); 13] = [
    (0x0370, 0x03ff, "el"),
    (0x0590, 0x05ff, "he"),
    (0x0e00, 0x0e7f, "th"),
    (0xac00, 0xd7af, "ko"),
    (0x10a0, 0x10ff, "ka"),
    (0x0530, 0x058f, "hy"),
    (0x0b80, 0x0bff, "ta"),
    (0x0c00, 0x0c7f, "te"),
    (0x0c80, 0x0cff, "kn"),
    (0x0d00, 0x0d7f, "ml"),
    (0x0a80, 0x0aff, "gu"),
    (0x0a00, 0x0a7f, "pa"),
    (0x0980, 0x09ff, "bn"),
];
const LATIN: u8 = 0;
const CYRILLIC: u8 = 1;
const ARABIC: u8 = 2;
const DEVANAGARI: u8 = 3;
/// Letters that are looked at to find the script.
const MOST_LETTERS: usize = 200;

/// Bytes of ASCII in which that many are found.
const MOST_ASCII: usize = 510;

fn script_of(text: &str) -> Script {
    ascii_script(text.as_bytes()).unwrap_or_else(|| mixed_script(text))
}

/// The script of a text whose letters are ASCII's as far as they are looked at.
fn ascii_script(text: &[u8]) -> Option<Script> {
    let head = &text[..text.len().min(MOST_ASCII)];
    // Sums of a byte each, so that sixteen are added at once.
    let of = |part: &[u8]| part.iter().map(|byte| u8::from(byte.is_ascii_alphabetic())).sum::<u8>();
    let letters: usize = head.chunks(u8::MAX.into()).map(|part| usize::from(of(part))).sum();
    let is_enough = letters >= MOST_LETTERS || head.len() == text.len();
    (is_enough && head.is_ascii()).then_some(if letters > 1 { Script::Shared(LATIN) } else { Script::None })
}

fn mixed_script(text: &str) -> Script {
    let mut shared = [0_usize; 4];
    let (mut han, mut kana) = (0, 0);
    let mut own = [0_usize; OWN_SCRIPTS.len()];
    for letter in text.chars().filter(|letter| letter.is_alphabetic()).take(MOST_LETTERS) {
        match letter as u32 {
            0..=0x024f | 0x1e00..=0x1eff => shared[LATIN as usize] += 1,
            0x0400..=0x052f => shared[CYRILLIC as usize] += 1,
            0x0600..=0x06ff | 0x0750..=0x077f => shared[ARABIC as usize] += 1,
            0x0900..=0x097f => shared[DEVANAGARI as usize] += 1,
            0x3040..=0x30ff => kana += 1,
            0x3400..=0x9fff => han += 1,
            other => {
                if let Some(at) = OWN_SCRIPTS.iter().position(|(low, high, _)| (*low..=*high).contains(&other)) {
                    own[at] += 1;
                }
            }
        }
    }
    // Japanese mixes kana into Han; a letter of these says about as much as two or three of an alphabet.
    let cjk = ((han + kana) * 5 / 2, Script::Of(if kana * 8 > han { "ja" } else { "zh" }));
    let alphabets = [LATIN, CYRILLIC, ARABIC, DEVANAGARI].map(|at| (shared[at as usize], Script::Shared(at)));
    let single = own.iter().zip(&OWN_SCRIPTS).map(|(count, (_, _, code))| (*count, Script::Of(code)));
    let most = alphabets.into_iter().chain(single).chain([cjk]).max_by_key(|(count, _)| *count);
    most.filter(|(count, _)| *count > 1).map_or(Script::None, |(_, script)| script)
}

#[cfg(test)]
mod tests {
    use super::{MODEL, language, languages};

    #[test]
    fn the_table_is_whole() {
        assert_eq!(MODEL.len(), 4);
        assert!(languages().len() > 40);
    }

    #[test]
    fn a_sentence_is_known_by_its_script_or_its_words() {
        for (text, code) in [
            ("Could you explain how photosynthesis works in simple words?", "en"),
            ("Könnten Sie mir bitte erklären, wie die Photosynthese funktioniert?", "de"),
            ("Pouvez-vous m'expliquer comment fonctionne la photosynthèse ?", "fr"),
            ("¿Podrías explicarme cómo funciona la fotosíntesis?", "es"),
            ("Не могли бы вы объяснить, как работает фотосинтез?", "ru"),
            ("你能解释一下光合作用是如何进行的吗", "zh"),
            ("光合成の仕組みを説明してください", "ja"),
            ("광합성이 어떻게 작동하는지 설명해 주세요", "ko"),
            ("12 + 30 = ?", ""),
        ] {
            assert_eq!(language(text), code, "{text}");
        }
    }
}

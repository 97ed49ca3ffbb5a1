//! Counts of a text's surface: lengths, shares of digits and marks, what is asked for. One pass, no memory.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Number of counts.
pub const SURFACE: usize = 16;

/// The counts of `text`, each about 0 to 10 by its nature; a model scales them by what it saw in training.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of a text")]
pub fn surface(text: &str) -> [f32; SURFACE] {
    let counts = Counts::of(text.as_bytes());
    let length = text.len().max(1) as f32;
    let words = counts.words.max(1) as f32;
    let share = |count: u32| count as f32 / length * 10.0;
    let log = |count: usize| (1.0 + count as f32).ln();
    let ends = Ends::of(text.as_bytes());
    let [which, following, arithmetic, negation] = &*SAYINGS;
    [
        log(text.len()),
        log(counts.words as usize),
        length / words / 6.0,
        share(counts.digits),
        share(counts.uppers),
        share(counts.maths),
        share(counts.codes),
        share(counts.marks),
        share(counts.others),
        log(counts.lines as usize),
        log(counts.questions as usize),
        log(counts.options as usize),
        ends.say(which),
        ends.say(following),
        ends.say(arithmetic),
        ends.say(negation),
    ]
}

/// How often each kind of byte stands in a text.
#[derive(Default)]
struct Counts {
    words: u32,
    digits: u32,
    uppers: u32,
    maths: u32,
    codes: u32,
    marks: u32,
    others: u32,
    lines: u32,
    questions: u32,
    options: u32,
}

/// Kinds that are counted, as bytes of one word: a byte of text costs one addition.
static KINDS: [u64; 256] = kinds();
const DIGITS: u32 = 0;
const UPPERS: u32 = 1;
const MATHS: u32 = 2;
const CODES: u32 = 3;
const QUESTIONS: u32 = 4;
const SPACES: u32 = 5;
const MARKS: u32 = 6;
const OTHERS: u32 = 7;
/// So many of a kind fit a byte.
const MOST: usize = 255;

const fn kinds() -> [u64; 256] {
    let mut kinds = [0; 256];
    let mut at = 0;
    while at < kinds.len() {
        let kind = match at as u8 {
            b'0'..=b'9' => DIGITS,
            b'A'..=b'Z' => UPPERS,
            b'=' | b'+' | b'*' | b'/' | b'<' | b'>' | b'^' => MATHS,
            b'{' | b'}' | b'[' | b']' | b'\\' | b'$' | b'_' | b'`' | b'#' => CODES,
            b'?' => QUESTIONS,
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' => SPACES,
            b'.' | b',' | b';' | b':' | b'(' | b')' | b'"' | b'\'' | b'-' => MARKS,
            0x80.. => OTHERS,
            _ => {
                at += 1;
                continue;
            }
        };
        kinds[at] = 1 << (8 * kind);
        at += 1;
    }
    kinds
}

impl Counts {
    fn of(text: &[u8]) -> Self {
        let mut counts = Self::default();
        let mut before = 1_u64;
        for part in text.chunks(MOST) {
            let mut sum = 0;
            for &byte in part {
                let kind = KINDS[usize::from(byte)];
                sum += kind;
                // A word begins where space stood before and stands no more.
                let is_space = kind >> (8 * SPACES) & 1;
                counts.words += u32::from(before > is_space);
                before = is_space;
            }
            counts.add(sum);
        }
        counts.lines(text);
        counts
    }

    fn add(&mut self, sum: u64) {
        let of = |kind: u32| u32::from(sum.to_le_bytes()[kind as usize]);
        self.digits += of(DIGITS);
        self.uppers += of(UPPERS);
        self.maths += of(MATHS);
        self.codes += of(CODES);
        self.questions += of(QUESTIONS);
        self.marks += of(MARKS);
        self.others += of(OTHERS);
    }

    fn lines(&mut self, text: &[u8]) {
        for end in memchr::memchr_iter(b'\n', text) {
            self.lines += 1;
            // `A. ` at the start of a line: an option to choose.
            self.options += u32::from(matches!(text[end + 1..], [b'A'..=b'Z', b'.', ..]));
        }
    }
}

/// The first and last few kilobytes of a text, lowered.
struct Ends {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Ends {
    fn of(bytes: &[u8]) -> Self {
        const LOOKED_AT: usize = 4096;
        let head = &bytes[..bytes.len().min(LOOKED_AT)];
        let tail = &bytes[bytes.len().saturating_sub(LOOKED_AT).max(head.len())..];
        Self { head: head.to_ascii_lowercase(), tail: tail.to_ascii_lowercase() }
    }

    /// Whether one of them holds one of the lowercase words that say `what`.
    fn say(&self, what: &[Finder<'_>]) -> f32 {
        let is_there = |part: &Vec<u8>| !part.is_empty() && what.iter().any(|word| word.find(part).is_some());
        f32::from([&self.head, &self.tail].into_iter().any(is_there))
    }
}

/// Words that are sought, made ready once: which of several, what follows, arithmetic, a negation.
static SAYINGS: LazyLock<[Vec<Finder<'static>>; 4]> = LazyLock::new(|| {
    let words: [&[&str]; 4] = [
        &["which"],
        &["following"],
        &["how many", "calculate", "find the", "compute", "solve"],
        &["not ", "except", "false"],
    ];
    words.map(|words| words.iter().map(|word| Finder::new(*word)).collect())
});

#[cfg(test)]
mod tests {
    use super::surface;

    #[test]
    fn it_tells_a_choice_among_options_from_a_chat() {
        let choice = surface("Which of the following is NOT a prime?\nA. 2\nB. 4\nC. 5\n");
        let chat = surface("hello there");

        assert!(choice[11] > 1.0 && choice[12] > 0.5 && choice[15] > 0.5);
        assert!(chat[11] == 0.0 && chat[12] == 0.0);
    }

    #[test]
    fn an_empty_text_has_finite_counts() {
        assert!(surface("").iter().all(|count| count.is_finite()));
    }
}

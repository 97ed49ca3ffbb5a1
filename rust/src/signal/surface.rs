//! Counts of a text's surface: lengths, shares of digits and marks, what is asked for. One pass, no memory.

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
    let has = |any: &[&str]| f32::from(any.iter().any(|word| ends.contain(word)));
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
        has(&["which"]),
        has(&["following"]),
        has(&["how many", "calculate", "find the", "compute", "solve"]),
        has(&["not ", "except", "false"]),
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

impl Counts {
    fn of(text: &[u8]) -> Self {
        let mut counts = Self::default();
        let mut before = b' ';
        for (at, &byte) in text.iter().enumerate() {
            counts.add(byte);
            counts.words += u32::from(before.is_ascii_whitespace() && !byte.is_ascii_whitespace());
            // `A. ` at the start of a line: an option to choose.
            let is_option = before == b'\n' && byte.is_ascii_uppercase() && text.get(at + 1) == Some(&b'.');
            counts.options += u32::from(is_option);
            before = byte;
        }
        counts
    }

    const fn add(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' => self.digits += 1,
            b'A'..=b'Z' => self.uppers += 1,
            b'=' | b'+' | b'*' | b'/' | b'<' | b'>' | b'^' => self.maths += 1,
            b'{' | b'}' | b'[' | b']' | b'\\' | b'$' | b'_' | b'`' | b'#' => self.codes += 1,
            b'?' => self.questions += 1,
            b'\n' => self.lines += 1,
            b'.' | b',' | b';' | b':' | b'(' | b')' | b'"' | b'\'' | b'-' => self.marks += 1,
            0x80.. => self.others += 1,
            _ => {}
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

    /// Whether one of them holds the lowercase ASCII `word`.
    fn contain(&self, word: &str) -> bool {
        [&self.head, &self.tail].into_iter().any(|part| memchr::memmem::find(part, word.as_bytes()).is_some())
    }
}

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

//! What a text looks like: how much of it is code, mathematics or JSON, and what kind of question it is.

/// Kinds of questions, the names of the configuration. English only: other languages are `other`, unless a mark says more.
pub const QUESTIONS: [&str; 9] = ["what", "why", "how", "when", "where", "who", "which", "yes_no", "instruction"];

/// Text beyond this many bytes is not looked at.
const MOST_BYTES: usize = 16 * 1024;

/// Shares of a text, each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// Bytes in lines that read like a program's, or between fences.
    pub code: f32,
    /// Digits, operators and commands of TeX among all bytes but spaces.
    pub math: f32,
    /// Bytes in lines of JSON.
    pub json: f32,
}

/// What each byte says, as parts of one word that are added up together.
static CLASSES: [u64; 256] = classes();
/// Counts of up to [`MOST_BYTES`] fit.
const PART: u32 = 20;
const SIGN: u64 = 1;
const MATH: u64 = SIGN << PART;
const MARK: u64 = MATH << PART;

const fn classes() -> [u64; 256] {
    let mut classes = [SIGN; 256];
    set(&mut classes, b" \t\r\n\x0b\x0c", 0);
    set(&mut classes, b"0123456789+*/^\\$%", SIGN | MATH);
    set(&mut classes, b"=<>", SIGN | MATH | MARK);
    set(&mut classes, b"(){}[];_:#@\"'", SIGN | MARK);
    classes
}

const fn set(classes: &mut [u64; 256], bytes: &[u8], class: u64) {
    let mut at = 0;
    while at < bytes.len() {
        classes[bytes[at] as usize] = class;
        at += 1;
    }
}

/// The shape of a text.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "lengths of a text")]
pub fn shape(text: &str) -> Shape {
    let text = &text.as_bytes()[..text.len().min(MOST_BYTES)];
    let (mut code, mut json, mut all, mut counts) = (0, 0, 0_usize, 0_u64);
    let mut is_fenced = false;
    let mut rest = Some(text);
    while let Some(from) = rest {
        let end = memchr::memchr(b'\n', from);
        rest = end.map(|end| &from[end + 1..]);
        let line = from[..end.unwrap_or(from.len())].trim_ascii();
        all += line.len();
        let of_line: u64 = line.iter().map(|byte| CLASSES[usize::from(*byte)]).sum();
        counts += of_line;
        let marks = (of_line / MARK) as usize;
        if line.starts_with(b"```") {
            is_fenced = !is_fenced;
            code += line.len();
        } else if marks > 0 && is_json(line) {
            json += line.len();
            code += if is_fenced { line.len() } else { 0 };
        } else if is_fenced || marks > 0 && is_code(line, marks) {
            code += line.len();
        }
    }
    let count = |class: u64| ((counts / class) & (MATH - 1)) as usize;
    let share = |part: usize, all: usize| part as f32 / all.max(1) as f32;
    Shape { code: share(code, all), math: share(count(MATH), count(SIGN)), json: share(json, all) }
}

fn is_json(line: &[u8]) -> bool {
    let opens = matches!(line.first(), Some(b'{' | b'[' | b'"'));
    opens && [b"\":".as_slice(), b"\" :"].iter().any(|end| memchr::memmem::find(line, end).is_some())
}

/// Whether a line with `marks` of a program reads like one.
fn is_code(line: &[u8], marks: usize) -> bool {
    const STARTS: [&[u8]; 22] = [
        b"def ",
        b"class ",
        b"import ",
        b"from ",
        b"return ",
        b"return;",
        b"fn ",
        b"let ",
        b"const ",
        b"var ",
        b"public ",
        b"private ",
        b"#include",
        b"using ",
        b"func ",
        b"package ",
        b"SELECT ",
        b"INSERT ",
        b"</",
        b"//",
        b"/*",
        b"@",
    ];
    let last = line.last().copied().unwrap_or_default();
    let ends =
        matches!(last, b'{' | b'}' | b';') || [b"):".as_slice(), b"=>", b"()"].iter().any(|end| line.ends_with(end));
    // Prose begins with such words as well, but has few marks.
    let starts = || STARTS.iter().any(|start| line.starts_with(start));
    let assigns = || marks * 12 > line.len() && memchr::memchr(b'=', line).is_some();
    ends || assigns() || starts()
}

/// The kind of a question, as a place in [`QUESTIONS`]; none if it is something else.
#[must_use]
pub fn question(text: &str) -> Option<usize> {
    // The question stands at the end, or begins the text.
    let asked = text.rfind('?').map(|end| sentence(&text[..end]));
    asked.and_then(of_words).or_else(|| of_words(text.trim_start()))
}

/// What follows the last end of a sentence.
fn sentence(text: &str) -> &str {
    let start = text.rfind(['.', '!', '?', '\n', ':']).map_or(0, |at| at + 1);
    text[start..].trim_start()
}

/// First words of questions that yes or no answers.
const YES_NO_WORDS: [&str; 16] = [
    "is", "are", "was", "were", "do", "does", "did", "can", "could", "will", "would", "should", "has", "have", "may",
    "must",
];
/// First words of instructions.
const INSTRUCTIONS: [&str; 33] = [
    "write",
    "explain",
    "summarize",
    "summarise",
    "translate",
    "give",
    "list",
    "describe",
    "create",
    "generate",
    "make",
    "tell",
    "find",
    "compute",
    "calculate",
    "solve",
    "compare",
    "fix",
    "rewrite",
    "convert",
    "classify",
    "extract",
    "show",
    "draft",
    "implement",
    "please",
    "help",
    "act",
    "suggest",
    "analyze",
    "review",
    "name",
    "prove",
];
const WHO: usize = 5;
const YES_NO: usize = 7;
const INSTRUCTION: usize = 8;

fn of_words(text: &str) -> Option<usize> {
    let word = text.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    let is = |any: &[&str]| any.iter().any(|one| word.eq_ignore_ascii_case(one));
    let named = QUESTIONS[..YES_NO].iter().position(|name| word.eq_ignore_ascii_case(name));
    let who = || is(&["whose", "whom"]).then_some(WHO);
    let yes_no = || is(&YES_NO_WORDS).then_some(YES_NO);
    named.or_else(who).or_else(yes_no).or_else(|| is(&INSTRUCTIONS).then_some(INSTRUCTION))
}

#[cfg(test)]
mod tests {
    use super::{QUESTIONS, question, shape};

    #[test]
    fn code_mathematics_and_json_are_told_from_prose() {
        let prose =
            shape("Please tell me about the history of Rome, from its founding to its fall.\nI like long answers.");
        let code = shape("Why does this fail?\n```python\nfor i in range(10):\n    print(i)\n```");
        let bare = shape("int main() {\n  int x = 3;\n  return x;\n}");
        let math = shape("Solve 3x^2 + 5x - 2 = 0 and $\\frac{1}{2} + 7$");
        let json = shape("{\"name\": \"x\", \"n\": 3}");

        assert!(prose.code < 0.1 && prose.math < 0.1 && prose.json == 0.0, "{prose:?}");
        assert!(code.code > 0.5 && bare.code > 0.9 && math.math > 0.3 && json.json > 0.9);
    }

    #[test]
    fn the_kind_of_a_question_is_its_first_word() {
        for (text, kind) in [
            ("Why is the sky blue?", "why"),
            ("I have a cat. How old can it get?", "how"),
            ("Is Pluto a planet?", "yes_no"),
            ("Write a poem about rain", "instruction"),
            ("Here is a text:\nblah blah.\nWhat is it about?", "what"),
        ] {
            assert_eq!(question(text).map(|at| QUESTIONS[at]), Some(kind), "{text}");
        }
        assert_eq!(question("hello there"), None);
    }
}

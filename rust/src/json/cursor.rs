//! A validating pull cursor over JSON text.
//!
//! The caller asks for the next key, item or string, or skips a value whole; what is skipped is validated as strictly as
//! what is read. Long strings are searched by vectors (`specials`), so that a prompt of many kilobytes costs about as much as
//! copying it; UTF-8 is checked once, up front, by `simdutf8`.
//!
//! Invariant: `at` never passes the end, and nothing indexes with a number that came from the text.

use super::{JsonError, Span, specials::Specials, text::Text};

/// Deepest nesting of arrays and objects that is taken (CONTRACT 3). It also bounds the stack of a recursive reader.
pub const MAX_DEPTH: u32 = 128;

/// A place in JSON text.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// Containers that the caller has opened and not yet closed.
    depth: u32,
}

/// Words of eight bytes in which a short string is expected to end.
const SHORT_WORDS: u32 = 4;

type Result<T> = std::result::Result<T, JsonError>;

impl<'a> Cursor<'a> {
    /// A cursor before the first byte of `text`.
    ///
    /// # Errors
    /// When `text` is not UTF-8.
    pub fn new(text: &'a [u8]) -> Result<Self> {
        match simdutf8::basic::from_utf8(text) {
            Ok(_) => Ok(Self { text, at: 0, depth: 0 }),
            Err(_) => Err(JsonError { at: utf8_fault(text), what: "is not UTF-8" }),
        }
    }

    /// The whole text.
    #[must_use]
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Offset of the next byte.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Skips white space and shows the first byte of the next token.
    ///
    /// # Errors
    /// At the end of the text.
    #[inline]
    pub fn peek(&mut self) -> Result<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(self.fault("ends too early"))
    }

    /// Reads the string under the cursor.
    ///
    /// # Errors
    /// When the next value is not a string, or not a valid one.
    #[inline]
    pub fn string(&mut self) -> Result<Text> {
        if self.peek()? != b'"' {
            return Err(self.fault("is not a string"));
        }
        self.string_body()
    }

    /// Steps into the object or array under the cursor, whose first byte the caller has seen.
    ///
    /// # Errors
    /// When that would be deeper than [`MAX_DEPTH`].
    pub fn open(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return Err(self.fault("is nested too deep"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// The next key of the open object, past its colon; `None` when the object ended (it is closed then).
    ///
    /// # Errors
    /// When the text is not JSON there.
    #[inline]
    pub fn key(&mut self, first: bool) -> Result<Option<Text>> {
        if !self.more(first, b'}')? {
            return Ok(None);
        }
        self.key_and_colon().map(Some)
    }

    /// Whether the open array has another item, which is under the cursor then; else the array is closed.
    ///
    /// # Errors
    /// When the text is not JSON there.
    #[inline]
    pub fn item(&mut self, first: bool) -> Result<bool> {
        self.more(first, b']')
    }

    /// Passes over the next value, whatever it is.
    ///
    /// # Errors
    /// When it is not valid.
    #[inline]
    pub fn skip(&mut self) -> Result<Span> {
        let first = self.peek()?;
        let start = self.at;
        if matches!(first, b'{' | b'[') {
            self.skip_container()?;
        } else {
            self.scalar(first)?;
        }
        Ok(Span { start, end: self.at })
    }

    /// Checks that nothing but white space follows.
    ///
    /// # Errors
    /// When something does.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            Ok(_) => Err(self.fault("follows the end of the JSON text")),
            Err(_) => Ok(()),
        }
    }

    /// An error at the cursor.
    #[must_use]
    pub const fn fault(&self, what: &'static str) -> JsonError {
        JsonError { at: self.at, what }
    }

    #[inline]
    fn more(&mut self, first: bool, close: u8) -> Result<bool> {
        let byte = self.peek()?;
        if byte == close {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if first {
            return Ok(true);
        }
        if byte != b',' {
            return Err(self.fault("is not a comma or the end of the container"));
        }
        self.at += 1;
        if self.peek()? == close {
            return Err(self.fault("follows a comma"));
        }
        Ok(true)
    }

    #[inline]
    fn key_and_colon(&mut self) -> Result<Text> {
        let key = self.string()?;
        if self.peek()? != b':' {
            return Err(self.fault("is not a colon"));
        }
        self.at += 1;
        Ok(key)
    }

    /// The container under the cursor, without recursion: one bit per level says whether it is an object.
    fn skip_container(&mut self) -> Result<()> {
        let mut objects: u128 = 0;
        let floor = self.depth;
        loop {
            let byte = self.peek()?;
            if matches!(byte, b'{' | b'[') {
                self.open()?;
                objects = objects << 1 | u128::from(byte == b'{');
                if self.enters(objects)? {
                    continue;
                }
                objects >>= 1;
            } else {
                self.scalar(byte)?;
            }
            while self.depth > floor && !self.continues(objects)? {
                objects >>= 1;
            }
            if self.depth == floor {
                return Ok(());
            }
        }
    }

    /// Whether the container just opened has a first value, which is under the cursor then.
    #[inline]
    fn enters(&mut self, objects: u128) -> Result<bool> {
        if objects & 1 == 1 { Ok(self.key(true)?.is_some()) } else { self.item(true) }
    }

    /// Whether the innermost container has a further value, which is under the cursor then.
    #[inline]
    fn continues(&mut self, objects: u128) -> Result<bool> {
        if objects & 1 == 1 { Ok(self.key(false)?.is_some()) } else { self.item(false) }
    }

    #[inline]
    fn scalar(&mut self, first: u8) -> Result<()> {
        match first {
            b'"' => self.string_body().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => Err(self.fault("is not a value")),
        }
    }

    fn word(&mut self, word: &'static [u8]) -> Result<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fault("is not a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("is not a digit")) } else { Ok(()) }
    }

    /// The string whose opening quote is under the cursor.
    #[inline]
    fn string_body(&mut self) -> Result<Text> {
        self.at += 1;
        let start = self.at;
        match short_run(self.text, start) {
            Some(at) if self.text[at] == b'"' => {
                self.at = at + 1;
                Ok(Text { span: Span { start, end: at }, escaped: false })
            }
            _ => self.prose(start),
        }
    }

    /// A string that is long or has escapes.
    fn prose(&mut self, start: usize) -> Result<Text> {
        let mut specials = Specials::new(self.text, start);
        let mut escaped = false;
        loop {
            self.at = specials.next(self.at);
            match self.text.get(self.at) {
                Some(b'"') => {
                    let span = Span { start, end: self.at };
                    self.at += 1;
                    return Ok(Text { span, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("is a control character in a string")),
                None => return Err(self.fault("ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.text.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|four| four.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.fault("is not a valid escape"));
                }
                self.at += 6;
            }
            _ => return Err(self.fault("is not a valid escape")),
        }
        Ok(())
    }
}

/// Offset of the first byte at or after `at` that ends a plain run in a string (a quote, a backslash or a control), if it is near: most
/// strings of a request are keys and small values, and need no call.
#[inline]
fn short_run(text: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..SHORT_WORDS {
        let word = text[at..].first_chunk::<8>()?;
        let hits = special_bytes(u64::from_le_bytes(*word));
        if hits != 0 {
            return Some(at + (hits.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    None
}

/// High bit of each byte that is special; exact up to and including the lowest such byte (Mycroft's zero-byte test).
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let slash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote.wrapping_sub(ONES) & !quote | slash.wrapping_sub(ONES) & !slash | control) & HIGHS
}

#[cold]
fn utf8_fault(text: &[u8]) -> usize {
    std::str::from_utf8(text).err().map_or(0, |error| error.valid_up_to())
}

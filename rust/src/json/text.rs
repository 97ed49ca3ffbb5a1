//! JSON strings as they stand in the text: compared and decoded only when somebody asks.

use std::borrow::Cow;

use super::Span;

/// A string in JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// What is between the quotes.
    pub span: Span,
    /// Whether it has escapes, so that its bytes are not its value.
    pub escaped: bool,
}

impl Text {
    /// The value, in UTF-8; `None` when an escape names half of a surrogate pair, which no UTF-8 text can hold.
    #[must_use]
    pub fn decode<'a>(&self, text: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let raw = self.span.of(text);
        if self.escaped { unescape(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
    }

    /// The span with the quotes.
    #[must_use]
    pub const fn quoted(&self) -> Span {
        Span { start: self.span.start - 1, end: self.span.end + 1 }
    }
}

/// The value of a validated string's inside.
#[cold]
fn unescape(raw: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(slash) = memchr::memchr(b'\\', rest) {
        value.extend_from_slice(&rest[..slash]);
        let (kind, after) = rest.get(slash + 1..)?.split_first()?;
        rest = after;
        match kind {
            b'u' => {
                let (letter, after) = code_point(rest)?;
                value.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            b'b' => value.push(8),
            b'f' => value.push(12),
            b'n' => value.push(b'\n'),
            b'r' => value.push(b'\r'),
            b't' => value.push(b'\t'),
            &other => value.push(other),
        }
    }
    value.extend_from_slice(rest);
    Some(value)
}

/// The character that one `\u` escape, or a pair of them, names; `rest` begins after the first `\u`.
fn code_point(rest: &[u8]) -> Option<(char, &[u8])> {
    let (high, rest) = hex4(rest)?;
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high).map(|letter| (letter, rest));
    }
    let (low, rest) = hex4(rest.strip_prefix(b"\\u")?)?;
    if !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).map(|letter| (letter, rest))
}

fn hex4(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (four, rest) = rest.split_first_chunk::<4>()?;
    let digits = std::str::from_utf8(four).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// The number by which requests of one user or one conversation find the same endpoint. Never 0, which means "none".
///
/// FNV-1a, finished by the mixer of `MurmurHash3` (Appleby 2011) because a ring reads the high bits, which FNV moves least.
/// Not secret and not a MAC: who chooses the value may choose the endpoint, nothing else.
#[must_use]
pub fn affinity(value: &[u8]) -> u64 {
    let folded = value
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (folded ^ folded >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed ^ mixed >> 33).max(1)
}

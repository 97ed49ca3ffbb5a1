//! Where a JSON string's plain runs end: the next quote, backslash or control character.
//!
//! Prose in JSON has an escape every few dozen bytes, so a search that starts anew behind each one pays its start each time. Here a block of
//! 32 bytes is compared once (by SSE2, NEON or plain words, as `wide` finds the machine) and all that it holds is handed out from a mask.

use wide::u8x16;

const BLOCK: usize = 32;
const HALF: usize = BLOCK / 2;
/// Pads what is shorter than a block: not special.
const PAD: u8 = b' ';

/// A search through one string, forwards only.
pub(super) struct Specials<'a> {
    text: &'a [u8],
    /// Offset of the block that `mask` tells of.
    base: usize,
    /// A bit for each special byte of the block.
    mask: u32,
}

impl<'a> Specials<'a> {
    /// Begins at an offset.
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, base: at, mask: mask_at(text, at) }
    }

    /// Offset of the first special byte at or after `at`, which never goes back; the length of the text if there is none.
    #[inline]
    pub(super) fn next(&mut self, at: usize) -> usize {
        let passed = at - self.base;
        if passed < BLOCK {
            self.mask &= u32::MAX << passed;
        } else {
            self.load(at);
        }
        while self.mask == 0 {
            if self.base + BLOCK >= self.text.len() {
                return self.text.len();
            }
            self.load(self.base + BLOCK);
        }
        self.base + self.mask.trailing_zeros() as usize
    }

    #[inline]
    fn load(&mut self, at: usize) {
        self.base = at;
        self.mask = mask_at(self.text, at);
    }
}

#[inline]
fn mask_at(text: &[u8], at: usize) -> u32 {
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk::<BLOCK>() {
        Some(block) => mask_of(block),
        None => mask_of(&padded(rest)),
    }
}

fn padded(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [PAD; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block
}

#[inline]
fn mask_of(block: &[u8; BLOCK]) -> u32 {
    let (low, high) = block.split_at(HALF);
    half_mask(low) | half_mask(high) << HALF
}

#[inline]
#[expect(clippy::cast_sign_loss, reason = "sixteen bits")]
fn half_mask(half: &[u8]) -> u32 {
    let mut bytes = [0; HALF];
    bytes.copy_from_slice(half);
    let bytes = u8x16::new(bytes);
    // The least of a byte and 0x1f is the byte itself for controls only.
    let control = bytes.min(u8x16::splat(0x1f)).cmp_eq(bytes);
    let special = control | bytes.cmp_eq(u8x16::splat(b'"')) | bytes.cmp_eq(u8x16::splat(b'\\'));
    special.move_mask() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Specials;

    fn is_special(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    proptest! {
        #[test]
        fn it_finds_what_a_look_at_each_byte_finds(
            text in prop::collection::vec(prop_oneof![8 => 0x20u8..=0xff, 1 => 0u8..0x20, 1 => Just(b'"'), 1 => Just(b'\\')], 0..200),
            start in 0usize..200,
            jumps in prop::collection::vec(1usize..80, 0..40),
        ) {
            let start = start.min(text.len());
            let mut specials = Specials::new(&text, start);
            let mut at = start;
            for jump in jumps {
                let expected = text[at..].iter().position(|byte| is_special(*byte)).map_or(text.len(), |place| at + place);
                prop_assert_eq!(specials.next(at), expected);
                at = (expected + jump).min(text.len());
            }
        }
    }
}

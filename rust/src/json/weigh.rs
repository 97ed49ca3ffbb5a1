//! How much text a prompt holds: the bytes of its strings, without those that are images, files or names of things.

use super::{Cursor, JsonError, Text, flag};

/// Bytes that a token id counts for, in a prompt that is given as numbers: about what a token of English text takes.
const BYTES_PER_TOKEN: u64 = 4;

/// What was found in a prompt.
#[derive(Default)]
pub(super) struct Weight {
    /// Bytes of text.
    pub bytes: u64,
    /// Bits of [`flag`].
    pub flags: u32,
}

/// What the value under a key is.
enum Part {
    Text,
    Kind,
    Media(u32),
    Other,
}

fn part(key: &[u8]) -> Part {
    match key {
        b"content" | b"text" | b"input" | b"output" | b"arguments" | b"thinking" | b"reasoning_content" => Part::Text,
        b"type" => Part::Kind,
        b"image_url" => Part::Media(flag::HAS_IMAGES),
        b"input_audio" => Part::Media(flag::HAS_AUDIO),
        b"file_data" => Part::Media(flag::HAS_FILES),
        _ => Part::Other,
    }
}

/// Content parts that are not text, by their `type`.
fn media(kind: &[u8]) -> u32 {
    match kind {
        b"image" | b"image_url" | b"input_image" => flag::HAS_IMAGES,
        b"input_audio" => flag::HAS_AUDIO,
        b"file" | b"input_file" | b"document" => flag::HAS_FILES,
        _ => 0,
    }
}

impl Weight {
    /// Adds the value under the cursor. `counts`: whether its bare strings and numbers are text; inside an object the keys say.
    ///
    /// Recursion ends at the cursor's greatest depth.
    pub(super) fn add(&mut self, cursor: &mut Cursor<'_>, counts: bool) -> Result<(), JsonError> {
        match cursor.peek()? {
            b'"' => {
                let length = cursor.string()?.span.len() as u64;
                self.bytes += if counts { length } else { 0 };
            }
            b'[' => self.add_items(cursor, counts)?,
            b'{' => self.add_members(cursor)?,
            _ => drop(cursor.skip()?),
        }
        Ok(())
    }

    fn add_items(&mut self, cursor: &mut Cursor<'_>, counts: bool) -> Result<(), JsonError> {
        cursor.open()?;
        let mut first = true;
        while cursor.item(first)? {
            first = false;
            if counts && cursor.peek()?.is_ascii_digit() {
                self.bytes += BYTES_PER_TOKEN;
            }
            self.add(cursor, counts)?;
        }
        Ok(())
    }

    fn add_members(&mut self, cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
        cursor.open()?;
        let mut first = true;
        while let Some(key) = cursor.key(first)? {
            first = false;
            match key.decode(cursor.text()).as_deref().map_or(Part::Other, part) {
                Part::Text => self.add(cursor, true)?,
                Part::Other => self.add(cursor, false)?,
                Part::Kind => self.kind(cursor)?,
                Part::Media(bit) => {
                    self.flags |= bit;
                    cursor.skip()?;
                }
            }
        }
        Ok(())
    }

    fn kind(&mut self, cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
        if cursor.peek()? != b'"' {
            return cursor.skip().map(drop);
        }
        let kind: Text = cursor.string()?;
        self.flags |= kind.decode(cursor.text()).as_deref().map_or(0, media);
        Ok(())
    }
}

//! What a request's body asks: the text of its last question, what else is in it, how often the turn changed.
//!
//! One walk over JSON that was validated before, for the bodies of all dialects: messages stand under `messages`, `contents`, `input` or
//! `prompt`, their text under `content`, `parts` or `text`. What cannot be read as text (half a surrogate pair, an unknown form) is said by
//! [`Prompt::is_read`], so that a rule about privacy can fail closed.

use crate::json::{Cursor, JsonError, Text};

/// Kinds of content, as bits of [`Prompt::modality`] and as names of the configuration.
pub const MODALITIES: [&str; 5] = ["text", "image", "audio", "video", "file"];

const TEXT: u8 = 1;
const IMAGE: u8 = 1 << 1;
const AUDIO: u8 = 1 << 2;
const VIDEO: u8 = 1 << 3;
const FILE: u8 = 1 << 4;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts of a body")]
pub struct Prompt {
    /// Text of the last turn of the user.
    pub question: String,
    /// Every string of the body, one a line; empty unless it was asked for.
    pub everything: String,
    /// Turns of user and model.
    pub turns: u32,
    /// Bytes of text, the instructions and all turns together.
    pub bytes: u64,
    /// Bits, in the order of [`MODALITIES`].
    pub modality: u8,
    /// Whether tools are offered.
    pub has_tools: bool,
    /// Whether a form of the answer is demanded.
    pub wants_json: bool,
    /// Text and numbers under `metadata`, by name.
    pub metadata: Vec<(String, String)>,
    /// Whether a prompt was found and all its text could be read.
    pub is_read: bool,
    /// Keep every string.
    keeps: bool,
    /// Text of the turn that is being read.
    turn: String,
}

type Result<T> = std::result::Result<T, JsonError>;

impl Prompt {
    /// Reads a body; `everything`: keep all its strings.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn read(body: &[u8], everything: bool) -> Result<Self> {
        let mut prompt = Self { keeps: everything, is_read: true, ..Self::default() };
        let mut cursor = Cursor::new(body)?;
        let mut found = false;
        if cursor.peek()? == b'{' {
            cursor.open()?;
            let mut first = true;
            while let Some(key) = cursor.key(first)? {
                first = false;
                found |= prompt.member(&mut cursor, key)?;
            }
        }
        prompt.is_read &= found;
        if prompt.bytes > 0 || prompt.modality == 0 {
            prompt.modality |= TEXT;
        }
        Ok(prompt)
    }

    /// Reads a member of the body. Returns whether it is the prompt.
    fn member(&mut self, cursor: &mut Cursor<'_>, key: Text) -> Result<bool> {
        let name = key.decode(cursor.text());
        match name.as_deref().unwrap_or_default() {
            b"messages" | b"contents" | b"input" | b"prompt" | b"content" | b"query" | b"requests" => {
                self.turns(cursor)?;
                return Ok(true);
            }
            b"system" | b"instructions" | b"systemInstruction" | b"system_instruction" | b"documents" => {
                self.gather(cursor, true)?;
                self.turn.clear();
            }
            b"tools" | b"functions" => {
                let before = cursor.position();
                self.gather(cursor, false)?;
                // `[]` and `null` are the short ways to say none.
                self.has_tools |= cursor.position() - before > 5;
                self.turn.clear();
            }
            b"response_format" => {
                self.wants_json = cursor.peek()? == b'{';
                self.rest(cursor)?;
            }
            b"metadata" => self.metadata(cursor)?,
            b"model" => drop(cursor.skip()?),
            _ => self.rest(cursor)?,
        }
        Ok(false)
    }

    /// What says nothing about the question, but may hold personal data.
    fn rest(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if !self.keeps {
            return cursor.skip().map(drop);
        }
        self.gather(cursor, false)?;
        self.turn.clear();
        Ok(())
    }

    /// One turn, or a list of them.
    fn turns(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if cursor.peek()? != b'[' {
            return self.turn(cursor);
        }
        cursor.open()?;
        let mut first = true;
        while cursor.item(first)? {
            first = false;
            self.turn(cursor)?;
        }
        Ok(())
    }

    fn turn(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.turn.clear();
        let is_question = if cursor.peek()? == b'{' {
            self.message(cursor)?
        } else {
            self.gather(cursor, true)?;
            true
        };
        if is_question && !self.turn.is_empty() {
            std::mem::swap(&mut self.question, &mut self.turn);
        }
        Ok(())
    }

    /// Reads a message; returns whether the user speaks.
    fn message(&mut self, cursor: &mut Cursor<'_>) -> Result<bool> {
        cursor.open()?;
        let mut first = true;
        let mut speaker = Speaker::Nobody;
        while let Some(key) = cursor.key(first)? {
            first = false;
            let name = key.decode(cursor.text());
            let name = name.as_deref().unwrap_or_default();
            if name == b"role" && cursor.peek()? == b'"' {
                speaker = Speaker::of(cursor.string()?.decode(cursor.text()).as_deref().unwrap_or_default());
            } else {
                self.part(cursor, name, false)?;
            }
        }
        self.turns += u32::from(matches!(speaker, Speaker::User | Speaker::Model));
        // A thing without a speaker and with text of its own is an input, such as a text to embed.
        Ok(matches!(speaker, Speaker::User | Speaker::Nobody))
    }

    /// Text under the cursor, as deep as it goes; `counts`: whether a bare string is text.
    fn gather(&mut self, cursor: &mut Cursor<'_>, counts: bool) -> Result<()> {
        match cursor.peek()? {
            b'"' => {
                let text = cursor.string()?;
                self.string(text, cursor.text(), counts);
            }
            b'[' => {
                cursor.open()?;
                let mut first = true;
                while cursor.item(first)? {
                    first = false;
                    self.gather(cursor, counts)?;
                }
            }
            b'{' => {
                cursor.open()?;
                let mut first = true;
                while let Some(key) = cursor.key(first)? {
                    first = false;
                    let name = key.decode(cursor.text());
                    self.part(cursor, name.as_deref().unwrap_or_default(), counts)?;
                }
            }
            _ => drop(cursor.skip()?),
        }
        Ok(())
    }

    /// The value of a member of a message or of a part of it.
    fn part(&mut self, cursor: &mut Cursor<'_>, name: &[u8], counts: bool) -> Result<()> {
        match name {
            b"content" | b"text" | b"parts" | b"input" | b"output" | b"arguments" | b"thinking" => {
                self.gather(cursor, true)?;
            }
            b"type" if cursor.peek()? == b'"' => {
                let kind = cursor.string()?.decode(cursor.text());
                self.modality |= kind.as_deref().map_or(0, of_type);
            }
            b"mimeType" | b"mime_type" | b"media_type" if cursor.peek()? == b'"' => {
                let kind = cursor.string()?.decode(cursor.text());
                self.modality |= kind.as_deref().map_or(0, of_mime);
            }
            b"image_url" => self.media(cursor, IMAGE)?,
            b"input_audio" => self.media(cursor, AUDIO)?,
            b"video_url" => self.media(cursor, VIDEO)?,
            b"file_data" | b"fileData" => self.media(cursor, FILE)?,
            b"data" | b"signature" | b"id" => drop(cursor.skip()?),
            _ if counts || self.keeps => self.gather(cursor, false)?,
            _ => drop(cursor.skip()?),
        }
        Ok(())
    }

    fn media(&mut self, cursor: &mut Cursor<'_>, bit: u8) -> Result<()> {
        self.modality |= bit;
        cursor.skip().map(drop)
    }

    fn string(&mut self, text: Text, body: &[u8], counts: bool) {
        if !counts && !self.keeps {
            return;
        }
        let decoded = text.decode(body);
        let Some(said) = decoded.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
            self.is_read = false;
            return;
        };
        if self.keeps {
            self.everything.push_str(said);
            self.everything.push('\n');
        }
        if counts {
            self.bytes += said.len() as u64;
            if !self.turn.is_empty() {
                self.turn.push('\n');
            }
            self.turn.push_str(said);
        }
    }

    fn metadata(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if cursor.peek()? != b'{' {
            return self.rest(cursor);
        }
        cursor.open()?;
        let mut first = true;
        while let Some(key) = cursor.key(first)? {
            first = false;
            let name = key.decode(cursor.text()).map(|name| String::from_utf8_lossy(&name).into_owned());
            let value = cursor.peek()?;
            if value == b'"' {
                let text = cursor.string()?;
                self.string(text, cursor.text(), false);
                let said = text.decode(cursor.text()).map(|said| String::from_utf8_lossy(&said).into_owned());
                self.metadata.extend(name.zip(said));
            } else {
                let raw = cursor.skip()?;
                if value != b'{' && value != b'[' {
                    let said = String::from_utf8_lossy(raw.of(cursor.text())).into_owned();
                    self.metadata.extend(name.map(|name| (name, said)));
                }
            }
        }
        Ok(())
    }
}

/// Who says a message.
#[derive(Clone, Copy)]
enum Speaker {
    User,
    Model,
    Other,
    Nobody,
}

impl Speaker {
    fn of(role: &[u8]) -> Self {
        match role {
            b"user" | b"human" => Self::User,
            b"assistant" | b"model" => Self::Model,
            _ => Self::Other,
        }
    }
}

/// The bit of a content part, by its `type`.
fn of_type(kind: &[u8]) -> u8 {
    match kind {
        b"image" | b"image_url" | b"input_image" => IMAGE,
        b"audio" | b"input_audio" => AUDIO,
        b"video" | b"video_url" | b"input_video" => VIDEO,
        b"file" | b"input_file" | b"document" => FILE,
        _ => 0,
    }
}

/// The bit of a media type.
fn of_mime(kind: &[u8]) -> u8 {
    match kind.split(|byte| *byte == b'/').next().unwrap_or_default() {
        b"image" => IMAGE,
        b"audio" => AUDIO,
        b"video" => VIDEO,
        b"text" => 0,
        _ => FILE,
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE, IMAGE, Prompt, TEXT};

    fn read(body: &str) -> Prompt {
        Prompt::read(body.as_bytes(), true).expect("JSON")
    }

    #[test]
    fn the_last_question_is_found_in_every_dialect() {
        let asked = [
            r#"{"messages":[{"role":"system","content":"Be brief"},{"role":"user","content":"first"},{"role":"assistant","content":"yes"},{"content":"Why?","role":"user"}]}"#,
            r#"{"system":"Be brief","messages":[{"role":"user","content":[{"type":"text","text":"Why?"}]}]}"#,
            r#"{"contents":[{"role":"user","parts":[{"text":"Why?"}]}]}"#,
            r#"{"instructions":"Be brief","input":"Why?"}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"Why?"}]}]}"#,
            r#"{"prompt":"Why?"}"#,
        ];
        for body in asked {
            let prompt = read(body);
            assert_eq!(prompt.question, "Why?", "{body}");
            assert!(prompt.is_read && prompt.modality == TEXT);
        }
        assert_eq!(read(asked[0]).turns, 3);
    }

    #[test]
    fn media_are_seen_and_their_bytes_are_not_taken_for_text() {
        let openai = read(
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:x"}},{"type":"text","text":"Who?"}]}]}"#,
        );
        let gemini = read(
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"application/pdf","data":"QUJD"}},{"text":"Sum up"}]}]}"#,
        );

        assert_eq!((openai.modality, openai.question.as_str()), (TEXT | IMAGE, "Who?"));
        assert_eq!((gemini.modality, gemini.question.as_str()), (TEXT | FILE, "Sum up"));
        assert!(!gemini.everything.contains("QUJD"));
    }

    #[test]
    fn every_string_is_kept_when_asked_for() {
        let body = r#"{"user":"u@example.org","metadata":{"tier":"gold","n":3},"tools":[{"function":{"description":"d"}}],
            "messages":[{"role":"tool","content":"secret"},{"role":"user","content":"q","name":"Ann"}]}"#;
        let prompt = read(body);

        for said in ["u@example.org", "gold", "secret", "Ann", "d"] {
            assert!(prompt.everything.contains(said), "{said}");
        }
        assert_eq!(prompt.metadata, [("tier".to_owned(), "gold".to_owned()), ("n".to_owned(), "3".to_owned())]);
        assert!(prompt.has_tools);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert!(!read(r#"{"image":"QUJD"}"#).is_read, "no prompt at all");
        assert!(!read(r#"{"prompt":"a \ud800 b"}"#).is_read, "half a surrogate pair");
    }
}

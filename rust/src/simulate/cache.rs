//! Prefixes that a replica has kept, the least recently used go first.

use std::collections::BTreeMap;

use super::job::Part;

/// A prefix cache. A text is known up to some length; a longer one of the same name extends it.
pub(super) struct Cache {
    room: u64,
    used: u64,
    turn: u64,
    /// Text to its length and when it was used last.
    texts: BTreeMap<u64, (u32, u64)>,
    /// When to text.
    turns: BTreeMap<u64, u64>,
}

impl Cache {
    pub(super) fn new(room: u64) -> Self {
        Self { room, used: 0, turn: 0, texts: BTreeMap::new(), turns: BTreeMap::new() }
    }

    /// Tokens at the beginning of a prompt that need not be read: a part counts only if the one before it is known whole.
    pub(super) fn known(&self, parts: &[Part]) -> u32 {
        let mut known = 0;
        for part in parts.iter().filter(|part| part.tokens > 0) {
            let kept = self.texts.get(&part.text).map_or(0, |(tokens, _)| (*tokens).min(part.tokens));
            known += kept;
            if kept < part.tokens {
                break;
            }
        }
        known
    }

    /// Keeps the parts of a prompt that was read.
    pub(super) fn keep(&mut self, parts: &[Part]) {
        for part in parts.iter().filter(|part| part.tokens > 0 && u64::from(part.tokens) <= self.room) {
            self.turn += 1;
            let (tokens, turn) = self.texts.get(&part.text).copied().unwrap_or((0, 0));
            self.turns.remove(&turn);
            let longer = tokens.max(part.tokens);
            self.used += u64::from(longer - tokens);
            self.texts.insert(part.text, (longer, self.turn));
            self.turns.insert(self.turn, part.text);
        }
        while self.used > self.room {
            let Some((_, text)) = self.turns.pop_first() else { return };
            let (tokens, _) = self.texts.remove(&text).expect("both maps hold the same texts");
            self.used -= u64::from(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn part(text: u64, tokens: u32) -> Part {
        Part { text, tokens }
    }

    #[test]
    fn the_least_recently_used_text_goes_first() {
        let mut cache = Cache::new(250);
        cache.keep(&[part(1, 100)]);
        cache.keep(&[part(2, 100)]);
        cache.keep(&[part(1, 100)]);
        cache.keep(&[part(3, 100)]);

        assert_eq!([1, 2, 3].map(|text| cache.known(&[part(text, 100)])), [100, 0, 100]);
    }

    #[test]
    fn a_conversation_is_known_as_far_as_it_was_read_and_only_behind_its_prefix() {
        let mut cache = Cache::new(1_000);
        cache.keep(&[part(1, 100), part(2, 50)]);

        assert_eq!(cache.known(&[part(1, 100), part(2, 80)]), 150);
        assert_eq!(cache.known(&[part(9, 100), part(2, 80)]), 0);
        assert_eq!(cache.known(&[part(1, 100), part(2, 20)]), 120);
    }
}

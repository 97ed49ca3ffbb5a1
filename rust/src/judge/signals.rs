//! All signals of one request.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use crate::learn::Router;
use crate::signal::{Prompt, Semantic, Shape, Words, language, personal, question, shape, surface};

thread_local! {
    /// Buckets of the text at hand: 8 KiB that are used again.
    static WORDS: RefCell<Words> = RefCell::default();
}

/// What a route wants to know beside what the body says outright.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "switches, each by its own name")]
pub struct Wanted {
    /// The language of the question.
    pub language: bool,
    /// Shares of code, mathematics and JSON.
    pub shape: bool,
    /// The kind of question.
    pub question: bool,
    /// Personal data anywhere in the body.
    pub personal: bool,
}

/// What is asked of each body.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// See there.
    pub wanted: Wanted,
    /// Tells how hard a prompt is: one minus the mean of the scores that it expects.
    pub difficulty: Option<Arc<Router>>,
    /// Tells the class of a prompt: the one with the highest score.
    pub topic: Option<Arc<Router>>,
    /// Expects a score of each model.
    pub learned: Option<Arc<Router>>,
    /// Routes by their utterances.
    pub routes: Option<Arc<Semantic>>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// Bytes of text in the body.
    pub bytes: u64,
    /// Turns of user and model.
    pub turns: u32,
    /// Bits of [`crate::signal::MODALITIES`].
    pub modality: u8,
    /// Whether tools are offered.
    pub tools: bool,
    /// Whether a form of the answer is demanded.
    pub form: bool,
    /// Whether all text was found and read. Where not, it may hold anything.
    pub is_read: bool,
    /// ISO 639-1; empty: unknown.
    pub language: Cow<'static, str>,
    /// Shares of the question.
    pub shape: Shape,
    /// A place in [`crate::signal::QUESTIONS`].
    pub question: Option<usize>,
    /// Bits of [`crate::signal::PERSONAL`].
    pub personal: u8,
    /// From 0, easy, to 1.
    pub difficulty: f32,
    /// The class, as a place among the classes of the router that tells it, and its score.
    pub topic: Option<(usize, f32)>,
    /// Expected score of each model.
    pub scores: Vec<f32>,
    /// The nearest route, and its similarity.
    pub nearest: Option<(usize, f32)>,
    /// What the client says of the request: header fields and metadata, by name.
    pub declared: Vec<(String, String)>,
}

impl Reader {
    /// The signals of a body. What is no JSON, or no prompt, has `is_read` false and nothing else.
    ///
    /// `declared`: what header fields say; it wins over metadata of the same name.
    #[must_use]
    pub fn read(&self, body: &[u8], declared: Vec<(String, String)>) -> Signals {
        let Ok(mut prompt) = Prompt::read(body, self.wanted.personal) else {
            return Signals { declared, ..Signals::default() };
        };
        let mut said = declared;
        said.extend(std::mem::take(&mut prompt.metadata));
        let text = prompt.question.as_str();
        let wanted = &self.wanted;
        let mut signals = Signals {
            bytes: prompt.bytes,
            turns: prompt.turns,
            modality: prompt.modality,
            tools: prompt.has_tools,
            form: prompt.wants_json,
            is_read: prompt.is_read,
            language: Cow::Borrowed(if wanted.language { language(text) } else { "" }),
            shape: if wanted.shape { shape(text) } else { Shape::default() },
            question: if wanted.question { question(text) } else { None },
            personal: if wanted.personal { personal(&prompt.everything) } else { 0 },
            declared: said,
            ..Signals::default()
        };
        self.weigh(text, &mut signals);
        signals
    }

    /// What was learned about texts like this one.
    fn weigh(&self, text: &str, signals: &mut Signals) {
        let routers = [&self.difficulty, &self.topic, &self.learned];
        if routers.iter().all(|router| router.is_none()) && self.routes.is_none() {
            return;
        }
        WORDS.with_borrow_mut(|words| {
            let buckets = words.of(text);
            signals.nearest = self.routes.as_ref().and_then(|routes| routes.nearest(buckets));
            if routers.iter().all(|router| router.is_none()) {
                return;
            }
            let counts = surface(text);
            if let Some(router) = &self.difficulty {
                signals.difficulty = difficulty(&router.scores_of(buckets, counts));
            }
            if let Some(router) = &self.topic {
                let scores = router.scores_of(buckets, counts);
                signals.topic = best(&scores);
            }
            if let Some(router) = &self.learned {
                signals.scores = router.scores_of(buckets, counts);
            }
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of models")]
fn difficulty(scores: &[f32]) -> f32 {
    (1.0 - scores.iter().sum::<f32>() / scores.len().max(1) as f32).clamp(0.0, 1.0)
}

/// The highest score; the first of equals.
fn best(scores: &[f32]) -> Option<(usize, f32)> {
    scores.iter().copied().enumerate().max_by(|(a, one), (b, other)| one.total_cmp(other).then(b.cmp(a)))
}

#[cfg(test)]
mod tests {
    use super::{Reader, Wanted};

    #[test]
    fn only_what_is_wanted_is_read() {
        let body = br#"{"messages":[{"role":"user","content":"Wie alt ist ann@example.org eigentlich geworden?"}]}"#;
        let none = Reader::default().read(body, Vec::new());
        let wanted = Wanted { language: true, personal: true, ..Wanted::default() };
        let some = Reader { wanted, ..Reader::default() }.read(body, Vec::new());

        assert!(none.language.is_empty() && none.personal == 0 && none.is_read && none.turns == 1);
        assert_eq!((some.language.as_ref(), some.personal), ("de", 1));
    }

    #[test]
    fn what_is_no_prompt_is_not_taken_for_an_empty_one() {
        assert!(!Reader::default().read(b"--boundary", Vec::new()).is_read);
    }
}

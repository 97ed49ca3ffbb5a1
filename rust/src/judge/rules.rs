//! Conditions over signals, in order: the first rule whose conditions all hold is taken.

use super::signals::Signals;
use crate::signal::{MODALITIES, PERSONAL, QUESTIONS};

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Tokens of text, by estimate.
    Tokens,
    /// Turns of user and model.
    Turns,
    /// Share of code.
    Code,
    /// Share of mathematics.
    Math,
    /// Share of JSON.
    Json,
    /// Whether tools are offered.
    Tools,
    /// Whether a form of the answer is demanded.
    Form,
    /// From 0 to 1.
    Difficulty,
    /// Similarity to the nearest route.
    Similarity,
    /// Kinds of content.
    Modality,
    /// ISO 639-1.
    Language,
    /// Kind of question.
    Question,
    /// Kinds of personal data; as a number, whether there is any.
    Personal,
    /// Something that the client declares; a topic that was learned where it declares none.
    Declared(String),
}

/// Bytes of text that a token counts for, as everywhere else.
const BYTES_PER_TOKEN: f64 = 4.0;

impl Name {
    /// The name as it is written in the configuration; what is unknown is declared by clients.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "tokens" => Self::Tokens,
            "turns" => Self::Turns,
            "code" => Self::Code,
            "math" => Self::Math,
            "json" => Self::Json,
            "tools" => Self::Tools,
            "form" => Self::Form,
            "difficulty" => Self::Difficulty,
            "similarity" => Self::Similarity,
            "modality" => Self::Modality,
            "language" => Self::Language,
            "question" => Self::Question,
            "personal" => Self::Personal,
            other => Self::Declared(other.to_owned()),
        }
    }
}

/// One test of one signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is looked at.
    pub name: Name,
    /// The least number that holds, where `texts` is empty.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// Texts of which one must be there.
    pub texts: Vec<String>,
    /// Holds where it would not.
    pub is_negated: bool,
}

/// Rules in order; each holds if all its conditions do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    rules: Vec<Vec<Condition>>,
    /// Names of the learned classes.
    classes: Vec<String>,
}

impl Rules {
    /// Rules over signals whose learned topics have the names `classes`.
    #[must_use]
    pub const fn new(rules: Vec<Vec<Condition>>, classes: Vec<String>) -> Self {
        Self { rules, classes }
    }

    /// The place of the first rule that holds.
    #[must_use]
    pub fn first(&self, signals: &Signals) -> Option<usize> {
        self.rules.iter().position(|rule| rule.iter().all(|condition| self.holds(condition, signals)))
    }

    fn holds(&self, condition: &Condition, signals: &Signals) -> bool {
        let holds = if condition.texts.is_empty() {
            self.number(&condition.name, signals)
                .is_some_and(|number| number >= condition.low && number <= condition.high)
        } else {
            condition.texts.iter().any(|text| self.has(&condition.name, text, signals))
        };
        holds != condition.is_negated
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a body")]
    fn number(&self, name: &Name, signals: &Signals) -> Option<f64> {
        Some(match name {
            Name::Tokens => signals.bytes as f64 / BYTES_PER_TOKEN,
            Name::Turns => signals.turns.into(),
            Name::Code => signals.shape.code.into(),
            Name::Math => signals.shape.math.into(),
            Name::Json => signals.shape.json.into(),
            Name::Tools => f64::from(u8::from(signals.tools)),
            Name::Form => f64::from(u8::from(signals.form)),
            Name::Difficulty => signals.difficulty.into(),
            Name::Similarity => signals.nearest.map_or(0.0, |(_, similarity)| similarity.into()),
            Name::Personal => f64::from(u8::from(signals.personal != 0 || !signals.is_read)),
            Name::Declared(name) => self.declared(name, signals)?.parse().ok()?,
            Name::Modality | Name::Language | Name::Question => return None,
        })
    }

    fn has(&self, name: &Name, text: &str, signals: &Signals) -> bool {
        let bit = |names: &[&str], bits: u8| {
            names.iter().position(|name| *name == text).is_some_and(|at| bits >> at & 1 == 1)
        };
        match name {
            Name::Modality => bit(&MODALITIES, signals.modality),
            // What could not be read may hold any kind.
            Name::Personal => bit(&PERSONAL, signals.personal) || !signals.is_read,
            Name::Language => signals.language == text,
            Name::Question => signals.question.map_or("other", |at| QUESTIONS[at]) == text,
            Name::Declared(name) => self.declared(name, signals).is_some_and(|said| said.eq_ignore_ascii_case(text)),
            _ => false,
        }
    }

    fn declared<'a>(&'a self, name: &str, signals: &'a Signals) -> Option<&'a str> {
        let said = signals.declared.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let learned = || {
            let (class, _) = signals.topic.filter(|_| name == "topic")?;
            self.classes.get(class).map(String::as_str)
        };
        said.or_else(learned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(name: &str, texts: &[&str]) -> Condition {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        Condition { name: Name::of(name), low: 0.0, high: 0.0, texts, is_negated: false }
    }

    #[test]
    fn the_first_rule_that_holds_is_taken() {
        let above =
            Condition { name: Name::Turns, low: 3.0, high: f64::INFINITY, texts: Vec::new(), is_negated: false };
        let rules = Rules::new(
            vec![vec![texts("modality", &["image"])], vec![texts("language", &["de", "fr"]), above], vec![]],
            Vec::new(),
        );
        let german = Signals { language: "de".into(), turns: 3, is_read: true, ..Signals::default() };

        assert_eq!(rules.first(&Signals { modality: 0b11, ..german.clone() }), Some(0));
        assert_eq!(rules.first(&german), Some(1));
        assert_eq!(rules.first(&Signals { turns: 2, ..german }), Some(2));
    }

    #[test]
    fn a_topic_is_what_the_client_says_else_what_was_learned() {
        let rules = Rules::new(vec![vec![texts("topic", &["Billing"])]], vec!["chat".into(), "billing".into()]);
        let learned = Signals { topic: Some((1, 0.9)), ..Signals::default() };
        let said = Signals { declared: vec![("topic".into(), "chat".into())], ..learned.clone() };

        assert_eq!(rules.first(&learned), Some(0));
        assert_eq!(rules.first(&said), None);
    }

    #[test]
    fn what_could_not_be_read_counts_as_personal() {
        let rules = Rules::new(vec![vec![texts("personal", &["iban"])]], Vec::new());

        assert_eq!(rules.first(&Signals::default()), Some(0));
        assert_eq!(rules.first(&Signals { is_read: true, ..Signals::default() }), None);
    }
}

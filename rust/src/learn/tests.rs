use super::examples::COLUMNS;
use super::router::{Parts, UNSEEN};
use super::{Router, Table, train};
use crate::rng::Rng;
use crate::signal::BUCKETS;

const EASY: [&str; 4] = ["apple", "banana", "cherry", "plum"];
const HARD: [&str; 4] = ["integral", "manifold", "tensor", "lemma"];

/// Prompts of two kinds: the weak model answers only the easy ones.
fn table(rows: usize) -> Table {
    let mut rng = Rng::new(7);
    let mut table = Table { models: vec!["weak".into(), "strong".into()], ..Table::default() };
    for at in 0..rows {
        let words = if at % 2 == 0 { EASY } else { HARD };
        let text: Vec<&str> = (0..8).map(|_| words[rng.below(4)]).collect();
        table.prompts.push(text.join(" "));
        table.scores.extend([if at % 2 == 0 { 1.0 } else { 0.0 }, 1.0]);
        table.groups.push(if at % 2 == 0 { "fruit".into() } else { "maths".into() });
    }
    table
}

#[test]
fn it_learns_which_prompts_the_weak_model_answers() {
    for grouped in [false, true] {
        let mut table = table(200);
        if !grouped {
            table.groups.clear();
        }
        let router = train(&table).expect("a good table");

        let (easy, hard) = (router.scores("a banana and a plum"), router.scores("the tensor of a manifold"));
        assert!(easy[0] > 0.7 && hard[0] < 0.3, "{easy:?} {hard:?}");
        assert!(easy[1] > 0.8 && hard[1] > 0.8, "{easy:?} {hard:?}");
    }
}

#[test]
fn the_same_table_gives_the_same_bytes_and_bytes_give_the_same_router() {
    let bytes = train(&table(60)).expect("a good table").encode();

    assert_eq!(bytes, train(&table(60)).expect("a good table").encode());
    let router = Router::decode(&bytes).expect("what encode wrote");
    assert_eq!(router.models(), ["weak", "strong"]);
    assert_eq!(router.encode(), bytes);
    let here = train(&table(60)).expect("a good table");
    assert_eq!(here.scores("an unknown plum"), router.scores("an unknown plum"));
}

#[test]
fn damaged_bytes_are_refused_wherever_the_damage_is() {
    let bytes = train(&table(60)).expect("a good table").encode();

    for at in (0..bytes.len()).step_by(997).chain(0..64) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        assert!(Router::decode(&damaged).is_err(), "byte {at}");
        assert!(Router::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn tables_that_teach_nothing_are_refused_with_what_was_found() {
    let good = table(60);
    let fault = |table: Table| train(&table).expect_err("a bad table").0;

    assert!(fault(table(4)).contains("4 prompts"));
    assert!(fault(Table { models: vec!["one".into()], ..good.clone() }).contains("1 models"));
    assert!(fault(Table { scores: vec![f32::NAN; 120], ..good.clone() }).contains("not a number"));
    assert!(fault(Table { groups: vec!["a".into()], ..good }).contains("1 groups"));
}

#[test]
fn a_router_of_the_version_before_had_no_curves_and_is_read_as_it_was() {
    let shipped = include_bytes!("../../../python/dispatch/routing/difficulty.bin");

    let router = Router::decode(shipped).expect("it ships with the package");
    assert_eq!(shipped[8], 1, "of that version");
    assert!(router.curves.is_empty());
    let again = Router::decode(&router.encode()).expect("what encode wrote");
    assert_eq!(again, router);
}

#[test]
fn scores_with_other_bounds_have_no_curves() {
    let mut table = table(60);
    for score in &mut table.scores {
        *score *= 10.0;
    }
    let router = train(&table).expect("a good table");

    assert!(router.curves.is_empty());
    assert!(router.scores("a banana and a plum")[1] > 5.0);
}

#[test]
fn a_file_of_many_models_stays_below_three_megabytes_and_keeps_the_words_that_say_the_most() {
    let names: Vec<String> = (0..60).map(|at| format!("model-{at}")).collect();
    let mut parts = train(&table(60)).expect("a good table");
    parts.scales.idf.fill(1.0);
    let columns: Vec<Vec<f32>> = (0..=60)
        .map(|head: usize| (0..COLUMNS).map(|at| if (at + head) % 7 == 0 || at % 2 == 0 { 0.5 } else { 0.1 }).collect())
        .collect();
    let parts = Parts {
        models: names,
        groups: Vec::new(),
        means: vec![0.5; 60],
        group_means: Vec::new(),
        group_shares: Vec::new(),
        scales: parts.scales,
        curves: Vec::new(),
    };
    let router = Router::pack(parts, &columns);

    let bytes = router.encode();
    assert!(bytes.len() < 3_000_000, "{}", bytes.len());
    assert!((0..BUCKETS).step_by(2).all(|at| router.places[at] != UNSEEN));
    assert!(router.scales.idf.iter().zip(&router.places).all(|(idf, place)| (*idf > 0.0) == (*place != UNSEEN)));
    assert_eq!(Router::decode(&bytes).expect("what encode wrote"), router);
}

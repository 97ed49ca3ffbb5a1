use super::{CHAT, RESPONSES, Told};

fn event(id: &str, choice: &str) -> String {
    format!("data: {{\"id\":\"{id}\",\"created\":{},\"model\":\"of-{id}\",\"choices\":[{choice}]}}\n\n", id.len())
}

fn delta(id: &str, delta: &str) -> String {
    event(id, &format!("{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":null}}"))
}

fn content(id: &str, text: &str) -> String {
    delta(id, &format!("\"content\":{}", serde_string(text)))
}

fn serde_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn role(id: &str) -> String {
    delta(id, r#""role":"assistant","content":"""#)
}

fn stop(id: &str) -> String {
    event(id, r#"{"index":0,"delta":{},"finish_reason":"stop"}"#)
}

const DONE: &str = "data: [DONE]\n\n";

fn take(told: &mut Told, events: &str) -> String {
    String::from_utf8(told.take(events.as_bytes()).into_owned()).unwrap()
}

fn told(events: &[&str]) -> Told {
    let mut told = Told::new(&CHAT, 1000);
    for event in events {
        assert_eq!(take(&mut told, event), *event);
    }
    told
}

#[test]
fn a_first_stream_goes_out_as_it_came() {
    let told = told(&[&role("first"), &content("first", "Hel"), ": ping\n\n", &content("first", "lo")]);
    assert_eq!(told.content(), b"Hello");
    assert_eq!(told.deltas, 2);
    assert_eq!(told.size(), 5);
    assert!(told.is_prose());
}

#[test]
fn a_restart_tells_only_what_is_new_under_the_first_id() {
    let mut told = told(&[&role("first"), &content("first", "Hel")]);
    told.restart((0, 0));
    for known in [role("2nd"), ": ping\n\n".to_owned(), content("2nd", "He")] {
        assert_eq!(take(&mut told, &known), "");
    }
    assert!(!told.is_aligned());
    let out = take(&mut told, &content("2nd", "llo \"you\"\n"));
    assert_eq!(out, content("first", "lo \"you\"\n").replace("of-first", "of-2nd"));
    assert!(told.is_aligned());
    assert_eq!(take(&mut told, &content("2nd", "!")), content("first", "!").replace("of-first", "of-2nd"));
    assert_eq!(take(&mut told, &stop("2nd")), stop("first").replace("of-first", "of-2nd"));
    assert_eq!(take(&mut told, DONE), DONE);
    assert_eq!(told.content(), b"Hello \"you\"\n!");
}

#[test]
fn another_beginning_an_early_end_and_an_early_terminator_diverge() {
    for other in [content("2", "Hex"), [content("2", "Hel"), stop("2")].concat(), DONE.to_owned()] {
        let mut told = told(&[&content("1", "Hello")]);
        told.restart((0, 0));
        assert_eq!(take(&mut told, &other), "");
        assert!(told.has_diverged, "{other}");
        assert_eq!(take(&mut told, &content("2", "Hello you")), "");
        assert_eq!(told.content(), b"Hello");
    }
}

#[test]
fn texts_are_compared_and_not_how_they_are_written() {
    let mut told = told(&[&delta("1", r#""content":"\u00e9\ud83d\ude00""#)]);
    told.restart((0, 0));
    let out = take(&mut told, &delta("2", r#""content":"é😀\u0001\t""#));
    assert!(out.contains(r#""content":"\u0001\u0009""#), "{out}");
}

#[test]
fn reasoning_is_compared_too_and_must_be_whole_before_content() {
    let before = [delta("1", r#""reasoning_content":"think""#), content("1", "Hi")];
    let mut first = told(&[&before[0], &before[1]]);
    first.restart((0, 0));
    assert_eq!(take(&mut first, &before.concat()), "");
    assert!(first.is_aligned());
    for other in [r#""reasoning_content":"thinking""#, r#""content":"Hi you""#, r#""reasoning":"think""#] {
        let mut told = told(&[&before[0], &before[1]]);
        told.restart((0, 0));
        assert_eq!(take(&mut told, &delta("2", other)), "");
        assert!(told.has_diverged, "{other}");
    }
}

#[test]
fn a_continuation_goes_on_at_what_was_sent() {
    let mut told = told(&[&role("1"), &content("1", "Hello ")]);
    told.resume(5, (7, 2));
    assert_eq!(take(&mut told, &role("2")), "");
    assert!(!told.is_aligned());
    let out = take(&mut told, &delta("2", r#""role":"assistant","content":" you""#));
    assert!(out.contains(r#""role":null,"content":"you""#), "{out}");
    let usage = "data: {\"id\":\"2\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3,\"total_tokens\":13}}\n\n";
    let summed = "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":17,\"completion_tokens\":5,\"total_tokens\":22}}\n\n";
    assert_eq!(take(&mut told, usage), summed);
}

#[test]
fn a_continuation_that_thinks_anew_diverges() {
    let mut told = told(&[&content("1", "Hello")]);
    told.resume(5, (0, 0));
    assert_eq!(take(&mut told, &delta("2", r#""reasoning_content":"you""#)), "");
    assert!(told.has_diverged);
}

#[test]
fn tool_calls_are_aligned_by_index_and_keep_their_first_label() {
    let begin = r#""tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]"#;
    let part = r#""tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]"#;
    let mut first = told(&[&delta("1", begin), &delta("1", part)]);
    assert!(!first.is_prose());
    first.restart((0, 0));
    let whole =
        r#""tool_calls":[{"index":0,"id":"call_2","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]"#;
    let out = take(&mut first, &delta("2", whole));
    assert!(out.contains(r#""id":null,"type":"function","function":{"name":"","arguments":"1}"}"#), "{out}");
    let next = r#""tool_calls":[{"index":1,"id":"call_3","type":"function","function":{"name":"g","arguments":""}}]"#;
    assert!(take(&mut first, &delta("2", next)).contains("call_3"));
    let mut other = told(&[&delta("1", begin)]);
    other.restart((0, 0));
    assert_eq!(take(&mut other, &delta("2", &begin.replace("\"f\"", "\"g\""))), "");
    assert!(other.has_diverged);
}

#[test]
fn what_cannot_be_compared_is_opaque() {
    for choice in [
        r#"{"index":1,"delta":{"content":"x"}}"#,
        r#"{"index":0,"delta":{"content":[{"type":"text","text":"x"}]}}"#,
        r#"{"index":0,"delta":{"audio":{"id":"a"}}}"#,
        r#"{"index":0,"delta":{"content":"\ud83d"}}"#,
        r#"{"index":0,"delta":{"content":"x"},"logprobs":{"content":[]}}"#,
        r#"{"index":0,"delta":{"tool_calls":[{"id":"x","function":{"name":"f"}}]}}"#,
    ] {
        let told = told(&[&event("1", choice)]);
        assert!(told.is_opaque, "{choice}");
        assert!(!told.is_prose());
        assert_eq!(told.deltas, 1, "{choice}");
    }
    let mut long = Told::new(&CHAT, 10);
    take(&mut long, &content("1", "more than ten"));
    assert!(long.is_opaque);
    assert_eq!(long.size(), 0);
}

#[test]
fn deltas_of_typed_events_are_counted() {
    let mut told = Told::new(&RESPONSES, 1000);
    take(&mut told, "event: response.created\ndata: {\"type\":\"response.created\"}\n\n");
    take(&mut told, "event: x\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n");
    assert_eq!(told.deltas, 1);
    assert!(told.is_opaque);
}

#[test]
fn a_second_break_goes_on_from_all_that_was_told() {
    let mut told = told(&[&content("1", "a")]);
    told.resume(1, (0, 0));
    take(&mut told, &content("2", "b"));
    told.restart((0, 0));
    let out = take(&mut told, &[content("3", "abc"), stop("3"), DONE.to_owned()].concat());
    assert!(out.contains("\"id\":\"1\"") && out.contains("\"content\":\"c\"") && out.ends_with(DONE), "{out}");
    assert_eq!(told.content(), b"abc");
}

#[test]
fn data_in_several_lines_becomes_one() {
    let mut told = told(&[&content("1", "a")]);
    told.restart((0, 0));
    let spread =
        "event: x\ndata: {\"id\":\"2\",\ndata: \"choices\":[{\"index\":0,\"delta\":{\"content\":\"ab\"}}]}\n\n";
    let one = "event: x\ndata: {\"id\":\"1\", \"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"}}]}\n\n";
    assert_eq!(take(&mut told, spread), one);
}

#[test]
fn an_end_is_told_once_and_nothing_after_it() {
    let mut same = told(&[&content("1", "ab"), &stop("1")]);
    assert!(!same.is_prose());
    same.restart((0, 0));
    let out = take(&mut same, &[content("2", "ab"), stop("2"), DONE.to_owned()].concat());
    assert!(!out.contains("stop") && out.ends_with(DONE), "{out}");
    let mut longer = told(&[&content("1", "ab"), &stop("1")]);
    longer.restart((0, 0));
    assert_eq!(take(&mut longer, &content("2", "abc")), "");
    assert!(longer.has_diverged);
}

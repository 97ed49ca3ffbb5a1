use super::scan::{BodyError, flag};
use super::{Cursor, MAX_DEPTH, Scan, Usage, affinity, read_answer};

fn is_json(text: &[u8]) -> bool {
    let Ok(mut cursor) = Cursor::new(text) else { return false };
    cursor.skip().is_ok() && cursor.end().is_ok()
}

#[test]
fn what_rfc_8259_allows_is_taken() {
    for text in [
        "{}",
        "[]",
        " [ ] ",
        "\t{\r\n}\n",
        "0",
        "-0",
        "-0.5e+10",
        "1E5",
        "1e-5",
        "\"\"",
        "true",
        "false",
        "null",
        r#"{"a":1,"a":2}"#,
        r#"[1,[2,[3]],{"b":{}}]"#,
        r#""\u0000\ud800\"\\\/\b\f\n\r\t""#,
        "\"\u{7f}\u{1f600}\"",
        r#"{"":[{}]}"#,
        "123456789012345678901234567890.123456789e999",
    ] {
        assert!(is_json(text.as_bytes()), "{text}");
    }
}

const FORBIDDEN: &[&str] = &[
    "",
    " ",
    "{",
    "[",
    "\"",
    "{]",
    "[}",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{1:2}",
    "{\"a\" 1}",
    "01",
    "-",
    "+1",
    ".5",
    "1.",
    "1.e1",
    "1e",
    "1e+",
    "0x1",
    "NaN",
    "Infinity",
    "tru",
    "True",
    "nul",
    "nulll",
    "'a'",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\n\"",
    "\"\t\"",
    "\"\u{0}\"",
    "[] []",
    "{}x",
    "\u{feff}{}",
    "[\u{b}]",
    "// a\n1",
];

#[test]
fn what_rfc_8259_forbids_is_refused() {
    for text in FORBIDDEN {
        assert!(!is_json(text.as_bytes()), "{text:?}");
    }
}

#[test]
fn what_is_not_utf8_is_refused_wherever_it_stands() {
    for text in [b"\"\xff\"".as_slice(), b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\xff", b"\"a\" \x80", b"\"\xe2\x82\""]
    {
        assert!(!is_json(text), "{text:?}");
    }
}

#[test]
fn a_byte_that_ends_a_run_is_found_at_every_place_of_a_long_string() {
    for length in 0..200 {
        for bad in [b'"', b'\\', 0, 0x1f] {
            let mut text = vec![b'"'];
            text.extend(std::iter::repeat_n(b'x', length));
            text.push(bad);
            text.extend(std::iter::repeat_n(0xc3, 0));
            assert!(is_json(&text) == (bad == b'"'), "{bad} after {length}");
        }
        let mut text = vec![b'"'];
        text.extend("é\\n".repeat(length).bytes());
        text.push(b'"');
        assert!(is_json(&text));
    }
}

#[test]
fn containers_nest_to_the_limit_and_no_deeper() {
    let nested =
        |depth: u32, open: &str, close: &str| [open.repeat(depth as usize), close.repeat(depth as usize)].concat();
    assert!(is_json(nested(MAX_DEPTH, "[", "]").as_bytes()));
    assert!(!is_json(nested(MAX_DEPTH + 1, "[", "]").as_bytes()));
    let objects = |depth: u32| [r#"{"a":"#.repeat(depth as usize), "1".to_owned(), "}".repeat(depth as usize)].concat();
    assert!(is_json(objects(MAX_DEPTH).as_bytes()));
    assert!(!is_json(objects(MAX_DEPTH + 1).as_bytes()));
    assert!(Scan::new(nested(100_000, "[", "]").as_bytes()).is_err());
    let prompt = format!(r#"{{"model":"m","messages":{}}}"#, nested(MAX_DEPTH - 1, "[", "]"));
    assert!(Scan::new(prompt.as_bytes()).is_ok());
}

fn scan(body: &str) -> Scan {
    Scan::new(body.as_bytes()).expect("a good body")
}

fn refusal(body: &str) -> BodyError {
    Scan::new(body.as_bytes()).expect_err("a bad body")
}

#[test]
fn the_model_is_read_through_escapes() {
    assert_eq!(scan(r#"{"\u006dodel":"\u0067pt\ud83d\ude00"}"#).model, "gpt\u{1f600}");
    assert_eq!(refusal(r#"{"model":"\ud83d"}"#).code, "unsupported_parameter");
    assert_eq!(refusal(r#"{"model":7}"#).param, Some("model"));
    assert_eq!(refusal(r#"{"messages":[]}"#).code, "missing_parameter");
    assert_eq!(refusal(r#"["model"]"#).code, "invalid_json");
}

#[test]
fn a_key_that_is_read_may_stand_only_once_however_it_is_written() {
    for body in [
        r#"{"model":"cheap","mod\u0065l":"dear"}"#,
        r#"{"model":"m","user":"a","user":"b"}"#,
        r#"{"model":"m","stream_options":{"include_usage":true,"include\u005fusage":false}}"#,
        r#"{"model":"m","metadata":{"user_id":"a","user_id":"b"}}"#,
    ] {
        assert_eq!(refusal(body).code, "duplicate_parameter", "{body}");
    }
    assert_eq!(scan(r#"{"model":"m","seed":1,"seed":2}"#).model, "m");
}

#[test]
fn sizes_and_marks_of_a_request() {
    let found = scan(
        r#"{"model":"m","stream":true,"n":3,"max_tokens":5,"max_completion_tokens":9,"tools":[{}],"logprobs":true,
            "messages":[{"role":"user","content":"abcd"},
            {"role":"user","content":[{"type":"text","text":"ef"},{"type":"image_url","image_url":{"url":"data:xxxx"}}]},
            {"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]}]}"#,
    );
    assert!(found.stream);
    assert_eq!((found.n, found.max_tokens, found.text_bytes), (3, 9, 8));
    assert_eq!(found.flags, flag::HAS_TOOLS | flag::HAS_LOGPROBS | flag::HAS_IMAGES);
    assert_eq!(scan(r#"{"model":"m","input":["ab","cde"]}"#).text_bytes, 5);
    assert_eq!(scan(r#"{"model":"m","prompt":[[1,2],[3]]}"#).text_bytes, 12);
    assert_eq!(
        scan(r#"{"model":"m","tools":[],"response_format":null,"max_tokens":-1,"n":"x","stream":null}"#).flags,
        0
    );
}

#[test]
fn requests_are_tied_by_the_first_name_that_says_something() {
    let tied = |body: &str| scan(body).affinity;
    assert_eq!(tied(r#"{"model":"m","user":"u","prompt_cache_key":"k","metadata":{"user_id":"i"}}"#), affinity(b"k"));
    assert_eq!(tied(r#"{"model":"m","user":"u","prompt_cache_key":""}"#), affinity(b"u"));
    assert_eq!(tied(r#"{"model":"m","metadata":{"user_id":"\u0069"}}"#), affinity(b"i"));
    assert_eq!(tied(r#"{"model":"m","user":7,"metadata":[]}"#), 0);
    assert_ne!(affinity(b"a"), affinity(b"b"));
}

fn spliced(body: &str, model: &str, inject_usage: bool) -> String {
    let found = scan(body);
    let splice = found.splice(model.as_bytes(), inject_usage);
    let copy = splice.pieces(body.as_bytes()).concat();
    assert_eq!(copy.len(), splice.length(body.len()));
    String::from_utf8(copy).unwrap()
}

#[test]
fn usage_is_asked_for_in_each_form_that_the_options_may_have() {
    let body = |options: &str| format!(r#"{{"stream" : true,{options} "model":"m"}}"#);
    let asked = |options: &str| spliced(&body(options), "", true);
    assert_eq!(asked(""), r#"{"stream_options":{"include_usage":true},"stream" : true, "model":"m"}"#);
    assert_eq!(asked(r#""stream_options":null,"#), body(r#""stream_options":{"include_usage":true},"#));
    assert_eq!(asked(r#""stream_options":{},"#), body(r#""stream_options":{"include_usage":true},"#));
    assert_eq!(asked(r#""stream_options": { },"#), body(r#""stream_options": {"include_usage":true },"#));
    assert_eq!(asked(r#""stream_options":{"x":1},"#), body(r#""stream_options":{"include_usage":true,"x":1},"#));
    for value in ["false", "null"] {
        let options = format!(r#""stream_options":{{"include_usage" : {value} }},"#);
        assert_eq!(asked(&options), body(r#""stream_options":{"include_usage" : true },"#));
    }
    let own = body(r#""stream_options":{"include_usage":true},"#);
    assert_eq!(spliced(&own, "", true), own);
    assert_eq!(scan(&own).flags, flag::INCLUDE_USAGE_TRUE);
}

#[test]
fn a_splice_changes_nothing_else() {
    let body = r#"{"stream_options":{},"x":[1, 2],"model" :"old","stream":true,"y":"é"} "#;
    assert_eq!(spliced(body, "", false), body);
    assert_eq!(spliced(body, r#""new""#, false), body.replace(r#""old""#, r#""new""#));
    assert_eq!(
        spliced(body, r#""new""#, true),
        body.replace(r#""old""#, r#""new""#).replace("{},", r#"{"include_usage":true},"#)
    );
    let plain = r#"{"model":"m"}"#;
    assert_eq!(spliced(plain, "", true), plain, "no stream, no stream options");
}

#[test]
fn usage_of_every_dialect_has_one_form() {
    let read = |usage: &str| {
        read_answer(format!(r#"{{"id":"x","usage":{usage},"z":{{"usage":{{"input_tokens":9}}}}}}"#).as_bytes())
    };
    let openai = r#"{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12,
        "prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":3}}"#;
    assert_eq!(read(openai), Ok(Some(Usage { input: 7, output: 5, cached: 2, reasoning: 3 })));
    let responses = r#"{"input_tokens":7,"input_tokens_details":{"cached_tokens":2},"output_tokens":5,"output_tokens_details":null}"#;
    assert_eq!(read(responses), Ok(Some(Usage { input: 7, output: 5, cached: 2, reasoning: 0 })));
    let anthropic =
        r#"{"input_tokens":1,"cache_creation_input_tokens":20,"cache_read_input_tokens":300,"output_tokens":5}"#;
    assert_eq!(read(anthropic), Ok(Some(Usage { input: 321, output: 5, cached: 300, reasoning: 0 })));
    let huge = r#"{"prompt_tokens":99999999999999999999999,"completion_tokens":-1}"#;
    assert_eq!(read(huge), Ok(Some(Usage { input: u64::MAX, ..Usage::default() })));
    assert_eq!(read("null"), Ok(None));
    assert_eq!(read("{}"), Ok(None));
    assert_eq!(read_answer(b"[1]"), Ok(None));
    assert!(read_answer(br#"{"usage":{"prompt_tokens":1}"#).is_err());
}

use super::body::PIECE;
use super::request::{Arrival, Request, RequestReader, flag};
use super::response::{Answer, ResponseReader, flag as answer_flag};
use super::{Fault, Limits, Names};

const LIMITS: Limits = Limits { head_bytes: 1024, fields: 8 };

fn reader() -> RequestReader {
    RequestReader::new(LIMITS, 100)
}

fn feed(bytes: &str) -> Result<Option<Arrival<Vec<u8>>>, Fault> {
    reader().feed(bytes.as_bytes().to_vec())
}

fn request(bytes: &str) -> Request<Vec<u8>> {
    match feed(bytes) {
        Ok(Some(Arrival::Request(request))) => request,
        other => panic!("{bytes:?} led to {other:?}"),
    }
}

fn status(bytes: &str) -> u16 {
    feed(bytes).expect_err(bytes).status
}

fn path(bytes: &str) -> String {
    String::from_utf8(request(bytes).line().1.to_vec()).unwrap()
}

#[test]
fn a_host_is_needed_exactly_once_and_only_since_1_1() {
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), 400);
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").flags, flag::COMPLETE);
}

#[test]
fn framing_has_one_reading_or_none() {
    for fields in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length : 1\r\n",
        "X: a\r\n b\r\n",
        "X: a\rb\r\n",
        "X: a\0\r\n",
        "X\r\n",
        ": x\r\n",
        "X: a\n",
    ] {
        assert_eq!(status(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\nx")), 400, "{fields:?}");
    }
    assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    assert_eq!(status("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n"), 413);
    assert_eq!(status("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n"), 413);
    assert_eq!(status("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
}

#[test]
fn a_head_is_measured_before_it_is_parsed() {
    let filler = |length: usize| format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(length));
    assert_eq!(status(&filler(2000)), 431);
    let fits = filler(1024 - 32);
    assert_eq!(fits.len() + 4, 1024);
    assert!(feed(&format!("{fits}\r\n\r\n")).is_ok());
    assert_eq!(status(&format!("{fits}x\r\n\r\n")), 431);
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert!(feed(&fields(8)).is_ok());
    assert_eq!(status(&fields(9)), 431);
}

#[test]
fn a_target_is_a_path_or_names_our_host() {
    assert_eq!(path("GET /a%2Fb?c=%20 HTTP/1.1\r\nHost: h\r\n\r\n"), "/a%2Fb");
    assert_eq!(request("GET /a?b?c HTTP/1.1\r\nHost: h\r\n\r\n").query(), b"b?c");
    assert_eq!(path("GET http://h:1/a?b HTTP/1.1\r\nHost: H:1\r\n\r\n"), "/a");
    assert_eq!(path("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), "*");
    for target in ["http://other/a", "a", "*", "/a#b", "ftp://h/a"] {
        assert_eq!(status(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")), 400, "{target}");
    }
}

#[expect(clippy::cognitive_complexity, reason = "a list of cases, each one assertion")]
#[test]
fn flags_tell_what_the_fields_say() {
    let flags = |fields: &str| request(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).flags;
    let plain = flag::COMPLETE | flag::KEEP_ALIVE;
    assert_eq!(flags(""), plain);
    assert_eq!(flags("Connection: Close\r\n"), flag::COMPLETE);
    assert_eq!(flags("Content-Type: Application/JSON ; charset=utf-8\r\n"), plain | flag::JSON);
    assert_eq!(flags("Content-Type: multipart/form-data; boundary=x\r\n"), plain | flag::MULTIPART);
    assert_eq!(flags("Content-Encoding: identity\r\n"), plain);
    assert_eq!(flags("Content-Encoding: gzip\r\n"), plain | flag::HAS_ENCODING);
    assert_eq!(flags("Expect: 100-Continue\r\nContent-Length: 0\r\n"), plain | flag::EXPECT_CONTINUE | flag::HAS_BODY);
    assert_eq!(flags("X-Dispatch-Deadline-Ms: 5\r\nx-dispatch-key: k\r\n"), plain | flag::HAS_DEADLINE);
    assert_eq!(
        flags("x-dispatch-session: 5\r\nx-dispatch-other: k\r\n"),
        plain | flag::HAS_SESSION | flag::HAS_DISPATCH
    );
    assert_eq!(flags("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nOrigin: o\r\n"), plain | flag::HAS_ORIGIN);
    let old = request("GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n").flags;
    assert_eq!(old, flag::COMPLETE | flag::KEEP_ALIVE);
}

#[test]
fn forwarded_lines_are_those_allowed_and_not_of_this_hop() {
    let names = Names::new(vec![b"accept".to_vec(), b"traceparent".to_vec(), b"x-a*".to_vec()]);
    let lines = request("GET / HTTP/1.1\r\nHost: h\r\nACCEPT:  a \t\r\ntraceparent: t\r\nX-Ab: 1\r\nX-B: 2\r\nConnection: TraceParent\r\n\r\n")
        .lines(&names);
    assert_eq!(lines, b"accept: a\r\nx-ab: 1\r\n");
}

#[test]
fn a_credential_is_found_in_every_place_and_ours_wins() {
    let key = |target: &str, fields: &str| {
        let request = request(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        let text =
            |key: Option<std::borrow::Cow<'_, [u8]>>| key.map(|key| String::from_utf8(key.into_owned()).unwrap());
        (text(request.dispatch_key()), text(request.credential()))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(key("/", ""), (None, None));
    assert_eq!(key("/", "Authorization: bearer  abc\r\n").1, some("abc"));
    assert_eq!(key("/", "Authorization: Basic abc\r\nx-goog-api-key: g\r\n").1, some("g"));
    assert_eq!(key("/", "api-key: a\r\nX-Api-Key: x\r\n").1, some("x"));
    assert_eq!(key("/?a=b&key=%41b%2", "").1, some("Ab%2"));
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=a/b/20261122/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0\r\n";
    assert_eq!(key("/", signed), (some("a/b"), None));
    assert_eq!(key("/", "Authorization: AWS4-HMAC-SHA256 Credential=a, Signature=0\r\n"), (None, None));
    assert_eq!(key("/", &format!("x-dispatch-key: d\r\n{signed}")).0, some("d"));
    assert_eq!(key("/?key=q", "X-Dispatch-Key: d\r\nAuthorization: Bearer b\r\n"), (some("d"), some("b")));
}

#[expect(clippy::cognitive_complexity, reason = "a list of cases, each one assertion")]
#[test]
fn pipelined_requests_wait_their_turn_up_to_a_limit() {
    let mut reader = reader();
    let two = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: evil\r\n\r\nGET /b HTTP/1.0\r\n\r\nGET";
    let Ok(Some(Arrival::Request(first))) = reader.feed(two.to_vec()) else { panic!("a request") };
    assert_eq!((first.line().1, first.message.body()), (b"/a".as_slice(), b"abc".as_slice()));
    assert_eq!(first.message.header(b"host"), Some(b"h".as_slice()), "a trailer joins no head");
    assert!(reader.feed(b" /c HTTP".to_vec()).expect("is kept").is_none());
    let Ok(Some(Arrival::Request(second))) = reader.advance::<Vec<u8>>() else { panic!("a request") };
    assert_eq!(second.line().1, b"/b");
    assert_eq!(reader.pending(), 11);
    assert!(reader.advance::<Vec<u8>>().expect("is kept").is_none());
    assert!(matches!(reader.feed(b"/1.0\r\n\r\n".to_vec()), Ok(Some(Arrival::Request(_)))));
    assert!(reader.feed(vec![b'x'; 64 << 10]).is_ok());
    assert_eq!(reader.feed(b"x".to_vec()).expect_err("too much").status, 0);
}

#[test]
fn chunk_sizes_are_digits_and_end_in_cr_lf() {
    let body =
        |chunks: &str| feed(&format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
    for chunks in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "0x1\r\n",
        " 1\r\n",
        "1 \r\n",
        "1\n",
        "1;a\nb\r\n",
        "1;\0\r\n",
        "1\rx",
        "12345678901234567\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "0\r\nbad trailer\r\n\r\n",
        "0\r\nA: b\n\r\n",
        ";x\r\n",
    ] {
        assert!(body(chunks).is_err(), "{chunks:?}");
    }
    for chunks in ["1\r\na\r\n00\r\n\r\n", "1;x=y\r\na\r\n0;z\r\nA: b\r\n\r\n", "A\r\n0123456789\r\n0\r\n\r\n"] {
        let Ok(Some(Arrival::Request(request))) = body(chunks) else { panic!("{chunks:?}") };
        assert_eq!(request.flags & flag::COMPLETE, flag::COMPLETE, "{chunks:?}");
    }
    assert_eq!(body("65\r\nx").expect("waits").map(|_| ()), Some(()));
    let long = format!("64\r\n{}\r\n1\r\na\r\n0\r\n\r\n", "x".repeat(100));
    assert_eq!(body(&long).expect_err("too large").status, 413);
    assert!(body(&format!("1;{}", "x".repeat(9000))).is_err());
}

fn answering(limit: usize) -> ResponseReader<Vec<u8>> {
    let mut reader = ResponseReader::new(LIMITS, limit);
    reader.expect();
    reader
}

fn answer(bytes: &str) -> (Answer<Vec<u8>>, bool) {
    let mut reader = answering(100);
    let answer = reader.feed(bytes.as_bytes().to_vec()).expect(bytes).expect(bytes);
    (answer, reader.is_reusable())
}

#[expect(clippy::cognitive_complexity, reason = "a list of cases, each one assertion")]
#[test]
fn a_connection_is_reused_after_exactly_one_whole_answer() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    assert!(answer(ok).1);
    assert!(answer(&format!("HTTP/1.1 100 Continue\r\n\r\n{ok}")).1);
    assert!(!answer(&format!("{ok}x")).1);
    assert!(!answer(&format!("{ok}{ok}")).1);
    assert!(!answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}").1);
    assert!(!answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}").1);
    assert!(answer("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}").1);
    assert!(answer("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n").1);
    let mut reader = ResponseReader::new(LIMITS, 100);
    assert!(!reader.is_reusable());
    assert!(reader.feed(b"H".to_vec()).is_err(), "nobody asked");
    let mut reader = answering(100);
    assert!(reader.feed(ok.as_bytes().to_vec()).is_ok());
    assert!(reader.feed(b"H".to_vec()).is_err() && !reader.is_reusable(), "a byte while nothing is outstanding");
}

#[test]
fn answers_that_can_be_read_in_two_ways_are_refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    ] {
        let fault = answering(100).feed(head.as_bytes().to_vec()).expect_err(head);
        assert_eq!((fault.status, fault.code), (502, "upstream_error"), "{head:?}");
    }
    let fault = answering(1).feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_vec()).expect_err("too large");
    assert_eq!(fault.code, "answer_too_large");
}

#[test]
fn an_answer_that_the_end_completes_must_be_whole_json() {
    let ends = |bytes: &str| {
        let mut reader = answering(100);
        assert!(reader.feed(bytes.as_bytes().to_vec()).expect(bytes).is_none());
        let ended = reader.eof();
        assert!(!reader.is_reusable());
        ended
    };
    let whole = ends("HTTP/1.1 200 OK\r\n\r\n{\"usage\":{\"prompt_tokens\":3}}").expect("is whole").expect("is there");
    assert_eq!(whole.flags, answer_flag::COMPLETE | answer_flag::JSON_OK | answer_flag::CLOSE);
    assert_eq!(whole.usage.map(|usage| usage.input), Some(3));
    assert!(ends("HTTP/1.1 200 OK\r\n\r\n{\"a\":1").is_err());
    assert!(ends("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}").is_err());
    assert!(ends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n").is_err());
    assert!(ends("HTTP/1.1 2").is_err());
    assert!(answering(100).eof().expect("nothing had begun").is_none());
}

#[test]
fn answers_tell_what_to_do_with_them() {
    let flags = |fields: &str| answer(&format!("HTTP/1.1 429 X\r\n{fields}Content-Length: 2\r\n\r\n{{}}")).0.flags;
    let plain = answer_flag::COMPLETE | answer_flag::JSON_OK;
    assert_eq!(flags(""), plain);
    assert_eq!(flags("Retry-After-Ms: 5\r\n"), plain | answer_flag::HAS_RETRY_AFTER);
    assert_eq!(flags("Content-Encoding: gzip\r\n"), answer_flag::COMPLETE | answer_flag::ENCODED);
    assert_eq!(flags("Content-Type: text/event-stream\r\n"), plain, "only success streams");
    let (stream, _) = answer("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\n\r\ndata: 1\n\n");
    assert_eq!(stream.flags, answer_flag::STREAM | answer_flag::CLOSE);
    let mut reader = answering(100);
    assert!(
        reader.feed(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=65, max=9\r\nContent-Length: 0\r\n\r\n".to_vec()).is_ok()
    );
    assert_eq!(reader.keep_alive_s(), Some(65));
}

#[test]
fn a_large_form_is_kept_in_pieces_and_counted_whole() {
    let size = 3 * PIECE;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {size}\r\n\r\n"
    );
    for (most, fits) in [(size, true), (size - 1, false)] {
        let mut reader = RequestReader::new(LIMITS, most);
        let begun = reader.feed(head.clone().into_bytes());
        assert_eq!(begun.is_ok(), fits);
        if !fits {
            continue;
        }
        for sent in 1..30 {
            assert!(matches!(reader.feed(vec![b'x'; size / 30]), Ok(None)));
            assert_eq!(reader.pending(), sent * (size / 30));
        }
        let rest = size - reader.pending();
        let Ok(Some(Arrival::Body(body))) = reader.feed(vec![b'x'; rest]) else { panic!("a body") };
        assert!(body.len() > 1 && body.iter().all(|piece| piece.len() < 2 * PIECE));
        assert_eq!(body.concat(), vec![b'x'; size]);
    }
}

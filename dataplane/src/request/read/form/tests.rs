use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::StreamExt;
use http::HeaderValue;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prometheus_client::metrics::gauge::Gauge;

use super::*;
use crate::upstream::{MarkedBody, OutboundBody, SentMark};

const BOUNDARY: &str = "XbX";

fn settings() -> RequestSettings {
    RequestSettings { body_frame_idle: Duration::from_millis(20), ..RequestSettings::default() }
}

fn memory(limit: usize) -> MemoryPermit {
    MemoryPermit::of([(Gauge::default(), limit), (Gauge::default(), limit)])
}

/// A body that comes in these pieces, and how many of them were taken.
fn body(
    pieces: Vec<Bytes>,
    then_waits: bool,
) -> (impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static, Arc<AtomicUsize>) {
    let taken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&taken);
    let pieces = stream::iter(pieces).map(move |piece| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Frame::data(piece))
    });
    let rest = if then_waits { stream::pending().left_stream() } else { stream::empty().right_stream() };
    (StreamBody::new(pieces.chain(rest)), taken)
}

fn cut(bytes: &[u8], size: usize) -> Vec<Bytes> {
    bytes.chunks(size.max(1)).map(Bytes::copy_from_slice).collect()
}

async fn read_pieces(pieces: Vec<Bytes>, then_waits: bool) -> Result<FormStart, Refusal> {
    read(body(pieces, then_waits).0, (BOUNDARY, true), &settings(), &mut memory(64 << 20), || Ok(())).await
}

fn field(name: &str, value: &str) -> Vec<u8> {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes()
}

fn file(name: &str, more: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; {more}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], format!("--{BOUNDARY}--\r\n").as_bytes()].concat()
}

/// All that would be sent, with the boundary as the client had it.
async fn sent(start: FormStart) -> Result<(String, Vec<(String, String)>), BrokenOff> {
    let Form { fields, before, after, boundary, .. } = start.form;
    let mut all = [&before[..], b"<model>", &after].concat();
    if let Some(rest) = start.rest {
        let content_type = HeaderValue::from_static("x/y");
        let body = OutboundBody::form([const { Bytes::new() }; 3], content_type, Some(rest.tail));
        let mut body = MarkedBody::new(body, SentMark::default());
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame?.into_data().unwrap());
        }
    }
    Ok((String::from_utf8_lossy(&all).replace(&boundary, BOUNDARY), fields))
}

fn message(refusal: Result<FormStart, Refusal>) -> String {
    match refusal {
        Err(refusal) => refusal.to_string(),
        Ok(start) => panic!("{:?}", start.form),
    }
}

#[tokio::test]
async fn form_is_parsed_alike_in_any_split() {
    let sound = [&b"ID3\r\n--Xb\r\n--XbY\0"[..], &[0xff; 300]].concat();
    let parts = [
        field("language", "en"),
        file("file", "filename=\"a \\\"b\\\".mp3\"\r\nContent-Type: audio/mpeg\r\nX-Other: 1", &sound),
        field("model", "whisper"),
        field("prompt", "zwei Wörter"),
        file("empty", "filename*=UTF-8''%e4.wav", b""),
    ];
    let whole = form(&parts);
    let mut first = None;
    for size in (1..40).chain([100, whole.len()]) {
        let got = sent(read_pieces(cut(&whole, size), false).await.unwrap()).await.unwrap();
        assert_eq!(first.get_or_insert_with(|| got.clone()), &got, "{size}");
    }
    let (text, fields) = first.unwrap();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, [("language", "en"), ("model", "whisper"), ("prompt", "zwei Wörter")]);
    let sound = String::from_utf8_lossy(&sound);
    let expected = format!(
        "--XbX\r\ncontent-disposition: form-data; name=\"language\"\r\n\r\nen\r\n\
         --XbX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a %22b%22.mp3\"\r\ncontent-type: audio/mpeg\r\n\r\n{sound}\r\n\
         <model>--XbX\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\nzwei Wörter\r\n\
         --XbX\r\ncontent-disposition: form-data; name=\"empty\"; filename*=UTF-8''%e4.wav\r\n\r\n\r\n--XbX--\r\n"
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn large_file_after_the_model_is_streamed() {
    let sound = vec![b's'; 20 << 20];
    let whole = form(&[field("model", "m"), file("file", "filename=\"a\"", &sound), field("last", "x")]);
    let (body, taken) = body(cut(&whole, 64 << 10), false);
    let mut memory = memory(2 << 20);
    let start = read(body, (BOUNDARY, true), &settings(), &mut memory, || Ok(())).await.unwrap();
    let read_ahead = taken.load(Ordering::Relaxed) * (64 << 10);
    assert!((READ_AHEAD_BYTES..READ_AHEAD_BYTES + (256 << 10)).contains(&read_ahead), "{read_ahead}");
    assert!(!start.rest.as_ref().unwrap().tail.has_begun());
    let (text, _) = sent(start).await.unwrap();
    assert!(text.contains(&String::from_utf8(sound).unwrap()));
    assert!(text.ends_with("name=\"last\"\r\n\r\nx\r\n--XbX--\r\n"));
}

#[tokio::test]
async fn model_after_the_files_is_found_within_the_body_limit() {
    let whole = form(&[file("file", "filename=\"a\"", &vec![b's'; 25 << 20]), field("model", "m")]);
    let start = read_pieces(cut(&whole, 64 << 10), false).await.unwrap();
    assert!(start.form.before.len() > 25 << 20 && start.rest.is_none());
    let (body, _) = body(cut(&whole, 64 << 10), false);
    let full = read(body, (BOUNDARY, true), &settings(), &mut memory(8 << 20), || Ok(())).await;
    assert!(matches!(full, Err(Refusal::BuffersFull)), "what is held counts");
    let large = form(&[file("file", "filename=\"a\"", &vec![b's'; 33 << 20]), field("model", "m")]);
    let large = read_pieces(cut(&large, 64 << 10), false).await;
    assert!(matches!(large, Err(Refusal::BodyTooLarge { .. })));
}

#[tokio::test]
async fn invalid_form_is_refused_with_a_reason() {
    let m = || field("model", "m");
    for (parts, why) in [
        (vec![field("prompt", "x")], "`model` is required"),
        (vec![m(), m()], "`model` is given twice"),
        (vec![file("model", "filename=\"m\"", b"m")], "`model` is a file"),
        (vec![file("model", "filename*=UTF-8''m", b"m")], "`model` is a file"),
        (vec![file("", "", b"m"), m()], "a part has no name"),
        (vec![b"--XbX\r\n\r\nx\r\n".to_vec(), m()], "a part has no name"),
        (vec![b"--XbX\r\nno header\r\n\r\nx\r\n".to_vec(), m()], "multipart/form-data: "),
        (vec![file("f", &format!("filename=\"{}\"", "x".repeat(300)), b"")], "file name is too long"),
        (vec![field("a", "b"); 129], "more than 128 parts"),
    ] {
        let said = message(read_pieces(cut(&form(&parts), 50), false).await);
        assert!(said.contains(why), "{why}: {said}");
    }
    let whole = form(&[m(), field("prompt", "some words")]);
    for end in 0..whole.len() - 4 {
        let said = message(read_pieces(cut(&whole[..end], 7), false).await);
        assert!(said.contains("is not legal multipart/form-data"), "{end}: {said}");
    }
}

#[tokio::test]
async fn second_model_field_in_the_stream_aborts_it() {
    let sound = file("file", "filename=\"a\"", &vec![0; 2 << 20]);
    let whole = form(&[field("model", "m"), sound, field("model", "other")]);
    let start = read_pieces(cut(&whole, 8 << 10), false).await.unwrap();
    let (rest, blameless) = (start.rest.clone().unwrap(), Arc::<AtomicBool>::default());
    rest.note_client_break_in(&blameless);
    assert_eq!(sent(start).await, Err(BrokenOff));
    assert!(blameless.load(Ordering::Relaxed));
    assert_eq!(rest.broken().unwrap().to_string(), "`model` is given twice");
}

#[tokio::test]
async fn endless_part_headers_and_preambles_are_refused() {
    let endless_headers = [&b"--XbX\r\n"[..], &b"X-A: b\r\n".repeat(1 << 17)].concat();
    let endless_line = [&b"--XbX\r\nX-A: "[..], &vec![b'x'; 1 << 20]].concat();
    let preamble = vec![b'x'; 1 << 20];
    let padding = [&b"--XbX"[..], &vec![b' '; 1 << 20]].concat();
    for (what, bytes) in
        [("headers", endless_headers), ("line", endless_line), ("preamble", preamble), ("padding", padding)]
    {
        for size in [100, 8 << 10, 64 << 10] {
            let (body, taken) = body(cut(&bytes, size), true);
            let mut memory = memory(1 << 20);
            let read = read(body, (BOUNDARY, true), &settings(), &mut memory, || Ok(())).await;
            let taken = taken.load(Ordering::Relaxed) * size;
            assert!(taken <= (16 << 10) + 2 * size, "{what} {size}: {taken} bytes were taken");
            assert!(message(read).contains("too long"), "{what}");
        }
    }
}

#[tokio::test]
async fn buffered_parts_are_drained_before_reading_more() {
    let small: Vec<_> = (0..100).map(|at| field(&format!("f{at}"), "v")).collect();
    let whole = form(&[small.concat(), field("model", "m"), file("file", "filename=\"a\"", &vec![0; 8 << 20])]);
    let (body, taken) = body(cut(&whole, 64 << 10), false);
    let mut memory = memory(64 << 20);
    let start = read(body, (BOUNDARY, true), &settings(), &mut memory, || Ok(())).await.unwrap();
    assert_eq!(start.form.fields.len(), 101);
    let taken = taken.load(Ordering::Relaxed) * (64 << 10);
    assert!(taken < READ_AHEAD_BYTES + (256 << 10), "{taken}");
}

#[tokio::test]
async fn fields_beyond_the_inspected_bytes_are_still_sent() {
    let long = "x".repeat(300 << 10);
    let whole = form(&[field("prompt", &long), field("stream", "true"), field("model", "m")]);
    let start = read_pieces(cut(&whole, 8 << 10), false).await.unwrap();
    let kept: usize = start.form.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(kept <= MAX_FIELD_BYTES + MAX_MODEL_BYTES, "{kept}");
    assert_eq!(start.form.fields.last().unwrap(), &("model".to_owned(), "m".to_owned()));
    let (text, _) = sent(start).await.unwrap();
    assert!(text.contains(&long) && text.contains("name=\"stream\"\r\n\r\ntrue\r\n"));
}

#[tokio::test]
async fn stalled_form_times_out() {
    let whole = form(&[field("model", "m"), file("file", "filename=\"a\"", &vec![0; 4 << 20])]);
    let stalled = read_pieces(cut(&whole[..500], 100), true).await;
    assert!(matches!(stalled, Err(Refusal::BodyStalled { .. })));
    let start = read_pieces(cut(&whole[..2 << 20], 8 << 10), true).await.unwrap();
    let rest = start.rest.clone().unwrap();
    assert_eq!(sent(start).await, Err(BrokenOff));
    assert!(matches!(rest.broken(), Some(Refusal::BodyStalled { .. })));
    let (settings, mut memory) = (RequestSettings::default(), memory(99));
    let recheck = || Err(Refusal::UnknownToken);
    let withdrawn = read(body(Vec::new(), true).0, (BOUNDARY, true), &settings, &mut memory, recheck).await;
    assert!(matches!(withdrawn, Err(Refusal::UnknownToken)));
}

#[test]
fn boundary_is_one_to_seventy_bytes_long() {
    let of = |kind: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        boundary(&headers)
    };
    assert_eq!(of("Multipart/Form-Data; boundary=\"a b\"").unwrap().unwrap(), "a b");
    assert!(of("application/json").is_none());
    for kind in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; charset=x"] {
        assert!(of(kind).unwrap().is_err(), "{kind}");
    }
    assert!(of(&format!("multipart/form-data; boundary={}", "x".repeat(70))).unwrap().is_ok());
    assert!(of(&format!("multipart/form-data; boundary={}", "x".repeat(1_000))).unwrap().is_err());
}

#[tokio::test]
async fn model_in_the_path_overrides_the_forms() {
    let whole = form(&[field("prompt", "p"), field("model", "ignored")]);
    let mut memory = memory(1 << 20);
    let start = read(body(cut(&whole, 9), false).0, (BOUNDARY, false), &settings(), &mut memory, || Ok(())).await;
    let (text, _) = sent(start.unwrap()).await.unwrap();
    assert!(text.starts_with("<model>--XbX\r\ncontent-disposition: form-data; name=\"prompt\""), "{text}");
    assert!(!text.contains("ignored"));
}

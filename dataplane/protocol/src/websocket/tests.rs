use bytes::BytesMut;

use super::{frame::LONGEST_HEAD, *};

const MOST: usize = 100_000;

/// A frame as a peer sends it.
fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let opcode = Opcode::of(first & 0x0f).unwrap_or(Opcode::Text);
    let mut bytes = head(opcode, payload.len(), key).as_bytes().to_vec();
    bytes[0] = first;
    let mut payload = payload.to_vec();
    if let Some(key) = key {
        mask(&mut payload, key);
    }
    bytes.extend(payload);
    bytes
}

fn read_in(role: Role, bytes: &[u8], size: usize) -> Result<Vec<Incoming>, Violation> {
    let (mut reader, mut input, mut all) = (Reader::new(role, MOST), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(size) {
        input.extend_from_slice(piece);
        while let Some(incoming) = reader.read(&mut input)? {
            all.push(incoming);
        }
        assert!(input.len() < LONGEST_HEAD, "{} bytes are left", input.len());
    }
    Ok(all)
}

/// What a server reads, however the bytes are cut.
fn read(bytes: &[u8]) -> Result<Vec<Incoming>, Violation> {
    let whole = read_in(Role::Server, bytes, usize::MAX >> 1);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(read_in(Role::Server, bytes, size), whole, "cut every {size} bytes");
    }
    whole
}

const KEY: Option<[u8; 4]> = Some([1, 2, 3, 250]);

fn text(text: &str) -> Incoming {
    Incoming::Text(text.into())
}

#[test]
fn messages_of_every_length_are_read_as_they_were_sent() {
    for length in [0, 1, 3, 4, 125, 126, 127, 65_535, 65_536, MOST] {
        let payload = "é".repeat(length / 2) + &"x".repeat(length % 2);
        let sent = frame(0x81, payload.as_bytes(), KEY);
        assert_eq!(read_in(Role::Server, &sent, 4_096), Ok(vec![text(&payload)]), "{length} bytes");
        let sent = frame(0x82, payload.as_bytes(), None);
        let expected = Incoming::Binary(payload.as_bytes().into());
        assert_eq!(read_in(Role::Client, &sent, 1_000), Ok(vec![expected]), "{length} bytes");
    }
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let parts = [
        frame(0x01, "h\u{e9}".as_bytes().split_at(2).0, KEY),
        frame(0x89, b"ping", KEY),
        frame(0x00, b"", KEY),
        frame(0x8a, b"pong", KEY),
        frame(0x80, "h\u{e9}".as_bytes().split_at(2).1, KEY),
        frame(0x88, b"\x03\xe8bye", KEY),
    ];
    let close = Incoming::Close(Some(Close::new(code::NORMAL, "bye")));
    let expected = vec![Incoming::Ping(b"ping"[..].into()), Incoming::Pong, text("h\u{e9}"), close];
    assert_eq!(read(&parts.concat()), Ok(expected));
}

#[test]
fn what_breaks_the_protocol_is_told_with_its_code() {
    let long = vec![b'x'; 126];
    let too_long = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    let fragments = [frame(0x01, &vec![b'x'; MOST], KEY), frame(0x80, b"x", KEY)].concat();
    let cases = [
        (frame(0xc1, b"deflated", KEY), Violation::Reserved, 1002),
        (frame(0x83, b"", KEY), Violation::Opcode, 1002),
        (frame(0x81, b"bare", None), Violation::Unmasked, 1002),
        (frame(0x89, &long, KEY), Violation::Control, 1002),
        (frame(0x09, b"", KEY), Violation::Control, 1002),
        (frame(0x80, b"", KEY), Violation::Fragments, 1002),
        ([frame(0x01, b"a", KEY), frame(0x81, b"b", KEY)].concat(), Violation::Fragments, 1002),
        (frame(0x88, b"\x03", KEY), Violation::Close, 1002),
        (frame(0x88, b"\x03\xee", KEY), Violation::Close, 1002),
        (frame(0x88, b"\x03\xe8\xff", KEY), Violation::NotUtf8, 1007),
        (frame(0x81, b"\xc3", KEY), Violation::NotUtf8, 1007),
        (too_long, Violation::TooLarge(MOST), 1009),
        (fragments, Violation::TooLarge(MOST), 1009),
    ];
    for (bytes, violation, code) in cases {
        assert_eq!(read(&bytes), Err(violation), "{bytes:02x?}");
        assert_eq!(violation.code(), code);
    }
    assert_eq!(read_in(Role::Client, &frame(0x81, b"x", KEY), 9), Err(Violation::Masked));
}

#[test]
fn a_length_takes_no_memory_before_its_bytes_have_come() {
    let mut reader = Reader::new(Role::Server, 1 << 30);
    let mut input = BytesMut::from(&[0x81, 0xff, 0, 0, 0, 0, 0x3f, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5][..]);
    assert_eq!(reader.read(&mut input), Ok(None));
    assert!((1..1_024).contains(&reader.held()), "{} bytes", reader.held());
}

#[test]
fn a_reason_is_cut_between_letters() {
    let close = Close::new(code::POLICY, &"é".repeat(100));
    assert_eq!((close.reason.len(), close.payload().len()), (122, 124));
    assert_eq!(Close::read(&close.payload()), Ok(Some(close)));
    assert_eq!(Close::read(b""), Ok(None));
}

proptest::proptest! {
    /// Whatever comes, reading ends, and the same whatever the cuts.
    #[test]
    fn any_bytes_are_read_alike(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), size in 1..9_usize) {
        let whole = read_in(Role::Server, &bytes, 1 << 20);
        proptest::prop_assert_eq!(read_in(Role::Server, &bytes, size), whole);
    }
}

use std::fs;

use tempfile::TempDir;

use super::*;

const SMALL: SpoolLimits = SpoolLimits { bytes: 10_000, segment_bytes: 100 };

fn open(path: &Path, limits: SpoolLimits) -> (Spool, Vec<Damage>) {
    Spool::open(path, limits).unwrap()
}

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

/// Everything that is not acknowledged, which is acknowledged.
fn drain(spool: &mut Spool) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let batch = spool.read(50).unwrap();
        if batch.is_empty() {
            return numbers;
        }
        for Spooled { sequence, entry: bytes } in batch {
            assert_eq!(bytes, entry(sequence));
            numbers.push(sequence);
        }
        spool.acknowledge().unwrap();
    }
}

fn append(spool: &mut Spool, count: u64) {
    for _ in 0..count {
        let next = spool.next;
        assert_eq!(spool.append(&entry(next)).unwrap(), next);
    }
}

fn files(directory: &TempDir) -> Vec<String> {
    let names = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".segment")).collect()
}

#[test]
fn entries_are_read_in_order_once_synced_and_gone_once_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, damages) = open(directory.path(), SMALL);
    assert_eq!(damages, []);
    append(&mut spool, 3);
    assert_eq!(spool.read(1_000).unwrap(), [], "not synced yet");
    spool.sync().unwrap();
    let first = spool.read(1_000).unwrap();
    assert_eq!(first, spool.read(1_000).unwrap(), "again, until acknowledged");
    append(&mut spool, 40);
    spool.sync().unwrap();
    assert_eq!(spool.waiting(), 43);
    assert!(files(&directory).len() > 5);
    assert_eq!(drain(&mut spool), (1..=43).collect::<Vec<_>>());
    assert_eq!((spool.waiting(), files(&directory).len()), (0, 1));
    spool.close().unwrap();
    assert_eq!(files(&directory), [] as [String; 0]);
}

#[test]
fn what_is_left_is_read_after_a_clean_restart_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), SMALL);
    append(&mut spool, 30);
    spool.sync().unwrap();
    spool.read(60).unwrap();
    spool.acknowledge().unwrap();
    let acknowledged = spool.acknowledged;
    assert!(acknowledged > 0 && acknowledged < 30);
    spool.close().unwrap();
    let (mut spool, damages) = open(directory.path(), SMALL);
    assert_eq!(damages, []);
    append(&mut spool, 1);
    spool.sync().unwrap();
    assert_eq!(drain(&mut spool), (acknowledged + 1..=31).collect::<Vec<_>>());
    spool.close().unwrap();
    // Numbers go on even when nothing is left.
    let (mut spool, _) = open(directory.path(), SMALL);
    assert_eq!(spool.append(b"x").unwrap(), 32);
}

#[test]
fn spool_belongs_to_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let slots = Slots::new(directory.path().to_owned());
    let (first, _) = slots.open(SMALL).unwrap();
    let (mut second, _) = slots.open(SMALL).unwrap();
    assert!(matches!(Spool::open(&slots.path(0), SMALL), Err(SpoolError::Locked(_))));
    append(&mut second, 2);
    assert!(slots.abandoned(SMALL).is_empty(), "both are in use");
    drop(second);
    let mut abandoned = slots.abandoned(SMALL);
    let (mut left, damages) = abandoned.remove(0);
    assert_eq!(damages.iter().map(|damage| damage.reason).collect::<Vec<_>>(), [GapReason::UncleanStop]);
    assert_eq!(drain(&mut left), [1, 2]);
    drop(first);
}

#[test]
fn full_spool_refuses_and_takes_again_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), SpoolLimits { bytes: 1_000, segment_bytes: 100 });
    let mut count = 0;
    while spool.append(&entry(count + 1)).is_ok() {
        count += 1;
    }
    assert!(matches!(spool.append(&entry(0)), Err(AppendError::Full)) && spool.is_nearly_full());
    assert!(spool.bytes() <= 1_100, "{}", spool.bytes());
    spool.sync().unwrap();
    assert_eq!(drain(&mut spool).len() as u64, count);
    append(&mut spool, 1);
    assert!(!spool.is_nearly_full());
    assert!(matches!(spool.append(&vec![0; frame::MAX_ENTRY + 1]), Err(AppendError::Size(_))));
}

#[test]
fn every_cut_of_the_tail_is_found_and_nothing_in_front_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let limits = SpoolLimits::default();
    let (mut spool, _) = open(directory.path(), limits);
    append(&mut spool, 4);
    drop(spool);
    let path = directory.path().join(directory::segment_name(1));
    let whole = fs::read(&path).unwrap();
    let size = frame::size(&entry(1)) as usize;
    for cut in 0..=whole.len() {
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join(directory::segment_name(1)), &whole[..cut]).unwrap();
        fs::copy(directory.path().join("state"), copy.path().join("state")).unwrap();
        let (mut spool, damages) = open(copy.path(), limits);
        let frames = cut.saturating_sub(segment::HEADER as usize) / size;
        let torn = cut.saturating_sub(segment::HEADER as usize) % size;
        let next = frames as u64 + 1;
        let unclean = Damage { reason: GapReason::UncleanStop, from: next, to: None, bytes: 0 };
        let unreadable = Damage { reason: GapReason::Unreadable, from: next, to: None, bytes: torn as u64 };
        let expected = if torn > 0 { vec![unreadable, unclean] } else { vec![unclean] };
        assert_eq!(damages, expected, "cut at {cut}");
        append(&mut spool, 1);
        spool.sync().unwrap();
        assert_eq!(drain(&mut spool), (1..=next).collect::<Vec<_>>(), "cut at {cut}");
    }
}

#[test]
fn damage_in_the_middle_is_a_gap_of_known_length() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), SMALL);
    append(&mut spool, 20);
    spool.close().unwrap();
    let mut names = files(&directory);
    names.sort();
    let second: u64 = names[1].strip_suffix(".segment").unwrap().parse().unwrap();
    let third: u64 = names[2].strip_suffix(".segment").unwrap().parse().unwrap();
    let path = directory.path().join(&names[1]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[segment::HEADER as usize + 20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (mut spool, damages) = open(directory.path(), SMALL);
    let lost = bytes.len() as u64 - segment::HEADER;
    assert_eq!(damages, [Damage { reason: GapReason::Unreadable, from: second, to: Some(third - 1), bytes: lost }]);
    assert_eq!(spool.read(1).unwrap().len(), 1);
    spool.close().unwrap();
    let (mut spool, damages) = open(directory.path(), SMALL);
    assert_eq!(damages, [], "it is reported once");
    assert_eq!(drain(&mut spool), (1..second).chain(third..=20).collect::<Vec<_>>());
}

#[test]
fn spool_of_another_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(directory::segment_name(1));
    fs::write(&path, b"RAUSAGE2 something new").unwrap();
    let error = Spool::open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(error.contains("is not of this version's format"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"RAUSAGE2 something new");
}

#[test]
fn damaged_state_makes_entries_come_again_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), SpoolLimits::default());
    append(&mut spool, 5);
    spool.sync().unwrap();
    spool.read(20).unwrap();
    spool.acknowledge().unwrap();
    spool.close().unwrap();
    fs::write(directory.path().join("state"), b"nonsense").unwrap();
    let (mut spool, damages) = open(directory.path(), SpoolLimits::default());
    assert_eq!(damages.len(), 1, "not known to be closed: {damages:?}");
    assert_eq!(drain(&mut spool), [1, 2, 3, 4, 5]);
}

#[test]
fn missing_file_is_a_gap_that_is_reported_once() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(directory.path(), SMALL);
    append(&mut spool, 20);
    spool.close().unwrap();
    let mut names = files(&directory);
    names.sort();
    fs::remove_file(directory.path().join(&names[0])).unwrap();
    let second: u64 = names[1].strip_suffix(".segment").unwrap().parse().unwrap();
    let (spool, damages) = open(directory.path(), SMALL);
    assert_eq!(damages, [Damage { reason: GapReason::Unreadable, from: 1, to: Some(second - 1), bytes: 0 }]);
    spool.close().unwrap();
    let (mut spool, damages) = open(directory.path(), SMALL);
    assert_eq!((damages, drain(&mut spool)), (Vec::new(), (second..=20).collect()));
}

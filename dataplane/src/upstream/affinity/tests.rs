use super::*;

fn session(namespace: &str, token: &str, name: &str) -> Session {
    Session::new(&ObjectId::new(namespace, token), &Sha256::digest(name).into())
}

fn order(session: Session, upstreams: &[(&'static str, u32)]) -> Vec<&'static str> {
    let mut upstreams = upstreams.to_vec();
    upstreams.sort_by(|(one, its), (other, others)| session.rank(one, *its).compare(session.rank(other, *others)));
    upstreams.into_iter().map(|(name, _)| name).collect()
}

/// Computed by another program, in floating point: pods of two versions agree only if this never changes.
#[test]
fn sessions_stay_where_other_versions_put_them() {
    let upstreams = [("openai-eu", 3), ("azure", 2), ("vllm", 1)];
    for (namespace, token, name, expected) in [
        ("apps", "one", "s-1", ["vllm", "openai-eu", "azure"]),
        ("apps", "one", "s-2", ["azure", "openai-eu", "vllm"]),
        ("apps", "one", "s-3", ["openai-eu", "azure", "vllm"]),
        ("apps", "one", "s-4", ["vllm", "openai-eu", "azure"]),
        ("apps", "two", "s-1", ["azure", "openai-eu", "vllm"]),
        ("apps", "two", "s-2", ["azure", "openai-eu", "vllm"]),
        ("other", "one", "s-1", ["openai-eu", "azure", "vllm"]),
    ] {
        assert_eq!(order(session(namespace, token, name), &upstreams), expected, "{namespace}/{token} {name}");
        let mut backwards = upstreams;
        backwards.reverse();
        assert_eq!(order(session(namespace, token, name), &backwards), expected, "the order of the list means nothing");
    }
}

#[test]
fn neighbouring_parts_do_not_run_together() {
    assert_ne!(session("a", "bc", "d"), session("ab", "c", "d"));
    assert_ne!(session("a", "b", "cd"), session("a", "bc", "d"));
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "the reference is in floating point")]
fn logarithms_are_exact_to_40_bits() {
    let unit = 2_f64.powi(-i32::try_from(FRACTION_BITS).unwrap());
    assert_eq!(exponential(u64::MAX), 1, "never zero, which no weight would change");
    assert_eq!(exponential(0), 64 << FRACTION_BITS);
    assert_eq!(exponential(1 << 63 | 1), 1 << FRACTION_BITS, "one half");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20_000 {
        let uniform = random.u64(..) >> random.u32(0..40);
        let reference = 64.0 - ((uniform | 1) as f64).log2();
        let ours = exponential(uniform) as f64 * unit;
        assert!((ours - reference).abs() < 1e-11, "{uniform}: {ours} and {reference}");
    }
}

/// Five heavy upstreams beside a light one: it still gets its share, which is the hardest case for the precision.
#[test]
fn light_upstreams_get_their_share() {
    const SESSIONS: u32 = 100_000;
    let heavy: Vec<String> = (0..5).map(|at| format!("heavy-{at}")).collect();
    let seed = fastrand::u64(..);
    let won = (0..SESSIONS).filter(|at| {
        let session = session("a", "t", &format!("{seed}-{at}"));
        let light = session.rank("light", 100);
        heavy.iter().all(|name| light.compare(session.rank(name, 100_000)).is_lt())
    });
    let won = won.count();
    println!("seed {seed}: {won} of {SESSIONS} sessions at an upstream with one five-thousandth of the weight");
    // 20 are expected, with a standard deviation of 4.5.
    assert!((1..=47).contains(&won), "{won}");
}

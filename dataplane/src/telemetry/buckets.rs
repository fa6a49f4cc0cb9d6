//! Upper bounds of histogram buckets.

/// Seconds. From a cached refusal to an hour, which is what background answers and the longest `timeouts.request` take.
pub(super) const DURATIONS: [f64; 19] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1_800.0,
    3_600.0,
];

/// Tokens. The conventions' own advice for `gen_ai.client.token.usage`.
pub(super) const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

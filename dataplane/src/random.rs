//! Random bits for ids and choices that need not be secret, from the operating system in one call.

use crate::clock;

/// Fresh bits. Should the system ever fail to give some, the clock still makes ids that differ.
pub fn words() -> [u64; 3] {
    let mut bytes = [0; 24];
    if getrandom::fill(&mut bytes).is_err() {
        let fallback = clock::now().unix_ms.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        return [fallback, fallback.rotate_left(21), fallback.rotate_left(42)];
    }
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_ne_bytes(*word)))
}

/// A request's id, as `x-routeapi-request-id` has it: 32 hexadecimal digits.
pub fn request_id(high: u64, low: u64) -> String {
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let [a, b, c] = words();
        assert!(a != b && b != c && words() != [a, b, c]);
        assert_eq!(request_id(1, 2), "00000000000000010000000000000002");
    }
}

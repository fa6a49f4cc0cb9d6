//! A share of a whole, kept when the whole is lowered.

/// `part` of `whole`, applied to `of`; at least one.
pub(super) fn share(of: usize, part: usize, whole: usize) -> usize {
    let scaled = (of as u128 * part as u128).checked_div(whole as u128).unwrap_or(0);
    usize::try_from(scaled).unwrap_or(of).clamp(1, of.max(1))
}

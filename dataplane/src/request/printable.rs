//! Texts of clients, made fit for a line that people read.

/// Most characters of a model id that are shown; vendors' own have up to 64.
const MAX_MODEL_CHARS: usize = 128;

/// The text with everything replaced that moves a terminal, breaks a line or turns the order of letters, and at most
/// `max` characters long; `…` behind them says that there were more.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut letters = text.chars();
    if is_plain(text, max) {
        return text.to_owned();
    }
    let mut out: String =
        letters.by_ref().take(max).map(|letter| if is_invisible(letter) { '\u{fffd}' } else { letter }).collect();
    if letters.next().is_some() {
        out.push('…');
    }
    out
}

/// Whether it stays as it is, as nearly all texts do: short, and of letters that each take a byte and show.
fn is_plain(text: &str, max: usize) -> bool {
    text.len() <= max && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Control characters, line and paragraph separators, marks of direction and letters without width: none of them shows, and
/// each can make a line look like another one.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// A client's model id for messages and records: bounded, since it may be anything.
pub(super) fn clip_model(model: &str) -> String {
    if is_plain(model, MAX_MODEL_CHARS) {
        return model.to_owned();
    }
    model.chars().filter(|letter| !is_invisible(*letter)).take(MAX_MODEL_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_replaced_and_truncation_is_marked() {
        assert_eq!(printable("gpt-x é 日本", 99), "gpt-x é 日本");
        assert_eq!(
            printable("a\r\nb\u{85}\u{9b}31m\u{7f}\u{2029}\u{200b}\u{202e}\u{feff}", 99),
            "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(printable("ééé", 3), "ééé");
        assert_eq!(printable("éééé", 3), "ééé…");
        assert_eq!(printable("", 0), "");
    }
}

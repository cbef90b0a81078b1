//! Makes foreign text safe for terminals and for the log of GitHub Actions: RPM names, logs of builds and guests,
//! messages of registries.

use std::fmt::Write as _;

/// Stands for a removed character; before a workflow command, it makes it plain text.
const REPLACEMENT: char = '\u{fffd}';

/// Replaces control characters but line feed, tab and the colours of ANSI, and breaks workflow commands, which GitHub's
/// runner takes from any program (its `ActionCommand.cs`).
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = colour(rest).unwrap_or(letter.len_utf8());
        if length > letter.len_utf8() || !is_control(letter) {
            printable.push_str(&rest[..length]);
        } else if !rest.starts_with("\r\n") {
            printable.push(REPLACEMENT);
        }
        rest = &rest[length..];
    }
    let is_command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
    if !printable.lines().any(is_command) {
        return printable;
    }
    let line = |line: &str| {
        let line = line.replace("##[", "##\u{fffd}[");
        if line.trim_start().starts_with("::") { format!("{REPLACEMENT}{line}") } else { line }
    };
    printable.split_inclusive('\n').map(line).collect()
}

/// The same for a JSON document, where such characters are in strings only and can be escaped.
pub fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_control(letter) && letter != '\r' {
            write!(printable, "\\u{:04x}", u32::from(letter)).expect("writing to a String cannot fail");
        } else {
            printable.push(letter);
        }
    }
    printable.replace("##[", "##\\u005b")
}

/// The length of `ESC [ … m` at the beginning.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
    parameters[end..].starts_with('m').then_some("\u{1b}[".len() + end + 1)
}

/// Whether the character controls a terminal, or the direction in which others are shown.
fn is_control(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_control_characters_are_replaced() {
        let plain = "zfs-2.4.3 ✓\n\tümlaut a::b # [x]\n";
        assert_eq!(printable(plain), plain);
        let coloured = "\u{1b}[1;31mred\u{1b}[0m";
        assert_eq!(printable(coloured), coloured);
        for (hostile, expected) in [
            ("a\u{1b}[2Jb", "a\u{fffd}[2Jb"),
            ("a\u{1b}]0;title\u{7}", "a\u{fffd}]0;title\u{fffd}"),
            ("ok\rFAILED", "ok\u{fffd}FAILED"),
            ("one\r\ntwo", "one\ntwo"),
            ("a\u{9b}2Jb\u{7f}", "a\u{fffd}2Jb\u{fffd}"),
            ("a\u{202e}b", "a\u{fffd}b"),
            ("\u{1b}[", "\u{fffd}["),
        ] {
            assert_eq!(printable(hostile), expected);
        }
    }

    #[test]
    fn workflow_commands_become_text() {
        for hostile in
            ["::add-mask::x", "a\n  ::stop-commands::x\nb", "a ##[add-mask]x", "\u{1b}::add-mask::x"]
        {
            let text = printable(hostile);
            let is_command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
            assert!(!text.lines().any(is_command), "{text:?}");
            assert_eq!(printable(&text), text);
        }
    }

    #[test]
    fn json_keeps_its_values() {
        let value = serde_json::json!({ "name": "a\u{9b}\u{7f}\u{202e}\u{1b}##[x]", "list": [1, "ü\n"] });
        let json = serde_json::to_string_pretty(&value).unwrap();
        let printed = printable_json(&json);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
        assert!(!printed.contains(|letter: char| letter.is_control() && letter != '\n'), "{printed}");
        assert!(!printed.contains("##["), "{printed}");
    }
}

//! The syscall table as text, for `runsc help syscalls` and the documentation.

use core::fmt::Write;

use super::{SYSCALLS, Support, SyscallInfo};

const fn level(support: Support) -> &'static str {
    match support {
        Support::Full => "full",
        Support::Partial(_) => "partial",
        Support::Fails(_) => "fails",
    }
}

const fn note(support: Support) -> &'static str {
    match support {
        Support::Full => "",
        Support::Partial(what) | Support::Fails(what) => what,
    }
}

fn totals() -> (usize, usize, usize) {
    SYSCALLS.iter().fold((0, 0, 0), |(full, partial, fails), call| match call.support {
        Support::Full => (full + 1, partial, fails),
        Support::Partial(_) => (full, partial + 1, fails),
        Support::Fails(_) => (full, partial, fails + 1),
    })
}

/// The call of a name.
pub fn by_name(name: &str) -> Option<&'static SyscallInfo> {
    SYSCALLS.iter().find(|call| call.name == name)
}

/// The call of a number.
pub fn by_number(number: u64) -> Option<&'static SyscallInfo> {
    SYSCALLS
        .binary_search_by_key(&number, |call| call.number)
        .ok()
        .and_then(|index| SYSCALLS.get(index))
}

/// For people: aligned columns, totals at the end.
pub fn table_text() -> String {
    let mut text = format!("{:>6}  {:<24} {:<8} {}\n", "NUMBER", "NAME", "SUPPORT", "NOTE");
    for call in SYSCALLS {
        let line = format!(
            "{:>6}  {:<24} {:<8} {}",
            call.number,
            call.name,
            level(call.support),
            note(call.support)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let (full, partial, fails) = totals();
    let _ = writeln!(
        text,
        "\n{full} full, {partial} partial, {fails} fail; other numbers fail with ENOSYS"
    );
    text
}

/// For spreadsheets: one line per call behind a line of headings.
pub fn table_csv() -> String {
    let mut text = String::from("number,name,support,note\n");
    for call in SYSCALLS {
        let quoted = note(call.support).replace('"', "\"\"");
        let _ =
            writeln!(text, "{},{},{},\"{quoted}\"", call.number, call.name, level(call.support));
    }
    text
}

/// For programs: an array of objects. The table's strings hold nothing that JSON escapes but quotes.
pub fn table_json() -> String {
    let mut text = String::from("[\n");
    for (index, call) in SYSCALLS.iter().enumerate() {
        let note = note(call.support).replace('\\', "\\\\").replace('"', "\\\"");
        let separator = if index + 1 == SYSCALLS.len() { "" } else { "," };
        let _ = writeln!(
            text,
            "  {{\"number\": {}, \"name\": \"{}\", \"support\": \"{}\", \"note\": \"{note}\"}}{separator}",
            call.number,
            call.name,
            level(call.support)
        );
    }
    text.push_str("]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_complete_and_named_as_the_abi_does() {
        assert!(SYSCALLS.windows(2).all(|pair| matches!(pair, [a, b] if a.number < b.number)));
        for number in 0..600 {
            let ours = by_number(number).map(|call| call.name);
            assert_eq!(ours, chitin_abi::nr::name(number), "number {number}");
        }
    }

    #[test]
    fn no_call_has_more_than_six_arguments() {
        assert!(
            SYSCALLS.iter().all(|call| call.args.len() <= 6 && call.args.len() == call.names.len())
        );
    }

    #[test]
    fn listings_name_every_call() {
        for text in [table_text(), table_csv(), table_json()] {
            assert!(SYSCALLS.iter().all(|call| text.contains(call.name)));
        }
        assert_eq!(table_csv().lines().count(), SYSCALLS.len() + 1);
    }
}

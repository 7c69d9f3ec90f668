//! Spans and classes in words, for people.

use std::time::Duration;

use crate::guard::ladder::Class;

/// `40 s`, `2 min 5 s`, `3 h 20 min`, `2 d 1 h`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// What the client did.
pub(super) const fn deed(class: Class) -> &'static str {
    match class {
        Class::SelfTarget => "requests that name this proxy",
        Class::Malformed => "malformed requests",
        Class::OverLimit => "connections or requests beyond its limits",
        Class::Denied => "denied destinations or ports",
        Class::Failing => "destinations that keep failing",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::span;

    #[test]
    fn two_units_are_enough() {
        let told: Vec<_> = [0, 59, 60, 125, 3_599, 3_600, 12_000, 176_400].map(|s| span(Duration::from_secs(s))).into();
        assert_eq!(
            told,
            ["0 s", "59 s", "1 min 0 s", "2 min 5 s", "59 min 59 s", "1 h 0 min", "3 h 20 min", "2 d 1 h"]
        );
    }
}

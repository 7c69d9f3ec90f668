//! What the page is made of, by path: all of it is in the program, and nothing is asked of anybody else.
//!
//! `app.js` is the page; `live.js` what arrives, `past.js` what is remembered; `panels.js`, `charts.js`, `clients.js`,
//! `detail.js`, `fences.js`, `alarms.js` what is shown, by means of `tables.js`, `format.js` and `words.js` (both languages).

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, media type, content.
const ASSETS: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", STYLE, include_str!("page/style.css")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/live.js", SCRIPT, include_str!("page/live.js")),
    ("/past.js", SCRIPT, include_str!("page/past.js")),
    ("/panels.js", SCRIPT, include_str!("page/panels.js")),
    ("/charts.js", SCRIPT, include_str!("page/charts.js")),
    ("/clients.js", SCRIPT, include_str!("page/clients.js")),
    ("/detail.js", SCRIPT, include_str!("page/detail.js")),
    ("/fences.js", SCRIPT, include_str!("page/fences.js")),
    ("/alarms.js", SCRIPT, include_str!("page/alarms.js")),
    ("/tables.js", SCRIPT, include_str!("page/tables.js")),
    ("/format.js", SCRIPT, include_str!("page/format.js")),
    ("/words.js", SCRIPT, include_str!("page/words.js")),
    // uPlot 1.6.32 as it was published; its licence (MIT) lies beside it.
    ("/vendor/uPlot.iife.min.js", SCRIPT, include_str!("page/vendor/uPlot.iife.min.js")),
    ("/vendor/uPlot.min.css", STYLE, include_str!("page/vendor/uPlot.min.css")),
];

/// Media type and content of what is at this path.
pub(super) fn at(path: &str) -> Option<(&'static str, &'static str)> {
    ASSETS.iter().find(|(at, ..)| *at == path).map(|(_, kind, content)| (*kind, *content))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ASSETS, at};

    /// What we wrote ourselves.
    fn own() -> impl Iterator<Item = (&'static str, &'static str)> {
        ASSETS.iter().map(|(path, _, text)| (*path, *text)).filter(|(path, _)| !path.starts_with("/vendor/"))
    }

    /// What stands between `before` and the next `after`, each time.
    fn between<'t>(text: &'t str, before: &'t str, after: char) -> impl Iterator<Item = &'t str> {
        text.split(before).skip(1).filter_map(move |rest| rest.split_once(after)).map(|(inner, _)| inner)
    }

    #[test]
    fn what_a_file_names_is_there() {
        let mut named = BTreeSet::from(["/"]);
        for (path, text) in own() {
            let attributes = if path == "/" { [" src=\"", " href=\""].as_slice() } else { &[] };
            let pages = attributes.iter().flat_map(|before| between(text, before, '"'));
            let others = ["#", "/api/", "/metrics"];
            let files = pages.filter(|wanted| !others.iter().any(|other| wanted.starts_with(other)));
            for wanted in files.chain(between(text, " from '", '\'')) {
                assert!(at(wanted).is_some(), "{path} names {wanted}");
                named.insert(wanted);
            }
        }
        let unused: Vec<_> = ASSETS.iter().map(|(path, ..)| *path).filter(|path| !named.contains(path)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn nobody_else_is_asked_and_nothing_is_read_as_markup() {
        let markup = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            " style=\"",
            " onclick",
        ];
        let elsewhere = ["http:", "https:", "data:image", "@import", "url("];
        for (path, text) in own() {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in markup.iter().chain(&elsewhere) {
                assert!(!text.contains(word), "{path}: {word}");
            }
        }
        for (path, _, text) in ASSETS.iter().filter(|(path, ..)| path.starts_with("/vendor/")) {
            for word in ["fetch(", "XMLHttpRequest", "@import", "url(", "sendBeacon", "WebSocket", "eval("] {
                assert!(!text.contains(word), "{path}: {word}");
            }
        }
    }

    #[test]
    fn every_word_that_is_asked_for_is_in_the_table() {
        let (_, words) = at("/words.js").unwrap();
        for (path, text) in own() {
            let named = between(text, " data-t=\"", '"').chain(between(text, " data-label=\"", '"'));
            let columns = between(text, "name: '", '\'').filter(|name| name.contains('.'));
            // Not the end of another name: `element('`.
            let is_call = |at: &usize| {
                !text.get(..*at).is_some_and(|before| before.ends_with(|before: char| before.is_alphanumeric()))
            };
            let calls = text.match_indices("t('").map(|(at, _)| at).filter(is_call);
            let said = calls.filter_map(|at| text.get(at + 3..)?.split_once('\'')).map(|(key, _)| key);
            for key in named.chain(columns).chain(said).chain(between(text, "part('", '\'')) {
                assert!(words.contains(&format!("'{key}': [")), "{path}: {key}");
            }
        }
    }
}

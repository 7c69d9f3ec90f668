//! What the page is made of, by path: all of it is in the program, and nothing is asked of anybody else.

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, media type, content.
const ASSETS: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("page/index.html")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/style.css", STYLE, include_str!("page/style.css")),
];

/// Media type and content of what is at this path.
pub(super) fn at(path: &str) -> Option<(&'static str, &'static str)> {
    ASSETS.iter().find(|(at, ..)| *at == path).map(|(_, kind, content)| (*kind, *content))
}

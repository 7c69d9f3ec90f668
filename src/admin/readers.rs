//! Who may see: everybody who is admitted, or, where there is a token for reading, whoever shows it.
//!
//! Owns: the cookie. Called by: the desk, for each request. Never: asks this box itself, or the health checks of a load
//! balancer; tells whether a token is right to whom has guessed too often.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, line, too_many, with};
use super::connection::Visitor;
use super::desk::parameter;
use super::guesses::{Guesses, Verdict};
use super::limits::COOKIES;
use super::token::Token;
use super::{Board, changes, percent};

/// The cookie's name.
const COOKIE: &str = "floodgate_read";
/// What a cookie is made for: no other use of the token gives the same value.
const PURPOSE: &str = "floodgate: cookie of a reader";
const CHALLENGE: &str = "Bearer realm=\"floodgate\"";
const WRONG: &str = "Bearer realm=\"floodgate\", error=\"invalid_token\"";

/// Judges who may see.
#[derive(Debug)]
pub(super) struct Readers {
    /// What a cookie must be, if there is a token for it.
    cookie: Option<Token>,
}

/// A token, as it is shown.
struct Shown {
    token: Vec<u8>,
    /// In the address, where it is not to stay.
    in_address: bool,
}

impl Readers {
    pub(super) fn new(board: &Board) -> Self {
        let token = board.read_token.as_ref().and_then(|token| token.as_ref().ok());
        Self { cookie: token.map(|token| token.derived(PURPOSE)) }
    }

    /// What a request gets instead of what it asks for; nothing if it may see that.
    pub(super) fn judge<B>(
        &self,
        board: &Board,
        guesses: &Guesses,
        visitor: &Visitor,
        request: &Request<B>,
    ) -> Option<Answer> {
        let token = board.read_token.as_ref()?;
        if visitor.from.is_none() || matches!(request.uri().path(), "/healthz" | "/readyz") {
            return None;
        }
        let token = token.as_ref().ok();
        let shown = shown(request);
        if self.cookie.as_ref().is_some_and(|cookie| has(request.headers(), cookie)) {
            // Not a guess: nobody comes upon 256 bits.
            return shown.filter(|shown| shown.in_address).map(|_| home());
        }
        let Some(shown) = shown else {
            return Some(denied(token.is_some(), CHALLENGE));
        };
        let right = [token, board.token.as_ref().ok()].into_iter().flatten().any(|token| token.is(&shown.token));
        match (guesses.judge(visitor, right), &self.cookie) {
            (Verdict::TooMany, _) => Some(too_many()),
            (Verdict::Wrong, _) => Some(denied(token.is_some(), WRONG)),
            (Verdict::Right, Some(cookie)) if shown.in_address => Some(welcome(cookie)),
            (Verdict::Right, _) => None,
        }
    }
}

/// What a request shows: its one `Authorization: Bearer` (RFC 6750), or `?token=` of the page's address.
fn shown<B>(request: &Request<B>) -> Option<Shown> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        let token = changes::bearer(request.headers()).unwrap_or_default();
        return Some(Shown { token: token.to_vec(), in_address: false });
    }
    let is_page = request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
    let value = parameter(request.uri().query().filter(|_| is_page), "token")?;
    Some(Shown { token: percent::decoded(value).unwrap_or_default(), in_address: true })
}

/// Whether one of the cookies is this one (RFC 6265 section 4.2). Its value has nothing that would be quoted.
fn has(head: &HeaderMap, cookie: &Token) -> bool {
    let fields = head.get_all(header::COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).take(COOKIES);
    pairs
        .filter_map(|pair| pair.trim_ascii().strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))
        .any(|value| cookie.is(value))
}

/// To the page, without what was in its address.
fn home() -> Answer {
    with(line(StatusCode::SEE_OTHER, "The page is at /.\n"), header::LOCATION, "/")
}

/// The same, with the cookie. It is no use to change anything, and to a page of another site it is not sent.
fn welcome(cookie: &Token) -> Answer {
    let mut answer = home();
    let field = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", cookie.text());
    match HeaderValue::from_str(&field) {
        Ok(field) => {
            answer.headers_mut().insert(header::SET_COOKIE, field);
            answer
        }
        Err(_) => line(StatusCode::INTERNAL_SERVER_ERROR, "The cookie cannot be written.\n"),
    }
}

fn denied(is_usable: bool, challenge: &'static str) -> Answer {
    let why = if is_usable {
        "This takes the token of admin.read-token-file: write it behind /?token= once, or send it as Authorization: Bearer.\n"
    } else {
        "The token of admin.read-token-file cannot be used; the log says why. That of admin.token-file reads too.\n"
    };
    with(line(StatusCode::UNAUTHORIZED, why), header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::header::{COOKIE, HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{PURPOSE, Token, has, shown, welcome};

    fn token() -> Token {
        Token::parse(b"0123456789abcdef").unwrap()
    }

    fn head(fields: &[&[u8]]) -> HeaderMap {
        fields.iter().fold(HeaderMap::new(), |mut head, field| {
            head.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
            head
        })
    }

    #[test]
    fn the_cookie_is_found_among_others_and_tells_nothing_of_the_token() {
        let cookie = token().derived(PURPOSE);
        let value = cookie.text();
        assert_eq!(value.len(), 64);
        assert!(!value.contains(token().text()));
        assert_ne!(value, Token::parse(b"0123456789abcdeg").unwrap().derived(PURPOSE).text());
        assert_ne!(value, token().derived("another").text());
        let pair = format!("floodgate_read={value}");
        for fields in [
            &[pair.clone()][..],
            &[format!("a=b; {pair}; c=d")],
            &[format!("a=b;{pair}")],
            &["x=y".to_owned(), pair.clone()],
            &[format!("floodgate_read=0; {pair}")],
        ] {
            let fields: Vec<_> = fields.iter().map(String::as_bytes).collect();
            assert!(has(&head(&fields), &cookie), "{fields:?}");
        }
        for field in [
            String::new(),
            "floodgate_read".to_owned(),
            "floodgate_read=".to_owned(),
            format!("floodgate_read=\"{value}\""),
            format!("floodgate_rea={value}"),
            format!("xfloodgate_read={value}"),
            format!("Floodgate_read={value}"),
            format!("floodgate_read={value}0"),
            format!("floodgate_read={}", token().text()),
            format!("a={pair}"),
            // Not looked for without end.
            format!("{}{pair}", "a=b;".repeat(64)),
        ] {
            assert!(!has(&head(&[field.as_bytes()]), &cookie), "{field}");
        }
        let answer = welcome(&cookie);
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].as_bytes()), (303, &b"/"[..]));
        let set = format!("{pair}; Path=/; HttpOnly; SameSite=Strict");
        assert_eq!(answer.headers()["set-cookie"], set);
    }

    #[test]
    fn a_token_in_the_address_is_one_of_the_page() {
        let token = |method: &str, target: &str| {
            let request = Request::builder().method(method).uri(target).body(()).unwrap();
            shown(&request).map(|shown| String::from_utf8(shown.token).unwrap())
        };
        assert_eq!(token("GET", "/?token=a%2Bb&x").as_deref(), Some("a+b"));
        assert_eq!(token("GET", "/?x=1&token=t").as_deref(), Some("t"));
        assert_eq!(token("GET", "/?token=%zz").as_deref(), Some(""), "that is a wrong one");
        for (method, target) in
            [("GET", "/"), ("GET", "/?tokens=a"), ("GET", "/metrics?token=a"), ("POST", "/?token=a")]
        {
            assert_eq!(token(method, target), None, "{method} {target}");
        }
    }

    proptest! {
        #[test]
        fn no_other_cookies_are_it(fields in proptest::collection::vec("[ -~]{0,200}", 0..8)) {
            let cookie = token().derived(PURPOSE);
            prop_assume!(fields.iter().all(|field| !field.contains(cookie.text())));
            let fields: Vec<_> = fields.iter().map(String::as_bytes).collect();
            prop_assert!(!has(&head(&fields), &cookie));
        }
    }
}

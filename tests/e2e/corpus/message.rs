//! A second reading of requests, written from the grammar of RFC 9112 alone, and what a request of ours must look like to it.
//!
//! It shares nothing with the code it checks: what both accept, two implementations understand alike.

/// A request, taken apart.
pub(super) struct Message<'b> {
    method: &'b [u8],
    target: &'b [u8],
    version: &'b [u8],
    /// Names as received, values without the white space around them.
    fields: Vec<(&'b [u8], &'b [u8])>,
    framing: Framing,
    body: Vec<u8>,
    /// How many bytes it takes.
    pub(super) size: usize,
    /// It holds what may be received but is never sent by us: empty lines before it, odd white space, chunk extensions, trailers.
    odd: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    None,
    Length,
    Chunked,
}

/// What is meant for one connection only (RFC 9110 section 7.6.1), and what of it may never be nominated away.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const PROTECTED: &[&str] = &[
    "authorization",
    "cache-control",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "max-forwards",
    "via",
    "x-forwarded-for",
];

impl<'b> Message<'b> {
    /// The first request in `bytes`; None if they end before it does.
    pub(super) fn read(bytes: &'b [u8]) -> Result<Option<Self>, String> {
        let mut at = 0;
        while bytes[at..].starts_with(b"\r\n") {
            at += 2;
        }
        let mut odd = at > 0;
        let Some(start) = line(bytes, &mut at)? else { return Ok(None) };
        let words: Vec<_> = start.split(|&byte| byte == b' ').collect();
        let [method, target, version] = words[..] else { return Err(format!("request line {}", show(start))) };
        if !is_token(method) || target.is_empty() || start.iter().any(|&byte| is_control(byte) || byte == b'\t') {
            return Err(format!("request line {}", show(start)));
        }
        let mut fields = Vec::new();
        loop {
            let Some(text) = line(bytes, &mut at)? else { return Ok(None) };
            if text.is_empty() {
                break;
            }
            let (name, value) = field(text)?;
            odd |= [name, value].join(&b": "[..]) != text;
            fields.push((name, value));
        }
        let mut message =
            Self { method, target, version, fields, framing: Framing::None, body: Vec::new(), size: 0, odd };
        let whole = message.read_body(bytes, &mut at)?;
        message.size = at;
        Ok(whole.then_some(message))
    }

    fn values(&self, name: &str) -> Vec<&'b [u8]> {
        let named = self.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| *value).collect()
    }

    /// Takes the body at `at`; false if it ends too early.
    fn read_body(&mut self, bytes: &'b [u8], at: &mut usize) -> Result<bool, String> {
        match (&self.values("transfer-encoding")[..], &self.values("content-length")[..]) {
            ([], []) => Ok(true),
            ([], [digits]) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                self.framing = Framing::Length;
                let length: usize = String::from_utf8_lossy(digits).parse().map_err(|_| "an endless body")?;
                let Some(body) = bytes[*at..].get(..length) else { return Ok(false) };
                self.body = body.to_vec();
                *at += length;
                Ok(true)
            }
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => {
                self.framing = Framing::Chunked;
                self.read_chunks(bytes, at)
            }
            (codings, lengths) => Err(format!("framed by {} codings and {} lengths", codings.len(), lengths.len())),
        }
    }

    fn read_chunks(&mut self, bytes: &'b [u8], at: &mut usize) -> Result<bool, String> {
        loop {
            let Some(text) = line(bytes, at)? else { return Ok(false) };
            let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            if digits == 0 || !matches!(text.get(digits), None | Some(b';')) {
                return Err(format!("chunk size {}", show(text)));
            }
            self.odd |= text.len() > digits;
            let size = usize::from_str_radix(&String::from_utf8_lossy(&text[..digits]), 16);
            let size = size.map_err(|_| "an endless chunk")?;
            if size == 0 {
                break;
            }
            let Some(data) = bytes.get(*at..*at + size) else { return Ok(false) };
            self.body.extend(data);
            *at += size;
            match line(bytes, at)? {
                None => return Ok(false),
                Some(b"") => {}
                Some(more) => return Err(format!("a chunk followed by {}", show(more))),
            }
        }
        loop {
            let Some(text) = line(bytes, at)? else { return Ok(false) };
            if text.is_empty() {
                return Ok(true);
            }
            field(text)?;
            self.odd = true;
        }
    }

    /// What an origin is asked for: the target without scheme and authority.
    fn path(&self) -> Vec<u8> {
        let after = self.target.windows(3).position(|three| three == b"://").map_or(self.target, |scheme| {
            let rest = &self.target[scheme + 3..];
            &rest[rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len())..]
        });
        match after {
            [] if self.method == b"OPTIONS" => b"*".to_vec(),
            [b'/', ..] => after.to_vec(),
            _ => [b"/", after].concat(),
        }
    }

    /// The fields that are neither framing nor Host, meant for the origin, in order.
    fn end_to_end(&self) -> Vec<(&'b [u8], &'b [u8])> {
        let nominated: Vec<_> =
            self.values("connection").iter().flat_map(|value| value.split(|&b| b == b',')).collect();
        let goes_on = |name: &[u8]| {
            let is = |list: &[&str]| list.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()));
            let named = nominated.iter().any(|option| name.eq_ignore_ascii_case(option.trim_ascii()));
            !is(HOP_BY_HOP) && !is(&["host", "content-length"]) && (is(PROTECTED) || !named)
        };
        self.fields.iter().filter(|(name, _)| goes_on(name)).copied().collect()
    }

    /// Checks that `self`, which an origin received, is what this proxy makes of `sent`, for the origin `host`.
    pub(super) fn is_ours_for(&self, sent: &Message<'_>, host: &str) -> Result<(), String> {
        let is = |what: &str, yes: bool| if yes { Ok(()) } else { Err(format!("{what} is not ours")) };
        is("method", self.method == sent.method)?;
        is("target", self.target == sent.path())?;
        is("version", self.version == b"HTTP/1.1")?;
        is("white space, or a chunk extension, or a trailer", !self.odd)?;
        is("Host", self.values("host") == [host.as_bytes()])?;
        is("framing", self.framing == sent.framing)?;
        is("body", self.body == sent.body)?;
        // Only an upgrade that is passed on has hop-by-hop fields: these two, of each one.
        let upgrade = self.values("upgrade");
        let connection: &[&[u8]] = if upgrade.is_empty() { &[] } else { &[b"upgrade"] };
        is("Connection", self.values("connection") == connection)?;
        is("Upgrade", upgrade.is_empty() || (upgrade.len() == 1 && upgrade == sent.values("upgrade")))?;
        for name in HOP_BY_HOP.iter().filter(|name| !["connection", "transfer-encoding", "upgrade"].contains(name)) {
            is(name, self.values(name).is_empty())?;
        }
        let mut fields = self.end_to_end();
        let (name, via) = fields.pop().unwrap_or_default();
        let received = sent.version.strip_prefix(b"HTTP/").unwrap_or_default();
        let expected = [received, b" floodgate-"].concat();
        is("Via", name == b"Via" && via.starts_with(&expected))?;
        // RFC 9110 section 10.1.1: an expectation in HTTP/1.0 is ignored.
        let ignored = |name: &[u8]| received == b"1.0" && name.eq_ignore_ascii_case(b"expect");
        is("a field", fields.into_iter().eq(sent.end_to_end().into_iter().filter(|(name, _)| !ignored(name))))
    }
}

/// The line at `at` without its CRLF; None if it has not come. CR and LF stand nowhere else.
fn line<'b>(bytes: &'b [u8], at: &mut usize) -> Result<Option<&'b [u8]>, String> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return Ok(None) };
    match &rest[end..] {
        [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => {
            *at += end + 2;
            Ok(Some(&rest[..end]))
        }
        _ => Err(format!("a line end after {}", show(&rest[..end]))),
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let colon = line.iter().position(|&byte| byte == b':').ok_or_else(|| format!("no colon in {}", show(line)))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if !is_token(name) || value.iter().any(|&byte| is_control(byte)) {
        return Err(format!("field {}", show(line)));
    }
    Ok((name, value))
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// RFC 9110 section 5.5: every CTL but HTAB.
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

fn show(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes[..bytes.len().min(80)].escape_ascii())
}

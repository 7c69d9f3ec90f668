//! The field lines of a head: iteration, the names that mean something to a proxy, and the lists in their values.
//!
//! Owns: [`Field`], [`Fields`], the table of known names. Called by: the head parser and the rewriter.
//! Never: keeps a copy of anything; a field is a pair of slices of the head.

use memchr::memchr;

use super::{HeadError, MAX_FIELDS};

/// The most options that `Connection` may list. Each is compared with each field when a message is passed on; nobody needs more.
pub(super) const MAX_OPTIONS: usize = 32;

/// One field line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'b> {
    /// The name as received, a token.
    pub name: &'b [u8],
    /// The value as received, without surrounding white space.
    pub value: &'b [u8],
}

/// The field lines of a head: order, case, duplicates and bytes as received.
///
/// It is the validated block of lines itself, split anew by each iteration: that costs less than moving a table of 128 slices
/// around, and nothing while a request waits.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'b> {
    block: &'b [u8],
}

impl<'b> Fields<'b> {
    /// Validates `block`, all lines after the start-line including the empty one, and shows every field to `learn`.
    pub(super) fn parse(
        block: &'b [u8],
        most: usize,
        mut learn: impl FnMut(Known, &'b [u8]) -> Result<(), HeadError>,
    ) -> Result<Self, HeadError> {
        let mut table = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let table = table.get_mut(..most).unwrap_or_default();
        match httparse::parse_headers(block, table) {
            Ok(httparse::Status::Complete((size, fields))) if size == block.len() => {
                for field in fields {
                    if let Some(known) = Known::of(field.name.as_bytes()) {
                        learn(known, field.value)?;
                    }
                }
                Ok(Self { block })
            }
            Ok(_) => Err(HeadError::Malformed("field lines")),
            Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
            Err(httparse::Error::HeaderName) => Err(HeadError::Malformed("field name")),
            Err(_) => Err(HeadError::Malformed("field value")),
        }
    }

    /// The fields in the order received.
    pub fn iter(&self) -> Iter<'b> {
        Iter { rest: self.block }
    }
}

impl<'b> IntoIterator for &Fields<'b> {
    type Item = Field<'b>;
    type IntoIter = Iter<'b>;

    fn into_iter(self) -> Iter<'b> {
        self.iter()
    }
}

/// An iterator over the fields of a head.
#[derive(Clone, Debug)]
pub struct Iter<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for Iter<'b> {
    type Item = Field<'b>;

    fn next(&mut self) -> Option<Field<'b>> {
        let (line, rest) = self.rest.split_at_checked(memchr(b'\n', self.rest)? + 1)?;
        self.rest = rest;
        // The empty line at the end has no colon.
        let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
        Some(Field { name, value: value.get(1..)?.trim_ascii() })
    }
}

/// The field names that mean something to a proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Known {
    Connection,
    ContentLength,
    Date,
    Expect,
    Host,
    MaxForwards,
    ProxyConnection,
    TransferEncoding,
    Upgrade,
    Via,
    /// Meant for the next hop only, and of no use to us (RFC 9110 section 7.6.1).
    HopByHop,
    /// End-to-end fields on which others base decisions: a sender that nominates them in `Connection` wants them to vanish on
    /// the way, and they do not ("hop-by-hop header abuse").
    Protected,
}

impl Known {
    /// What `name` is, if it is anything here. By length first: nearly every field of a request stops there.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let candidates: &[(&[u8], Self)] = match name.len() {
            2 => &[(b"te", Self::HopByHop)],
            3 => &[(b"via", Self::Via)],
            4 => &[(b"host", Self::Host), (b"date", Self::Date)],
            6 => &[(b"expect", Self::Expect), (b"cookie", Self::Protected)],
            7 => &[(b"upgrade", Self::Upgrade), (b"trailer", Self::HopByHop)],
            9 => &[(b"forwarded", Self::Protected)],
            10 => &[(b"connection", Self::Connection), (b"keep-alive", Self::HopByHop)],
            12 => &[(b"max-forwards", Self::MaxForwards)],
            13 => &[(b"authorization", Self::Protected), (b"cache-control", Self::Protected)],
            14 => &[(b"content-length", Self::ContentLength)],
            15 => &[(b"x-forwarded-for", Self::Protected)],
            16 => &[(b"proxy-connection", Self::ProxyConnection)],
            17 => &[(b"transfer-encoding", Self::TransferEncoding)],
            18 => &[(b"proxy-authenticate", Self::HopByHop)],
            19 => &[(b"proxy-authorization", Self::HopByHop)],
            25 => &[(b"proxy-authentication-info", Self::HopByHop)],
            _ => &[],
        };
        candidates.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|&(_, kind)| kind)
    }
}

/// The members of a comma-separated list without surrounding white space; empty ones are left out (RFC 9110 section 5.6.1.2).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// The field names that `Connection` nominates for removal.
pub(crate) struct Nominated<'b> {
    names: [&'b [u8]; MAX_OPTIONS],
    count: usize,
}

impl<'b> Nominated<'b> {
    /// Collects them from the `Connection` fields of a head. At most [`MAX_OPTIONS`]: the parser refuses more.
    pub(crate) fn of(fields: Fields<'b>) -> Self {
        let mut names: [&[u8]; MAX_OPTIONS] = [b""; MAX_OPTIONS];
        let lines = fields.iter().filter(|field| Known::of(field.name) == Some(Known::Connection));
        let options = lines.flat_map(|field| members(field.value));
        let mut count = 0;
        for (slot, option) in names.iter_mut().zip(options) {
            *slot = option;
            count += 1;
        }
        Self { names, count }
    }

    /// Whether the field `name` goes because the sender said so.
    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.names.iter().take(self.count).any(|nominated| nominated.eq_ignore_ascii_case(name))
    }
}

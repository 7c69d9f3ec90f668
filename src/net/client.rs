//! Who a client is: one IPv4 address, or one IPv6 /64 (a single host owns all of a /64, RFC 6177).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The key under which a client is limited and counted.
///
/// Eight bytes: an IPv4 address under the otherwise unused prefix `0:1::/32`, or the upper half of an IPv6 address.
/// IPv4-mapped addresses fold to IPv4.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientKey(u64);

/// Marks an IPv4 key. As an IPv6 prefix it would be `0:1::/32`, which is reserved (RFC 4291 section 2.4) and no client's.
const V4: u64 = 1 << 32;

impl ClientKey {
    /// The key of this address.
    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(V4 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }

    /// The address, or the first address of the /64.
    pub fn address(self) -> IpAddr {
        if self.0 >> 32 == 1 {
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the IPv4 address")]
            let bits = self.0 as u32;
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.0) << 64))
        }
    }

    /// The key as the number that tables are indexed by.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::ClientKey;

    #[test]
    fn a_client_is_an_ipv4_address_or_a_64() {
        let key = |text: &str| ClientKey::new(text.parse().unwrap());
        assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(key("2001:db8:0:1::1").to_string(), "2001:db8:0:1::/64");
        assert_eq!(key("::1").to_string(), "::/64");
    }
}

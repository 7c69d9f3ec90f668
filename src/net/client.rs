//! Who a client is: one IPv4 address, or one IPv6 /64 (a single host owns all of a /64, RFC 6177).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The key under which a client is limited and counted.
///
/// Eight bytes: an IPv4 address under the otherwise unused prefix `0:1::/32`, or the upper half of an IPv6 address.
/// IPv4-mapped addresses fold to IPv4.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientKey(u64);

/// Marks the key of a /48. As an IPv6 prefix it would be `2::/16`, which is reserved too.
const SITE: u64 = 2;
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

    /// The address, or the first address of the /64 or /48.
    pub fn address(self) -> IpAddr {
        if self.0 >> 32 == 1 {
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the IPv4 address")]
            let bits = self.0 as u32;
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        } else if self.0 >> 48 == SITE {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.0) << 80))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.0) << 64))
        }
    }

    /// The key of the /48 around an IPv6 /64, as sites are given (RFC 6177); a site's own key for a site. `None` for IPv4.
    pub const fn site(self) -> Option<Self> {
        match self.0 >> 48 {
            _ if self.0 >> 32 == 1 => None,
            SITE => Some(self),
            _ => Some(Self(SITE << 48 | self.0 >> 16)),
        }
    }

    /// The addresses it stands for.
    pub fn network(self) -> IpNet {
        let length = if self.0 >> 32 == 1 {
            32
        } else if self.0 >> 48 == SITE {
            48
        } else {
            64
        };
        IpNet::new_assert(self.address(), length)
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
            IpAddr::V6(_) => self.network().fmt(f),
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
        assert_eq!(key("10.0.0.1").site(), None);
        let site = key("2001:db8:5:1::1").site().unwrap();
        assert_eq!((site.to_string().as_str(), site.site()), ("2001:db8:5::/48", Some(site)));
        assert_eq!(key("2001:db8:5:ffff::1").site(), Some(site));
        assert_ne!(key("2001:db8:6:1::1").site(), Some(site));
        assert_eq!(key("10.0.0.1").network().to_string(), "10.0.0.1/32");
    }
}

//! nftables alone.

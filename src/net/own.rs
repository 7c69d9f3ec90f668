//! Our own addresses.

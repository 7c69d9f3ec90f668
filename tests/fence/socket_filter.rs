//! The socket filter alone.

//! Every alarm there is, in one table.

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// To be known.
    Info,
    /// Somebody should look today.
    Warning,
    /// Users suffer, or are about to.
    Critical,
}

/// One of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Alarm {
    /// A client asks for this box itself, again and again.
    SelfTargetStorm,
}

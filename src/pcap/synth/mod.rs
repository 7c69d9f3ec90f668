//! Captures that are made up: scenarios as files, the same bytes for the same seed.

//! A capture's requests, played again by live clients.

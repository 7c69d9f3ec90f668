//! What happened: proxies, self-target requests, storms, bypass, and what to do about it.

//! What the process may do, and giving up what it does not need.
//!
//! Owns: [`Privileges`], the change of user, the drop of capabilities. Called by: the command line, between binding and
//! the first thread; the configuration, to look an account up. Never: gains a right, or drops one of a library's caller.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};
use rustix::process::geteuid;
use rustix::thread::{set_keep_capabilities, set_no_new_privs};

use crate::net::close::may_vanish;

/// The longest name of an account (`LOGIN_NAME_MAX`, limits.h(0p) on Linux).
const NAME_LIMIT: usize = 256;

/// An account of this box, which there was when the configuration was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its name.
    pub name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Looks it up where the system's name service says (passwd(5), nsswitch.conf(5)).
    ///
    /// # Errors
    /// The name service cannot be asked. An account that does not exist is `None`, and so is what cannot be a name.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$' | b'@');
        if name.is_empty() || name.len() > NAME_LIMIT || !name.bytes().all(named) {
            return Ok(None);
        }
        let user = User::from_name(name)?;
        Ok(user.map(|User { name, uid, gid, .. }| Self { name, uid: uid.as_raw(), gid: gid.as_raw() }))
    }

    /// Becomes it, with its groups; the permitted capabilities stay. Of all threads, as glibc does it (nptl(7)).
    fn become_it(&self) -> io::Result<()> {
        if self.is_ours()? {
            return Ok(());
        }
        set_keep_capabilities(true)?;
        initgroups(&CString::new(self.name.as_str())?, Gid::from_raw(self.gid))?;
        setgid(Gid::from_raw(self.gid))?;
        setuid(Uid::from_raw(self.uid))?;
        // It would be cleared by an execve(2) only, and there is none.
        Ok(set_keep_capabilities(false)?)
    }

    /// Whether the process is this account already, in every one of its three ids.
    fn is_ours(&self) -> io::Result<bool> {
        let (users, groups) = (nix::unistd::getresuid()?, nix::unistd::getresgid()?);
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        Ok([users.real, users.effective, users.saved].iter().all(|id| *id == uid)
            && [groups.real, groups.effective, groups.saved].iter().all(|id| *id == gid))
    }
}

/// What this thread may do at this moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Privileges {
    /// The effective user.
    pub uid: u32,
    /// `CAP_NET_ADMIN`, over the network the process is in (root of a user namespace may have one that is worth nothing
    /// there): dropping connections silently, the fence, `SOCK_DESTROY`.
    pub net_admin: bool,
    /// Whether `/proc/slabinfo` can be opened: it takes root's uid or `CAP_DAC_READ_SEARCH`.
    pub slabinfo: bool,
    /// Whether this is the first network namespace, if that can be told: only there the kernel shows, and lets set, the
    /// limits of TCP as a whole.
    pub initial_network: Option<bool>,
}

impl Privileges {
    /// Looks. What cannot be found out counts as missing.
    pub fn read() -> Self {
        let has_capability = caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false);
        Self {
            uid: geteuid().as_raw(),
            net_admin: has_capability && may_vanish(),
            slabinfo: File::open("/proc/slabinfo").is_ok(),
            initial_network: initial_network(Path::new("/proc/sys/net/ipv4")),
        }
    }

    /// What is missing and what that costs, for one line of the log; empty if nothing is.
    pub fn missing(&self) -> String {
        let missing = [
            (
                !self.net_admin,
                "no CAP_NET_ADMIN: storms are held instead of dropped, no kernel fence, sockets are not destroyed",
            ),
            (!self.slabinfo, "no /proc/slabinfo: the kernel memory of sockets is not seen"),
            (
                self.initial_network == Some(false),
                "a network namespace of its own: the kernel hides tcp_mem and tcp_max_orphans there",
            ),
        ];
        let costs: Vec<_> = missing.into_iter().filter_map(|(is_missing, cost)| is_missing.then_some(cost)).collect();
        costs.join("; ")
    }
}

/// The kernel registers `tcp_max_orphans` for its first network only (`ipv4_table` in `net/ipv4/sysctl_net_ipv4.c`).
fn initial_network(sysctls: &Path) -> Option<bool> {
    sysctls.join("ip_local_port_range").exists().then(|| sysctls.join("tcp_max_orphans").exists())
}

/// Becomes `user`, if one is given, and gives up every capability but `CAP_NET_ADMIN`, for good: what is executed later
/// has none, whoever owns it. Returns what could be done before and so still works: listeners, slabinfo and netlink
/// sockets that are open stay.
///
/// Capabilities belong to threads (capabilities(7)): call this before any other thread is started. Without any right it
/// changes nothing and succeeds.
///
/// # Errors
/// The user cannot be changed, or the kernel did not take something away that it must take.
pub fn drop_to_needed(user: Option<&Account>) -> io::Result<Privileges> {
    let before = Privileges::read();
    // Takes CAP_SETPCAP; without it the set stays, and no_new_privs makes it useless.
    caps::clear(None, CapSet::Bounding).unwrap_or_default();
    if let Some(account) = user {
        account.become_it().map_err(|error| {
            let remedy = "start as root, or remove runtime.user";
            io::Error::new(error.kind(), format!("cannot become {}: {error}; {remedy}", account.name))
        })?;
    }
    let failed = |error: caps::errors::CapsError| io::Error::other(error.to_string());
    let mut needed = caps::read(None, CapSet::Permitted).map_err(failed)?;
    needed.retain(|capability| before.net_admin && *capability == Capability::CAP_NET_ADMIN);
    // In this order each set stays within the next (capabilities(7), "capset").
    for (set, value) in
        [(CapSet::Inheritable, &CapsHashSet::new()), (CapSet::Effective, &needed), (CapSet::Permitted, &needed)]
    {
        caps::set(None, set, value).map_err(failed)?;
    }
    // The ambient set went with the inheritable one. From here on no program that is executed gains anything either.
    set_no_new_privs(true)?;
    Ok(Privileges { uid: geteuid().as_raw(), ..before })
}

#[cfg(test)]
mod tests {
    use super::{Account, Privileges, initial_network};

    const ALL: Privileges = Privileges { uid: 0, net_admin: true, slabinfo: true, initial_network: Some(true) };

    #[test]
    fn what_is_missing_is_told_with_what_it_costs() {
        assert_eq!(ALL.missing(), "");
        assert_eq!(Privileges { uid: 1000, ..ALL }.missing(), "", "it is not root that is needed");
        let nothing = Privileges { uid: 1000, net_admin: false, slabinfo: false, initial_network: None };
        let told = nothing.missing();
        assert!(told.starts_with("no CAP_NET_ADMIN: ") && told.contains("; no /proc/slabinfo: "), "{told}");
        assert!(!told.contains("namespace"), "what cannot be told is not: {told}");
        let apart = Privileges { initial_network: Some(false), ..ALL };
        assert!(apart.missing().starts_with("a network namespace of its own"));
    }

    #[test]
    fn the_first_network_is_known_by_its_sysctls() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(initial_network(folder.path()), None);
        std::fs::write(folder.path().join("ip_local_port_range"), "").unwrap();
        assert_eq!(initial_network(folder.path()), Some(false));
        std::fs::write(folder.path().join("tcp_max_orphans"), "").unwrap();
        assert_eq!(initial_network(folder.path()), Some(true));
    }

    #[test]
    fn accounts_are_looked_up() {
        let root = Account::find("root").unwrap().unwrap();
        assert_eq!((&*root.name, root.uid, root.gid), ("root", 0, 0));
        for name in ["", "no-such-account-here", "a b", "root\0", "../root", &"a".repeat(300)] {
            assert_eq!(Account::find(name).unwrap(), None, "{name:?}");
        }
    }
}

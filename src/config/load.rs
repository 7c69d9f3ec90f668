//! Where the configuration comes from: a file, the flags, or neither.
//!
//! Owns: reading the file within bounds, and the order of precedence. Called by: the command line and the reload.
//! Never: judges a value.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::file::{self, Draft};
use super::hosts::canonical;
use super::keys::ADMIN_ADDRESS;
use super::problem::Problems;
use super::settings::{Listener, Settings};

/// The file that is read, if it exists, when none is named.
pub const DEFAULT_PATH: &str = "/etc/floodgate/floodgate.toml";

/// A longer file is not a configuration.
const MAX_FILE: u64 = 1 << 20;

/// What the command line's flags set.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// `--listen`: replaces all listeners of the file, unless empty.
    pub listen: Vec<SocketAddr>,
    /// `--admin`: replaces `admin.address`.
    pub admin: Option<SocketAddr>,
}

/// Why there are no settings.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be read, is longer than 1 MiB, or is not UTF-8.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The file, or what the flags made of it, is wrong.
    Invalid {
        /// The file; `None` if there was none and the flags are at fault.
        path: Option<PathBuf>,
        /// All that is wrong.
        problems: Problems,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => {
                write!(f, "{}: {error}", path.display())?;
                if error.kind() == io::ErrorKind::PermissionDenied {
                    write!(f, "; uid {} must be able to read it", geteuid().as_raw())?;
                }
                Ok(())
            }
            Self::Invalid { path, problems } => {
                for (index, problem) in problems.0.iter().enumerate() {
                    if index > 0 {
                        f.write_str("\n")?;
                    }
                    if let Some(path) = path {
                        write!(f, "{}: ", path.display())?;
                    }
                    problem.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            Self::Invalid { problems, .. } => Some(problems),
        }
    }
}

/// The settings of this file, or of [`DEFAULT_PATH`] if it exists, or the defaults; flags go before either.
///
/// What a flag replaces is not checked against the rest, what it sets is. `/dev/stdin` works.
///
/// # Errors
///
/// The file cannot be read (a named file must exist), or something in it, or in the flags, is wrong.
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Settings, LoadError> {
    load_or(path, Path::new(DEFAULT_PATH), overrides)
}

/// [`load`] with another default path.
fn load_or(path: Option<&Path>, default: &Path, overrides: &Overrides) -> Result<Settings, LoadError> {
    let chosen = path.unwrap_or(default);
    let unreadable = |error| LoadError::Unreadable { path: chosen.to_owned(), error };
    let file = match File::open(chosen) {
        Ok(file) => Some(file),
        Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(error)),
    };
    let from = file.is_some().then(|| chosen.to_owned());
    let text = file.map_or(Ok(String::new()), read).map_err(unreadable)?;
    file::read(&text)
        .and_then(|mut draft| {
            override_with(&mut draft, overrides);
            draft.finish()
        })
        .map_err(|mut problems| {
            for problem in &mut problems.0 {
                if problem.line.is_none() {
                    problem.key = flag(&problem.key, overrides);
                }
            }
            LoadError::Invalid { path: from, problems }
        })
}

fn read(file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB: not a configuration"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(valid);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line}: not UTF-8 text; save the file as UTF-8"))
    })
}

/// Puts the flags in the place of what the file says; the file's lines no longer tell where that is.
fn override_with(draft: &mut Draft, overrides: &Overrides) {
    if !overrides.listen.is_empty() {
        let listen = overrides.listen.iter().copied().map(canonical);
        draft.settings.listeners = listen.map(|address| Listener { address }).collect();
        draft.lines.retain(|(key, _)| !key.starts_with("listener["));
    }
    if let Some(admin) = overrides.admin {
        draft.settings.admin.address = canonical(admin);
        draft.lines.retain(|(key, _)| key != ADMIN_ADDRESS.row.path);
    }
}

/// The flag that set this key, if one did.
fn flag(key: &str, overrides: &Overrides) -> String {
    if key.starts_with("listener[") && !overrides.listen.is_empty() {
        "--listen".to_owned()
    } else if key == ADMIN_ADDRESS.row.path && overrides.admin.is_some() {
        "--admin".to_owned()
    } else {
        key.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::{LoadError, Overrides, Settings, load_or};

    #[test]
    fn flags_go_before_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"[[listener]]\naddress = '127.0.0.1:9128'\n[limits]\nconnections = 7\n").unwrap();
        let nowhere = Path::new("/nonexistent/floodgate.toml");
        let load = |path: Option<&Path>, default: &Path, listen: &[&str], admin: Option<&str>| {
            let overrides = Overrides {
                listen: listen.iter().map(|a| a.parse().unwrap()).collect(),
                admin: admin.map(|a| a.parse().unwrap()),
            };
            load_or(path, default, &overrides).map_err(|error| error.to_string())
        };
        let path = file.path();

        let settings = load(Some(path), nowhere, &["[::ffff:127.0.0.1]:5", "[::1]:5"], None).unwrap();
        assert_eq!(settings.limits.connections, 7);
        let listeners: Vec<_> = settings.listeners.iter().map(|l| l.address.to_string()).collect();
        assert_eq!(listeners, ["127.0.0.1:5", "[::1]:5"]);
        // Flags mend a conflict of the file, and make one.
        assert_eq!(load(None, path, &[], Some("127.0.0.1:6")).unwrap().admin.address.port(), 6);
        assert_eq!(
            load(Some(path), nowhere, &["127.0.0.1:5"], Some("127.0.0.1:5")),
            Err(format!(
                "{}: --admin = \"127.0.0.1:5\": the same address as listener[0].address; use another port or remove one of the two",
                path.display()
            ))
        );
        let told = load(None, nowhere, &["127.0.0.1:5", "127.0.0.1:5"], None).unwrap_err();
        assert!(told.starts_with("--listen = \"127.0.0.1:5\": the same address"), "{told}");
        assert_eq!(load(None, nowhere, &[], None), Ok(Settings::defaults()));
        let told = load(Some(nowhere), path, &[], None).unwrap_err();
        assert!(told.starts_with("/nonexistent/floodgate.toml: "), "{told}");
    }

    #[test]
    fn files_that_are_no_text_are_unreadable() {
        let load = |content: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content).unwrap();
            match load_or(Some(file.path()), Path::new("/"), &Overrides::default()) {
                Ok(_) => String::new(),
                Err(LoadError::Unreadable { error, .. }) => error.to_string(),
                Err(LoadError::Invalid { problems, .. }) => problems.to_string(),
            }
        };
        assert_eq!(load(&vec![b'\n'; 1 << 20]), "");
        assert_eq!(load(&vec![b'\n'; (1 << 20) + 1]), "longer than 1 MiB: not a configuration");
        assert_eq!(load(b"# \n\xff\n"), "line 2: not UTF-8 text; save the file as UTF-8");
        assert_eq!(load(b"log.level = 1\nx = 2").lines().count(), 2);
        let directory = load_or(Some(Path::new("/")), Path::new("/"), &Overrides::default());
        assert!(matches!(directory, Err(LoadError::Unreadable { .. })));
    }
}

//! Where this user, or this service, keeps what is to be there after a restart.

use std::path::PathBuf;

use rustix::process::geteuid;

/// The folder, or `None` where there is no place for one. It may not exist yet.
pub(crate) fn folder() -> Option<PathBuf> {
    usual(|name| std::env::var_os(name).map(PathBuf::from), geteuid().is_root())
}

/// `STATE_DIRECTORY` is what systemd has made for a service (systemd.exec(5)); for the first of several it is enough.
fn usual(variable: impl Fn(&str) -> Option<PathBuf>, root: bool) -> Option<PathBuf> {
    let state = variable("STATE_DIRECTORY").and_then(|all| Some(PathBuf::from(all.to_str()?.split(':').next()?)));
    let folder = match state {
        Some(state) => Some(state),
        None if root => Some(PathBuf::from("/var/lib/floodgate")),
        None => variable("XDG_RUNTIME_DIR").map(|own| own.join("floodgate")),
    };
    folder.filter(|folder| folder.is_absolute())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::usual;

    #[test]
    fn everybody_has_a_usual_place() {
        let place = |state: &str, runtime: &str, root| {
            let variable = |name: &str| match name {
                "STATE_DIRECTORY" => Some(state).filter(|text| !text.is_empty()).map(PathBuf::from),
                "XDG_RUNTIME_DIR" => Some(runtime).filter(|text| !text.is_empty()).map(PathBuf::from),
                _ => None,
            };
            usual(variable, root).map(|path| path.to_str().unwrap().to_owned())
        };
        assert_eq!(place("/var/lib/a:/var/lib/b", "/run/user/1", false).as_deref(), Some("/var/lib/a"));
        assert_eq!(place("", "/run/user/0", true).as_deref(), Some("/var/lib/floodgate"));
        assert_eq!(place("", "/run/user/7", false).as_deref(), Some("/run/user/7/floodgate"));
        assert_eq!(place("", "", false), None);
        assert_eq!(place("", "relative", false), None);
    }
}

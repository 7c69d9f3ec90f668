//! The token that every change must carry: read from its file, which is made if it is not there.
//!
//! Owns: [`Token`], its file. Called by: the gateway when it starts, the command line when it changes something.
//! Never: shows a token, or believes one that others can read or could have written.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;
use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::config::settings::TokenFile;
use crate::config::state;

/// Random bytes of a token that is made: 256 bits, written as hexadecimal digits.
const RANDOM: usize = 32;
/// Characters a token has at least: what an operator writes himself may be shorter than ours, but not guessable.
const SHORTEST: usize = 16;
/// And at most: it goes into one field of a head.
const LONGEST: usize = 256;

/// What proves that somebody may change something.
#[derive(Clone)]
pub struct Token(Box<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Reads it, or makes it where there is none.
    ///
    /// # Errors
    ///
    /// There is no place for it, the file cannot be read or made, others may read it, or it holds no token: what is wrong and
    /// what to do about it.
    pub fn load(choice: &TokenFile) -> Result<Self, String> {
        let path = place(choice)?;
        let told = |why: String| format!("{}: {why}", path.display());
        match read_own(&path) {
            Err(Unusable::Absent) => make(&path)
                .map_err(|error| format!("cannot be made: {error}; name another file in admin.token-file"))
                .and_then(|()| read_own(&path).map_err(Unusable::told)),
            read => read.map_err(Unusable::told),
        }
        .map_err(told)
    }

    /// The token that a file holds: one word of 16 to 256 visible characters.
    ///
    /// # Errors
    ///
    /// It holds something else.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(text.trim_ascii()).unwrap_or_default();
        let fits = (SHORTEST..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.into())) } else { Err("holds no token: one word of 16 to 256 ASCII characters") }
    }

    /// Reads one that somebody has been given, from wherever he keeps it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no token.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut text = Vec::new();
        File::open(path)?.take(2 * LONGEST as u64).read_to_end(&mut text)?;
        Self::parse(&text).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// Whether this is it. How long the comparison takes tells nothing but the length.
    pub fn is(&self, shown: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let difference = own.iter().zip(shown).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
        own.len() == shown.len() && difference == 0
    }

    /// The word itself.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Another secret that whoever has this one can make, for one purpose, and that tells nothing about it: HMAC-SHA-256
    /// (RFC 2104), in hexadecimal.
    pub(super) fn derived(&self, purpose: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        Self(hexadecimal(hmac::sign(&key, purpose.as_bytes()).as_ref()).into())
    }

    /// What is sent: `Bearer` and the token (RFC 6750 section 2.1).
    pub fn credentials(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

/// Where the token's file is.
///
/// # Errors
///
/// Nowhere: why.
pub fn place(choice: &TokenFile) -> Result<PathBuf, String> {
    match choice {
        TokenFile::At(path) => Ok(path.clone()),
        TokenFile::Off => Err("admin.token-file is \"\"".to_owned()),
        TokenFile::Auto => state::folder().map(|folder| folder.join("token")).ok_or_else(|| {
            "there is no XDG_RUNTIME_DIR to keep a token in; name a file in admin.token-file".to_owned()
        }),
    }
}

/// Why a file is not taken.
enum Unusable {
    Absent,
    Wrong(String),
}

impl Unusable {
    fn told(self) -> String {
        match self {
            Self::Absent => "it is not there".to_owned(),
            Self::Wrong(why) => why,
        }
    }
}

/// Reads the file if it is one that only its owner can read, and the owner is this user or root.
fn read_own(path: &Path) -> Result<Token, Unusable> {
    let wrong = |why: &str| Unusable::Wrong(why.to_owned());
    // A link or a pipe in its place is refused, and not waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        let absent = error.kind() == io::ErrorKind::NotFound;
        if absent { Unusable::Absent } else { Unusable::Wrong(error.to_string()) }
    })?;
    let about = file.metadata().map_err(|error| Unusable::Wrong(error.to_string()))?;
    if !about.is_file() {
        return Err(wrong("is no file"));
    }
    if about.mode() & 0o077 != 0 {
        return Err(wrong("others may read it or write to it; chmod 600, or remove it and a new one is made"));
    }
    if about.uid() != 0 && about.uid() != geteuid().as_raw() {
        return Err(wrong("belongs to another user; chown it, or remove it and a new one is made"));
    }
    let mut text = Vec::new();
    file.take(2 * LONGEST as u64).read_to_end(&mut text).map_err(|error| Unusable::Wrong(error.to_string()))?;
    Token::parse(&text).map_err(wrong)
}

/// Makes the file, and the folder it is in. It appears with its content, or not at all; if another process is faster, that
/// one's stays.
fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        DirBuilder::new().mode(0o700).create(folder)?;
    }
    let mut random = [0; RANDOM];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let token = hexadecimal(&random);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // What a process of this number has left behind.
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let made = file.write_all(format!("{token}\n").as_bytes()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&draft)?;
    made
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::Token;
    use crate::config::settings::TokenFile;

    fn load(path: &Path) -> Result<Token, String> {
        Token::load(&TokenFile::At(path.to_owned()))
    }

    #[test]
    fn it_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/token");
        let made = load(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(made.0.len(), 64);
        assert_eq!(load(&path).unwrap().0, made.0, "what is there stays");
        assert_eq!(Token::read(&path).unwrap().0, made.0);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left behind");
        let other = load(&folder.path().join("other")).unwrap();
        assert_ne!(other.0, made.0);
        assert!(!format!("{made:?}").contains(&*made.0));
    }

    #[test]
    fn only_the_whole_token_is_it() {
        let token = Token::parse(b"0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for wrong in
            [&b""[..], b"0", b"0123456789abcde", b"0123456789abcdee", b"0123456789abcdef0", b"1123456789abcdef"]
        {
            assert!(!token.is(wrong), "{wrong:?}");
        }
        assert_eq!(token.credentials(), "Bearer 0123456789abcdef");
    }

    #[test]
    fn what_others_can_read_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        load(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let told = load(&path).unwrap_err();
            assert!(told.contains("others may read it") && told.starts_with(path.to_str().unwrap()), "{told}");
        }
    }

    #[test]
    fn what_is_no_token_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for content in [
            &b""[..],
            b"short",
            b"two words and more",
            &[b'x'; 300],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let told = load(&path).unwrap_err();
            assert!(told.contains("holds no token"), "{told}");
        }
        assert!(load(folder.path()).unwrap_err().contains("is no file"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(load(&link).is_err(), "a link may lead anywhere");
        let told = load(&folder.path().join("not/there/token")).unwrap_err();
        assert!(told.contains("cannot be made"), "{told}");
        assert!(Token::load(&TokenFile::Off).is_err());
    }
}

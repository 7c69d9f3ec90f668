//! The files of a webhook: what `floodgate check` says of them, and that no secret is shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::rig::{NOW, at, certificate, secret_file, webhook};
use crate::alarm::deliver::check;
use crate::alarm::deliver::endpoint::{Endpoint, Trust};
use crate::config::Settings;
use crate::config::settings::{Webhook, WebhookKind, WebhookPlace};

fn told(webhook: Webhook) -> Vec<String> {
    let settings = Settings { webhooks: vec![webhook], ..Settings::defaults() };
    check(&settings).iter().map(ToString::to_string).collect()
}

fn robot(path: &Path) -> Webhook {
    webhook(WebhookKind::Wecom, WebhookPlace::UrlFile(path.to_owned()))
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let about = |why: &str| vec![format!("alarm.webhook[0].url-file = \"{}\": {why}", path.display())];
    let missing = told(robot(&path));
    assert_eq!(missing, about("No such file or directory (os error 2); name another file, or mend this one"));
    for (content, why) in [
        ("", "does not hold one line of text; name another file, or mend this one"),
        ("https://h/a\nhttps://h/b\n", "does not hold one line of text; name another file, or mend this one"),
        ("not an address", "the address in it is not an address; write https://HOST/PATH"),
        (
            "http://hooks.example.net/a",
            "the address in it would send alarms, and the key in the address, unencrypted; write https://; or, to an address of this box or of a private network, set plain-http = true",
        ),
    ] {
        secret_file(&path, content);
        assert_eq!(told(robot(&path)), about(why), "{content}");
    }
    secret_file(&path, &"x".repeat(5_000));
    assert_eq!(told(robot(&path)), about("is longer than 4096 bytes; name another file, or mend this one"));
    secret_file(&path, " https://hooks.example.net/a \n");
    assert!(told(robot(&path)).is_empty());
    for (mode, right) in [(0o640, true), (0o400, true), (0o604, false), (0o602, false)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let told = told(robot(&path));
        assert_eq!(told.is_empty(), right, "{mode:o}: {told:?}");
        assert!(right || told[0].ends_with("; chmod 600"), "{told:?}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(told(robot(&path)), about("is no file; name another file, or mend this one"));
}

#[test]
fn a_pipe_in_its_place_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    assert!(told(robot(&path))[0].contains("is no file"));
}

#[test]
fn programs_and_certificates_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("tell");
    let command = || webhook(WebhookKind::Command, WebhookPlace::Command(vec![program.display().to_string()]));
    assert!(told(command())[0].starts_with("alarm.webhook[0].command[0] = "));
    fs::write(&program, "#!/bin/sh\n").unwrap();
    for (mode, why) in [(0o644, "is no program; chmod +x"), (0o757, "may change it; chmod o-w")] {
        fs::set_permissions(&program, Permissions::from_mode(mode)).unwrap();
        assert!(told(command())[0].ends_with(why), "{:?}", told(command()));
    }
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    assert!(told(command()).is_empty());

    let ca_file = folder.path().join("ca.pem");
    let private = || Webhook { ca_file: Some(ca_file.clone()), ..at(WebhookKind::Json, "https://h/") };
    fs::write(&ca_file, "nothing").unwrap();
    assert!(told(private())[0].contains("holds no certificate in PEM"));
    fs::write(&ca_file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(told(private())[0].contains("cannot be used"));
    fs::write(&ca_file, certificate(&["h"], NOW).1).unwrap();
    assert!(told(private()).is_empty());
    let secret = Webhook { secret_file: Some("/nonexistent".into()), ..at(WebhookKind::Json, "https://h/") };
    assert!(told(secret)[0].starts_with("alarm.webhook[0].secret-file = \"/nonexistent\": "));
}

#[test]
fn no_secret_gets_into_words() {
    let folder = tempfile::tempdir().unwrap();
    let (path, key) = (folder.path().join("url"), folder.path().join("key"));
    secret_file(&path, "https://hooks.example.net/services/T0001/B0002abc/XXXXXXXXYYYY?access_token=abcdef012345&x=1");
    secret_file(&key, "SEC0f7e1");
    let webhook = Webhook { secret_file: Some(key), ..robot(&path) };
    let endpoint = Endpoint::load(&webhook, &Trust::default()).unwrap();
    let shown = format!("{endpoint:?}");
    assert!(shown.contains("hooks.example.net") && !shown.contains("XXXX") && !shown.contains("SEC"), "{shown}");
    for said in [
        "no such path: /services/T0001/B0002abc/XXXXXXXXYYYY",
        "hook XXXXXXXXYYYY of B0002abc is unknown",
        "token abcdef012345 expired",
        "bad query access_token=abcdef012345&x=1",
        "the key SEC0f7e1 is wrong",
    ] {
        let told = endpoint.without_secrets(said);
        assert!(told.contains('…'), "{told}");
        for secret in ["XXXXXXXXYYYY", "B0002abc", "abcdef012345", "SEC0f7e1"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
    assert_eq!(endpoint.without_secrets("certificate expired"), "certificate expired");
}

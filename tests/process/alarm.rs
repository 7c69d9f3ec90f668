//! Alarms as the operator sets them up: check, test, queue.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::rig::command;

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str], config: &str) -> (i32, String, String) {
    let arguments = arguments.iter().chain(&["--config", "/dev/stdin"]);
    told(&command(arguments, config.as_bytes()))
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_test_tells_of_every_destination_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad, out) = (folder.path().join("good"), folder.path().join("bad"), folder.path().join("out"));
    script(&good, &format!("/bin/cat > {}", out.display()));
    script(&bad, "echo nobody answers >&2; exit 1");
    let hook = |path: &Path| format!("[[alarm.webhook]]\nkind = 'command'\ncommand = ['{}']\n", path.display());

    let (code, stdout, stderr) = run(&["alarm", "test"], &hook(&good));
    assert_eq!((code, stdout, &*stderr), (0, format!("{}: delivered\n", good.display()), ""));
    let message = fs::read_to_string(&out).unwrap();
    assert!(message.contains("\"stage\":\"test\""), "{message}");

    let both = hook(&good) + &hook(&bad);
    let (code, stdout, stderr) = run(&["alarm", "test"], &both);
    assert_eq!((code, &*stderr), (1, ""));
    let expected = format!(
        "{}: delivered\n{}: not delivered: exit status: 1: nobody answers\n  to do: run it by hand with a message on its standard input\n",
        good.display(),
        bad.display()
    );
    assert_eq!(stdout, expected);
    let (code, stdout, _) = run(&["alarm", "test", "--json"], &both);
    assert!(code == 1 && stdout.starts_with('[') && stdout.contains("\"delivered\": false"), "{stdout}");

    let (code, stdout, stderr) = run(&["alarm", "test"], "");
    assert_eq!((code, &*stdout), (1, ""));
    assert!(stderr.contains("[[alarm.webhook]]"), "{stderr}");
    assert_eq!(run(&["alarm", "test"], "[alarm").0, 1);
    assert_eq!(told(&command(["alarm", "test", "--config", "/nonexistent"], b"")).0, 65);
    assert_eq!(told(&command(["alarm"], b"")).0, 64);
}

#[test]
fn a_check_reads_the_files_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let config = format!("[[alarm.webhook]]\nkind = 'wecom'\nurl-file = '{}'\n", path.display());
    let (code, stdout, _) = run(&["check"], &config);
    assert!(code == 1 && stdout.contains("alarm.webhook[0].url-file") && stdout.contains("No such file"), "{stdout}");
    fs::write(&path, "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123-secret\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, stdout, _) = run(&["check"], &config);
    assert!(code == 1 && stdout.contains("chmod 600") && !stdout.contains("secret"), "{stdout}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run(&["check"], &config), (0, "ok\n".to_owned(), String::new()));
    // Nobody is there: what is printed of it names the file, not what is in it.
    fs::write(&path, "https://127.0.0.1:1/send?key=0123-secret\n").unwrap();
    let (code, stdout, stderr) = run(&["alarm", "test"], &config);
    assert_eq!(code, 1);
    assert!(stdout.contains("not delivered: tcp connect error") && !(stdout + &stderr).contains("0123"));
}

//! Programs that get messages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::rig::{send, webhook};
use crate::alarm::deliver::failure::{Failure, Trouble};
use crate::config::settings::{WebhookKind, WebhookPlace};

fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("tell");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn run(folder: &Path, text: &str, arguments: &[&str]) -> Result<(), Failure> {
    let mut command = vec![script(folder, text).display().to_string()];
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    send(&webhook(WebhookKind::Command, WebhookPlace::Command(command))).await
}

#[tokio::test]
async fn it_gets_the_message_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text = format!(
        "/bin/cat > {0}.json; /usr/bin/env > {0}.env; /bin/pwd > {0}.cwd; echo \"$1|$2\" > {0}.args",
        out.display()
    );
    // An argument that a shell would have run.
    run(folder.path(), &text, &["a b", "$(touch /tmp/never); `x`"]).await.unwrap();
    let said = |what: &str| fs::read_to_string(format!("{}.{what}", out.display())).unwrap();
    let message: Value = serde_json::from_str(&said("json")).unwrap();
    assert_eq!((&message["alarm"], &message["stage"]), (&"connect_timeout".into(), &"firing".into()));
    assert_eq!(message["id"].as_str().unwrap().len(), 16);
    assert_eq!(said("args"), "a b|$(touch /tmp/never); `x`\n");
    assert_eq!(said("cwd"), "/\n");
    // The shell sets these itself.
    let own = ["PWD=", "SHLVL=", "_=", "OLDPWD=", "PATH="];
    assert!(said("env").lines().all(|line| own.iter().any(|name| line.starts_with(name))), "{}", said("env"));
}

#[tokio::test]
async fn a_program_that_fails_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let failure = run(folder.path(), "echo out; echo wrong number >&2; exit 3", &[]).await.unwrap_err();
    assert_eq!((failure.trouble, &*failure.why), (Trouble::Program, "exit status: 3: wrong number"));
    let failure = run(folder.path(), "kill -9 $$", &[]).await.unwrap_err();
    assert!(failure.why.starts_with("signal: 9"), "{}", failure.why);
    let missing = WebhookPlace::Command(vec!["/nonexistent/tell".to_owned()]);
    let failure = send(&webhook(WebhookKind::Command, missing)).await.unwrap_err();
    assert_eq!(failure.trouble, Trouble::Setting);
}

#[tokio::test]
async fn what_it_says_is_bounded_and_need_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    // More than a pipe holds, on both; and it does not read the message.
    let text = "/usr/bin/head -c 3000000 /dev/zero; /usr/bin/head -c 3000000 /dev/zero >&2; exit 1";
    let failure = run(folder.path(), text, &[]).await.unwrap_err();
    assert!(failure.why.len() < 1_000);
    assert_eq!(run(folder.path(), "exec 0<&-; exit 0", &[]).await, Ok(()));
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let fifo = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let text = format!(
        "/bin/sleep 1000 & echo $! $$ > {0}.draft; mv {0}.draft {0}; echo > {1}; wait",
        pids.display(),
        fifo.display()
    );
    // Opened for both, it does not wait for the program.
    let mut begun = tokio::net::unix::pipe::OpenOptions::new().read_write(true).open_receiver(&fifo).unwrap();
    let hurry = async {
        tokio::io::AsyncReadExt::read_u8(&mut begun).await.unwrap();
        tokio::time::pause();
    };
    let (result, ()) = tokio::join!(run(folder.path(), &text, &[]), hurry);
    tokio::time::resume();
    let failure = result.unwrap_err();
    assert_eq!(failure.why, "had not ended after 10 s, and was killed");
    let text = fs::read_to_string(&pids).unwrap();
    let pids: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(pids.len(), 2);
    // It is taken off the list of processes, if not at once: on this clock no time passes for it to end in.
    while Path::new(&format!("/proc/{}", pids[1])).exists() {
        tokio::task::yield_now().await;
    }
    // Its child is the business of init now, which may take a moment; but it runs no more.
    let runs = || fs::read_to_string(format!("/proc/{}/stat", pids[0])).is_ok_and(|stat| !stat.contains(") Z "));
    while runs() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_that_leaves_a_child_behind_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let begin = std::time::Instant::now();
    // The child keeps the pipes open.
    assert_eq!(run(folder.path(), "/bin/sleep 1000 & exit 0", &[]).await, Ok(()));
    assert!(begin.elapsed().as_secs() < 9);
}

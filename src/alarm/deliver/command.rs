//! A program of this box that gets each message on its standard input.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::failure::{Failure, Trouble};
use super::item::Item;

/// How long it may run.
const TIME: Duration = Duration::from_secs(10);
/// How long one that is killed may take to end.
const KILLED: Duration = Duration::from_secs(2);
/// Bytes of what it says that are kept; the rest is read and thrown away.
const KEPT: usize = 4 << 10;

/// Runs it with a message: no shell, no environment, a process group of its own that ends with it.
pub(super) async fn run(command: &[String], item: &Item) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Trouble::Program, why);
    let (program, arguments) = command.split_first().ok_or_else(|| failed("there is no program".to_owned()))?;
    let mut load = item.load.clone();
    if let Some(load) = load.as_object_mut() {
        load.insert("id".to_owned(), json!(item.id));
    }
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::new(Trouble::Setting, format!("cannot be run: {error}")))?;
    // Taken now: a child that was waited for has none.
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    // What it has started goes with it, however it ends.
    let end = || group.map_or(Ok(()), |group| kill_process_group(group, Signal::KILL)).unwrap_or_default();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut status, mut said, mut complained) = (None, Vec::new(), Vec::new());
    let talk = async {
        let wait = async {
            status = Some(child.wait().await);
            end();
        };
        tokio::join!(wait, write(stdin, format!("{load}\n")), read(stdout, &mut said), read(stderr, &mut complained));
    };
    // One that has ended, but whose output somebody holds open, has ended.
    drop(timeout(TIME, talk).await);
    let said = if complained.is_empty() { said } else { complained };
    match status {
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => Err(failed(format!("{status}: {}", String::from_utf8_lossy(&said).trim()))),
        Some(Err(error)) => Err(failed(format!("cannot be waited for: {error}"))),
        None => {
            end();
            // This takes it off the list of processes. One that waits for a disk cannot be killed, and is not waited for; the
            // runtime takes it off when it ends.
            drop(timeout(KILLED, child.wait()).await);
            Err(failed(format!("had not ended after {} s, and was killed", TIME.as_secs())))
        }
    }
}

/// One that does not read it may still succeed.
async fn write(pipe: Option<impl AsyncWrite + Unpin>, message: String) {
    if let Some(mut pipe) = pipe {
        pipe.write_all(message.as_bytes()).await.unwrap_or_default();
    }
}

/// Reads to the end, and keeps the beginning.
async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 1_024];
    while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
        let room = KEPT.saturating_sub(kept.len());
        kept.extend(buffer.iter().take(n).take(room));
    }
}

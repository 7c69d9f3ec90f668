//! Commands, flags, exit codes; nothing here runs a gateway.

use std::process::Output;

use crate::rig::command;

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    told(&command(arguments, b""))
}

#[test]
fn the_printed_configuration_passes_the_check() {
    let printed = command(["config"], b"");
    assert!(printed.status.success() && printed.stderr.is_empty() && printed.stdout.len() > 1000);
    let checked = command(["check", "--config", "/dev/stdin"], &printed.stdout);
    assert_eq!(told(&checked), (0, "ok\n".to_owned(), String::new()));
}

#[test]
fn check_warns_of_what_works_and_is_seldom_meant() {
    let lan = "[admin]\naddress = '10.115.5.2:9128'\nallow = ['127.0.0.0/8', '10.115.5.0/24']\n";
    let check = |text: &str| told(&command(["check", "--config", "/dev/stdin"], text.as_bytes()));
    let (code, stdout, stderr) = check(lan);
    assert_eq!((code, &*stderr), (0, ""));
    let lines: Vec<_> = stdout.lines().collect();
    assert!(lines[0].starts_with("warning: admin.allow = 10.115.5.0/24: may see everything"), "{stdout}");
    assert_eq!(lines[1..], ["ok"]);
    assert_eq!(check(&format!("{lan}read-token-file = '/etc/floodgate/read'\n")).1, "ok\n");
}

#[test]
fn check_tells_everything_at_once() {
    let wrong = b"[[listener]]\naddress = '127.0.0.1'\nmode = 'tproxy'\n[alarm]\nmode = 'enforce'\n\
        [limits]\nconnections = 0\nhead-siez = '16KiB'\n[upstream]\nparent = 'http://10.0.0.1:3128'\n";
    let (code, stdout, stderr) = told(&command(["check", "--config", "/dev/stdin"], wrong));
    assert_eq!((code, &*stderr), (1, ""));
    let problems = ["listener[0].address", "tproxy", "alarm", "limits.connections = 0", "head-siez", "upstream.parent"];
    for problem in problems {
        assert!(stdout.contains(problem), "{problem} is not in:\n{stdout}");
    }
    assert_eq!(stdout.lines().count(), problems.len(), "one line each:\n{stdout}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wrong).unwrap();
    let path = file.path().to_str().unwrap();
    let (code, stdout, stderr) = run(&["run", "--config", path]);
    assert_eq!((code, &*stdout), (1, ""), "{stderr}");
    assert!(problems.iter().all(|problem| stderr.contains(problem)) && stderr.contains(path), "{stderr}");
}

#[test]
fn what_cannot_be_read_is_65_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let latin = folder.path().join("latin1.toml");
    std::fs::write(&latin, b"# caf\xe9\n").unwrap();
    for path in ["/nonexistent/floodgate.toml", folder.path().to_str().unwrap(), latin.to_str().unwrap()] {
        for name in ["check", "run"] {
            let (code, stdout, stderr) = run(&[name, "--config", path]);
            assert_eq!((code, &*stdout), (65, ""), "{stderr}");
            assert!(stderr.lines().count() == 1 && stderr.contains(path), "{stderr}");
        }
    }
}

#[test]
fn wrong_use_is_64_and_names_what_is_wrong() {
    for (arguments, named) in [
        (&["rnu"][..], "rnu"),
        (&["run", "--lisen", "127.0.0.1:0"], "--lisen"),
        (&["run", "--listen", "nonsense"], "nonsense"),
        (&["check", "one", "two"], "one"),
        (&["config", "--config", "x"], "--config"),
        (&[], "Usage"),
        // Commands of later versions do not exist in this one.
        (&["transparent", "rules", "--print"], "transparent"),
        (&["alarm", "tset"], "tset"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, &*stdout), (64, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
}

#[test]
fn help_of_every_command_has_an_example() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, &*stderr), (0, ""));
    let commands = stdout.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(["run", "check", "config"].iter().all(|command| commands.contains(command)), "{stdout}");
    for command in commands {
        let (code, help, stderr) = run(&[command, "--help"]);
        assert_eq!((code, &*stderr), (0, ""), "{command}");
        assert!(help.contains(&format!("Example:\n  floodgate {command}")), "{help}");
    }
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!((code, stdout), (0, format!("floodgate {}\n", env!("CARGO_PKG_VERSION"))));
}

"""What is installed. Owns: Debian's packages of the peers, and the names of everything that a figure depends on.

Called by: `run`. Never: measures; changes the machine only if asked to (`--install`).
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import peers

# The tools of the lab itself: the program, its package.
TOOLS = {"ip": "iproute2", "nft": "nftables", "taskset": "util-linux", "nginx": "nginx-light", "tcpdump": "tcpdump"}
# If it exists, it is asked whether a service may be started; 101 means no.
POLICY = pathlib.Path("/usr/sbin/policy-rc.d")


def install():
    """Installs the peers and the tools that are missing, from the distribution; says what could not be had."""
    wanted = dict(TOOLS) | {program: package for program, (package, _) in peers.PACKAGES.items()}
    missing = sorted({package for program, package in wanted.items() if shutil.which(program) is None})
    if not missing:
        return []
    if shutil.which("apt-get") is None:
        return missing
    failed = []
    with no_services():
        apt("update", "-q")
        for package in missing:
            if not apt("install", "-q", "-y", "--no-install-recommends", package):
                failed.append(package)
    return failed


def apt(*arguments):
    """Whether apt-get did it."""
    # At run level 1 no installed service is started, where there are run levels.
    environment = os.environ | {"RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(["apt-get", *arguments], env=environment, check=False).returncode == 0


@contextlib.contextmanager
def no_services():
    """Nothing that is installed meanwhile is started by systemd either."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def output(*line):
    """What a command says; nothing if it cannot."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
        return (done.stdout + done.stderr).strip()
    return ""


def versions(everyone):
    """The versions of the peers' programs."""
    found = {}
    for peer in everyone.values():
        package = peers.PACKAGES.get(peer.program())
        if package:
            said = re.search(r"\d+\.\d+(\.\d+)*", output(*package[1].split()))
            found[package[0]] = said[0] if said else "unknown"
    return found


def machine():
    """What the figures depend on besides."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu[1].strip() if cpu else "unknown",
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory[1]) / 1e6) if memory else None,
        "kernel": re.match(r"[\d.]*\d", os.uname().release)[0],
        "system": re.sub(r'^PRETTY_NAME="?|"$', "", output("grep", "PRETTY_NAME", "/etc/os-release")),
    }


def commit(root):
    """What is measured, and whether the tree has something else in it."""
    changed = " with changes" if output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no") else ""
    return output("git", "-C", str(root), "rev-parse", "--short=12", "HEAD") + changed

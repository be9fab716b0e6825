"""Tests that Rust packages carry: fetched by cargo, built natively, their test programs run on both sides; one unit per program."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from harness import Results, Unit

PACKAGES: list[str] = []

# Package and version, and what `cargo test` needs to build the tests that touch the kernel.
CRATES = {
    "nix 0.31.3": ["--all-features"],
    "tokio 1.54.1": ["--features", "full,test-util"],
    "polling 3.11.0": [],
    "async-process 2.5.0": [],
    "signal-hook 0.4.6": ["--all-features"],
    "tempfile 3.27.0": [],
    "memmap2 0.9.12": [],
    "os_pipe 1.2.3": [],
    "fs4 1.1.0": [],
    "socket2 0.6.5": ["--all-features"],
    "procfs 0.18.0": [],
    "rlimit 0.11.0": [],
}
# Test programs of tokio that only use its own data structures.
PURE = re.compile(r"^(sync_|task_|macros_|io_(buf|read|write|chain|copy|mem|lines|take|util|split|join)|time_|stream|async_send)")


def units(state: Path) -> list[Unit]:
    """One unit per test program of each package."""
    return [unit for crate, options in CRATES.items() for unit in programs(state, *crate.split(), options)]


def programs(state: Path, name: str, version: str, options: list[str]) -> list[Unit]:
    built = state / "crates" / name
    listing = built / "programs.json"
    if not listing.exists():
        listing.write_text(json.dumps(build(built, name, version, options)))
    found = json.loads(listing.read_text())
    return [unit(f"{name}.{target}", built / name, path) for target, path in found if not PURE.match(target)]


def build(built: Path, name: str, version: str, options: list[str]) -> list[tuple[str, str]]:
    """Builds a package's tests in a copy of it and lists their names and programs."""
    built.mkdir(parents=True, exist_ok=True)
    copy = built / name
    if not copy.exists():
        shutil.copytree(fetch(built, name, version), copy)
        (copy / "Cargo.toml").open("a").write("\n[workspace]\n")
    command = ["cargo", "test", "--no-run", "--message-format=json", "--tests", "--target-dir", str(built.parent / "target"), *options]
    log = (built / "build.log").open("w")
    out = subprocess.run(command, cwd=copy, stdout=subprocess.PIPE, stderr=log, text=True, check=False).stdout
    messages = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    made = [message for message in messages if message.get("executable") and message["profile"]["test"]]
    return [(message["target"]["name"], message["executable"]) for message in made]


def fetch(built: Path, name: str, version: str) -> Path:
    """Where cargo unpacked a package."""
    (built / "fetch/src").mkdir(parents=True, exist_ok=True)
    (built / "fetch/src/lib.rs").touch()
    (built / "fetch/Cargo.toml").write_text(
        f'[package]\nname = "fetch"\nversion = "0.0.0"\n[workspace]\n[dependencies]\n{name} = "={version}"\n')
    subprocess.run(["cargo", "fetch", "--quiet"], cwd=built / "fetch", check=True)
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    return next((home / "registry/src").glob(f"*/{name}-{version}"))


def unit(name: str, directory: Path, program: str) -> Unit:
    words = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(directory), program, "--test-threads=1", "--include-ignored"]
    skip = lambda finished: words + ["--exact"] + [f"--skip={test}" for test in finished if test != "exit"]
    return Unit(name, words, outcomes, limit=180, resume=skip, environment={"RUST_BACKTRACE": "0"})


def outcomes(text: str, code: int | None) -> Results:
    """libtest names a test before it runs, so the last one without an outcome is where it stopped."""
    results: Results = {}
    begun = None
    for line in text.splitlines():
        if found := re.match(r"test (\S+)(?: - should panic)? \.\.\.", line):
            begun = found[1]
        if begun and (word := re.search(r"(?:^|\.\.\. .*|\s)(ok|FAILED|ignored)(?:,.*)?$", line)):
            results[begun] = {"ok": "pass", "FAILED": "fail", "ignored": "skip"}[word[1]]
            begun = None
    if begun:
        results[begun] = "hang" if code is None else "crash"
    return results

"""What every suite shares: units of work, their results, where these are kept, and how two runs compare.

Model: a *suite* is a list of *units*, each one command that runs many tests in an empty directory. A unit's output
becomes pairs of a test's name and its outcome (`pass`, `fail`, `skip`, `hang`, `crash`). Lines
`suite unit/test outcome` are appended to `STATE/native.txt` or `STATE/inside.txt` as units end, with a line
`suite unit/ done` behind them, so that a run that was cut short goes on where it stopped.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator

Results = dict[str, str]

# The tests' parent inside, which is process 1: whatever is that itself adopts orphans,
# and has no parent and no group of its own.
PARENT = ["sh", "-c", 'setsid -w "$@"; exit $?', "outside"]
MOST_RESTARTS = 20


@dataclass
class Unit:
    """One command that runs many tests."""

    name: str
    command: list[str]
    parse: Callable[[str, int | None], Results]  # output, exit code (None: out of time) -> outcomes
    limit: int = 300
    resume: Callable[[list[str]], list[str]] | None = None  # finished tests -> the command that leaves them out
    environment: dict[str, str] = field(default_factory=dict)


class Store:
    """The results of one side: a file of lines, one directory of logs."""

    def __init__(self, state: Path, side: str):
        self.path, self.logs = state / f"{side}.txt", state / side
        self.logs.mkdir(parents=True, exist_ok=True)

    def load(self, suite: str) -> tuple[Results, set[str]]:
        """The outcomes so far and the names of the finished units."""
        results, done = {}, set()
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            of, test, outcome = line.split(" ", 2)
            if of == suite:
                if outcome == "done":
                    done.add(test.rstrip("/"))
                else:
                    results[test] = outcome
        return results, done

    def add(self, suite: str, unit: str, results: Results) -> None:
        with self.path.open("a") as out:
            for test, outcome in results.items():
                out.write(f"{suite} {unit}/{test} {outcome}\n")
            out.write(f"{suite} {unit}/ done\n")


def run_suite(suite: str, units: list[Unit], prefix: list[str], store: Store) -> None:
    """Runs the units that have no results yet."""
    _, done = store.load(suite)
    for unit in units:
        if unit.name in done:
            continue
        results = run_unit(unit, prefix, store.logs / f"{suite}.{unit.name.replace('/', '_')}.log")
        store.add(suite, unit.name, results)
        print(f"{suite} {unit.name}: {summary(results)}", flush=True)


def run_unit(unit: Unit, prefix: list[str], log: Path) -> Results:
    """Runs one unit, again without the finished tests for as long as one of them ended the process."""
    results: Results = {}
    command = unit.command
    log.unlink(missing_ok=True)
    for _ in range(MOST_RESTARTS):
        words = [*prefix, *PARENT, *command] if prefix else command
        text, code = run_command(words, unit.limit, log, unit.environment)
        found = unit.parse(text, code)
        results |= found
        stuck = any(outcome in ("hang", "crash") for outcome in found.values())
        if not (stuck and unit.resume and found):
            break
        command = unit.resume(list(results))
    return results


def run_command(command: list[str], limit: int, log: Path, environment: dict[str, str]) -> tuple[str, int | None]:
    """Output and exit code of a command in an empty directory; the log gets the output as well."""
    with tempfile.TemporaryDirectory(prefix="outside-") as directory, log.open("ab") as out:
        os.chmod(directory, 0o777)
        start = out.tell()
        child = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env=clean_environment() | environment)
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        end_group(child)
        subprocess.run(["chmod", "-R", "u+rwx", directory], stderr=subprocess.DEVNULL, check=False)
    with log.open("rb") as written:
        written.seek(start)
        return written.read().decode(errors="replace"), code


def end_group(child: subprocess.Popen) -> None:
    """Ends what a command left running in its session's first group."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def clean_environment() -> dict[str, str]:
    """The variables that programs expect, and none of the caller's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "TMPDIR": "/tmp", "TERM": "dumb"}


def summary(results: Results) -> str:
    """Counts of each outcome, in words."""
    outcomes = list(results.values())
    return ", ".join(f"{outcomes.count(name)} {name}" for name in sorted(set(outcomes))) or "nothing"


def marks(text: str, code: int | None) -> Results:
    """Outcomes from lines `@@ begin TEST`, `@@ end TEST OUTCOME` and `@@ done`, as guests/ write them."""
    results, begun, done = {}, None, False
    for line in text.splitlines():
        match line.split():
            case ["@@", "begin", test]:
                begun = test
            case ["@@", "end", test, outcome]:
                results[test], begun = outcome, None
            case ["@@", "done"]:
                done = True
    if begun is not None and not done:
        results[begun] = "hang" if code is None or "Timeout (" in text[-20000:] else "crash"
    return results


def tap(text: str, code: int | None) -> Results:
    """Outcomes from the Test Anything Protocol."""
    results: Results = {}
    for line in text.splitlines():
        if found := re.match(r"(not )?ok (\d+)(.*)", line):
            skipped = re.search(r"#\s*(skip|todo)", found[3], re.I)
            results[found[2]] = "skip" if skipped else "fail" if found[1] else "pass"
    results["exit"] = "hang" if code is None else "pass" if code == 0 else "fail"
    return results


def exit_code(text: str, code: int | None) -> Results:
    """One outcome for the whole command; 77 and 3 mean skipped, by custom of Automake and stress-ng."""
    del text
    return {"exit": {None: "hang", 0: "pass", 77: "skip", 3: "skip"}.get(code, "fail")}


def expectations(path: Path) -> dict[str, str]:
    """Lines `unit/test: reason`, where a test may be `*`; `#` begins a comment."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.split(": ", 1) for line in lines if ": " in line and not line.startswith("#"))
    return {name: reason for name, reason in pairs}


def differences(native: Results, inside: Results) -> Iterator[tuple[str, str]]:
    """Tests that pass natively and do not pass inside, with the outcome there."""
    for test, outcome in native.items():
        there = inside.get(test, "missing")
        if outcome == "pass" and there != "pass":
            yield test, there


def compare(suite: str, native: Results, inside: Results, expected: dict[str, str]) -> bool:
    """Prints what differs and the share that passes; true if every difference is expected."""
    passed = sum(outcome == "pass" for outcome in native.values())
    found = list(differences(native, inside))
    fresh = [(test, there) for test, there in found if reason_of(test, expected) is None]
    for test, there in found:
        print(f"{suite} {test}: {there} inside", f"(expected: {reason})" if (reason := reason_of(test, expected)) else "")
    share = 100 * (passed - len(found)) / passed if passed else 100.0
    print(f"{suite}: {len(native)} tests, {passed} pass natively, {passed - len(found)} of these inside ({share:.2f} %), "
          f"{len(fresh)} differences without a reason", file=sys.stderr)
    return not fresh


def reason_of(test: str, expected: dict[str, str]) -> str | None:
    """The reason that is on record for a test or its unit."""
    return expected.get(test) or expected.get(test.split("/")[0] + "/*")

"""Tests of Go's standard library (Debian: golang), those that touch the kernel; one unit per package."""

import re
import subprocess
from pathlib import Path

from harness import Results, Unit

PACKAGES = ["golang-go", "golang-src"]
NAMES = """
os os/exec os/signal os/user path/filepath syscall internal/poll internal/syscall/unix io io/fs io/ioutil sync sync/atomic time
runtime runtime/pprof runtime/debug runtime/trace net net/http net/http/httptest net/rpc net/textproto net/netip net/smtp log/syslog
context crypto/rand archive/tar archive/zip bufio embed mime/multipart compress/gzip plugin testing text/template html/template
log expvar internal/fuzz internal/testenv debug/elf debug/dwarf go/build cmd/go/internal/lockedfile cmd/go/internal/renameio
""".split()


def units(state: Path) -> list[Unit]:
    """One unit per package whose tests can be built."""
    root = Path(subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
    return [made for name in NAMES if (made := unit(state, root, name))]


def unit(state: Path, root: Path, name: str) -> Unit | None:
    program = state / "go" / (name.replace("/", ".") + ".test")
    directory = (root / "src" / name).resolve()
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["go", "test", "-c", "-o", program, name], check=False, stderr=subprocess.DEVNULL)
    if not program.exists():
        return None
    words = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(directory), str(program), "-test.v", "-test.short", "-test.timeout=240s"]
    return Unit(name.replace("/", "."), words, outcomes, limit=300, environment={"HOME": "/tmp", "GOCACHE": "/tmp/gocache"})


def outcomes(text: str, code: int | None) -> Results:
    """Outcomes of tests and subtests; what ran when the process ended hung or crashed."""
    results: Results = {}
    for word, name in re.findall(r"^\s*(=== RUN|--- PASS:|--- FAIL:|--- SKIP:)\s+(\S+)", text, re.M):
        results[name] = {"P": "pass", "F": "fail", "S": "skip", "R": "begun"}[word[4]]
    stopped = "hang" if code is None or "test timed out" in text else "crash"
    return {name: stopped if outcome == "begun" else outcome for name, outcome in results.items()}

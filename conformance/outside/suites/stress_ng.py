"""stress-ng's stressors with --verify, each alone for a second, as an ordinary user; one unit per stressor."""

import re
import subprocess
from pathlib import Path

from harness import Results, Unit

PACKAGES = ["stress-ng", "util-linux"]
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

# What would change or load the machine that runs the native half, or needs hardware.
LEFT_OUT = {
    "cpu-online", "efivar", "gpu", "ipsec-mb", "kvm", "memhotplug", "oom-pipe", "pci", "physpage", "powermc", "rawdev", "reboot",
    "rtc", "smi", "watchdog", "zlib",
}
OPTIONS = {
    "bigheap": ["--bigheap-growth", "1m"], "hdd": ["--hdd-bytes", "16m"], "vm": ["--vm-bytes", "32m"],
    "vm-rw": ["--vm-rw-bytes", "16m"], "vm-splice": ["--vm-splice-bytes", "1m"], "mremap": ["--mremap-bytes", "4m"],
    "mmap": ["--mmap-bytes", "16m"], "iomix": ["--iomix-bytes", "16m"], "fallocate": ["--fallocate-bytes", "16m"],
    "copy-file": ["--copy-file-bytes", "128m"], "readahead": ["--readahead-bytes", "16m"], "stream": ["--stream-l3-size", "1m"],
    "memrate": ["--memrate-bytes", "16m"], "randlist": ["--randlist-items", "10000"],
}


def units(state: Path) -> list[Unit]:
    """One unit per stressor of the installed stress-ng."""
    listed = subprocess.run(["stress-ng", "--stressors"], capture_output=True, text=True, check=True).stdout.split()
    return [unit(name) for name in listed if name not in LEFT_OUT]


def unit(name: str) -> Unit:
    words = ["stress-ng", f"--{name}", "1", *OPTIONS.get(name, []), "-t", "1", "--verify", "--temp-path", "."]
    return Unit(name, AS_NOBODY + words, outcome, limit=40)


def outcome(text: str, code: int | None) -> Results:
    """stress-ng says with its exit code how a stressor ended, and in words what it left out."""
    if re.search(r"skipp(ed|ing)|disabled '|not implemented", text):
        return {"verify": "skip"}
    return {"verify": {None: "hang", 0: "pass", 3: "skip", 4: "skip"}.get(code, "fail")}

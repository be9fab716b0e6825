"""psutil's own tests (PyPI: psutil's source distribution): what /proc and /sys say against what other programs say."""

import re
import subprocess
import sys
from pathlib import Path

from harness import Results, Unit

PACKAGES = ["procps", "net-tools", "iproute2", "util-linux"]
FILES = "connections contracts linux misc posix process process_all system testutils unicode".split()


def units(state: Path) -> list[Unit]:
    """One unit per file of tests."""
    home = state / "psutil"
    python, stamp = home / "env/bin/python", home / "built"
    if not stamp.exists():
        home.mkdir(parents=True, exist_ok=True)
        script = (f"'{sys.executable}' -m venv env && env/bin/pip -q install pytest pytest-instafail pytest-xdist setuptools && "
                  "env/bin/pip -q download --no-deps --no-binary :all: psutil && tar xf psutil-*.tar.gz && rm psutil-*.tar.gz && "
                  "mv psutil-* source && cd source && ../env/bin/python setup.py -q build_ext -i && mv pyproject.toml pyproject.off")
        if subprocess.run(["sh", "-ec", script], cwd=home, check=False).returncode != 0:
            return []
        stamp.touch()
    options = "-p no:cacheprovider -v --tb=short --no-header"
    return [
        Unit(name, ["sh", "-c", f"cd '{home}/source' && '{python}' -m pytest {options} tests/test_{name}.py"], outcomes, limit=400)
        for name in FILES
    ]


def outcomes(text: str, code: int | None) -> Results:
    """pytest's lines, which a test's own output may break."""
    words = {"PASSED": "pass", "FAILED": "fail", "ERROR": "fail", "SKIPPED": "skip", "XFAIL": "pass"}
    pattern = r"^tests/test_\w+\.py::(\S+)\s+(PASSED|FAILED|ERROR|SKIPPED|XFAIL)"
    results = {test: words[word] for test, word in re.findall(pattern, text, re.M)}
    if code is None:
        results["end"] = "hang"
    return results

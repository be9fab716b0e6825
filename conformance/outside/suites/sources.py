"""Test suites of Debian's source packages: libuv, git, coreutils, findutils, perl; one unit per test program or folder.

Sources are fetched by apt-get from the deb-src counterparts of the machine's own archives and built natively once.
"""

import re
import subprocess
from pathlib import Path

from harness import Results, Unit, tap

PACKAGES = ["dpkg-dev", "build-essential", "cmake", "zlib1g-dev"]

BUILD = {
    "libuv1": "mkdir -p build && cd build && cmake .. && make -j2 uv_run_tests_a",
    "git": "make -j2 NO_GETTEXT=1 NO_TCLTK=1 NO_CURL=1 NO_EXPAT=1 all",
    "coreutils": "FORCE_UNSAFE_CONFIGURE=1 ./configure && make -j2",
    "findutils": "./configure && make -j2",
    "perl": "./Configure -des && make -j2 test_prep",
}


def units(state: Path) -> list[Unit]:
    """Units of every package that could be fetched and built."""
    makers = {"libuv1": libuv, "git": git, "coreutils": automake, "findutils": automake, "perl": perl}
    found = []
    for name, maker in makers.items():
        if (source := built(state, name)) is not None:
            found += maker(name, source)
    return found


def built(state: Path, name: str) -> Path | None:
    """The source tree of a package, fetched and built."""
    home = state / "sources"
    tree, stamp = home / name, home / f"{name}.built"
    if not stamp.exists():
        home.mkdir(parents=True, exist_ok=True)
        with (home / f"{name}.log").open("w") as log:
            script = f"{FETCH}\ncd '{tree}' && {BUILD[name]}"
            done = subprocess.run(["sh", "-ec", script, "fetch", str(home), name], stdout=log, stderr=log, check=False)
        if done.returncode != 0:
            return None
        stamp.touch()
    return tree


FETCH = """
home=$1 name=$2; cd "$home"; mkdir -p parts lists/partial
for f in /etc/apt/sources.list.d/*.sources; do sed 's/^Types: deb$/Types: deb-src/' "$f" > parts/"$(basename "$f")"; done
[ ! -f /etc/apt/sources.list ] || sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > parts/main.list
apt="apt-get -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$home/parts -o Dir::State::lists=$home/lists"
[ -f lists/fetched ] || { $apt update && touch lists/fetched; }
$apt source --download-only "$name"
[ -d "$name" ] || dpkg-source -x "$(ls "$name"_*.dsc | tail -1)" "$name"
"""


def within(directory: Path, command: str) -> list[str]:
    return ["sh", "-c", f"cd '{directory}' && {command}"]


def libuv(name: str, source: Path) -> list[Unit]:
    """The whole program is one unit; it refuses to run as root."""
    as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    command = ["sh", "-c", f"cp -r '{source}/test' . && chmod -R a+rX . && exec {as_nobody} '{source}/build/uv_run_tests_a'"]
    return [Unit(name, command, tap_named, limit=600)]


def tap_named(text: str, code: int | None) -> Results:
    """libuv's numbers have names behind them."""
    results = {}
    for no, test, rest in re.findall(r"^(not )?ok \d+ - (\S+)(.*)$", text, re.M):
        results[test] = "skip" if "# SKIP" in rest else "fail" if no else "pass"
    if code is None:
        results["end"] = "hang"
    return results


def git(name: str, source: Path) -> list[Unit]:
    """Scripts of the groups that exercise files, processes and pipes most."""
    scripts = sorted((source / "t").glob("t[0-7]???-*.sh"))
    chosen = [script for script in scripts if re.match(r"t(00|10|13|20|30|31|32|34|37|50|53|55|56|60|75)", script.name)]
    environment = {"GIT_TEST_OPTS": "", "TEST_NO_MALLOC_CHECK": "1"}
    return [
        Unit(f"{name}.{script.stem[:5]}", within(source / "t", f"sh ./{script.name} --root=/tmp/git-t"), tap, limit=400,
             environment=environment)
        for script in chosen
    ]


def automake(name: str, source: Path) -> list[Unit]:
    """One unit per folder of tests; `make check` is told which they are."""
    folders = sorted({path.parent.relative_to(source) for path in source.glob("tests/*/*.sh")})
    return [Unit(f"{name}.{folder.name}", within(source, check(folder)), automake_lines, limit=1200) for folder in folders]


def check(folder: Path) -> str:
    # The list of tests is taken from the folder, less what takes minutes by itself.
    return f'make -k check SUBDIRS=. VERBOSE=no TESTS="$(ls {folder}/*.sh | grep -v -e root-only | tr "\\n" " ")"'


def automake_lines(text: str, code: int | None) -> Results:
    """`PASS: tests/ls/a.sh` and the like."""
    words = {"PASS": "pass", "FAIL": "fail", "SKIP": "skip", "ERROR": "fail", "XFAIL": "pass"}
    results = {test: words[word] for word, test in re.findall(r"^(PASS|FAIL|SKIP|ERROR|XFAIL): (tests/\S+)$", text, re.M)}
    if code is None:
        results["end"] = "hang"
    return results


def perl(name: str, source: Path) -> list[Unit]:
    """Test files of the core and of the modules that make system calls."""
    files = sorted([*source.glob("t/io/*.t"), *source.glob("t/op/*.t")])
    return [Unit(f"{name}.{file.parent.name}.{file.stem}", within(source / "t", f"./perl {file.relative_to(source / 't')}"), tap,
                 limit=120) for file in files]

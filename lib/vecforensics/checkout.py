"""What make does, in the standard library only: set a checkout up, then report, test, check.

A fresh machine has Python 3.11, pip and perhaps make, and nothing of ours. So this module imports no package that has to be
installed, and `make VERB` is a thin front of `python -m vecforensics VERB`: one way to set up, with or without make.

The environment is `.venv` in the checkout. uv installs into it what `requirements.lock` says (exact versions, SHA-256 each,
wheels only, so that no build step runs that nobody pinned); uv itself is one entry of the same lock, installed by pip into
the same `.venv`. Where uv cannot be had, or NO_UV is set, pip reads the same lock. Last comes the checkout itself, editable,
built by the hatchling of the lock. A stamp in `.venv` holds the digest of all that went in: the second call installs nothing;
a changed lock, another Python or a checkout that was moved is set up anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["OLDEST_PYTHON", "ROOT", "VERBS", "SetupFailed", "ensure_environment", "is_checkout", "run_verb"]

ROOT: Final = Path(__file__).resolve().parents[2]
OLDEST_PYTHON: Final = (3, 11)

# The main job on the bundled case: make its data where they are not there, find, repair, prove. Corruption is what it is
# about, so it fails only if some is left.
REPORT: Final = (
    ("-m", "vecforensics.postpilot"),
    ("-m", "vecforensics", "investigate", "data/postpilot/case.yaml", "--apply", "--fail-on", "unrepaired"),
)
NEXT: Final = (
    "",
    "What to do next:",
    "  open the incident-report.html named above in a browser",
    "  make lab                   the same run in notebooks; 00_start_here leaves its report as it is",
    "  . .venv/bin/activate       puts vecforensics and papermill on the path, as the report's commands have it",
)
CHECKS: Final = (
    ("-m", "ruff", "check", "."),
    ("-m", "ruff", "format", "--check", "."),
    ("-m", "mypy"),
)
# Beyond four processes the tests wait for one another's imports.
TESTS: Final = ("-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
LOCK: Final = (
    *("--quiet", "--no-config", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--only-binary", ":all:", "--no-emit-package", "vecforensics", "--no-annotate"),
    *("--custom-compile-command", "make lock"),
)
LOCKED: Final = (("requirements.txt", "requirements.lock"), ("benchmarks/peers.txt", "benchmarks/peers.lock"))
# The tools that the benchmarks run beside ours, in an environment of their own: their pins must not move ours.
PEERS: Final = (".cache/peers", "benchmarks/peers.lock")

# Of the caller's environment, what would lead a process in .venv back to another Python.
_LEADS_ASTRAY: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__")
_CACHES: Final = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".cache")


class SetupFailed(Exception):
    """The environment cannot be made; the message says why and what to do, on one line."""


def is_checkout(root: Path = ROOT) -> bool:
    """Whether the package runs from a checkout (and not from a wheel in somebody's site-packages)."""
    return (root / "pyproject.toml").is_file() and (root / "requirements.lock").is_file()


def ensure_environment(root: Path = ROOT) -> Path:
    """Make `.venv` if it is not what the lock says. Returns its Python. Raises SetupFailed."""
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise SetupFailed(
            f"Python {sys.version.split()[0]} is too old. Install Python {oldest} or newer, then: make PYTHON=python{oldest}"
        )
    home = root / ".venv"
    python = _python_of(home)
    stamp = home / "vecforensics-stamp"
    wanted = _fingerprint(root)
    if python.exists() and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    stamp.unlink(missing_ok=True)
    if not _usable(python):
        _make_venv(home)
    _ensure_pip(python)
    if not _install_with_uv(python, root):
        _install_with_pip(python, root)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def run_verb(verb: str, arguments: Sequence[str] = (), root: Path = ROOT) -> int:
    """Carry out one of VERBS in the checkout `root`; the exit code of the first command that fails, else 0.

    `arguments` go to the verb's last command. One line on standard error, and 2, where the machine lacks something.
    """
    if not is_checkout(root):
        print(
            f"vecforensics {verb}: there is no checkout at {root}. Run it where requirements.lock lies",
            file=sys.stderr,
        )
        return 2
    try:
        return VERBS[verb][1](root, arguments)
    except SetupFailed as error:
        print(f"vecforensics {verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _python_of(home: Path) -> Path:
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _fingerprint(root: Path) -> str:
    """What went into the environment. The path counts: a venv does not survive being moved."""
    files = {
        name: hashlib.sha256((root / name).read_bytes()).hexdigest()
        for name in ("requirements.lock", "pyproject.toml")
    }
    version = ".".join(map(str, sys.version_info[:2]))
    return json.dumps({"python": version, "root": str(root), **files}, indent=2, sort_keys=True) + "\n"


def _usable(python: Path) -> bool:
    """Whether the environment's Python starts and is of this version; it is gone after an upgrade of the system's."""
    if not python.exists():
        return False
    version = tuple(sys.version_info[:2])
    probe = f"import sys; sys.exit(sys.version_info[:2] != {version} or sys.prefix == sys.base_prefix)"
    return _quiet(python, [str(python), "-c", probe])


def environment(python: Path) -> dict[str, str]:
    """The variables for a process of `python`'s environment: its commands first on PATH, nothing that leads elsewhere."""
    variables = {name: value for name, value in os.environ.items() if name not in _LEADS_ASTRAY}
    variables["VIRTUAL_ENV"] = str(python.parent.parent)
    variables["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    variables["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return variables


def _make_venv(home: Path) -> None:
    _say(f"making {home}")
    try:
        venv.create(home, clear=True, symlinks=os.name != "nt", with_pip=False)
    except OSError as error:
        raise SetupFailed(
            f"cannot make {home} ({error.strerror or error}). Make the folder writable"
        ) from None


def _ensure_pip(python: Path) -> None:
    """pip in the environment: from the standard library, or by the pip of the Python that runs this (Debian parts the two)."""
    ways = (
        [str(python), "-m", "ensurepip", "--default-pip"],
        [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install", "pip"],
    )
    if _quiet(python, [str(python), "-c", "import pip"]) or any(_quiet(python, way) for way in ways):
        return
    raise SetupFailed(
        "this Python has neither ensurepip nor pip. Install one (Debian and Ubuntu: apt install python3-venv) and try again"
    )


def _install_with_uv(python: Path, root: Path) -> bool:
    """Whether uv could be had and installed everything."""
    if os.environ.get("NO_UV", "0") not in ("", "0"):
        return False
    only_uv = root / ".venv" / "uv.lock.txt"
    only_uv.write_text(_lock_entry(root, "uv"), encoding="utf-8")
    got = _quiet(python, [*_pip(python), "--no-deps", "-r", str(only_uv)])
    if not got:
        _say("uv cannot be had for this machine; pip does it, which takes minutes")
        return False
    _say("installing what requirements.lock names, with uv (about a minute)")
    uv = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    strict = ["--require-hashes", "--only-binary", ":all:", "--compile-bytecode", "-r", "requirements.lock"]
    if _run(python, root, [*uv, *strict]) != 0:
        _say("uv failed; pip tries the same lock")
        return False
    return _run(python, root, [*uv, "--no-deps", "--no-build-isolation", "-e", "."]) == 0


def _install_with_pip(python: Path, root: Path) -> None:
    _say("installing what requirements.lock names, with pip (some minutes)")
    editable = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-e",
        ".",
    ]
    for command in ([*_pip(python), "-r", "requirements.lock"], editable):
        if _run(python, root, command) != 0:
            raise SetupFailed(
                "the install failed, see above. Check the network and the package index, then try again"
            )


def _pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]


def _lock_entry(root: Path, package: str) -> str:
    """The lines of one package in the lock: its pin and its hashes."""
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"{package}=="))
    entry = [lines[start]]
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        entry.append(line)
    return "\n".join(entry) + "\n"


def _say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def _run(python: Path, root: Path, command: Sequence[str]) -> int:
    return subprocess.run(command, cwd=root, env=environment(python), check=False).returncode  # noqa: S603


def _quiet(python: Path, command: Sequence[str]) -> bool:
    done = subprocess.run(command, env=environment(python), capture_output=True, check=False)  # noqa: S603
    return done.returncode == 0


def _in_order(root: Path, commands: Sequence[Sequence[str]]) -> int:
    """Set up, then run each command by the environment's Python; stop at the first that fails."""
    python = ensure_environment(root)
    for command in commands:
        code = _run(python, root, [str(python), *command])
        if code != 0:
            return code
    return 0


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One report of a checkout after the other: they share the bundled target, and one that begins between another's damage and
    its repair would find what is half repaired. The kernel drops the lock of a process that dies. Without `fcntl`, no lock."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                "report: another make report is at work in this checkout; waiting for it",
                file=sys.stderr,
                flush=True,
            )
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _help(root: Path, arguments: Sequence[str]) -> int:
    print("make VERB, or without make: python -m vecforensics VERB (in the folder lib)\n")
    for verb, (meaning, _) in VERBS.items():
        print(f"  {verb:<8} {meaning}")
    print('\nMore words for the last command: make test ARGS="-k diff". Without uv: make setup NO_UV=1')
    return 0


def _setup(root: Path, arguments: Sequence[str]) -> int:
    python = ensure_environment(root)
    print(f"ready: {python}")
    return 0


def _report(root: Path, arguments: Sequence[str]) -> int:
    ensure_environment(root)
    with _alone(root / ".venv" / "report.lock"):
        code = _in_order(root, [*REPORT[:-1], [*REPORT[-1], *arguments]])
    if code == 0:
        # Not on standard output, whose last line is the run folder.
        print("\n".join(NEXT), file=sys.stderr, flush=True)
    return code


def _check(root: Path, arguments: Sequence[str]) -> int:
    return _in_order(root, CHECKS)


def _test(root: Path, arguments: Sequence[str]) -> int:
    return _in_order(root, [*CHECKS, [*TESTS, *arguments]])


def _lab(root: Path, arguments: Sequence[str]) -> int:
    return _in_order(root, [["-m", "jupyterlab", *arguments, "notebooks/00_start_here.ipynb"]])


def _bench(root: Path, arguments: Sequence[str]) -> int:
    """All of benchmarks/, or those that are named: `make bench ARGS=diff` runs benchmarks/bench_diff.py.

    What follows the names, from the first option on, goes to each of them: `make bench-diff ARGS="--rows 100000"`.
    """
    at_hand = {
        path.stem.removeprefix("bench_"): path for path in sorted((root / "benchmarks").glob("bench_*.py"))
    }
    count = next((index for index, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    names, options = arguments[:count], arguments[count:]
    unknown = [name for name in names if name not in at_hand]
    if unknown:
        raise SetupFailed(f"there is no benchmark {unknown[0]!r}. There are: {', '.join(at_hand)}")
    _ensure_peers(ensure_environment(root), root)
    return _in_order(root, [[str(at_hand[name]), *options] for name in (names or at_hand)])


def _ensure_peers(python: Path, root: Path) -> None:
    """The other tools of the benchmarks, where they can be had; a benchmark says itself which ones it misses."""
    home, lock = (root / name for name in PEERS)
    if not lock.is_file():
        return
    stamp, wanted = home / "vecforensics-stamp", hashlib.sha256(lock.read_bytes()).hexdigest()
    if _usable(_python_of(home)) and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    _say(f"installing what {PEERS[1]} names, for comparison, into {PEERS[0]}")
    stamp.unlink(missing_ok=True)
    _make_venv(home)
    uv = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(_python_of(home))]
    strict = ["--require-hashes", "--only-binary", ":all:", "--compile-bytecode", "-r", str(lock)]
    if _run(python, root, [*uv, *strict]) == 0:
        stamp.write_text(wanted, encoding="utf-8")


def _lock(root: Path, arguments: Sequence[str]) -> int:
    compile_ = ["-m", "uv", "pip", "compile", *LOCK]
    return _in_order(
        root, [[*compile_, "--output-file", lock, wanted, *arguments] for wanted, lock in LOCKED]
    )


def _clean(root: Path, arguments: Sequence[str]) -> int:
    """Environment and caches; never reports/, which is somebody's evidence."""
    for name in (".venv", *_CACHES):
        shutil.rmtree(root / name, ignore_errors=True)
    for cache in [*(root / "lib").rglob("__pycache__"), *(root / "tests").rglob("__pycache__")]:
        shutil.rmtree(cache, ignore_errors=True)
    return 0


VERBS: Final[Mapping[str, tuple[str, Callable[[Path, Sequence[str]], int]]]] = {
    "help": ("this list", _help),
    "setup": ("make .venv and install what requirements.lock pins", _setup),
    "report": ("set up, investigate the bundled case, repair it, write the incident report", _report),
    "test": ("set up, then ruff, mypy and every test", _test),
    "check": ("set up, then ruff and mypy", _check),
    "lab": ("set up, then JupyterLab on notebooks/00_start_here.ipynb", _lab),
    "bench": ("set up, then the benchmarks; some of them: ARGS=diff", _bench),
    "lock": ("pin requirements.txt anew in requirements.lock; newer versions: ARGS=--upgrade", _lock),
    "clean": ("remove .venv and the caches; reports/ stays", _clean),
}

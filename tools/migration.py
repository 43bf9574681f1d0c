"""Write the next numbered migration: how the tables differ from the newest one."""

import re
import sys
import tempfile
from pathlib import Path

from alembic import command

from tanuki.app.metadata import MIGRATIONS


def main(message: str) -> None:
    numbers = [int(file.name[:4]) for file in (MIGRATIONS.folder / "versions").glob("[0-9]*_*.py")]
    number = f"{max(numbers, default=0) + 1:04d}"
    name = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")
    if not name:
        raise SystemExit('Say what changed: make migration m="what changed"')
    with tempfile.TemporaryDirectory() as folder:
        config = MIGRATIONS.config(f"sqlite:///{Path(folder) / 'empty.db'}")
        config.set_main_option("file_template", f"{number}_{name}")
        if numbers:
            command.upgrade(config, "head")
        command.revision(config, message=message, rev_id=number, autogenerate=True)


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))

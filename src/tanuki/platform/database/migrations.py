"""The schema's revisions: Alembic migrations in a folder, for the metadata of their owner."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import MetaData, text
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from alembic.config import Config


@dataclass(frozen=True)
class Migrations:
    """A folder with `env.py` and `versions/`, and the tables that the newest version makes."""

    folder: Path
    metadata: MetaData

    def upgrade(self, url: str, revision: str = "head") -> None:
        """Bring the schema to a revision. Concurrent processes wait and find it done."""
        from alembic import command

        command.upgrade(self.config(url), revision)

    def config(self, url: str) -> "Config":
        """Alembic's configuration for a database; `env.py` reads its attributes."""
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(self.folder))
        config.attributes["url"] = url
        config.attributes["metadata"] = self.metadata
        return config

    def newest_revision(self) -> str:
        """The largest number among the file names: `0001_name.py` is revision 0001."""
        return max(
            file.name.split("_")[0] for file in (self.folder / "versions").glob("[0-9]*_*.py")
        )


def load_revision(db: Session) -> str | None:
    """The schema's revision, or None in an empty database."""
    from alembic.migration import MigrationContext

    return MigrationContext.configure(db.connection()).get_current_revision()


def is_reachable(db: Session) -> bool:
    """Whether the database answers a query."""
    return bool(db.execute(text("select 1")).scalar_one() == 1)

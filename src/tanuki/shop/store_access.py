"""Who may see which stores: managers their own, everybody who works for the whole chain all of them, others nothing."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import NotAllowed, NotFound
from tanuki.platform.accounts import Person
from tanuki.shop.tables import Store

CHAIN = ("analyst", "operator")  # admin is always in


def stores_of(db: Session, who: Person) -> list[str]:
    """The codes of the stores this person may see, in order. Raises NotAllowed when their work has nothing to do with stores."""
    known = list(db.scalars(select(Store.code).order_by(Store.code)))
    if who.has(*CHAIN):
        return known
    own = who.scopes("manager")
    if not own:
        raise NotAllowed("This page is for people who work with stores.")
    return [store for store in known if store in own]


def must_see(db: Session, who: Person, store: str) -> None:
    """Raises NotFound unless this person may see the store: not there and not yours look the same."""
    if store not in stores_of(db, who):
        raise NotFound("There is no store %(store)s.", store=store)

"""Store access: managers see their own stores, analysts and operators all of them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from tanuki.errors import NotAllowed, NotFound
from tanuki.platform.accounts import Person
from tanuki.shop.tables import Store

CHAIN_ROLES = ("analyst", "operator")  # see every store, as does admin, who has every role


def list_visible_stores(db: Session, person: Person) -> list[str]:
    """The codes of the stores that a person may see, sorted.

    Raises NotAllowed for a person who has no role that concerns stores.
    """
    stores = list(db.scalars(select(Store.code).order_by(Store.code)))
    if person.has_role(*CHAIN_ROLES):
        return stores
    own = person.role_scopes("manager")
    if not own:
        raise NotAllowed("This page is for people who work with stores.")
    return [store for store in stores if store in own]


def require_store_access(db: Session, person: Person, store: str) -> None:
    """Raises NotFound unless the person may see the store.

    The answer is the same for a store that does not exist and for another manager's store.
    """
    if store not in list_visible_stores(db, person):
        raise NotFound("There is no store %(store)s.", store=store)

"""The navigation: a switch between the systems, and a system's menu as a person sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tanuki.platform.accounts import Person

VISITOR = "visitor"  # as a menu entry's role: people who are not signed in see it, too


@dataclass(frozen=True)
class MenuEntry:
    """A page in a menu. The title is a msgid. Without roles everybody who is signed in sees it."""

    path: str
    title: str
    roles: tuple[str, ...] = ()

    def is_visible_to(self, person: Person | None) -> bool:
        if VISITOR in self.roles:
            return True
        return person is not None and (not self.roles or person.has_role(*self.roles))


@dataclass(frozen=True)
class MenuGroup:
    """Entries that a menu shows together under one title, folded until somebody opens it."""

    title: str
    entries: tuple[MenuEntry, ...]


@dataclass(frozen=True)
class Menu:
    """A system's title, its entries in the header, and the groups that follow them."""

    title: str
    entries: tuple[MenuEntry, ...] = ()
    groups: tuple[MenuGroup, ...] = ()

    def all_entries(self) -> list[MenuEntry]:
        return [*self.entries, *(entry for group in self.groups for entry in group.entries)]


@dataclass(frozen=True)
class NavigationLink:
    """A link of the navigation; `current` on the page, or in the system, that it leads to."""

    path: str
    title: str
    current: bool


@dataclass(frozen=True)
class NavigationGroup:
    title: str
    links: tuple[NavigationLink, ...]
    current: bool


@dataclass(frozen=True)
class Navigation:
    """What one person sees on one page: every system they may use, and the current one's menu."""

    systems: tuple[NavigationLink, ...] = ()
    links: tuple[NavigationLink, ...] = ()
    groups: tuple[NavigationGroup, ...] = ()

    @property
    def start_path(self) -> str | None:
        """The first page that this person may see, or None."""
        return self.systems[0].path if self.systems else None


def build_navigation(menus: Sequence[Menu], person: Person | None, path: str) -> Navigation:
    """A page's navigation. A page of no system, such as the account, shows the first menu."""
    visible = [menu for menu in (filter_menu(menu, person) for menu in menus) if menu.all_entries()]
    if not visible:
        return Navigation()
    current = next((menu for menu in visible if find_current_path(menu, path)), None)
    menu = current or visible[0]
    current_path = find_current_path(menu, path)
    return Navigation(
        tuple(
            NavigationLink(other.all_entries()[0].path, other.title, other is current)
            for other in visible
        ),
        build_links(menu.entries, current_path),
        tuple(
            NavigationGroup(
                group.title,
                build_links(group.entries, current_path),
                any(entry.path == current_path for entry in group.entries),
            )
            for group in menu.groups
        ),
    )


def filter_menu(menu: Menu, person: Person | None) -> Menu:
    """The menu with only what this person, or a visitor, may see."""
    groups = [
        MenuGroup(group.title, filter_entries(group.entries, person)) for group in menu.groups
    ]
    return Menu(
        menu.title,
        filter_entries(menu.entries, person),
        tuple(group for group in groups if group.entries),
    )


def filter_entries(entries: Sequence[MenuEntry], person: Person | None) -> tuple[MenuEntry, ...]:
    return tuple(entry for entry in entries if entry.is_visible_to(person))


def build_links(
    entries: Sequence[MenuEntry], current_path: str | None
) -> tuple[NavigationLink, ...]:
    return tuple(
        NavigationLink(entry.path, entry.title, entry.path == current_path) for entry in entries
    )


def find_current_path(menu: Menu, path: str) -> str | None:
    """The longest path in the menu that is this page or above it."""
    paths = [entry.path for entry in menu.all_entries()]
    return max(
        (entry for entry in paths if path == entry or path.startswith(f"{entry}/")),
        key=len,
        default=None,
    )

"""The site: the systems that it consists of, and what all of their pages share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from jinja2 import Environment
from sqlalchemy.orm import Session

from tanuki.i18n import LANGS, Texts
from tanuki.platform.accounts import Person
from tanuki.platform.metrics import Metrics
from tanuki.platform.resources import Resources
from tanuki.platform.web import assets
from tanuki.platform.web.assets import StaticFile
from tanuki.platform.web.cookies import Cookies
from tanuki.platform.web.navigation import Menu, Navigation, build_navigation

HERE = Path(__file__).parent


@dataclass(frozen=True)
class System:
    """What a system adds to the site.

    routers: their paths are whole, such as `/shop/week`; included routers are not found.
    static: files under URLs that change with their content; templates ask `static('name')`.
    leave_path: the page where people delete their account.
    on_sign_up: runs in the transaction in which somebody made themselves an account.
    layout: the template that the system's pages extend. The platform's own pages, such as errors,
        extend it, too, for people who use only this system.
    template_globals: functions that templates know by these names.
    run_titles: titles (msgids) of durable runs and their steps, by workflow and step.
    """

    key: str
    menu: Menu
    routers: Sequence[APIRouter]
    templates: Path
    locale: Path
    static: Path | None = None
    leave_path: str | None = None
    on_sign_up: Callable[[Session, Person], None] | None = None
    layout: str = "base.html"
    template_globals: Mapping[str, Callable[..., object]] = field(default_factory=dict)
    run_titles: Mapping[str, str] = field(default_factory=dict)

    def owns(self, path: str) -> bool:
        return path == f"/{self.key}" or path.startswith(f"/{self.key}/")


@dataclass(frozen=True)
class Site:
    """What all pages share, made once per process. `environments` has one Jinja per language."""

    resources: Resources
    systems: tuple[System, ...]
    texts: Texts
    metrics: Metrics
    cookies: Cookies
    environments: Mapping[str, Environment]
    static: Mapping[str, StaticFile]

    def navigation(self, person: Person | None, path: str) -> Navigation:
        return build_navigation([system.menu for system in self.systems], person, path)

    def layout(self, navigation: Navigation, path: str) -> str:
        """The template that a page extends: its system's, or that of the only system in reach."""
        titles = {link.title for link in navigation.systems}
        systems = [system for system in self.systems if system.owns(path)] or [
            system for system in self.systems if system.menu.title in titles
        ]
        return systems[0].layout if len(systems) == 1 else "base.html"


def build_site(systems: Sequence[System], resources: Resources, metrics: Metrics) -> Site:
    """Read templates, texts and static files once."""
    texts = Texts([HERE / "locale", *(system.locale for system in systems)])
    static = assets.load_static_files(
        [HERE / "static", *(system.static for system in systems if system.static is not None)]
    )
    folders = [HERE / "templates", *(system.templates for system in systems)]
    functions = {
        name: function for system in systems for name, function in system.template_globals.items()
    }
    environments = {
        lang: assets.build_environment(lang, folders, texts, static, url=build_url, **functions)
        for lang in LANGS
    }
    cookies = Cookies(https=resources.settings.https)
    return Site(resources, tuple(systems), texts, metrics, cookies, environments, static)


def get_site(request: Request) -> Site:
    site = request.app.state.site
    assert isinstance(site, Site)
    return site


async def get_resources(request: Request) -> Resources:
    # async, because a plain function would take a thread of the pool for nothing
    return get_site(request).resources


Res = Annotated[Resources, Depends(get_resources)]


def build_url(path: str, **query: object) -> str:
    """A path with a query; fields that are None or empty are left out."""
    fields = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(fields, doseq=True)}" if fields else path


def sanitize_path(path: str) -> str:
    """A path that a form redirects to, if it stays on this site; else the front page."""
    is_local = (
        path.startswith("/")
        and not path.startswith(("//", "/\\"))
        and path.isprintable()
        and "\\" not in path
    )
    return path if is_local else "/"

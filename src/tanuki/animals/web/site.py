"""What makes the site an app on a phone: manifest, service worker, offline page; the credits."""

from hashlib import sha256

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from tanuki.animals.example import seed
from tanuki.animals.http.deps import Read
from tanuki.animals.web.layout import render_site_page
from tanuki.i18n import LANGS, msgid
from tanuki.platform.web.auth import get_visit
from tanuki.platform.web.pages import read_route
from tanuki.platform.web.site import get_site

router = APIRouter()
OFFLINE_FILES = (
    "tanuki.css",
    "tanuki.svg",
    "animals.css",
    "animals.js",
    "animals-icons.svg",
)
"""Static files that the service worker stores on the device for every page."""


def choose_language(request: Request, lang: str) -> str:
    """The language of the request's `lang` field, or the reader's."""
    return lang if lang in LANGS else get_visit(request).lang


@read_route(router, "/animals/manifest.webmanifest", public=True)
def get_manifest(request: Request, lang: str = "") -> Response:
    """How a phone shows the installed app."""
    site, lang = get_site(request), choose_language(request, lang)
    say, icon_url = site.texts.translator(lang), site.static["animals-icon.svg"].url
    icons = [
        {
            "src": site.static[f"animals-{size}.png"].url,
            "sizes": f"{size}x{size}",
            "type": "image/png",
        }
        for size in (192, 512)
    ]
    icons += [
        {"src": icon_url, "sizes": "any", "type": "image/svg+xml", "purpose": purpose}
        for purpose in ("any", "maskable")
    ]
    manifest = {
        "id": "/animals",
        "name": say(msgid("AI Animals")),
        "short_name": say(msgid("Animals")),
        "description": say(msgid("Photos of animals, shared by their people")),
        "lang": lang,
        "start_url": "/animals",
        "scope": "/animals",
        "display": "standalone",
        "background_color": "#f6f6f3",
        "theme_color": "#0b6e5f",
        "icons": icons,
        "shortcuts": [
            {"name": say(msgid("Post a photo")), "url": "/animals/post"},
            {"name": say(msgid("Search photos")), "url": "/animals/search"},
        ],
    }
    return JSONResponse(
        manifest,
        media_type="application/manifest+json",
        headers={"Cache-Control": "public, max-age=3600"},
    )


@read_route(router, "/animals/service-worker.js", public=True)
def get_service_worker(request: Request, lang: str = "") -> Response:
    """The service worker for all pages of the site; it changes when a file that it stores does."""
    site, lang = get_site(request), choose_language(request, lang)
    files = [site.static[name].url for name in OFFLINE_FILES]
    version = sha256("".join([lang, *files]).encode()).hexdigest()[:12]
    template = site.environments[lang].get_template("animals/service_worker.js")
    headers = {"Service-Worker-Allowed": "/animals", "Cache-Control": "no-cache"}
    return Response(
        template.render(files=files, version=version),
        media_type="text/javascript; charset=utf-8",
        headers=headers,
    )


@read_route(router, "/animals/offline", public=True)
def show_offline_page(request: Request, lang: str = "") -> Response:
    """The page for a device without a connection. It is stored there, so it names nobody."""
    environment = get_site(request).environments[choose_language(request, lang)]
    return HTMLResponse(environment.get_template("animals/offline.html").render())


@read_route(router, "/animals/credits", public=True)
def show_credits(context: Read) -> Response:
    return render_site_page(context, "credits.html", credits=seed.list_photo_credits(context.res))

"""What makes the pages an app on a phone: the manifest, the service worker, the page without a connection; and the credits."""

from hashlib import sha256

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from tanuki.animals.example import seed
from tanuki.animals.web.layout import show
from tanuki.i18n import LANGS, msgid
from tanuki.platform.web.pages import Db, Res, site_of, visit_of

router = APIRouter()
KEPT = (
    "tanuki.css",
    "tanuki.svg",
    "animals.css",
    "animals.js",
    "animals-icons.svg",
)  # on the device, for any page


def language(request: Request, lang: str) -> str:
    """The language that is asked for, or the reader's."""
    return lang if lang in LANGS else visit_of(request).lang


@router.get("/animals/manifest.webmanifest", include_in_schema=False)
def manifest(request: Request, lang: str = "") -> Response:
    """What a phone shows of the app when it is installed."""
    here, lang = site_of(request), language(request, lang)
    says, icon = here.texts.text, here.static["animals-icon.svg"].url
    images = [
        {
            "src": here.static[f"animals-{size}.png"].url,
            "sizes": f"{size}x{size}",
            "type": "image/png",
        }
        for size in (192, 512)
    ]
    images += [
        {"src": icon, "sizes": "any", "type": "image/svg+xml", "purpose": purpose}
        for purpose in ("any", "maskable")
    ]
    made = {
        "id": "/animals",
        "name": says(lang, msgid("AI Animals")),
        "short_name": says(lang, msgid("Animals")),
        "description": says(lang, msgid("A network for photos of animals")),
        "lang": lang,
        "start_url": "/animals",
        "scope": "/animals",
        "display": "standalone",
        "background_color": "#f6f6f3",
        "theme_color": "#0b6e5f",
        "icons": images,
        "shortcuts": [
            {"name": says(lang, msgid("Post a photo")), "url": "/animals/post"},
            {"name": says(lang, msgid("Search photos")), "url": "/animals/search"},
        ],
    }
    return JSONResponse(
        made,
        media_type="application/manifest+json",
        headers={"Cache-Control": "public, max-age=3600"},
    )


@router.get("/animals/sw.js", include_in_schema=False)
def worker(request: Request, lang: str = "") -> Response:
    """The service worker, for all pages of the network. It changes when a file that it keeps does."""
    here, lang = site_of(request), language(request, lang)
    files = [here.static[name].url for name in KEPT]
    mark = sha256("".join([lang, *files]).encode()).hexdigest()[:12]
    script = here.pages[lang].get_template("animals/sw.js").render(files=files, mark=mark)
    headers = {"Service-Worker-Allowed": "/animals", "Cache-Control": "no-cache"}
    return Response(script, media_type="text/javascript; charset=utf-8", headers=headers)


@router.get("/animals/offline", include_in_schema=False, response_class=HTMLResponse)
def offline(request: Request, lang: str = "") -> Response:
    """The page that says that there is no connection; it knows nobody, because it is kept on the device."""
    here = site_of(request)
    return HTMLResponse(
        here.pages[language(request, lang)].get_template("animals/offline.html").render()
    )


@router.get("/animals/credits", include_in_schema=False, response_class=HTMLResponse)
def credits_page(request: Request, db: Db, res: Res) -> Response:
    """What this is, and whose pictures the example network shows."""
    return show(request, db, "credits.html", credits=seed.credits(res))

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Set
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from werkzeug.test import TestResponse

from api.routes.page import page_version, policy
from api.schema.request_models import DepthQuery
from fathom.options import PRESETS, Colormap, Motion, Options, Output
from fathom.photos import kinds
from fathom.photos.formats import SUFFIXES
from fathom.result_names import result_names
from shared.errors import FathomError
from shared.jobs.cost import cost_of
from tests.unit.api.conftest import Api, ApiFactory
from worker.pipeline.colour import colour_table

STATIC = Path(__file__).parents[4] / "api" / "static"
MODULES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js"))
TEXTS = sorted(path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html", ".svg"))

#: Uses of a text: by its name, by a name with variable parts, and by names in a table.
_NAMED = re.compile(r'\bt\(\s*"([^"]+)"')
_TEMPLATE = re.compile(r"\b(?:t|has)\(\s*`([^`]+)`")
_QUOTED = re.compile(r'"([a-z]+\.[a-z_]+)"')


def source(name: str) -> str:
    return (STATIC / name).read_text()


@cache
def texts(language: str) -> dict[str, str]:
    """Return the texts of a language by their keys; plural forms are one string."""
    entry = re.compile(r'^  (?:"([^"]+)"|(\w+)): (.+),$', re.MULTILINE)
    return {quoted or plain: value for quoted, plain, value in entry.findall(source(f"i18n/{language}.js"))}


def all_code() -> str:
    return "\n".join(source(name) for name in MODULES if not name.startswith("i18n/"))


# --- how it is served -------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/jobs", f"/jobs/{'a' * 26}", f"/jobs/{'a' * 26}/photos/7"])
def test_every_address_of_the_page_is_the_same_document(api: Api, path: str) -> None:
    response = api.get(path)

    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert response.data == api.get("/").data


@pytest.mark.parametrize("path", ["/jobs/", f"/jobs/{'a' * 26}/photos/first", "/elsewhere"])
def test_other_addresses_are_not_the_page(api: Api, path: str) -> None:
    assert api.get(path).status_code == 404


def test_all_files_of_the_document_exist_and_are_cached_for_ever(api: Api) -> None:
    paths = re.findall(r'(?:href|src)="([^"]+)"', api.get("/").text)

    assert len(paths) > len(MODULES)
    for path in paths:
        response = api.get(path)
        assert (path, response.status_code) == (path, 200)
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_files_of_another_version_are_served_but_not_cached(api: Api) -> None:
    response = api.get("/static/0123456789abcdef/app.js")

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-cache"


def test_the_document_itself_is_revalidated_each_time(api: Api) -> None:
    first = api.get("/")
    again = api.get("/", headers={"If-None-Match": first.headers["ETag"]})

    assert first.headers["Cache-Control"] == "no-cache"
    assert (again.status_code, again.data) == (304, b"")
    assert "script-src 'self'" in again.headers["Content-Security-Policy"]


def test_texts_are_compressed_for_clients_that_accept_it(api: Api) -> None:
    path = f"/static/{page_version()}/app.js"
    plain, packed = api.get(path), api.get(path, headers={"Accept-Encoding": "gzip"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert "Accept-Encoding" in packed.headers["Vary"]


def test_no_compression_is_sent_to_clients_that_refuse_it(api: Api) -> None:
    response = api.get(f"/static/{page_version()}/app.js", headers={"Accept-Encoding": "gzip;q=0"})

    assert "Content-Encoding" not in response.headers


def test_pictures_are_sent_uncompressed(api: Api) -> None:
    response = api.get(f"/static/{page_version()}/samples/cat.jpg", headers={"Accept-Encoding": "gzip"})

    assert response.content_type == "image/jpeg"
    assert "Content-Encoding" not in response.headers
    assert response.data[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "name",
    ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "none.js", "", "index.html", "../../shared/api_keys.py"],
)
def test_no_other_file_is_served(api: Api, name: str) -> None:
    assert api.get(f"/static/{page_version()}/{name}").status_code == 404


def test_the_page_needs_no_key(make_api: ApiFactory) -> None:
    """The page itself asks for the key."""
    api = make_api(allow_anonymous=False)

    assert api.get("/").status_code == 200
    assert api.get(f"/static/{page_version()}/app.js").status_code == 200


# --- what it may do ---------------------------------------------------------


def directives(response: TestResponse) -> dict[str, str]:
    parts = response.headers["Content-Security-Policy"].split("; ")
    return {name: rest for name, _, rest in (part.partition(" ") for part in parts)}


def test_the_policy_allows_only_the_files_of_the_page(api: Api) -> None:
    allowed = directives(api.get("/"))

    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == allowed["style-src"] == allowed["connect-src"] == "'self'"
    assert allowed["img-src"] == "'self' blob: data:"
    assert allowed["media-src"] == "'self'"
    assert allowed["frame-ancestors"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert allowed["require-trusted-types-for"] == "'script'"


def test_the_page_may_upload_to_the_object_store_that_clients_reach(make_api: ApiFactory) -> None:
    api = make_api(public_url="https://s3.example:9000/path")

    assert directives(api.get("/"))["connect-src"] == "'self' https://s3.example:9000"


def test_the_policy_allows_nothing_unsafe() -> None:
    assert "unsafe" not in policy("https://s3.example")


def test_the_document_has_no_inline_script_or_style() -> None:
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style", source("index.html"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    text = path.read_text().replace('"http://www.w3.org/2000/svg"', "")

    assert not re.search(r"https?:|src=\"//|@import [\"']|url\(", text)


@pytest.mark.parametrize("name", MODULES)
def test_no_module_turns_text_into_markup_or_code(name: str) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source(name)
    )


@pytest.mark.parametrize("name", MODULES)
def test_every_module_that_is_imported_exists(name: str) -> None:
    folder = (STATIC / name).parent
    for path in re.findall(r'from "(\.[^"]+)"', source(name)):
        assert (folder / path).is_file(), path


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("app.js", "boot.js")])
def test_every_module_is_imported_by_another(name: str) -> None:
    imported = {
        ((STATIC / each).parent / path).resolve()
        for each in MODULES
        for path in re.findall(r'from "(\.[^"]+)"', source(each))
    }

    assert (STATIC / name).resolve() in imported


# --- what it says -----------------------------------------------------------


def test_both_languages_say_the_same_things() -> None:
    assert texts("en").keys() == texts("zh").keys()
    assert len(texts("en")) > 150


def test_both_languages_fill_in_the_same_values() -> None:
    values = {
        language: {key: set(re.findall(r"\{(\w+)\}", text)) for key, text in texts(language).items()}
        for language in ("en", "zh")
    }

    assert values["zh"] == values["en"]


def test_chinese_is_chinese() -> None:
    latin_only = {key for key, value in texts("zh").items() if not re.search(r"[\u4e00-\u9fff]", value)}

    assert latin_only == {"count", "facts.of", "facts.of_bytes", "jobs.count", "output.other", "photo.size"}


def test_every_text_used_by_name_exists() -> None:
    assert set(_NAMED.findall(all_code())) <= texts("en").keys()


def test_every_text_is_used() -> None:
    code = all_code()
    templates = [re.sub(r"\\\$\\\{.*?\\\}", ".+", re.escape(found)) for found in _TEMPLATE.findall(code)]
    named = set(_NAMED.findall(code)) | set(_QUOTED.findall(code))

    unused = {
        key
        for key in texts("en")
        if key not in named and not any(re.fullmatch(one, key) for one in templates)
    }

    assert unused == {"language.name"} - named


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("i18n/")])
def test_no_module_contains_sentences(name: str) -> None:
    """All texts for users are in the language files. Only errors for programmers are in the modules."""
    lines = [
        line
        for line in re.sub(r"/\*.*?\*/", "", source(name), flags=re.DOTALL).splitlines()
        if not re.search(r"throw |Error\(", line)
    ]
    strings = re.findall(r'["`]([^"`]*)["`]', "\n".join(re.sub(r"(^|\s)//.*", "", line) for line in lines))

    assert [text for text in strings if re.match(r"[A-Z][a-z]*,? \w", text)] == []


def test_every_reason_of_a_failed_photo_has_words() -> None:
    from shared import errors

    codes = {each.code for each in _below(errors.ImageError)}

    assert {f"reason.{code}" for code in codes} - texts("en").keys() <= {"reason.image_error"}


def _below(kind: type[FathomError]) -> set[type[FathomError]]:
    return {kind}.union(*map(_below, kind.__subclasses__()))


# --- what it shares with the other rooms ------------------------------------


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("PHOTOS", SUFFIXES),
        ("UNREAD", kinds.RAW.keys() | kinds.PICTURES.keys()),
        ("VIDEOS", kinds.VIDEOS),
        ("SIDECARS", kinds.SIDECARS),
    ],
)
def test_the_page_classifies_files_like_the_client_and_server(name: str, ours: Set[str]) -> None:
    found = re.search(rf"const {name} = suffixes\((.+?)\);", source("uploads/kinds.js"), re.DOTALL)
    assert found is not None
    words = "".join(re.findall(r'"(.*?)"', found[1])).split(" ")

    assert len(words) == len(set(words))
    assert {f".{word}" for word in words} == ours


def test_the_page_ignores_system_files() -> None:
    found = re.search(r"const SYSTEM = new Set\((\[.+?\])\);", source("uploads/kinds.js"))
    assert found is not None

    assert set(json.loads(found[1])) == kinds.SYSTEM_NAMES


def test_the_page_names_what_it_asks_for_as_the_server_names_results() -> None:
    orders = re.findall(r'  (\w+): \{\s+output: "(\w+)", ending: "([^"]+)"', source("make/orders.js"))
    layouts = {"anaglyph": "anaglyph", "wiggle": "sbs_full", "headset": "sbs_full"}

    assert len(orders) == 11
    for kind, output, ending in orders:
        group = {"stereo": {"layout": layouts[kind]}} if output == "stereo" else {}
        names = next(result_names(["photo.jpg"], Options.parse({"outputs": [output], **group})))
        assert names[output] == f"photo{ending}"


def test_the_page_asks_for_options_that_the_server_knows() -> None:
    asked = set(re.findall(r'"((?:stereo|normals|refocus|clip)\.\w+)":', source("make/orders.js")))
    known = {field.alias or name for name, field in DepthQuery.model_fields.items()}

    assert len(asked) == 8
    assert asked <= known


def test_the_page_moves_the_camera_as_clips_do_by_default() -> None:
    code, clip = source("scene/camera_motion.js"), Options().clip
    numbers = dict(re.findall(r"const (\w+) = ([\d.]+);", code))
    motions = re.search(r"MOTIONS = (\[.+?\]);", code)

    assert motions is not None
    assert json.loads(motions[1]) == [*Motion]
    assert (float(numbers["FOCUS"]), float(numbers["SECONDS"])) == (*clip.focus, clip.seconds)
    assert Options.parse({"clip": {"amount": float(numbers["MOST"])}, "outputs": ["clip"]})


def test_the_page_reckons_with_the_costs_of_the_server() -> None:
    found = re.search(r"const \[OTHER, PREDICTION\] = \[([\d.]+), ([\d.]+)\];", source("networks/choice.js"))
    assert found is not None
    other, prediction = map(float, found.groups())

    for relative_cost in (1.0, 50.1):
        assert cost_of(Options(), relative_cost).render == pytest.approx(other + prediction * relative_cost)


def test_the_page_offers_the_presets_of_the_server() -> None:
    drawn = re.findall(r'^  "?(\w+)"?: \(\) =>', source("presets/pictures.js"), re.MULTILINE)

    assert drawn == ["heatmaps", *PRESETS]


def test_the_document_says_what_every_preset_makes(api: Api) -> None:
    found = re.search(r'name="fathom-presets" content="([^"]*)"', api.get("/").text)

    assert found is not None
    assert json.loads(html.unescape(found[1])) == {
        name: list(Options.parse({"preset": name}).outputs) for name in PRESETS
    }


def test_the_page_knows_every_output() -> None:
    named = {key.removeprefix("output.") for key in texts("en") if key.startswith("output.")}

    assert {*Output, "depth", "stereo_left", "stereo_right"} <= named
    assert {f"{output}_kind" for output in (*Output, "depth", "stereo_left", "stereo_right")} <= named


@pytest.mark.parametrize("name", ["inferno", "magma", "viridis", "turbo"])
def test_the_page_uses_the_colours_of_the_workers(name: str) -> None:
    found = re.search(rf"  {name}: \[(.*?)\]", source("viewer/colormaps.js"), re.DOTALL)
    assert found is not None
    table = np.frombuffer(
        base64.b64decode("".join(json.loads(f"[{found[1].rstrip().rstrip(',')}]"))), np.uint8
    )

    np.testing.assert_array_equal(table.reshape(256, 3), colour_table(Colormap(name)))

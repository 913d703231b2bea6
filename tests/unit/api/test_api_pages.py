"""/docs and /redoc need no internet."""

from __future__ import annotations

import re

import pytest
from api_fakes import Lab, error_of


@pytest.mark.parametrize(("path", "program"), [("/docs", "swagger-ui-bundle.js"), ("/redoc", "redoc.standalone.js")])
async def test_a_page_and_all_it_loads_come_from_here(lab: Lab, path: str, program: str) -> None:
    async with lab.client(None) as client:
        page = await client.get(path)
        assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
        loaded = re.findall(r"""(?:src|href)="([^"]+)"|spec-url="([^"]+)"|url: '([^']+)'""", page.text)
        urls = [url for found in loaded for url in found if url]
        assert "/openapi.json" in urls and any(url.endswith(program) for url in urls)
        for url in urls:
            assert url.startswith("/"), f"{url} is not ours"
            answer = await client.get(url)
            assert answer.status_code == 200 and len(answer.content) > 1000
        assert "://" not in re.sub(r"<noscript>.*?</noscript>", "", page.text, flags=re.DOTALL)


async def test_assets_are_cached_and_no_other_file_is_served(lab: Lab) -> None:
    async with lab.client(None) as client:
        first = await client.get("/docs/assets/swagger-ui.css")
        again = await client.get("/docs/assets/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]})
        assert (first.headers["content-type"], again.status_code) == ("text/css; charset=utf-8", 304)
        for name in ("..%2f__init__.py", "core.py", "x"):
            assert error_of(await client.get(f"/docs/assets/{name}"))[:2] == (404, "not_found")


async def test_the_bare_address_leads_to_the_lab(lab: Lab) -> None:
    async with lab.client(None) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/lab")


async def test_behind_a_prefix_everything_has_it(lab: Lab) -> None:
    lab.app.root_path = "/east"
    async with lab.client(None) as client:
        assert (await client.get("/")).headers["location"] == "/east/lab"
        assert 'src="/east/docs/assets/' in (await client.get("/docs")).text


async def test_every_group_of_routes_is_explained(lab: Lab) -> None:
    async with lab.client(None) as client:
        document = (await client.get("/openapi.json")).json()
    used = {tag for methods in document["paths"].values() for way in methods.values() for tag in way.get("tags", ["?"])}
    assert used == {tag["name"] for tag in document["tags"]}

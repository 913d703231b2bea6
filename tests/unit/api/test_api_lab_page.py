"""The lab's page, run by a JavaScript engine with just enough of a browser around it, and what it is served as."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import quickjs
from api_fakes import Lab

from lutlab_api.web.pages import LAB_FILES

FOLDER = files("lutlab_api.web") / "lab"
BROWSER = Path(__file__).with_name("lab_page.js")
MODULES = ("words.js", "server.js", "lab.js")
SESSION = {"session_id": "5e55", "owner": "ada", "expires_at": "2026-11-26T12:00:00Z"}
IDLE = {"fpga_id": 0, "state": "idle", "online": True, "profile": "lfe5u-25f", "labels": [], "error": None}
IDLE |= {"session": None, "owner": None}
ADAS = IDLE | {"fpga_id": 1, "state": "reserved", "session": SESSION, "owner": "ada"}
WAYS = {"switch0": "in", "rx": "in", "led10": "out", "led2": "out", "button0": "in"}
PINS = [{"name": name, "pin": "B2", "way": way, "level": 0} for name, way in WAYS.items()]


def source(name: str) -> str:
    return (FOLDER / name).read_text()


IDS = re.findall(r'id="([\w-]+)"', source("index.html"))


class Page:
    """The page in its browser."""

    def __init__(self) -> None:
        self.context = quickjs.Context()
        elements = "".join(f"byId[{json.dumps(name)}] = new Element('div');" for name in IDS)
        modules = "\n".join(re.sub(r"^(import .*|export )", "", source(name), flags=re.MULTILINE) for name in MODULES)
        self.context.eval(BROWSER.read_text() + elements + modules)
        self.settle()

    def settle(self) -> None:
        while self.context.execute_pending_job():
            pass

    def do(self, program: str) -> Any:
        """The value of an expression, after all that follows from it at once."""
        result = self.context.eval(f"JSON.stringify({program}) ?? 'null'")
        self.settle()
        return json.loads(result)

    def answer(self, method_and_path: str, answer: object, status: int = 200) -> None:
        self.do(f"answers[{json.dumps(method_and_path)}] = {json.dumps([status, answer])}")

    def fill(self, element: str, text: str) -> None:
        self.do(f"byId[{json.dumps(element)}].value = {json.dumps(text)}")

    def submit(self, form: str, button: str = "") -> None:
        event = f"{{ preventDefault() {{}}, submitter: {{ name: {json.dumps(button)} }} }}"
        self.do(f"(byId[{json.dumps(form)}].handlers.submit({event}), null)")

    def click(self, within: str, text: str) -> None:
        self.do(f"(button({json.dumps(within)}, {json.dumps(text)}).handlers.click(), null)")

    def later(self, wait_ms: int) -> None:
        self.do(f"(fire({wait_ms}), null)")

    def text(self, element: str) -> str:
        return str(self.do(f"byId[{json.dumps(element)}].textContent"))

    def asked(self) -> list[tuple[str, str]]:
        return [(one["method"], one["path"]) for one in self.do("requests")]


@pytest.fixture
def page() -> Page:
    page = Page()
    page.answer("GET api/v1/boards?per_page=100", {"boards": [IDLE, ADAS]})
    page.answer("GET api/v1/queue", {"total": 0, "queue": []})
    page.answer("GET api/v1/keys/me", {"owner": "ada", "role": "member"})
    page.answer("GET fpga/1/pins", PINS)
    return page


@pytest.fixture
def signed_in(page: Page) -> Page:
    page.fill("key", " lutlab_key ")
    page.submit("key-form")
    page.later(200)
    return page


# -- words


@pytest.mark.parametrize(
    ("text", "value"), [("42", 42), (" 0x2a ", 42), ("0b101", 5), ("0xffff_ffff", 0xFFFFFFFF), ("007", 7)]
)
def test_numbers_as_people_type_them(page: Page, text: str, value: int) -> None:
    assert page.do(f"number({json.dumps(text)}, 'the word')") == value


@pytest.mark.parametrize("text", ["", "-1", "1.5", "zwei", "0x", "0x100000000", "1e3", "_", "0b2"])
def test_other_numbers_are_named_in_the_problem(page: Page, text: str) -> None:
    with pytest.raises(quickjs.JSException, match=re.escape(json.dumps(text))):
        page.do(f"number({json.dumps(text)}, 'the word')")


def test_words_and_their_picture(page: Page) -> None:
    assert page.do("words(' 0x2a, 7\\n9 ')") == [42, 7, 9]
    assert page.do("dump(0x10, [1, 2, 3, 4, 0xdeadbeef])").split("\n") == [
        "000010  00000001 00000002 00000003 00000004",
        "000020  deadbeef",
    ]
    for program in ("words(' ')", "words('1 '.repeat(2049))", "address('0x3')"):
        with pytest.raises(quickjs.JSException):
            page.do(program)


# -- what it shows and asks for


def test_without_a_key_it_shows_the_boards_and_asks_for_nothing_that_needs_one(page: Page) -> None:
    page.later(3000)
    assert "board 0" in page.text("boards") and page.text("boards-count") == "2 of 2 online"
    assert {path for _, path in page.asked()} == {"api/v1/boards?per_page=100"}
    assert not page.do("requests.some((one) => 'X-API-Key' in one.headers)")


def test_with_a_key_it_follows_the_log(signed_in: Page) -> None:
    assert signed_in.text("who") == "ada, member" and signed_in.do("kept") == {"lutlab-key": "lutlab_key"}
    event = {"position": 7, "at": "2026-11-26T12:00:00Z", "type": "job.queued.v1", "stream": "job-1", "data": {"n": 1}}
    block = f"id: 7\nevent: job.queued.v1\ndata: {json.dumps(event)}\n\n"
    signed_in.do(f"chunks.push('retry: 2000\\n\\n', {json.dumps(block[:30])}, {json.dumps(block[30:])})")
    signed_in.later(5000)
    assert "job.queued.v1 job-1 n=1" in signed_in.text("log")
    signed_in.later(5000)
    followed = [one for one in signed_in.do("requests") if one["path"].startswith("api/v1/events")]
    assert followed[-1]["headers"]["Last-Event-ID"] == "7", "nothing is missed between two connections"


def test_a_wrong_key_is_told_and_not_kept(page: Page) -> None:
    page.answer("GET api/v1/keys/me", {"error": {"code": "invalid_api_key", "message": "this key is not known"}}, 401)
    page.fill("key", "wrong")
    page.submit("key-form")
    assert page.text("problem") == "this key is not known" and page.do("kept") == {}


def test_what_the_lab_says_is_text_and_never_markup(page: Page) -> None:
    page.answer("GET api/v1/boards?per_page=100", {"boards": [ADAS | {"error": "<img src=x onerror=alert(1)>"}]})
    page.later(3000)
    assert "<img src=x" in page.text("boards")
    assert not page.do("everyElement(byId.boards).some((one) => one.tag === 'img')")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", "".join(map(source, MODULES)))


def test_a_design_is_sent_watched_and_its_board_chosen(signed_in: Page) -> None:
    job = {"job_id": "10b", "status": "running", "build_stage": "synthesize", "fpga_id": None, "filename": "a.v"}
    job |= {"bitstream": None, "report": None, "error": None, "cached": None}
    signed_in.answer("POST api/v1/jobs", {"job_id": "10b"})
    signed_in.answer("GET api/v1/jobs/10b", job)
    signed_in.do("byId.design.files = ['a file']")
    signed_in.submit("design-form")
    assert signed_in.do("requests.find((one) => one.path === 'api/v1/jobs').body.parts") == [["file", "a file"]]
    looks = "everyElement(byId.job).filter((one) => one.tag === 'li').map((one) => one.attributes.class ?? '')"
    assert signed_in.do(looks) == ["done", "done", "now", "", "", "", ""]
    signed_in.answer("GET api/v1/jobs/10b", job | {"status": "complete", "fpga_id": 1, "bitstream": {"digest": "d"}})
    signed_in.later(5000)
    signed_in.later(200)
    assert signed_in.do(looks) == ["done"] * 7 and signed_in.text("words-board") == "board 1"


def test_a_failed_job_says_where_and_why(signed_in: Page) -> None:
    job = {"status": "failed", "build_stage": "pack", "bitstream": None, "fpga_id": None, "report": None, "job_id": "1"}
    job |= {"error": "no pins", "filename": "a.v", "cached": None}
    shown = signed_in.do(f"jobParts({json.dumps(job)}).map((one) => [one.textContent, one.attributes.class ?? ''])")
    assert ["no pins", "bad"] in shown and shown[0][0] == "a.v: failed"
    assert signed_in.do(f"stageOf({json.dumps(job)})") == 4


def test_words_are_read_and_written_on_ones_own_board(signed_in: Page) -> None:
    signed_in.answer("POST api/v1/boards/1/run", {"job_id": "10b"})
    signed_in.answer("GET api/v1/jobs/10b/result", {"ok": True, "data": [1, 2]})
    for field, text in {"address": "0x8", "count": "2", "data": "5 6"}.items():
        signed_in.fill(field, text)
    signed_in.submit("words-form", "read")
    assert signed_in.text("words") == "000008  00000001 00000002"
    signed_in.submit("words-form", "write")
    assert signed_in.text("words") == "wrote 2 words:\n000008  00000005 00000006"
    runs = [json.loads(one["body"]) for one in signed_in.do("requests") if one["path"].endswith("/run")]
    assert runs == [{"op": 2, "address": 8, "count": 2}, {"op": 1, "address": 8, "data": [5, 6]}]
    failed = {"ok": False, "data": [], "ops": [{"ok": False, "error": "bus_timeout"}]}
    signed_in.answer("GET api/v1/jobs/10b/result", failed)
    signed_in.submit("words-form", "read")
    assert "bus_timeout" in signed_in.text("problem")


def test_the_panel_has_leds_buttons_and_switches_in_order(signed_in: Page) -> None:
    signed_in.later(500)
    assert signed_in.text("pins") == "led2led10button0switch0"
    signed_in.answer("PUT fpga/1/pins", PINS)
    signed_in.click("pins", "button0")
    signed_in.later(300)
    sets = [json.loads(one["body"])["pins"] for one in signed_in.do("requests") if one["method"] == "PUT"]
    assert sets == [{"button0": 1}, {"button0": 0}], "a button is let go again"


def test_a_board_is_given_back(signed_in: Page) -> None:
    signed_in.click("boards", "give back")
    assert signed_in.asked()[-1] == ("DELETE", "api/v1/sessions/5e55")


# -- what it is served as


async def test_the_page_and_its_parts_are_served_and_nothing_runs_in_it_but_they(lab: Lab) -> None:
    html = source("index.html")
    async with lab.client(None) as client:
        page = await client.get("/lab")
        assert page.status_code == 200 and page.text == html
        assert "unsafe" not in page.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", html)
        for url in re.findall(r'(?:src|href)="([^"]+)"', html):
            assert (await client.get("/" + url)).status_code == 200, url
        for name in LAB_FILES:
            assert (await client.get(f"/lab/{name}")).status_code == 200, name
        assert (await client.get("/lab/pages.py")).status_code == 404
    named = {name for module in MODULES for name in re.findall(r'from "\./([\w.]+)"', source(module))}
    assert named <= set(LAB_FILES)


async def test_it_asks_for_routes_that_there_are(lab: Lab) -> None:
    async with lab.client(None) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    routes = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in paths]
    asked = set(re.findall(r'[`"]((?:api/v1|fpga)/[^`"]*)[`"]', source("lab.js") + source("server.js")))
    assert len(asked) >= 10
    for path in asked:
        plain = "/" + re.sub(r"\$\{[^}]*\}", "1", path).partition("?")[0]
        assert any(route.fullmatch(plain) for route in routes), plain

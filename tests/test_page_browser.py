"""The page in a real browser: it opens without a request or an error, sorts, filters, drills down, keeps its address.

Needs the distribution's Chromium and the package playwright, which only drives it; skips itself without either.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic_store as made

from harness.store import Store, write_record, write_whole
from reports.page.page import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra dev has it)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PATIENCE = 120_000  # milliseconds; a busy machine is slow, a broken page waits for ever
WIDTHS = (1440, 390)
HOSTILE = (
    "</script><script>window.broken=1</script><img src=x onerror='window.broken=1'>\x1b[31m\u202etxet & <b>bold</b>"
)
LABELS = ("none", "pi", "yarn", "longrope2")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small page with everything: searches, trainings, failed and missing cells, and a hostile generation."""
    folder = tmp_path_factory.mktemp("browser")
    store = made.with_stages(made.realistic(folder / "store", 12, LABELS, (512, 2048)))
    cell = cell_of(store, "none", "needle", 512)
    content = store.cell(cell) or {}
    content["rows"][0] |= {"generation": HOSTILE, "failure": "<i>odd</i>", "score": 0.0}
    del content["key"]
    store.put_cell(cell, content)
    return write_report(store, folder / "out").as_uri()


@pytest.fixture(scope="module")
def keys(address: str) -> dict[tuple[str, str, int], str]:
    """Keys of the cells by (method, test, length)."""
    folder = Path(address.removeprefix("file://")).parent.parent / "store"
    return {(c["label"], c["task"], c["length"]): c["key"] for c in Store.open(folder).run()["cells"]}


def cell_of(store: Store, label: str, task: str, length: int) -> str:
    cells = store.run()["cells"]
    return next(str(c["key"]) for c in cells if (c["label"], c["task"], c["length"]) == (label, task, length))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS, timeout=PATIENCE)
        yield running
        running.close()


class Opened:
    """A page that remembers every request and every error."""

    def __init__(self, browser: Any, address: str, width: int = 1440, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_function("document.querySelectorAll('#filters button').length > 0")

    def close(self) -> None:
        self.context.close()
        assert self.errors == []
        assert {url.partition("#")[0] for url in self.requests} == {self.requests[0].partition("#")[0]}

    def column(self, table: str, place: int = 0) -> list[str]:
        rows = f"#{table} tbody tr:not(.group):not(.off)"
        script = "(rows, place) => rows.map((row) => row.cells[place].innerText.trim())"
        found: list[str] = self.page.eval_on_selector_all(rows, script, place)
        return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_without_requests_errors_or_a_sideways_scroll(
    browser: Any, address: str, width: int, scheme: str
) -> None:
    opened = Opened(browser, address, width, scheme)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#answer p").first.is_visible()
    shown = ".narrow" if width < 700 else ".wide"
    assert page.locator(f"figure {shown} svg").first.is_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 23, 26)" if scheme == "dark" else "rgb(253, 253, 252)")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('main details')].every((box) => box.open)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.close()


def test_a_table_sorts_by_mouse_and_keyboard_and_the_address_keeps_it(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    before = opened.column("table-summary")
    assert before == list(LABELS)
    heads = page.locator("#table-summary thead button")
    heads.nth(2).click()
    values = [float(text.split()[-1 if "=" not in text.split()[0] else 1]) for text in first_lines(opened, 2)]
    assert values == sorted(values, reverse=True) and len(values) == 4
    assert page.locator("#table-summary thead th").nth(2).get_attribute("aria-sort") == "descending"
    heads.nth(0).focus()
    page.keyboard.press("Enter")
    assert opened.column("table-summary") == sorted(LABELS)
    assert "sort=summary.0.up" in page.url
    again = Opened(browser, page.url)
    assert again.column("table-summary") == sorted(LABELS)
    again.close()
    opened.close()


def first_lines(opened: Opened, place: int) -> list[str]:
    return [text.splitlines()[0] for text in opened.column("table-summary", place)]


def test_filters_hide_methods_lengths_and_tests_and_the_address_keeps_them(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    lines = "figure .wide svg [data-m='1']:visible"
    assert page.locator(lines).count() > 0
    page.click("#filters button:text-is('pi')")
    assert opened.column("table-summary") == ["none", "yarn", "longrope2"]
    assert page.locator(lines).count() == 0
    assert page.locator("#tests-2048 thead th:visible").all_inner_texts() == ["Test", "none", "yarn", "longrope2"]
    page.fill("#filters input", "multikey")
    shown = opened.column("table-by-test-2048")
    assert [name for name in shown if "/" in name] == [f"ruler-pocket/niah_multikey_{i}" for i in (1, 2, 3)]
    page.click("#filters button:text-is('512')")
    assert page.locator("#table-summary thead th:visible").count() == 2
    assert "off=pi" in page.url and "q=multikey" in page.url and "length=512" in page.url
    again = Opened(browser, page.url, 390)
    assert again.column("table-summary") == ["none", "yarn", "longrope2"]
    assert again.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    again.close()
    page.click("#filters .reset")
    assert opened.column("table-summary") == list(LABELS) and page.url.endswith("#")
    opened.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_from_a_number_down_to_two_answers_side_by_side(
    browser: Any, address: str, keys: dict[tuple[str, str, int], str], width: int
) -> None:
    opened = Opened(browser, address, width)
    page = opened.page
    number = page.locator(f"#table-by-test-2048 a[href='#cell-{keys['yarn', 'needle', 2048]}']")
    number.click()
    page.wait_for_selector("#panel .sample")
    assert "yarn · needle · 2,048 tokens" in page.inner_text("#panel-h")
    assert page.locator("#panel .sample").count() == 10
    sample = page.locator("#panel .sample").first
    assert "secret code of Amber Bay" in sample.locator("pre").first.inner_text()
    code = sample.locator("mark").first.inner_text()
    assert sample.locator("h4:text-is('Reference') + pre").inner_text() == code
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelectorAll('#panel .sample').length === 2")  # samples 11 and 12
    page.locator("#panel label", has_text="beside").locator("select").select_option(label="pi")
    page.wait_for_selector("#panel .versus")
    assert page.locator("#panel .sample").first.locator("h4").all_inner_texts()[0] == "Reference"
    assert len(page.locator("#panel .sample").first.locator("h4").all()) == 3
    counts = [int(text) for text in page.locator(".versus b").all_inner_texts()]
    assert sum(counts) == 12
    page.locator("#panel label", has_text="show").locator("select").select_option("differ")
    page.wait_for_function(f"document.querySelectorAll('#panel .sample').length === {min(10, counts[1] + counts[2])}")
    assert page.evaluate("document.querySelector('#panel').scrollWidth <= innerWidth")
    link = page.url
    page.keyboard.press("Escape")
    page.wait_for_selector("#panel", state="hidden")
    assert "cell-" not in page.url
    again = Opened(browser, link, width)
    again.page.wait_for_selector("#panel .versus")
    assert again.page.locator("#panel label", has_text="show").locator("select").input_value() == "differ"
    again.close()
    opened.close()


def test_a_field_of_the_heat_map_opens_its_depth(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.locator(".heat").nth(2).locator("tbody tr").nth(1).locator("a").last.click()
    page.wait_for_selector("#panel .sample")
    assert "Depth 10 % only" in page.inner_text("#panel-body")
    assert all("depth 10 %" in text for text in page.locator("#panel .sample h3").all_inner_texts())
    page.click("#panel a:text-is('All depths')")
    page.wait_for_function("document.querySelectorAll('#panel .sample').length === 10")
    opened.close()


def test_wrong_answers_lead_to_their_cells(browser: Any, address: str) -> None:
    opened = Opened(browser, address)
    page = opened.page
    page.locator("#table-failures tbody tr").first.locator("a").last.click()
    page.wait_for_selector("#panel .list a")
    page.locator("#panel .list a").first.click()
    page.wait_for_selector("#panel .sample")
    assert page.locator("#panel label", has_text="show").locator("select").input_value().startswith("is ")
    assert all("failure:" in text for text in page.locator("#panel .answers > .wrong h4").all_inner_texts())
    opened.close()


def test_failed_and_missing_cells_say_why(browser: Any, address: str, keys: dict[tuple[str, str, int], str]) -> None:
    opened = Opened(browser, f"{address}#cell-{keys['pi', 'ruler-pocket/cwe', 2048]}")
    opened.page.wait_for_selector("#panel .stamp.red")
    assert "MemoryError" in opened.page.inner_text("#panel-body")
    opened.page.click("#close")
    opened.page.wait_for_selector("#panel", state="hidden")
    assert opened.page.locator("td.failed").count() > 0 and opened.page.locator("td.absent").count() > 0
    opened.close()


def test_text_of_a_model_is_text(browser: Any, address: str, keys: dict[tuple[str, str, int], str]) -> None:
    opened = Opened(browser, f"{address}#cell-{keys['none', 'needle', 512]}?sample=0")
    page = opened.page
    page.wait_for_selector("#panel .sample")
    said = page.inner_text("#panel .answers .wrong")
    assert "</script><script>window.broken=1</script>" in said and "␛[31m⟨U+202E⟩" in said
    assert page.evaluate("window.broken === undefined && document.querySelectorAll('img').length === 0")
    opened.close()


# Whatever a store may say that is no number: labels, names, errors, texts of a model, documents, environment.
EVIL = (
    "'\"></script></style></title></textarea></template><script>window.broken=1</script><svg onload='window.broken=2'>"
)
EVIL += "<img src='http://192.0.2.1/x.png' onerror='window.broken=3'><a href='javascript:window.broken=4'>x</a>{{7*7}}"
EVIL += (
    "${window.broken=5}<link rel=stylesheet href=http://192.0.2.1/><iframe srcdoc='<script>parent.broken=6</script>'>"
)
EVIL += "<!--\x00\x1b]8;;http://192.0.2.1/\x07\u202e\u2028"
STRUCTURE = {"key", "status", "unit", "category", "prompt", "hash", "plan_hash", "created", "extender", "sha256",
             "seal", "crossing", "operator", "stage"}  # fmt: skip


NAMES = {*LABELS, "python", "torch", "cpu", "commit"}  # keys that are somebody's words


def poisoned(value: Any) -> Any:
    """The value with something evil in all its texts, and in the names among its keys."""
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    if isinstance(value, dict):
        named = {key + EVIL if key in NAMES else key: (key, one) for key, one in value.items()}
        return {name: one if key in STRUCTURE else poisoned(one) for name, (key, one) in named.items()}
    return value


@pytest.fixture(scope="module")
def evil_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same page, but every text of every record is hostile."""
    folder = tmp_path_factory.mktemp("evil")
    sound = made.with_stages(made.realistic(folder / "sound", 3, LABELS, (512, 2048)))
    store = Store.create(folder / "store")
    for cell in sound.run()["cells"]:
        content: Any = sound.cell(cell["key"])
        if content is not None:
            for row in content["rows"]:
                row["prompt"] = store.put_prompt(sound.prompt(row["prompt"]) + EVIL)
            store.put_cell(content.pop("key"), {**poisoned(content), "identity": {}})
    for path in (sound.folder / "searches").glob("*.json"):
        found: Any = sound.search(path.stem)
        write_record(store.searches / path.name, "search", {**poisoned(found), "identity": found["identity"]})
        write_whole(store.searches / f"{path.stem}.jsonl", path.with_suffix(".jsonl").read_text())
    for path in (sound.folder / "trainings").glob("*.json"):
        store.put_training(path.stem, {**poisoned(sound.training(path.stem)), "identity": {}})
    run: Any = sound.run()
    store.write_run(poisoned(run) | {"format": 1})
    return write_report(store, folder / "out").as_uri()


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.full)])
def test_no_text_of_a_store_is_run_or_fetched_wherever_it_stands(browser: Any, evil_address: str, step: int) -> None:
    """Cells are opened (1: all of them), alone and beside another, with all their samples."""
    opened = Opened(browser, evil_address)
    page = opened.page
    assert (
        "onerror" in page.inner_text("main") and page.evaluate("document.querySelectorAll('main script').length") == 0
    )
    links = page.eval_on_selector_all(
        "a[href^='#cell-']", "links => [...new Set(links.map((a) => a.getAttribute('href')))]"
    )
    assert len(links) > 100
    samples = 0
    for link in links[::step]:
        page.evaluate("link => { document.querySelector('#panel-body').textContent = ''; location.hash = link }", link)
        page.wait_for_selector("#panel .sample, #panel .stamp, #panel .list")
        samples += page.locator("#panel .sample").count()
        other = page.locator("#panel label", has_text="beside").locator("select option").nth(1)
        if other.count():
            page.locator("#panel label", has_text="beside").locator("select").select_option(index=1)
            page.wait_for_selector("#panel .versus, #panel .sample, #panel .stamp")
    assert samples > 200 / step
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("window.broken") is None and page.evaluate("frames.length") == 0
    assert page.locator("img, iframe, link[href^=http], a[href^=javascript]").count() == 0
    opened.close()

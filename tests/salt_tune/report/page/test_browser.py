"""What a page does in a browser: charts are drawn, hover and filter work, and nothing is asked of a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from analysis import Run, load
from salt_tune.report.page.page import write_page
from salt_tune.write_report import sources
from tests.analysis.fake_steps import write_steps
from tests.analysis.made_search import spread, write_search

TOOLTIP = "#vg-tooltip-element.visible"
SVG = "{http://www.w3.org/2000/svg}"


class Opened:
    """A page in a browser, with what it asked for and complained of."""

    def __init__(self, browser: Any, file: Path, *, width: int = 1000, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_function("document.documentElement.dataset.drawn")


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    """The page, open."""
    opened = Opened(browser, file)
    yield opened
    opened.context.close()


def test_charts_are_drawn_without_a_word_or_a_request(opened: Opened, file: Path) -> None:
    charts = opened.page.locator(".chart").count()
    assert charts > 8 and opened.page.locator(".chart svg").count() == charts
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [file.as_uri()]


def test_what_is_pointed_at_names_its_configuration(opened: Opened) -> None:
    dot = opened.page.locator("#run0-learning_curves-0 .mark-symbol path").first
    dot.scroll_into_view_if_needed()
    dot.hover(force=True)
    opened.page.wait_for_selector(TOOLTIP)
    text = opened.page.locator(TOOLTIP).inner_text()
    assert "trial" in text and "mask_ratio" in text and "predictor_dim" in text


def test_the_filter_holds_in_tables_and_charts(opened: Opened) -> None:
    page = opened.page
    dots = page.locator("#run0-slices-0 .mark-symbol path")
    assert dots.count() == 40
    page.fill("#query", "T7")
    page.wait_for_function("document.querySelectorAll('#run0-slices-0 .mark-symbol path').length === 1")
    assert page.locator("#run0-ranking tr[data-trial]:visible").count() == 1
    assert page.locator("#count").inner_text() == "1 of 40 trials"
    page.fill("#query", "")
    page.uncheck("#states input")
    assert page.locator("#count").inner_text() == "0 of 40 trials"
    assert opened.complaints == []


def test_the_ranking_is_sorted_by_the_keyboard(opened: Opened) -> None:
    page = opened.page
    button = page.get_by_role("button", name="mask_ratio", exact=True)
    button.focus()
    column = "[...document.querySelectorAll('#run0-ranking tbody tr')].map(row => parseFloat(row.cells[4].textContent))"
    page.keyboard.press("Enter")
    rising = page.evaluate(column)
    assert rising == sorted(rising)
    page.keyboard.press("Enter")
    assert page.evaluate(column) == rising[::-1]
    assert page.locator("th[aria-sort=descending]").inner_text().strip().startswith("mask_ratio")


def test_a_chart_is_walked_through_by_the_keyboard(opened: Opened) -> None:
    page, said = opened.page, opened.page.locator("#said")
    page.locator("#run0-slices-0").focus()
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith("1 of 40: trial ") and "mask_ratio" in said.inner_text()
    page.wait_for_selector(TOOLTIP)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    assert said.inner_text().startswith("40 of 40: ") and page.locator(".pointed").count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector(TOOLTIP, state="hidden")
    assert page.locator(".pointed").count() == 0 and opened.complaints == []


def test_every_chart_can_be_walked_through_and_is_a_table(browser: Any, fake: Run, tmp_path: Path) -> None:
    write_page({"fake": fake}, tmp_path / "page.html", sources())
    opened = Opened(browser, tmp_path / "page.html")
    page, said = opened.page, opened.page.locator("#said")
    identities = [str(each.get_attribute("id")) for each in page.locator(".chart").all()]
    assert {"run0-time_slots-0", "run0-_gradients_by_step-0"} <= set(identities)
    for identity in identities:
        page.locator(f"#{identity}").focus()
        for key in ("ArrowRight", "ArrowRight", "End"):
            page.keyboard.press(key)
        last, _, count = said.inner_text().partition(":")[0].partition(" of ")
        assert last == count and int(count) > 0, identity
        page.keyboard.press("Escape")
        page.locator(f"#{identity} ~ .tools summary").click()
        page.locator(f"#{identity} ~ .tools tbody tr").first.wait_for()  # the table comes after the click
    assert opened.complaints == []
    opened.context.close()


def test_a_chart_is_a_table_too_of_the_trials_that_are_shown(opened: Opened) -> None:
    page = opened.page
    figure = page.locator("figure", has=page.locator("#run0-slices-0"))
    figure.locator("summary").focus()
    page.keyboard.press("Enter")
    figure.locator("tbody tr").nth(39).wait_for()
    assert figure.locator("tbody tr").count() == 40
    assert figure.locator("thead th").first.inner_text() == "trial"
    page.fill("#query", "T7")
    page.wait_for_function("document.querySelectorAll('#run0-slices-0 ~ .tools tbody tr').length === 1")
    assert figure.locator("tbody th").inner_text() == "T7" and opened.complaints == []


def test_a_chart_is_saved_as_a_picture_on_white_also_from_a_dark_screen(
    browser: Any, file: Path, tmp_path: Path
) -> None:
    opened = Opened(browser, file, scheme="dark")
    for kind in ("svg", "png"):
        button = opened.page.locator(f"#run0-learning_curves-0 ~ .tools [data-save={kind}]")
        button.focus()
        with opened.page.expect_download() as download:
            opened.page.keyboard.press("Enter")
        assert download.value.suggested_filename == f"run0-learning_curves-0.{kind}"
        download.value.save_as(tmp_path / f"chart.{kind}")
    drawn = ElementTree.parse(tmp_path / "chart.svg").getroot()  # noqa: S314  the browser has just written it
    assert drawn.findtext(f"{SVG}title", "").startswith("Held-out loss: 40 of 40")
    paper = drawn.find(f"{SVG}rect")
    assert paper is not None and paper.get("fill") == "#ffffff" and "var(" not in (tmp_path / "chart.svg").read_text()
    with Image.open(tmp_path / "chart.png") as picture:
        assert picture.width > 1500 and picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20
    assert opened.complaints == []
    opened.context.close()


@pytest.mark.slow  # axe looks at every mark of every chart
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("names", [["fake"], ["fake", "again"]], ids=["one run", "two runs"])
def test_assistive_technology_meets_no_obstacle(
    browser: Any, fake: Run, tmp_path: Path, names: list[str], scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    write_page(dict.fromkeys(names, fake), tmp_path / "page.html", sources())
    opened = Opened(browser, tmp_path / "page.html", scheme=scheme)
    for each in opened.page.locator("details.data summary").all()[:3]:
        each.click()
    found = axe.run(opened.page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    opened.context.close()


@pytest.mark.slow  # a large page takes a while to write and to draw
def test_a_page_of_a_thousand_trials_is_drawn_without_a_word(browser: Any, tmp_path: Path) -> None:
    directory = write_search(tmp_path / "run", spread(1000), lambda values: values["lr"])
    write_steps(directory, [f"T{number}" for number in range(1000)])
    run = load(directory.path)
    assert write_page({"large": run}, tmp_path / "page.html", sources()) < 12e6
    opened = Opened(browser, tmp_path / "page.html")
    assert opened.complaints == [] and opened.page.locator("#count").inner_text() == "1000 of 1000 trials"
    charts = opened.page.locator(".chart").count()
    assert charts > 8 and opened.page.locator(".chart svg").count() == charts
    opened.context.close()


@pytest.mark.parametrize("width", [400, 1600])
def test_it_fits_narrow_and_wide_screens(browser: Any, file: Path, width: int) -> None:
    opened = Opened(browser, file, width=width)
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for box in (each.bounding_box() for each in opened.page.locator(".chart svg").all()):
        assert box["width"] <= width
    opened.context.close()


def test_it_prints(opened: Opened, tmp_path: Path) -> None:
    opened.page.pdf(path=str(tmp_path / "page.pdf"))
    assert (tmp_path / "page.pdf").stat().st_size > 50_000


def test_names_of_any_kind_run_nothing(browser: Any, fake: Run, tmp_path: Path) -> None:
    write_page({"<img src=x onerror=alert(1)>": fake}, tmp_path / "page.html", sources())
    opened = Opened(browser, tmp_path / "page.html")
    assert opened.complaints == [] and opened.page.locator("h1").inner_text() == "<img src=x onerror=alert(1)>"
    assert opened.page.locator("main img").count() == 0
    opened.context.close()

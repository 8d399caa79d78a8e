"""The report in a real browser: at any width, light and dark, by keyboard."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from idaq.evaluate.report import write_report
from idaq.evaluate.video import STILLS_FILE, Scene, write_stills
from idaq.loader import Dataset
from tests.evaluate.browser import DESKTOP, PHONE, opened, sideways, violations
from tests.evaluate.factory import make_results, make_run
from tests.evaluate.test_report import HOSTILE, runs_on


@pytest.fixture(scope="module")
def report(robots: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    runs = runs_on(folder, robots)
    frames = np.full((5, 256, 256, 3), 200, np.uint8)
    write_stills([Scene(title=f"episode {i}", frames=frames) for i in range(3)], runs[0] / STILLS_FILE)
    return write_report(runs, robots, folder / "report.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_report_fits_and_anyone_can_read_it(
    browser: Browser, report: Path, size: tuple[int, int], scheme: str
) -> None:
    with opened(browser, report, size, color_scheme=scheme) as page:
        for summary in page.locator("summary").all():
            summary.click()
        assert sideways(page) <= size[0]
        assert violations(page) == []
        page.get_by_role("link", name="Settings").click()
        expect(page.get_by_role("heading", name="Settings")).to_be_in_viewport()


def test_each_curve_of_a_report_has_its_numbers_and_stills_their_legend(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        assert page.locator("figure svg[role=img], figure .plot").count() == page.locator("details").count() == 6
        page.get_by_text("Data table: Return against online episodes").click()
        table = page.get_by_role("region", name="Return against online episodes, numbers")
        last = table.get_by_role("row", name="best-of-prior").get_by_role("cell").last.inner_text()
        strategies = page.get_by_role("region", name="Strategies, table")
        assert (
            last.split()[0]
            == strategies.get_by_role("row", name="best-of-prior").get_by_role("cell").nth(2).inner_text()
        )
        filmed = page.locator("section", has=page.get_by_role("heading", name="One adaptation, filmed"))
        expect(filmed).to_contain_text("Row 3: final, fresh episode: return")
        expect(filmed).to_contain_text("Red disc: the robot.")


def test_a_report_by_keyboard(browser: Browser, report: Path) -> None:
    with opened(browser, report, PHONE) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the figures")).to_be_focused()
        first = page.locator("summary").first
        for _ in range(30):
            page.keyboard.press("Tab")
            if first.evaluate("node => node === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.locator("details").first).to_have_attribute("open", "")
        expect(page.locator("details table").first).to_be_visible()


def test_hostile_documents_stay_text_in_a_report(browser: Browser, tmp_path: Path) -> None:
    made = make_results(dataset_id=HOSTILE, levels={"idaq": -4.0, HOSTILE: -5.0})
    run = make_run(tmp_path / "run", made, training=[20, 21, 22])
    with opened(browser, write_report([run], None, tmp_path / "x.html"), PHONE) as page:
        expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(1)</script>")
        assert sideways(page) <= PHONE[0]
        assert page.evaluate("document.scripts.length") == 0

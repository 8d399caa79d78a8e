"""The explorer in a real browser: by mouse and by keyboard, at any width, light and dark."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from idaq.collect.collect import collect
from idaq.core.types import Array
from idaq.evaluate.explorer import write_explorer
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, open_dataset
from idaq.testing.examples import EXAMPLES
from tests.evaluate.browser import DESKTOP, PHONE, opened, sideways, violations
from tests.evaluate.test_report import HOSTILE
from tests.format.test_unknown import half_known
from tests.hostile.kinds import STEER
from tests.recipes import small_recipe


@pytest.fixture(scope="module")
def file(robots: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_explorer(robots, tmp_path_factory.mktemp("page") / "robots.html", films=2).path


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    with opened(browser, file) as page:
        yield page


def column(page: Page, table: str, number: int) -> list[str]:
    return page.locator(f"#{table}-list tbody tr > :nth-child({number})").all_inner_texts()


def open_first(page: Page) -> None:
    page.locator("#episode-list tbody button").first.click()
    expect(page.locator("#episode-body .bar")).to_be_visible()


def step_to(page: Page, step: int) -> None:
    page.get_by_role("slider", name="Step").fill(str(step))


def drawn(page: Page, chart: str) -> Array:
    """The points (T, 2) of a chart's only line, in pixels of its drawing."""
    path = page.locator(f"svg[aria-label^='{chart}'] path").first.get_attribute("d")
    assert path is not None
    return np.array([point.split() for point in path.replace("M", "").split("L")], float)


def test_all_is_there(page: Page, robots: Dataset) -> None:
    assert page.title() == f"{robots.dataset_id}: what is in it"
    expect(page.get_by_role("heading", level=1)).to_have_text(robots.dataset_id)
    assert page.get_by_role("heading", level=2).all_inner_texts() == ["Tasks", "Episodes", "No episode is open"]
    expect(page.get_by_role("status")).to_have_text("72 of 72 episodes match, in 8 of 8 tasks")
    assert column(page, "episode", 1) == [str(number) for number in range(72)]
    table = robots.episodes
    assert [float(text) for text in column(page, "episode", 5)] == pytest.approx(table.total_reward, abs=0.006)
    assert column(page, "episode", 6) == [{True: "yes", False: "no"}[bool(solved)] for solved in table.success]
    assert column(page, "task", 1) == [task.task_id for task in robots.tasks]
    of_task = [table.total_reward[table.task_index == task.task_index].mean() for task in robots.tasks]
    assert [float(text) for text in column(page, "task", 5)] == pytest.approx(of_task, abs=0.006)


def test_filters_join(page: Page, robots: Dataset) -> None:
    table = robots.episodes
    page.get_by_label("Split").select_option("test")
    page.get_by_label("Behaviour").select_option("random")
    few = robots.select(split="test", behaviour="random").numbers
    assert column(page, "episode", 1) == [str(number) for number in few]
    expect(page.get_by_role("status")).to_contain_text(f"{len(few)} of 72 episodes match")
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("status")).to_contain_text("72 of 72")
    middle = float(np.median(table.total_reward))
    page.get_by_label("Return from").fill(str(middle))
    assert column(page, "episode", 1) == [str(number) for number in np.flatnonzero(table.total_reward >= middle)]
    page.get_by_label("Return to").fill(str(middle))
    assert column(page, "episode", 1) == [str(number) for number in np.flatnonzero(table.total_reward == middle)]
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Success").select_option("yes")
    expect(page.locator("#episode-list tbody tr")).to_have_count(int(table.success.sum()))
    page.get_by_label("Success").select_option("unknown")
    expect(page.get_by_role("status")).to_have_text("0 of 72 episodes match, in 0 of 8 tasks")


def test_search_and_jump_to_a_task(page: Page, robots: Dataset) -> None:
    task = robots.tasks[3]
    page.get_by_label("Search").fill(f"{task.task_id} RANDOM")
    assert column(page, "episode", 2) == [task.task_id] * 3
    page.get_by_label("Search").fill("")
    page.get_by_role("combobox", name="Task").select_option(task.task_id)
    assert column(page, "task", 1) == [task.task_id]
    assert set(column(page, "episode", 2)) == {task.task_id}
    button = page.get_by_role("button", name=f"Only task {task.task_id}")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(page.get_by_role("status")).to_contain_text("72 of 72")


@pytest.mark.parametrize(("name", "place"), [("return", 5), ("steps", 7), ("episode", 1), ("seed", 10)])
def test_numbers_are_sorted_as_numbers(page: Page, name: str, place: int) -> None:
    head = page.locator("#episode-list thead").get_by_role("button", name=name)
    for falling, word in ((False, "ascending"), (True, "descending")):
        head.click()
        expect(page.locator(f"#episode-list thead th:nth-child({place})")).to_have_attribute("aria-sort", word)
        values = [float(text) for text in column(page, "episode", place)]
        assert values == sorted(values, reverse=falling)
    page.locator("#episode-list thead").get_by_role("button", name="task").click()
    expect(page.locator(f"#episode-list thead th:nth-child({place})")).to_have_attribute("aria-sort", "none")


def test_an_episode_shows_the_numbers_of_the_dataset(page: Page, robots: Dataset) -> None:
    episode = robots.episode(0)
    open_first(page)
    expect(page.get_by_role("heading", name="Episode 0")).to_be_focused()
    for step in (0, 7, len(episode) - 1):
        step_to(page, step)
        values = page.locator("#episode-body .chips b").all_inner_texts()
        stated = [episode.rewards[step], *episode.actions[step], *episode.observations[step]]
        assert [float(text) for text in values] == pytest.approx(stated, rel=1e-4)
    step_to(page, len(episode))  # the last observation, to which no action and no reward belong
    values = page.locator("#episode-body .chips b").all_inner_texts()
    assert values[:3] == ["\N{EN DASH}"] * 3
    assert [float(text) for text in values[3:]] == pytest.approx(episode.observations[-1], rel=1e-4)
    page.get_by_text("Data table").click()
    table = page.locator("#episode-body .data tbody tr")
    expect(table).to_have_count(len(episode) + 1)
    rows = table.all_inner_texts()
    cells = np.array([row.split("\t") for row in rows[:-1]], float)
    whole = np.hstack([episode.rewards[:, None], episode.actions, episode.observations[:-1]])
    assert cells[:, 0].tolist() == list(range(len(episode)))
    np.testing.assert_array_equal(cells[:, 1:].astype(np.float32), whole.astype(np.float32))


def test_curves_and_path_are_drawn_to_scale(page: Page, robots: Dataset) -> None:
    page.get_by_label("Search").fill("expert")
    open_first(page)
    number = int(column(page, "episode", 1)[0])
    episode = robots.episode(number)
    points = drawn(page, "Rewards over")
    assert len(points) == len(episode)
    assert np.corrcoef(points[:, 0], np.arange(len(episode)))[0, 1] == pytest.approx(1)
    assert np.corrcoef(points[:, 1], episode.rewards)[0, 1] == pytest.approx(-1, abs=1e-4)  # up is less in SVG
    path = drawn(page, "Path from (0, 0)")
    scale = np.ptp(path, axis=0) / np.ptp(episode.observations, axis=0)
    assert scale[0] == pytest.approx(scale[1], rel=0.01)
    np.testing.assert_allclose((path - path[0]) / scale[0] * [1, -1], episode.observations, atol=0.02)
    expect(page.locator(".key").first).to_contain_text("goal; disc: within 0.2 m")


def test_which_numbers_are_drawn_is_chosen_and_kept(page: Page) -> None:
    open_first(page)
    lines = page.locator("svg[aria-label^='actions over'] .course")
    expect(lines).to_have_count(2)
    page.get_by_role("group", name="Actions").get_by_role("checkbox").first.uncheck()
    expect(lines).to_have_count(1)
    page.get_by_role("button", name="Next episode").click()
    expect(page.get_by_role("heading", name="Episode 1")).to_be_visible()
    expect(lines).to_have_count(1)
    page.get_by_role("button", name="None of the actions").click()
    expect(lines).to_have_count(0)
    page.get_by_role("button", name="All of the actions").click()
    expect(lines).to_have_count(2)


def test_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the episodes")).to_be_focused()
    first = page.locator("#episode-list tbody button").first
    for _ in range(60):
        page.keyboard.press("Tab")
        if first.evaluate("button => button === document.activeElement"):
            break
    expect(first).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("button", name="Open episode 2", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Episode 2")).to_be_focused()
    slider = page.get_by_role("slider", name="Step")
    for _ in range(8):
        page.keyboard.press("Tab")
        if slider.evaluate("node => node === document.activeElement"):
            break
    page.keyboard.press("ArrowRight")
    assert (slider.get_attribute("aria-valuetext") or "").startswith("step 1 of 20, reward ")
    expect(page.locator(".bar .now")).to_have_text("1 of 20")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="No episode is open")).to_be_visible()
    expect(page.get_by_role("button", name="Open episode 2", exact=True)).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Open episode 71", exact=True)).to_be_focused()


def test_arrows_go_through_episodes_while_one_is_open(page: Page) -> None:
    open_first(page)
    page.get_by_role("button", name="Open episode 0", exact=True).focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("heading", name="Episode 1")).to_be_visible()
    opener = page.get_by_role("button", name="Open episode 1", exact=True)
    expect(opener).to_be_focused()
    expect(page.locator("tr[aria-current=true]")).to_have_count(1)


def test_a_pointer_reads_values(page: Page) -> None:
    open_first(page)
    chart = page.locator("svg[aria-label^='Rewards over']")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    expect(page.locator(".bar .now")).to_have_text("9 of 20")  # the axis takes some of the width


def test_films_play_when_asked(page: Page) -> None:
    page.get_by_label("Search").fill("film")
    expect(page.locator("#episode-list tbody tr")).to_have_count(2)
    open_first(page)
    canvas = page.locator("canvas")
    picture = "canvas => canvas.toDataURL()"
    page.wait_for_function("() => document.querySelector('canvas').getContext('2d').getImageData(9, 9, 1, 1).data[3]")
    before = canvas.evaluate(picture)
    step_to(page, 12)
    assert canvas.evaluate(picture) != before
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator(".bar .now")).not_to_have_text("12 of 20")
    page.get_by_role("button", name="Pause").click()


def test_an_episode_has_an_address(browser: Browser, file: Path) -> None:
    with opened(browser, file, address="#episode-5") as page:
        expect(page.get_by_role("heading", name="Episode 5")).to_be_visible()
        open_first(page)
        expect(page).to_have_url(re.compile("#episode-0$"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_and_anyone_can_read_it(browser: Browser, file: Path, size: tuple[int, int], scheme: str) -> None:
    with opened(browser, file, size, color_scheme=scheme, reduced_motion="reduce") as page:
        page.get_by_text("About this dataset").click()
        page.get_by_label("Search").fill("film")
        open_first(page)
        expect(page.get_by_role("heading", name="Episode ", exact=False).last).to_be_in_viewport()
        page.get_by_text("Data table").click()
        assert sideways(page) <= size[0]
        assert violations(page) == []
        assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)") == (
            scheme == "light"
        )


def test_unknown_success_is_shown_as_unknown(browser: Browser, tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(half_known(), tmp_path, "# card\n"))
    write_explorer(dataset, tmp_path / "x.html")
    with opened(browser, tmp_path / "x.html") as page:
        assert column(page, "episode", 6) == ["yes", "unknown", "no", "yes", "unknown", "yes", "unknown", "no"]
        assert "50% (unknown of 1)" in column(page, "task", 7)
        page.get_by_label("Success").select_option("unknown")
        assert column(page, "episode", 1) == ["1", "4", "6"]
        assert set(column(page, "task", 7)) == {"unknown"}
        open_first(page)
        expect(page.locator(".about")).to_contain_text("unknown")


def test_a_velocity_is_drawn_beside_the_one_asked_for(browser: Browser, tmp_path: Path) -> None:
    recipe = small_recipe("cheetah-vel", "expert", "episodes=1", "splits.sizes={train = 2}")
    dataset = open_dataset(collect(recipe, tmp_path).path)
    write_explorer(dataset, tmp_path / "x.html")
    episode, asked = dataset.episode(0), dataset.tasks[0].params["velocity"]
    with opened(browser, tmp_path / "x.html") as page:
        open_first(page)
        points = drawn(page, "Velocity over steps; the task asks for")
        assert np.corrcoef(points[:, 1], episode.observations[:, 8])[0, 1] == pytest.approx(-1, abs=1e-4)
        height = float(page.locator(".asked").get_attribute("y1") or "nan")
        assert np.polyval(np.polyfit(points[:, 1], episode.observations[:, 8], 1), height) == pytest.approx(
            asked, rel=0.01
        )
        step_to(page, 150)
        expect(page.get_by_text("Step 150:")).to_contain_text("m/s. Dashed:")
        assert page.locator("canvas").count() == 0  # not filmed


def test_pages_of_many_episodes(browser: Browser, robots: Dataset, tmp_path: Path) -> None:
    many = replace(robots, numbers=np.tile(robots.numbers, 4)[np.argsort(np.tile(robots.numbers, 4), kind="stable")])
    write_explorer(many, tmp_path / "x.html", episodes=1)
    with opened(browser, tmp_path / "x.html") as page:
        pager = page.get_by_role("navigation", name="Pages of episodes")
        expect(pager).to_contain_text("1 to 100 of 288")
        pager.get_by_role("button", name="Next").click()
        pager.get_by_role("button", name="Next").click()
        expect(pager).to_contain_text("201 to 288 of 288")
        expect(pager.get_by_role("button", name="Next")).to_be_disabled()
        page.locator("#episode-list tbody button").first.focus()
        page.keyboard.press("ArrowUp")
        expect(pager).to_contain_text("101 to 200 of 288")


def test_hostile_names_are_text(browser: Browser, robots: Dataset, tmp_path: Path) -> None:
    bad = HOSTILE + STEER
    tasks = tuple(replace(task, params={bad: 1.0}) for task in robots.all_tasks)
    table = replace(robots.episodes, behaviour=np.full(72, bad))
    write_explorer(replace(robots, dataset_id=bad, all_tasks=tasks, episodes=table), tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert [letter for letter in text.replace("\n", "") if not letter.isprintable()] == []
    with opened(browser, tmp_path / "x.html", size=PHONE) as page:
        assert "<script>alert(1)</script>" in column(page, "episode", 4)[0]
        assert "<script>alert(1)</script>" in column(page, "task", 3)[0]
        open_first(page)
        assert sideways(page) <= PHONE[0]
        page.wait_for_timeout(100)  # whatever would run has run, and would have been told by `opened`
        assert page.evaluate("document.scripts.length") == text.count("<script")


def test_nothing_but_its_own_script_runs(browser: Browser, file: Path, tmp_path: Path) -> None:
    """The policy is what keeps a page safe should its escaping ever fail."""
    text = file.read_text().replace("</main>", "<script>document.title = 'run'</script></main>")
    (tmp_path / "x.html").write_text(text)

    def read() -> None:
        with opened(browser, tmp_path / "x.html") as page:
            titles.append(page.title())

    titles: list[str] = []
    with pytest.raises(AssertionError, match="Content Security Policy"):
        read()
    assert titles != ["run"]


@pytest.mark.parametrize("name", ["reward-free", "discrete", "dictionary"])
def test_datasets_of_any_spaces_and_without_rewards_are_shown(browser: Browser, name: str, tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(EXAMPLES[name](), tmp_path, ""))
    path = write_explorer(dataset, tmp_path / "x.html").path
    with opened(browser, path) as page:  # which fails on any message of the console
        unknown = name == "reward-free"
        assert [text == "unknown" for text in column(page, "episode", 5)] == [unknown] * len(dataset)
        assert [text == "unknown" for text in column(page, "task", 5)] == [unknown] * len(dataset.tasks)
        page.locator("#episode-list tbody button").last.click()  # of a history, where there are any
        expect(page.locator("#episode-body dl.about")).to_contain_text("return")
        if name == "discrete":
            expect(page.locator("#episode-body dl.about")).to_contain_text("learning history")

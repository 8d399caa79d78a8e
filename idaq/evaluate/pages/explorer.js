// The page: its filters, its two tables, and the episode that is open.

const form = byId("filters");
const title = byId("episode-title");
const body = byId("episode-body");
const scale = extremes(episodes.map((episode) => episode.return).filter((value) => value !== null));
let open = null;
let stopPlaying = () => {};
let wide = 0;

const TASKS = Object.assign((row) => `Only task ${row.task.id}`, { plural: "tasks" });
const EPISODES = Object.assign((episode) => `Open episode ${episode.number}`, { plural: "episodes" });

const taskTable = sortedTable(byId("task-list"), {
  label: TASKS,
  page: 200,
  open: ({ task }) => toggleTask(task),
  mark: (tr, { task }) => {
    const on = form.elements.task.value === String(task.index);
    tr.classList.toggle("chosen", on);
    buttonIn(tr).setAttribute("aria-pressed", on);
  },
  columns: [
    { name: "task", value: ({ task }) => task.index, cell: ({ task }) => task.id },
    { name: "split", value: ({ task }) => task.split, cell: ({ task }) => task.split },
    { name: "parameters", class: "cut", value: ({ task }) => paramsText(task.params), cell: ({ task }) => paramsText(task.params) },
    { name: "episodes", number: true, value: (row) => row.episodes, cell: (row) => thousands(row.episodes) },
    { name: "mean", number: true, value: (row) => row.mean, cell: (row) => orUnknown(row.mean === null ? null : round(row.mean)) },
    { name: "returns", value: (row) => row.quartiles?.middle ?? null, cell: (row) => orUnknown(row.quartiles && returnStrip(row.quartiles, scale)) },
    { name: "success", number: true, value: (row) => row.success, cell: (row) => orUnknown(successText(row)) },
    ...["random", "behaviour"].map((name) => ({
      name,
      number: true,
      value: ({ task }) => task[name],
      cell: ({ task }) => orUnknown(task[name] === null ? null : round(task[name])),
    })),
  ],
});

const episodeTable = sortedTable(byId("episode-list"), {
  label: EPISODES,
  page: 100,
  open: (episode) => openEpisode(episode, "chosen"),
  onMove: (episode) => open !== null && openEpisode(episode, "passed"),
  mark: (tr, episode) => filled(tr, { "aria-current": String(episode === open) }, []),
  columns: [
    { name: "episode", number: true, value: (row) => row.number, cell: (row) => String(row.number) },
    { name: "task", value: ({ task }) => task.index, cell: ({ task }) => task.id },
    { name: "split", value: ({ task }) => task.split, cell: ({ task }) => task.split },
    { name: "behaviour", value: (row) => row.behaviour, cell: (row) => row.behaviour },
    { name: "return", number: true, value: (row) => row.return, cell: (row) => orUnknown(row.return === null ? null : round(row.return)) },
    { name: "success", value: (row) => (row.success === "unknown" ? null : row.success), cell: (row) => orUnknown(row.success) },
    { name: "steps", number: true, value: (row) => row.length, cell: (row) => thousands(row.length) },
    { name: "ends", value: (row) => row.ends, cell: (row) => row.ends },
    { name: "to see", value: (row) => row.holds, cell: (row) => row.holds },
    { name: "seed", number: true, value: (row) => (row.seed === null ? null : BigInt(row.seed)), cell: (row) => orUnknown(row.seed) },
  ],
});

function refresh() {
  const filter = readFilter(form);
  const shown = episodes.filter((episode) => matches(episode, filter));
  const rows = taskRows(shown);
  taskTable.show(rows);
  episodeTable.show(shown);
  const of = (count, total, word) => `${thousands(count)} of ${plural(total, word)}`;
  byId("count").textContent = `${of(shown.length, episodes.length, "episode")} match, in ${of(rows.length, index.tasks.length, "task")}`;
}

function toggleTask(task) {
  const { task: select } = form.elements;
  select.value = select.value === String(task.index) ? "" : String(task.index);
  refresh();
  taskTable.reveal(taskTable.at(0));
}

// how: "chosen" takes the reader to the episode, "passed" leaves the focus in the list.
async function openEpisode(episode, how) {
  open = episode;
  stopPlaying();
  wide = body.clientWidth;
  const view = await episodeView(episode, Math.max(260, wide - 4));
  if (open !== episode) return view.stop();
  stopPlaying = view.stop;
  title.textContent = `Episode ${episode.number}`;
  body.replaceChildren(...view.nodes);
  byId("episode-buttons").replaceChildren(...episodeButtons());
  history.replaceState(null, "", `#episode-${episode.number}`);
  episodeTable.refreshMarks();
  if (how === "chosen") title.focus({ preventScroll: byId("episode").getBoundingClientRect().top < innerHeight / 2 });
}

function episodeButtons() {
  const place = episodeTable.placeOf(open);
  const step = (word, by) => {
    const next = place < 0 ? undefined : episodeTable.at(place + by);
    const go = () => (episodeTable.reveal(next), openEpisode(next, "chosen"));
    return element("button", { type: "button", "aria-label": `${word} episode`, disabled: next === undefined, onclick: go }, word);
  };
  return [step("Previous", -1), step("Next", 1), element("button", { type: "button", onclick: closeEpisode }, "Close")];
}

function closeEpisode() {
  const place = episodeTable.placeOf(open);
  stopPlaying();
  open = null;
  title.textContent = "No episode is open";
  body.replaceChildren(element("p", { class: "note" }, "Open an episode of the list to see its curves."));
  byId("episode-buttons").replaceChildren();
  history.replaceState(null, "", location.pathname);
  if (place >= 0) episodeTable.moveTo(place);
  else episodeTable.refreshMarks();
}

function fillChoices() {
  const add = (name, value, text) => form.elements[name].append(element("option", { value }, text));
  index.tasks.forEach((task) => add("task", task.index, task.id));
  [...new Set(index.tasks.map((task) => task.split))].forEach((split) => add("split", split, split));
  index.behaviours.forEach((behaviour) => add("behaviour", behaviour, behaviour));
  byId("scale").textContent = episodes[0].return === null ? "returns are unknown" : `from ${round(scale[0])} to ${round(scale[1])}`;
}

function openFromAddress() {
  const asked = location.hash.match(/^#episode-(\d+)$/);
  const episode = asked && episodes.find(({ number }) => String(number) === asked[1]);
  if (episode) openEpisode(episode, "passed");
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", refresh);
form.addEventListener("reset", () => setTimeout(refresh));
document.addEventListener("keydown", (event) => event.key === "Escape" && open !== null && closeEpisode());
new ResizeObserver(() => {
  if (open !== null && Math.abs(body.clientWidth - wide) > 24) openEpisode(open, "passed");
}).observe(body);
fillChoices();
refresh();
openFromAddress();

// One episode: its facts, film, path, velocity, and the courses of rewards, actions and observations over its steps.

const DEFAULT_SHOWN = 6;
const SECONDS = 6;
const chosen = {
  actions: new Set([...index.actions.keys()].slice(0, DEFAULT_SHOWN)),
  observations: new Set(defaultObservations()),
};

function defaultObservations() {
  const meant = [...(index.place ?? []), ...(index.velocity === null ? [] : [index.velocity])];
  return meant.length ? meant : [...index.observations.keys()].slice(0, DEFAULT_SHOWN);
}

// The step that all drawings show; each is told of it under a name, so that a new drawing takes the old one's place.
function makeCursor(episode) {
  const told = new Map();
  const cursor = { step: 0 };
  cursor.follow = (name, tell) => {
    told.set(name, tell);
    tell(cursor.step);
  };
  cursor.moveTo = (step) => {
    const kept = Math.round(step / episode.stride) * episode.stride;
    cursor.step = Math.max(0, Math.min(kept, Math.floor(episode.length / episode.stride) * episode.stride));
    for (const tell of told.values()) tell(cursor.step);
  };
  return cursor;
}

async function episodeView(episode, width) {
  const curves = await curvesOf(episode);
  if (curves === null) {
    const told = "This page holds no curves of this episode: idaq dataset explore with --episodes all puts them in.";
    return { nodes: [aboutEpisode(episode), element("p", { class: "note" }, told)], stop: () => {} };
  }
  const scene = { episode, curves, width, cursor: makeCursor(episode) };
  const bar = stepBar(scene);
  const nodes = [bar.node, aboutEpisode(episode), figures(scene), rewardPart(scene), part(scene, "actions"), part(scene, "observations"), dataTable(scene)];
  return { nodes, stop: bar.stop };
}

function aboutEpisode(episode) {
  const facts = [
    ["task", episode.task.id],
    ["parameters", paramsText(episode.task.params, short) || "none stated"],
    ["split", episode.task.split],
    ["behaviour", episode.behaviour],
    ["return", orUnknown(episode.return === null ? null : round(episode.return))],
    ...(episode.history === null ? [] : [["learning history", String(episode.history)]]),
    ...(episode.policyStep === null ? [] : [["policy had learned from", `${thousands(episode.policyStep)} steps`]]),
    ["success", orUnknown(episode.success)],
    ["steps", thousands(episode.length)],
    ["ends", episode.ends],
    ["seed", orUnknown(episode.seed)],
  ];
  return element("dl", { class: "about" }, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function stepBar({ episode, curves, cursor }) {
  const last = Math.floor(episode.length / episode.stride) * episode.stride;
  const slider = element("input", { type: "range", min: 0, max: last, step: episode.stride, oninput: () => cursor.moveTo(Number(slider.value)) });
  const output = element("span", { class: "now" });
  const player = makePlayer(episode, cursor, last);
  cursor.follow("bar", (step) => {
    const reward = curves.rewards[Math.round(step / episode.stride)];
    slider.value = step;
    output.textContent = `${step} of ${episode.length}`;
    const paid = reward === undefined ? "the end" : `reward ${short(reward)}`;
    slider.setAttribute("aria-valuetext", `step ${step} of ${episode.length}, ${paid}`);
  });
  const node = element("div", { class: "bar" }, element("label", {}, "Step", slider), output, player.button);
  return { node, stop: player.stop };
}

// Goes through the episode in about SECONDS, when asked to; nothing moves by itself.
function makePlayer(episode, cursor, last) {
  let timer = null;
  const every = Math.max(1, Math.round(last / episode.stride / (SECONDS * 15))) * episode.stride;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  const advance = () => (cursor.step >= last ? stop() : cursor.moveTo(cursor.step + every));
  const start = () => {
    if (cursor.step >= last) cursor.moveTo(0);
    timer = setInterval(advance, Math.min(250, (1000 * SECONDS * every) / last));
    button.textContent = "Pause";
  };
  const button = element("button", { type: "button", onclick: () => (timer === null ? start() : stop()) }, "Play");
  return { button, stop };
}

function figures(scene) {
  return element("div", { class: "figures" }, filmFigure(scene), pathFigure(scene), velocityFigure(scene));
}

function titled(title, ...children) {
  return element("figure", {}, element("h3", {}, title), ...children);
}

function filmFigure({ episode, cursor }) {
  const steps = index.films[episode.number];
  if (!steps) return null;
  const [side, columns] = [256, 8];
  const canvas = element("canvas", { class: "film", width: side, height: side, role: "img", "aria-label": `Film of episode ${episode.number}` });
  const sheet = new Image();
  const draw = (step) => {
    const frame = steps.findLastIndex((drawn) => drawn <= step);
    canvas.getContext("2d").drawImage(sheet, (frame % columns) * side, Math.floor(frame / columns) * side, side, side, 0, 0, side, side);
  };
  sheet.onload = () => cursor.follow("film", draw);
  sheet.src = byId(`film-${episode.number}`).textContent;
  const told = `Played again from its seed and actions; ${steps.length} pictures. ${index.picture}`;
  return titled("Film", canvas, element("p", { class: "note small" }, told));
}

function pathFigure({ episode, curves, width, cursor }) {
  if (index.place === null) return null;
  const [xs, ys] = index.place.map((place) => curves.observations[place]);
  const at = (i) => `(${short(xs[i])}, ${short(ys[i])})`;
  const { goal, wind } = episode.task.params;
  const label = `Path from ${at(0)} to ${at(xs.length - 1)} m${isPlace(goal) ? `; goal at (${goal.map(short).join(", ")})` : ""}`;
  const chart = pathChart({ label, xs, ys, stride: episode.stride, task: episode.task, width: Math.min(width, 320) });
  const readout = element("p", { class: "note small" });
  cursor.follow("path", (step) => {
    chart.moveTo(step);
    readout.textContent = `Step ${step}: ${at(Math.min(Math.round(step / episode.stride), xs.length - 1))} m`;
  });
  return titled("Path on the plane (m)", chart.node, pathKey(episode.task, goal, wind), readout);
}

function pathKey(task, goal, wind) {
  const entry = (mark, text) => element("li", {}, shape("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, mark), text);
  const reach = task.radius === null ? "" : `; disc: within ${short(task.radius)} m`;
  return element(
    "ul", { class: "key" },
    entry(startShape([8, 8]), "start"),
    entry(shape("line", { class: "trail", x1: 0, x2: 16, y1: 8, y2: 8 }), "path"),
    entry(shape("circle", { class: "here", cx: 8, cy: 8, r: 5 }), "at the step shown"),
    isPlace(goal) ? entry(starShape([8, 8]), `goal${reach}`) : null,
    isPlace(wind) ? entry(shape("line", { class: "wind", x1: 0, x2: 16, y1: 8, y2: 8 }), "wind: drift of 10 steps") : null,
  );
}

function velocityFigure({ episode, curves, width, cursor }) {
  if (index.velocity === null) return null;
  const values = curves.observations[index.velocity];
  const asked = typeof episode.task.params.velocity === "number" ? episode.task.params.velocity : null;
  const label = `Velocity over steps${asked === null ? "" : `; the task asks for ${short(asked)} m/s`}`;
  const courses = [{ number: 0, values }];
  const chart = courseChart({ label, courses, asked, width, length: episode.length, stride: episode.stride, onStep: cursor.moveTo });
  const readout = element("p", { class: "note small" });
  cursor.follow("velocity", (step) => {
    chart.moveTo(step);
    readout.textContent = `Step ${step}: ${short(values[Math.round(step / episode.stride)])} m/s${asked === null ? "" : `. Dashed: ${short(asked)} m/s, which the task asks for`}`;
  });
  const figure = titled("Velocity (m/s)", chart.node, readout);
  figure.classList.add("full");
  return figure;
}

function rewardPart({ episode, curves, width, cursor }) {
  const readout = element("b");
  const courses = [{ number: 0, values: curves.rewards }];
  const [low, high] = extremes(curves.rewards);
  const label = `Rewards over ${episode.length} steps, from ${short(low)} to ${short(high)}`;
  const chart = courseChart({ label, courses, width, length: episode.length, stride: episode.stride, onStep: cursor.moveTo });
  cursor.follow("rewards", (step) => {
    chart.moveTo(step);
    readout.textContent = short(curves.rewards[Math.round(step / episode.stride)]);
  });
  const chips = element("div", { class: "chips" }, element("label", {}, swatch(0), element("span", {}, "reward"), readout));
  return element("div", { class: "parts" }, element("h3", {}, "Rewards"), chips, chart.node);
}

function extremes(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

function swatch(number) {
  const { class: colour, ...dash } = look(number);
  return shape("svg", { viewBox: "0 0 20 8", "aria-hidden": "true" }, shape("line", { ...dash, class: `swatch ${colour}`, x1: 0, x2: 20, y1: 4, y2: 4 }));
}

// Actions or observations: a box to tick for each number, with its value at the step shown, and the chart of those ticked.
function part(scene, kind) {
  const { curves, episode, cursor } = scene;
  const values = index[kind].map(() => element("b"));
  const boxes = index[kind].map((_, i) => element("input", { type: "checkbox", name: `${kind}-${i}`, checked: chosen[kind].has(i), onchange: () => choose(i, boxes[i].checked) }));
  const chips = index[kind].map((_, i) => element("label", {}, boxes[i], swatch(i), element("span", {}, nameOf(kind, i)), values[i]));
  const place = element("div");
  const draw = () => place.replaceChildren(partChart(scene, kind));
  const choose = (i, on) => {
    chosen[kind][on ? "add" : "delete"](i);
    draw();
  };
  const all = (on) => {
    boxes.forEach((box, i) => ((box.checked = on), chosen[kind][on ? "add" : "delete"](i)));
    draw();
  };
  cursor.follow(`${kind} values`, (step) => values.forEach((node, i) => (node.textContent = short(curves[kind][i][Math.round(step / episode.stride)]))));
  draw();
  const title = kind === "actions" ? "Actions" : "Observations";
  const buttons = [["All", true], ["None", false]].map(([word, on]) => element("button", { type: "button", "aria-label": `${word} of the ${kind}`, onclick: () => all(on) }, word));
  const head = element("div", { class: "head" }, element("h3", { id: `${kind}-title` }, title), element("span", { class: "note" }, plural(boxes.length, "number")), ...buttons);
  return element("div", { class: "parts", role: "group", "aria-labelledby": `${kind}-title` }, head, element("div", { class: "chips" }, ...chips), place);
}

function partChart({ curves, episode, width, cursor }, kind) {
  const shown = [...chosen[kind]].filter((i) => i < index[kind].length).sort((a, b) => a - b);
  if (!shown.length) {
    cursor.follow(kind, () => {});
    return element("p", { class: "note" }, "None is chosen.");
  }
  const courses = shown.map((number) => ({ number, values: curves[kind][number] }));
  const label = `${kind} over ${episode.length} steps: ${shown.map((i) => nameOf(kind, i)).join(", ")}`;
  const chart = courseChart({ label, courses, width, length: episode.length, stride: episode.stride, onStep: cursor.moveTo });
  cursor.follow(kind, chart.moveTo);
  return chart.node;
}

function nameOf(kind, i) {
  const number = String(index[kind][i]);
  if (kind === "actions") return number;
  if (i === index.velocity) return `${number} velocity`;
  const axis = (index.place ?? []).indexOf(i);
  return axis < 0 ? number : `${number} ${"xy"[axis]}`;
}

// Every number of the episode that the page holds, made when it is opened.
function dataTable({ episode, curves }) {
  const place = element("div", { class: "data", role: "region", "aria-label": "Numbers of the episode", tabindex: 0 });
  const fill = () => place.childElementCount || place.append(numbers(episode, curves));
  return element("details", { ontoggle: fill }, element("summary", {}, "Data table"), place);
}

function numbers(episode, curves) {
  const heads = ["step", "reward", ...index.actions.map((i) => `action ${i}`), ...index.observations.map((i) => `observation ${i}`)];
  const columns = [curves.rewards, ...curves.actions, ...curves.observations];
  const rows = Array.from({ length: Math.floor(episode.length / episode.stride) + 1 }, (_, row) =>
    element("tr", {}, element("th", { scope: "row" }, String(row * episode.stride)), ...columns.map((column) => element("td", {}, exact(column[row])))));
  const caption = element("caption", { class: "hidden" }, `Episode ${episode.number}: observation of each step, the action taken there, the reward it brought`);
  return element("table", {}, caption, element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))), element("tbody", {}, ...rows));
}

// What the page holds: tasks, one entry an episode, and packed curves that are unpacked when an episode is opened.

const index = JSON.parse(document.getElementById("index").textContent);
const episodes = readEpisodes(index);

function readEpisodes({ tasks, behaviours, episodes: columns }) {
  return columns.number.map((number, i) => ({
    number,
    task: tasks[columns.task[i]],
    behaviour: behaviours[columns.behaviour[i]],
    history: columns.history[i],
    policyStep: columns.policyStep[i],
    seed: columns.seed[i],
    length: columns.length[i],
    return: columns.return[i],
    success: { true: "yes", false: "no", null: "unknown" }[columns.success[i]],
    ends: columns.ends[i],
    stride: columns.stride[i],
    holds: [byId(`curves-${number}`) && "curves", index.films[number] && "film"].filter(Boolean).join(", ") || "–",
  }));
}

// Promise of {observations, actions: a course for each number, rewards: one course}; null where the page has none.
async function curvesOf(episode) {
  const block = document.getElementById(`curves-${episode.number}`);
  if (block === null) return null;
  const numbers = await unpack(block.textContent);
  const steps = Math.floor((episode.length - 1) / episode.stride) + 1;
  const rows = Math.floor(episode.length / episode.stride) + 1;
  let start = 0;
  const take = (count) => numbers.subarray(start, (start += count));
  const observations = index.observations.map(() => take(rows));
  const actions = index.actions.map(() => take(steps));
  return { observations, actions, rewards: take(steps) };
}

// Base64 of deflated float32 numbers, the first byte of all, then the second of all, and so on.
async function unpack(text) {
  const deflated = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
  const byWeight = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = byWeight.length / 4;
  const view = new DataView(new ArrayBuffer(byWeight.length));
  byWeight.forEach((byte, place) => view.setUint8(4 * (place % count) + Math.floor(place / count), byte));
  return Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
}

function paramsText(params, shown = (value) => String(Number(value.toPrecision(3)))) {
  const text = (value) => (Array.isArray(value) ? `(${value.map((inner) => shown(inner)).join(", ")})` : shown(value));
  return Object.entries(params).map(([name, value]) => `${name} ${text(value)}`).join(", ");
}

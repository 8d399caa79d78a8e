// Which episodes match, and what they add up to task by task.

function readFilter(form) {
  const value = (name) => form.elements[name].value;
  const limit = (name) => (value(name) === "" ? null : Number(value(name)));
  return {
    words: value("text").toLowerCase().split(/\s+/).filter(Boolean),
    task: value("task"),
    split: value("split"),
    behaviour: value("behaviour"),
    success: value("success"),
    low: limit("low"),
    high: limit("high"),
  };
}

function matches(episode, filter) {
  return (
    (filter.task === "" || String(episode.task.index) === filter.task) &&
    (filter.split === "" || episode.task.split === filter.split) &&
    (filter.behaviour === "" || episode.behaviour === filter.behaviour) &&
    (filter.success === "" || episode.success === filter.success) &&
    (filter.low === null || (episode.return !== null && episode.return >= filter.low)) &&
    (filter.high === null || (episode.return !== null && episode.return <= filter.high)) &&
    filter.words.every((word) => searched(episode).includes(word))
  );
}

function searched(episode) {
  const { task, number, behaviour, seed, ends, holds } = episode;
  episode.text ??= [task.id, task.split, paramsText(task.params), number, behaviour, seed ?? "unknown", ends, holds]
    .join(" ").toLowerCase();
  return episode.text;
}

// One row a task that has episodes among those given.
function taskRows(shown) {
  const byTask = grouped(shown);
  return index.tasks.filter((task) => byTask.has(task)).map((task) => taskRow(task, byTask.get(task)));
}

function grouped(shown) {
  const byTask = new Map();
  for (const episode of shown) {
    if (!byTask.has(episode.task)) byTask.set(episode.task, []);
    byTask.get(episode.task).push(episode);
  }
  return byTask;
}

function taskRow(task, mine) {
  const returns = mine.map((episode) => episode.return).filter((value) => value !== null).sort((a, b) => a - b);
  const known = mine.filter((episode) => episode.success !== "unknown");
  const solved = known.filter((episode) => episode.success === "yes").length;
  return {
    task,
    episodes: mine.length,
    mean: returns.length ? returns.reduce((sum, value) => sum + value, 0) / returns.length : null,
    quartiles: returns.length ? quartiles(returns) : null,
    success: known.length ? solved / known.length : null,
    unknown: mine.length - known.length,
  };
}

function quartiles(sorted) {
  const at = (share) => {
    const place = share * (sorted.length - 1);
    const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
    return below + (above - below) * (place % 1);
  };
  return { lowest: at(0), lower: at(0.25), middle: at(0.5), upper: at(0.75), highest: at(1) };
}

function successText({ success, unknown }) {
  if (success === null) return "unknown";
  return `${Math.round(100 * success)}%${unknown ? ` (unknown of ${unknown})` : ""}`;
}

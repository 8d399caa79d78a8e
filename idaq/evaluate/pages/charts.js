// Drawings in SVG: courses over steps, paths on a plane. Each gives its node and what moves its mark to a step.

const HEIGHT = 150;
const MARGIN = { left: 52, right: 10, top: 8, bottom: 20 };
const DASHES = [null, "6 3", "2 2", "8 3 2 3"];

function look(number) {
  return { class: `c${number % 8}`, "stroke-dasharray": DASHES[Math.floor(number / 8) % DASHES.length] };
}

// About `count` round numbers from low to high.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * unit >= rough) * unit;
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let i = first; i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function extent(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list) {
      if (!Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return [0, 1];
  const room = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

function linear(from, to) {
  return (value) => to[0] + ((value - from[0]) / (from[1] - from[0])) * (to[1] - to[0]);
}

// A line through points, interrupted where one is not finite.
function pathData(points) {
  let pen = "M";
  return points.map(([x, y]) => {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return (pen = "M"), "";
    const part = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
    return part;
  }).join("");
}

function axes({ width, height, x, y, xTicks, yTicks, upright = false }) {
  const bottom = height - MARGIN.bottom;
  return [
    ...yTicks.flatMap((value) => [
      shape("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      shape("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)),
    ]),
    ...(upright ? xTicks : []).map((value) => shape("line", { class: "axis", x1: x(value), x2: x(value), y1: MARGIN.top, y2: bottom })),
    ...xTicks.map((value) => shape("text", { x: x(value), y: bottom + 14, "text-anchor": "middle" }, short(value))),
    shape("line", { class: "frame", x1: MARGIN.left, x2: width - MARGIN.right, y1: bottom, y2: bottom }),
  ];
}

function drawing(width, height, label, ...children) {
  return shape("svg", { class: "chart", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}` }, ...children);
}

// courses: [{number, values}], a value every `stride` steps; `asked`: a level that the task asks for.
function courseChart({ label, courses, length, stride, width, asked = null, onStep }) {
  const values = courses.map((course) => course.values);
  const x = linear([0, length], [MARGIN.left, width - MARGIN.right]);
  const limits = extent(asked === null ? values : [...values, [asked]]);
  const y = linear(limits, [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const grid = axes({ width, height: HEIGHT, x, y, xTicks: ticks(0, length, width / 90).filter(Number.isInteger), yTicks: ticks(...limits, 4) });
  const lines = courses.map(({ number, values }) => {
    const { class: colour, ...dash } = look(number);
    return shape("path", { ...dash, class: `course ${colour}`, d: pathData(Array.from(values, (v, i) => [x(i * stride), y(v)])) });
  });
  const level = asked === null ? null : shape("line", { class: "asked", x1: x(0), x2: x(length), y1: y(asked), y2: y(asked) });
  const cursor = shape("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
  const dots = courses.map(({ number }) => shape("circle", { class: `dot ${look(number).class}`, r: 3 }));
  const steps = shape("text", { x: MARGIN.left - 6, y: HEIGHT - MARGIN.bottom + 14, "text-anchor": "end" }, "step");
  const node = drawing(width, HEIGHT, label, ...grid, steps, level, ...lines, cursor, ...dots);
  followPointer(node, width, linear([MARGIN.left, width - MARGIN.right], [0, length]), onStep);
  return { node, moveTo: (step) => moveCursor({ cursor, dots, courses, x, y, stride }, step) };
}

function moveCursor({ cursor, dots, courses, x, y, stride }, step) {
  filled(cursor, { x1: x(step), x2: x(step) }, []);
  courses.forEach(({ values }, i) => {
    const value = values[Math.round(step / stride)];
    dots[i].toggleAttribute("hidden", !Number.isFinite(value));
    if (Number.isFinite(value)) filled(dots[i], { cx: x(step), cy: y(value) }, []);
  });
}

function followPointer(node, width, stepAt, onStep) {
  const move = (event) => {
    const box = node.getBoundingClientRect();
    onStep(stepAt(((event.clientX - box.left) / box.width) * width));
  };
  node.addEventListener("pointermove", move);
  node.addEventListener("pointerdown", move);
}

// The way of an episode on a plane, in metres, to one scale on both axes.
function pathChart({ label, xs, ys, stride, task, width }) {
  const { goal, wind } = task.params;
  const points = Array.from(xs, (value, i) => [value, ys[i]]);
  const ends = [...points, ...landmarks(points[0], goal, wind, task.radius ?? 0)];
  const plane = planeScales(ends, width);
  const at = ([px, py]) => [plane.x(px), plane.y(py)];
  const here = shape("circle", { class: "here", r: 5 });
  const node = drawing(
    width, width, label,
    ...axes({ ...plane, width, height: width, upright: true }),
    ...(isPlace(goal) ? goalShapes(at(goal), (task.radius ?? 0) * plane.unit) : []),
    shape("path", { class: "trail", d: pathData(points.map(at)) }),
    startShape(at(points[0])),
    isPlace(wind) ? windShape(at(points[0]), at(drift(points[0], wind))) : null,
    here,
  );
  const moveTo = (step) => {
    const [cx, cy] = at(points[Math.min(Math.round(step / stride), points.length - 1)]);
    filled(here, { cx, cy }, []);
  };
  return { node, moveTo };
}

function isPlace(value) {
  return Array.isArray(value) && value.length === 2;
}

function drift(start, wind) {
  return [start[0] + 10 * wind[0], start[1] + 10 * wind[1]];
}

function landmarks(start, goal, wind, radius) {
  const around = isPlace(goal) ? [-radius, radius].map((by) => [goal[0] + by, goal[1] + by]) : [];
  return isPlace(wind) ? [...around, drift(start, wind)] : around;
}

function planeScales(points, width) {
  const [left, right] = extent([points.map((point) => point[0])]);
  const [low, high] = extent([points.map((point) => point[1])]);
  const half = Math.max(right - left, high - low) / 2;
  const [midX, midY] = [(left + right) / 2, (low + high) / 2];
  const size = width - MARGIN.left - MARGIN.right;
  const x = linear([midX - half, midX + half], [MARGIN.left, MARGIN.left + size]);
  const y = linear([midY - half, midY + half], [width - MARGIN.bottom, width - MARGIN.bottom - size]);
  const xTicks = ticks(midX - half, midX + half, 5);
  return { x, y, unit: size / (2 * half), xTicks, yTicks: ticks(midY - half, midY + half, 5) };
}

function goalShapes([cx, cy], r) {
  return [shape("circle", { class: "reach", cx, cy, r }), starShape([cx, cy])];
}

function starShape([cx, cy]) {
  const points = Array.from({ length: 10 }, (_, i) => {
    const [r, angle] = [i % 2 ? 3 : 7, (Math.PI * i) / 5];
    return `${(cx + r * Math.sin(angle)).toFixed(1)},${(cy - r * Math.cos(angle)).toFixed(1)}`;
  });
  return shape("polygon", { class: "goal", points: points.join(" ") });
}

function startShape([cx, cy]) {
  return shape("rect", { class: "start", x: cx - 4, y: cy - 4, width: 8, height: 8 });
}

function windShape([x1, y1], [x2, y2]) {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const barb = (by) => `L${x2 - 8 * Math.cos(angle + by)} ${y2 - 8 * Math.sin(angle + by)}`;
  return shape("path", { class: "wind", d: `M${x1} ${y1}L${x2} ${y2}${barb(0.5)}M${x2} ${y2}${barb(-0.5)}` });
}

// All returns of some episodes on the scale from low to high: range, middle half, median.
function returnStrip({ lowest, lower, middle, upper, highest }, [low, high]) {
  const x = linear([low, high === low ? low + 1 : high], [5, 123]);
  const label = `from ${round(lowest)} to ${round(highest)}, median ${round(middle)}`;
  return shape(
    "svg", { class: "strip", role: "img", "aria-label": label, viewBox: "0 0 128 16" },
    shape("line", { x1: x(lowest), x2: x(highest), y1: 8, y2: 8 }),
    shape("line", { x1: x(lower), x2: x(upper), y1: 8, y2: 8, "stroke-width": 5 }),
    shape("circle", { cx: x(middle), cy: 8, r: 3.5 }),
  );
}

// Elements made from data. Every text of a document goes in as text, never as HTML.

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

// A number in a list: two decimals, fewer where three or more digits stand before the point.
function round(value) {
  const decimals = Math.max(0, 2 - Math.max(0, Math.abs(value).toFixed(0).length - 2));
  return value.toFixed(decimals).replace(/^-(0(\.0*)?)$/, "$1");
}

// A number of a curve, to five digits; without a value a dash.
function short(value) {
  return value === undefined ? "–" : String(Number(Number(value).toPrecision(5)));
}

// The fewest digits that give the same float32 again.
function exact(value) {
  if (value === undefined) return "";
  const texts = [6, 7, 8, 9].map((digits) => String(Number(value.toPrecision(digits))));
  return texts.find((text) => Math.fround(Number(text)) === value) ?? String(value);
}

function thousands(count) {
  return count.toLocaleString("en-US");
}

function plural(count, word) {
  return `${thousands(count)} ${word}${count === 1 ? "" : "s"}`;
}

function orUnknown(text) {
  return text === null || text === "unknown" ? element("span", { class: "unknown" }, "unknown") : text;
}

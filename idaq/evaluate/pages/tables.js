// Tables that are sorted by their heads and gone through by the arrow keys, some rows at a time.

// columns: [{name, value(row), cell(row), number}]; the first column's cell is the button that opens its row.
function sortedTable(table, { columns, page, label, open, mark, onMove = () => {} }) {
  const state = { rows: [], order: { column: null, falling: false }, first: 0, active: 0 };
  const body = element("tbody");
  const pager = makePager(label, (by) => turn(by));
  table.replaceChildren(element("thead", {}, element("tr", {}, ...columns.map(head))), body);
  table.parentElement.after(pager.node);
  body.addEventListener("keydown", onKey);

  function head(column) {
    const button = element("button", { type: "button", onclick: () => sortBy(column) }, column.name);
    return element("th", { scope: "col", "aria-sort": "none", class: column.number ? "number" : null }, button);
  }

  function sortBy(column) {
    const { order } = state;
    state.order = { column, falling: order.column === column ? !order.falling : false };
    columns.forEach((each, i) => {
      const word = each !== column ? "none" : state.order.falling ? "descending" : "ascending";
      table.tHead.rows[0].cells[i].setAttribute("aria-sort", word);
    });
    show(state.rows);
  }

  function show(rows) {
    state.rows = sorted(rows, state.order);
    state.first = state.active = 0;
    draw();
  }

  function draw() {
    const visible = state.rows.slice(state.first, state.first + page);
    body.replaceChildren(...visible.map((row, i) => rowOf(row, state.first + i)));
    pager.show(state.first, visible.length, state.rows.length);
    refreshMarks();
  }

  function rowOf(row, place) {
    const attributes = { type: "button", tabindex: place === state.active ? 0 : -1, "data-place": place };
    const button = element("button", { ...attributes, "aria-label": label(row) }, columns[0].cell(row));
    const cells = columns.slice(1).map((column) => element("td", { class: column.class ?? (column.number ? "number" : null) }, column.cell(row)));
    const first = element("th", { scope: "row", class: columns[0].number ? "number" : null }, button);
    return element("tr", { onclick: () => choose(place) }, first, ...cells);
  }

  function choose(place) {
    activate(place);
    open(state.rows[place]);
    refreshMarks();
  }

  function refreshMarks() {
    for (const tr of body.rows) mark(tr, state.rows[Number(buttonIn(tr).dataset.place)]);
  }

  function onKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    moveTo(state.active + steps[event.key]);
  }

  function moveTo(place) {
    if (!state.rows.length) return;
    activate(Math.max(0, Math.min(place, state.rows.length - 1)));
    const button = body.querySelector(`[data-place="${state.active}"]`);
    button.focus();
    button.scrollIntoView({ block: "nearest" });
    onMove(state.rows[state.active]);
    refreshMarks();
  }

  // The one row that the Tab key comes to, on the page that holds it.
  function activate(place) {
    state.active = place;
    const first = Math.floor(place / page) * page;
    if (first !== state.first) {
      state.first = first;
      draw();
    }
    for (const tr of body.rows) buttonIn(tr).tabIndex = Number(buttonIn(tr).dataset.place) === place ? 0 : -1;
  }

  function turn(by) {
    activate(state.first + by * page);
    table.parentElement.scrollTop = 0;
  }

  const placeOf = (row) => state.rows.indexOf(row);
  return { show, moveTo, refreshMarks, placeOf, reveal: (row) => activate(Math.max(0, placeOf(row))), at: (place) => state.rows[place] };
}

function buttonIn(tr) {
  return tr.querySelector("button");
}

function sorted(rows, { column, falling }) {
  if (column === null) return [...rows];
  const known = rows.filter((row) => column.value(row) !== null);
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  known.sort((a, b) => (falling ? -1 : 1) * compare(column.value(a), column.value(b)));
  return [...known, ...rows.filter((row) => column.value(row) === null)]; // what is unknown comes last, either way
}

function makePager(label, turn) {
  const back = element("button", { type: "button", onclick: () => turn(-1) }, "Previous");
  const on = element("button", { type: "button", onclick: () => turn(1) }, "Next");
  const where = element("span");
  const node = element("nav", { class: "pager", "aria-label": `Pages of ${label.plural}` }, back, where, on);
  const show = (first, count, total) => {
    node.hidden = total <= count && first === 0;
    where.textContent = `${thousands(first + 1)} to ${thousands(first + count)} of ${thousands(total)}`;
    back.disabled = first === 0;
    on.disabled = first + count >= total;
  };
  return { node, show };
}

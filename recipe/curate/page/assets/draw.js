// Small plots as inline SVG and HTML. Every mark has a title that says what it stands for.

const SVG = 'http://www.w3.org/2000/svg';
const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const count = (value) => whole.format(value);
const percent = (share, digits = 1) => (share === null || Number.isNaN(share) ? '–' : `${(100 * share).toFixed(digits)}%`);
const decimal = (value, digits = 2) => (value === null || value === undefined || Number.isNaN(value) ? '–' : value.toFixed(digits));
const words = (name) => name.replaceAll('_', ' ');

function html(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function svg(tag, properties = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const titled = (text) => svg('title', {}, text);
const label = (x, y, text, anchor = 'middle', kind = 'tick') => svg('text', { x, y, 'text-anchor': anchor, class: kind }, text);

function canvas(width, height, about) {
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': about, class: 'plot' });
}

// A list of bars. items: {name, value, text, title, onclick}; mark: a value to draw a line at.
function bars(items, { most = null, mark = null, kind = '' } = {}) {
  const top = most ?? Math.max(...items.map((item) => item.value), 1e-9);
  return html('ul', { class: `bars ${kind}` }, ...items.map((item) => {
    const fill = html('span', { class: 'fill' });
    fill.style.width = `${Math.max(0, Math.min(1, item.value / top)) * 100}%`;
    const track = html('span', { class: 'track' }, fill);
    if (mark !== null) {
      const line = html('span', { class: 'mark' });
      line.style.left = `${(mark / top) * 100}%`;
      track.append(line);
    }
    const parts = [html('span', { class: 'name' }, item.name), track, html('span', { class: 'value' }, item.text)];
    const inner = item.onclick
      ? html('button', { type: 'button', title: item.title, onclick: item.onclick }, ...parts)
      : html('div', { title: item.title }, ...parts);
    return html('li', {}, inner);
  }));
}

// Bars of 100% each. rows: {name, parts: [{key, value, kind}]}
function stacked(rows, about) {
  const height = 30;
  const left = 136;
  const width = 400;
  const plot = canvas(width, rows.length * height, about);
  rows.forEach((row, place) => {
    const total = row.parts.reduce((sum, part) => sum + part.value, 0) || 1;
    plot.append(label(left - 8, place * height + 19, row.name, 'end', 'name'));
    let x = left;
    for (const part of row.parts) {
      const wide = (part.value / total) * (width - left);
      const group = svg('g', {}, titled(`${row.name}, ${part.key}: ${count(part.value)} (${percent(part.value / total)})`));
      group.append(svg('rect', { x, y: place * height + 3, width: wide, height: height - 6, class: part.kind }));
      if (wide > 34) group.append(label(x + wide / 2, place * height + 19, percent(part.value / total, 0), 'middle', `inside ${part.kind}`));
      plot.append(group);
      x += wide;
    }
  });
  return plot;
}

function legend(items) {
  return html('ul', { class: 'legend' }, ...items.map(([name, kind]) => html('li', {}, svgSwatch(kind), name)));
}

function svgSwatch(kind) {
  return svg('svg', { viewBox: '0 0 12 12', class: 'swatch', 'aria-hidden': 'true' }, svg('rect', { width: 12, height: 12, rx: 2, class: kind }));
}

// Columns side by side. items: {x, value, title, kind}; ticks: [x, text] of those to label below.
function histogram(items, { about, ticks, middle = null }) {
  const width = 400;
  const height = 190;
  const bottom = height - 24;
  const plot = canvas(width, height, about);
  const step = Math.min(...items.slice(1).map((item, i) => item.x - items[i].x), Infinity);
  const low = items[0].x;
  const high = items[items.length - 1].x + (Number.isFinite(step) ? step : 1);
  const at = (x) => 8 + ((x - low) / (high - low)) * (width - 16);
  const top = Math.max(...items.map((item) => item.value), 1);
  const wide = at(low + (Number.isFinite(step) ? step : 1)) - at(low);
  for (const item of items) {
    const tall = Math.max((item.value / top) * (bottom - 16), item.value ? 1 : 0);
    plot.append(svg('rect', { x: at(item.x) + 0.5, y: bottom - tall, width: Math.max(wide - 1, 0.5), height: tall, class: item.kind }, titled(item.title)));
  }
  plot.append(svg('line', { x1: 8, x2: width - 8, y1: bottom, y2: bottom, class: 'axis' }));
  for (const [x, text] of ticks) if (x >= low && x <= high) plot.append(label(at(x), height - 8, text));
  if (middle !== null) plot.append(svg('line', { x1: at(middle), x2: at(middle), y1: 4, y2: bottom, class: 'axis dashed' }));
  return plot;
}

// A grid of cells whose ink says how much. cells: {x, y (places), share 0..1, title, text}
function grid(cells, { columns, rows, left, bottom, top = 6, size, tall = size, about }) {
  const width = left + columns * size + 8;
  const plot = canvas(width, top + rows * tall + bottom, about);
  for (const cell of cells) {
    const x = left + cell.x * size;
    const y = top + cell.y * tall;
    const group = svg('g', {}, titled(cell.title));
    group.append(svg('rect', { x, y, width: size - 1, height: tall - 1, rx: 1.5, class: 'ink', 'fill-opacity': cell.share.toFixed(3) }));
    if (cell.text) group.append(label(x + size / 2, y + tall / 2 + 4, cell.text, 'middle', cell.share > 0.55 ? 'cell strong' : 'cell'));
    plot.append(group);
  }
  return plot;
}

// Two shares a row, joined by a line. rows: {name, a, b, title}
function dumbbells(rows, { about }) {
  const height = 21;
  const left = 138;
  const width = 400;
  const top = Math.max(...rows.flatMap((row) => [row.a, row.b]), 1e-9);
  const most = Math.ceil(top * 10) / 10;
  const at = (share) => left + (share / most) * (width - left - 12);
  const plot = canvas(width, rows.length * height + 24, about);
  for (let tick = 0; tick <= most + 1e-9; tick += most > 0.5 ? 0.2 : 0.1) {
    plot.append(svg('line', { x1: at(tick), x2: at(tick), y1: 0, y2: rows.length * height, class: 'gridline' }));
    plot.append(label(at(tick), rows.length * height + 16, percent(tick, 0)));
  }
  rows.forEach((row, place) => {
    const y = place * height + height / 2;
    plot.append(svg('g', {}, titled(row.title), label(left - 10, y + 4, row.name, 'end', 'name'),
      svg('line', { x1: at(row.a), x2: at(row.b), y1: y, y2: y, class: 'joint' }),
      svg('circle', { cx: at(row.b), cy: y, r: 5, class: 'other' }),
      svg('circle', { cx: at(row.a), cy: y, r: 5, class: 'main' })));
  });
  return plot;
}

function numbers(heads, rows) {
  return html('div', { class: 'scroll' }, html('table', {},
    html('thead', {}, html('tr', {}, ...heads.map((head) => html('th', { scope: 'col' }, head)))),
    html('tbody', {}, ...rows.map((row) => html('tr', {}, ...row.map((cell, i) => html(i ? 'td' : 'th', i ? {} : { scope: 'row' }, String(cell))))))));
}

function card(title, note, ...content) {
  return html('figure', { class: 'card' }, html('figcaption', {}, html('h3', {}, title), note ? html('p', {}, note) : null), ...content);
}

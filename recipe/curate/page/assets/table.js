// The table: of all the rows that match, in order, only those in sight are in the document.

const ROW = 30;          // pixels; page.css says so too
const MOST = 500000;     // rows: a browser draws no element much taller than 16 million pixels
const SPARE = 8;         // rows drawn above and below those in sight

class Table {
  // columns: {name, title, width, number, key(row) -> number or string, cell(row, td)}
  constructor(root, columns, rows, open) {
    Object.assign(this, { root, columns, rows, open });
    this.keys = {};
    this.sorting = { name: columns[0].name, down: false };
    this.order = new Uint32Array(0);
    this.active = 0;
    this.head = html('div', { class: 'row head', role: 'row', 'aria-rowindex': 1 });
    this.body = html('div', { class: 'body', role: 'rowgroup' });
    this.window = html('div', { class: 'window', role: 'presentation' });
    this.body.append(this.window);
    root.replaceChildren(html('div', { role: 'rowgroup', class: 'heads' }, this.head), this.body);
    root.style.setProperty('--columns', columns.map((column) => column.width).join(' '));
    root.setAttribute('aria-colcount', columns.length);
    root.addEventListener('scroll', () => this.draw(), { passive: true });
    root.addEventListener('keydown', (event) => this.key(event));
    this.window.addEventListener('click', (event) => {
      const row = event.target.closest('.row');
      if (row) this.openAt(Number(row.dataset.place));
    });
    new ResizeObserver(() => this.draw()).observe(root);
    this.heads();
  }

  heads() {
    this.head.replaceChildren(...this.columns.map((column) => {
      const sorted = this.sorting.name === column.name;
      return html('div', { role: 'columnheader', class: column.number ? 'number' : '', 'aria-sort': sorted ? (this.sorting.down ? 'descending' : 'ascending') : 'none' },
        html('button', { type: 'button', title: column.about ?? `Sort by ${column.title}`, onclick: () => this.sortBy(column.name) },
          column.title, html('span', { class: 'arrow', 'aria-hidden': 'true' }, sorted ? (this.sorting.down ? ' ▼' : ' ▲') : '')));
    }));
  }

  // A second click turns the order around; numbers begin with the highest.
  sortBy(name) {
    const column = this.columns.find((one) => one.name === name);
    const down = this.sorting.name === name ? !this.sorting.down : Boolean(column.number && name !== 'row');
    this.sorting = { name, down };
    this.heads();
    this.show(this.order);
  }

  // Takes the rows that match, sorts them (empty values last, equal ones by row) and draws.
  show(order) {
    this.order = this.sorted(order);
    this.root.setAttribute('aria-rowcount', this.order.length + 1);
    this.body.style.height = `${Math.min(this.order.length, MOST) * ROW}px`;
    this.root.scrollTop = 0;
    this.active = 0;
    this.draw();
  }

  sorted(order) {
    const column = this.columns.find((one) => one.name === this.sorting.name);
    const sign = this.sorting.down ? -1 : 1;
    const keys = this.keysOf(column);
    const empty = (key) => key === '' || Number.isNaN(key);
    return Uint32Array.from(order).sort((a, b) => {
      const x = keys[a];
      const y = keys[b];
      if (x === y) return a - b;
      if (empty(x) || empty(y)) return empty(x) - empty(y) || a - b;
      return x < y ? -sign : sign;
    });
  }

  keysOf(column) {
    if (!this.keys[column.name] || !column.keep()) {
      const keys = column.number ? new Float64Array(this.rows) : new Array(this.rows);
      for (let row = 0; row < this.rows; row++) keys[row] = column.key(row);
      this.keys[column.name] = keys;
    }
    return this.keys[column.name];
  }

  draw() {
    const length = Math.min(this.order.length, MOST);
    const first = Math.max(0, Math.floor(this.root.scrollTop / ROW) - SPARE);
    const last = Math.min(length, Math.ceil((this.root.scrollTop + this.root.clientHeight) / ROW) + SPARE);
    this.window.style.transform = `translateY(${first * ROW}px)`;
    const drawn = [];
    for (let place = first; place < last; place++) drawn.push(this.row(place));
    this.window.replaceChildren(...drawn);
    this.drawn = [first, last];
  }

  row(place) {
    const row = this.order[place];
    const active = place === this.active;
    const made = html('div', { class: active ? 'row active' : 'row', role: 'row', id: `place-${place}`, 'data-place': place, 'aria-rowindex': place + 2 });
    if (active) this.root.setAttribute('aria-activedescendant', made.id);
    for (const column of this.columns) {
      const cell = html('div', { role: 'gridcell', class: column.number ? 'number' : '' });
      column.cell(row, cell);
      made.append(cell);
    }
    return made;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.root.clientHeight / ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.target !== this.root) return;
    if (event.key === 'Enter') this.openAt(this.active);
    else if (event.key in steps) this.move(this.active + steps[event.key]);
    else return;
    event.preventDefault();
  }

  // Makes a place the active one and brings it in sight.
  move(place) {
    this.active = Math.max(0, Math.min(place, Math.min(this.order.length, MOST) - 1));
    const top = this.active * ROW;
    const room = this.root.clientHeight - 2 * ROW;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    else if (top > this.root.scrollTop + room) this.root.scrollTop = top - room;
    this.draw();
  }

  openAt(place) {
    if (place < 0 || place >= this.order.length) return;
    this.move(place);
    this.open(this.order[place], place);
  }
}

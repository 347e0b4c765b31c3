// Puts the page together: columns and figures first, then the prompts; the texts of a row when it is opened.

const $ = (id) => document.getElementById(id);
const MOST_OPTIONS = 200;   // options in a list; beyond that, the most frequent ones

function columnsOf(data) {
  const { names } = data;
  const keep = () => true;
  const prompts = () => data.prompt.length === 0 || data.promptsRead;
  const text = (value, cell) => { cell.textContent = value; };
  const number = (name, title, about, digits = 2) => ({
    name, title, about, number: true, width: '76px', keep,
    key: (row) => data[name][row],
    cell: (row, cell) => text(decimal(data[name][row], digits), cell),
  });
  const named = (name, title, width, list, column) => ({
    name, title, width, keep,
    key: (row) => list[column[row]] ?? '',
    cell: (row, cell) => { const value = list[column[row]]; text(value === undefined ? '–' : name === 'reason' ? words(value) : value, cell); },
  });
  const any = (array) => array.some((value) => !Number.isNaN(value));
  const flagged = names.flags.map((flags) => flags.map(words).join(', '));
  return [
    { name: 'row', title: 'Row', width: '70px', number: true, keep, key: (row) => data.row[row], cell: (row, cell) => text(count(data.row[row]), cell) },
    names.source.length ? named('source', 'Source', '112px', names.source, data.source) : null,
    { name: 'prompt', title: 'Prompt', width: 'minmax(220px, 1fr)', keep: prompts, key: (row) => data.prompt[row] ?? '', cell: (row, cell) => promptCell(data.prompt[row], cell) },
    names.model.length ? named('model', 'Chosen model', '136px', names.model, data.chosenModel) : null,
    any(data.chosenRating) ? number('chosenRating', 'Rating', 'Mean rating of the chosen answer') : null,
    any(data.rejectedRating) ? number('rejectedRating', 'Rejected', 'Mean rating of the rejected answer') : null,
    any(data.score) ? number('chosenScore', 'Score', 'overall_score of the chosen answer', 1) : null,
    any(data.score) ? number('topScore', 'Top', 'Highest overall_score of all answers', 1) : null,
    names.reason.length ? named('reason', 'Left out', '116px', names.reason, data.reason) : null,
    flagged.some(Boolean) ? { name: 'flags', title: 'Flags', width: '190px', keep, key: (row) => flagged[data.flags[row]] ?? '', cell: (row, cell) => { text(flagged[data.flags[row]] ?? '', cell); cell.title = cell.textContent; } } : null,
  ].filter(Boolean);
}

function promptCell(prompt, cell) {
  cell.dir = 'auto';
  cell.textContent = prompt === undefined ? '...' : prompt === null ? 'none' : prompt.slice(0, 300);
}

// The filters, and which rows match them.
class Filters {
  constructor(data, changed) {
    Object.assign(this, { data, changed, lower: null, hits: null, reading: 0 });
    const { names } = data;
    const anyModel = $('any-model');
    options($('source'), names.source, data.source);
    options($('model'), names.model, data.chosenModel);
    options(anyModel, names.model, data.model);
    options($('reason'), names.reason, data.reason, [['used', 'not left out'], ['any', 'any reason']]);
    const flags = new Map();
    for (const code of data.flags) for (const flag of names.flags[code] ?? []) flags.set(flag, (flags.get(flag) ?? 0) + 1);
    $('flag').replaceChildren(new Option('all', ''), ...[...flags].sort((a, b) => b[1] - a[1]).map(([flag, n]) => new Option(`${words(flag)} (${count(n)})`, flag)));
    this.flags = flags;
    hide($('source'), !names.source.length);
    hide($('model'), !names.model.length);
    hide(anyModel, !names.model.length);
    hide($('reason'), !names.reason.length);
    hide($('flag'), !flags.size);
    hide($('rating-from'), data.chosenRating.every(Number.isNaN));
    hide($('score-from'), data.score.every(Number.isNaN));
    this.presets();
    const form = $('filters');
    form.addEventListener('submit', (event) => event.preventDefault());
    form.addEventListener('input', (event) => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.apply(), event.target.type === 'search' ? 150 : 0);
    });
  }

  presets() {
    const { data } = this;
    const left = data.reason.reduce((total, code) => total + (code >= 0), 0);
    const ready = [
      ['All', {}, data.rows], ['Suspicious', { flag: 'score_10_low' }, this.flags.get('score_10_low')],
      ['Chosen differs', { flag: 'chosen_differs' }, this.flags.get('chosen_differs')], ['Left out', { reason: 'any' }, left],
    ];
    $('presets').replaceChildren(...ready.filter(([, , n]) => n).map(([name, filter, n]) => html('button',
      { type: 'button', 'data-filter': JSON.stringify(filter), onclick: () => this.set(filter) }, `${name} `, html('span', {}, count(n)))));
  }

  // Whether there are rows for each of the values that `filter` names.
  knows(filter) {
    const { names } = this.data;
    const lists = { flag: [...this.flags.keys()], reason: names.reason.length ? ['any', ...names.reason] : [], source: names.source, model: names.model, 'any-model': names.model };
    return Object.entries(filter).every(([id, value]) => lists[id].includes(value));
  }

  // Sets the filters to `filter` (values by the id of their field) and clears all others.
  set(filter) {
    $('filters').reset();
    for (const [id, value] of Object.entries(filter)) {
      if (![...$(id).options].some((option) => option.value === value)) $(id).add(new Option(value, value));   // not one of the most frequent
      $(id).value = value;
    }
    this.apply();
  }

  async apply() {
    const mine = ++this.reading;
    const query = $('search').value.trim().toLowerCase();
    this.hits = query && $('everywhere').checked ? await this.search(query, mine) : null;
    if (mine !== this.reading) return;   // typed on meanwhile
    const current = JSON.stringify(Object.fromEntries([...$('filters').elements].filter((one) => one.id && one.value && one.type !== 'checkbox' && one.tagName !== 'FIELDSET').map((one) => [one.id, one.value])));
    for (const button of $('presets').children) button.setAttribute('aria-pressed', button.dataset.filter === current);
    this.changed(this.matching(query));
  }

  matching(query) {
    const { data, hits } = this;
    const tests = this.tests();
    if (query) {
      const { lower } = this.lowered();
      tests.push((row) => lower[row].includes(query) || data.ids[row] === query || Boolean(hits?.[row]));
    }
    const found = new Uint32Array(data.rows);
    let length = 0;
    for (let row = 0; row < data.rows; row++) if (tests.every((test) => test(row))) found[length++] = row;
    return found.subarray(0, length);
  }

  tests() {
    const { data } = this;
    const { names } = data;
    const tests = [];
    const code = (id, list) => ($(id).value === '' ? null : list.indexOf($(id).value));
    const source = code('source', names.source);
    if (source !== null) tests.push((row) => data.source[row] === source);
    const model = code('model', names.model);
    if (model !== null) tests.push((row) => data.chosenModel[row] === model);
    const anyModel = code('any-model', names.model);
    if (anyModel !== null) tests.push((row) => data.model.subarray(data.first[row], data.first[row + 1]).includes(anyModel));
    const reason = $('reason').value;
    if (reason === 'used') tests.push((row) => data.reason[row] < 0);
    else if (reason === 'any') tests.push((row) => data.reason[row] >= 0);
    else if (reason) { const wanted = names.reason.indexOf(reason); tests.push((row) => data.reason[row] === wanted); }
    const flag = $('flag').value;
    if (flag) { const having = names.flags.map((flags) => flags.includes(flag)); tests.push((row) => having[data.flags[row]] === true); }
    const limit = (id, column, holds) => { if ($(id).value !== '') { const value = Number($(id).value); tests.push((row) => holds(column[row], value)); } };
    limit('rating-from', data.chosenRating, (x, value) => x >= value);
    limit('rating-to', data.chosenRating, (x, value) => x <= value);
    limit('score-from', data.chosenScore, (x, value) => x >= value);
    limit('score-to', data.chosenScore, (x, value) => x <= value);
    return tests;
  }

  // The prompts in lower case, made when first searched; anew while not all are read.
  lowered() {
    if (!this.lower || !this.lower.whole) this.lower = { lower: Array.from(this.data.prompt, (prompt) => (prompt ?? '').toLowerCase()), whole: this.data.promptsRead };
    return this.lower;
  }

  // Marks the rows with `query` in an answer or critique: reads every block, so it takes seconds.
  async search(query, mine) {
    const { data } = this;
    const hits = new Uint8Array(data.rows);
    for (let number = 0; number < data.blocks.length; number++) {
      const { start, rows } = await readBlock(data, number);
      if (mine !== this.reading) return null;
      const holds = (text) => text !== null && text.toLowerCase().includes(query);
      rows.forEach((row, i) => { hits[start + i] = row.responses.some(holds) || row.critiques.some(holds); });
      if (number % 16 === 0) $('state').textContent = `Searching all texts: ${percent(number / data.blocks.length, 0)}`;
    }
    $('state').textContent = '';
    return hits;
  }
}

function options(select, names, codes, before = []) {
  const counts = new Uint32Array(names.length);
  for (const code of codes) if (code >= 0) counts[code]++;
  let order = names.map((_, place) => place).filter((place) => counts[place]);
  if (order.length > MOST_OPTIONS) order = order.sort((a, b) => counts[b] - counts[a]).slice(0, MOST_OPTIONS);
  select.replaceChildren(new Option('all', ''), ...before.map(([value, text]) => new Option(text, value)),
    ...order.map((place) => new Option(`${select.id === 'reason' ? words(names[place]) : names[place]} (${count(counts[place])})`, names[place])));
}

function hide(field, yes) {
  field.closest('label, fieldset').hidden = yes;
}

async function main() {
  const audit = JSON.parse($('audit').textContent);
  const data = await readColumns();
  let panel = null;
  const table = new Table($('table'), columnsOf(data), data.rows, (row, place) => panel.show(row, place));
  panel = new Panel($('panel'), data, table);
  const filters = new Filters(data, (rows) => {
    table.show(rows);
    const cut = rows.length > MOST ? `; the first ${count(MOST)} can be scrolled to` : '';
    $('counted').textContent = `${count(rows.length)} of ${count(data.rows)} rows${cut}`;
  });
  await filters.apply();
  const go = (filter) => (filters.knows(filter) ? () => { filters.set(filter); $('rows').scrollIntoView(); } : null);
  $('headline').replaceChildren(...headline(audit, data, go));
  $('rules').replaceChildren(...rules(audit));
  $('figures').replaceChildren(...figures(audit, go));
  const linked = data.row.indexOf(Number(/^#row-(\d+)$/.exec(location.hash)?.[1] ?? -1));
  if (linked >= 0) table.openAt(table.order.indexOf(linked));
  performance.mark('usable');
  $('state').textContent = 'Reading the prompts ...';
  await readPrompts(data, (from, to) => { if (table.order.subarray(...table.drawn).some((row) => row >= from && row < to)) table.draw(); });
  data.promptsRead = true;
  if ($('search').value) await filters.apply();
  $('state').textContent = '';
  performance.mark('prompts');
}

main().catch((error) => {
  $('failed').hidden = false;
  $('failed').textContent = typeof DecompressionStream === 'undefined'
    ? 'This browser is too old for this page: it lacks DecompressionStream.'
    : `This page can't be shown: ${error.message}`;
  throw error;
});

// A row in full: its prompt, every answer and critique. Texts are shown as they are, never as markup.

// Characters that are not seen, or that turn the text around: shown as marks.
const HIDDEN = /([\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff])/;

function plain(text) {
  const made = document.createDocumentFragment();
  text.split(HIDDEN).forEach((part, place) => {
    if (place % 2 === 0) made.append(part);
    else {
      const code = `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
      made.append(html('span', { class: 'hidden-character', title: code }, code));
      if (part === '\u2028' || part === '\u2029') made.append('\n');
    }
  });
  return made;
}

function block(text, kind) {
  if (text === null || text === undefined) return html('p', { class: 'none' }, 'none');
  if (text === '') return html('p', { class: 'none' }, 'empty');
  return html('div', { class: `text ${kind}`, dir: 'auto' }, plain(text));
}

const shown = (value) => (Number.isNaN(value) ? 'N/A' : String(Math.round(value * 100) / 100));
const badge = (text, kind = '', title = null) => html('span', { class: `badge ${kind}`, title }, text);

class Panel {
  constructor(root, data, table) {
    Object.assign(this, { root, data, table });
    this.shownRow = -1;
    root.addEventListener('click', (event) => { if (event.target === root) root.close(); });
    root.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') {
        event.preventDefault();
        this.step(event.key === 'ArrowRight' ? 1 : -1);
      }
    });
    root.addEventListener('close', () => { this.shownRow = -1; history.replaceState(null, '', '#rows'); table.root.focus({ preventScroll: true }); });
  }

  step(by) {
    const place = this.place + by;
    if (place >= 0 && place < this.table.order.length) this.table.openAt(place);
  }

  async show(row, place) {
    Object.assign(this, { place, shownRow: row });
    const { data } = this;
    const texts = html('div', { class: 'texts' }, html('p', { class: 'none' }, 'Reading the texts ...'));
    this.root.replaceChildren(this.head(row, place), texts);
    if (!this.root.open) this.root.showModal();
    this.root.scrollTop = 0;
    history.replaceState(null, '', `#row-${data.row[row]}`);   // the address leads here again
    try {
      const found = await readTexts(data, row);
      while (data.prompt[row] === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
      if (this.shownRow !== row) return;   // another one was opened meanwhile
      texts.replaceChildren(html('section', {}, html('h3', {}, 'Prompt'), block(data.prompt[row], 'prompt')), this.answers(row, found));
      this.root.dataset.row = data.row[row];
    } catch (error) {
      texts.replaceChildren(html('p', { class: 'warning' }, `The texts can't be read: ${error.message}`));
      throw error;
    }
  }

  head(row, place) {
    const { data } = this;
    const facts = [
      ['id', data.ids[row]],
      ['source', data.names.source[data.source[row]] ?? 'none'],
      [data.raw ? 'file' : 'part', `${data.names.file[data.file[row]]}, ${data.raw ? 'line' : 'row'} ${data.line[row]}`],
    ];
    const reason = data.names.reason[data.reason[row]];
    const flags = data.names.flags[data.flags[row]] ?? [];
    return html('header', {},
      html('div', { class: 'bar' },
        html('h2', { id: 'panel-title' }, `Row ${count(data.row[row])}`),
        html('span', { class: 'place' }, `${count(place + 1)} of ${count(this.table.order.length)}`),
        html('button', { type: 'button', title: 'The row before (left arrow)', 'aria-label': 'The row before', onclick: () => this.step(-1) }, '‹'),
        html('button', { type: 'button', title: 'The next row (right arrow)', 'aria-label': 'The next row', onclick: () => this.step(1) }, '›'),
        html('button', { type: 'button', class: 'close', title: 'Close (Esc)', 'aria-label': 'Close', onclick: () => this.root.close() }, '×')),
      html('dl', {}, ...facts.flatMap(([name, value]) => [html('dt', {}, name), html('dd', {}, plain(value))])),
      html('p', { class: 'badges' }, reason ? badge(`left out: ${words(reason)}`, 'alarm', reason) : null,
        ...flags.map((flag) => badge(words(flag), flag === 'score_10_low' ? 'alarm' : '', flag))));
  }

  answers(row, found) {
    const { data } = this;
    const rank = (place) => (place === data.chosen[row] ? 0 : place === data.rejected[row] ? 1 : 2);
    const places = found.responses.map((_, place) => place).sort((a, b) => rank(a) - rank(b) || a - b);
    if (!places.length) return html('p', { class: 'none' }, 'No answers.');
    return html('div', { class: 'answers' }, ...places.map((place) => this.answer(row, place, found)));
  }

  answer(row, place, found) {
    const { data } = this;
    const at = data.first[row] + place;
    const chosen = place === data.chosen[row];
    const rejected = place === data.rejected[row];
    const score = data.score[at];
    const rating = data.rating[at];
    const suspect = score === 10 && rating <= 2;
    const kind = `${chosen ? 'chosen' : rejected ? 'rejected' : ''}${suspect ? ' suspect' : ''}`;
    return html('article', { class: `answer ${kind}` },
      html('header', {}, html('h3', {}, plain(data.names.model[data.model[at]] ?? 'model unknown')),
        html('p', { class: 'badges' }, chosen ? badge('chosen', 'chosen') : null, rejected ? badge('rejected', 'rejected') : null,
          place === data.chosen_other[row] && !chosen ? badge('chosen by the other rule', 'other') : null,
          suspect ? badge('suspicious: score 10, rating 2 or less', 'alarm') : null)),
      html('p', { class: 'ratings' },
        Number.isNaN(score) ? null : html('span', {}, 'overall_score ', html('strong', {}, shown(score))),
        Number.isNaN(rating) ? null : html('span', {}, 'mean rating ', html('strong', {}, decimal(rating))),
        ...data.aspects.map((aspect, i) => (data.aspectRatings[i][at] === ABSENT ? null : html('span', {}, `${words(aspect)} `, html('strong', {}, shown(data.aspectRatings[i][at])))))),
      block(found.responses[place], 'response'),
      data.raw ? html('section', { class: 'criticism' }, html('h4', {}, 'Critique'), block(found.critiques[place], 'critique')) : null);
  }
}

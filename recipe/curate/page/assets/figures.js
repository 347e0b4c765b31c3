// The headline and the figures, from the audit. What the audit lacks is left out.

const MOST_BARS = 24;
const has = (value) => value !== null && value !== undefined && (typeof value !== 'object' || Object.keys(value).length > 0);
const sum = (values) => values.reduce((total, value) => total + value, 0);

// The figures that there are, in order. `go(filter)` is what a click does: show the rows, or null if there are none.
function figures(audit, go) {
  const draw = [
    [audit.choice?.by_source, () => differs(audit.choice, 'source', go)],
    [audit.choice?.by_model, () => differs(audit.choice, 'model', go)],
    [audit.heat, () => heat(audit)],
    [audit.suspicious, () => suspicious(audit, go)],
    [audit.ratings, () => ratings(audit.ratings)],
    [audit.scores, () => scores(audit.scores)],
    [audit.agreement?.share, () => agreement(audit.agreement)],
    [audit.by_model, () => chosenModels(audit.by_model)],
    [audit.length?.histogram, () => lengths(audit.length)],
    [audit.length?.by_source, () => lengthBySource(audit.length)],
    [audit.left_out, () => leftOut(audit.left_out, go)],
    [audit.noticed, () => noticed(audit.noticed, go)],
    [audit.contamination?.files, () => contamination(audit.contamination)],
    [audit.by_source, () => sources(audit.by_source)],
    [moreNumbers(audit), () => card('More numbers', '', numbers(['What', 'Count'], moreNumbers(audit)))],
  ];
  return draw.filter(([part]) => has(part)).map(([, make]) => drawn(make)).filter(Boolean);
}

// A figure that can't be drawn says so and spares the others.
function drawn(make) {
  try {
    return make();
  } catch (error) {
    console.error(error);
    return html('p', { class: 'warning' }, `A figure can't be drawn: ${error.message}`);
  }
}

// The rules by which the pairs were made, in a line.
function rules(audit) {
  const told = (value) => (value === null ? 'none' : typeof value === 'object' ? JSON.stringify(value) : String(value));
  const all = [...(has(audit.format) ? [['format', audit.format]] : []), ...Object.entries(audit.rules ?? {})];
  return all.flatMap(([name, value]) => [html('dt', {}, name), html('dd', {}, told(value))]);
}

function headline(audit, data, go) {
  const pairs = data.chosen.reduce((total, chosen) => total + (chosen >= 0), 0);
  const left = has(audit.left_out) ? sum(Object.values(audit.left_out).map((one) => one.rows)) : null;
  const tiles = [
    [count(data.rows), data.raw ? 'rows' : 'pairs'],
    data.raw ? [count(data.model.length), 'rated completions'] : null,
    data.raw ? [count(pairs), 'preference pairs'] : null,
    left !== null ? [count(left), 'rows left out', { reason: 'any' }] : null,
    has(audit.choice) ? [percent(audit.choice.share), 'of rows: ratings and overall_score choose another answer', { flag: 'chosen_differs' }] : null,
    has(audit.suspicious) ? [count(audit.suspicious.low), 'suspicious completions: score 10, mean rating 2 or less', { flag: 'score_10_low' }] : null,
    has(audit.length) ? [percent(audit.length.share), 'of pairs: the chosen answer is the longer one'] : null,
    has(audit.duplicates) ? [count(audit.duplicates.rows), 'rows repeat an earlier prompt', { flag: 'duplicate_prompt' }] : null,
  ].filter(Boolean);
  return tiles.map(([number, what, filter]) => {
    const parts = [html('strong', {}, number), html('span', {}, what)];
    const onclick = filter ? go(filter) : null;
    return html('li', {}, onclick ? html('button', { type: 'button', title: 'Show these rows', onclick }, ...parts) : html('div', {}, ...parts));
  });
}

function few(items) {
  return items.length > MOST_BARS ? [items.slice(0, MOST_BARS), html('p', { class: 'more' }, `and ${items.length - MOST_BARS} more`)] : [items, null];
}

function differs(choice, by, go) {
  const all = Object.entries(choice[`by_${by}`]).filter(([, one]) => one.compared)
    .sort((a, b) => b[1].share - a[1].share)
    .map(([name, one]) => ({
      name, value: one.share, text: percent(one.share),
      title: `${name}: ${count(one.differs)} of ${count(one.compared)} rows`,
      onclick: go({ flag: 'chosen_differs', [by]: name }),
    }));
  if (!all.length) return null;
  const [items, more] = few(all);
  const most = Math.min(1, Math.max(...all.map((item) => item.value), choice.share) * 1.1);
  return card(`Another answer chosen, by ${by}`,
    `Share of rows in which ratings and overall_score choose another answer${by === 'model' ? '; model of the answer that ratings choose' : ''}. The line is all rows: ${percent(choice.share)}.`,
    bars(items, { most, mark: choice.share }), more);
}

function heat(audit) {
  const cells = audit.heat;
  const scoresSeen = [...new Set(cells.map(([score]) => score))];
  const step = scoresSeen.some((score) => score % 1) ? 0.5 : 1;
  const low = Math.min(1, ...scoresSeen);
  const high = Math.max(10, ...scoresSeen);
  const lowest = Math.min(1, ...cells.map(([, bin]) => bin));
  const highest = Math.max(5, ...cells.map(([, bin]) => bin));
  const rows = Math.round((high - low) / step) + 1;
  const columns = Math.round((highest - lowest) / 0.25) + 1;
  const most = Math.log1p(Math.max(...cells.map((cell) => cell[2])));
  const size = 20;
  const tall = step === 1 ? 20 : 13;
  const left = 40;
  const plot = grid(cells.map(([score, bin, n]) => ({
    x: Math.round((bin - lowest) / 0.25), y: Math.round((high - score) / step), share: 0.06 + 0.94 * (Math.log1p(n) / most),
    title: `overall_score ${score}, mean rating ${bin.toFixed(2)}${bin < highest ? ` to ${(bin + 0.25).toFixed(2)}` : ''}: ${count(n)} completions`,
  })), { columns, rows, left, bottom: 40, top: 20, size, tall, about: 'Completions by overall_score and mean rating; darker is more' });
  for (let score = Math.ceil(low); score <= high; score++) plot.append(label(left - 6, 20 + ((high - score) / step) * tall + tall / 2 + 4, String(score), 'end'));
  for (let rating = Math.ceil(lowest); rating <= highest; rating++) plot.append(label(left + ((rating - lowest) / 0.25) * size + size / 2, 20 + rows * tall + 15, String(rating)));
  plot.append(label(left + (columns * size) / 2, 20 + rows * tall + 34, 'mean rating'));
  plot.append(label(left - 6, 12, 'score', 'end'));
  const inside = sum(cells.filter(([score, bin]) => score === 10 && bin <= 2).map((cell) => cell[2]));
  const wide = (Math.round((2 - lowest) / 0.25) + 1) * size;
  const y = 20 + ((high - 10) / step) * tall;
  plot.append(svg('g', {}, titled(`The fault: overall_score 10, mean rating 2 or less: ${count(inside)} completions`),
    svg('rect', { x: left - 1, y: y - 1, width: wide + 1, height: tall + 1, class: 'fault', rx: 2 }),
    label(left + 2, y - 6, `the fault: ${count(inside)}`, 'start', 'faulty')));
  return card('overall_score against mean rating', 'Darker is more completions (logarithmic). The corner is a 10 that was most likely a 1: score 10, mean rating 2 or less.', plot);
}

function suspicious(audit, go) {
  const found = audit.suspicious;
  const kinds = [['low', 'rating 2 or less', 'score_10_low'], ['between', 'between 2 and 4', 'score_10_between'], ['high', 'rating above 4', 'score_10_high'], ['missing', 'no rating', null]];
  const items = kinds.filter(([key]) => has(found[key])).map(([key, name, flag]) => ({
    name, value: found[key], text: count(found[key]), title: `overall_score 10, ${name}: ${count(found[key])} completions`,
    onclick: flag ? go({ flag }) : null,
  }));
  const models = Object.entries(audit.by_model ?? {}).filter(([, one]) => one.score_10_low)
    .sort((a, b) => b[1].score_10_low - a[1].score_10_low).slice(0, 10)
    .map(([name, one]) => ({
      name, value: one.score_10_low, text: count(one.score_10_low),
      title: `${name}: ${count(one.score_10_low)} of ${count(one.completions)} completions`,
      onclick: go({ flag: 'score_10_low', 'any-model': name }),
    }));
  return card('Completions with overall_score 10', `${count(found.score_10)} completions, by their mean rating.`, bars(items, { kind: 'alarm' }),
    models.length ? html('h4', {}, 'Rated 2 or less, by model') : null, models.length ? bars(models, { kind: 'alarm' }) : null);
}

const KINDS = { 0: 'r0', 1: 'r1', 2: 'r2', 3: 'r3', 4: 'r4', 5: 'r5', 'N/A': 'rna', null: 'rnull' };
const ratingOrder = (key) => (key === 'N/A' ? 98 : key === 'null' ? 99 : Number(key));

function ratings(byAspect) {
  const keys = [...new Set(Object.values(byAspect).flatMap((counts) => Object.keys(counts)))].sort((a, b) => ratingOrder(a) - ratingOrder(b));
  const rows = Object.entries(byAspect).map(([aspect, counts]) => ({
    name: words(aspect), parts: keys.filter((key) => counts[key]).map((key) => ({ key, value: counts[key], kind: KINDS[key] ?? 'rnull' })),
  }));
  const used = keys.filter((key) => Object.values(byAspect).some((counts) => counts[key]));
  return card('Ratings by aspect', 'Share of completions.', legend(used.map((key) => [key, KINDS[key] ?? 'rnull'])), stacked(rows, 'Distribution of ratings by aspect'));
}

function scores(byScore) {
  const all = Object.entries(byScore).filter(([score]) => Number.isFinite(Number(score))).map(([score, n]) => ({ x: Number(score), value: n })).sort((a, b) => a.x - b.x);
  if (!all.length) return null;
  const others = Object.entries(byScore).filter(([score]) => !Number.isFinite(Number(score)));
  const items = all.map((item) => ({ ...item, kind: item.x === 10 ? 'alarm' : 'main', title: `overall_score ${item.x}: ${count(item.value)} completions` }));
  const step = Math.min(...all.slice(1).map((item, i) => item.x - all[i].x), 1);
  const plot = histogram(items, { about: 'Completions by overall_score', ticks: all.filter((item) => item.x % 1 === 0).map((item) => [item.x + step / 2, String(item.x)]) });
  return card('overall_score', `Completions by score${others.length ? `; ${others.map(([name, n]) => `${count(n)} ${name}`).join(', ')}` : ''}.`, plot);
}

function agreement({ names, share, pairs }) {
  const size = Math.min(52, 300 / names.length);
  const left = 118;
  const cells = [];
  names.forEach((row, y) => names.forEach((column, x) => {
    const value = share[y]?.[x];
    if (x >= y || !has(value)) return;
    cells.push({
      x, y: y - 1, share: Math.max(0.06, Math.min(1, (value - 0.5) / 0.5)), text: percent(value, 0),
      title: `${words(row)} and ${words(column)} order ${percent(value)} of ${has(pairs?.[y]?.[x]) ? count(pairs[y][x]) : 'the'} pairs alike`,
    });
  }));
  if (!cells.length) return null;
  const plot = grid(cells, { columns: names.length - 1, rows: names.length - 1, left, bottom: 74, size, tall: Math.min(size, 40), about: 'How often two kinds of rating order two answers alike' });
  const tall = Math.min(size, 40);
  names.slice(1).forEach((name, y) => plot.append(label(left - 8, 6 + y * tall + tall / 2 + 4, words(name), 'end', 'name')));
  names.slice(0, -1).forEach((name, x) => {
    const text = label(0, 0, words(name), 'end', 'name');
    text.setAttribute('transform', `translate(${left + x * size + size / 2 + 4} ${6 + (names.length - 1) * tall + 12}) rotate(-30)`);
    plot.append(text);
  });
  return card('Agreement', 'Of pairs of answers to one prompt that both order strictly, the share that they order alike.', plot);
}

function chosenModels(byModel) {
  const rows = Object.entries(byModel).filter(([, one]) => one.offered).map(([name, one]) => ({
    name, a: one.chosen_by_ratings / one.offered, b: one.chosen_by_score / one.offered,
    title: `${name}, offered ${count(one.offered)} times: chosen by ratings ${percent(one.chosen_by_ratings / one.offered)}, by overall_score ${percent(one.chosen_by_score / one.offered)}; mean rating ${decimal(one.mean_rating)}, mean score ${decimal(one.mean_score)}`,
  })).sort((x, y) => y.a - x.a);
  if (!rows.length) return null;
  return card('How often a model is chosen', 'Share of the rows that offer an answer of the model.', legend([['by ratings', 'main'], ['by overall_score', 'other']]),
    dumbbells(rows.slice(0, MOST_BARS), { about: 'Share of rows in which a model is chosen, by ratings and by overall_score' }),
    rows.length > MOST_BARS ? html('p', { class: 'more' }, `and ${rows.length - MOST_BARS} more`) : null);
}

function lengths(length) {
  const all = [...length.histogram].sort((a, b) => a[0] - b[0]);
  if (!all.length) return null;
  const times = (x) => (x >= 0 ? `${(2 ** x).toFixed(x > 3.4 ? 0 : 1)} times` : `1/${(2 ** -x).toFixed(-x > 3.4 ? 0 : 1)}`);
  const items = all.map(([x, n]) => ({ x, value: n, kind: x >= 0 ? 'main' : 'other', title: `chosen from ${times(x)} as long as rejected: ${count(n)} pairs` }));
  const ticks = [-8, -6, -4, -2, 0, 2, 4, 6, 8].map((x) => [x, x < 0 ? `1/${2 ** -x}` : `${2 ** x}×`]);
  return card('Length of chosen over rejected',
    `Characters. The chosen answer is longer in ${percent(length.share)} of pairs; mean ${count(length.mean_chosen)} against ${count(length.mean_rejected)}, median ratio ${decimal(length.median_ratio)}.`,
    legend([['chosen longer', 'main'], ['chosen shorter', 'other']]), histogram(items, { about: 'Pairs by length of chosen over rejected', ticks, middle: 0 }));
}

function lengthBySource(length) {
  const all = Object.entries(length.by_source).filter(([, share]) => has(share)).sort((a, b) => b[1] - a[1]).map(([name, share]) => ({ name, value: share, text: percent(share), title: `${name}: chosen longer in ${percent(share)}` }));
  if (!all.length) return null;
  const [items, more] = few(all);
  return card('Chosen is longer, by source', `Share of pairs. The line is half; all pairs: ${percent(length.share)}.`, bars(items, { most: 1, mark: 0.5 }), more);
}

function leftOut(reasons, go) {
  const items = Object.entries(reasons).filter(([, one]) => one.rows).sort((a, b) => b[1].rows - a[1].rows)
    .map(([name, one]) => ({ name: words(name), value: one.rows, text: count(one.rows), title: `${name}: ${count(one.rows)} rows`, onclick: go({ reason: name }) }));
  return items.length ? card('Left out', 'Rows that give no pair, by reason.', bars(items)) : null;
}

function noticed(reasons, go) {
  const items = Object.entries(reasons).filter(([, one]) => one.count).sort((a, b) => b[1].count - a[1].count)
    .map(([name, one]) => ({ name: words(name), value: one.count, text: `${count(one.count)} ${one.unit}${one.count === 1 ? '' : 's'}`, title: `${name}: ${count(one.count)} ${one.unit}s`, onclick: go({ flag: name }) }));
  return items.length ? card('Noticed', 'What is odd about rows, completions or ratings.', bars(items, { kind: 'wide' })) : null;
}

function contamination(found) {
  const rows = Object.entries(found.files).map(([name, one]) => [name, ...['texts', 'exact', '13-gram', '8-gram'].map((key) => (has(one[key]) ? count(one[key]) : '–'))]);
  const total = Object.entries(found.rows ?? {}).filter(([, n]) => n).map(([rule, n]) => `${rule} ${count(n)}`).join(', ');
  return card('Contamination', `Benchmark texts found in prompts. Rows that hold one: ${total || 'none'}.`, numbers(['Benchmark', 'Texts', 'Exact', '13-gram', '8-gram'], rows));
}

function sources(bySource) {
  const rows = Object.entries(bySource).sort((a, b) => b[1].rows - a[1].rows);
  const shown = rows.slice(0, MOST_BARS).map(([name, one]) => [name, count(one.rows), has(one.completions) ? count(one.completions) : '–', decimal(one.mean_rating), decimal(one.mean_score)]);
  return card('Sources', rows.length > MOST_BARS ? `The largest ${MOST_BARS} of ${rows.length}.` : '', numbers(['Source', 'Rows', 'Completions', 'Mean rating', 'Mean score'], shown));
}

function moreNumbers(audit) {
  const { ties, duplicates, fixes, overrides } = audit;
  return [
    ['Rows with several best answers by ratings', ties?.top_by_ratings],
    ['Rows with several best answers by overall_score', ties?.top_by_score],
    ['Rows rated all equal', ties?.all_equal_by_ratings],
    ['Rows scored all equal', ties?.all_equal_by_score],
    ['Prompts seen more than once', duplicates?.prompts],
    ['Answers seen more than once', duplicates?.responses],
    ['Scores of 10 changed to 1', fixes?.to_1],
    ['Scores of 10 kept', fixes?.kept],
    ['Scores of 10 to annotate anew', fixes?.to_annotate],
    ['Rows changed by overrides', overrides?.rows],
    ['Completions changed by overrides', overrides?.completions],
  ].filter(([, value]) => has(value)).map(([name, value]) => [name, count(value)]);
}

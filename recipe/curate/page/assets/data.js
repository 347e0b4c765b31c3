'use strict';
// What lies in the page as base64 over raw deflate: the columns, the prompts and the blocks of texts.
// `pack.py` says how the bytes are laid.

const ABSENT = -Infinity;   // an aspect that was not rated; NaN is one rated "N/A"
const TYPES = {
  u1: Uint8Array, u4: Uint32Array, i1: Int8Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
};

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// Resolves when the element is in the document: the parser may still be on its way to it.
async function element(id) {
  for (;;) {
    const found = document.getElementById(id);
    // The last element may be cut short while it is parsed; one that has a next sibling is whole.
    if (found && (found.nextSibling || document.readyState !== 'loading')) return found;
    if (document.readyState !== 'loading') throw new Error(`the page lacks its part ${id}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function inflate(id) {
  const bytes = fromBase64((await element(id)).textContent);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Response(stream).arrayBuffer();
}

function texts(buffer) {
  const count = new Uint32Array(buffer, 0, 1)[0];
  const lengths = new Int32Array(buffer, 4, count);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });   // a text keeps its U+FEFF
  let at = 4 + 4 * count;
  return Array.from(lengths, (length) => {
    if (length < 0) return null;
    at += length;
    return decoder.decode(new Uint8Array(buffer, at - length, length));
  });
}

async function readColumns() {
  const buffer = await inflate('columns');
  const size = new Uint32Array(buffer, 0, 1)[0];
  const data = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  for (const [name, [type, at, length]] of Object.entries(data.arrays)) {
    data[name] = new TYPES[type](buffer, 4 + size + at, length);
  }
  data.ids = new TextDecoder().decode(data.ids).split('\n');
  data.aspectRatings = data.aspects.map((_, place) => data[`aspect${place}`]);
  data.prompt = new Array(data.rows);   // undefined until it is there
  derive(data);
  return data;
}

// What the table shows of a row beside its own columns: its chosen and rejected completions' numbers.
function derive(data) {
  const { rows, first } = data;
  for (const name of ['chosenRating', 'rejectedRating', 'chosenScore', 'topScore']) {
    data[name] = new Float32Array(rows).fill(NaN);
  }
  data.chosenModel = new Int32Array(rows).fill(-1);
  for (let row = 0; row < rows; row++) {
    if (data.chosen[row] >= 0) {
      const at = first[row] + data.chosen[row];
      data.chosenRating[row] = data.rating[at];
      data.chosenScore[row] = data.score[at];
      data.chosenModel[row] = data.model[at];
    }
    if (data.rejected[row] >= 0) data.rejectedRating[row] = data.rating[first[row] + data.rejected[row]];
    let top = NaN;
    for (let at = first[row]; at < first[row + 1]; at++) if (!(data.score[at] <= top)) top = pick(top, data.score[at]);
    data.topScore[row] = top;
  }
}

function pick(top, score) {
  return Number.isNaN(score) ? top : score;
}

async function readPrompts(data, progress) {
  for (let part = 0; part < data.prompts.length; part++) {
    const found = texts(await inflate(`prompts-${part}`));
    const start = data.prompts[part];
    for (let i = 0; i < found.length; i++) data.prompt[start + i] = found[i];
    progress(start, start + found.length);
  }
}

// The texts of the rows of one block: a list of {responses, critiques} by row, from row `start`.
async function readBlock(data, block) {
  const start = data.blocks[block];
  const end = block + 1 < data.blocks.length ? data.blocks[block + 1] : data.rows;
  const all = texts(await inflate(`block-${block}`));
  const base = data.first[start];
  const count = data.first[end] - base;
  const rows = [];
  for (let row = start; row < end; row++) {
    const from = data.first[row] - base;
    const to = data.first[row + 1] - base;
    rows.push({ responses: all.slice(from, to), critiques: all.slice(count + from, count + to) });
  }
  return { start, rows };
}

function blockOf(data, row) {
  let low = 0;
  let high = data.blocks.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (data.blocks[middle] <= row) low = middle; else high = middle - 1;
  }
  return low;
}

async function readTexts(data, row) {
  const { start, rows } = await readBlock(data, blockOf(data, row));
  return rows[row - start];
}

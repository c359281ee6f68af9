// The explorer's page. It shows what `settings` say, and the address holds
// these, so that a link reproduces a view. Latents are computed here, images
// and maps by a source: the server or, in a shared file, the file itself.
"use strict";

const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

// ---------------------------------------------------------------- Latents
// TensorFlow's stateless random numbers (Philox 4x32-10), so that a seed shows
// the first image of `sagan.sample --seed`.
// Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".

function multiply(a, b) {
  const product = BigInt(a) * BigInt(b);
  return [Number(product >> 32n), Number(product & 0xffffffffn)];
}

function philox(counter, key) {
  let [a, b, c, d] = counter;
  let [k, l] = key;
  for (let round = 0; round < 10; round++) {
    const [high, low] = multiply(0xd2511f53, a);
    const [high2, low2] = multiply(0xcd9e8d57, c);
    [a, b, c, d] = [(high2 ^ b ^ k) >>> 0, low2, (high ^ d ^ l) >>> 0, low];
    k = (k + 0x9e3779b9) >>> 0;
    l = (l + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

// Returns 32-bit integers of a seed, a pair of BigInt, four at a time.
function randomBits([seed, second], count) {
  const words = (x) => [Number(x & 0xffffffffn), Number((x >> 32n) & 0xffffffffn)];
  const mixed = philox([...words(seed), ...words(second)], [0x3ec8f720, 0x02461e29]);
  const bits = [];
  for (let i = 0; bits.length < count; i++) {
    bits.push(...philox([i, 0, mixed[2], mixed[3]], [mixed[0], mixed[1]]));
  }
  return bits.slice(0, count);
}

// Box and Muller, in float32 as TensorFlow computes.
function drawNormal(seed, count) {
  const bits = randomBits([BigInt(seed), 0n], count + (count % 2));
  const unit = (x) => (x & 0x7fffff) / 2 ** 23;
  const values = [];
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(Math.max(unit(bits[i]), 1e-7)));
    const angle = 2 * Math.PI * unit(bits[i + 1]);
    values.push(radius * Math.sin(angle), radius * Math.cos(angle));
  }
  return values.slice(0, count);
}

// Quantile of the normal distribution, to 1e-9 of its value.
// Source: Acklam (2003), "An algorithm for computing the inverse normal
// cumulative distribution function".
function quantile(p) {
  const polynomial = (x, ...factors) => factors.reduce((sum, f) => sum * x + f, 0);
  if (p > 0.5) return -quantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return polynomial(q, -7.784894002430293e-3, -3.223964580411365e-1,
      -2.400758277161838, -2.549732539343734, 4.374664141464968, 2.938163982698783) /
      polynomial(q, 7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996,
        3.754408661907416, 1);
  }
  const q = p - 0.5;
  return q * polynomial(q * q, -3.969683028665376e1, 2.209460984245205e2,
    -2.759285104469687e2, 1.383577518672690e2, -3.066479806614716e1, 2.506628277459239) /
    polynomial(q * q, -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2,
      6.680131188771972e1, -1.328068155288572e1, 1);
}

// Probability of a value below -threshold: where `quantile` crosses it.
function tail(threshold) {
  let [low, high] = [1e-300, 0.5];
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2;
    if (quantile(middle) < -threshold) low = middle;
    else high = middle;
  }
  return low;
}

// Draws values beyond the threshold again, as `sagan.latents.truncate` does.
function truncate(latents, threshold, seed) {
  const [low, high] = randomBits([BigInt(seed), 0n], 2);
  const folded = BigInt.asIntN(64, BigInt(low) | (BigInt(high) << 32n));
  const bits = randomBits([folded, 2n], 2 * latents.length);
  const below = tail(threshold);
  return latents.map((value, i) => {
    if (Math.abs(value) <= threshold) return value;
    const uniform = ((bits[2 * i] & 0xfffff) * 2 ** 32 + bits[2 * i + 1]) / 2 ** 52;
    const drawn = quantile(below + uniform * (1 - 2 * below));
    return Math.max(-threshold, Math.min(threshold, drawn));
  });
}

// What to draw of one image, pinned or shown.
const RECIPE = { seed: 0, class: 0, truncation: 3, directions: {}, latents: {} };

// Returns latents and weights of the classes, [[class, weight], ...].
function inputsOf(recipe, run) {
  let latents = drawNormal(recipe.seed, run.latents);
  if (recipe.truncation < RECIPE.truncation) {
    latents = truncate(latents, recipe.truncation, recipe.seed);
  }
  for (const [number, length] of Object.entries(recipe.directions)) {
    latents = latents.map((x, i) => x + length * run.directions[number][i]);
  }
  for (const [number, length] of Object.entries(recipe.latents)) {
    latents[number] += length;
  }
  return { latents, classes: run.classes.length ? [[recipe.class, 1]] : [] };
}

// Latents move on a great circle, classes linearly.
// Source: White (2016), arXiv:1609.04468, section 2.
function between(a, b, share) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  const lengths = Math.sqrt(dot(a.latents, a.latents) * dot(b.latents, b.latents));
  const angle = Math.acos(Math.max(-1, Math.min(1, dot(a.latents, b.latents) / lengths)));
  const weight = (part) =>
    Math.sin(angle) < 1e-6 ? part : Math.sin(part * angle) / Math.sin(angle);
  const latents = a.latents.map(
    (x, i) => weight(1 - share) * x + weight(share) * b.latents[i]);
  const weighted = (classes, factor) => classes.map(([c, w]) => [c, w * factor]);
  return {
    latents,
    classes: [...weighted(a.classes, 1 - share), ...weighted(b.classes, share)],
  };
}

// --------------------------------------------------------------- Settings

let runs = [];
let settings = {};

function defaults() {
  return {
    ...structuredClone(RECIPE),
    step: Math.max(...runs[0].steps),
    weights: "ema",
    statistics: "moving",
    point: [Math.floor(runs[0].size / 2), Math.floor(runs[0].size / 2)],
    a: null,
    b: null,
    mix: null,
    nearest: false,
  };
}

const isNumber = (x, low, high) => typeof x === "number" && x >= low && x <= high;
const isIndex = (x, count) => Number.isInteger(x) && isNumber(x, 0, count - 1);

function isMoves(moves, count) {
  return moves !== null && typeof moves === "object" && Object.entries(moves).every(
    ([number, length]) => isIndex(Number(number), count) && isNumber(length, -4, 4));
}

function isRecipe(recipe) {
  const run = runs[0];
  return isIndex(recipe.seed, run.samples?.count ?? 1e9) &&
    isIndex(recipe.class, Math.max(1, run.classes.length)) &&
    isNumber(recipe.truncation, 0.1, RECIPE.truncation) &&
    isMoves(recipe.directions, run.directions.length) &&
    isMoves(recipe.latents, run.latents);
}

// Reads the address. What is no setting of these runs is left at its default.
function readAddress() {
  const found = defaults();
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    try {
      const value = JSON.parse(text);
      if (settingAllowed(name, value)) found[name] = value;
    } catch {
      continue;
    }
  }
  return found;
}

function settingAllowed(name, value) {
  if (name in RECIPE) return isRecipe({ ...structuredClone(RECIPE), [name]: value });
  if (name === "a" || name === "b") {
    return value !== null && typeof value === "object" &&
      isRecipe({ ...structuredClone(RECIPE), ...value });
  }
  const size = runs[0].size;
  return {
    step: () => runs[0].steps.includes(value),
    weights: () => ["ema", "raw"].includes(value),
    statistics: () => ["moving", "standing"].includes(value),
    point: () => Array.isArray(value) && value.length === 2 && value.every((x) => isIndex(x, size)),
    mix: () => isNumber(value, 0, 1),
    nearest: () => typeof value === "boolean",
  }[name]?.() ?? false;
}

function writeAddress() {
  const query = new URLSearchParams();
  const usual = defaults();
  for (const [name, value] of Object.entries(settings)) {
    const text = JSON.stringify(value);
    if (text !== JSON.stringify(usual[name])) query.set(name, text);
  }
  history.replaceState(null, "", `#${query}`);
}

function change(values) {
  Object.assign(settings, values);
  writeAddress();
  showControls();
  views.forEach((view) => view.update());
}

// A change of what is drawn leaves the path between A and B.
const changeRecipe = (values) => change({ ...values, mix: null });

const recipeOf = (values) =>
  Object.fromEntries(Object.keys(RECIPE).map((name) => [name, structuredClone(values[name])]));

function inputsShown() {
  const run = runs[0];
  if (settings.mix === null || !settings.a || !settings.b) return inputsOf(settings, run);
  const complete = (pin) => ({ ...structuredClone(RECIPE), ...pin });
  return between(inputsOf(complete(settings.a), run), inputsOf(complete(settings.b), run),
    settings.mix);
}

// The checkpoint of a run that is nearest to the step shown.
const stepOf = (run) => run.steps.reduce((best, step) =>
  Math.abs(step - settings.step) < Math.abs(best - settings.step) ? step : best);

// ---------------------------------------------------------------- Sources

// Asks the server; keeps what it answered, so that a way back is at once.
class Server {
  constructor() {
    this.answers = new Map();
  }

  async ask(path, read) {
    if (!this.answers.has(path)) {
      const response = await fetch(path);
      if (!response.ok) throw new Error(await response.text());
      this.answers.set(path, await read(response));
      if (this.answers.size > 2000) this.answers.delete(this.answers.keys().next().value);
    }
    return this.answers.get(path);
  }

  runs() {
    return this.ask("runs.json", (response) => response.json());
  }

  // Returns an image, and functions of what else is known of it.
  async look(number, run, { latents, classes }) {
    const bytes = new Uint8Array(new Float32Array(latents).buffer);
    const query = new URLSearchParams({
      run: number,
      step: stepOf(run),
      weights: settings.weights,
      statistics: settings.statistics,
      latents: btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_"),
      classes: classes.map(([c, w]) => `${c}:${Number(w.toFixed(6))}`).join(","),
    });
    const pixels = (response) => response.blob().then(pixelsOf);
    return {
      image: await this.ask(`image.png?${query}`, pixels),
      map: async (block, position) => {
        const path = `map.png?${query}&${new URLSearchParams({ block, query: position })}`;
        const { data } = await this.ask(path, pixels);
        // 24 bits of a weight in red, green and blue.
        return Float32Array.from({ length: data.length / 4 }, (_, i) =>
          (data[4 * i] * 65536 + data[4 * i + 1] * 256 + data[4 * i + 2]) / (2 ** 24 - 1));
      },
      numbers: () => this.ask(`numbers.json?${query}`, (response) => response.json()),
      nearest: async () => {
        const path = `nearest.json?${query}`;
        const found = await this.ask(path, (response) => response.json());
        if (found.waiting) this.answers.delete(path);
        return found;
      },
    };
  }
}

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

function unpack(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// A shared file: the generator itself runs here, by onnxruntime.
class Generator {
  constructor(shared) {
    this.shared = shared;
    this.blocks = shared.blocks.filter(({ name }) => name.startsWith("generator/"));
  }

  async runs() {
    const { runtime, wasm, model } = this.shared.live;
    this.ort = await import(`data:text/javascript;base64,${runtime}`);
    this.ort.env.wasm.numThreads = 1;
    this.ort.env.wasm.wasmBinary = await unpack(wasm);
    this.session = await this.ort.InferenceSession.create(await unpack(model));
    return [{ ...this.shared, blocks: this.blocks }];
  }

  async look(_, run, { latents, classes }) {
    const tensor = (values) =>
      new this.ort.Tensor("float32", Float32Array.from(values), [1, values.length]);
    const inputs = { latents: tensor(latents) };
    if (run.classes.length) {
      const weights = new Array(run.classes.length).fill(0);
      for (const [number, weight] of classes) weights[number] += weight;
      inputs.classes = tensor(weights);
    }
    const outputs = await this.session.run(inputs);
    return {
      image: toPixels(outputs.images.data, run.size, run.channels),
      map: async (block, position) => {
        const { data, dims } = outputs[block.replace("generator/", "")];
        return data.subarray(position * dims[2], (position + 1) * dims[2]);
      },
      numbers: async () => ({ logit: null, blocks: run.numbers }),
    };
  }
}

// Values in [-1, 1] as an image, rounded as `to_uint8` does.
function toPixels(values, size, channels) {
  const data = new Uint8ClampedArray(4 * size * size).fill(255);
  for (let i = 0; i < size * size; i++) {
    for (let c = 0; c < 3; c++) {
      data[4 * i + c] = (values[i * channels + (c % channels)] + 1) * 127.5;
    }
  }
  return new ImageData(data, size, size);
}

// A shared file without the generator: samples, and maps computed in advance.
class Samples {
  constructor(shared) {
    this.shared = shared;
  }

  async runs() {
    return [this.shared];
  }

  async look(_, run) {
    const { all, points } = run.samples;
    const sample = all[settings.seed];
    const image = await pixelsOf(new Blob([bytesOf(sample.png)]));
    const maps = {};
    for (const { name } of run.blocks) maps[name] = new DataView(await unpack(sample[name]));
    return {
      image,
      map: async (block, position) => {
        const { size, keys } = run.blocks.find(({ name }) => name === block);
        const stride = Math.max(1, size / points);
        const [row, column] = [Math.floor(position / size), position % size];
        const number = Math.floor(row / stride) * (size / stride) + Math.floor(column / stride);
        const start = number * (keys * keys + 4);
        const largest = maps[block].getFloat32(start, true);
        return Float32Array.from({ length: keys * keys }, (_, i) =>
          (largest * maps[block].getUint8(start + 4 + i)) / 255);
      },
      numbers: async () => ({ logit: null, blocks: run.numbers }),
    };
  }
}

async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

// --------------------------------------------------------------- Pictures

const COLOUR = [230, 159, 0];
const OPACITY = 0.85;

// Draws an image at a scale that leaves room for a frame around a point.
function drawImage(canvas, image, colour) {
  const scale = Math.max(1, Math.floor(256 / image.width));
  canvas.width = canvas.height = image.width * scale;
  const small = new OffscreenCanvas(image.width, image.height);
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  const cell = Math.max(1, image.width / 32) * scale;
  const [row, column] = settings.point.map((x) => (x * image.width) / runs[0].size);
  for (const [style, width] of [["#000000", 4], [colour, 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.strokeRect(column * scale - 1, row * scale - 1, cell + 2, cell + 2);
  }
}

// Mixes the darkened image with the colour, as the pictures of sagan.attention.
function overlay(image, weights, keys) {
  const largest = Math.max(...weights);
  const data = new Uint8ClampedArray(image.data);
  const width = image.width / keys;
  for (let i = 0; i < data.length; i += 4) {
    const row = Math.floor(i / 4 / image.width / width);
    const column = Math.floor(((i / 4) % image.width) / width);
    const opacity = (OPACITY * weights[row * keys + column]) / largest;
    const grey = (image.data[i] + image.data[i + 1] + image.data[i + 2]) / 6;
    for (let c = 0; c < 3; c++) data[i + c] = grey + opacity * (COLOUR[c] - grey);
  }
  return new ImageData(data, image.width, image.height);
}

const percent = (x) => `${(100 * x).toFixed(x < 0.1 ? 1 : 0)}\u00a0%`;

// Says what the numbers of a block mean together.
function describeBlock(values) {
  const noise = values.change < 0.01 || values.entropy > 0.95 * values.entropy_uniform;
  const text =
    `gamma ${values.gamma.toFixed(3)}, changes its input by ${percent(values.change)}; ` +
    `over all points: entropy ${values.entropy.toFixed(2)} of ${values.entropy_uniform.toFixed(2)} bits, ` +
    `${Math.round(values.distinct)} of ${values.keys} keys are a point's largest, ` +
    `mean distance ${values.distance.toFixed(1)} px`;
  const verdict = values.change < 0.01 ? "It changes next to nothing here: ignore its map. "
    : noise ? "Most points' maps are nearly uniform. " : "";
  return [make("span", { className: "noise", textContent: verdict }), text];
}

// A run's image and the maps of its blocks.
class View {
  constructor(source, number, run) {
    Object.assign(this, { source, number, run, busy: false, again: false, drawn: 0 });
    this.canvas = make("canvas", { className: "image", tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label",
      `Generated image of ${run.name}. Click, or use the arrow keys, to choose a point.`);
    this.caption = make("figcaption", { ariaLive: "polite" });
    this.tiles = run.blocks.map((block) => {
      const canvas = make("canvas", { className: "map" });
      canvas.dataset.block = block.name;
      canvas.setAttribute("role", "img");
      return { block, canvas, largest: make("strong"), numbers: make("span") };
    });
    const figures = this.tiles.map(({ canvas, largest, numbers }) =>
      make("figure", {}, canvas, make("figcaption", {}, largest, numbers)));
    this.nearest = make("figure", { className: "nearest", hidden: true });
    this.element = make("article", { className: "run" },
      make("h2", { textContent: run.name }),
      make("div", { className: "tiles" },
        make("figure", {}, this.canvas, this.caption), ...figures),
      this.nearest);
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") this.drawMaps(this.pointAt(event));
    });
    this.canvas.addEventListener("pointerleave", () => this.drawMaps());
    this.canvas.addEventListener("click", (event) => change({ point: this.pointAt(event) }));
    this.canvas.addEventListener("keydown", (event) => this.move(event));
  }

  pointAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const size = runs[0].size;
    const position = (x, length) =>
      Math.max(0, Math.min(size - 1, Math.floor((size * x) / length)));
    return [position(event.clientY - box.top, box.height),
      position(event.clientX - box.left, box.width)];
  }

  move(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const size = runs[0].size;
    const length = event.shiftKey ? size / 8 : size / 32;
    change({
      point: settings.point.map((x, i) =>
        Math.max(0, Math.min(size - 1, x + length * moves[event.key][i]))),
    });
  }

  // Computes one image at a time; of the changes meanwhile, only the last.
  async update() {
    this.again = true;
    if (this.busy) return;
    this.busy = true;
    const slow = setTimeout(() => this.element.classList.add("waiting"), 200);
    try {
      while (this.again) {
        this.again = false;
        this.look = await this.source.look(this.number, this.run, inputsShown());
        await this.draw();
        showError("");
      }
    } catch (error) {
      showError(error.message);
    } finally {
      clearTimeout(slow);
      this.element.classList.remove("waiting");
      this.busy = false;
    }
    for (const part of [this.describe(), this.showNearest()]) {
      part.catch((error) => showError(error.message));
    }
  }

  // Asks for the nearest real images of an image that has been left as it is,
  // until they are found, and so not at every position of a slider.
  async showNearest() {
    const look = this.look;
    this.nearest.hidden = !settings.nearest || !look.nearest;
    const wanted = () => look === this.look && !this.nearest.hidden;
    for (let pause = 250; wanted(); pause = 1000) {
      await new Promise((done) => setTimeout(done, pause));
      if (!wanted()) return;
      const found = await look.nearest();
      if (!wanted()) return;
      const children = [make("figcaption", { textContent: found.text, ariaLive: "polite" })];
      if (found.png) {
        const src = `data:image/png;base64,${found.png}`;
        children.unshift(make("img", { src, alt: "The nearest real images" }));
      }
      this.nearest.replaceChildren(...children);
      if (!found.waiting) return;
    }
  }

  async draw() {
    const names = this.run.classes;
    drawImage(this.canvas, this.look.image, "#e69f00");
    const number = this.run.samples?.all[settings.seed].class ?? settings.class;
    const className = names.length ? `class ${names[number]}, ` : "";
    const what = settings.mix === null ? `Seed ${settings.seed}, ${className}`
      : `${percent(settings.mix)} from A to B, `;
    this.title = `${what}step ${stepOf(this.run)}`;
    await this.drawMaps();
    this.drawn += 1;
    this.element.dataset.drawn = this.drawn;
  }

  async drawMaps(point = settings.point) {
    const look = this.look;
    if (!look) return;
    const size = runs[0].size;
    this.wanted = point;
    const maps = await Promise.all(this.tiles.map(({ block }) => {
      const [row, column] = point.map((x) => Math.floor((x * block.size) / size));
      return look.map(block.name, row * block.size + column);
    }));
    // Another point, or another image, may have been faster.
    if (this.wanted !== point || this.look !== look) return;
    this.tiles.forEach(({ block, canvas, largest }, i) => {
      drawImage(canvas, overlay(look.image, maps[i], block.keys), "#ffffff");
      const [network, layer] = block.name.split("/");
      const text = `${network}, ${layer.replace("attention_", "")} pixels wide`;
      const weight = percent(Math.max(...maps[i]));
      largest.textContent = `${text}: largest weight ${weight}`;
      canvas.setAttribute("aria-label",
        `Where row ${point[0]}, column ${point[1]} looks: ${largest.textContent}`);
    });
  }

  async describe() {
    const look = this.look;
    const { logit, blocks } = await look.numbers();
    if (look !== this.look) return;
    const verdict = logit === null ? ""
      : ` The discriminator says ${logit > 0 ? "real" : "generated"} (${logit.toFixed(2)}).`;
    this.caption.replaceChildren(make("strong", { textContent: this.title }),
      `Point: row ${settings.point[0]}, column ${settings.point[1]}.${verdict}`);
    for (const { block, numbers } of this.tiles) {
      numbers.replaceChildren(...describeBlock(blocks[block.name]));
      if (this.run.averaged) numbers.append(`, over ${this.run.averaged} images`);
    }
  }
}

// --------------------------------------------------------------- Controls

let views = [];

function showError(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function showControls() {
  const s = settings;
  $("seed").value = s.seed;
  $("class").value = s.class;
  $("truncation").value = s.truncation;
  $("truncation_value").textContent =
    s.truncation < RECIPE.truncation ? `up to ${s.truncation.toFixed(1)}` : "none";
  $("step").value = runs[0].steps.indexOf(s.step);
  $("step_value").textContent = `step ${s.step}`;
  $("weights").value = s.weights;
  $("statistics").value = s.statistics;
  $("nearest").checked = s.nearest;
  $("mix").disabled = !(s.a && s.b);
  $("mix").value = s.mix ?? 0;
  $("mix_value").textContent = s.a && s.b ? (s.mix === null ? "" : percent(s.mix)) : "pin two images";
  $("pin_a").textContent = s.a ? "A is pinned" : "Pin as A";
  $("pin_b").textContent = s.b ? "B is pinned" : "Pin as B";
  $("unpin").disabled = !(s.a || s.b);
  for (const input of $("directions").querySelectorAll("input")) {
    const length = s.directions[input.dataset.direction] ?? 0;
    input.value = length;
    input.previousElementSibling.textContent = length.toFixed(1);
  }
  const length = s.latents[$("latent").value] ?? 0;
  $("latent_move").value = length;
  $("latent_value").textContent = length.toFixed(1);
}

function moved(moves, number, length) {
  const others = { ...moves, [number]: length };
  if (!length) delete others[number];
  return others;
}

function makeControls() {
  const run = runs[0];
  run.classes.forEach((name, i) => $("class").append(make("option", { value: i, textContent: name })));
  $("class_label").hidden = !run.classes.length || run.samples;
  // A shared file holds one checkpoint, or only samples of it.
  for (const id of ["weights_part", "nearest_part"]) $(id).hidden = run.live || run.samples;
  for (const id of ["truncation_label", "path_part", "latents_part"]) $(id).hidden = run.samples;
  $("step").max = run.steps.length - 1;
  $("step").disabled = run.steps.length < 2;
  $("latent").max = run.latents - 1;
  run.directions.forEach((_, i) => {
    const input = make("input", { type: "range", min: -4, max: 4, step: 0.1 });
    input.dataset.direction = i;
    input.addEventListener("input", () =>
      changeRecipe({ directions: moved(settings.directions, i, Number(input.value)) }));
    $("directions").append(make("label", {},
      `${i + 1} (${percent(run.shares[i])}) `, make("output"), input));
  });

  const on = (id, kind, react) => $(id).addEventListener(kind, () => react($(id)));
  on("seed", "input", (input) => {
    if (input.checkValidity() && input.value) changeRecipe({ seed: Number(input.value) });
  });
  const seeds = run.samples?.count ?? 1e6;
  $("seed").max = run.samples ? seeds - 1 : 999999999;
  on("another", "click", () => changeRecipe({ seed: Math.floor(Math.random() * seeds) }));
  on("class", "change", (select) => changeRecipe({ class: Number(select.value) }));
  on("truncation", "input", (input) => changeRecipe({ truncation: Number(input.value) }));
  on("step", "input", (input) => change({ step: run.steps[input.value] }));
  on("weights", "change", (select) => change({ weights: select.value }));
  on("statistics", "change", (select) => change({ statistics: select.value }));
  on("nearest", "change", (box) => change({ nearest: box.checked }));
  on("pin_a", "click", () => change({ a: recipeOf(settings) }));
  on("pin_b", "click", () => change({ b: recipeOf(settings) }));
  on("unpin", "click", () => change({ a: null, b: null, mix: null }));
  on("mix", "input", (input) => change({ mix: Number(input.value) }));
  on("latent", "input", () => showControls());
  on("latent_move", "input", (input) => {
    const number = Number($("latent").value);
    if (isIndex(number, run.latents)) {
      changeRecipe({ latents: moved(settings.latents, number, Number(input.value)) });
    }
  });
  on("back", "click", () => changeRecipe({ directions: {}, latents: {} }));
  on("save_png", "click", savePicture);
  on("save_json", "click", () => {
    const steps = Object.fromEntries(runs.map((x) => [x.name, stepOf(x)]));
    const text = JSON.stringify({ ...settings, steps, address: location.href }, null, 1);
    save(new Blob([text], { type: "application/json" }), "settings.json");
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => change(readAddress()));
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A row per run: its image and maps, each with its title below.
async function savePicture() {
  const [side, gap, line] = [256, 8, 20];
  const columns = 1 + Math.max(...runs.map((run) => run.blocks.length));
  const canvas = new OffscreenCanvas(columns * (side + gap), runs.length * (side + line));
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#000000";
  context.font = "12px sans-serif";
  views.forEach((view, row) => {
    const tiles = [[view.canvas, `${view.run.name}: ${view.title}`],
      ...view.tiles.map(({ canvas, block }) => [canvas, block.name])];
    tiles.forEach(([tile, title], column) => {
      const [x, y] = [column * (side + gap), row * (side + line)];
      context.drawImage(tile, x, y, side, side);
      context.fillText(title, x, y + side + 14, side);
    });
  });
  save(await canvas.convertToBlob({ type: "image/png" }), "explorer.png");
}

// ---------------------------------------------------------------- Records

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function makeChart({ title, lines }) {
  const [left, top, width, height] = [60, 8, 288, 120];
  const points = Object.values(lines).flat();
  const range = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return low < high ? [low, high] : [low - 0.5, high + 0.5];
  };
  const [x0, x1] = range(points.map(([x]) => x));
  const [y0, y1] = range(points.map(([, y]) => y));
  const place = ([x, y]) => [
    left + (width * (x - x0)) / (x1 - x0), top + height - (height * (y - y0)) / (y1 - y0)];
  const text = (x, y, anchor, value) =>
    draw("text", { x, y, "text-anchor": anchor }, String(Number(value.toPrecision(3))));
  const svg = draw("svg", { viewBox: "0 0 360 150", role: "img", "aria-label": `${title} by step` },
    draw("rect", { class: "frame", x: left, y: top, width, height }),
    text(left - 4, top + 8, "end", y1), text(left - 4, top + height, "end", y0),
    text(left, top + height + 14, "start", Math.round(x0)),
    text(left + width, top + height + 14, "end", Math.round(x1)));
  const key = make("div");
  Object.entries(lines).forEach(([name, line], i) => {
    svg.append(draw("polyline", {
      class: `line c${i % 5}`, points: line.map((p) => place(p).join(",")).join(" ") }));
    key.append(make("span", { className: "key" },
      make("i", { className: `c${i % 5}`, textContent: "— " }), name));
  });
  return make("div", {}, make("h3", { textContent: title }), svg, key);
}

function makeRecord(run) {
  const facts = make("dl");
  for (const [name, text] of run.facts) {
    facts.append(make("dt", { textContent: name }), make("dd", { textContent: text }));
  }
  const folded = (title, text) => make("details", {},
    make("summary", { textContent: title }), make("pre", { textContent: text }));
  const parts = [make("h2", { textContent: `About ${run.name}` }), facts];
  if (run.limits.length) {
    parts.push(make("h3", { textContent: "Known limits" }),
      make("ul", { className: "limits" },
        ...run.limits.map((textContent) => make("li", { textContent }))));
  }
  if (run.curves.length) {
    parts.push(make("div", { className: "charts" }, ...run.curves.map(makeChart)));
  }
  if (run.scores.length) {
    const scores = folded("Scores, with those of real images as the floor", run.scores.join("\n"));
    scores.open = true;
    parts.push(scores);
  }
  if (run.attention?.length) {
    parts.push(folded("Numbers of the attention maps by step", run.attention.join("\n")));
  }
  for (const { title, png } of run.pictures ?? []) {
    const image = make("img", { src: `data:image/png;base64,${png}`, alt: title });
    parts.push(make("h3", { textContent: title }), image);
  }
  parts.push(folded("Config", run.config));
  return make("article", { className: "record" }, ...parts);
}

// ------------------------------------------------------------------ Start

async function start() {
  const element = $("shared");
  const shared = element && JSON.parse(element.textContent);
  const source = !shared ? new Server() : shared.live ? new Generator(shared) : new Samples(shared);
  try {
    runs = await source.runs();
  } catch (error) {
    showError(error.message);
    return;
  }
  $("note").textContent = runs[0].live
    ? "The generator itself is in this file and runs in your browser: no network is needed."
    : `This file holds ${runs[0].samples?.count} samples, not the generator itself.`;
  $("note").hidden = !shared;
  settings = readAddress();
  document.title = `${runs.map((run) => run.name).join(" and ")}: SAGAN explorer`;
  $("title").textContent = document.title;
  views = runs.map((run, number) => new View(source, number, run));
  $("runs").append(...views.map((view) => view.element));
  $("records").append(...runs.map(makeRecord));
  makeControls();
  showControls();
  views.forEach((view) => view.update());
}

start();

"use strict";
// The data is in the page, as JSON. Arrays of numbers are base64; see page.py.
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
const signed = text => new Int8Array(bytes(text).buffer);
const numbers = text => new ({ 1: Uint8Array, 2: Uint16Array, 4: Uint32Array })[data.bytes_per_number](bytes(text).buffer);
const tokens = numbers(data.tokens), likeliest = numbers(data.likeliest);
const nats = new Float32Array(bytes(data.nats).buffer);
const roots = bytes(data.roots_of_shares);
const lasting = bytes(data.reach.lasting);
const units = data.units.map(unit => ({ name: unit.name, states: signed(unit.states), gates: bytes(unit.gates) }));
const N = tokens.length, MOST_NATS = 6, STRONGEST = 0.85, COLUMNS = 24;
const SVG = "http://www.w3.org/2000/svg";

const find = id => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A token's name, with something to see where it is blank. */
const label = name => name.replace(/ /g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥") || "·";
const percent = share => share >= 0.0995 ? `${(100 * share).toFixed(0)} %` : `${(100 * share).toFixed(share < 0.00095 ? 2 : 1)} %`;
const warm = strength => `rgb(var(--warm) / ${(STRONGEST * strength).toFixed(3)})`;
const cold = strength => `rgb(var(--cold) / ${(STRONGEST * strength).toFixed(3)})`;
const signedColour = value => value >= 0 ? warm(value) : cold(-value);

let mode = "surprisal", chosen = 0, cursor = 0, whose = null;

// The text: one span for each token

const text = find("text");
const spans = data.pieces.map((piece, n) => {
  const span = make("span");
  span.n = n;
  if (piece === "") span.append(make("b", {}, "·"));
  piece.split(/(\n)/).forEach(part => part === "\n" ? span.append(make("b", {}, "↵"), "\n") : span.append(part));
  return span;
});
text.append(...spans);
const followed = new Map(data.reach.positions.map((n, m) => [n, m]));

function colour() {
  spans.forEach(span => { span.style.backgroundColor = ""; });
  if (mode === "surprisal") {
    spans.forEach((span, n) => { span.style.backgroundColor = warm(Math.min(nats[n] / MOST_NATS, 1)); });
  } else if (mode === "unit" && units.length) {
    const states = units[chosen].states;
    spans.forEach((span, n) => { span.style.backgroundColor = signedColour(states[n] / 127); });
  } else if (mode === "reach") {
    const { n, strengths } = reachFrom(cursor);
    strengths.forEach((strength, k) => { if (n - 1 - k >= 0) spans[n - 1 - k].style.backgroundColor = warm(strength); });
  }
  spans.forEach((span, n) => span.classList.toggle("followed", mode === "reach" && followed.has(n)));
  if (whose) whose.classList.remove("whose");
  whose = mode === "reach" ? spans[reachFrom(cursor).n] : null;
  if (whose) whose.classList.add("whose");
  legend();
}

function legend() {
  const bar = colours => make("i", { style: `background: linear-gradient(90deg, ${colours.join(", ")})` });
  const parts = {
    surprisal: ["0 nats", bar([warm(0), warm(1)]), `${MOST_NATS} and more`],
    unit: ["tanh(c) −1", bar([cold(1), cold(0), warm(1)]), "1"],
    reach: [`‖∂L/∂c‖ 1/${(10 ** data.reach.decades).toLocaleString("en")}`, bar([warm(0), warm(1)]), "of its highest"],
  };
  find("legend").replaceChildren(...parts[mode]);
}

// What is known of one token

function show(n) {
  find("which").replaceChildren(`${data.unit[0].toUpperCase()}${data.unit.slice(1)} ${(n + 1).toLocaleString("en")}: `, make("code", {}, label(data.pieces[n])));
  find("surprise").textContent = `${nats[n].toFixed(3)} nats: ${percent(Math.exp(-nats[n]))}. Expected most:`;
  find("expected").replaceChildren(...Array.from({ length: data.expected }, (_, k) => {
    const token = likeliest[n * data.expected + k], share = (roots[n * data.expected + k] / 255) ** 2;
    return make("li", token === tokens[n] ? { class: "came" } : {},
      make("code", {}, label(data.names[token]) + (token === tokens[n] ? " ✓" : "")), make("span", {}, percent(share)),
      make("i", { style: `width: ${(100 * share).toFixed(1)}%` }));
  }));
  strip(n);
}

/** A unit's state and gates at a token: tanh(c), i, f, g, o. */
function opened(unit, n) {
  const [first, second] = [unit.gates[2 * n], unit.gates[2 * n + 1]];
  return [unit.states[n] / 127, (first >> 4) / 15, (first & 15) / 15, 2 * (second >> 4) / 15 - 1, (second & 15) / 15];
}

function strip(n) {
  find("gates-section").hidden = !units.length;
  if (!units.length) return;
  const unit = units[chosen], size = 12, left = 84, begin = Math.max(0, Math.min(n - COLUMNS / 2, N - COLUMNS));
  const picture = make("svg:svg", { viewBox: `0 0 ${left + COLUMNS * size} 98`, role: "img", "aria-label": `the gates of unit ${unit.name}` });
  for (let k = 0; k < COLUMNS && begin + k < N; k++) {
    const at = begin + k, x = left + k * size;
    picture.append(make("svg:text", { x: x + size / 2, y: 14, class: "character" }, [...label(data.pieces[at])][0]));
    opened(unit, at).forEach((value, row) => {
      const fill = row === 0 || row === 3 ? signedColour(value) : `rgb(var(--gate) / ${value.toFixed(2)})`;
      picture.append(make("svg:rect", { x, y: 20 + 15 * row, width: size - 1, height: 14, style: `fill: ${fill}` }));
    });
  }
  opened(unit, n).forEach((value, row) => picture.append(make("svg:text", { x: 0, y: 31 + 15 * row },
    `${["tanh c", "i", "f", "g", "o"][row]} ${value.toFixed(row ? 1 : 2).replace("-", "−")}`)));
  picture.append(make("svg:rect", { x: left + (n - begin) * size - 1, y: 1, width: size + 1, height: 95, class: "here" }));
  find("gates-title").textContent = `Gates of unit ${unit.name}`;
  find("gates").replaceChildren(picture);
}

/** The nearest token whose gradient was followed, and how much of it there is at each one before, from 0 to 1. */
function reachFrom(wanted) {
  const { positions, steps } = data.reach;
  const n = positions.reduce((best, at) => Math.abs(at - wanted) < Math.abs(best - wanted) ? at : best);
  const m = followed.get(n);
  return { n, m, strengths: Array.from(lasting.subarray(m * steps, (m + 1) * steps), value => value / 255) };
}

function showReach() {
  const { n, m, strengths } = reachFrom(cursor), { decades, highest, steps } = data.reach;
  const last = share => strengths.reduce((found, strength, k) => strength >= 1 + Math.log10(share) / decades ? k + 1 : found, 0);
  find("reach-said").replaceChildren(
    n === cursor ? "" : `The gradients of ${followed.size} ${data.kind} were followed; the nearest one is `,
    n === cursor ? "From " : "", make("code", {}, label(data.pieces[n])), ` (${(n + 1).toLocaleString("en")}): ‖∂L/∂c‖ is ${highest[m]} at its highest. `,
    `It stays above a tenth of that for ${last(0.1)} ${data.kind} back, above a hundredth for ${last(0.01)}.`);
  const width = 380, left = 44, picture = make("svg:svg", { viewBox: `0 0 ${width} 118`, role: "img", "aria-label": "the gradient by distance" });
  for (let row = 0; row <= decades; row++) {
    const y = 8 + row * 80 / decades;
    picture.append(make("svg:line", { x1: left, x2: width, y1: y, y2: y, class: "grid" }),
      make("svg:text", { x: 0, y: y + 4 }, row ? `10⁻${"⁰¹²³⁴⁵⁶⁷⁸⁹"[row]}` : "highest"));
  }
  const step = (width - left) / steps;
  strengths.forEach((strength, k) => picture.append(make("svg:rect",
    { x: width - (k + 1) * step, y: 8 + 80 * (1 - strength), width: step * 0.8, height: 80 * strength, class: "reach" })));
  picture.append(make("svg:text", { x: left, y: 102 }, `${steps} ${data.kind} before`),
    make("svg:text", { x: width, y: 102, "text-anchor": "end" }, "just before"));
  find("reach").replaceChildren(picture);
}

// Choosing

function stayAt(n) {
  spans[cursor].classList.remove("cursor");
  cursor = Math.max(0, Math.min(n, N - 1));
  spans[cursor].classList.add("cursor");
  show(cursor);
  showReach();
  if (mode === "reach") colour();
}

function choose(value) {
  mode = value;
  document.querySelector(`input[value="${mode}"]`).checked = true;
  document.querySelectorAll("#units button").forEach(button => button.setAttribute("aria-pressed", String(mode === "unit" && Number(button.dataset.unit) === chosen)));
  colour();
  show(cursor);
}

/** The token above or below, so many lines away as they are seen. */
function inLine(n, lines) {
  const from = spans[n], direction = Math.sign(lines);
  let best = n, top = from.offsetTop;
  for (let left = Math.abs(lines), at = n; left >= 0 && at >= 0 && at < N; at += direction) {
    if (Math.abs(spans[at].offsetTop - top) > 4) { left--; top = spans[at].offsetTop; if (left >= 0) best = at; }
    if (left >= 0 && Math.abs(spans[at].offsetLeft - from.offsetLeft) < Math.abs(spans[best].offsetLeft - from.offsetLeft)) best = at;
  }
  return best;
}

const page = () => Math.max(Math.floor(text.clientHeight / 24) - 2, 1);
const keys = {
  ArrowLeft: n => n - 1, ArrowRight: n => n + 1, ArrowUp: n => inLine(n, -1), ArrowDown: n => inLine(n, 1),
  PageUp: n => inLine(n, -page()), PageDown: n => inLine(n, page()), Home: () => 0, End: () => N - 1,
};
text.addEventListener("keydown", event => {
  if (!(event.key in keys) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  stayAt(keys[event.key](cursor));
  spans[cursor].scrollIntoView({ block: "nearest" });
});
const pointed = event => event.target.closest("#text > span")?.n;
text.addEventListener("pointerover", event => { if (pointed(event) !== undefined) show(pointed(event)); });
text.addEventListener("pointerleave", () => show(cursor));
text.addEventListener("click", event => { if (pointed(event) !== undefined) stayAt(pointed(event)); });
find("modes").addEventListener("change", event => choose(event.target.value));
find("units").addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  chosen = Number(button.dataset.unit);
  choose("unit");
});

// What stays as it is

function learningCurve() {
  const { training, held_out: heldOut, dropout } = data.curve, all = [...training, ...heldOut];
  if (!all.length) return "No step of it was noted.";
  const steps = Math.max(...all.map(point => point[0])), losses = all.map(point => point[1]);
  const low = Math.min(...losses), high = Math.max(...losses, low + 0.01), width = 380, left = 36, bottom = 138;
  const x = step => left + 4 + (width - left - 12) * step / steps, y = loss => 10 + (bottom - 20) * (high - loss) / (high - low);
  const path = points => points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  const picture = make("svg:svg", { viewBox: `0 0 ${width} 172`, role: "img", "aria-label": "nats by step" });
  for (const loss of [low, (low + high) / 2, high]) {
    picture.append(make("svg:line", { x1: left, x2: width, y1: y(loss), y2: y(loss), class: "grid" }), make("svg:text", { x: 0, y: y(loss) + 4 }, loss.toFixed(2)));
  }
  picture.append(make("svg:polyline", { points: path(training), class: "training" }), make("svg:polyline", { points: path(heldOut), class: "held-out" }));
  for (const [step, loss] of heldOut) {
    picture.append(make("svg:circle", { cx: x(step), cy: y(loss), r: 3 }, make("svg:title", {}, `step ${step.toLocaleString("en")}: ${loss.toFixed(3)} nats held out`)));
  }
  picture.append(make("svg:text", { x: left, y: 150 }, "step 0"), make("svg:text", { x: width, y: 150, "text-anchor": "end" }, steps.toLocaleString("en")),
    make("svg:polyline", { points: "36,163 56,163", class: "training" }), make("svg:text", { x: 60, y: 167 }, `training${dropout ? ", with dropout" : ""}`),
    make("svg:polyline", { points: "206,163 226,163", class: "held-out" }), make("svg:text", { x: 230, y: 167 }, "held out"));
  return picture;
}

find("what").textContent = `${N.toLocaleString("en")} ${data.kind} of ${data.what}`;
find("curve").append(learningCurve());
find("settings").append(...Object.entries(data.settings).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
find("units").append(...data.ranking.map(({ feature, units: best }) => make("div", {}, make("h3", {}, feature),
  ...best.map(([unit, r]) => make("button", { type: "button", "data-unit": unit, "aria-pressed": "false" }, `${units[unit].name} `,
    make("small", {}, r === null ? "" : r.toFixed(2).replace("-", "−")))))));
document.querySelector('input[value="unit"]').disabled = !units.length;
stayAt(data.reach.positions[Math.min(4, data.reach.positions.length - 1)]);
if (spans[cursor].offsetTop > text.clientHeight - 60) text.scrollTop = spans[cursor].offsetTop - text.clientHeight / 2;
choose("surprisal");

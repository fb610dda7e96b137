// @ts-check
/** What the views of series and graphs share: charts from the server, times of bins, numbers as text. */

import { ours, Problem, request, root } from "./app.js";

/** @typedef {{bins: number, binSize: number, binUnit: string, start?: string}} Grid */
/** @typedef {{index: number, component: string, measure: string, unit: string | null}} Series */
/**
 * @typedef {object} Chart
 * @property {Grid} grid
 * @property {number} from
 * @property {number} to
 * @property {boolean} decimated
 * @property {number[]} bins
 * @property {Series[]} series
 * @property {Float32Array[]} values One array a series, NaN where a value is missing.
 */

const PACKED = "application/vnd.flowtime.chart";
/** @type {Record<string, number>} */
const SECONDS = { seconds: 1, minutes: 60, hours: 3600, days: 86400, weeks: 604800 };
const SHORT = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 4 });
const LARGE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const TINY = new Intl.NumberFormat("en-GB", { notation: "scientific", maximumSignificantDigits: 3 });
const INSTANT = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short", timeZone: "UTC" });
const COUNT = new Intl.NumberFormat("en-GB");

/**
 * Series as the server packs them: the length of a head, the head as JSON, the values as float32.
 * @param {string} url without the prefix
 * @param {AbortSignal} [signal]
 * @returns {Promise<Chart>}
 */
export async function askChart(url, signal) {
  const response = await request(root + url, { headers: { Accept: PACKED, ...ours }, signal });
  if (!response.ok) throw new Problem(await response.json());
  const bytes = await response.arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  const points = head.bins.length;
  head.values = head.series.map(
    (/** @type {Series} */ _, /** @type {number} */ row) =>
      new Float32Array(bytes, 4 + length + 4 * points * row, points),
  );
  return head;
}

/**
 * An address with parameters; those without a value are left out, lists are repeated.
 * @param {string} path
 * @param {Record<string, string | number | null | undefined | (string | number)[]>} parameters
 */
export function address(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== null && one !== undefined && one !== "") query.append(name, String(one));
  return query.size ? `${path}?${query}` : path;
}

/**
 * A whole number that an address holds, from 0 to some most.
 * @param {URLSearchParams} query
 * @param {string} name
 * @param {number} otherwise What holds where there is none.
 * @param {number} most
 */
export function whole(query, name, otherwise, most) {
  const value = Number.parseInt(query.get(name) ?? "", 10);
  return Number.isNaN(value) ? otherwise : Math.max(0, Math.min(most, value));
}

/** Measures that say most of how a system fares, the best first. */
export const TELLING = ["utilization", "backlog", "queue", "depth", "served", "arrivals"].flatMap((name) => [name, `${name}.mean`]);

/** @param {Grid} grid Seconds that a bin lasts. */
export const step = (grid) => grid.binSize * SECONDS[grid.binUnit];

/**
 * The place of a bin on the axis of a chart: seconds since 1970, or its number where the grid has no start.
 * @param {Grid} grid
 * @param {number} bin
 */
export const place = (grid, bin) =>
  grid.start === undefined ? bin : Date.parse(grid.start) / 1000 + bin * step(grid);

/**
 * When a bin begins, as short as the grid allows: `Mon, 6 Jan 2025, 08:30`.
 * @param {Grid} grid
 * @param {number} bin
 */
export function time(grid, bin) {
  if (grid.start === undefined) return `bin ${COUNT.format(bin)}`;
  const at = new Date(place(grid, bin) * 1000);
  /** @type {Intl.DateTimeFormatOptions} */
  const clock = step(grid) % 60 || at.getUTCSeconds() ? { second: "2-digit" } : {};
  const whole = step(grid) % 86400 === 0 && at.getTime() % 86400000 === 0;
  /** @type {Intl.DateTimeFormatOptions} */
  const day = { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" };
  /** @type {Intl.DateTimeFormatOptions} */
  const hours = whole ? {} : { hour: "2-digit", minute: "2-digit", ...clock };
  return at.toLocaleString("en-GB", { ...day, ...hours });
}

/** An instant in full: `22 November 2026, 09:41 UTC`. @param {string} text as ISO 8601 has it */
export const instant = (text) => `${INSTANT.format(new Date(text)).replace(" at ", ", ")} UTC`;

/** @param {number} value A number as people read it, short. */
export function short(value) {
  if (Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e12)) return TINY.format(value).toLowerCase();
  return (size >= 1e4 ? LARGE : SHORT).format(value);
}

/** @param {number} value */
export const count = (value) => COUNT.format(value);

/**
 * How many there are of something.
 * @param {number} value
 * @param {string} noun
 * @param {string} [many]
 */
export const counted = (value, noun, many) => `${COUNT.format(value)} ${value === 1 ? noun : (many ?? `${noun}s`)}`;

/** @param {{component: string, measure: string}} series */
export const nameOf = (series) => `${series.component}.${series.measure}`;

/** The unit of a series; nothing where it has none, or is a mere number. @param {{unit: string | null}} series */
export const unitOf = (series) => (series.unit && series.unit !== "1" ? series.unit : "");

/**
 * An element with its attributes and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | null | (() => void)>} [attributes] Listeners under names that begin with `on`.
 * @param {(Node | string | null)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) made.setAttribute(name, String(value));
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** A part of a page with elements that its script finds by selectors. */
export class View extends HTMLElement {
  /**
   * The first such element within; throws where the page has none of this kind.
   * @template {Element} [Kind=HTMLElement]
   * @param {string} selector
   * @param {new () => Kind} [kind]
   * @returns {Kind}
   */
  get(selector, kind) {
    const found = this.querySelector(selector);
    if (!(found instanceof (kind ?? HTMLElement))) throw new Error(`<${this.localName}> has no ${selector}`);
    return /** @type {Kind} */ (found);
  }

  /** Presses of the buttons with `data-NAME` the one that has this value. @param {string} name @param {string} value */
  press(name, value) {
    for (const button of this.querySelectorAll(`[data-${name}]`))
      button.setAttribute("aria-pressed", String(button.getAttribute(`data-${name}`) === value));
  }
}

/** How many bins a page of a table has. */
export const PAGE = 50;

/**
 * A page of a table: every value as it is kept, one row a bin.
 * @param {{grid: Grid, bins: number[], series: (Series & {values: (number | null)[]})[]}} exact
 * @param {number[]} order The columns, as places in the series.
 * @param {number} bins How many bins there are in all.
 * @param {number} current The bin that is marked.
 * @param {(bin: number, button: string) => void} turn Told of the first bin of another page.
 * @returns {HTMLElement[]}
 */
export function numbers(exact, order, bins, current, turn) {
  const { grid } = exact;
  const [from, to] = [exact.bins[0], exact.bins[exact.bins.length - 1] + 1];
  const columns = order.map((place) => exact.series[place]);
  const dated = grid.start !== undefined;
  const head = columns.map((series) => {
    const unit = unitOf(series) ? ` · ${unitOf(series)}` : "";
    return element("th", { scope: "col", class: "num" }, series.component, element("small", {}, series.measure, unit));
  });
  const body = exact.bins.map((bin, at) =>
    element(
      "tr",
      { "data-bin": bin, "aria-current": bin === current },
      element("th", { scope: "row", class: "num" }, count(bin)),
      dated ? element("td", {}, time(grid, bin)) : null,
      ...columns.map((series) => element("td", { class: "num" }, String(series.values[at] ?? "–"))),
    ),
  );
  const first = element("tr", {}, element("th", { scope: "col", class: "num" }, "Bin"), dated ? element("th", { scope: "col" }, "Begins (UTC)") : null, ...head);
  const name = `Exact values of ${counted(columns.length, "series", "series")}`;
  const table = element("table", { "aria-label": name }, element("thead", {}, first), element("tbody", {}, ...body));
  const button = (/** @type {string} */ text, /** @type {number} */ to) =>
    element("button", { type: "button", class: "button small", "data-turn": text, disabled: to < 0 || to >= bins, onclick: () => turn(to, text) }, text);
  const page = `Page ${count(Math.floor(from / PAGE) + 1)} of ${count(Math.ceil(bins / PAGE))}`;
  return [
    element("div", { class: "table", tabindex: 0, role: "region", "aria-label": name }, table),
    element(
      "div",
      { class: "bar" },
      button("Earlier", from - PAGE),
      element("span", { class: "quiet" }, page),
      button("Later", from + PAGE),
      element("span", { class: "quiet end" }, `Bins ${count(from)} to ${count(to - 1)} of ${count(bins)}`),
    ),
  ];
}

/** @param {ArrayLike<number>} values The least of them that is not missing. */
export function least(values) {
  let found = NaN;
  for (let i = 0; i < values.length; i++) if (!(values[i] >= found) && !Number.isNaN(values[i])) found = values[i];
  return found;
}

/** @param {ArrayLike<number>} values The greatest of them that is not missing. */
export function most(values) {
  let found = NaN;
  for (let i = 0; i < values.length; i++) if (!(values[i] <= found) && !Number.isNaN(values[i])) found = values[i];
  return found;
}

/**
 * Series in all bins around the one looked at, fetched in stretches as they are needed and kept for a while.
 */
export class Stretches {
  /**
   * @param {string} path Address of the series.
   * @param {Parameters<typeof address>[1]} query Which of them.
   * @param {number} count How many they are.
   * @param {number} bins How many bins there are.
   * @param {number} most How many values a stretch may have.
   * @param {() => void} arrived Told when a stretch has come.
   * @param {(error: Error) => void} failed
   */
  constructor(path, query, count, bins, most, arrived, failed) {
    this.path = path;
    this.query = query;
    this.bins = bins;
    this.arrived = arrived;
    this.failed = failed;
    this.size = Math.min(bins, Math.max(16, Math.floor(most / Math.max(1, count))));
    /** @type {Map<number, Chart | null>} */
    this.held = new Map();
    this.last = 0;
    this.control = new AbortController();
  }

  /**
   * The stretch with a bin, or null while it is on its way; the next one is fetched before it is needed.
   * @param {number} bin
   */
  at(bin) {
    const wanted = Math.floor(bin / this.size);
    const ahead = wanted + (bin >= this.last ? 1 : -1);
    this.last = bin;
    const found = this.fetch(wanted);
    if (found && ahead >= 0 && ahead * this.size < this.bins) this.fetch(ahead);
    return found;
  }

  /** @param {number} stretch */
  fetch(stretch) {
    const known = this.held.get(stretch);
    if (known !== undefined) return known;
    this.held.set(stretch, null);
    const from = stretch * this.size;
    const to = Math.min(this.bins, from + this.size);
    askChart(address(this.path, { ...this.query, from, to }), this.control.signal).then(
      (chart) => {
        this.held.set(stretch, chart);
        const complete = [...this.held].filter(([, one]) => one !== null);
        if (complete.length > 8) this.held.delete(complete[0][0]);
        this.arrived();
      },
      (error) => {
        this.held.delete(stretch);
        if (error.name !== "AbortError") this.failed(error);
      },
    );
    return null;
  }

  /** Ends what is on its way. */
  stop() {
    this.control.abort();
  }
}

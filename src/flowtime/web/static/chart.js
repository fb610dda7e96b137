// @ts-check
/** Line charts, one for each unit, over one axis of time: a marker at the bin, a window to zoom. */

import { Absent } from "./app.js";
import { counted, element, nameOf, place, short, step, unitOf } from "./views.js";

/** @typedef {import("./views.js").Chart} Chart */
/** @typedef {import("uplot")} Plot */

const COLOURS = 8;
const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [1, 6], [16, 4], [5, 2, 1, 2]];
/** How high a chart is, by how many there are. */
const HEIGHTS = [340, 230, 190];
/** How ticks of time are written: from this many seconds apart, then what is added where a larger unit begins. */
const DAY = "\n{D} {MMM} {YYYY}";
/** @type {import("uplot").Axis.Values} */
const TIMES = [
  [31536000, "{YYYY}", null, null, null, null, null, null, 1],
  [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", DAY, null, DAY, null, null, null, 1],
  [0.001, "{HH}:{mm}:{ss}.{fff}", DAY, null, DAY, null, null, null, 1],
];

const FONT = "12px system-ui, sans-serif";

/** The most series that are drawn at once. */
export const MOST = 50;

/** The line of the series at a place among those drawn: a colour, then the same with other dashes. @param {number} at */
export const line = (at) => ({ colour: (at % COLOURS) + 1, dash: Math.floor(at / COLOURS) % DASHES.length });

/** @type {Promise<typeof import("uplot")> | null} */
let library = null;

/** Gives the browser a language that there is, where its own is none, as `en-US@posix`: the library takes it as it is. */
function speakable() {
  try {
    new Intl.NumberFormat(navigator.language);
  } catch {
    Object.defineProperty(navigator, "language", { value: "en-GB", configurable: true });
  }
}

/** The charting library, fetched with the first chart. */
function load() {
  speakable();
  library ??= new Promise((resolve, reject) => {
    const script = element("script", { src: new URL("./vendor/uplot.js", import.meta.url).href });
    script.addEventListener("load", () => resolve(/** @type {{uPlot: typeof import("uplot")}} */ (/** @type {unknown} */ (window)).uPlot));
    script.addEventListener("error", () => reject(new Absent()));
    document.head.append(script);
  });
  return library;
}

/**
 * A piece of line to show beside a name: the same colour and dashes as in the chart.
 * @param {number} at
 */
export function swatch(at) {
  const { colour, dash } = line(at);
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("class", `swatch series-${colour}`);
  made.setAttribute("viewBox", "0 0 24 8");
  made.setAttribute("aria-hidden", "true");
  const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
  stroke.setAttribute("d", "M0 4H24");
  stroke.setAttribute("stroke-dasharray", DASHES[dash].join(" "));
  made.append(stroke);
  return made;
}

export class Charts {
  /**
   * @param {HTMLElement} host
   * @param {(bin: number) => void} pick Told of the bin that was clicked.
   * @param {(from: number, to: number) => void} zoom Told of the window that was drawn.
   */
  constructor(host, pick, zoom) {
    this.host = host;
    this.pick = pick;
    this.zoom = zoom;
    /** @type {{plot: Plot, panel: HTMLElement, marker: HTMLElement}[]} */
    this.panels = [];
    /** @type {Chart | null} */
    this.chart = null;
    this.bin = 0;
    this.wide = 0;
    this.size = new ResizeObserver(() => this.resize());
    this.size.observe(host);
    this.theme = new MutationObserver(() => this.again());
    this.theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.again = this.again.bind(this);
    this.dark.addEventListener("change", this.again);
  }

  /** How many points a series can show: two for each pixel, and a few where nothing is shown yet. */
  get points() {
    return Math.max(200, 2 * Math.floor(this.host.clientWidth || 600));
  }

  /**
   * Draws a chart; `styles` says how each of its series looks, by the place in it.
   * @param {Chart} chart
   * @param {number[]} styles
   * @param {string} about What the chart is of, for its name.
   */
  async draw(chart, styles, about) {
    const uPlot = await load();
    this.clear();
    this.chart = chart;
    this.styles = styles;
    this.about = about;
    this.wide = this.host.clientWidth;
    const grid = chart.grid;
    const x = Float64Array.from(chart.bins, (bin) => place(grid, bin));
    const probe = element("i", { hidden: true });
    this.host.append(probe);
    // A canvas takes colours that are resolved, not those of the style sheet.
    const colour = (/** @type {string} */ name) => {
      probe.className = name;
      return getComputedStyle(probe).color;
    };
    /** @type {Map<string, number[]>} */
    const units = new Map();
    chart.series.forEach((series, row) => {
      const unit = unitOf(series);
      units.set(unit, [...(units.get(unit) ?? []), row]);
    });
    // A single bin stands in the middle of its axis.
    /** @type {[number, number]} */
    const range = chart.to - chart.from > 1 ? [x[0], place(grid, chart.to - 1)] : [place(grid, chart.from - 0.5), place(grid, chart.from + 0.5)];
    const height = HEIGHTS[Math.min(units.size, HEIGHTS.length) - 1];
    for (const [unit, rows] of units) {
      const names = rows.slice(0, 5).map((row) => nameOf(chart.series[row])).join(", ");
      const more = rows.length > 5 ? ` and ${rows.length - 5} more` : "";
      const label = `Line chart of ${names}${more}${unit ? ` in ${unit}` : ""}, ${about}. The table has the same numbers.`;
      const panel = element("div", { class: "panel", role: "img", "aria-label": label });
      const measures = [...new Set(rows.map((row) => chart.series[row].measure))];
      const what = measures.length > 4 ? `${measures.slice(0, 3).join(", ")} and ${measures.length - 3} more` : measures.join(", ");
      this.host.append(element("p", { class: "unit" }, element("b", {}, what), unit && ` ${unit}`), panel);
      const series = rows.map((row) => {
        const style = line(styles[row]);
        const stroke = colour(`series-${style.colour}`);
        return { label: nameOf(chart.series[row]), stroke, dash: DASHES[style.dash], width: 1.5, points: { show: x.length <= 2 ? true : undefined, size: 5 } };
      });
      const axis = { stroke: colour("axis-text"), grid: { stroke: colour("axis-line"), width: 1 }, ticks: { show: false }, font: FONT };
      const plot = new uPlot(
        {
          width: panel.clientWidth,
          height,
          pxAlign: false,
          legend: { show: false },
          tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
          cursor: { y: false, drag: { x: true, y: false, setScale: false }, sync: { key: "flowtime" }, points: { show: rows.length <= 20 } },
          scales: { x: { time: grid.start !== undefined, range: () => range } },
          axes: [
            { ...axis, ...(grid.start === undefined ? {} : { values: TIMES, space: 64 }) },
            { ...axis, size: 62, values: (_, ticks) => ticks.map(short) },
          ],
          series: [{}, ...series],
          hooks: {
            setSelect: [(plot) => this.selected(plot)],
            setSize: [() => this.cursor(this.bin)],
          },
        },
        [x, ...rows.map((row) => Array.from(chart.values[row], (value) => (Number.isNaN(value) ? null : value)))],
        panel,
      );
      const marker = element("div", { class: "marker" });
      plot.over.append(marker);
      plot.over.addEventListener("click", () => this.clicked(plot));
      this.panels.push({ plot, panel, marker });
    }
    probe.remove();
    this.cursor(this.bin);
  }

  /** Puts the marker at a bin. @param {number} bin */
  cursor(bin) {
    this.bin = bin;
    const chart = this.chart;
    if (!chart) return;
    const shown = bin >= chart.from && bin < chart.to;
    for (const { plot, marker } of this.panels) {
      marker.hidden = !shown;
      if (shown) marker.style.transform = `translateX(${plot.valToPos(place(chart.grid, bin), "x").toFixed(1)}px)`;
    }
  }

  /** The bin at a place in a plot. @param {Plot} plot @param {number} left */
  at(plot, left) {
    const chart = /** @type {Chart} */ (this.chart);
    const length = chart.grid.start === undefined ? 1 : step(chart.grid);
    const bin = Math.round((plot.posToVal(left, "x") - place(chart.grid, 0)) / length);
    return Math.min(chart.to - 1, Math.max(chart.from, bin));
  }

  /** @param {Plot} plot */
  clicked(plot) {
    const { left = -1 } = plot.cursor;
    if (!this.drawn && left >= 0) this.pick(this.at(plot, left));
    this.drawn = false;
  }

  /** @param {Plot} plot */
  selected(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    this.drawn = true;
    const [from, to] = [this.at(plot, left), this.at(plot, left + width) + 1];
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (to - from >= 2) this.zoom(from, to);
  }

  resize() {
    if (Math.abs(this.host.clientWidth - this.wide) < 2) return;
    this.wide = this.host.clientWidth;
    for (const { plot, panel } of this.panels) plot.setSize({ width: panel.clientWidth, height: plot.height });
  }

  /** Draws the same once more, in the colours of now. */
  again() {
    if (this.chart && this.panels.length) void this.draw(this.chart, this.styles ?? [], this.about ?? "");
  }

  /** Takes away what is drawn. */
  clear() {
    for (const { plot } of this.panels) plot.destroy();
    this.panels = [];
    this.chart = null;
    this.host.replaceChildren();
  }

  /** Ends what it watches. */
  stop() {
    this.clear();
    this.size.disconnect();
    this.theme.disconnect();
    this.dark.removeEventListener("change", this.again);
  }
}

/**
 * What a chart shows, in words.
 * @param {Chart} chart
 */
export function told(chart) {
  const bins = chart.to - chart.from;
  const whole = bins === 1 ? "the one bin" : `all ${counted(bins, "bin")}`;
  const span = bins === chart.grid.bins ? whole : `bins ${chart.from} to ${chart.to - 1} of ${chart.grid.bins}`;
  if (!chart.decimated) return `Every value of ${span}.`;
  const each = bins / (chart.bins.length / 2);
  const bunch = Number.isInteger(each) ? `${each}` : `${Math.floor(each)} or ${Math.ceil(each)}`;
  return `Showing the minimum and maximum of each ${bunch} bins, of ${span}. Zoom in for every value.`;
}

// @ts-check
/** The page of a comparison: two pickers, an overlay with the difference, a graph coloured by differences. */

import { api, complain, root } from "./app.js";
import { Charts, swatch, told } from "./chart.js";
import { FLOOR, Graph, heat, legend, measuresOf } from "./graph.js";
import { Scrubber } from "./scrubber.js";
import { address, askChart, counted, element, instant, nameOf, numbers, PAGE, short, Stretches, time, unitOf, View, whole } from "./views.js";

/** @typedef {import("./views.js").Chart} Chart */
/** @typedef {import("./views.js").Grid} Grid */
/** @typedef {import("./graph.js").Box} Box */
/**
 * One series of both: the baseline's unit and whether the other side has an `other` one, the change of the mean (null
 * where that is from 0), the mean before, the difference of the means, and the largest difference.
 * @typedef {{component: string, measure: string, unit: string | null, other: boolean, equal: boolean, change: number | null, before: number | null, mean: number | null, largest: number | null}} Gap
 */
/**
 * What the page says of the two, the baseline first: ids, names, addresses and grids, the first bin that both have, and how many those are.
 * @typedef {object} Pair
 * @property {string} a
 * @property {string} b
 * @property {[string, string]} names
 * @property {[string, string]} places
 * @property {[Grid, Grid]} grids
 * @property {[number, number]} firsts
 * @property {number} bins
 * @property {boolean} graph Whether the baseline has a model.
 * @property {[string, string, string | null, boolean, boolean, number | null, number | null, number | null, number | null][]} series As in a Gap.
 */

const SHARE = new Intl.NumberFormat("en-GB", { style: "percent", maximumSignificantDigits: 3, signDisplay: "exceptZero" });

// -- pickers ----------------------------------------------------------------------------------------------

/** A field that finds an artifact while its name is typed, and takes its id. */
class ArtifactPicker extends HTMLElement {
  connectedCallback() {
    const [hidden, input] = this.querySelectorAll("input");
    this.hiddenInput = hidden;
    this.input = input;
    this.list = /** @type {HTMLElement} */ (this.querySelector("ul"));
    this.at = -1;
    input.addEventListener("input", () => this.typed());
    input.addEventListener("focus", () => input.select());
    input.addEventListener("click", () => this.list?.hidden && this.find(""));
    input.addEventListener("blur", () => this.close());
    input.addEventListener("keydown", (event) => this.key(event));
    // A press would move the focus away, and close the list before the click.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const option = /** @type {Element} */ (event.target).closest("li[data-id]");
      if (option) this.take(/** @type {HTMLElement} */ (option));
    });
  }

  typed() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => void this.find(this.input?.value ?? ""), 120);
  }

  /** @param {string} text */
  async find(text) {
    this.asking?.abort();
    this.asking = new AbortController();
    const other = [...document.querySelectorAll("artifact-picker")].find((one) => one !== this);
    const kind = other?.querySelector(".kind")?.classList;
    const kinds = !kind ? null : kind.contains("model") ? "model" : "run,telemetry";
    try {
      const found = await api(address("/v1/artifacts", { query: text.trim(), size: 12, kind: kinds }), { signal: this.asking.signal });
      this.list?.replaceChildren(
        ...found.artifacts.map((/** @type {{id: string, name: string, kind: string, created_utc: string}} */ item, /** @type {number} */ place) =>
          element(
            "li",
            { role: "option", id: `${this.list?.id}-${place}`, "data-id": item.id, "aria-selected": "false" },
            element("strong", {}, item.name),
            element("span", { class: "quiet" }, `${item.kind}, ${instant(item.created_utc)}`),
            element("span", { class: "mono quiet" }, item.id),
          ),
        ),
        ...(found.artifacts.length ? [] : [element("li", { role: "option", "aria-disabled": "true", "aria-selected": "false", class: "quiet" }, "Nothing found.")]),
      );
      this.open();
      this.move(text.trim() && found.artifacts.length ? 0 : -1);
    } catch (error) {
      complain(error);
    }
  }

  open() {
    if (!this.list || document.activeElement !== this.input) return;
    this.list.hidden = false;
    this.input?.setAttribute("aria-expanded", "true");
  }

  close() {
    if (this.list) this.list.hidden = true;
    this.input?.setAttribute("aria-expanded", "false");
    this.input?.removeAttribute("aria-activedescendant");
  }

  /** @param {number} place */
  move(place) {
    const options = this.list?.querySelectorAll("li[data-id]") ?? [];
    this.at = options.length ? Math.max(-1, Math.min(options.length - 1, place)) : -1;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === this.at)));
    const current = options[this.at];
    if (current) {
      this.input?.setAttribute("aria-activedescendant", current.id);
      current.scrollIntoView({ block: "nearest" });
    } else this.input?.removeAttribute("aria-activedescendant");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const open = !this.list?.hidden;
    if (event.key === "ArrowDown") open ? this.move((this.at ?? -1) + 1) : void this.find(this.input?.value ?? "");
    else if (event.key === "ArrowUp" && open) this.move((this.at ?? 0) - 1);
    else if (event.key === "Escape" && open) this.close();
    else if (event.key === "Enter") {
      const option = this.list?.querySelectorAll("li[data-id]")[this.at ?? -1];
      if (open && option) this.take(/** @type {HTMLElement} */ (option));
      else return;
    } else return;
    event.preventDefault();
  }

  /** @param {HTMLElement} option */
  take(option) {
    if (this.hiddenInput) this.hiddenInput.value = option.dataset.id ?? "";
    if (this.input) this.input.value = option.querySelector("strong")?.textContent ?? "";
    this.close();
    this.closest("form")?.requestSubmit();
  }
}

// -- comparison -------------------------------------------------------------------------------------------

class CompareView extends View {
  /** @type {Pair} */
  data = JSON.parse(this.get("script").textContent);
  /**
   * Bins count from the first that both have; `over` says whose difference colours the graph, that of the means or of the bin.
   * @type {{series: string, measure: string, bin: number, over: "mean" | "bin", from: number, to: number, show: string}}
   */
  state = { series: "", measure: "", bin: 0, over: "mean", from: 0, to: 0, show: "chart" };
  /** @type {Gap[]} */
  gaps = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  noting;

  connectedCallback() {
    const { data } = this;
    this.gaps = data.series.map(([component, measure, unit, other, equal, change, before, mean, largest]) => ({ component, measure, unit, other, equal, change, before, mean, largest }));
    this.named = new Map(this.gaps.map((gap) => [nameOf(gap), gap]));
    this.state = this.read();
    const pick = (/** @type {number} */ bin) => this.go({ bin, over: "bin" });
    const zoom = (/** @type {number} */ from, /** @type {number} */ to) => this.go({ from, to });
    this.both = new Charts(this.get(".charts.both"), pick, zoom);
    this.gap = new Charts(this.get(".charts.gap"), pick, zoom);
    this.graph = data.graph ? new Graph(this.get(".graph"), (box) => this.picked(box)) : null;
    const first = data.firsts[0];
    this.scrubber = new Scrubber(this.get(".scrubber"), data.grids[0], (bin) => this.go({ bin: bin - first, over: "bin" }, false), () => [first + this.state.from, first + this.state.to]);
    this.ends = new AbortController();
    addEventListener("popstate", () => {
      this.state = this.read();
      if (this.sides) this.scale();
      void this.draw();
    }, { signal: this.ends.signal });
    this.addEventListener("click", (event) => this.clicked(/** @type {HTMLElement} */ (event.target)));
    const filter = this.get("input[name=filter]", HTMLInputElement);
    filter.addEventListener("input", () => this.sift(filter.value));
    if (this.graph) this.select.addEventListener("change", () => this.go({ measure: this.select.value }));
    void this.drawGraph();
    void this.draw();
  }

  disconnectedCallback() {
    this.ends?.abort();
    this.both?.stop();
    this.gap?.stop();
    this.graph?.stop();
    this.scrubber?.stop();
    for (const side of this.sides ?? []) side.stop();
  }

  /** Chooses the measure that colours the graph. */
  get select() {
    return this.get("select[name=measure]", HTMLSelectElement);
  }

  /** The state that the address holds. @returns {CompareView["state"]} */
  read() {
    const query = new URLSearchParams(location.search);
    const { bins, firsts: [first] } = this.data;
    const [from, to] = [whole(query, "from", 0, bins), whole(query, "to", bins, bins)];
    const asked = query.get("series") ?? "";
    const most = this.querySelector("tbody tr");
    const name = this.named?.has(asked) ? asked : (most instanceof HTMLElement && most.dataset.series) || "";
    // The table counts the baseline's bins, the overlay those that both have.
    const bin = Math.max(0, whole(query, "bin", first, first + bins - 1) - first);
    return { series: name, measure: query.get("measure") ?? "", bin, over: query.has("bin") ? "bin" : "mean", from: from < to ? from : 0, to: from < to ? to : bins, show: query.get("show") === "table" ? "table" : "chart" };
  }

  /**
   * Goes to another state.
   * @param {Partial<CompareView["state"]>} change
   * @param {boolean} [step] Whether Back leads here again.
   */
  go(change, step = true) {
    const before = this.state;
    this.state = { ...before, ...change };
    if (step) {
      clearTimeout(this.noting);
      this.noting = undefined;
      history.pushState(null, "", this.here());
    } else
      this.noting ??= setTimeout(() => {
        this.noting = undefined;
        history.replaceState(history.state, "", this.here());
      }, 200);
    const { bin, over, measure, ...drawn } = change;
    if (measure !== undefined && this.sides) this.scale();
    if (Object.keys(drawn).length) void this.draw();
    else this.mark();
  }

  /** The address of the state. */
  here() {
    const { series, measure, bin, over, from, to, show } = this.state;
    const query = new URLSearchParams(location.search);
    const all = from === 0 && to === this.data.bins;
    const now = { series, measure: measure || null, bin: over === "bin" ? bin + this.data.firsts[0] : null, from: all ? null : from, to: all ? null : to, show: show === "table" ? show : null };
    for (const [name, value] of Object.entries(now)) {
      if (value === null || value === undefined) query.delete(name);
      else query.set(name, String(value));
    }
    return `${location.pathname}?${query}`;
  }

  /** @param {HTMLElement} target */
  clicked(target) {
    const told = target.closest("button")?.dataset ?? {};
    if (told.show) this.go({ show: told.show });
    if (told.window) this.go({ from: 0, to: this.data.bins });
    if (told.over === "mean" || told.over === "bin") this.go({ over: told.over });
    if (told.zoom) this.graph?.zoomed(told.zoom);
    const row = /** @type {HTMLElement | null} */ (target.closest("button.row")?.closest("tr") ?? null);
    if (!row) return;
    this.go({ series: row.dataset.series ?? "" });
    this.get("#overlay-title").scrollIntoView({ block: "nearest" });
  }

  /** @param {string} text */
  sift(text) {
    const words = text.toLowerCase().split(/\s+/);
    const rows = /** @type {HTMLElement[]} */ ([...this.querySelectorAll("tbody tr[data-series]")]).filter((row) => !row.closest(".numbers"));
    for (const row of rows) row.hidden = !words.every((word) => (row.dataset.series ?? "").toLowerCase().includes(word));
    const left = rows.filter((row) => !row.hidden).length;
    const none = this.get(".none");
    none.hidden = left === rows.length;
    none.textContent = `${counted(left, "series", "series")} of ${rows.length} shown`;
  }

  // -- overlay --------------------------------------------------------------------------------------------

  /** Which series is drawn, as the API asks for it. */
  get query() {
    const gap = this.named?.get(this.state.series);
    return { baseline: this.data.a, comparison: this.data.b, component: gap?.component ?? "", measure: gap?.measure ?? "" };
  }

  async draw() {
    const { series, from, to, show } = this.state;
    const gap = this.named?.get(series);
    this.press("show", show);
    for (const button of this.querySelectorAll("button.row"))
      button.setAttribute("aria-pressed", String(button.closest("tr")?.dataset.series === series));
    this.asking?.abort();
    this.values?.stop();
    this.values = null;
    this.paged = -1;
    if (!gap) return this.mark();
    const { component, measure } = gap;
    const all = from === 0 && to === this.data.bins;
    const window = all ? {} : { from, to };
    this.get("[data-window]", HTMLButtonElement).disabled = all;
    this.get("[data-twin=json]", HTMLAnchorElement).href = root + address("/v1/compare/series", { ...this.query, ...window });
    this.get("[data-twin=csv]", HTMLAnchorElement).href = root + address("/compare/series.csv", { a: this.data.a, b: this.data.b, component, measure, ...window });
    this.get("#overlay-title").textContent = nameOf(gap);
    for (const part of this.querySelectorAll(".overlay .charts")) /** @type {HTMLElement} */ (part).hidden = show === "table";
    this.get(".numbers").hidden = show !== "table";
    this.values = new Stretches("/v1/compare/series", this.query, 3, this.data.bins, 50_000, () => this.say(), complain);
    this.mark();
    if (show === "table") return undefined;
    const asking = (this.asking = new AbortController());
    try {
      const chart = await askChart(address("/v1/compare/series", { ...this.query, from, to, points: this.both?.points }), asking.signal);
      const about = `${counted(to - from, "bin")} from ${time(chart.grid, from)}`;
      await this.both?.draw(part(chart, [0, 1]), [0, 1], `${this.data.names.join(" and ")}, ${about}`);
      await this.gap?.draw(part(chart, [2]), [2], `${this.data.names[1]} minus ${this.data.names[0]}, ${about}`);
      if (asking.signal.aborted) return undefined;
      this.get(".told").textContent = told(chart);
      this.both?.cursor(this.state.bin);
      this.gap?.cursor(this.state.bin);
    } catch (error) {
      complain(error);
    }
    return undefined;
  }

  /** Shows the bin everywhere. */
  mark() {
    const { bin, show } = this.state;
    this.scrubber?.show(bin + this.data.firsts[0]);
    this.colour();
    this.both?.cursor(bin);
    this.gap?.cursor(bin);
    this.say();
    if (show !== "table") return;
    if (this.paged !== Math.floor(bin / PAGE)) void this.tabulate();
    else for (const row of this.querySelectorAll(".numbers tbody tr")) row.setAttribute("aria-current", String(Number(/** @type {HTMLElement} */ (row).dataset.bin) === bin));
  }

  /** Writes the values in the bin beside the names. */
  say() {
    const { bin } = this.state;
    const stretch = this.values?.at(bin);
    if (!stretch) return;
    this.get(".key").replaceChildren(
      ...[...this.data.names, "difference"].map((name, place) =>
        element("li", { class: `series-${place + 1}` }, swatch(place), element("span", {}, name), element("output", {}, short(stretch.values[place][bin - stretch.from]))),
      ),
    );
  }

  /** Writes the page of the table that has the bin: every value as it is kept. */
  async tabulate() {
    const { bin } = this.state;
    const page = (this.paged = Math.floor(bin / PAGE));
    const [from, to] = [page * PAGE, Math.min(this.data.bins, (page + 1) * PAGE)];
    this.asking?.abort();
    this.asking = new AbortController();
    try {
      const exact = await api(address("/v1/compare/series", { ...this.query, from, to }), { signal: this.asking.signal });
      this.get(".numbers").replaceChildren(...numbers(exact, [0, 1, 2], this.data.bins, bin, (bin) => this.go({ bin, over: "bin" })));
      this.get(".told").textContent = "Every value, as it is kept.";
    } catch (error) {
      complain(error);
    }
  }

  // -- graph ----------------------------------------------------------------------------------------------

  async drawGraph() {
    if (!this.graph) return;
    try {
      const picture = await api(`${this.data.places[0]}/graph`);
      this.graph.draw(picture, "Graph of the baseline");
      const { best, options } = measuresOf(picture.nodes, (box, measure) => this.named?.has(`${box.id}.${measure}`) ?? false);
      this.select.replaceChildren(...options);
      this.best = best;
      this.scale();
    } catch (error) {
      this.graph.fail(error);
    }
  }

  /** The measure that colours the graph. */
  get measure() {
    return this.state.measure || this.best || "";
  }

  /** Colours the graph by another measure, of which both sides are fetched around the bin as they are needed. */
  scale() {
    for (const side of this.sides ?? []) side.stop();
    const { measure } = this;
    this.select.value = measure;
    const held = this.gaps.filter((gap) => gap.measure === measure);
    this.size = Math.max(0, ...held.flatMap(({ before, mean }) => [before ?? 0, (before ?? 0) + (mean ?? 0)]).map(Math.abs));
    this.largest = Math.max(FLOOR * this.size, ...held.map((gap) => Math.abs(gap.largest ?? 0)));
    this.sides = [0, 1].map((side) => new Stretches(`${this.data.places[side]}/series`, { measure }, held.length, this.data.grids[side].bins, 200_000, () => this.colour(), complain));
    this.colour();
  }

  /** Colours the graph: by the change of the means, or by the difference in the bin. */
  colour() {
    if (!this.graph?.boxes.length || !this.sides) return;
    const { over } = this.state;
    this.press("over", over);
    if (over === "mean") this.means(this.measure);
    else this.gapsInBin(this.measure);
  }

  /** @param {string} measure */
  means(measure) {
    const gaps = (this.graph?.boxes ?? []).map(({ box }) => this.named?.get(`${box.id}.${measure}`));
    const end = Math.max(FLOOR, ...gaps.map((gap) => Math.abs(gap?.change ?? 0)));
    this.graph?.colour((_, place) => {
      const gap = gaps[place];
      if (!gap || gap.mean === null) return [-1, ""];
      const said = same(gap);
      if (said) return [-2, said];
      // From 0 there is no share: such a change is coloured by its size among the others.
      if (gap.change === null) return [heat(gap.mean / (this.size || 1), -1, 1), `${signed(gap.mean)} from 0`];
      return [gap.change ? heat(gap.change, -end, end) : -2, SHARE.format(gap.change)];
    }, "gap");
    this.get(".legend").replaceChildren(element("span", { class: "what" }, `${measure}, change of the mean`), ...legend(SHARE.format(-end), SHARE.format(end), "gap"));
  }

  /** @param {string} measure */
  gapsInBin(measure) {
    const values = (this.sides ?? []).map((side, at) => {
      const bin = this.state.bin + this.data.firsts[at];
      const stretch = side.at(bin);
      return stretch && new Map(stretch.series.map((series, row) => [series.component, stretch.values[row][bin - stretch.from]]));
    });
    const [before, after] = values;
    if (!before || !after) return;
    const end = this.largest ?? 0;
    this.graph?.colour((box) => {
      const gap = this.named?.get(`${box.id}.${measure}`);
      if (!gap) return [-1, ""];
      const one = (after.get(box.id) ?? NaN) - (before.get(box.id) ?? NaN);
      const said = same(gap);
      return said ? [-2, said] : [one ? heat(one, -end, end) : -2, signed(one)];
    }, "gap");
    const unit = this.gaps?.find((gap) => gap.measure === measure);
    this.get(".legend").replaceChildren(
      element("span", { class: "what" }, `${measure}${unit && unitOf(unit) ? `, ${unitOf(unit)}` : ""}`),
      ...legend(signed(-end), signed(end), "gap"),
    );
  }

  /** @param {Box} box */
  picked(box) {
    const names = [this.measure, ...Object.keys(box.series)].map((name) => `${box.id}.${name}`).filter((name) => this.named?.has(name));
    this.graph?.mark((one) => one.id === box.id);
    if (names[0]) this.go({ series: names[0] });
  }
}

/** What is said of a series that has no difference to show, empty where it has one. @param {Gap} gap */
const same = (gap) => (gap.other ? "other unit" : gap.equal ? "same" : "");

/** A difference with its sign, short. @param {number} value */
const signed = (value) => `${value > 0 ? "+" : ""}${short(value)}`;

/** Some series of a chart. @param {Chart} chart @param {number[]} rows @returns {Chart} */
function part(chart, rows) {
  return { ...chart, series: rows.map((row) => chart.series[row]), values: rows.map((row) => chart.values[row]) };
}

customElements.define("artifact-picker", ArtifactPicker);
customElements.define("compare-view", CompareView);

// @ts-check
/** The page of a comparison: two pickers, an overlay with the difference, a graph coloured by differences. */

import { api, complain, root } from "./app.js";
import { Charts, swatch, told } from "./chart.js";
import { Graph, HEATS, legend, measuresOf } from "./graph.js";
import { address, askChart, counted, element, nameOf, numbers, PAGE, short, time, View, whole } from "./views.js";

/** @typedef {import("./views.js").Chart} Chart */
/** @typedef {import("./graph.js").Box} Box */
/** @typedef {{component: string, measure: string, unit: string | null, relative: number | null, mean: number | null}} Gap */
/**
 * What the page says of the two: ids, names, how many bins both have, which of the baseline's is the first of them.
 * @typedef {object} Pair
 * @property {string} a
 * @property {string} b
 * @property {[string, string]} names
 * @property {number} bins
 * @property {number} first
 * @property {string} place Address of the baseline.
 * @property {string | null} graph Null where the baseline has no model.
 * @property {[string, string, string | null, number | null, number | null][]} series As in a Gap.
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
            element("span", { class: "quiet" }, `${item.kind}, ${item.created_utc.slice(0, 16).replace("T", " ")}`),
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
  /** @type {{series: string, bin: number, from: number, to: number, show: string}} */
  state = { series: "", bin: 0, from: 0, to: 0, show: "chart" };

  connectedCallback() {
    const { data } = this;
    /** @type {Gap[]} */
    const gaps = data.series.map(([component, measure, unit, relative, mean]) => ({ component, measure, unit, relative, mean }));
    this.named = new Map(gaps.map((gap) => [nameOf(gap), gap]));
    this.state = this.read();
    const pick = (/** @type {number} */ bin) => this.go({ bin });
    const zoom = (/** @type {number} */ from, /** @type {number} */ to) => this.go({ from, to });
    this.both = new Charts(this.get(".charts.both"), pick, zoom);
    this.gap = new Charts(this.get(".charts.gap"), pick, zoom);
    this.graph = data.graph ? new Graph(this.get(".graph"), (box) => this.picked(box)) : null;
    this.ends = new AbortController();
    addEventListener("popstate", () => {
      this.state = this.read();
      void this.draw();
    }, { signal: this.ends.signal });
    this.addEventListener("click", (event) => this.clicked(/** @type {HTMLElement} */ (event.target)));
    const filter = this.get("input[name=filter]", HTMLInputElement);
    filter.addEventListener("input", () => this.sift(filter.value));
    if (this.graph) this.select.addEventListener("change", () => this.colour());
    void this.drawGraph();
    void this.draw();
  }

  disconnectedCallback() {
    this.ends?.abort();
    this.both?.stop();
    this.gap?.stop();
    this.graph?.stop();
  }

  /** Chooses the measure that colours the graph. */
  get select() {
    return this.get("select[name=measure]", HTMLSelectElement);
  }

  read() {
    const query = new URLSearchParams(location.search);
    const { bins, first } = this.data;
    const [from, to] = [whole(query, "from", 0, bins), whole(query, "to", bins, bins)];
    const asked = query.get("series") ?? "";
    const most = this.querySelector("tbody tr");
    const name = this.named?.has(asked) ? asked : (most instanceof HTMLElement && most.dataset.series) || "";
    // The table counts the baseline's bins, the overlay those that both have.
    const bin = Math.max(0, whole(query, "bin", first, first + bins - 1) - first);
    return { series: name, bin, from: from < to ? from : 0, to: from < to ? to : bins, show: query.get("show") === "table" ? "table" : "chart" };
  }

  /** @param {Partial<CompareView["state"]>} change */
  go(change) {
    this.state = { ...this.state, ...change };
    const { series, bin, from, to, show } = this.state;
    const query = new URLSearchParams(location.search);
    const all = from === 0 && to === this.data.bins;
    const now = { series, bin: bin ? bin + this.data.first : null, from: all ? null : from, to: all ? null : to, show: show === "table" ? show : null };
    for (const [name, value] of Object.entries(now)) {
      if (value === null || value === undefined) query.delete(name);
      else query.set(name, String(value));
    }
    history.pushState(null, "", `${location.pathname}?${query}`);
    if (Object.keys(change).join() === "bin" && show === "chart") return this.mark();
    return void this.draw();
  }

  /** @param {HTMLElement} target */
  clicked(target) {
    const told = target.closest("button")?.dataset ?? {};
    if (told.show) this.go({ show: told.show });
    if (told.window) this.go({ from: 0, to: this.data.bins });
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

  async draw() {
    const { series, from, to, show } = this.state;
    const gap = this.named?.get(series);
    this.press("show", show);
    for (const button of this.querySelectorAll("button.row"))
      button.setAttribute("aria-pressed", String(button.closest("tr")?.dataset.series === series));
    if (!gap) return;
    const { component, measure } = gap;
    const all = from === 0 && to === this.data.bins;
    const window = all ? {} : { from, to };
    const query = { baseline: this.data.a, comparison: this.data.b, component, measure };
    this.get("[data-window]", HTMLButtonElement).disabled = all;
    this.get("[data-twin=json]", HTMLAnchorElement).href = root + address("/v1/compare/series", { ...query, ...window });
    this.get("[data-twin=csv]", HTMLAnchorElement).href = root + address("/compare/series.csv", { a: this.data.a, b: this.data.b, component, measure, ...window });
    this.get("#overlay-title").textContent = nameOf(gap);
    for (const part of this.querySelectorAll(".overlay .charts")) /** @type {HTMLElement} */ (part).hidden = show === "table";
    this.get(".numbers").hidden = show !== "table";
    this.asking?.abort();
    this.asking = new AbortController();
    const signal = this.asking.signal;
    try {
      if (show === "table") return await this.tabulate(query, signal);
      const chart = await askChart(address("/v1/compare/series", { ...query, from, to, points: this.both?.points }), signal);
      this.chart = chart;
      const about = `${counted(to - from, "bin")} from ${time(chart.grid, from)}`;
      await this.both?.draw(part(chart, [0, 1]), [0, 1], `${this.data.names.join(" and ")}, ${about}`);
      await this.gap?.draw(part(chart, [2]), [2], `${this.data.names[1]} minus ${this.data.names[0]}, ${about}`);
      this.get(".told").textContent = told(chart);
      this.mark();
      this.exact(query, signal);
    } catch (error) {
      complain(error);
    }
    return undefined;
  }

  /** The values in the bin, and the marker there. */
  mark() {
    const gap = this.named?.get(this.state.series);
    if (!gap) return;
    this.both?.cursor(this.state.bin);
    this.gap?.cursor(this.state.bin);
    const query = { baseline: this.data.a, comparison: this.data.b, component: gap.component, measure: gap.measure };
    this.exact(query, /** @type {AbortController} */ (this.asking).signal);
  }

  /** @param {Record<string, string>} query @param {AbortSignal} signal */
  exact(query, signal) {
    const { bin } = this.state;
    api(address("/v1/compare/series", { ...query, from: bin, to: bin + 1 }), { signal }).then((exact) => {
      const names = [this.data.names[0], this.data.names[1], "difference"];
      const values = exact.series.map((/** @type {{values: (number | null)[]}} */ one) => one.values[0]);
      this.get(".key").replaceChildren(
        ...names.map((name, place) =>
          element("li", { class: `series-${place + 1}` }, swatch(place), element("span", {}, name), element("output", {}, values[place] === null ? "–" : short(values[place]))),
        ),
        element("li", { class: "quiet" }, time(exact.grid, bin)),
      );
    }, complain);
  }

  /** @param {Record<string, string>} query @param {AbortSignal} signal */
  async tabulate(query, signal) {
    const page = Math.floor(this.state.bin / PAGE);
    const [from, to] = [page * PAGE, Math.min(this.data.bins, (page + 1) * PAGE)];
    const exact = await api(address("/v1/compare/series", { ...query, from, to }), { signal });
    this.get(".numbers").replaceChildren(...numbers(exact, [0, 1, 2], this.data.bins, this.state.bin, (bin) => this.go({ bin })));
    this.get(".told").textContent = "Every value, as it is kept.";
    this.exact(query, signal);
  }

  // -- graph ----------------------------------------------------------------------------------------------

  async drawGraph() {
    if (!this.graph) return;
    try {
      const picture = await api(`${this.data.place}/graph`);
      this.graph.draw(picture, "Graph of the baseline");
      const { best, options } = measuresOf(picture.nodes, (box, measure) => this.named?.has(`${box.id}.${measure}`) ?? false);
      this.select.replaceChildren(...options);
      this.select.value = best ?? "";
      this.colour();
    } catch (error) {
      this.graph.fail(error);
    }
  }

  /** Colours the graph by how far the means are apart, relative to the baseline. */
  colour() {
    const measure = this.select.value;
    const shares = (this.graph?.boxes ?? []).map(({ box }) => share(this.named?.get(`${box.id}.${measure}`)));
    const finite = shares.filter((one) => one !== null && Number.isFinite(one)).map((one) => Math.abs(/** @type {number} */ (one)));
    const end = Math.max(0, ...finite);
    this.graph?.colour((_, place) => {
      const one = shares[place];
      if (one === null || one === undefined) return [-1, ""];
      if (!Number.isFinite(one)) return [one > 0 ? HEATS - 1 : 0, one > 0 ? "+ from 0" : "− from 0"];
      return [one === 0 || !end ? -2 : Math.min(HEATS - 1, Math.max(0, Math.floor(((one / end + 1) / 2) * HEATS))), one === 0 ? "same" : SHARE.format(one)];
    }, "gap");
    this.get(".legend").replaceChildren(element("span", { class: "what" }, measure), ...legend(SHARE.format(-end), SHARE.format(end), "gap"));
  }

  /** @param {Box} box */
  picked(box) {
    const measure = this.select.value;
    const names = [measure, ...Object.keys(box.series)].map((name) => `${box.id}.${name}`).filter((name) => this.named?.has(name));
    this.graph?.mark((one) => one.id === box.id);
    if (names[0]) this.go({ series: names[0] });
  }
}

/** How far apart the means of a series are, as a share of the baseline, with its sign; null where it is not compared. @param {Gap | undefined} gap */
function share(gap) {
  if (!gap) return null;
  if (gap.relative === 0) return 0;
  if (gap.relative === null) return gap.mean === null ? null : gap.mean > 0 ? Infinity : -Infinity;
  return gap.relative * ((gap.mean ?? 0) < 0 ? -1 : 1);
}

/** Some series of a chart. @param {Chart} chart @param {number[]} rows @returns {Chart} */
function part(chart, rows) {
  return { ...chart, series: rows.map((row) => chart.series[row]), values: rows.map((row) => chart.values[row]) };
}

customElements.define("artifact-picker", ArtifactPicker);
customElements.define("compare-view", CompareView);

// @ts-check
/** The page of a run or of telemetry: graph, slider, charts and table show one state, which the address holds. */

import { api, complain, root } from "./app.js";
import { Charts, line, MOST, swatch, told } from "./chart.js";
import { Graph, heat, legend, measuresOf, top } from "./graph.js";
import { Scrubber } from "./scrubber.js";
import { address, askChart, count, counted, element, least, most, nameOf, numbers, PAGE, short, Stretches, TELLING, time, unitOf, View, whole } from "./views.js";

/** @typedef {import("./views.js").Chart} Chart */
/** @typedef {import("./views.js").Series} Series */
/** @typedef {import("./graph.js").Box} Box */
/**
 * What the page says of the artifact: its addresses, in the API and as a page, what it has.
 * @typedef {object} Data
 * @property {string} path
 * @property {string} page
 * @property {string} name
 * @property {import("./views.js").Grid} grid
 * @property {[string, string, string | null][]} series Component, measure and unit of each.
 * @property {boolean} graph
 * @property {boolean} topology
 */
/**
 * @typedef {object} State
 * @property {number} bin
 * @property {string[]} series Names of those drawn.
 * @property {string} node The picked component or node.
 * @property {string} measure What colours the graph; `*` for each node's own.
 * @property {string} view `components` or `nodes`.
 * @property {string} depth How many steps around the picked node are shown.
 * @property {number} from
 * @property {number} to
 * @property {string} show `chart` or `table`.
 */

const LISTED = 100;
/** Of a graph with more boxes, the part around one can be shown. */
const MANY = 200;

class RunView extends View {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  noting;

  connectedCallback() {
    /** @type {Data} */
    const data = JSON.parse(this.get("script").textContent);
    this.path = data.path;
    this.page = data.page;
    /** @type {Data["grid"]} */
    this.grid = data.grid;
    /** @type {Series[]} */
    this.series = data.series.map(([component, measure, unit], index) => ({ index, component, measure, unit }));
    /** @type {Map<string, Series>} */
    this.named = new Map(this.series.map((series) => [nameOf(series), series]));
    this.topology = data.topology;
    this.about = data.name;
    this.chosen = new URLSearchParams(location.search).has("series");
    /** @type {State} */
    this.state = this.read();
    this.charts = new Charts(this.get(".charts"), (bin) => this.go({ bin }, true), (from, to) => this.go({ from, to }, true));
    this.graph = data.graph ? new Graph(this.get(".graph"), (box, add) => this.picked(box, add)) : null;
    this.scrubber = new Scrubber(this.get(".scrubber"), this.grid, (bin) => this.go({ bin }, false), () => [this.state.from, this.state.to]);
    this.ends = new AbortController();
    this.wire();
    this.choose();
    void this.drawGraph();
    void this.drawSeries();
    this.scrub();
    addEventListener("popstate", () => this.back(), { signal: this.ends.signal });
  }

  disconnectedCallback() {
    this.ends?.abort();
    this.charts?.stop();
    this.graph?.stop();
    this.colours?.stop();
    this.values?.stop();
    this.scrubber?.stop();
  }

  // -- state ------------------------------------------------------------------------------------------------

  /** The state that the address holds. @returns {State} */
  read() {
    const query = new URLSearchParams(location.search);
    const bins = this.grid.bins;
    const [from, to] = [whole(query, "from", 0, bins), whole(query, "to", bins, bins)];
    const sound = from < to;
    return {
      bin: whole(query, "bin", 0, bins - 1),
      series: query.has("series") ? query.getAll("series").filter((name) => this.named.has(name)) : this.first(query.get("node")),
      node: query.get("node") ?? "",
      measure: query.get("measure") ?? "",
      view: query.get("view") === "nodes" || !this.topology ? "nodes" : "components",
      depth: query.get("depth") ?? "",
      from: sound ? from : 0,
      to: sound ? to : bins,
      show: query.get("show") === "table" ? "table" : "chart",
    };
  }

  /** What is drawn before anything was picked: one measure of the first components. @param {string | null} node */
  first(node) {
    if (node) {
      const own = this.series.filter((series) => series.component === node);
      // Of a node that is no component the graph knows the series, once it is there.
      if (own.length || this.querySelector(".graph")) return own.slice(0, 12).map(nameOf);
    }
    const measure = TELLING.find((name) => this.series.some((series) => series.measure === name));
    const chosen = measure ? this.series.filter((series) => series.measure === measure) : this.series;
    return chosen.slice(0, 6).map(nameOf);
  }

  /** The address of the state. */
  here() {
    const { bin, series, node, measure, view, depth, from, to, show } = this.state;
    const all = from === 0 && to === this.grid.bins;
    return address(location.pathname, {
      bin: bin || null,
      node,
      measure,
      view: view === "nodes" && this.topology ? view : null,
      depth,
      from: all ? null : from,
      to: all ? null : to,
      show: show === "table" ? show : null,
      series: this.chosen ? (series.length ? series : [" "]) : null,
    });
  }

  /**
   * Goes to another state.
   * @param {Partial<State>} change
   * @param {boolean} step Whether Back leads here again.
   */
  go(change, step) {
    const before = this.state;
    this.state = { ...before, ...change };
    if (change.series) this.chosen = true;
    if (step) {
      clearTimeout(this.noting);
      this.noting = undefined;
      history.pushState(null, "", this.here());
    } else this.note();
    this.show(before);
  }

  /** Puts the state into the address, at most a few times a second, as browsers want it. */
  note() {
    this.noting ??= setTimeout(() => {
      this.noting = undefined;
      history.replaceState(history.state, "", this.here());
    }, 200);
  }

  back() {
    const before = this.state;
    this.chosen = new URLSearchParams(location.search).has("series");
    this.state = this.read();
    this.show(before);
  }

  /** Shows what has changed since another state. @param {State} before */
  show(before) {
    const now = this.state;
    const changed = (/** @type {(keyof State)[]} */ ...names) => names.some((name) => String(before[name]) !== String(now[name]));
    if (changed("view", "depth") || (now.depth && changed("node"))) void this.drawGraph();
    else if (changed("measure")) void this.scale();
    if (changed("node")) this.mark();
    if (changed("series", "from", "to", "show")) void this.drawSeries();
    if (changed("bin")) this.scrub();
  }

  // -- controls ---------------------------------------------------------------------------------------------

  /** Chooses the measure that colours the graph. */
  get measures() {
    return this.get("select[name=measure]", HTMLSelectElement);
  }

  /** Chooses how much of the graph is shown. */
  get depths() {
    return this.get("select[name=depth]", HTMLSelectElement);
  }

  wire() {
    this.addEventListener("click", (event) => {
      const button = /** @type {HTMLElement} */ (event.target).closest("button");
      const told = button?.dataset ?? {};
      if (told.view) this.go({ view: told.view, node: "", depth: "", measure: "" }, true);
      if (told.show) this.go({ show: told.show }, true);
      if (told.zoom) this.graph?.zoomed(told.zoom);
      if (told.window) this.window(told.window);
    });
    this.get("#series-find").addEventListener("input", () => this.list());
    if (this.graph) this.wireGraph(this.graph);
  }

  /** @param {Graph} graph */
  wireGraph(graph) {
    const { measures, depths } = this;
    measures.addEventListener("change", () => this.go({ measure: measures.value }, true));
    depths.addEventListener("change", () => this.around(depths.value));
    const find = this.get("input[name=find]", HTMLInputElement);
    find.addEventListener("input", () => {
      const found = graph.find(find.value);
      this.get(".said").textContent = find.value.trim() ? `${found ? counted(found, this.noun ?? "node") : `No ${this.noun ?? "node"}`} found` : this.said();
    });
    find.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !graph.boxes.length) return;
      event.preventDefault();
      graph.rove(graph.current, true);
    });
  }

  /** @param {string} way */
  window(way) {
    const { bin, from, to } = this.state;
    const bins = this.grid.bins;
    if (way === "all") return this.go({ from: 0, to: bins }, true);
    const length = Math.min(bins, Math.max(2, Math.round((to - from) * (way === "in" ? 0.5 : 2))));
    const start = Math.max(0, Math.min(bins - length, way === "in" ? bin - Math.floor(length / 2) : from - Math.floor((length - (to - from)) / 2)));
    return this.go({ from: start, to: start + length }, true);
  }

  /** @param {string} depth */
  around(depth) {
    const node = this.state.node || this.graph?.boxes[this.graph.current]?.box.id || "";
    this.go({ depth, node }, true);
  }

  // -- graph ------------------------------------------------------------------------------------------------

  async drawGraph() {
    if (!this.graph) return;
    const { view, depth, node } = this.state;
    this.colours?.stop();
    this.colours = null;
    const asked = (this.asked = {});
    try {
      const near = depth && node ? { around: node, depth } : {};
      const picture = await api(address(`${this.path}/graph`, { nodes: view === "nodes" ? "true" : null, ...near }));
      if (asked !== this.asked) return;
      this.noun = picture.noun;
      // A model without a topology has nothing but nodes to draw.
      if (view === "components" && picture.noun === "node") this.get(".segments:has([data-view])").hidden = true;
      this.graph.draw(picture, `Graph of ${this.about}`);
      const around = this.get(".around");
      around.hidden = picture.total <= MANY && !depth;
      this.depths.value = depth;
      this.get("#graph-names").replaceChildren(...picture.nodes.slice(0, 1000).map((/** @type {Box} */ box) => element("option", { value: box.title })));
      this.press("view", view);
      this.offer(picture.nodes);
      if (node) this.arrive(node);
      this.mark();
      await this.scale();
    } catch (error) {
      this.graph.fail(error);
    }
  }

  /** Shows a node that the address names, with its series where it names none. @param {string} node */
  arrive(node) {
    this.graph?.show(node);
    const box = this.graph?.boxes.find((one) => one.box.id === node)?.box;
    if (!box || this.chosen || this.state.series.length) return;
    this.state = { ...this.state, series: this.own(box).slice(0, MOST) };
    void this.drawSeries();
  }

  /** The names of a box's series. @param {Box} box */
  own(box) {
    return Object.values(box.series).sort((a, b) => a - b).map((index) => nameOf(this.series[index]));
  }

  /** Offers the measures that can colour the graph. @param {Box[]} boxes */
  offer(boxes) {
    const { best, options } = measuresOf(boxes);
    const nodes = this.noun === "node";
    this.best = nodes && options.length > 1 ? "*" : best;
    if (nodes) options.unshift(element("option", { value: "*" }, "each its own range"));
    this.measures.replaceChildren(...options);
  }

  /** The measure that colours the graph. */
  get measure() {
    return this.state.measure || this.best || "*";
  }

  /** The place in the catalog of the series that colours a box, or -1. @param {Box} box */
  colouring(box) {
    const own = this.measure === "*" ? (TELLING.find((name) => name in box.series) ?? Object.keys(box.series)[0]) : this.measure;
    return box.series[own] ?? -1;
  }

  /** Asks for the range of what colours the graph, then colours it. */
  async scale() {
    const graph = this.graph;
    if (!graph?.boxes.length) return;
    this.measures.value = this.measure;
    this.colours?.stop();
    this.colours = null;
    const places = graph.boxes.map(({ box }) => this.colouring(box));
    const known = [...new Set(places.filter((place) => place >= 0))];
    const own = this.measure === "*";
    if (!known.length) return this.paint();
    const query = known.length <= 200 ? { index: known } : own ? {} : { measure: this.measure };
    const held = known.length <= 200 ? known.length : own ? this.series.length : this.series.filter((one) => one.measure === this.measure).length;
    this.colours = new Stretches(`${this.path}/series`, query, held, this.grid.bins, 400_000, () => this.paint(), complain);
    const colours = this.colours;
    colours.at(this.state.bin);
    try {
      const range = await askChart(address(`${this.path}/series`, { ...query, points: 2 }), colours.control.signal);
      const rows = new Map(range.series.map((series, row) => [series.index, row]));
      const used = places.map((place) => rows.get(place) ?? -1);
      const ends = used.map((row) => (row < 0 ? [NaN, NaN] : [least(range.values[row]), most(range.values[row])]));
      if (!own) {
        const finite = ends.filter(([low]) => !Number.isNaN(low));
        ends.fill([least(finite.map(([low]) => low)), most(finite.map(([, high]) => high))]);
      }
      for (const [at, [low, high]] of ends.entries()) ends[at] = [low, top(low, high)];
      this.scaled = { colours, used, ends, unit: own ? null : common(range.series) };
      this.explain();
      this.paint();
    } catch (error) {
      complain(error);
    }
    return undefined;
  }

  /** The scale of the colours in words. */
  explain() {
    const { ends, unit } = /** @type {{ends: number[][], unit: string | null}} */ (this.scaled);
    const own = this.measure === "*";
    const [low, high] = ends.find(([value]) => !Number.isNaN(value)) ?? [NaN, NaN];
    const name = own ? "Each node from its least value to its greatest, which is at least 10 % away" : `${this.measure}${unit ? `, ${unit}` : ""}`;
    this.get(".legend").replaceChildren(
      element("span", { class: "what" }, name),
      ...(own ? legend("least", "greatest") : legend(short(low), short(high))),
      element("span", { class: "none" }, "no value"),
    );
  }

  /** Colours the graph as it is in the bin. */
  paint() {
    const { graph, colours, scaled } = this;
    if (!graph) return;
    if (!colours || scaled?.colours !== colours) return graph.colour(() => [-1, ""]);
    const stretch = colours.at(this.state.bin);
    if (!stretch) return;
    const at = this.state.bin - stretch.from;
    graph.colour((_, place) => {
      const row = scaled.used[place];
      if (row === undefined || row < 0) return [-1, ""];
      const value = stretch.values[row][at];
      return [heat(value, scaled.ends[place][0], scaled.ends[place][1]), short(value)];
    });
  }

  /** @param {Box} box @param {boolean} add */
  picked(box, add) {
    const own = this.own(box);
    const series = add ? [...new Set([...this.state.series, ...own])].slice(0, MOST) : own.slice(0, MOST);
    this.go({ node: box.id, ...(series.length ? { series } : {}) }, true);
  }

  mark() {
    this.graph?.mark((box) => box.id === this.state.node);
    if (this.graph) this.get(".said").textContent = this.said();
  }

  /** What is said of the picked node. */
  said() {
    const box = this.graph?.boxes.find((one) => one.box.id === this.state.node)?.box;
    if (!box) return this.graph?.boxes.length ? `Pick a ${this.noun} to draw its series; with Shift, besides the others.` : "";
    const formulas = Object.entries(box.formulas ?? {}).map(([key, formula]) => `; ${key} = ${formula}`).join("");
    return `${box.title}${box.title === box.id ? "" : ` (${box.id})`}, ${box.kind}: ${counted(Object.keys(box.series).length, "series", "series")}${box.formula ? ` = ${box.formula}` : formulas}`;
  }

  // -- series -----------------------------------------------------------------------------------------------

  /** The series that are drawn. */
  get drawn() {
    return /** @type {Series[]} */ (this.state.series.slice(0, MOST).map((name) => this.named.get(name)));
  }

  async drawSeries() {
    const { from, to, show } = this.state;
    const drawn = this.drawn;
    this.press("show", show);
    this.get(".window").hidden = show === "table";
    this.get(".charts").hidden = show === "table";
    this.get(".numbers").hidden = show !== "table";
    this.get("[data-window=all]", HTMLButtonElement).disabled = from === 0 && to === this.grid.bins;
    this.choose();
    const query = { index: drawn.map((series) => series.index) };
    const all = from === 0 && to === this.grid.bins ? {} : { from, to };
    this.get("[data-twin=json]", HTMLAnchorElement).href = root + address(`${this.path}/series`, { ...query, ...all });
    this.get("[data-twin=csv]", HTMLAnchorElement).href = root + address(`${this.page}/series.csv`, { ...query, ...all });
    this.get(".twins").hidden = !drawn.length;
    this.loading?.abort();
    this.values?.stop();
    this.values = null;
    if (!drawn.length) {
      this.charts?.clear();
      this.get(".charts").replaceChildren(element("p", { class: "empty" }, "Pick series from the list, or a box in the graph."));
      this.get(".numbers").replaceChildren();
      this.get(".told").textContent = "";
      return;
    }
    const values = () => {
      this.values = new Stretches(`${this.path}/series`, query, drawn.length, this.grid.bins, 50_000, () => this.say(), complain);
      this.say();
    };
    if (show === "table") {
      values();
      return this.tabulate();
    }
    const loading = (this.loading = new AbortController());
    try {
      const wanted = { ...query, from, to, points: this.charts?.points };
      const chart = await askChart(address(`${this.path}/series`, wanted), loading.signal);
      const places = new Map(drawn.map((series, place) => [series.index, place]));
      if (this.charts) this.charts.bin = this.state.bin;
      await this.charts?.draw(chart, chart.series.map((series) => places.get(series.index) ?? 0), `${counted(to - from, "bin")} from ${time(this.grid, from)}`);
      if (loading.signal.aborted) return;
      this.get(".told").textContent = told(chart);
      values();
    } catch (error) {
      complain(error);
    }
  }

  /** Lists what is drawn, and what could be. */
  choose() {
    const drawn = this.drawn;
    this.get(".choice h3 span").textContent = this.state.series.length > MOST ? `the first ${MOST} of ${count(this.state.series.length)}` : `${drawn.length} of at most ${MOST}`;
    const amounts = drawn.map(() => element("output", { class: "amount" }));
    this.amounts = amounts;
    this.get(".drawn").replaceChildren(
      ...drawn.map((series, place) =>
        element(
          "li",
          { class: `series-${line(place).colour}` },
          swatch(place),
          element("span", { class: "name" }, series.component, element("small", {}, series.measure, unitOf(series) ? ` · ${unitOf(series)}` : "")),
          amounts[place],
          element("button", { type: "button", class: "button bare small", "aria-label": `Take ${nameOf(series)} away`, onclick: () => this.toggle(nameOf(series)) }, "×"),
        ),
      ),
    );
    this.list();
    this.say();
  }

  /** Lists the series that the search finds. */
  list() {
    const words = this.get("#series-find", HTMLInputElement).value.toLowerCase().split(/\s+/);
    const found = this.series.filter((series) => {
      const text = `${nameOf(series)} ${series.unit ?? ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const drawn = new Set(this.state.series);
    const full = this.drawn.length >= MOST;
    this.get(".found").replaceChildren(
      ...found.slice(0, LISTED).map((series) => {
        const name = nameOf(series);
        const box = element("input", { type: "checkbox", checked: drawn.has(name), disabled: full && !drawn.has(name), onchange: () => this.toggle(name) });
        return element("li", {}, element("label", { class: "check" }, box, element("span", { class: "clip", title: name }, name)));
      }),
    );
    this.get(".more").textContent =
      found.length > LISTED ? `${count(found.length - LISTED)} more; search to narrow them down` : found.length ? "" : "No series has that in its name.";
  }

  /** @param {string} name */
  toggle(name) {
    const { series } = this.state;
    const at = document.activeElement instanceof HTMLInputElement ? name : null;
    this.go({ series: series.includes(name) ? series.filter((one) => one !== name) : [...series, name] }, true);
    // The list was made anew: the keyboard stays where it was.
    if (at) {
      const boxes = /** @type {HTMLInputElement[]} */ ([...this.querySelectorAll(".found input")]);
      boxes.find((box) => box.parentElement?.textContent === at)?.focus({ preventScroll: true });
    }
  }

  /** Writes the values in the bin beside the names. */
  say() {
    const stretch = this.values?.at(this.state.bin);
    if (!stretch || !this.amounts) return;
    const rows = new Map(stretch.series.map((series, row) => [series.index, row]));
    this.drawn.forEach((series, place) => {
      const row = rows.get(series.index);
      if (row !== undefined && this.amounts?.[place]) this.amounts[place].textContent = short(stretch.values[row][this.state.bin - stretch.from]);
    });
  }

  /** Writes the page of the table that has the bin: every value as it is kept. */
  async tabulate() {
    const drawn = this.drawn;
    const { bins } = this.grid;
    const page = Math.floor(this.state.bin / PAGE);
    const [from, to] = [page * PAGE, Math.min(bins, (page + 1) * PAGE)];
    this.paged = page;
    this.loading?.abort();
    this.loading = new AbortController();
    try {
      const query = { index: drawn.map((series) => series.index), from, to };
      const exact = await api(address(`${this.path}/series`, query), { signal: this.loading.signal });
      const places = new Map(exact.series.map((/** @type {Series} */ series, /** @type {number} */ place) => [series.index, place]));
      const order = drawn.map((series) => places.get(series.index));
      this.get(".numbers").replaceChildren(...numbers(exact, order, bins, this.state.bin, (bin, button) => this.turn(button, bin)));
      if (this.turned) /** @type {HTMLElement | null} */ (this.querySelector(`[data-turn=${this.turned}]:enabled`))?.focus();
      this.turned = null;
      this.get(".told").textContent = "Every value, as it is kept.";
    } catch (error) {
      complain(error);
    }
  }

  /** @param {string} button @param {number} bin */
  turn(button, bin) {
    this.turned = button;
    this.go({ bin }, true);
  }

  // -- the bin ----------------------------------------------------------------------------------------------

  /** Shows the bin everywhere. */
  scrub() {
    const { bin, show } = this.state;
    this.scrubber?.show(bin);
    this.paint();
    this.charts?.cursor(bin);
    this.say();
    if (show !== "table") return;
    if (this.paged !== Math.floor(bin / PAGE)) void this.tabulate();
    else for (const row of this.querySelectorAll(".numbers tbody tr")) row.setAttribute("aria-current", String(Number(/** @type {HTMLElement} */ (row).dataset.bin) === bin));
  }
}

/** The unit of all these series, or nothing where they have several. @param {Series[]} series */
function common(series) {
  const found = new Set(series.map(unitOf));
  return found.size === 1 ? [...found][0] : "";
}

customElements.define("run-view", RunView);

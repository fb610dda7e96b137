// @ts-check
/** The page of a model: its graph leads to its nodes, its parameters to models derived from it. */

import { api, complain, Problem, root, tell } from "./app.js";
import { Graph } from "./graph.js";
import { address, counted, View } from "./views.js";

class ModelView extends View {
  /** @type {string | undefined} The component whose nodes are shown. */
  component;

  connectedCallback() {
    this.reference = this.dataset.id ?? "";
    /** @type {HTMLElement[]} */
    this.nodes = [...this.querySelectorAll(".nodes li")].map((node) => /** @type {HTMLElement} */ (node));
    this.graph = new Graph(this.get(".graph"), (box) => this.picked(box));
    this.filter.addEventListener("input", () => this.sift((node) => this.words(node)));
    this.addEventListener("click", (event) => {
      const told = /** @type {HTMLElement} */ (event.target).closest("button")?.dataset ?? {};
      if (told.view) void this.draw(told.view);
      if (told.zoom) this.graph?.zoomed(told.zoom);
    });
    this.deriving();
    this.ends = new AbortController();
    addEventListener("hashchange", () => this.arrive(), { signal: this.ends.signal });
    void this.draw(this.querySelector("[data-view]") ? "components" : "nodes");
    this.arrive();
  }

  disconnectedCallback() {
    this.ends?.abort();
    this.graph?.stop();
  }

  get filter() {
    return this.get("input[name=filter]", HTMLInputElement);
  }

  /** @param {string} view */
  async draw(view) {
    this.press("view", view);
    try {
      const picture = await api(address(`/v1/models/${encodeURIComponent(this.reference ?? "")}/graph`, { nodes: view === "nodes" ? "true" : null }));
      // A model without a topology has nothing but nodes to draw.
      if (view === "components" && picture.noun === "node") this.get(".segments:has([data-view])").hidden = true;
      this.graph?.draw(picture, `Graph of ${this.dataset.name}`);
      this.mark();
    } catch (error) {
      this.graph?.fail(error);
    }
  }

  /** A box leads to its node, or shows the nodes of its component. @param {import("./graph.js").Box} box */
  picked(box) {
    if (!box.semantics) {
      location.hash = `node-${box.id}`;
      return;
    }
    this.component = this.component === box.id ? undefined : box.id;
    this.filter.value = "";
    this.sift((node) => !this.component || JSON.parse(node.dataset.components ?? "[]").includes(this.component));
    this.mark();
  }

  mark() {
    const id = decodeURIComponent(location.hash.slice("#node-".length));
    this.graph?.mark((box) => box.id === (box.semantics ? this.component : id));
  }

  /** Whether a node has all words of the filter. @param {HTMLElement} node */
  words(node) {
    const words = this.filter.value.toLowerCase().split(/\s+/);
    this.component = undefined;
    return words.every((word) => (node.dataset.find ?? "").includes(word));
  }

  /** @param {(node: HTMLElement) => boolean} shows */
  sift(shows) {
    const nodes = this.nodes ?? [];
    for (const node of nodes) node.hidden = !shows(node);
    const left = nodes.filter((node) => !node.hidden).length;
    const of = this.component ? ` of ${this.component}` : "";
    this.get(".none").textContent = left === nodes.length ? "" : `${counted(left, "node")}${of} shown of ${nodes.length}`;
    this.mark();
  }

  /** Shows the node that the address names, also where the filter hid it. */
  arrive() {
    const node = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!node || !this.nodes?.includes(node)) return;
    if (node.hidden) {
      this.component = undefined;
      this.filter.value = "";
      this.sift(() => true);
    }
    node.scrollIntoView({ block: "center" });
    node.focus({ preventScroll: true });
    this.mark();
  }

  /** Lets changed parameters derive a model. */
  deriving() {
    if (!this.querySelector("form.derive button")) return;
    const form = this.get("form.derive");
    const button = this.get("form.derive button", HTMLButtonElement);
    const inputs = () => /** @type {HTMLInputElement[]} */ ([...form.querySelectorAll("input[name]")]);
    const changed = () => inputs().filter((input) => input.value.trim() !== input.dataset.before);
    form.addEventListener("input", () => {
      const some = changed();
      for (const input of inputs()) input.classList.toggle("changed", some.includes(input));
      button.disabled = !some.length;
      button.textContent = some.length ? `Derive with ${counted(some.length, "change")}` : "Derive";
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const wrong = this.get("form.derive .wrong");
      wrong.hidden = true;
      button.disabled = true;
      const parameters = Object.fromEntries(changed().map((input) => [input.name, meant(input.value)]));
      const name = this.get("form.derive [data-name]", HTMLInputElement).value.trim() || null;
      try {
        const made = await api(`/v1/models/${encodeURIComponent(this.reference ?? "")}/derive`, { method: "POST", json: { name, parameters } });
        tell(`Derived from ${this.dataset.name}.`, { kind: "good" });
        location.assign(`${root}/artifacts/${made.reference}`);
      } catch (error) {
        if (!(error instanceof Problem)) return complain(error);
        wrong.textContent = [error.message, ...error.body.errors.map((one) => one.message)].join(" ");
        wrong.hidden = false;
      }
      button.disabled = false;
      return undefined;
    });
  }
}

/** A parameter as a person writes it: JSON, else the text itself. @param {string} text */
function meant(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text.trim();
  }
}

customElements.define("model-view", ModelView);

// @ts-check
/** The text of a model: line numbers, problems at their lines while typing; saved as the next version of a model, or as a
 * new one. */

import { api, complain, Problem, root, tell } from "./app.js";
import { address, counted, element, instant, View } from "./views.js";

/** Milliseconds of rest after which the text is checked. */
const REST = 350;
const INDENT = "  ";
const YAML = { "Content-Type": "application/yaml" };

/** @typedef {{line?: number, column?: number, code: string, message: string, hint?: string, severity?: string}} Remark */

class ModelEditor extends View {
  lines = 0;
  /** Whether Tab leaves the text, as it does after Escape. */
  leave = false;

  connectedCallback() {
    /** @type {HTMLTextAreaElement} */
    this.text = this.get("textarea", HTMLTextAreaElement);
    this.saved = this.text.value;
    /** @type {Remark[]} */
    this.remarks = [];
    this.text.addEventListener("input", () => this.typed());
    this.text.addEventListener("scroll", () => this.scrolled());
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.get("form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.save();
    });
    this.ends = new AbortController();
    const signal = this.ends.signal;
    addEventListener("beforeunload", (event) => this.changed && event.preventDefault(), { signal });
    if (this.dataset.update) addEventListener("focus", () => this.newer().catch(complain), { signal });
    else this.begins(signal);
    addEventListener("keydown", (event) => {
      if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      void this.save();
    }, { signal });
    this.number();
    void this.check();
  }

  /** A new model: its text can come from a file, or from an example. @param {AbortSignal} signal */
  begins(signal) {
    const file = this.get("[type=file]", HTMLInputElement);
    const example = this.get("template", HTMLTemplateElement);
    this.get("[data-example]").addEventListener("click", () => this.put(example.content.textContent ?? ""));
    file.addEventListener("change", () => void this.take(file.files?.[0]));
    for (const name of ["dragenter", "dragover"])
      addEventListener(name, (event) => { event.preventDefault(); this.classList.add("over"); }, { signal });
    for (const name of ["dragleave", "drop"])
      addEventListener(name, (event) => { event.preventDefault(); this.classList.remove("over"); }, { signal });
    addEventListener("drop", (event) => void this.take(event.dataTransfer?.files[0]), { signal });
  }

  /** @param {File | undefined} file */
  async take(file) {
    if (!file) return;
    this.put(await file.text());
    const name = this.get("[name=name]", HTMLInputElement);
    if (!name.value) name.value = file.name.replace(/\.[^.]*$/, "");
  }

  /** Takes another text in place of all. @param {string} text */
  put(text) {
    this.text.focus();
    this.write(0, this.text.value.length, text);
    this.text.setSelectionRange(0, 0);
    this.text.scrollTop = 0;
    clearTimeout(this.resting);
    void this.check();
  }

  disconnectedCallback() {
    this.ends?.abort();
    clearTimeout(this.resting);
  }

  get changed() {
    return !this.leaving && this.text.value !== this.saved;
  }

  typed() {
    this.number();
    this.place();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => void this.check(), REST);
  }

  /** Writes the line numbers. */
  number() {
    const lines = this.text.value.split("\n").length;
    if (lines === this.lines) return;
    this.lines = lines;
    this.get(".gutter").replaceChildren(...Array.from({ length: lines }, (_, line) => element("span", {}, String(line + 1))));
    this.show();
  }

  scrolled() {
    this.get(".gutter").style.transform = `translateY(${-this.text.scrollTop}px)`;
    this.get(".remarks").style.transform = `translate(${-this.text.scrollLeft}px, ${-this.text.scrollTop}px)`;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape") {
      this.leave = true;
      return;
    }
    const leaves = this.leave;
    this.leave = event.key === "Shift" && leaves;
    if (event.key !== "Tab" || leaves || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const { selectionStart: from, selectionEnd: to, value } = this.text;
    const first = value.lastIndexOf("\n", from - 1) + 1;
    if (!event.shiftKey && from === to) return this.write(from, to, INDENT);
    const lines = value.slice(first, to).split("\n");
    const moved = lines.map((line) => (event.shiftKey ? line.replace(/^ {1,2}/, "") : INDENT + line));
    this.write(first, to, moved.join("\n"));
    this.text.setSelectionRange(from === to ? Math.max(first, to + moved.join("\n").length - (to - first)) : first, first + moved.join("\n").length);
    return undefined;
  }

  /** Writes as typing does, so that undoing works. @param {number} from @param {number} to @param {string} text */
  write(from, to, text) {
    this.text.setSelectionRange(from, to);
    if (!(text ? document.execCommand("insertText", false, text) : document.execCommand("delete"))) {
      this.text.setRangeText(text, from, to, "end");
      this.typed();
    }
  }

  /** Asks what is wrong with the text. */
  async check() {
    this.checking?.abort();
    this.checking = new AbortController();
    const text = this.text.value;
    if (!text.trim() && !this.dataset.update) return this.plain("Nothing to check yet.");
    try {
      const told = await api("/models/check", { method: "POST", body: text, headers: YAML, signal: this.checking.signal });
      this.tell(told.errors, told.warnings, told.count, `${this.dataset.update ? (this.changed ? "Changed; " : "Not changed; ") : ""}${counted(told.nodes, "node")}, `);
    } catch (error) {
      complain(error);
    }
    return undefined;
  }

  /** Says a word of the text that is neither good nor bad. @param {string} said */
  plain(said) {
    this.remarks = [];
    this.get(".state").textContent = said;
    this.get(".state").className = "state";
    this.show();
  }

  /**
   * Says how the text is.
   * @param {Remark[]} errors
   * @param {Remark[]} warnings
   * @param {number} count
   * @param {string} sound What is said before, where nothing is wrong.
   */
  tell(errors, warnings, count, sound) {
    this.remarks = [...errors, ...warnings];
    const state = this.get(".state");
    const said = errors.length ? `${counted(Math.max(1, count), "problem")} to solve.` : `${sound}${warnings.length ? counted(warnings.length, "warning") : "nothing wrong"}.`;
    if (state.textContent !== said) state.textContent = said;
    state.className = `state ${errors.length ? "bad" : warnings.length ? "warn" : "good"}`;
    this.show();
  }

  /** Shows the remarks: marks in the margin, a list with everything, the text beside the lines. */
  show() {
    const numbers = this.get(".gutter").children;
    for (const number of numbers) number.className = "";
    const first = /** @type {Map<number, Remark>} */ (new Map());
    for (const remark of this.remarks ?? []) {
      if (!remark.line) continue;
      if (numbers[remark.line - 1]) numbers[remark.line - 1].className = remark.severity === "warning" ? "warn" : "bad";
      if (!first.has(remark.line)) first.set(remark.line, remark);
    }
    this.first = first;
    this.text.setAttribute("aria-invalid", String((this.remarks ?? []).some((remark) => remark.severity !== "warning")));
    const list = this.get(".problems");
    list.hidden = !this.remarks?.length;
    list.replaceChildren(
      ...(this.remarks ?? []).map((remark) =>
        element(
          "li",
          { class: remark.severity === "warning" ? "warn" : "bad" },
          remark.line ? element("button", { type: "button", class: "button bare small", onclick: () => this.go(remark) }, `Line ${remark.line}`) : null,
          element("span", {}, remark.message, remark.hint ? element("small", {}, remark.hint) : null),
          element("span", { class: "quiet" }, remark.code),
        ),
      ),
    );
    this.place();
  }

  /** Puts the remarks beside their lines, where these end now. */
  place() {
    const lines = this.text.value.split("\n");
    this.get(".remarks").replaceChildren(
      ...[...(this.first ?? [])].map(([line, remark]) => {
        const made = element("span", { class: remark.severity === "warning" ? "warn" : "bad" }, remark.message);
        made.style.top = `calc(${line - 1} * var(--row))`;
        made.style.left = `${(lines[line - 1] ?? "").length + 2}ch`;
        return made;
      }),
    );
    this.scrolled();
  }

  /** Puts the cursor where a remark points. @param {Remark} remark */
  go(remark) {
    const lines = this.text.value.split("\n");
    const line = (remark.line ?? 1) - 1;
    const at = lines.slice(0, line).reduce((sum, one) => sum + one.length + 1, 0) + Math.max(0, (remark.column ?? 1) - 1);
    this.text.focus();
    this.text.setSelectionRange(at, at);
    const row = this.text.scrollHeight / lines.length;
    this.text.scrollTop = Math.max(0, row * line - this.text.clientHeight / 2);
  }

  async save() {
    const button = this.get("button.main", HTMLButtonElement);
    if (button.disabled) return;
    button.disabled = true;
    try {
      if (this.dataset.update && (await this.newer())) {
        button.disabled = false;
        return;
      }
      const form = new FormData(this.get("form", HTMLFormElement));
      const query = this.dataset.update ? { update: this.dataset.update } : Object.fromEntries(["name", "tags", "visibility"].map((name) => [name, String(form.get(name) ?? "")]));
      const made = await api(address("/v1/models", query), { method: "POST", body: this.text.value, headers: YAML });
      this.leaving = true;
      this.saidOf(made);
      location.assign(`${root}/artifacts/${made.reference}`);
    } catch (error) {
      button.disabled = false;
      if (!(error instanceof Problem)) return complain(error);
      const { errors, code, message, hint, count } = error.body;
      this.tell(errors.length ? errors : [{ code, message, hint: hint ?? undefined }], [], count, "");
      this.get(".problems").querySelector("button")?.focus();
    }
  }

  /** Says on the next page what was saved. @param {{id: string, name: string, model_version: number, notes: string[]}} made */
  saidOf(made) {
    const expected = Number(this.dataset.newest) + 1;
    const { id, name, model_version: version, notes } = made;
    if (!this.dataset.update) tell(notes.length ? notes.join(" ") : `Created ${name}.`, { kind: notes.length ? "warn" : "good" });
    else if (version < expected) tell(`Nothing was saved: version ${version} is the same, comments aside.`);
    else if (version === expected) tell(`Saved as version ${version}.`, { kind: "good" });
    else tell(`Saved as version ${version}; version ${version - 1} was saved just before.`, { kind: "warn", link: changes(id, version - 1, version) });
  }

  /** Shows that another version was saved since this page was opened, where that is so. @returns {Promise<boolean>} whether it is news */
  async newer() {
    const { update = "", newest = "" } = this.dataset;
    const { id, model_version: version, created_utc: saved } = await api(`/v1/artifacts/${encodeURIComponent(update)}`);
    if (version <= Number(newest)) return false;
    this.dataset.newest = String(version);
    const { href, text } = changes(id, Number(newest), version);
    this.get(".meanwhile").hidden = false;
    this.get(".meanwhile span").replaceChildren(
      `Version ${version} was saved meanwhile, ${instant(saved)}: `,
      element("a", { href, target: "_blank" }, text),
      `. Both stay; what is here becomes version ${version + 1}.`,
    );
    this.get("button.main").textContent = `Save as version ${version + 1}`;
    return true;
  }
}

/** Where it stands what changed between two versions. @param {string} id @param {number} before @param {number} after */
const changes = (id, before, after) => ({ href: `${root}${address(`/artifacts/${id}`, { before, after })}#changes`, text: "what changed" });

customElements.define("model-editor", ModelEditor);

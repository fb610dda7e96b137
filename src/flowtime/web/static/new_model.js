// @ts-check
/** A model from text: checked by the server while it is typed, then kept. */

import { api, complain, Problem, root, tell } from "./app.js";

const form = /** @type {HTMLFormElement} */ (document.getElementById("new-model"));
const text = /** @type {HTMLTextAreaElement} */ (document.getElementById("text"));
const checked = /** @type {HTMLElement} */ (document.getElementById("checked"));
const make = /** @type {HTMLButtonElement | null} */ (document.getElementById("make"));
const picker = /** @type {HTMLInputElement} */ (document.getElementById("model-file"));
const drop = /** @type {HTMLElement} */ (document.getElementById("drop"));

/** @type {AbortController | undefined} */ let asking;
/** @type {ReturnType<typeof setTimeout> | undefined} */ let soon;

/** @param {string} kind @param {string} words @param {(() => void)} [go] */
function line(kind, words, go) {
  const said = document.createElement(go ? "button" : "p");
  said.className = go ? `notice ${kind} problem` : `notice ${kind}`;
  const inner = document.createElement("span");
  inner.textContent = words;
  said.append(document.createElement("span"), inner);
  if (go && said instanceof HTMLButtonElement) {
    said.type = "button";
    said.addEventListener("click", go);
  }
  return said;
}

/** Puts the cursor where a problem is. @param {number} row @param {number} column counted from 1 */
function jump(row, column) {
  const lines = text.value.split("\n");
  const at = lines.slice(0, row - 1).reduce((sum, each) => sum + each.length + 1, 0) + column - 1;
  text.focus();
  text.setSelectionRange(at, at);
}

async function check() {
  asking?.abort();
  asking = new AbortController();
  if (make) make.disabled = true;
  if (!text.value.trim()) return checked.replaceChildren(line("", "Nothing to check yet."));
  try {
    const found = await api("/v1/models/validate", { method: "POST", body: text.value, headers: { "Content-Type": "application/yaml" }, signal: asking.signal });
    if (make) make.disabled = false;
    checked.replaceChildren(line("good", `Nothing wrong: ${found.nodes} ${found.nodes === 1 ? "node" : "nodes"}.`),
      ...found.warnings.map((/** @type {{message: string}} */ each) => line("warn", each.message)));
  } catch (error) {
    if (!(error instanceof Problem)) return complain(error);
    const { errors, message } = error.body;
    const all = errors.length ? errors : [{ message }];
    checked.replaceChildren(...all.slice(0, 30).map((/** @type {{message: string, line?: number, column?: number}} */ each) => {
      const { line: row, column = 1 } = each;
      return row ? line("bad", `Line ${row}: ${each.message}`, () => jump(row, column)) : line("bad", each.message);
    }));
  }
}

/** @param {File | undefined} file */
async function take(file) {
  if (!file) return;
  text.value = await file.text();
  const name = /** @type {HTMLInputElement} */ (document.getElementById("name"));
  if (!name.value) name.value = file.name.replace(/\.[^.]*$/, "");
  await check();
}

text.addEventListener("input", () => {
  clearTimeout(soon);
  soon = setTimeout(check, 300);
});
picker.addEventListener("change", () => void take(picker.files?.[0]));
document.getElementById("example")?.addEventListener("click", () => {
  text.value = /** @type {HTMLTemplateElement} */ (document.getElementById("example-text")).innerHTML.replaceAll("&gt;", ">").replaceAll("&lt;", "<").replaceAll("&amp;", "&");
  void check();
});
for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
addEventListener("drop", (event) => void take(/** @type {DragEvent} */ (event).dataTransfer?.files[0]));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!make || make.disabled) return;
  make.disabled = true;
  const said = new FormData(form);
  const query = new URLSearchParams();
  for (const name of ["name", "tags"]) if (said.get(name)) query.set(name, String(said.get(name)));
  try {
    const made = await api(`/v1/models?${query}`, { method: "POST", body: text.value, headers: { "Content-Type": "application/yaml" } });
    tell(`${made.name} is there.`, { kind: "good" });
    location.href = `${root}/artifacts/${made.id}`;
  } catch (error) {
    make.disabled = false;
    complain(error);
  }
});

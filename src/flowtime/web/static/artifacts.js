// @ts-check
/** The list of artifacts: what is selected, and what is done with all of it; the trash. */

import { api, complain, notify, request, root } from "./app.js";

/** Ids of the ticked artifacts. @returns {string[]} */
function picked() {
  const boxes = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("#list input[name=id]:checked"));
  return [...boxes].map((box) => box.value);
}

/** Shows what can be done with what is selected. */
function show() {
  const bar = document.getElementById("picked");
  const count = document.getElementById("picked-count");
  if (!bar || !count) return;
  const ids = picked();
  bar.hidden = ids.length === 0;
  count.textContent = `${ids.length} selected`;
  /** @type {HTMLElement} */ (bar.querySelector("[data-bulk=compare]")).hidden = ids.length !== 2;
}

/** Fetches the list anew, as the address has it. */
async function refresh() {
  const answer = await request(location.href, { headers: { "HX-Request": "true" } });
  const list = document.getElementById("list");
  if (!list || !answer.ok) return location.reload();
  list.outerHTML = await answer.text();
  show();
}

/**
 * Does something with each, tells of the first that fails, and shows the list anew.
 * @param {string[]} ids
 * @param {(id: string) => Promise<unknown>} act
 * @returns {Promise<string[]>} those with which it was done
 */
async function each(ids, act) {
  /** @type {string[]} */
  const done = [];
  try {
    for (const id of ids) {
      await act(id);
      done.push(id);
    }
  } catch (error) {
    complain(error);
  }
  await refresh();
  return done;
}

/** @param {number} count */
const artifacts = (count) => (count === 1 ? "1 artifact" : `${count} artifacts`);

/** @param {HTMLDialogElement} dialog @returns {Promise<string>} the value of the button that closed it */
function asked(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

async function remove() {
  const ids = picked();
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("delete-dialog"));
  const query = new URLSearchParams(ids.map((id) => ["id", id]));
  try {
    const answer = await request(`${root}/deletion?${query}`);
    if (!answer.ok) throw new Error("The artifacts cannot be shown; reload the page.");
    dialog.innerHTML = await answer.text();
  } catch (error) {
    return complain(error);
  }
  if ((await asked(dialog)) !== "ok") return;
  // What was made from others goes first, so that nothing is held by what goes too.
  const gone = await each(ids, (id) => api(`/v1/artifacts/${id}?confirm=true&force=true`, { method: "DELETE" }));
  if (gone.length === 0) return;
  notify(`${artifacts(gone.length)} moved to the trash.`, {
    kind: "good",
    action: {
      text: "Undo",
      run: () => void each(gone, (id) => api(`/v1/artifacts/${id}/restore`, { method: "POST" })).then((back) =>
        notify(`${artifacts(back.length)} brought back.`, { kind: "good" })),
    },
  });
}

/** @param {string} text @returns {string[]} */
const words = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);

async function tag() {
  const ids = picked();
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("tag-dialog"));
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
  form.reset();
  if ((await asked(dialog)) !== "ok") return;
  const said = new FormData(form);
  const json = { add_tags: words(String(said.get("add"))), remove_tags: words(String(said.get("remove"))) };
  if (json.add_tags.length + json.remove_tags.length === 0) return;
  const done = await each(ids, (id) => api(`/v1/artifacts/${id}`, { method: "PATCH", json }));
  if (done.length) notify(`Tags of ${artifacts(done.length)} changed.`, { kind: "good" });
}

/** @param {string} id empty for everything */
async function purge(id) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("purge-dialog"));
  const what = document.getElementById("purge-what");
  if (what) what.textContent = id ? `${id} cannot be brought back after that.` : "Nothing in the trash can be brought back after that.";
  if ((await asked(dialog)) !== "ok") return;
  try {
    await api(`/v1/trash/purge?confirm=true${id ? `&id=${id}` : ""}`, { method: "POST" });
    location.reload();
  } catch (error) {
    complain(error);
  }
}

document.addEventListener("change", (event) => {
  const box = /** @type {HTMLInputElement} */ (event.target);
  if (box.matches("[data-all]"))
    for (const other of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("#list input[name=id]"))) other.checked = box.checked;
  if (box.closest("#list")) show();
});
document.addEventListener("htmx:afterSwap", show);

document.addEventListener("click", async (event) => {
  const button = /** @type {Element} */ (event.target).closest("button");
  if (!button) return;
  const { bulk, restore, purge: gone } = button.dataset;
  if (bulk === "delete") await remove();
  else if (bulk === "tag") await tag();
  else if (bulk === "compare") location.href = `${root}/compare?${new URLSearchParams([["a", picked()[0]], ["b", picked()[1]]])}`;
  else if (bulk === "none") {
    for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("#list input:checked"))) box.checked = false;
    show();
  } else if (restore !== undefined) {
    try {
      const back = await api(`/v1/artifacts/${restore}/restore`, { method: "POST" });
      button.closest("tr")?.remove();
      notify(`${back.name} is back.`, { kind: "good", link: { href: `${root}/artifacts/${back.id}`, text: "Open it" } });
    } catch (error) {
      complain(error);
    }
  } else if (gone !== undefined) await purge(gone);
});

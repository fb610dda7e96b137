// @ts-check
/** A job's page: cancelling; the rest is polled by htmx. */

import { api, complain } from "./app.js";

document.addEventListener("click", async (event) => {
  const button = /** @type {Element} */ (event.target).closest("[data-cancel]");
  if (!(button instanceof HTMLButtonElement)) return;
  button.disabled = true;
  button.textContent = "Stopping…";
  try {
    await api(`/v1/jobs/${button.dataset.cancel}`, { method: "DELETE" });
  } catch (error) {
    complain(error);
  }
});
